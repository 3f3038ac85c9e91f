"""New eyes for a known world: what the loss is by hand, and an encoder that is found again."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reverie.assembly.rehearsal import Rehearsal
from reverie.contracts import (
    ActionSpec,
    ArraySpec,
    Batch,
    Distribution,
    Head,
    ObservationSpec,
    Sampling,
    Transition,
    View,
)
from reverie.contracts.model import Observed
from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import RecipeError, prepare
from reverie.testing.toys import LinearDynamics, ToyAgent, ToyEncoder, ToyLatent, ToyNormal, point_latent
from reverie_plugins.perception.alignment import EncoderAlignment
from reverie_plugins.perception.config import EncoderAlignmentConfig

OBSERVATION, ACTION = ObservationSpec({"state": ArraySpec((2,), "float32")}), ActionSpec("continuous", 1)


def moved(x: Tensor, action: Tensor) -> Tensor:
    """A mass on a spring that hardens: (position, velocity) (*B, 2), force (*B, 1)."""
    position, velocity = x.unbind(-1)
    force = action.squeeze(-1)
    return torch.stack([position + 0.3 * velocity, velocity + 0.3 * force - 0.2 * torch.sin(2 * position)], -1)


class Spring(LinearDynamics):
    """Its latent is the embedding; one parameter, which nothing may change."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.feature_size = self.code_size = self.size = 2
        self.members = None
        self.one = nn.Parameter(torch.ones(()))

    def observe(self, embed: Tensor, action: Tensor, is_first: Tensor, state: Any = None, *, sampling: Sampling) -> Any:
        states = point_latent(embed)
        return Observed(states=states, priors=states, train=states, last=states[:, -1])

    def imagine(self, state: ToyLatent, action: Tensor, sampling: Sampling) -> ToyLatent:
        return point_latent(self.one * moved(state.x, action))


class Known(Head):
    reads = "transition"

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, transition: Transition) -> Distribution:
        assert transition.before is not None
        assert transition.after is not None
        return ToyNormal(-((transition.after.features[..., 0] - 0.5) ** 2), 1.0, 0)


def lived(B: int, T: int, seed: int = 0) -> tuple[Batch, Tensor]:
    """Rows of the true spring, seen as (3 velocity + 1, position - velocity), and the truth (B, T, 2)."""
    generator = torch.Generator().manual_seed(seed)
    action = torch.rand(B, T, 1, generator=generator) * 2 - 1
    x = torch.randn(B, 2, generator=generator)
    states = []
    for t in range(T):
        x = moved(x, action[:, t]) if t else x
        states.append(x)
    true = torch.stack(states, 1)
    first = torch.zeros(B, T, dtype=torch.bool)
    first[:, 0] = True
    seen = torch.stack([3 * true[..., 1] + 1, true[..., 0] - true[..., 1]], -1)
    reward = -((true[..., 0] - 0.5) ** 2)
    never = torch.zeros_like(first)
    batch = Batch({"state": seen}, action, reward, first, never, never, torch.arange(B * T).reshape(B, T))
    return batch, true


def make(**options: Any) -> tuple[ToyAgent, EncoderAlignment]:
    torch.manual_seed(0)
    encoder = ToyEncoder(None, OBSERVATION, embed_size=2)
    agent = ToyAgent(OBSERVATION, ACTION, encoder=encoder, dynamics=Spring(), heads={"reward": Known()})
    return agent, EncoderAlignment(EncoderAlignmentConfig(**options), agent)


def losses(agent: ToyAgent, learner: EncoderAlignment, batch: Batch, updates: int = 0) -> dict[str, Tensor]:
    sampling = Sampling(generators=[torch.Generator().manual_seed(1)])
    ctx = Rehearsal(agent, sampling, agent.imagination)
    ctx.counters.updates = updates
    return learner.losses(View(batch, agent, sampling), ctx)


def test_the_loss_is_the_blurred_distance_to_what_the_known_world_expects() -> None:
    agent, learner = make(blur=1.0, sharp=0.1, updates=10)
    batch, _ = lived(3, 5)
    batch.is_first[1, 3] = True
    for updates, s in ((0, 1.0), (5, 0.55), (10, 0.1), (99, 0.1)):
        found = losses(agent, learner, batch, updates)
        x = agent.encoder(batch.obs, Sampling())  # (3, 5, 2)
        apart = ((x[:, 1:] - moved(x[:, :-1], batch.action[:, 1:])) ** 2).sum(-1) / (2 * s**2)
        wrong = batch.reward[:, 1:] + (x[:, 1:, 0] - 0.5) ** 2
        for name, expected in (
            ("prediction", apart),
            ("reward", 0.5 * wrong**2 + 0.5 * torch.log(torch.tensor(2 * torch.pi))),
        ):
            expected = torch.cat([torch.zeros(3, 1), expected], 1)
            expected[1, 3] = 0
            torch.testing.assert_close(found[name], expected)


def test_only_the_encoder_learns() -> None:
    agent, learner = make()
    sum(loss.mean() for loss in losses(agent, learner, lived(3, 5)[0]).values()).backward()
    assert all(p.grad is not None and p.grad.any() for p in agent.encoder.parameters())
    assert agent.dynamics.one.grad is None
    (optimizer,) = learner.optimizers()
    assert {p for group in optimizer.param_groups for p in group["params"]} == set(agent.encoder.parameters())


def test_what_the_new_numbers_mean_is_found_from_transitions_and_rewards_alone() -> None:
    agent, learner = make(updates=500, lr=1e-2)
    (optimizer,) = learner.optimizers()
    for step in range(700):
        loss = sum(one.mean() for one in losses(agent, learner, lived(16, 8, seed=step)[0], step).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    batch, true = lived(32, 8, seed=10_000)
    with torch.no_grad():
        found = agent.encoder(batch.obs, Sampling())
    assert float((found - true).square().mean()) < 0.01 * float(true.var())


def test_a_dynamics_whose_latent_is_no_embedding_is_refused() -> None:
    plugins = load_plugins()
    prepare("transfer_encoder", plugins=plugins)
    with pytest.raises(RecipeError) as caught:
        prepare("transfer_encoder", ["dynamics=rssm"], plugins=plugins)
    said = [problem.what for problem in caught.value.problems]
    assert any("needs dynamics to provide 'embedding', which rssm does not" in what for what in said)
