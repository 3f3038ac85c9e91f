"""Stages in order, rounds, limits, the run-wide budget."""

from typing import Any

import pytest

from reverie.contracts import Counters
from reverie.recipes.schema import Settings
from reverie.training.budgets import fractions, limits, reached
from reverie.training.stages import StageCursor


def stage(name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, "collect": {"policy": "random"}, "until": {"env_steps": 10}, **options}


def settings(*stages: dict[str, Any], **options: Any) -> Settings:
    return Settings.model_validate({"stages": stages, **options})


def test_stages_follow_one_another_and_each_counts_from_its_own_beginning() -> None:
    cursor = StageCursor(settings(stage("a"), stage("b", until={"env_steps": 5})))
    counters = Counters(env_steps=9)
    assert cursor.ended(counters) is None
    counters.env_steps = 12  # overshot: the next stage counts from here
    assert cursor.ended(counters) == "env_steps"
    cursor.advance(counters)
    assert cursor.stage.name == "b"
    counters.env_steps = 16
    assert cursor.ended(counters) is None
    counters.env_steps = 17
    assert cursor.ended(counters) == "env_steps"
    cursor.advance(counters)
    assert cursor.finished
    assert cursor.title == "done"


@pytest.mark.parametrize(
    ("until", "counters"),
    [
        ({"updates": 3}, Counters(updates=3)),
        ({"agent_steps": 5}, Counters(agent_steps=5, env_steps=20)),
        ({"episodes": 2}, Counters(episodes=2)),
        ({"minutes": 0.5}, Counters(seconds=30.0)),
        ({"generations": 4}, Counters(generations=4)),
        ({"env_steps": 100, "episodes": 2}, Counters(env_steps=1, episodes=2)),  # the first of several
    ],
)
def test_every_counter_can_end_a_stage(until: dict[str, float], counters: Counters) -> None:
    cursor = StageCursor(settings(stage("a", until=until)))
    assert cursor.ended(Counters()) is None
    assert cursor.ended(counters) is not None


def test_rounds_repeat_their_stages_in_order() -> None:
    repeated = {"rounds": 3, "stages": [stage("collect"), stage("learn")]}
    cursor = StageCursor(settings(stage("prefill"), repeated))
    names, counters = [], Counters()
    while not cursor.finished:
        names.append(cursor.title)
        counters.env_steps += 10
        cursor.advance(counters)
    assert names == ["prefill (round 1)"] + [f"{name} (round {n})" for n in (1, 2, 3) for name in ("collect", "learn")]


def test_the_run_wide_budget_ends_the_run_in_the_middle_of_a_stage() -> None:
    cursor = StageCursor(settings(stage("a", until={"env_steps": 100}), stage("b"), budget={"env_steps": 30}))
    counters = Counters(env_steps=30)
    assert cursor.ended(counters) == "env_steps"
    cursor.advance(counters)
    assert cursor.finished
    assert cursor.capped == "env_steps"


def test_state_round_trip() -> None:
    given = settings(stage("a"), stage("b"), stage("c"))
    cursor, counters = StageCursor(given), Counters(env_steps=11, seconds=1.5)
    cursor.advance(counters)
    other = StageCursor(given)
    other.restore(cursor.state())
    counters.env_steps = 20
    assert other.stage.name == "b"
    assert other.ended(counters) is None
    counters.env_steps = 21
    assert other.ended(counters) == "env_steps"


def test_fractions_and_limits_use_our_counters() -> None:
    until = limits(settings(stage("a", until={"env_steps": 40, "minutes": 1})).flat_stages().__next__()[1].until)
    assert until == {"env_steps": 40.0, "seconds": 60.0}
    began = Counters(env_steps=100, seconds=10.0)
    assert fractions(until, Counters(env_steps=110, seconds=40.0), began) == {"env_steps": 0.25, "seconds": 0.5}
    assert reached(until, Counters(env_steps=139, seconds=69.9), began) is None
    assert reached(until, Counters(env_steps=139, seconds=70.0), began) == "seconds"


def test_a_run_that_ended_before_anything_learned_says_so_and_what_to_raise() -> None:
    learns = stage("train", learners=["model"])
    capped = StageCursor(settings(stage("prefill"), learns, budget={"env_steps": 4}))
    counters = Counters(env_steps=4)
    capped.advance(counters)
    told = capped.nothing_learned(counters)
    assert told is not None
    assert "the run ended after 4 environment steps, before the first update of the stage 'train'" in told
    assert "raise budget.env_steps" in told
    through = StageCursor(settings(stage("prefill"), learns))
    for _ in range(2):
        through.advance(counters)
    assert "raise stages.train.until" in str(through.nothing_learned(counters))
    assert through.nothing_learned(Counters(updates=1)) is None
    assert through.nothing_learned(Counters(generations=1)) is None
    assert StageCursor(settings(stage("prefill"))).nothing_learned(counters) is None


def test_who_learned_since_a_learner_last_did() -> None:
    plan = [("a",), (), ("a", "b"), ("c",), (), ("d",), ("a", "d")]
    cursor = StageCursor(settings(*(stage(f"s{n}", learners=list(names)) for n, names in enumerate(plan))))
    seen, counters = [], Counters()
    while not cursor.finished:
        seen.append(cursor.absences())
        counters.env_steps += 10
        cursor.advance(counters)
    assert seen == [
        {"a": set()},
        {},
        {"a": set(), "b": {"a"}},
        {"c": {"a", "b"}},
        {},
        {"d": {"a", "b", "c"}},
        {"a": {"c", "d"}, "d": set()},
    ]
    assert cursor.absences() == {}
