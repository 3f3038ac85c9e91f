"""Do the parts fit? Needs and provides, spaces, stages, and who trains what."""

from collections.abc import Iterable, Iterator
from itertools import combinations

from pydantic import ValidationError

from reverie.errors import PluginError, Problem
from reverie.extension.catalogue import Component
from reverie.extension.config import LearnerConfig
from reverie.extension.names import matches, suggest
from reverie.extension.spec import Needs
from reverie.recipes.messages import Locate
from reverie.recipes.recipe import MODEL_SLOTS, Choice, Recipe
from reverie.recipes.schema import Rounds, Stage
from reverie.recipes.slots import KeyPath, dotted, key_of, kind_of
from reverie.recipes.spaces import check_spaces

REQUIRED = ("encoder", "dynamics")
"""Slots without which stages cannot run, besides `env`."""


START = "add `defaults:` with the recipe to start from (`reverie recipes list` shows them), and `stages:` for your own"


def check_wiring(recipe: Recipe, refused: set[str], where: Locate) -> list[Problem]:
    """Everything that is wrong with how the slots and stages fit together.

    Args:
        recipe: validated piece by piece.
        refused: slots about which something was said already; nothing more is said about them.
        where: `file:line` of a key.
    """
    return Wiring(recipe, refused, where).check()


def default_needs(component: Component) -> Needs:
    """What a component needs with its default options; nothing where these cannot be had."""
    try:
        return component.load_config()().needs()
    except (PluginError, ValidationError):  # an option without a default
        return Needs()


def unused(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """The slot of each learner that no stage names, head that no learner trains and objective that none runs, and a
    line about it: legal, and probably not meant. A planner that bootstraps would believe a head that stays as it
    began."""
    stages = [stage for _, stage in recipe.settings.flat_stages()]
    learners = recipe.group("learners")
    for name in learners:
        if stages and not any(name in stage.learners for stage in stages):
            yield f"learners/{name}", f"learners/{name} learns in no stage"
    configs = [recipe.learner_config(name) for name in learners]
    trained = {slot for config in configs for slot in config.trains}
    for name, choice in recipe.group("heads").items() if configs else ():
        if f"heads/{name}" not in trained and not choice.freeze and choice.from_run is None:
            yield f"heads/{name}", f"heads/{name} is trained by no learner, and stays as it begins"
    for slot, choice in recipe.choices.items():
        if choice.freeze and choice.from_run is None and configs:
            key = dotted((*key_of(slot), "from_run"))
            yield slot, f"{slot} is frozen and comes from no run: it stays as it begins, unless you give {key}"
    run = {name for config in configs for name in config.objectives}
    for name in recipe.group("objectives") if configs else ():
        if name not in run:
            yield f"objectives/{name}", f"objectives/{name} is run by no learner"


def misspelt(recipe: Recipe, slot: str, place: str) -> Problem | None:
    """What is wrong with an unused slot that was chosen at `place` (the command line), if its name is nearly that of
    another one: a head that nobody trains is seldom meant, and never where `heads/rewrd` stands beside it."""
    group, _, name = slot.partition("/")
    near = matches(name, [other for other in recipe.group(group) if other != name], limit=1)
    if group == "learners" or not near:
        return None
    chosen, list_name = recipe.choices[slot].name, {"heads": "trains"}.get(group, "objectives")
    return Problem(
        f"{slot}={chosen} adds a slot that nothing uses (did you mean '{group}/{near[0]}'?)",
        place,
        f"{group}.{name}",
        "a head learns where a learner trains it, an objective counts where a learner runs it",
        f"write {group}/{near[0]}={chosen}; if the new slot is meant, name it in `{list_name}` of a learner",
    )


class Wiring:
    """One check of one recipe."""

    def __init__(self, recipe: Recipe, refused: set[str], where: Locate) -> None:
        self.recipe = recipe
        self.refused = refused
        self.where = where
        self.problems: list[Problem] = []
        self.catalogue = recipe.plugins.catalogue

    def check(self) -> list[Problem]:
        if not self.recipe.choices and not self.refused:
            why = "a recipe names an environment, a world model and what trains it"
            self.report((), "this recipe chooses no components", why, START)
            return self.problems
        self.check_plan()
        for choice in self.recipe.choices.values():
            self.check_needs(choice)
        for name in self.recipe.group("learners"):
            self.check_learner(name)
        for path, stage in self.stages():
            self.check_stage(path, stage)
        self.check_stage_names()
        return [*self.problems, *check_spaces(self.recipe, self.where)]

    def report(self, key: KeyPath, what: str, why: str = "", fix: str = "") -> None:
        self.problems.append(Problem(what, self.where(key), dotted(key), why, fix))

    def filled(self, slot: str) -> bool:
        return slot in self.recipe.choices or bool({slot, slot.partition("/")[0]} & self.refused)

    def check_plan(self) -> None:
        """A recipe has stages or one external learner, and the slots that these need."""
        external = self.recipe.choice("external")
        staged = bool(self.recipe.resolved.get("stages"))
        if external is not None and staged:
            self.report(
                ("external",),
                "a recipe has either `stages` or an external learner, and this one has both",
                f"{external.name} trains by its own procedure, so the stages would never run",
                "write `stages: []`, or remove the external learner with external=null",
            )
        elif not self.filled("external") and not staged:
            self.report(
                ("stages",),
                "nothing would be trained: this recipe has no stages and no external learner",
                "",
                START,
            )
        recorded = self.filled("data") and not self.filled("external")
        for slot in (*(() if recorded else ("env",)), *(REQUIRED if not self.filled("external") else ())):
            if not self.filled(slot):
                names = ", ".join(self.catalogue.names(kind_of(slot) or slot)) or "none is installed"
                fix = f"add `- {slot}: <component>` to the defaults list; components: {names}"
                self.report(key_of(slot), f"{slot}: this slot is empty", "every recipe with stages needs it", fix)

    def check_needs(self, choice: Choice) -> None:
        """Slots and capabilities that a component needs of others."""
        needs = choice.needs
        who = f"{choice.slot} ({choice.name})"
        for slot in dict.fromkeys((*needs.slots, *needs.provides)):
            if not self.filled(slot):
                fix = self.fill(slot, needs.provides.get(slot, ())) + self.alternatives(choice, slot)
                emptied = self.where(key_of(slot))
                why = f"{slot} is emptied at {emptied}" if emptied != self.where(()) else ""
                self.report(key_of(choice.slot), f"{who} needs {slot}, which is empty", why, fix)
        for slot, capabilities in needs.provides.items():
            other = self.recipe.choice(slot)
            for capability in capabilities if other else ():
                if other and capability not in other.provides:
                    what = f"{who} needs {slot} to provide {capability!r}, which {other.name} does not"
                    self.report(
                        key_of(slot), what, "", self.instead(slot, (capability,)) + self.alternatives(choice, slot)
                    )

    def fill(self, slot: str, capabilities: Iterable[str]) -> str:
        kind = kind_of(slot)
        if kind is None:
            return f"there is no slot of that name: tell the author of the plugin that asks for {slot!r}"
        names = self.offering(kind, capabilities)
        if not names:
            return f"no installed {kind} fits; see `reverie plugins list`"
        name = names[0] if len(names) == 1 or names[0] == "auto" else "<component>"
        return f"add `- {slot}: {name}` to the defaults list, or {slot}={name} (choices: {', '.join(names)})"

    def instead(self, slot: str, capabilities: Iterable[str]) -> str:
        names = self.nearest(slot, self.offering(kind_of(slot) or "", capabilities))
        if not names:
            return f"no installed {kind_of(slot)} provides it; see `reverie plugins list`"
        return f"use {slot}={names[0]} (choices: {', '.join(names)})"

    def nearest(self, slot: str, names: list[str]) -> list[str]:
        """The names in the order in which to advise them: what the recipe itself has there, then what would fit without
        another change, then what has most in common with what is in the slot."""
        present = self.recipe.choices[slot]
        wanted = {
            capability for choice in self.recipe.choices.values() for capability in choice.needs.provides.get(slot, ())
        }

        def rank(name: str) -> tuple[bool, bool, int]:
            component = self.catalogue.get(present.kind, name)
            needs, offers = component.spec.needs | default_needs(component), component.spec.provides
            met = all(
                (other := self.recipe.choice(of)) is not None and set(needs.provides.get(of, ())) <= other.provides
                for of in dict.fromkeys((*needs.slots, *needs.provides))
            )
            own = name == self.recipe.written.get(slot)
            return not own, not (met and wanted <= offers), -len(offers & present.provides)

        return sorted(names, key=rank)  # stable: equals stay in the catalogue's order

    def offering(self, kind: str, capabilities: Iterable[str]) -> list[str]:
        """Installed components of a kind that provide these capabilities."""
        wanted = set(capabilities)
        return [one.reference for one in self.catalogue.components(kind) if wanted <= one.spec.provides]

    def alternatives(self, choice: Choice, slot: str) -> str:
        """Other components for the slot that asks, which do without."""
        if choice.kind not in ("objective", "planner"):
            return ""
        names = []
        for one in self.catalogue.components(choice.kind):
            needs = one.spec.needs | default_needs(one)
            if slot not in (*needs.slots, *needs.provides) and one.name != choice.name:
                names.append(one.reference)
        article = "an" if choice.kind[0] in "aeiou" else "a"
        return f"; or {article} {choice.kind} that does without: {', '.join(names)}" if names else ""

    def check_learner(self, name: str) -> None:
        """`trains`, `reaches` and `objectives` name what exists."""
        config = self.learner_config(name)
        key = ("learners", name)
        present = self.recipe.model_slots()
        for field in ("trains", "reaches"):
            for slot in getattr(config, field):
                if slot not in present and slot not in self.refused:
                    hint = suggest(slot, present)
                    what = f"learners/{name}: `{field}` names {slot!r}, which is empty" + (f" ({hint})" if hint else "")
                    self.report((*key, field), what, "", f"filled slots: {', '.join(present)}")
        objectives = self.recipe.group("objectives")
        for objective in config.objectives:
            if objective not in objectives and f"objectives/{objective}" not in self.refused:
                hint = suggest(objective, objectives)
                what = f"learners/{name}: there is no objective {objective!r}" + (f" ({hint})" if hint else "")
                fix = f"objectives of this recipe: {', '.join(objectives) or 'none'}"
                self.report((*key, "objectives"), what, "", fix)

    def learner_config(self, name: str) -> LearnerConfig:
        """Its options with patterns written out; a slot whose own options were refused is meant to be filled."""
        config = self.recipe.choices[f"learners/{name}"].config
        assert isinstance(config, LearnerConfig)
        meant = sorted(slot for slot in self.refused if slot.partition("/")[0] in MODEL_SLOTS)
        return config.resolved([*self.recipe.model_slots(), *meant])

    def stages(self) -> Iterator[tuple[KeyPath, Stage]]:
        for number, entry in enumerate(self.recipe.settings.stages):
            if isinstance(entry, Rounds):
                for inner, stage in enumerate(entry.stages):
                    yield ("stages", number, "stages", inner), stage
            else:
                yield ("stages", number), entry

    def check_stage_names(self) -> None:
        seen: dict[str, KeyPath] = {}
        for path, stage in self.stages():
            if stage.name in seen:
                what = f"two stages are called {stage.name!r}"
                self.report(
                    (*path, "name"), what, f"the first is at {self.where((*seen[stage.name], 'name'))}", "rename one"
                )
            seen.setdefault(stage.name, path)

    def check_stage(self, path: KeyPath, stage: Stage) -> None:
        """One stage: its learners exist and share nothing, its policy and its slots exist, and it ends."""
        learners = self.recipe.group("learners")
        for name in stage.learners:
            if name not in learners and f"learners/{name}" not in self.refused:
                hint = suggest(name, learners)
                what = f"stage {stage.name}: there is no learner {name!r}" + (f" ({hint})" if hint else "")
                fix = f"learners of this recipe: {', '.join(learners) or 'none'}"
                self.report((*path, "learners"), what, "", fix)
        policy = stage.collect.policy
        if (policy == "actor" and not self.filled("actor")) or (
            policy == "planner" and not (self.filled("planner") or self.filled("actor"))
        ):
            names = ", ".join(self.catalogue.names(policy)) or "none is installed"
            fix = (
                f"add `- {policy}: <component>` to the defaults list (choices: {names}), or collect with another policy"
            )
            self.report(
                (*path, "collect", "policy"), f"stage {stage.name}: there is no {policy} to collect with", "", fix
            )
        if policy != "none" and not self.filled("env"):
            self.report(
                (*path, "collect", "policy"),
                f"stage {stage.name}: it collects with policy {policy!r}, and there is no environment to collect in",
                "this recipe learns from recorded data alone",
                "write `collect: {policy: none}`, or name an environment: env=...",
            )
        present = self.recipe.model_slots()
        for slot in stage.freeze:
            if slot not in present and slot not in self.refused:
                hint = suggest(slot, present)
                what = f"stage {stage.name}: `freeze` names {slot!r}, which is empty" + (f" ({hint})" if hint else "")
                self.report((*path, "freeze"), what, "", f"filled slots: {', '.join(present)}")
        self.check_disjoint(path, stage)
        self.check_end(path, stage)

    def check_disjoint(self, path: KeyPath, stage: Stage) -> None:
        known = [name for name in dict.fromkeys(stage.learners) if f"learners/{name}" in self.recipe.choices]
        if len(known) < len(stage.learners) and len(set(stage.learners)) < len(stage.learners):
            self.report((*path, "learners"), f"stage {stage.name}: a learner is named twice")
        for first, second in combinations(known, 2):
            shared = set(self.learner_config(first).trains) & set(self.learner_config(second).trains)
            if shared:
                named = ", ".join(sorted(shared))
                self.report(
                    (*path, "learners"),
                    f"stage {stage.name}: the learners {first!r} and {second!r} both train {named}",
                    "two optimizers on one parameter undo each other's steps",
                    f"take {named} out of learners.{first}.trains or learners.{second}.trains, or use two stages",
                )

    def check_end(self, path: KeyPath, stage: Stage) -> None:
        """A stage can only end by something that moves while it runs."""
        choices = [choice for name in stage.learners if (choice := self.recipe.choice(f"learners/{name}"))]
        if len(choices) < len(stage.learners):
            return
        evolves = any("evolution" in choice.provides for choice in choices)
        moves = {"minutes"}
        if stage.collect.policy != "none" or evolves:
            moves |= {"env_steps", "agent_steps", "episodes"}
        if choices:
            moves |= {"updates", "generations"} if evolves else {"updates"}
        given = [name for name, value in stage.until.model_dump().items() if value is not None]
        if not moves & set(given):
            fix = f"end it by one of: {', '.join(sorted(moves))}"
            what = f"stage {stage.name} would never end: nothing in it counts {' or '.join(given)}"
            self.report((*path, "until"), what, "", fix)
