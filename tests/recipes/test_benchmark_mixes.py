"""The recipes of `benchmarks/mixes/` fit, as long as their numbers are quoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from reverie import api
from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import prepare

MIXES = Path(__file__).parents[2] / "benchmarks" / "mixes"
FROZEN = "frozen_v_under_rssm.yaml"


@pytest.mark.parametrize("path", sorted(MIXES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_mix_of_the_benchmark_fits(path: Path, tmp_path: Path) -> None:
    overrides = []
    if path.name == FROZEN:
        little = ["stages.random.until.agent_steps=70", "stages.v.until.updates=1", "evaluation.episodes=1"]
        run = api.train(MIXES / "v.yaml", little, run_dir=tmp_path / "v").run_dir
        overrides = [f"encoder.from_run={run}"]
    settings = prepare(path, overrides, plugins=load_plugins()).settings
    learning = {name for _, stage in settings.flat_stages() for name in stage.learners}
    assert learning >= ({"v"} if path.stem == "v" else {"model", "behaviour"} if "rssm" in path.stem else {"v", "m"})
