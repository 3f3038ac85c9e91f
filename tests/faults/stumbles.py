"""Recipes of runs that stumble."""

from functools import cache
from pathlib import Path
from typing import Any

from tiny_runs import TINY

PLUGIN = Path(__file__).parent / "stumbling_plugin.py"
SMALL = [line for line in TINY if not line.startswith("env")]


@cache
def plugins() -> Any:
    from reverie.extension.manager import load_plugins

    return load_plugins(files=[PLUGIN])


def stumbling_recipe(*overrides: str) -> Any:
    """A tiny Dreamer in a `stumbling` environment."""
    from reverie.recipes.prepare import prepare

    return prepare("dreamer", ["env=stumbling", *SMALL, *overrides], plugins=plugins())
