"""From files and overrides to one nested dict, by Hydra."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import hydra
from hydra import version as hydra_version
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from reverie.errors import Problem
from reverie.extension.names import suggest
from reverie.recipes.chain import Chain, Decision, Layer
from reverie.recipes.keys import reachable
from reverie.recipes.locate import Document, printable
from reverie.recipes.overrides import PLACE, CommandLine, KeyOverride
from reverie.recipes.slots import NAMED, OPTION, KeyPath, dotted, key_of, look, slot_of, slots_in
from reverie.recipes.source import serving


@dataclass
class Composition:
    """A composed recipe, not yet validated.

    Args:
        data: nested plain data; empty slots are absent.
        decisions: what each slot holds in the end, and who said so.
        notes: lines that a person should see.
        refused: slots whose choice was refused.
        written: what each slot held before the command line was read.
    """

    data: dict[str, Any]
    layers: list[Layer]
    decisions: dict[str, Decision]
    command: CommandLine
    notes: list[str]
    problems: list[Problem]
    refused: set[str]
    written: dict[str, str | None]

    @property
    def document(self) -> Document:
        """The file that was asked for."""
        return next(layer.document for layer in self.layers if layer.key == "recipe")

    def origin(self, path: KeyPath) -> Layer | str | None:
        """What set a key: `command line`, or the last file that holds it."""
        if any(override.path == path[: len(override.path)] for override in self.command.keys):
            return PLACE
        slot = slot_of(path)
        chosen = self.command.choices.get(slot) if slot else None
        if chosen and path == key_of(chosen.slot):
            return PLACE
        if chosen and path == (*key_of(chosen.slot), "name") and not self._is_file(chosen.slot):
            return PLACE
        for layer in reversed(self.layers):
            inner = path[len(layer.prefix) :]
            if path[: len(layer.prefix)] == layer.prefix and inner and look(layer.body(), inner)[0]:
                return layer
        return None

    def _is_file(self, slot: str) -> bool:
        """Whether a slot holds a file such as `env/cartpole.yaml`, which then says the component's name."""
        return any(layer.prefix == key_of(slot) for layer in self.layers)

    def where(self, path: KeyPath) -> str:
        """`file:line` or `command line` for a key, or for the nearest one around it."""
        if path[-1:] == ("name",) and self.origin(path) is None:
            path = path[:-1]
            chosen = self.decisions.get("/".join(str(part) for part in path))
            if chosen is not None:
                return chosen.where
        for length in range(len(path), 0, -1):
            origin = self.origin(path[:length])
            if isinstance(origin, str):
                return origin
            if origin is not None:
                return origin.document.where(path[len(origin.prefix) : length])
            slot = "/".join(str(part) for part in path[:length])
            if slot in self.decisions:
                return self.decisions[slot].where
        return self.document.where()


def compose(document: Document, chain: Chain, command: CommandLine) -> Composition:
    """Read the chain, settle every slot, and let Hydra merge."""
    layer, groups = chain.add_recipe(document)
    decisions = dict(layer.decisions)
    for choice in command.choices.values():
        decisions[choice.slot] = Decision(choice.value, PLACE)
    for override in command.keys:
        slot = slot_of(override.path)
        if slot and override.path == (*key_of(slot), "from_run") and isinstance(override.value, str):
            decisions[slot] = Decision(None, PLACE, override.value)
    chain.settle(decisions)
    notes = list(_added(command, layer.decisions))
    notes += [note for layer in chain.layers for note in _drop(layer, decisions)]
    keys, unreachable = reachable(chain.layers, command.keys)
    problems = [*command.problems, *unreachable, *chain.problems]
    lines = [*_choice_lines(decisions, command, groups), *(_line(override) for override in keys)]
    served = {item.key: {**item.body(), "defaults": item.defaults} for item in chain.layers}
    data: dict[str, Any] = {}
    if document.readable:
        data, failures = _merge(served, lines)
        problems += failures
    command.keys[:] = keys
    written = {slot: decision.value for slot, decision in layer.decisions.items()}
    result = Composition(data, chain.layers, decisions, command, notes, problems, chain.refused, written)
    _settle(result)
    return result


def _added(command: CommandLine, before: Mapping[str, Decision]) -> Iterator[str]:
    """Named slots that only the command line fills: perhaps a name was misspelt."""
    for slot, choice in command.choices.items():
        if "/" in slot and slot not in before and choice.value is not None:
            hint = suggest(slot, before)
            yield f"{slot}={printable(choice.value)} adds a slot that the recipe does not have" + (
                f" ({hint})" if hint else ""
            )


def _drop(layer: Layer, final: Mapping[str, Decision]) -> Iterator[str]:
    """Drop keys that a file wrote for another component than the final one; say so where it wrote any options.

    `freeze` is no option of a component: whatever run fills the slot, it stays as that run left it.
    """
    if layer.prefix:
        return
    for slot, body in slots_in(layer.document.data):
        before, after = layer.decisions.get(slot), final.get(slot)
        if before is None or after is None or before.same(after):
            continue
        written = body if isinstance(body, Mapping) else {}
        layer.dropped[slot] = {"freeze": written["freeze"]} if after.run and "freeze" in written else {}
        options = [key for key in written if key not in ("name", "from_run", *layer.dropped[slot])]
        if options:
            named = ", ".join(printable(key) for key in options[:6]) + (", ..." if len(options) > 6 else "")
            yield (
                f"{slot} is now {after} ({after.where}); "
                f"{layer.document.where(key_of(slot))} wrote options for {before}, which are dropped: {named}"
            )


def _choice_lines(decisions: Mapping[str, Decision], command: CommandLine, groups: Mapping[str, str]) -> Iterator[str]:
    """The command line's choices as Hydra accepts them: `~` empties a slot, `+` adds one to the defaults list."""
    for slot in command.choices:
        value = decisions[slot].value
        if value is not None and OPTION.fullmatch(value):
            yield f"{'' if slot in groups else '+'}{slot}={value}"
        elif slot in groups:
            yield f"~{slot}"


def _line(override: KeyOverride) -> str:
    if override.delete:
        return f"~{dotted(override.path)}"
    return f"++{dotted(override.path)}={override.written}"


_CLASH = re.compile(r"Cannot merge \w+ with \w+ full_key: (\S+) object_type=(dict|list)")
"""What OmegaConf says of a mapping for a list, or a list for a mapping; the last word is what stands there."""


def _merge(served: Mapping[str, Mapping[str, Any]], lines: Iterator[str] | Sequence[str]) -> tuple[Any, list[Problem]]:
    """Hydra's part. Everything that it could refuse was checked before; what is left is told as it says it."""
    try:
        with serving(served), _own_hydra():
            config = hydra.compose(config_name="recipe", overrides=list(lines))
        return OmegaConf.to_container(config, resolve=False), []
    except (HydraException, OmegaConfBaseException, ValueError, AttributeError, TypeError) as error:
        cause = error.__cause__ or error
        text = printable(" ".join(str(cause).split()), 300)
        clash = _CLASH.search(text)
        if clash:
            key, (holds, given) = clash[1], ("mapping", "list") if clash[2] == "dict" else ("list", "mapping")
            what = f"{key} holds a {holds}, and a {given} cannot take its place"
            return {}, [Problem(what, PLACE if lines else "", key, fix=f"give a {holds}")]
        return {}, [Problem(f"Hydra cannot compose this recipe: {text}", PLACE if lines else "", "")]


@contextmanager
def _own_hydra() -> Iterator[None]:
    """Hydra's globals are put aside, so that this works inside a user's own Hydra app, and put back."""
    app, base = GlobalHydra.instance().hydra, hydra_version.VersionBase.instance()
    version = base.version_base
    job = JobRuntime.instance()
    name = OmegaConf.select(job.conf, "name")
    store = ConfigStore.instance()
    configs = store.repo
    GlobalHydra.instance().clear()
    # Hydra matches configs of the app's store with ours of the same path.
    store.repo = {key: value for key, value in configs.items() if key == "hydra" or key.startswith("_")}
    try:
        with hydra.initialize(version_base="1.3", config_path=None, job_name="reverie"):
            yield
    finally:
        store.repo = configs
        GlobalHydra.instance().hydra = app
        base.version_base = version
        job.set("name", name)


def _settle(result: Composition) -> None:
    """Remove empty slots, and what stands in the way of a slot taken from a run."""
    for slot, body in list(slots_in(result.data)):
        *group, name = key_of(slot)
        holder = result.data[group[0]] if group else result.data
        decision = result.decisions.get(slot)
        if body is None or (decision is not None and decision.value is None and not decision.run):
            if isinstance(body, dict) and body and slot not in result.refused:
                _complain_of_empty(result, slot, body)
            del holder[name]
        elif decision is None and isinstance(body, dict):
            _complain_of_empty(result, slot, body)
            del holder[name]
        elif decision is not None and decision.run and decision.value is None and isinstance(body, dict):
            body.pop("name", None)
    for empty in [key for key, value in result.data.items() if value == {} and key in NAMED]:
        del result.data[empty]


def _complain_of_empty(result: Composition, slot: str, body: Mapping[str, Any]) -> None:
    key = str(next(iter(body), ""))
    result.problems.append(
        Problem(
            f"{slot}: options for an empty slot",
            result.where((*key_of(slot), key)),
            f"{slot.replace('/', '.')}.{key}",
            "no component was chosen for it",
            f"choose one with `- {slot}: <component>` in the defaults list, or {slot}=<component>",
        )
    )
