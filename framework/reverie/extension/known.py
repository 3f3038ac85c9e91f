"""What Reverie knows of without importing it: its own plugins, and the extras that some environments need."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reverie.extension.names import canonical


@dataclass(frozen=True)
class Extra:
    """An extra of a distribution.

    Args:
        name: what stands in the brackets of `pip install 'reverie[name]'`.
        modules: top-level modules that it brings.
        summary: what it is for, in a few words.
    """

    name: str
    modules: tuple[str, ...]
    summary: str


@dataclass(frozen=True)
class KnownPlugin:
    """A plugin that exists, whether it is installed or not.

    Args:
        name: the name of its entry point.
        distribution: the distribution that holds it.
        install: the command that installs it.
        components: kind to the names that it provides.
    """

    name: str
    distribution: str
    install: str
    components: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def has(self, kind: str, name: str) -> bool:
        return name in self.components.get(kind, ())


EXTRAS: tuple[Extra, ...] = (
    Extra("dmc", ("shimmy", "dm_control", "mujoco"), "DeepMind Control environments"),
    Extra("atari", ("ale_py",), "Atari environments"),
    Extra("minigrid", ("minigrid",), "MiniGrid environments"),
    Extra("minatar", ("minatar",), "MinAtar environments"),
    Extra("minari", ("minari", "h5py"), "Minari data sets"),
    Extra("box2d", ("Box2D",), "Box2D environments (CarRacing, LunarLander, BipedalWalker)"),
)
"""The optional extras of the distribution `reverie`, as in its pyproject.toml."""

_REINSTALL = "reinstall the distribution 'reverie' (in a checkout: pip install -e .)"


def _builtin(name: str, **components: tuple[str, ...]) -> KnownPlugin:
    return KnownPlugin(name, "reverie", _REINSTALL, components)


KNOWN_PLUGINS: tuple[KnownPlugin, ...] = (
    _builtin("gym", env=("gym",), data=("minari",)),
    _builtin("episodes", data=("episodes",)),
    _builtin(
        "perception",
        encoder=("auto", "vector", "image", "identity"),
        decoder=("auto", "vector", "image", "identity"),
        objective=("reconstruction", "overshooting", "contrastive"),
        learner=("encoder_alignment",),
    ),
    _builtin("rssm", dynamics=("rssm",)),
    _builtin("ensemble", dynamics=("ensemble",)),
    _builtin("heads", head=("two_hot", "gaussian", "bernoulli")),
    _builtin("policies", actor=("mlp",), planner=("actor",)),
    _builtin("shooting", planner=("random_shooting", "cem", "icem", "mppi", "guided")),
    _builtin("search", planner=("gradient", "exhaustive")),
    _builtin("world_model", learner=("world_model",)),
    _builtin("values", learner=("replayed_value", "fitted_value")),
    _builtin("vae", encoder=("vae",), decoder=("vae",), objective=("vae",)),
    _builtin("mdn_rnn", dynamics=("mdn_rnn",)),
    _builtin("evolution", actor=("linear",), learner=("evolution",)),
    _builtin("dreamer", learner=("dreamer",)),
    _builtin(
        "tdmpc2",
        dynamics=("implicit",),
        head=("q_ensemble",),
        actor=("policy_prior",),
        learner=("tdmpc2", "policy_prior"),
    ),
    _builtin("recipes_builtin"),
)
"""Plugins that a message may point to when they are blocked, broken or missing. A test compares them with what the
built-in plugins really declare."""


def pip_line(distribution: str, extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install '{distribution}[{extra}]'"


def extra_of_module(module: str) -> Extra | None:
    """The extra of `reverie` that brings a module, by its dotted name."""
    top = module.partition(".")[0]
    return next((extra for extra in EXTRAS if top in extra.modules), None)


def install_hint(module: str, *, distribution: str, extra: str | None) -> str:
    """How to get a module that is missing: the extra that its component declares, or one of Reverie's own."""
    if extra is not None:
        return pip_line(distribution, extra)
    if canonical(distribution) == "reverie" and (found := extra_of_module(module)) is not None:
        return pip_line("reverie", found.name)
    return ""
