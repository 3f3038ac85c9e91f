"""`benchmarks/limits.py`: the true simulator beside a model, from states that are known more or less well."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import limits

from .conftest import trained

pytest.importorskip("dm_control")


@pytest.fixture(scope="module")
def swing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(
        "dreamer", tmp_path_factory.mktemp("swing") / "run", "env=dmc/cartpole_swingup", "env.time_limit=240"
    )


def test_the_simulator_goes_on_where_the_episode_did(swing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the true state it makes no error, from one that is off it makes the larger ones the worse it is known."""
    monkeypatch.setattr(limits, "NOISE", (0.001, 0.1))
    opened = limits.reopen(swing)
    recordings = limits.record(opened.policy, opened.factory, range(3, 5))
    found = limits.compared(opened.agent, recordings, limits.Simulator(repeat=8), starts=6)
    model, guess, truth, little, much, otherwise = found.values()
    assert truth == pytest.approx([0, 0, 0], abs=1e-4)
    assert all(error > 0.0003 for error in little)
    assert all(30 * small < large for small, large in zip(little[:2], much[:2], strict=True))
    assert all(error > 0.1 for error in (*model, *guess)), "an untrained model knows neither state nor dynamics"
    assert all(error > 0.1 for error in otherwise)


def test_random_actions_show_who_only_knows_what_the_policy_does(swing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that replays the episode whatever is done is perfect along the policy's actions, and along no others; the
    simulator's own answers are perfect along both."""
    opened, simulator = limits.reopen(swing), limits.Simulator(repeat=8)
    recordings = limits.record(opened.policy, opened.factory, range(3, 5))
    held = limits.held_out(recordings)
    chosen = limits.spread_starts(held, limits.CONTEXT, 6)
    seen = limits.joined(held.obs)[chosen.episode, chosen.step]
    real = held.future(chosen, max(limits.HORIZONS))

    def split(rows):
        return SimpleNamespace(
            obs={"position": torch.from_numpy(rows[..., :3]), "velocity": torch.from_numpy(rows[..., 3:])}
        )

    def replays(agent, states, actions, sampling):
        return real

    def knows(agent, states, actions, sampling):
        plans = actions.double().numpy()
        return split(np.stack([simulator.play(one, plan) for one, plan in zip(seen, plans, strict=True)]))

    for imagined, errs in ((replays, True), (knows, False)):
        monkeypatch.setattr(limits, "imagined_from", imagined)
        found = limits.compared(opened.agent, recordings, simulator, starts=6)
        assert found["the model"] == pytest.approx([0, 0, 0], abs=1e-4)
        assert all((error > 0.05) == errs for error in found[limits.OTHERWISE])


def test_an_action_is_held_for_as_many_frames() -> None:
    once, twice = limits.Simulator(1), limits.Simulator(2)
    start, push = np.array([0.1, -1.0, 0.0, 0.2, -0.3]), np.array([[0.5], [0.5], [-1.0], [-1.0]])
    np.testing.assert_allclose(once.play(start, push)[1::2], twice.play(start, push[::2]), rtol=1e-10)


def test_the_command(
    swing: Path, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EPISODES", 1)
    monkeypatch.setattr(limits, "STARTS", 4)
    monkeypatch.setattr(sys, "argv", ["limits.py", str(run), str(swing)])
    assert limits.main() == 1, "CartPole-v1 is another task"
    told = capsys.readouterr()
    assert told.err == f"{run}: it was trained on CartPole-v1, and the simulator here is that of {limits.TASK}\n"
    lines = told.out.splitlines()
    assert lines[0] == f"{swing}: errors at 1, 5, 15 decisions"
    assert "the simulator, from the truth: 0.000, 0.000, 0.000" in lines[3]
    assert lines[-1].strip().startswith(limits.OTHERWISE)
    assert len(lines) == 8
