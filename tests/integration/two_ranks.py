"""Trains on fixed batches in as many processes as the environment says, through Lightning, and saves the weights.

    python two_ranks.py OUT WORLD      with LOCAL_RANK, MASTER_PORT and so on set where WORLD is 2

Each process takes its half of the batch (or all of it), so that two ranks and one process see the same rows.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.strategies import DDPStrategy

from conftest import TINY
from reverie.assembly.build import build_agent, build_environment, build_learners
from reverie.contracts import Learner, Transition
from reverie.extension.config import LearnerConfig
from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import prepare
from reverie.testing.toys import toy_batch
from reverie.training.data import Ticks
from reverie.training.module import AgentModule
from reverie.training.quiet import quiet_lightning

OVERRIDES = [
    *TINY,
    "replay.batch_size=4",
    "learners.behaviour.starts=null",
    "stages.0.collect.policy=none",
    "stages.0.learners=[model]",
    "stages.0.freeze=[encoder]",
    "stages.0.until={updates: 3}",
    "stages.1.collect.policy=none",
    "stages.1.ratio=null",
    "stages.1.until={updates: 8}",
]


class ContinueOptions(LearnerConfig):
    """Options of the learner below."""


class SecondContinue(Learner):
    """Trains the continue head a second time, with a backward of its own."""

    own_backward = True

    def __init__(self, config: Any, agent: Any) -> None:
        super().__init__(config, agent)
        self._optimizer = torch.optim.SGD(self.trained(agent), lr=0.1)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [self._optimizer]

    def losses(self, view: Any, ctx: Any) -> dict[str, torch.Tensor]:
        distribution = view.agent.heads["continue"](Transition(None, None, view.observed.train))
        return {"continue": -distribution.log_prob(view.batch.cont)}


class Halves:
    """Gives rank r its rows of a batch that all ranks know."""

    steps = 1000

    def __init__(self, agent: Any, rank: int, world: int) -> None:
        self.agent, self.rank, self.world, self.number = agent, rank, world, 0

    def can_sample(self, batch_size: int, length: int) -> bool:
        return True

    def sample(self, batch_size: int, length: int, rng: Any) -> Any:
        whole = toy_batch(batch_size * self.world, length, self.agent.observation, self.agent.action, seed=self.number)
        self.number += 1
        return whole.map(lambda tensor: tensor[self.rank * batch_size : (self.rank + 1) * batch_size])


class Loop(Callback):
    """Goes through the stages and stops."""

    def on_train_start(self, trainer: Any, module: Any) -> None:
        halves = Halves(module.agent, trainer.global_rank, trainer.world_size)
        module.ticker = module.make_ticker(halves, None, None)

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if module.cursor.ended(module.counters):
            module.cursor.advance(module.counters)
        trainer.should_stop = module.cursor.finished


class Fixed(AgentModule):
    """Without a source of experience of its own."""

    def on_fit_start(self) -> None:
        pass


def main(out: Path, world: int) -> None:
    recipe = prepare("dreamer", OVERRIDES, plugins=load_plugins())
    torch.manual_seed(0)
    factory = build_environment(recipe)
    agent = build_agent(recipe, factory.observation, factory.action)
    learners = build_learners(recipe, agent)
    learners["second"] = SecondContinue(ContinueOptions(trains=("heads/continue",)), agent)
    settings = recipe.settings.model_copy(deep=True)
    stages = [stage.model_copy(update={"learners": (*stage.learners, "second")}) for stage in settings.stages[1:]]
    settings = settings.model_copy(update={"stages": (settings.stages[0], *stages)})
    module = Fixed(agent, learners, settings)
    with quiet_lightning():
        trainer = Trainer(
            accelerator="cpu",
            devices=world,
            strategy=DDPStrategy(find_unused_parameters=True, process_group_backend="gloo") if world > 1 else "auto",
            max_epochs=-1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            callbacks=[Loop()],
        )
        trainer.fit(module, Ticks())
    torch.save(module.state_dict(), out / f"rank-{trainer.global_rank}-of-{world}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
