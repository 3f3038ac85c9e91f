"""`benchmarks/history.py`: what a model foresees after shorter and longer memories of the same episodes."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import history

from reverie.contracts import Sampling
from reverie.evaluation.reopen import reopen
from reverie.evaluation.world_model import HorizonErrors, HorizonRow, NotApplicable
from reverie.evaluation.world_model.held_out import held_out, spread_starts
from reverie.evaluation.world_model.rollouts import embedded, filtered


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes of an untrained policy end after a dozen steps."""
    monkeypatch.setattr(history, "MEMORIES", (2, 4))
    monkeypatch.setattr(history, "HORIZONS", (1, 2))
    monkeypatch.setattr(history, "EPISODES", 2)


def played(run: Path) -> tuple[Any, list[Any]]:
    opened = reopen(run)
    recordings = history.record(opened.policy, opened.factory, range(history.FIRST_SEED, history.FIRST_SEED + 2))
    opened.agent.eval()
    return opened.agent, recordings


def test_a_memory_of_the_whole_episode_is_the_filters(run: Path) -> None:
    agent, recordings = played(run)
    held, sampling = held_out(recordings), Sampling("mode")
    starts = spread_starts(held, 4, 1000)
    starts = starts[starts.step == 3]  # where four steps are all that there is
    with torch.no_grad():
        whole = filtered(agent, held, sampling).states[starts.episode, starts.step]
        embed = embedded(agent, held, sampling)
        windows = {m: history.states_after(agent, held, embed, starts, m, sampling) for m in (2, 4)}
    torch.testing.assert_close(windows[4].features, whole.features)
    assert not torch.allclose(windows[2].features, whole.features)


def test_a_window_begins_without_an_action(run: Path) -> None:
    """In the middle of an episode, too: what was done before the window is as unknown as what was seen."""
    agent, recordings = played(run)
    held, sampling = held_out(recordings), Sampling("mode")
    starts = spread_starts(held, 8, 1000)
    starts = starts[starts.step >= 7]
    with torch.no_grad():
        embed = embedded(agent, held, sampling)
        found = history.states_after(agent, held, embed, starts, 3, sampling)
        for number, (episode, step) in enumerate(zip(starts.episode.tolist(), starts.step.tolist(), strict=True)):
            action = held.action[episode : episode + 1, step - 2 : step + 1].clone()
            action[:, 0] = 0
            first = torch.tensor([[True, False, False]])
            window = embed[episode : episode + 1, step - 2 : step + 1]
            alone = agent.dynamics.observe(window, action, first, sampling=sampling).last
            torch.testing.assert_close(found.features[number], alone.features[0])
    assert len(starts.step) > 1


def test_a_model_that_grows_strange_with_time_is_found_out(run: Path, short: None) -> None:
    """The filter of this one turns what it remembers around after four steps: only the longest memory feels it."""
    agent, recordings = played(run)
    fresh = history.by_memory(agent, recordings)
    assert fresh.keys() == {"2 steps", "4 steps", "the episode"}
    observe = agent.dynamics.observe

    def forgetful(embed: Any, action: Any, is_first: Any, *rest: Any, **options: Any) -> Any:
        seen = observe(embed, action, is_first, *rest, **options)
        age = torch.arange(embed.shape[1])[None, :, None]
        deter = torch.where(age < 4, seen.states.deter, -seen.states.deter)
        return replace(seen, states=replace(seen.states, deter=deter), last=replace(seen.last, deter=deter[:, -1]))

    agent.dynamics.observe = forgetful
    strange = history.by_memory(agent, recordings)
    model, before = ({name: rows[name].at(1).model for name in rows} for rows in (strange, fresh))
    assert (model["2 steps"], model["4 steps"]) == (before["2 steps"], before["4 steps"])
    assert model["the episode"] != before["the episode"]
    assert strange["the episode"].at(1).copy_last == fresh["2 steps"].at(1).copy_last, "the rows are the same"


def test_the_command(
    run: Path, short: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["history.py", str(run)])
    assert history.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["2 steps", "4 steps", "the episode", "baseline"]
    assert all(re.search(r": \d+\.\d{3}, \d+\.\d{3}$", line) for line in lines[1:])
    monkeypatch.setattr(history, "MEMORIES", (4000,))
    monkeypatch.setattr(sys, "argv", ["history.py", str(run), str(run.parent / "nothing")])
    assert history.main() == 2
    told = capsys.readouterr().err.splitlines()
    assert f"{run}: no episode of this policy is longer than 4000 steps" in told
    assert told[-1].startswith(f"{run.parent / 'nothing'}: ")


def test_numbers_and_reasons_are_told() -> None:
    rows = [HorizonRow(1, 0.5, 0.3, 0.2, 9), HorizonRow(2, 0.5, 0.1, 0.2, 9), NotApplicable("too far")]
    errors = HorizonErrors([rows[0], rows[1], *[rows[2]] * 13])
    assert history.told(errors, "model") == "0.500, too far, too far"
    assert history.told(errors, "copy_last", "mean") == "0.200, too far, too far"
