"""One tiny recipe of every family. A later family joins the kills by one line here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny_runs import TINY

HERE = Path(__file__).parent
CLIMB = HERE.parent / "integration" / "search_plugin.py"


@dataclass(frozen=True)
class Family:
    """A recipe with what makes it small.

    Args:
        recipe: its name, or that of a file beside this one.
        overrides: as on the command line.
        plugins: one-file plugins.
    """

    recipe: str
    overrides: tuple[str, ...]
    plugins: tuple[Path, ...] = ()

    def prepared(self, *further: str) -> Any:
        """The recipe, ready to be trained."""
        from reverie.extension.manager import load_plugins
        from reverie.recipes.prepare import prepare

        recipe = HERE / self.recipe if self.recipe.endswith(".yaml") else self.recipe
        return prepare(recipe, [*self.overrides, *further], plugins=load_plugins(files=self.plugins))


def small(*changes: str, without: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What makes a Dreamer small, changed."""
    named = tuple(change.partition("=")[0] + "=" for change in changes)
    return (*(line for line in TINY if not line.startswith((*named, *without))), *changes)


def general(*changes: str) -> tuple[str, ...]:
    """The lines of `small` that suit every recipe, and others behind them."""
    keys = ("env", "replay", "evaluation", "logging", "checkpoints", "trainer")
    return (*(line for line in TINY if line.partition("=")[0].partition(".")[0] in keys), *changes)


PENDULUM = small("env=pendulum")
PICTURES = ("env=cartpole_pixels", "env.image_size=16", "encoder.depth=2", "decoder.depth=2")
CEM = (
    "planner=cem",
    "planner.candidates=6",
    "planner.elites=2",
    "planner.iterations=2",
    "planner.horizon=3",
    "planner.warm_start=true",
)
LONG_TICKS = ("environments.count=3", "stages.1.collect.steps=4", "stages.1.ratio=9", "checkpoints.ticks=2")
ENSEMBLE = (
    *("dynamics.members=3", "dynamics.units=8", "dynamics.layers=1", "heads.reward.units=8", "heads.reward.layers=1"),
    *("heads.continue.units=8", "stages.0.until.agent_steps=20", "stages.1.collect.steps=2", "stages.1.ratio=6"),
    *("stages.1.until.env_steps=40", *CEM[1:], "planner.proposals=2"),
    *("actor.units=8", "actor.layers=1", "heads.value.units=8", "heads.value.layers=1"),
    *("learners.value.starts=4", "learners.value.horizon=3"),
)
SEEN_DREAMT_EVOLVED = (
    *("encoder.latent=4", "encoder.units=8", "encoder.layers=1", "decoder.units=8", "decoder.layers=1"),
    *("dynamics.hidden=8", "dynamics.components=2", "heads.reward.units=8", "heads.continue.units=8"),
    *("learners.c.population=4", "learners.c.rollouts=2", "learners.c.horizon=4"),
    *("stages.0.until.agent_steps=20", "stages.1.batch_size=4", "stages.1.until.updates=3", "stages.2.rounds=2"),
    *("stages.2.stages.0.batch_size=4", "stages.2.stages.0.until.updates=2", "stages.2.stages.1.until.updates=2"),
    *("stages.2.stages.2.until.generations=2", "stages.2.stages.3.until.agent_steps=10"),
)
PLANS_IN_LATENTS = (
    *("env=pendulum", "encoder.units=8", "encoder.layers=1", "dynamics.latent=8", "dynamics.group=4"),
    *("dynamics.units=8", "dynamics.layers=1", "heads.reward.units=8", "heads.continue.units=8"),
    *("heads.value.members=3", "heads.value.units=8", "heads.value.layers=1", "actor.units=8", "actor.layers=1"),
    *("planner.candidates=8", "planner.proposals=2", "planner.elites=4", "planner.iterations=2"),
    *("stages.0.until.agent_steps=20", "stages.1.until.env_steps=40", "stages.1.ratio=6"),
)
NO_STAGES = ("stages",)
NOT_OF_PLANET = ("actor", "heads.continue", "heads.value", "learners.behaviour")
NO_GRADIENTS = ("stages", "learners", "replay", "decoder", "heads")

FAMILIES: dict[str, Family] = {
    "categorical states, discrete actions": Family("dreamer_categorical", small()),
    "Gaussian states, continuous actions": Family("dreamer", PENDULUM),
    "Dreamer as it is today": Family("dreamer_current", small()),
    "contrastive": Family("dreamer_contrastive", small(without=("decoder",))),
    "pictures": Family("dreamer", small(*PICTURES, without=("encoder", "decoder"))),
    "planning by shooting": Family("dreamer", (*PENDULUM, *CEM)),
    "stages and rounds": Family("staged.yaml", small(without=NO_STAGES)),
    "an average and others' weights, in turns": Family("turns.yaml", small(without=NO_STAGES)),
    "no gradients": Family("climb.yaml", small(without=NO_GRADIENTS), (CLIMB,)),
    "several environments, long ticks": Family("dreamer_categorical", small(*LONG_TICKS)),
    "an ensemble over observations": Family("pets", general(*ENSEMBLE)),
    "seen, dreamt, evolved": Family("world_models", general(*SEEN_DREAMT_EVOLVED)),
    "a model that only plans": Family("planet", small(*CEM, "env=pendulum", without=NOT_OF_PLANET)),
    "a planner that asks an actor": Family("dreamer_mpc", (*PENDULUM, "planner.candidates=6", "planner.horizon=3")),
    "planning in implicit latents": Family("tdmpc2", general(*PLANS_IN_LATENTS)),
    "workers": Family("dreamer", small("environments.workers=processes", "environments.count=2")),
}
"""Name to recipe."""
