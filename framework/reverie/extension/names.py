"""Names: which are legal, which was probably meant, and how distributions are spelled."""

import difflib
import re
from collections.abc import Iterable

COMPONENT_NAME = re.compile(r"[a-z][a-z0-9_]*")
PLUGIN_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
TARGET = re.compile(r"[A-Za-z_][\w]*(?:\.[A-Za-z_][\w]*)*:[A-Za-z_]\w*", re.ASCII)

YAML_WORDS = frozenset({"null", "none", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan"})
"""Words that YAML or Hydra reads as something other than text."""

LONGEST_NAME = 64


def matches(name: str, candidates: Iterable[str], limit: int = 3) -> list[str]:
    """The candidates that `name` may have been meant for, best first."""
    pool = list(dict.fromkeys(candidates))
    folded = {candidate.lower(): candidate for candidate in reversed(pool)}
    wanted = name.lower()
    close = [folded[match] for match in difflib.get_close_matches(wanted, folded, n=limit, cutoff=0.6)]
    if len(wanted) >= 3:
        close += [candidate for candidate in pool if wanted in candidate.lower() or candidate.lower() in wanted]
    return list(dict.fromkeys(close))[:limit]


def suggest(name: str, candidates: Iterable[str]) -> str:
    """`did you mean 'x'?`, with up to three names; empty where nothing is close."""
    found = [repr(match) for match in matches(name, candidates)]
    if not found:
        return ""
    return f"did you mean {' or '.join(filter(None, [', '.join(found[:-1]), found[-1]]))}?"


def listing(names: Iterable[str]) -> str:
    """Names in quotes, sorted, for the end of a message; `none` for an empty list."""
    return ", ".join(repr(name) for name in sorted(set(names))) or "none"


def canonical(distribution: str) -> str:
    """A distribution's name as the packaging rules compare it: `My_Dist` is `my-dist`."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def component_name_fault(name: object) -> str:
    """Why `name` cannot be a component's name; empty if it can."""
    if not isinstance(name, str):
        return f"a name is text, not {name!r}"
    if not COMPONENT_NAME.fullmatch(name):
        return f"the name {name!r} is not made of lower case letters, digits and underscores, with a letter first"
    if name in YAML_WORDS:
        return f"the name {name!r} means something else in YAML"
    if len(name) > LONGEST_NAME:
        return f"the name {name!r} is longer than {LONGEST_NAME} characters"
    return ""


def plugin_name_fault(name: str) -> str:
    """Why `name` cannot be a plugin's name; empty if it can."""
    if not PLUGIN_NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        return f"the plugin name {name!r} is not made of at most {LONGEST_NAME} letters, digits, and . - _"
    return ""


def target_fault(target: object) -> str:
    """Why `target` does not name a class as `module:Class`; empty if it does."""
    if isinstance(target, str) and TARGET.fullmatch(target):
        return ""
    return f'{target!r} is not of the form "package.module:Class"'
