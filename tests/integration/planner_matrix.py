"""Which planner runs over which world model, worked out by the wiring check; and the table of it in docs/planners.md.

    python tests/integration/planner_matrix.py       # writes the table anew

Planners and dynamics are those of the catalogue. A new dynamics joins with the first recipe that uses it; `WORLDS` adds
variants, and recipes for those that need more than their own defaults.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reverie.errors import RecipeError
from reverie.extension.catalogue import Component
from reverie.extension.manager import Plugins, load_plugins
from reverie.recipes.prepare import prepare
from reverie.recipes.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "planners.md"
LINES = ROOT / "benchmarks" / "learning"
MIXES = ROOT / "benchmarks" / "mixes"
CLEARLY = 3.0
"""Times the random policy's mean, as in `benchmarks/mixes.py`."""
BEGIN = "<!-- matrix: begin (python tests/integration/planner_matrix.py) -->"
END = "<!-- matrix: end -->"
TASKS = {"continuous": "pendulum", "discrete": "cartpole"}
SMALL: dict[str, float] = {"candidates": 6, "elites": 2, "iterations": 2, "horizon": 3, "proposals": 2}


@dataclass(frozen=True)
class World:
    """A world model as a recipe makes it."""

    name: str
    recipe: str
    overrides: tuple[str, ...] = ()
    discount: float | None = None
    """What planners discount by, where the recipe's values fix it."""


WORLDS = (
    World("rssm", "dreamer"),
    World("rssm, categorical", "dreamer_categorical"),
    World("implicit", "tdmpc2", discount=0.97),
)
"""World models by hand. One line is all that another one takes."""


class Matrix:
    """All pairs of a catalogue. What a pair comes to is worked out once."""

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins
        self._found: dict[tuple[str, str, str], Recipe | RecipeError] = {}

    @property
    def planners(self) -> list[str]:
        """Those that come with Reverie, in the order of the catalogue."""
        return [one.name for one in self._built_in("planner")]

    @cached_property
    def worlds(self) -> list[World]:
        """`WORLDS`, and every dynamics of the catalogue that is not among them."""
        found = list(WORLDS)
        known = {self._dynamics(prepare(one.recipe, one.overrides, plugins=self.plugins)) for one in found}
        for component in self._built_in("dynamics"):
            if component.name not in known:
                found.append(World(component.name, *self._recipe_with(component.name)))
        return found

    def planner(self, name: str) -> Component:
        return next(one for one in self._built_in("planner") if one.name == name)

    def recipe(self, planner: str, world: World, task: str) -> Recipe:
        """The pair as a tiny recipe. A planner that needs an actor is given one where the world's recipe has none.

        Raises:
            RecipeError: if the pair does not fit.
        """
        key = (planner, world.name, task)
        if key not in self._found:
            try:
                self._found[key] = prepare(world.recipe, self._overrides(planner, world, task), plugins=self.plugins)
            except RecipeError as refused:
                self._found[key] = refused
        found = self._found[key]
        if isinstance(found, RecipeError):
            raise found
        return found

    def refusal(self, planner: str, world: World, task: str) -> RecipeError | None:
        """Why a pair does not fit; None where it does."""
        try:
            self.recipe(planner, world, task)
        except RecipeError as refused:
            return refused
        return None

    def _overrides(self, planner: str, world: World, task: str) -> list[str]:
        component = self.planner(planner)
        fields, needs = component.load_config().model_fields, component.spec.needs
        keys = SMALL if world.discount is None else {**SMALL, "discount": world.discount}
        if not self._has_actor(world):
            keys = {key: value for key, value in keys.items() if key != "proposals"}
        small = [f"planner.{key}={value}" for key, value in keys.items() if key in fields]
        wants_actor = "actor" in needs.slots or "actor" in needs.provides
        given = ["actor=mlp"] if wants_actor and not self._has_actor(world) else []
        return [f"env={TASKS[task]}", *world.overrides, *given, f"planner={planner}", *small]

    def fits(self, planner: str, world: World) -> list[str]:
        """The kinds of action for which a pair passes `reverie check`."""
        return [task for task in TASKS if self.refusal(planner, world, task) is None]

    def learned(self) -> set[tuple[str, str]]:
        """(planner, dynamics) of every recipe that solved a task on a reporting seed, and of every mix whose mean was
        clearly above the random policy's."""
        asked: set[tuple[str, tuple[str, ...]]] = set()
        for file in sorted(LINES.glob("*.jsonl")):
            for line in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
                if line.get("solved_at") is not None:
                    named, _, env = line["row"].partition("/")
                    asked.add((named, (f"env={env}",)))
                elif "mix" in line and line["mean"] >= CLEARLY * line["random"]:
                    asked.add((str(MIXES / f"{line['mix']}.yaml"), ()))
        pairs = set()
        for name, overrides in sorted(asked):
            try:
                recipe = prepare(name, overrides, plugins=self.plugins)
            except RecipeError:  # a row that is no recipe of ours, or a mix over a run that is not here
                continue
            planner, dynamics = recipe.choice("planner"), recipe.choice("dynamics")
            if planner is not None and dynamics is not None:
                pairs.add((planner.name, dynamics.name))
        return pairs

    def table(self, only: Collection[str] | None = None) -> str:
        """The table in Markdown: one row per planner, one column per world model (of those in `only`)."""
        worlds = [world for world in self.worlds if only is None or world.name in only]
        learned = self.learned()
        lines = [
            "| planner | " + " | ".join(f"`{world.name}`" for world in worlds) + " |",
            "|" + "---|" * (len(worlds) + 1),
        ]
        for planner in self.planners:
            cells = [self._cell(planner, world, learned) for world in worlds]
            lines.append(f"| `{planner}` | " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def _cell(self, planner: str, world: World, learned: set[tuple[str, str]]) -> str:
        fits = self.fits(planner, world)
        words = {0: "-", 1: f"{fits[0]} only" if fits else "", 2: "both"}[len(fits)]
        return f"**{words}**" if (planner, world.name) in learned and fits else words

    def _built_in(self, kind: str) -> list[Component]:
        return [
            one
            for one in self.plugins.catalogue.components()
            if one.plugin.distribution == "reverie" and one.spec.kind == kind
        ]

    def _recipe_with(self, dynamics: str) -> tuple[str, tuple[str, ...]]:
        for name in self._recipes():
            try:
                if self._dynamics(prepare(name, plugins=self.plugins)) == dynamics:
                    return name, ()
            except RecipeError:
                continue
        return "dreamer", (f"dynamics={dynamics}",)

    @staticmethod
    def _recipes() -> Iterator[str]:
        return (path.stem for path in sorted((ROOT / "recipes").glob("*.yaml")))

    @staticmethod
    def _dynamics(recipe: Recipe) -> str | None:
        choice = recipe.choice("dynamics")
        return None if choice is None else choice.name

    def _has_actor(self, world: World) -> bool:
        return prepare(world.recipe, world.overrides, plugins=self.plugins).choice("actor") is not None


def written(document: str) -> str:
    """The table as the document has it."""
    return document[document.index(BEGIN) + len(BEGIN) : document.index(END)].strip()


def columns(table: str) -> list[str]:
    """The world models of a table."""
    return re.findall(r"`([^`]+)`", table.splitlines()[0])


if __name__ == "__main__":
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(text.replace(written(text), Matrix(load_plugins()).table()), encoding="utf-8")
