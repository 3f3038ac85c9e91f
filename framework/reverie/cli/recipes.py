"""`reverie recipes`: list, show, copy and compare recipes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from reverie.cli.check import Overrides
from reverie.cli.console import console, current_plugins, print_json, say, styled, table
from reverie.errors import Problem, RecipeError

if TYPE_CHECKING:
    from reverie.recipes.roots import Roots

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="Name of a recipe, or a path that ends in .yaml.")]


@app.callback(help="List, show, copy and compare recipes.")
def _recipes() -> None: ...


@app.command("list")
def list_recipes(as_json: Json = False) -> None:
    """List the recipes and environments that can be named."""
    roots = _roots()
    rows = [(name, "recipe", roots.find(name)) for name in roots.recipes()]
    rows += [(f"env={name}", "env", roots.option("env", name)) for name in roots.options("env")]
    found = [
        {"name": name.removeprefix("env="), "group": group, "summary": _summary(path), "file": str(path)}
        for name, group, path in rows
        if path is not None
    ]
    if as_json:
        print_json(found)
        return
    for (title, note), members in _grouped(found).items():
        made = table(title, f"summary{note}")
        for row in members:
            made.add_row(styled(row["name"], "bold"), styled(row["summary"]))
        console.print(made)
        say()
    for folder in dict.fromkeys(map(str, roots.folders)):
        say(f"files: {folder}", "dim")


def _grouped(found: list[dict[str, str]]) -> dict[tuple[str, str], list[dict[str, str]]]:
    """Rows by the heading that they stand under, with what it needs: recipes, environments, those of one folder."""
    from rich.markup import escape

    from reverie.extension.known import EXTRAS, pip_line

    needed = {extra.name: escape(f"   ({pip_line('reverie', extra.name)})") for extra in EXTRAS}
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in sorted(found, key=lambda row: (row["group"] == "env", "/" in row["name"])):
        folder = row["name"].rpartition("/")[0] if row["group"] == "env" else ""
        title = "recipe" if row["group"] == "recipe" else f"env={folder}/..." if folder else "env=..."
        groups.setdefault((title, needed.get(folder, "")), []).append(row)
    return groups


def _roots() -> "Roots":
    from reverie.recipes.roots import Roots

    return Roots(tuple(current_plugins().recipe_roots()))


def _summary(path: Path | None) -> str:
    """The first comment of a file, without the command behind it."""
    from reverie.recipes.locate import LARGEST_FILE

    if path is None:
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        line = file.read(LARGEST_FILE).partition("\n")[0]
    return line.removeprefix("#").partition("   ")[0].strip() if line.startswith("#") else ""


@app.command()
def show(recipe: Name, overrides: Overrides = None, as_json: Json = False) -> None:
    """Print a composed recipe, and where each value comes from."""
    from reverie.recipes.prepare import examine

    found, problems = examine(recipe, overrides or [], current_plugins())
    if found is None:
        raise RecipeError(problems)
    if as_json:
        print_json({"recipe": found.resolved, "places": found.places, "notes": found.notes})
    else:
        for note in found.notes:
            say(note, "yellow", error=True)
        _print_data(found.resolved, dict(found.places))
    if problems:
        raise RecipeError(problems)


def _print_data(data: dict[str, Any], places: dict[str, str]) -> None:
    lines = list(_lines(data, places, "", 0))
    width = max((len(text) for text, _ in lines), default=0)
    for text, place in lines:
        margin = f"{'':{max(2, min(width, 76) - len(text) + 2)}}# {place}" if place else ""
        say(Text.assemble(styled(text), styled(margin, "dim")))


def _lines(data: dict[str, Any], places: dict[str, str], prefix: str, depth: int) -> "list[tuple[str, str]]":
    lines: list[tuple[str, str]] = []
    for key, value in data.items():
        path, start = f"{prefix}{key}", "  " * depth
        if isinstance(value, dict) and value:
            lines += [(f"{start}{key}:", ""), *_lines(value, places, f"{path}.", depth + 1)]
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            lines.append((f"{start}{key}:", places.get(path, "")))
            lines += [(f"{start}  - {_flow(item)}", "") for item in value]
        else:
            lines.append((f"{start}{key}: {_flow(value)}", places.get(path, "")))
    return lines


def _flow(value: Any) -> str:
    """A value on one line, as YAML."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    return text.removesuffix("...\n").strip()


@app.command()
def copy(
    recipe: Name,
    target: Annotated[Path | None, typer.Argument(help="File or folder to write; by default NAME.yaml here.")] = None,
) -> None:
    """Copy a recipe into your own folder, to change it. A group's file goes by its path, such as env/cartpole."""
    from reverie.recipes.roots import primary

    path, roots = primary(recipe, current_plugins().recipe_roots())
    if path is None or not path.is_file():
        from reverie.extension.names import suggest

        names = [*roots.recipes(), *(f"env/{name}" for name in roots.options("env"))]
        hint = suggest(recipe, names)
        what = f"there is no recipe {recipe!r}" + (f" ({hint})" if hint else "")
        raise RecipeError([Problem(what, fix=f"recipes: {', '.join(names)}")])
    written = target or Path(path.name)
    if written.is_dir():
        written = written / path.name
    if written.suffix not in (".yaml", ".yml"):
        raise RecipeError([Problem(f"{written}: a recipe's file ends in .yaml", fix=f"write {written}.yaml")])
    if written.exists():
        raise RecipeError([Problem(f"{written} exists already", fix="name another file: it is never overwritten")])
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_bytes(path.read_bytes())
    say(f"{written}")
    if not recipe.startswith("env/"):
        shown = written if written.is_absolute() or len(written.parts) > 1 else f"./{written}"
        say(f"reverie train {shown}", "dim")


@app.command()
def diff(
    first: Name,
    second: Name,
    filled: Annotated[bool, typer.Option(help="Compare with every default filled in.")] = True,
    as_json: Json = False,
) -> None:
    """Compare two recipes, or a recipe with a run's recipe.lock.yaml, as they are after composing."""
    from reverie.recipes.diff import differences
    from reverie.recipes.prepare import prepare

    plugins = current_plugins()
    pair = prepare(first, plugins=plugins), prepare(second, plugins=plugins)
    found = differences(*pair, filled=filled)
    if as_json:
        print_json([vars(difference) for difference in found])
        return
    for difference in found:
        say(Text(difference.key, "bold"))
        for sign, value, style in (("-", difference.first, "red"), ("+", difference.second, "green")):
            if value is not None:
                say(Text.assemble(f"  {sign} ", styled(value, style)))
    if not found:
        say("no difference")
