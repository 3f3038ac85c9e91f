"""`reverie check`: the wiring of a recipe, and everything that is wrong with it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from reverie.cli.console import console, current_plugins, print_json, say, styled, table
from reverie.errors import Problem, RecipeError, ReverieError

if TYPE_CHECKING:
    from rich.table import Table

    from reverie.recipes.recipe import Choice, Recipe

Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Overrides, such as env=pendulum, dynamics.deter=128, planner=cem or decoder=null."),
]


def check(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or a path that ends in .yaml.")],
    overrides: Overrides = None,
    probe: Annotated[bool, typer.Option(help="Also send one synthetic batch through every part.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say everything that is wrong with a recipe, without training: each problem with its line and what to write."""
    from reverie.recipes.prepare import examine

    found, problems = examine(recipe, overrides or [], current_plugins())
    if not as_json:
        _print_wiring(found)
    if found is not None and not problems and probe:
        problems = _probe(found)
    if as_json:
        rows = [_row(choice) for choice in found.choices.values()] if found else []
        print_json({"ok": not problems, "wiring": rows, "problems": [vars(problem) for problem in problems]})
        if problems:
            raise typer.Exit(2)
    elif problems:
        raise RecipeError(problems)
    else:
        _print_absent_devices(found)
        say(Text.assemble(("OK", "bold green"), "  every part fits" + (", and a batch went through" if probe else "")))


def _print_wiring(recipe: "Recipe | None") -> None:
    if recipe is None or not recipe.choices:
        return
    for note in recipe.notes:
        say(note, "yellow", error=True)
    console.print(_wiring_table(recipe))
    say()


def _print_absent_devices(recipe: "Recipe | None") -> None:
    """Whoever checks a recipe here may train it elsewhere: what this machine lacks is a note, and no problem."""
    if recipe is None or recipe.settings.trainer.accelerator not in ("gpu", "cuda"):
        return  # without torch, which takes seconds to import
    from reverie.training.devices import require_devices

    try:
        require_devices(recipe.settings.trainer)
    except RecipeError as error:
        for problem in error.problems:
            say(f"note: this machine cannot train it as it stands: {problem}", "yellow", error=True)


def _wiring_table(recipe: "Recipe") -> "Table":
    """The column of distributions stands there only where they differ: eighty letters are few."""
    rows = [(choice, _row(choice)) for choice in recipe.choices.values()]
    several = len({str(row["distribution"]) for _, row in rows}) > 1
    made = table("slot", "component", *(("distribution",) if several else ()), "provides", "needs", whole=2)
    for choice, row in rows:
        marks = " (frozen)" if choice.freeze else ""
        made.add_row(
            styled(choice.slot, "cyan"),
            styled(f"{row['component']}{marks}", "bold"),
            *((styled(str(row["distribution"]), "dim"),) if several else ()),
            styled(", ".join(row["provides"])),
            styled("; ".join(row["needs"])),
        )
    for slot, name in _refused(recipe):
        made.add_row(styled(slot, "cyan"), styled(f"{name} (refused)", "bold red"))
    return made


def _refused(recipe: "Recipe") -> Iterator[tuple[str, str]]:
    """Slots whose component cannot be used, and what was written there."""
    from reverie.recipes.slots import slots_in

    for slot, body in slots_in(recipe.resolved):
        if slot not in recipe.choices and isinstance(body, Mapping) and body:
            yield slot, str(body.get("name", "?"))


def _row(choice: "Choice") -> dict[str, str | list[str]]:
    plugin = choice.component.plugin
    needs = choice.needs
    asked = [slot for slot in needs.slots if slot not in needs.provides]
    return {
        "slot": choice.slot,
        "component": choice.component.reference,
        "distribution": f"{plugin.distribution} {plugin.version}".strip(),
        "provides": sorted(choice.provides),
        "needs": [*asked, *(f"{slot} with {', '.join(names)}" for slot, names in needs.provides.items())],
    }


def _probe(recipe: "Recipe") -> list[Problem]:
    """Build every part and send one synthetic batch through; what a part raises on purpose is a problem."""
    import torch

    from reverie.assembly.build import build_agent, build_environment, build_learners
    from reverie.assembly.probe import probe
    from reverie.training.offline import surveyed

    if recipe.choice("external") is not None:
        return []
    torch.manual_seed(0)
    try:
        recipe = surveyed(recipe)
        factory = build_environment(recipe)
        agent = build_agent(recipe, factory.observation, factory.action)
        return list(probe(recipe, agent, build_learners(recipe, agent)))
    except RecipeError as error:
        return list(error.problems)
    except ReverieError as error:
        what, _, rest = str(error).partition("\n")
        return [Problem(what, fix=rest.strip().removeprefix("fix:").strip())]
