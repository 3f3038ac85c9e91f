"""Correctness note 1: a sampled chunk starts fresh, previous action included, unless a latent is carried in."""

import torch

from reverie.contracts import ActionSpec, ArraySpec, Batch, ObservationSpec, Sampling, View
from reverie.testing.toys import ToyAgent, toy_batch

OBSERVATION = ObservationSpec({"state": ArraySpec((3,), "float32")})
ACTION = ActionSpec("continuous", 2)


def states(batch: Batch, agent: ToyAgent, *, carry: bool) -> torch.Tensor:
    carried = agent.dynamics.initial(batch.shape[0]) if carry else None
    view = View(batch, agent, Sampling(mode="mode"), carried)  # type: ignore[arg-type]
    return view.observed.priors.features


def test_the_first_action_of_a_fresh_chunk_is_forgotten_and_a_carried_one_is_not() -> None:
    agent = ToyAgent(OBSERVATION, ACTION)
    batch = toy_batch(4, 6, OBSERVATION, ACTION, seed=0)
    middle = torch.zeros_like(batch.is_first)  # no episode starts inside these chunks
    batch = Batch(batch.obs, batch.action, batch.reward, middle, middle, middle, batch.step_id)
    poisoned = Batch(batch.obs, batch.action.clone(), batch.reward, middle, middle, middle, batch.step_id)
    poisoned.action[:, 0] = 1e6
    torch.testing.assert_close(states(batch, agent, carry=False), states(poisoned, agent, carry=False))
    assert (states(batch, agent, carry=True)[:, 0] != states(poisoned, agent, carry=True)[:, 0]).any()


def test_a_chunk_goes_on_from_the_state_that_is_carried_in() -> None:
    """Two halves of a row, the second from the last state of the first, give the states of the whole."""
    agent = ToyAgent(OBSERVATION, ACTION)
    batch = toy_batch(4, 6, OBSERVATION, ACTION, seed=0, borders=False)
    assert not bool(batch.is_first[:, 3:].any())
    whole = View(batch, agent, Sampling(mode="mode")).observed  # type: ignore[arg-type]
    first = View(batch.map(lambda value: value[:, :3]), agent, Sampling(mode="mode")).observed  # type: ignore[arg-type]
    second = batch.map(lambda value: value[:, 3:])
    carried = View(second, agent, Sampling(mode="mode"), first.last).observed.states.features  # type: ignore[arg-type]
    fresh = View(second, agent, Sampling(mode="mode")).observed.states.features  # type: ignore[arg-type]
    torch.testing.assert_close(carried, whole.states.features[:, 3:])
    assert bool((fresh[:, 0] != carried[:, 0]).any(-1).all())
