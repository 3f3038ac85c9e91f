"""Reverie's side of `benchmarks/dreamer_step.py`: reads one JSON request per line and answers with one JSON line."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import reverie
from reverie.assembly.agent import Agent
from reverie.assembly.build import build_agent, build_environment, build_learners
from reverie.assembly.rehearsal import NoEnvironments, synthetic_batch
from reverie.contracts import ActionSpec, ArraySpec, Batch, Counters, Learner, ObservationSpec, Sampling, View
from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import prepare
from reverie.recipes.recipe import Recipe
from reverie.training.context import LearnerContext
from reverie.training.keys import torch_generator
from reverie.training.memory import keep_freed_memory
from reverie.training.metrics import Averages
from reverie.training.updates import GradientUpdates

WARM_UP = 10
"""Updates of a real run before the clock starts."""


def recipe_of(subject: dict[str, Any]) -> Recipe:
    """The shipped recipe at the sizes of a subject."""
    units, layers = subject["units"], subject["layers"]
    networks = ("encoder", "decoder", "actor", "heads.reward", "heads.continue", "heads.value")
    overrides = [f"{slot}.units={units}" for slot in networks] + [f"{slot}.layers={layers}" for slot in networks]
    overrides += [f"heads.{head}.{key}" for head in ("reward", "value") for key in (
        f"bins={subject['bins']}", "low=-20", "high=20")]  # fmt: skip
    overrides += [
        "dynamics.latent=categorical",
        "dynamics.layers=1",
        "observations.vectors=normalize_symlog",
        "encoder.vector_norm=layer",
        "decoder.vector_norm=layer",
        "dynamics.norm=layer",
        "dynamics.kl.free_nats=1",
        "learners.model.average=null",
        "learners.model.optimizer=adam",
        f"dynamics.deter={subject['deter']}",
        f"dynamics.hidden={units}",
        f"dynamics.groups={subject['groups']}",
        f"dynamics.classes={subject['classes']}",
        "actor.distribution=normal",
        "learners.behaviour.gradient=reinforce",
        "learners.behaviour.starts=null",
        f"learners.behaviour.horizon={subject['horizon']}",
        f"replay.batch_size={subject['batch']}",
        f"replay.length={subject['length']}",
    ]
    return prepare("dreamer", ["env=pendulum", *overrides], plugins=load_plugins())


class Stepper:
    """Updates of a recipe on one synthetic batch, as a tick makes them.

    Args:
        device: where the agent lies; the batch is brought there for every update, as from a replay.
        seed: of the weights and of all noise.
    """

    def __init__(
        self, recipe: Recipe, observation: ObservationSpec, action: ActionSpec, device: str = "cpu", seed: int = 0
    ) -> None:
        torch.manual_seed(seed)
        self.device, self.seed = device, seed
        self.agent: Agent = build_agent(recipe, observation, action).to(device)
        self.learners: dict[str, Learner] = {
            name: learner.to(device) for name, learner in build_learners(recipe, self.agent).items()
        }
        optimizers = {name: list(learner.optimizers()) for name, learner in self.learners.items()}
        self.updates = GradientUpdates(self.agent, self.learners, optimizers)
        (*_, (_, last)) = recipe.settings.flat_stages()
        self.shape = last.batch_shape(recipe.settings.replay, bool(observation.images))
        self.names = list(self.learners)
        self.batch = synthetic_batch(observation, action, *self.shape)
        self.agent.update_statistics({key: value.flatten(0, 1) for key, value in self.next_batch().obs.items()})
        self.counters, self.averages = Counters(), Averages()

    def __call__(self) -> None:
        contexts = {name: self._context(name) for name in self.names}
        batch = self.next_batch().map(lambda value: value.to(self.device, non_blocking=True))
        view = View(batch, self.agent, self._sampling("view"))
        self.updates.update(self.names, view, contexts)
        self.counters.updates += 1

    def next_batch(self) -> Batch:
        """What the next update learns from: always the same."""
        return self.batch

    def _sampling(self, place: str) -> Sampling:
        return Sampling(generators=[torch_generator(self.seed, place, self.counters.updates)])

    def _context(self, name: str) -> LearnerContext:
        return LearnerContext(
            learner=name,
            agent=self.agent,
            imagination=self.agent.imagination,
            environments=NoEnvironments(),
            counters=self.counters,
            stage="train",
            sampling=self._sampling(name),
            averages=self.averages,
            stop=lambda: False,
        )


def stepper(subject: dict[str, Any]) -> Stepper:
    observation = ObservationSpec({"state": ArraySpec((subject["observation"],), "float32")})
    return Stepper(recipe_of(subject), observation, ActionSpec("discrete", subject["actions"]))


def actor(subject: dict[str, Any]) -> Callable[[], None]:
    """One decision of all environments, memory included."""
    made, count = stepper(subject), subject["environments"]
    agent = made.agent
    obs = {key: value[:count, 0].numpy() for key, value in made.batch.obs.items()}
    state = [agent.initial(count)]
    first = torch.zeros(count, dtype=torch.bool).numpy()

    def act() -> None:
        _, state[0] = agent.act(obs, state[0], first, explore=True)

    return act


def cpu_of(work: Callable[[], None], times: int) -> float:
    """CPU milliseconds of one repetition."""
    start = time.process_time()
    for _ in range(times):
        work()
    return 1e3 * (time.process_time() - start) / times


class Clock:
    """A Lightning callback: CPU seconds, updates and steps between the end of the warm-up and the end of the run."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, int, int]] = []

    def callback(self) -> Any:
        from pytorch_lightning import Callback

        marks = self.marks

        class Marks(Callback):
            def on_train_batch_end(self, trainer: Any, module: Any, *unused: Any) -> None:
                counters = module.counters
                if counters.updates >= WARM_UP:
                    marks.append((time.process_time(), counters.updates, counters.env_steps))

        return Marks()


def in_a_run(name: str, env: str, updates: int = 60) -> dict[str, float]:
    """CPU milliseconds per update of a shipped recipe: bare, and in a run with everything that surrounds it."""
    shared = [f"env={env}", "trainer.threads=1"]
    recipe = prepare(name, shared, plugins=load_plugins())
    factory = build_environment(recipe)
    bare = Stepper(recipe, factory.observation, factory.action)
    cpu_of(bare, WARM_UP)
    bare_ms = sorted(cpu_of(bare, 1) for _ in range(updates))[updates // 2]
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        limits = [f"budget.updates={WARM_UP + updates}", "evaluation.every=null"]
        reverie.train(name, [*shared, *limits], run_dir=Path(folder) / "run", callbacks=[clock.callback()])
    (start, first, stepped), (end, last, steps) = clock.marks[0], clock.marks[-1]
    return {
        "bare": bare_ms,
        "real": 1e3 * (end - start) / (last - first),
        "steps": (steps - stepped) / (last - first),
    }


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a run prints is not an answer
    made: dict[str, Callable[[], None]] = {}
    for line in sys.stdin:
        subject = json.loads(line)
        do = subject["do"]
        if do == "name":
            answer: dict[str, Any] = {"name": f"reverie, torch {torch.__version__}"}
        elif do == "memory":
            answer = {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        elif do == "run":
            answer = dict(in_a_run(subject["recipe"], subject["env"]))
        else:
            if subject["name"] not in made:
                made[subject["name"]] = actor(subject) if do == "act" else stepper(subject)
            answer = {"cpu": cpu_of(made[subject["name"]], subject["times"])}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
