"""The learner around the search: what it writes, when it begins anew, how it is saved."""

from typing import Any

import pytest
import torch

from reverie.assembly.rehearsal import Rehearsal
from reverie.contracts import Sampling
from reverie.testing.toys import ToyAgent
from reverie_plugins.evolution.config import EvolutionConfig
from reverie_plugins.evolution.learner import Evolution, dream_returns
from reverie_plugins.evolution.population import Population


def made(**options: Any) -> tuple[Evolution, Rehearsal]:
    torch.manual_seed(0)
    agent = ToyAgent()
    settings = {"population": 4, "rollouts": 2, "horizon": 4, "context": 3, **options}
    return Evolution(EvolutionConfig(**settings), agent), Rehearsal(agent, Sampling(), agent.imagination)


def advance(learner: Evolution, context: Rehearsal, generations: range) -> None:
    for number in generations:
        context.sampling = Sampling(generators=[torch.Generator().manual_seed(number)])
        with torch.no_grad():
            learner.update(context)
        context.counters.generations += 1


def weights(context: Rehearsal) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(context.agent.module("actor").parameters()).detach().clone()


def test_only_the_actor_changes_and_ends_in_the_middle_of_the_search() -> None:
    learner, context = made()
    slots = context.agent.slots()
    before = {slot: [p.clone() for p in context.agent.module(slot).parameters()] for slot in slots}
    advance(learner, context, range(3))
    changed = {
        slot
        for slot in slots
        for old, new in zip(before[slot], context.agent.module(slot).parameters(), strict=True)
        if not torch.equal(old, new)
    }
    assert changed == {"actor"}
    assert learner._search is not None
    assert torch.allclose(weights(context).double(), torch.from_numpy(learner._search.centre), atol=1e-6)
    sizes = [parameter.untyped_storage().nbytes() for parameter in context.agent.module("actor").parameters()]
    assert sizes == [4 * parameter.numel() for parameter in context.agent.module("actor").parameters()]


def test_a_saved_learner_goes_on_bit_by_bit() -> None:
    alone, there = made()
    advance(alone, there, range(5))
    first, here = made()
    advance(first, here, range(2))
    second, again = made()
    again.agent.load_state_dict(here.agent.state_dict())  # type: ignore[attr-defined]
    again.counters.generations = 2
    second.load_state_dict(first.state_dict())
    advance(second, again, range(2, 5))
    assert torch.equal(weights(again), weights(there))


def test_a_state_of_another_population_is_refused() -> None:
    learner, context = made()
    advance(learner, context, range(1))
    other, _ = made(population=6)
    with pytest.raises(ValueError, match="a population of 4, not 6"):
        other.set_extra_state(learner.get_extra_state())


def test_a_world_model_that_was_trained_since_begins_the_search_anew_around_what_was_found() -> None:
    learner, context = made()
    advance(learner, context, range(4))
    found = weights(context)
    context.counters.updates += 1
    context.sampling = Sampling(generators=[torch.Generator().manual_seed(9)])
    search = learner._current(context)
    assert search.scores == []
    assert search.spread == learner.config.sigma
    assert torch.allclose(torch.from_numpy(search.start), found.double())
    assert learner._current(context) is search


def test_a_dream_from_a_true_end_is_worth_nothing() -> None:
    _, context = made()
    view = context.experience(2, 3)
    vector = torch.randn(4, weights(context).numel())
    actor = context.agent.actor
    assert actor is not None
    population = Population(actor, vector, discrete=False)
    sampling = Sampling(generators=[torch.Generator().manual_seed(0)], shared=4)
    with torch.no_grad():
        found = dream_returns(context, view.observed.last, torch.tensor([0.0, 1.0]), population, 4, 1.0, sampling)
    assert found[0].tolist() == [0.0] * 4
    assert found[1].abs().min() > 0


def test_it_trains_the_actor_and_nothing_else() -> None:
    agent = ToyAgent()
    with pytest.raises(ValueError, match=r"its `trains` is \[actor\], not \[dynamics\]"):
        Evolution(EvolutionConfig(trains=("dynamics",)), agent)


def test_all_processes_judge_the_same_candidates() -> None:
    """Rows of noise differ by rank; a search that each rank seeded with its own would average scores of strangers."""
    asked = []
    for rank in range(2):
        learner, context = made()
        context.sampling = Sampling(generators=[torch.Generator().manual_seed(3)], shard=(rank, 2))
        asked.append(torch.from_numpy(learner._current(context).ask()))
    assert torch.equal(asked[0], asked[1])
