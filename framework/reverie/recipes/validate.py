"""Settings and component options, validated by pydantic: preset < keys of the recipe < command line."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from pydantic import ValidationError

from reverie.errors import PluginError, Problem
from reverie.extension.catalogue import Catalogue, Component, LookupFailure
from reverie.extension.config import Config, LearnerConfig
from reverie.extension.names import suggest
from reverie.extension.spec import KINDS
from reverie.recipes.chain import Layer
from reverie.recipes.compose import Composition
from reverie.recipes.from_run import take
from reverie.recipes.locate import printable
from reverie.recipes.messages import translate
from reverie.recipes.overrides import PLACE
from reverie.recipes.recipe import Choice
from reverie.recipes.schema import LARGEST_BATCH, STAGE_NAME, Settings, Stage
from reverie.recipes.slots import (
    NAMED,
    RESERVED,
    SETTINGS_KEYS,
    SLOT_NAME,
    key_of,
    kind_of,
    slots_in,
)

LEARNER_DEFAULTS = ("trains", "reaches", "objectives")
"""Keys of learners that a lock spells out although the recipe may not have written them."""


def settings(composition: Composition) -> tuple[Settings, list[Problem]]:
    """The keys that are no slots. Invalid ones are left out of the result, so that later checks can go on."""
    data = {key: value for key, value in composition.data.items() if key in SETTINGS_KEYS}
    outside = _run_dir_elsewhere(composition, data)
    try:
        found = Settings.model_validate(data)
        return found, [*outside, *_too_large(found, composition)]
    except ValidationError as error:
        problems = translate(error, Settings, data, (), composition.where, "")
        bad = {detail["loc"][0] for detail in error.errors(include_url=False) if detail["loc"]}
        usable = {key: value for key, value in data.items() if key not in bad}
        if "stages" in bad and isinstance(data["stages"], list):
            usable["stages"] = [_usable_stage(entry, str(number)) for number, entry in enumerate(data["stages"])]
        return Settings.model_validate(usable), [*outside, *problems]


def _too_large(found: Settings, composition: Composition) -> Iterator[Problem]:
    """Batches of stages that have a size or a length of their own; those of the replay were checked with it."""
    for key, stage in found.keyed_stages():
        rows = max(math.prod(stage.batch_shape(found.replay, images)) for images in (False, True))
        own = [name for name in ("batch_size", "length") if getattr(stage, name) is not None]
        if own and rows > LARGEST_BATCH:
            yield Problem(
                f"stage {stage.name}: a batch of {rows} rows is more than {LARGEST_BATCH}",
                composition.where(tuple(int(part) if part.isdigit() else part for part in (*key.split("."), own[0]))),
                f"{key}.{own[0]}",
                fix="write fewer chunks (batch_size), or shorter ones (length)",
            )


def _run_dir_elsewhere(composition: Composition, data: Mapping[str, Any]) -> list[Problem]:
    """A file may come from a stranger: it makes no folder outside the current one. The command line may."""
    folder = data.get("run_dir")
    if not isinstance(folder, str) or composition.origin(("run_dir",)) == PLACE:
        return []
    path = PurePath(folder)
    if not path.is_absolute() and ".." not in path.parts and path.parts[:1] != ("~",):
        return []
    what = f"run_dir: {printable(folder)!r} lies outside the current folder"
    why = "a recipe's file may come from a stranger and makes no folders elsewhere"
    return [Problem(what, composition.where(("run_dir",)), "run_dir", why, "give run_dir=... on the command line")]


def _usable_stage(entry: Any, number: str) -> dict[str, Any]:
    """A stage as it is or, where it is wrong, one in its place that names the same learners: the others keep their
    numbers, and what else is wrong with them can be said at once."""
    if isinstance(entry, Mapping) and isinstance(entry.get("rounds"), int) and isinstance(entry.get("stages"), list):
        inner = [_usable_stage(stage, f"{number}_{inside}") for inside, stage in enumerate(entry["stages"])]
        return {"rounds": 1, "stages": inner or [_usable_stage(None, number)]}
    try:
        Stage.model_validate(entry)
    except ValidationError:
        named = entry.get("learners") if isinstance(entry, Mapping) else None
        learners = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
        name = _stage_name(entry, number)
        return {"name": name, "collect": {"policy": "random"}, "learners": learners, "until": {"minutes": 1.0}}
    return dict(entry)


def _stage_name(entry: Any, number: str) -> str:
    """What further messages call a refused stage: its own name, where it has a usable one."""
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return name if isinstance(name, str) and re.fullmatch(STAGE_NAME, name) else f"number_{number}"


class Validator:
    """Validates the slots of one composition."""

    def __init__(self, composition: Composition, catalogue: Catalogue, size: str | None) -> None:
        self.composition = composition
        self.catalogue = catalogue
        self.size = size
        self.size_used = False
        self.problems: list[Problem] = []
        self.refused = set(composition.refused)

    def choices(self) -> dict[str, Choice]:
        """Every slot that is right, in the order of `KINDS`."""
        self._check_groups()
        found: dict[str, Choice] = {}
        for slot, body in slots_in(self.composition.data):
            choice = self._choice(slot, body) if slot not in self.refused else None
            if choice is not None:
                found[slot] = choice
            else:
                self.refused.add(slot)
        self._check_size()
        order = list(KINDS)
        return dict(sorted(found.items(), key=lambda item: order.index(item[1].kind)))

    def _check_groups(self) -> None:
        for group in NAMED:
            content = self.composition.data.get(group)
            if content is not None and not isinstance(content, Mapping):
                what = f"{group}: must be a mapping from names to options, not {printable(content)!r}"
                self._report(group, (group,), what)
                self.refused.add(group)
            for name in content if isinstance(content, Mapping) else ():
                if not SLOT_NAME.fullmatch(name):
                    what = f"{group}: the name {printable(name)!r} is not made of lower case letters, digits and _"
                    self._report(group, (group, name), what)

    def _report(self, slot: str, key: tuple[str | int, ...], what: str, why: str = "", fix: str = "") -> None:
        text = ".".join(str(part) for part in key)
        self.problems.append(Problem(what, self.composition.where(key), printable(text), why, fix))

    def _choice(self, slot: str, body: Any) -> Choice | None:
        key = key_of(slot)
        if not isinstance(body, dict):
            fix = f"write `- {slot}: {printable(body)}` in the defaults list, or {slot}={printable(body)}"
            self._report(slot, key, f"{slot}: must be a mapping of options, not {printable(body)!r}", "", fix)
            return None
        before = len(self.problems)
        run = self._text(slot, body, "from_run")
        size = self._text(slot, body, "size")
        freeze = body.get("freeze", False)
        if not isinstance(freeze, bool):
            self._report(slot, (*key, "freeze"), f"{slot}: `freeze` must be true or false, not {printable(freeze)!r}")
        options = {name: value for name, value in body.items() if name not in RESERVED}
        name, vectors = self._text(slot, body, "name"), None
        if run is not None and not self._from_lock(slot, "from_run"):
            taken = take(slot, run, self.composition.where((*key, "from_run")))
            if isinstance(taken, Problem):
                self.problems.append(taken)
                return None
            name, options, vectors = name or taken.name, {**taken.options, **options}, taken.vectors
        component = self._component(slot, name)
        if component is None or len(self.problems) > before:
            return None
        config = self._config(slot, component, options, size)
        return None if config is None else Choice(slot, component.kind, component, config, freeze, run, vectors)

    def _text(self, slot: str, body: Mapping[str, Any], name: str) -> str | None:
        value = body.get(name)
        if value is not None and not isinstance(value, str):
            self._report(slot, (*key_of(slot), name), f"{slot}: `{name}` must be text, not {printable(value)!r}")
            return None
        return value

    def _from_lock(self, slot: str, name: str) -> bool:
        origin = self.composition.origin((*key_of(slot), name))
        return isinstance(origin, Layer) and origin.is_lock

    def _component(self, slot: str, name: str | None) -> Component | None:
        kind = kind_of(slot)
        assert kind is not None
        if name is None:
            fix = f"add `name: ...`, one of: {', '.join(self.catalogue.names(kind))}"
            self._report(slot, key_of(slot), f"{slot}: no component is named", "", fix)
            return None
        try:
            return self.catalogue.get(kind, name)
        except LookupFailure as failure:
            problem = failure.problem
            self._report(slot, (*key_of(slot), "name"), f"{slot}: {problem.what}", problem.why, problem.fix)
            return None

    def _config(self, slot: str, component: Component, options: dict[str, Any], size: str | None) -> Config | None:
        try:
            model = component.load_config()
        except PluginError as error:
            what, _, fix = str(error).partition("\n")
            self._report(slot, key_of(slot), f"{slot}: {what}", "", fix.strip().removeprefix("fix: "))
            return None
        data = self._with_preset(slot, model, options, size)
        try:
            config = model.model_validate(data)
        except ValidationError as error:
            subject = f"{slot} ({component.name})"
            self.problems += translate(
                error, model, data, key_of(slot), self.composition.where, subject, reserved=RESERVED
            )
            return None
        return self._unwritten(slot, config)

    def _with_preset(self, slot: str, model: type[Config], options: dict[str, Any], size: str | None) -> dict[str, Any]:
        chosen = size or self.size
        if chosen is not None and chosen in model.presets:
            self.size_used = self.size_used or size is None
            return merged(model.presets[chosen], options)
        if size is not None:
            hint = suggest(size, model.presets)
            what = f"{slot}: there is no size {printable(size)!r}" + (f" ({hint})" if hint else "")
            known = ", ".join(model.presets) or "none"
            self._report(slot, (*key_of(slot), "size"), what, "", f"sizes of this component: {known}")
        return options

    def _unwritten(self, slot: str, config: Config) -> Config:
        """What a lock spells out of a learner's defaults stays a default: `decoder=null` then works on a lock too."""
        if not isinstance(config, LearnerConfig):
            return config
        config = config.model_copy()
        for name in LEARNER_DEFAULTS:
            if name in config.model_fields_set and self._from_lock(slot, name):
                config.model_fields_set.discard(name)
        return config

    def _check_size(self) -> None:
        if self.size is None:
            return
        if self.composition.origin(("size",)) == PLACE and self.composition.document.data.get("lock"):
            what = f"size={printable(self.size)} changes nothing here"
            why = "a lock file spells every option out, and presets yield to written options"
            self._report("", ("size",), what, why, "give the size to the recipe that the lock was made from")
            return
        if self.size_used:
            return
        known = sorted({name for component in self._in_use() for name in component.presets})
        if known and self.size not in known:
            hint = suggest(self.size, known)
            what = f"no component of this recipe has a size {printable(self.size)!r}" + (f" ({hint})" if hint else "")
            self._report("", ("size",), what, "", f"sizes: {', '.join(known)}")
        elif not known and not self.refused and self.composition.origin(("size",)) == PLACE:
            self._report("", ("size",), f"no component of this recipe has a size {printable(self.size)!r}")

    def _in_use(self) -> Iterator[type[Config]]:
        for slot, body in slots_in(self.composition.data):
            kind = kind_of(slot)
            if kind and isinstance(body, dict) and isinstance(body.get("name"), str) and slot not in self.refused:
                yield self.catalogue.get(kind, body["name"]).load_config()


def merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts, `high` over `low`."""
    result = dict(low)
    for key, value in high.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result
