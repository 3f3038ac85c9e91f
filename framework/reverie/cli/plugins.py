"""`reverie plugins`: which plugins and components there are, what they offer, and what is wrong with them."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from reverie.cli.console import console, current_plugins, error_console, print_json, say, styled, table
from reverie.errors import PluginError, Problem
from reverie.extension.names import listing, suggest
from reverie.extension.report import PluginRecord

if TYPE_CHECKING:
    from rich.table import Table

    from reverie.extension.catalogue import Component
    from reverie.extension.manager import Plugins

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.callback(help="List, show and examine plugins and their components.")
def _plugins() -> None: ...


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_STATES = {"loaded": "green", "blocked": "yellow", "failed": "bold red", "incompatible": "bold red"}


@app.command("list")
def list_plugins(
    kind: Annotated[str | None, typer.Option(help="Only components of this kind, such as dynamics.")] = None,
    as_json: Json = False,
) -> None:
    """List every plugin, and the components that recipes can name."""
    plugins = current_plugins(strict=False)
    if kind is not None:
        _check_kind(kind)
    if as_json:
        print_json([_plugin_data(plugins, record) for record in plugins.records])
        return
    if kind is None:
        console.print(_plugins_table(plugins))
        say()
    console.print(_components_table(plugins, kind))
    _say_what_failed(plugins)


def _check_kind(kind: str) -> None:
    from reverie.extension.spec import KINDS

    if kind not in KINDS:
        fix = suggest(kind, KINDS) or f"kinds: {listing(KINDS)}"
        raise PluginError(str(Problem(what=f"there is no kind of component called {kind!r}", fix=fix)))


def _plugins_table(plugins: "Plugins") -> "Table":
    made = table("plugin", "state", "distribution", "version", "components")
    for record in plugins.records:
        count = sum(component.plugin == record for component in plugins.catalogue)
        made.add_row(
            styled(record.name, "bold"),
            styled(record.state, _STATES[record.state]),
            styled("a file" if record.is_local else record.distribution),
            styled(record.version),
            styled(count or ""),
        )
    return made


def _components_table(plugins: "Plugins", kind: str | None) -> "Table":
    made = table("kind", "name", "plugin", "summary", whole=3)
    previous = ""
    for component in plugins.catalogue.components(kind):
        made.add_row(
            styled("" if component.kind == previous else component.kind, "cyan"),
            styled(component.reference, "bold"),
            styled(component.plugin.name, "dim"),
            styled(component.spec.summary),
        )
        previous = component.kind
    return made


def _say_what_failed(plugins: "Plugins") -> None:
    failures, conflicts = plugins.failures(), plugins.catalogue.conflicts()
    for record in failures:
        say(Text.assemble((f"{record.state}: ", "bold red"), styled(f"{record.origin}: {record.error}")), error=True)
    for problem in conflicts:
        say(Text.assemble(("conflict: ", "bold yellow"), styled(str(problem), lines=True)), error=True)
    if failures or conflicts:
        say("`reverie plugins doctor` says more", "dim", error=True)


def _plugin_data(plugins: "Plugins", record: PluginRecord) -> dict[str, Any]:
    mine = [component for component in plugins.catalogue.components() if component.plugin == record]
    return {**record.as_data(), "components": [_component_data(component) for component in mine]}


def _component_data(component: "Component") -> dict[str, Any]:
    spec = component.spec
    return {
        "kind": spec.kind,
        "name": spec.name,
        "reference": component.reference,
        "summary": spec.summary,
        "target": spec.target,
        "config": spec.config,
        "provides": sorted(spec.provides),
        "needs": {"slots": list(spec.needs.slots), "provides": {k: list(v) for k, v in spec.needs.provides.items()}},
        "extra": spec.extra,
        "api": spec.api,
    }


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A plugin (rssm, dist/rssm) or a component (two_hot, head/two_hot).")],
    as_json: Json = False,
) -> None:
    """Show a plugin or component: where it is, what it offers and needs, and every option with type and default."""
    from reverie.cli.options import describe_config

    plugins = current_plugins(strict=False)
    records, components = _find(plugins, name)
    if as_json:
        described = [{**_component_data(one), **describe_config(one).as_data()} for one in components]
        print_json({"plugins": [record.as_data() for record in records], "components": described})
        return
    for record in records:
        _show_plugin(record)
    for component in components:
        _show_component(component)


def _find(plugins: "Plugins", name: str) -> "tuple[list[PluginRecord], list[Component]]":
    """The plugins of this name with their components; or else the components of this name with their plugins."""
    components = plugins.catalogue.components()
    if records := plugins.find(name):
        return records, [component for component in components if component.plugin in records]
    found = [
        component
        for component in components
        if name in (component.name, component.qualified, f"{component.kind}/{component.name}")
    ]
    if found:
        return list(dict.fromkeys(component.plugin for component in found)), found
    names = [record.name for record in plugins.records]
    hint = suggest(name, [*names, *(component.name for component in components)]) or f"plugins: {listing(names)}"
    raise PluginError(str(Problem(what=f"there is no plugin or component called {name!r}", fix=hint)))


def _show_plugin(record: PluginRecord) -> None:
    head = Text.assemble(styled(record.name, "bold"), "  ", styled(record.state, _STATES[record.state]))
    say(head)
    where = "a file" if record.is_local else f"{record.distribution} {record.version}".rstrip()
    for label, value in (("from", where), ("module", record.module), ("file", record.file), ("sha256", record.sha256)):
        if value:
            say(Text.assemble((f"  {label:<7}", "dim"), styled(value)))
    if record.error:
        say(Text.assemble(("  error  ", "bold red"), styled(record.error, lines=True)))


def _show_component(component: "Component") -> None:
    from reverie.cli.options import describe_config

    spec = component.spec
    say()
    say(Text.assemble(styled(spec.kind, "cyan"), " ", styled(component.reference, "bold"), "  ", styled(spec.summary)))
    needs = [*spec.needs.slots, *(f"{slot} with {', '.join(sorted(v))}" for slot, v in spec.needs.provides.items())]
    provides = ", ".join(sorted(spec.provides))
    rows = [("class", _place(spec.target)), ("config", _place(spec.config)), ("provides", provides)]
    for label, value in (*rows, ("needs", "; ".join(needs)), ("extra", spec.extra or "")):
        if value:
            say(Text.assemble((f"  {label:<9}", "dim"), styled(value)))
    described = describe_config(component)
    if described.error:
        say(Text.assemble(("  error    ", "bold red"), styled(described.error, lines=True)))
        return
    if described.options:
        say()
        for line in described.lines():
            console.print(line)
    for preset, values in described.presets.items():
        written = ", ".join(f"{key}={value}" for key, value in values.items())
        say(Text.assemble(("  size=", "dim"), styled(preset, "bold"), "  ", styled(written)))


def _place(target: str) -> str:
    """`module:Class` with file and line, found without importing the module itself (which may need torch)."""
    import ast

    module, _, name = target.partition(":")
    try:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            return target
        tree = ast.parse(Path(spec.origin).read_bytes())
    except (ImportError, OSError, ValueError, SyntaxError):
        return target
    lines = [node.lineno for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    return f"{name}  {spec.origin}:{lines[0]}" if lines else target


@app.command("doctor")
def doctor(as_json: Json = False) -> None:
    """Say which plugins could not be loaded, and why. The exit code is 1 if something is wrong."""
    plugins = current_plugins(strict=False)
    failures, conflicts = plugins.failures(), plugins.catalogue.conflicts()
    if as_json:
        failed = [{**record.as_data(), "traceback": record.traceback} for record in failures]
        told = [str(problem) for problem in conflicts]
        print_json({"failed": failed, "conflicts": told, "unmatched": plugins.unmatched})
    else:
        _print_diagnosis(plugins)
    if failures or conflicts:
        raise typer.Exit(1)


def _print_diagnosis(plugins: "Plugins") -> None:
    failures, conflicts = plugins.failures(), plugins.catalogue.conflicts()
    counts = {state: sum(record.state == state for record in plugins.records) for state in _STATES}
    say(f"{len(plugins.records)} plugins: " + ", ".join(f"{count} {state}" for state, count in counts.items() if count))
    for record in failures:
        say()
        say(Text.assemble(("✗ ", "bold red"), styled(record.origin, "bold"), f"  {record.state}"))
        say(Text.assemble("  ", styled(record.error, lines=True)))
        say(Text.assemble(("  file  ", "dim"), styled(record.file or record.module)))
        if record.traceback:
            say(_indent(record.traceback), "dim")
        fix = f"mend or update it, or leave it out with --no-plugin {record.qualified}"
        say(Text.assemble(("  fix: ", "green"), styled(fix)))
    for problem in conflicts:
        say()
        say(Text.assemble(("! ", "bold yellow"), styled(str(problem), lines=True)))
    for name in plugins.unmatched:
        say()
        told = f"REVERIE_DISABLE_PLUGINS names {name!r}, but no plugin is called that"
        say(Text.assemble(("! ", "yellow"), styled(told)))
    if not failures and not conflicts:
        say("nothing is wrong", "green")


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines())


def trace(plugins: "Plugins") -> None:
    """Print every plugin with its distribution, version and file to stderr (`--trace-plugins`)."""
    made = table("plugin", "state", "distribution", "version", "file")
    for record in plugins.records:
        made.add_row(
            styled(record.name, "bold"),
            styled(record.state, _STATES[record.state]),
            styled(record.distribution),
            styled(record.version),
            styled(record.file or record.module),
        )
    error_console.print(made)
