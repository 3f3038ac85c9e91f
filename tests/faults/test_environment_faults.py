"""Environments that raise, die, hang or give nonsense: named, put up with where the recipe says so, never stored."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stumbles import stumbling_recipe

from nursery import Nursery
from reverie.errors import EnvironmentFault
from reverie.recipes.schema import Faults
from reverie.recipes.schema import Replay as Settings
from reverie.testing.environments import Fault, FaultyFactory
from reverie.testing.policies import CountingPolicy
from reverie.training.checkpoint import checkpoint_of
from reverie.training.collector import Collector
from reverie.training.environments import VectorEnvironments
from reverie.training.faults import Tolerance
from reverie.training.replay import Replay
from reverie.training.run import train
from reverie.training.run_folder import read_status
from tiny_runs import differences, final_state, rows_of

BOTH = pytest.mark.parametrize("workers", ["none", "processes"])


@pytest.fixture
def vector():
    opened = []

    def make(fault: Fault | None, count: int = 2, workers: str = "none", *, timeout: float = 20, **tolerance: Any):
        said: list[str] = []
        limits = Tolerance(Faults(**tolerance.pop("faults", {})), tolerance.pop("folder", None), said.append)
        factory = FaultyFactory(fault=fault, limit=5)
        opened.append(VectorEnvironments(factory, count, workers, timeout=timeout, tolerance=limits))
        opened[-1].said = said
        return opened[-1]

    yield make
    for environments in opened:
        environments.close()


def steps(environments: VectorEnvironments, number: int) -> list[Any]:
    return [environments.step(np.full((environments.count, 2), 0.25)) for _ in range(number)]


RESTART = {"environment": "restart", "max_restarts": 3}


@BOTH
@pytest.mark.parametrize("kind", ["raise_step", "shape", "missing"])
def test_the_faulty_one_goes_on_with_its_next_episode_and_the_others_notice_nothing(vector, workers, kind):
    environments = vector(Fault(kind, step=3, index=1), 3, workers, faults=RESTART)
    alone = vector(None, 3)
    environments.begin(), alone.begin()
    *before, taken = steps(environments, 3)
    expected = steps(alone, 3)[-1]
    assert all(one.stepped.all() and not one.reset.any() for one in before)
    assert taken.stepped.tolist() == [True, False, True]
    assert np.array_equal(taken.rows.obs["state"], expected.rows.obs["state"][[0, 2]])
    assert (taken.frames, taken.finished) == (2, [])
    assert taken.reset.tolist() == [False, True, False]
    assert taken.resets.is_first.tolist() == [True]
    assert [episode.number for episode in environments._open] == [0, 1, 0]
    (line,) = environments.said
    assert line.startswith("environment 1, episode 0, step 3, action [0.25 0.25]: ")
    assert line.endswith(": restarted, its open episode was cut (truncated) (1 of 3)")
    after = steps(environments, 2)[-1]
    assert after.stepped.all()
    assert after.rows.is_last.tolist() == [True, False, True]


@BOTH
def test_after_as_many_restarts_as_allowed_the_fault_ends_the_run(vector, workers):
    environments = vector(Fault("raise_step", step=2, index=1), 2, workers, faults=RESTART)
    environments.begin()
    steps(environments, 3 * 2)  # a new environment fails in its first episode again
    assert environments.tolerance.state() == {"restarts": 3, "drops": 0}
    steps(environments, 1)
    with pytest.raises(
        EnvironmentFault,
        match=r"environment 1, episode 3, step 2, .*: step raised ZeroDivisionError: .*; "
        r"this happened 3 times before, and faults.max_restarts is 3",
    ):
        steps(environments, 1)


@BOTH
def test_a_reset_that_fails_is_tried_again_in_a_new_environment(vector, workers):
    environments = vector(Fault("raise_reset", episode=1, index=0), 2, workers, faults=RESTART)
    environments.begin()
    taken = steps(environments, 5)[-1]
    assert taken.rows.is_last.all()
    assert taken.resets.is_first.tolist() == [True, True]
    assert [episode.number for episode in environments._open] == [2, 1]
    assert len(environments.said) == 1


@pytest.mark.parametrize(("kind", "words"), [("kill", "exit code -9"), ("exit", "exit code 3"), ("sleep", "no answer")])
def test_a_worker_that_died_or_hangs_is_replaced(vector, kind, words):
    environments = vector(Fault(kind, step=2), 2, "processes", timeout=1.5, faults=RESTART)
    environments.begin()
    gone = environments._hosts[0].process
    began = time.monotonic()
    taken = steps(environments, 3)
    assert time.monotonic() - began < 8
    assert [one.stepped.tolist() for one in taken] == [[True, True], [False, True], [True, True]]
    assert not gone.is_alive()
    assert words in environments.said[0]
    assert taken[-1].rows.obs["state"][0, 0] == np.float32(0.01), "the late answer of the old worker was taken"


@BOTH
@pytest.mark.parametrize("kind", ["nan", "inf", "reward"])
def test_what_is_not_finite_is_dropped_and_written_down_but_nothing_is_restarted(vector, workers, kind, tmp_path):
    fault = Fault(kind, step=2, episode=1, index=1)
    environments = vector(fault, 2, workers, faults={"not_finite": "drop", "max_drops": 1}, folder=tmp_path)
    environments.begin()
    hosts = list(environments._hosts)
    *_, taken = steps(environments, 7)
    assert taken.stepped.tolist() == [True, False]
    assert environments._hosts == hosts
    assert environments.tolerance.state() == {"restarts": 0, "drops": 1}
    (path,) = tmp_path.iterdir()
    assert f"the values are in {path}: the step was dropped, its open episode was cut" in environments.said[0]
    with np.load(path, allow_pickle=False) as values:
        found = np.concatenate([values["obs.state"], [values["reward"]]])
        assert values["action"].tolist() == [0.25, 0.25]
    assert (~np.isfinite(found)).sum() == 1


@BOTH
def test_by_default_what_is_not_finite_stops_the_run_whatever_is_restarted(vector, workers, tmp_path):
    environments = vector(Fault("nan", step=1), 1, workers, faults=RESTART, folder=tmp_path)
    environments.begin()
    with pytest.raises(EnvironmentFault, match=r"entry 'state' is nan at index 1: .*; the values are in .*\.npz"):
        steps(environments, 1)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_fault_is_told_although_its_values_cannot_be_written(vector, tmp_path):
    (tmp_path / "faults").write_text("in the way")
    environments = vector(Fault("nan", step=1), 1, folder=tmp_path / "faults")
    environments.begin()
    with pytest.raises(EnvironmentFault, match=r"is nan at index 1: .*; the values are not written: "):
        steps(environments, 1)


def test_a_reward_that_float32_cannot_hold_is_infinite(vector):
    environments = vector(None, 1)
    environments._hosts[0]._env.env.step = lambda action: ({"state": np.zeros(3, np.float32)}, 1e39, False, False, {})
    environments.begin()
    with pytest.raises(EnvironmentFault, match="the reward is 1e\\+39"):
        steps(environments, 1)


@BOTH
def test_no_row_of_a_dropped_step_is_stored_and_the_cut_shows_as_an_end(vector, workers, tmp_path):
    environments = vector(Fault("nan", step=3, index=1), 2, workers, faults={"not_finite": "drop"})
    factory = FaultyFactory()
    replay = Replay(tmp_path / "replay", factory.observation, factory.action, 2, Settings(chunk=16))
    collector = Collector(CountingPolicy(factory.action), environments, replay)
    report = collector.collect("random", steps=4)
    assert report.agent_steps == report.frames == 2 * 4 - 1
    lengths = [stream.tail.rows for stream in replay._streams]
    assert lengths == [5, 5]  # reset, 4 steps; reset, 2 steps, reset, 1 step
    columns = replay._streams[1].tail.columns
    assert columns["is_first"][:5].tolist() == [True, False, False, True, False]
    assert np.isfinite(columns["obs/state"][:5]).all()
    batches = [replay.sample(64, 4, np.random.default_rng(seed)) for seed in range(3)]
    for batch in batches:
        cut = batch.is_first[:, 1:]
        assert cut.any()
        assert batch.is_last[:, :-1][cut].all()
        assert not batch.is_terminal.any()


def test_a_step_that_fails_everywhere_stores_nothing(vector, tmp_path):
    environments = vector(Fault("raise_step", step=1), 1, faults=RESTART)
    factory = FaultyFactory()
    replay = Replay(tmp_path / "replay", factory.observation, factory.action, 1, Settings())
    report = Collector(CountingPolicy(factory.action), environments, replay).collect("random", steps=2)
    assert report.agent_steps == 0
    assert replay.steps == 3  # three first rows


# Workers that never come up.


def test_a_worker_that_hangs_while_it_builds_its_environment_is_named_in_time():
    class Factory(FaultyFactory):
        def make(self, index=0, *, render=False):
            if index == 1:
                time.sleep(3600)
            return super().make(index)

    began = time.monotonic()
    with pytest.raises(
        EnvironmentFault, match=r"environment 1: the worker process gave no answer within 1 s to being built"
    ):
        VectorEnvironments(Factory(), 2, "processes", timeout=1)
    assert time.monotonic() - began < 1 + 5


@BOTH
def test_an_environment_that_cannot_be_built_is_named(workers):
    class Factory(FaultyFactory):
        def make(self, index=0, *, render=False):
            if index == 1:
                raise RuntimeError("no licence\nleft")
            return super().make(index)

    with pytest.raises(EnvironmentFault, match=r"environment 1: it cannot be built: RuntimeError: no licence left$"):
        VectorEnvironments(Factory(), 2, workers, timeout=20)


@BOTH
def test_an_environment_that_fails_when_it_is_closed_is_no_error(workers, recwarn):
    class Factory(FaultyFactory):
        def make(self, index=0, *, render=False):
            made = super().make(index)
            made.close = lambda: 1 / 0
            return made

    environments = VectorEnvironments(Factory(), 2, workers, timeout=20)
    began = time.monotonic()
    environments.close()
    assert time.monotonic() - began < 5
    if workers == "none":
        assert "environment 1: close raised ZeroDivisionError" in str(recwarn[-1].message)


def test_a_dead_worker_does_not_prevent_a_checkpoint(vector):
    environments = vector(None, 2, "processes", faults=RESTART)
    environments.begin()
    steps(environments, 2)
    environments._hosts[0].process.kill()
    saved = environments.state()
    assert len(saved["episodes"]) == 2
    restored = vector(None, 2)
    assert restored.restore(saved) == []
    assert steps(environments, 1)[0].stepped.tolist() == [False, True]


# Whole runs.


def test_a_run_ends_with_the_place_and_its_last_checkpoint_stays_good(tmp_path: Path) -> None:
    recipe = stumbling_recipe("env.fault=raise", "checkpoints.ticks=3", "seed=1")
    with pytest.raises(EnvironmentFault, match=r"environment 0, episode \d+, step 4, action \[.*\]: step raised Zero"):
        train(recipe, run_dir=tmp_path / "run", progress=False)
    status = read_status(tmp_path / "run")
    assert status["status"] == "failed"
    assert "ZeroDivisionError: the simulator divided by zero" in status["reason"]
    assert checkpoint_of(tmp_path / "run").counters["ticks"] >= 0


WAYS = {
    "raise": ["env.fault=raise", "faults.environment=restart", "faults.max_restarts=100"],
    "reset": ["env.fault=reset", "faults.environment=restart", "faults.max_restarts=100"],
    "nan": ["env.fault=not_a_number", "faults.not_finite=drop", "faults.max_drops=100"],
    "reward": ["env.fault=reward", "faults.not_finite=drop", "faults.max_drops=100"],
    "kill": [
        "env.fault=kill",
        "faults.environment=restart",
        "faults.max_restarts=100",
        "environments.workers=processes",
    ],
}


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=pytest.mark.slow) if way in ("reset", "nan") else way for way in WAYS]
)
def test_runs_that_put_up_with_faults_count_them_and_resume_to_the_same_numbers(
    way: str, tmp_path: Path, nursery: Nursery
) -> None:
    overrides = [*WAYS[way], "environments.count=2", "env.every=3", "env.limit=5", "env.step=2"]
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    train(stumbling_recipe(*overrides), run_dir=alone, progress=False)
    assert nursery.run("deeds:train_and_die", run=killed, overrides=overrides, ticks=19).code == -9
    ended = nursery.run("deeds:resume", run=killed)
    assert ended.answer == "completed", ended.said
    assert differences(final_state(alone), final_state(killed)) == []
    assert rows_of(alone) == rows_of(killed)
    counts = final_state(alone)["own"]["faults"]
    assert max(counts.values()) >= 3, "a run that never stumbled proves nothing"
    status = read_status(killed)
    assert {name: status[name] for name in counts} == counts
    if way in ("nan", "reward"):
        assert len(list((alone / "faults").iterdir())) == counts["drops"]


@pytest.mark.parametrize("limit", [0, 2])
def test_an_evaluation_whose_environment_fails_is_played_again_as_often_as_allowed(tmp_path: Path, limit: int) -> None:
    overrides = ["faults.environment=restart", f"faults.max_restarts={limit}", "evaluation.every=null"]
    recipe = stumbling_recipe("env.fault=raise", "env.every=250000", *overrides)  # 1,000,000 is the evaluation's seed
    with pytest.raises(EnvironmentFault, match=f"faults.max_restarts is {limit}"):
        train(recipe, run_dir=tmp_path / "run", progress=False)
    assert read_status(tmp_path / "run")["env_steps"] > 0
