"""A view computes what it is asked for, once; views cut from it share the work and none of the graph."""

from typing import Any

import torch

from reverie.contracts import Sampling, View
from reverie.testing.toys import ToyAgent, ToyPosteriorEncoder, toy_batch


class Counting:
    """Counts the calls of a module's method."""

    def __init__(self, module: Any, name: str) -> None:
        self.calls, self._plain = 0, getattr(module, name)
        setattr(module, name, self)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        return self._plain(*arguments, **named)


def made(encoder: Any = None) -> tuple[ToyAgent, View]:
    torch.manual_seed(0)
    agent = ToyAgent(encoder=encoder)
    return agent, View(
        toy_batch(3, 5, agent.observation), agent, Sampling(generators=[torch.Generator().manual_seed(1)])
    )


def test_a_detached_view_runs_the_dynamics_only_when_it_is_asked_for_states() -> None:
    agent, view = made()
    filtering = Counting(agent.dynamics, "observe")
    cut = view.detach()
    assert not cut.embed.requires_grad
    assert filtering.calls == 0
    assert not cut.observed.train.features.requires_grad
    assert torch.equal(cut.observed.states.features, view.observed.states.features)
    assert view.observed.states.features.requires_grad
    assert filtering.calls == 1


def test_an_encoded_view_trains_the_dynamics_and_not_the_encoder() -> None:
    agent, view = made()
    encoding, filtering = Counting(agent.encoder, "forward"), Counting(agent.dynamics, "observe")
    assert view.embed.requires_grad
    inner = view.encoded()
    inner.observed.states.features.square().sum().backward()
    assert torch.equal(inner.embed, view.embed)
    assert all(p.grad is None for p in agent.encoder.parameters())
    assert any(p.grad is not None for p in agent.dynamics.parameters())
    assert (encoding.calls, filtering.calls) == (1, 1)


def test_the_posterior_of_a_detached_view_has_no_graph() -> None:
    plain = ToyAgent()
    torch.manual_seed(0)
    _, view = made(ToyPosteriorEncoder(None, plain.observation))
    assert view.posterior.mean.requires_grad
    assert not view.detach().posterior.mean.requires_grad
