"""The recipes of `benchmarks/mixes/` fit, as long as their numbers are quoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from reverie import api
from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import prepare

MIXES = Path(__file__).parents[2] / "benchmarks" / "mixes"
OVER_V = {"frozen_v_under_rssm": ("encoder",), "m_and_c_over_frozen_v": ("encoder", "decoder")}
"""Mixes that take these slots from a run of `v.yaml`."""
LEARNERS = {
    "v": {"v"},
    "m_and_c_over_frozen_v": {"m", "c"},
    "cem_on_mdn_rnn": {"v", "m"},
    "dreamer_on_mdn_rnn": {"v", "m", "c"},
}


@pytest.mark.parametrize("path", sorted(MIXES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_mix_of_the_benchmark_fits(path: Path, tmp_path: Path) -> None:
    overrides = []
    if path.stem in OVER_V:
        little = ["stages.random.until.agent_steps=70", "stages.v.until.updates=1", "evaluation.episodes=1"]
        task = "env=cartpole_pixels" if path.stem == "m_and_c_over_frozen_v" else "env=cartpole"
        run = api.train(MIXES / "v.yaml", [*little, task], run_dir=tmp_path / "v").run_dir
        overrides = [f"{slot}.from_run={run}" for slot in OVER_V[path.stem]]
    settings = prepare(path, overrides, plugins=load_plugins()).settings
    learning = {name for _, stage in settings.flat_stages() for name in stage.learners}
    assert learning == LEARNERS.get(path.stem, {"model", "behaviour"})
