"""A recipe that is ready to be built: validated settings, and one validated component per slot."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reverie.extension.catalogue import Component
from reverie.extension.config import Config, LearnerConfig
from reverie.extension.manager import Plugins
from reverie.extension.spec import Needs
from reverie.recipes.data_facts import DataFacts
from reverie.recipes.schema import Settings

MODEL_SLOTS = ("encoder", "dynamics", "decoder", "decoders", "heads", "objectives", "actor")
"""The slots (and groups of slots) whose components may hold parameters."""


@dataclass(frozen=True)
class Choice:
    """What one slot holds.

    Args:
        slot: its path, such as `heads/reward`.
        kind: the kind of component that fits.
        component: the component, whose class is imported by `component.load()`.
        config: its options: preset, then the recipe's keys, then the command line's.
        freeze: nobody trains it.
        from_run: the run folder whose weights it starts from, or None.
        vectors: how that run prepares vectors; None where none is named, or where a lock names it: the weights of a run
            that has begun are its own.
    """

    slot: str
    kind: str
    component: Component = field(compare=False)
    config: Config
    freeze: bool = False
    from_run: str | None = None
    vectors: str | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return self.component.name

    @property
    def needs(self) -> Needs:
        """What it needs of other slots, by its spec and by its options."""
        return self.component.spec.needs | self.config.needs()

    @property
    def provides(self) -> frozenset[str]:
        return self.component.spec.provides


@dataclass(frozen=True)
class Recipe:
    """A composed, validated and checked recipe. Equal recipes train the same thing.

    Args:
        name: of the file it came from, kept by lock files.
        settings: everything that is not a component.
        choices: by slot path, in the order of `KINDS`; empty slots are absent.
        plugins: those that were loaded when it was prepared.
        resolved: the recipe as nested plain data, without any default filled in.
        notes: lines that a person should see, such as which keys were dropped.
        overrides: the command line that it was prepared with.
        origins: for the files it was composed of, path and sha256.
        places: for every key of `resolved` (dotted), where it was set.
        data_facts: what is known of the data in the slot `data`: from a lock, or from having looked through it.
        written: what each slot holds without the command line; advice begins with it.
    """

    name: str
    settings: Settings
    choices: Mapping[str, Choice]
    plugins: Plugins = field(compare=False, repr=False)
    resolved: dict[str, Any] = field(compare=False, repr=False)
    notes: list[str] = field(compare=False, default_factory=list)
    overrides: tuple[str, ...] = field(compare=False, default=())
    origins: Mapping[str, str] = field(compare=False, default_factory=dict)
    places: Mapping[str, str] = field(compare=False, repr=False, default_factory=dict)
    data_facts: DataFacts | None = field(compare=False, default=None)
    written: Mapping[str, str | None] = field(compare=False, repr=False, default_factory=dict)

    def choice(self, slot: str) -> Choice | None:
        """What a slot holds, or None."""
        return self.choices.get(slot)

    def group(self, prefix: str) -> dict[str, Choice]:
        """The named slots of a group: `group("heads")` is `{"reward": ..., "value": ...}`."""
        start = f"{prefix}/"
        return {slot[len(start) :]: choice for slot, choice in self.choices.items() if slot.startswith(start)}

    def place(self, key: str) -> str:
        """Where a slot, an option or a mapping was written (`recipe.yaml:7`), or else what it belongs to: a slot, a
        list; empty where nobody wrote any of them."""
        inside = (place for known, place in self.places.items() if known.startswith(f"{key}."))
        around = key.split(".")[:-1]
        owners = [".".join(around[:size]) for size in range(len(around), 0, -1)]
        names = [f"{key}.name", key, *(name for owner in owners for name in (f"{owner}.name", owner))]
        found = [self.places.get(name, "") for name in names]
        return next(filter(None, [*found[:2], next(inside, ""), *found[2:]]), "")

    def model_slots(self) -> list[str]:
        """The filled slots whose components may hold parameters, in the order of the recipe."""
        return [slot for slot in self.choices if slot.partition("/")[0] in MODEL_SLOTS]

    def learner_config(self, name: str) -> LearnerConfig:
        """A learner's options with its patterns written out for this recipe.

        Raises:
            KeyError: if there is no such learner.
        """
        config = self.choices[f"learners/{name}"].config
        assert isinstance(config, LearnerConfig)
        return config.resolved(self.model_slots())
