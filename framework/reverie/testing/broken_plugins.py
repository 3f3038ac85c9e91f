"""Plugins that are each broken in one way."""

from __future__ import annotations

from dataclasses import replace

from reverie.extension.spec import API_VERSION, ComponentSpec
from reverie.testing.broken import breaks_plugin

_OPTIONS = "reverie.testing.broken_options"
_GOOD = ComponentSpec(
    kind="dynamics",
    name="linear",
    target="reverie.testing.toys:LinearDynamics",
    config=f"{_OPTIONS}:Fine",
    summary="a linear model",
    provides=frozenset({"recurrent"}),
)


def _with_options(name: str) -> ComponentSpec:
    return replace(_GOOD, config=f"{_OPTIONS}:{name}")


breaks_plugin("heavy_entry", "imports_no_torch", "reverie.testing.toys", _GOOD)
breaks_plugin("illegal_name", "names_legal", _OPTIONS, replace(_GOOD, name="My-Dynamics"))
breaks_plugin("unknown_capability", "names_legal", _OPTIONS, replace(_GOOD, provides=frozenset({"recurent"})))
breaks_plugin("missing_class", "specs_resolve", _OPTIONS, replace(_GOOD, target="reverie.testing.toys:LinearDynamic"))
breaks_plugin("wrong_kind", "specs_resolve", _OPTIONS, replace(_GOOD, target="reverie.testing.toys:ToyEncoder"))
breaks_plugin("old_api", "api_current", _OPTIONS, replace(_GOOD, api=API_VERSION + 1))
breaks_plugin("no_default", "defaults_construct", _OPTIONS, _with_options("NoDefault"))
breaks_plugin("undocumented", "options_documented", _OPTIONS, _with_options("Undocumented"))
breaks_plugin("reserved_key", "options_free", _OPTIONS, _with_options("TakesReservedKey"))
breaks_plugin("wrong_preset", "presets_valid", _OPTIONS, _with_options("WrongPreset"))
