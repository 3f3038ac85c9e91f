"""Checks of objectives, on a toy agent with a decoder and heads."""

from __future__ import annotations

import torch
from torch import nn

from reverie.contracts import Objective, View
from reverie.testing.dynamics_bench import rows, shaken
from reverie.testing.expect import finite, require, same, shape
from reverie.testing.kit import check
from reverie.testing.subject import Subject
from reverie.testing.toys import ToyAgent, ToyEmbedDecoder, ToyPosteriorEncoder, toy_batch, toy_observation


class ObjectiveBench:
    """Makes the objective under test beside a toy agent whose observations are vectors.

    Where it needs an encoder with a posterior it is given one, and its decoder reads the embedding: such an objective
    shapes the code and not the states.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.coded = "posterior" in subject.needs.provides.get("encoder", ())
        self.shapes = "encoder" if self.coded else "dynamics"

    def make(self) -> tuple[Objective, ToyAgent]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            observation = toy_observation(second=True)
            if self.coded:
                encoder = ToyPosteriorEncoder(None, observation)
                decoder = ToyEmbedDecoder(None, encoder.embed_size, observation)
                agent = ToyAgent(observation, encoder=encoder, decoder=decoder)
            else:
                agent = ToyAgent(observation)
            made: Objective = self.subject.target(self.subject.config, agent)
            shaken(made, 0.02)
        return made, agent

    def view(self, agent: ToyAgent, B: int = 4, T: int = 6) -> View:
        return View(toy_batch(B, T, agent.observation, seed=1), agent, rows([1]))


@check("objective")
def objective_per_step(bench: ObjectiveBench) -> None:
    """`losses` gives finite floating-point numbers of shape (B, T) under names, episode borders and T = 1 included.

    The framework takes means, masks and gathers over ranks; a scalar or a transposed term would be weighted wrongly.
    """
    objective, agent = bench.make()
    for B, T in ((4, 6), (3, 1)):
        terms = objective.losses(bench.view(agent, B, T), agent)
        require(isinstance(terms, dict) and bool(terms), f"losses returned {type(terms).__name__} without a term")
        for name, value in terms.items():
            shape(value, (B, T), f"losses['{name}']")
            require(value.is_floating_point(), f"losses['{name}'] is {value.dtype}")
            finite(value, f"losses['{name}']")


@check("objective")
def objective_reaches_the_model(bench: ObjectiveBench) -> None:
    """Its gradient reaches the dynamics (the encoder, if that is what it needs), and every parameter of its own.

    An objective exists to shape the states; one that reads detached ones trains only itself.
    """
    objective, agent = bench.make()
    total = torch.stack([value.mean() for value in objective.losses(bench.view(agent), agent).values()]).sum()
    require(total.requires_grad, "the losses carry no graph")
    modules: dict[str, nn.Module] = {"objective": objective, bench.shapes: agent.module(bench.shapes)}
    named = {f"{owner}: {name}": p for owner, module in modules.items() for name, p in module.named_parameters()}
    found = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    dead = [name for name, grad in zip(named, found, strict=True) if grad is None or not grad.abs().max() > 0]
    require(not dead, f"no gradient reaches {', '.join(dead)}")


@check("objective")
def objective_is_repeatable(bench: ObjectiveBench) -> None:
    """Equal views give equal losses, and torch's global generator is not used: draws come from `view.sampling`."""
    objective, agent = bench.make()
    found = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            view = bench.view(agent)
            before = torch.get_rng_state()
            found.append(objective.losses(view, agent))
            require(torch.equal(torch.get_rng_state(), before), "torch's global generator was used")
    for name, value in found[0].items():
        same(found[1][name], value, f"losses['{name}'] of an equal view", 0.0)
