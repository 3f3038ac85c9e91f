"""The value of what really happened: by dynamic programming on a corridor, and one update by hand."""

from typing import Any

import pytest
import torch

from reverie.assembly.rehearsal import Rehearsal
from reverie.contracts import Batch, Sampling, View
from reverie.testing.toys import ToyAgent, toy_batch
from reverie_plugins.values.config import ReplayedValueConfig
from reverie_plugins.values.replayed import ReplayedValue


def learner(agent: ToyAgent, **options: Any) -> ReplayedValue:
    return ReplayedValue(ReplayedValueConfig(**options).resolved(agent.slots()), agent)


def value(head: Any, view: View) -> torch.Tensor:
    mean: torch.Tensor = head(view.transition("after")).mean
    return mean


def by_hand(batch: Batch, slow: list[list[float]], lam: float, discount: float) -> list[list[float | None]]:
    """Backwards through each row; None where nothing follows a state."""
    B, T = batch.shape
    found: list[list[float | None]] = [[None] * T for _ in range(B)]
    for b in range(B):
        for t in range(T - 2, -1, -1):
            if bool(batch.is_last[b, t]):
                continue
            following = slow[b][t + 1]
            if found[b][t + 1] is not None:
                following = (1 - lam) * following + lam * found[b][t + 1]
            found[b][t] = float(batch.reward[b, t + 1]) + discount * float(batch.cont[b, t + 1]) * following
    return found


@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_the_head_is_fitted_to_what_followed(lam: float) -> None:
    torch.manual_seed(0)
    agent = ToyAgent()
    made = learner(agent, lam=lam, discount=0.9)
    with torch.no_grad():  # head and slow copy differ, so that it matters which of them values the last state
        for parameter in agent.heads["value"].parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    sampling = Sampling(mode="mode")
    view = View(toy_batch(3, 6, agent.observation, agent.action), agent, sampling)
    assert bool(view.batch.is_last[:, :-1].any()), "an episode ends inside of the batch"
    with torch.no_grad():
        targets = by_hand(view.batch, value(made.slow, view).tolist(), lam, 0.9)
        head = agent.heads["value"](view.transition("after"))
        known = torch.tensor([[0.0 if one is None else one for one in row] for row in targets])
        expected = -head.log_prob(known) * torch.tensor([[one is not None for one in row] for row in targets])
    losses = made.losses(view, Rehearsal(agent, sampling, agent.imagination))
    torch.testing.assert_close(losses["value"], expected)


def test_only_the_head_learns_and_its_slow_copy_follows() -> None:
    agent = ToyAgent()
    made = learner(agent, slow_rate=0.25)
    sampling = Sampling(mode="mode")
    view = View(toy_batch(3, 6, agent.observation, agent.action), agent, sampling)
    ctx = Rehearsal(agent, sampling, agent.imagination)
    made.losses(view, ctx)["value"].mean().backward()
    touched = {name for name, parameter in agent.named_parameters() if parameter.grad is not None}
    assert touched
    assert all(name.startswith("heads.value") for name in touched)
    before = [parameter.clone() for parameter in made.slow.parameters()]
    with torch.no_grad():
        for parameter in agent.heads["value"].parameters():
            parameter.add_(1.0)
        made.after_step(ctx)
    for old, new in zip(before, made.slow.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.25)


def test_a_head_that_reads_actions_is_refused() -> None:
    agent = ToyAgent()
    agent.heads["value"].reads = "before_action"
    with pytest.raises(ValueError, match="judges states"):
        learner(agent)
