"""On a real GPU: every recipe trains, losses and dreams are those of the CPU, runs change their device and back.

    make test-cuda

Where a GPU is missing, `tests/integration/test_pretended_gpu.py` finds what lies on the wrong device, and these are
skipped.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import FAMILIES, Family, small
from torch import Tensor

from recorded import play, write_folder
from reverie.assembly.build import build_agent, build_environment, build_learners
from reverie.assembly.rehearsal import NoEnvironments, synthetic_batch
from reverie.cli.main import run as reverie
from reverie.contracts import Counters, Sampling, View
from reverie.errors import RecipeError
from reverie.evaluation.protocol import evaluate
from reverie.evaluation.reopen import reopen
from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import prepare
from reverie.training.checkpoint import checkpoint_of
from reverie.training.context import LearnerContext
from reverie.training.metrics import Averages
from reverie.training.run import resume, train
from reverie.training.updates import by_gradient
from tiny_runs import TINY, differences, final_state

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here (torch.cuda.is_available())"),
]

GPU = "trainer.accelerator=gpu"
V1 = ("env=pendulum", "replay.length=6", "replay.batch_size=2", "environments.count=1")
MORE = {
    "Dreamer of 2020": Family("dreamer_v1", small(*V1, without=("dynamics.groups", "dynamics.classes"))),
    "Dreamer that plans": Family("dreamer_mpc", small("env=pendulum", "planner.candidates=6", "planner.horizon=3")),
    "cartpole_pixels as it comes": Family(
        "dreamer",
        (
            *("env=cartpole_pixels", "stages.0.until.env_steps=60", "stages.1.until.env_steps=8"),
            *("evaluation.episodes=1", "logging.tensorboard=false", "env.time_limit=20"),
        ),
    ),
    "bfloat16": Family("dreamer", small("trainer.precision=bf16-mixed")),
}
WORLDS = {**FAMILIES, **MORE}


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Convolutions in full precision: by default a GPU rounds what it multiplies to ten bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


class Look:
    """Where everything lies while a run trains."""

    def __init__(self) -> None:
        self.devices: set[str] = set()

    def callback(self) -> Any:
        from pytorch_lightning import Callback

        found = self.devices

        class Looking(Callback):
            def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
                found.update(tensor.device.type for tensor in (*module.parameters(), *module.buffers()))
                for optimizer in module.raw_optimizers():
                    state = [value for entries in optimizer.state.values() for value in entries.values()]
                    found.update(value.device.type for value in state if isinstance(value, Tensor))

        return Looking()


def finite_lines(run: Path) -> int:
    """Lines of metrics; every number in them is finite."""
    with (run / "metrics" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = [float(value) for row in rows for name, value in row.items() if value and name != "stage"]
    assert all(map(math.isfinite, numbers))
    return len(rows)


@pytest.mark.parametrize("name", WORLDS)
def test_trains_there(name: str, tmp_path: Path) -> None:
    look = Look()
    result = train(
        WORLDS[name].prepared(GPU, "evaluation.world_model=" + str(name != "no gradients").lower()),
        run_dir=tmp_path / "run",
        callbacks=[look.callback()],
        progress=False,
    )
    assert result.status == "completed"
    assert look.devices == {"cuda"}
    assert finite_lines(result.run_dir) > 0
    tensors = [value for value in checkpoint_of(result.run_dir).module_state().values() if isinstance(value, Tensor)]
    assert {value.device.type for value in tensors} == {"cpu"}


def test_transfer_and_recorded_data(tmp_path: Path) -> None:
    import gymnasium as gym

    pets = FAMILIES["an ensemble over observations"]
    first = train(pets.prepared(GPU, "env=pendulum"), run_dir=tmp_path / "first", progress=False)
    taken = [f"{slot}.from_run={first.run_dir}" for slot in ("dynamics", "encoder")]
    keys = [line for line in pets.overrides if not line.startswith(("dynamics", "env="))]
    second = prepare("transfer", ["env=pendulum_lean", *keys, *taken, GPU], plugins=load_plugins())
    assert train(second, run_dir=tmp_path / "second", progress=False).status == "completed"
    folder = write_folder(play(gym.make("CartPole-v1"), 12), tmp_path / "data")
    shared = [line for line in TINY if not line.startswith(("env", "stages", "evaluation", "logging"))]
    data = ["data=episodes", f"data.folder={folder}", "data.choices=2", "stages.learn.until.updates=12"]
    offline = prepare("offline", [*shared, *data, "logging.tensorboard=false", GPU], plugins=load_plugins())
    assert train(offline, run_dir=tmp_path / "offline", progress=False).status == "completed"


class Case:
    """A recipe's agent and learners on one device, before one synthetic batch; equal for equal names."""

    def __init__(self, name: str, device: str) -> None:
        recipe = WORLDS[name].prepared()
        torch.manual_seed(0)
        factory = build_environment(recipe)
        self.device = device
        self.agent = build_agent(recipe, factory.observation, factory.action).to(device)
        learners = build_learners(recipe, self.agent)
        self.learners = {key: one.to(device) for key, one in learners.items() if by_gradient(one)}
        batch = synthetic_batch(factory.observation, factory.action, 4, 7)
        self.batch = batch.map(lambda value: value.to(device))
        self.agent.update_statistics({key: value.flatten(0, 1) for key, value in batch.obs.items()})

    def losses(self) -> dict[str, float]:
        """Of every learner with gradients, and the length of what they send to each slot."""
        view = View(self.batch, self.agent, self._sampling(1))
        found = {
            f"{name}/{key}": value.mean()
            for name, learner in self.learners.items()
            for key, value in learner.losses(view, self._context(name)).items()
        }
        torch.stack([value for value in found.values() if value.requires_grad]).sum().backward()
        numbers = {key: float(value.detach()) for key, value in found.items()}
        for slot in self.agent.slots():
            gradients = [p.grad for p in self.agent.module(slot).parameters() if p.grad is not None]
            if gradients:
                numbers[f"gradient of {slot}"] = float(torch.nn.utils.get_total_norm(gradients))
        return numbers

    def _context(self, name: str) -> LearnerContext:
        return LearnerContext(
            learner=name,
            agent=self.agent,
            imagination=self.agent.imagination,
            environments=NoEnvironments(),
            counters=Counters(),
            stage="train",
            sampling=self._sampling(2),
            averages=Averages(),
            stop=lambda: False,
        )

    @torch.no_grad()
    def dream(self, horizon: int = 5) -> dict[str, np.ndarray[Any, Any]]:
        """Features, rewards and the chance to go on along random actions, from what the batch ends in."""
        start = View(self.batch, self.agent, self._sampling(3)).observed.last
        actions = synthetic_batch(self.agent.observation, self.agent.action, len(self.batch.reward), horizon).action
        steps = iter(actions.to(self.device).unbind(1))
        imagination = self.agent.imagination
        trajectory = imagination.rollout(start, lambda *_: next(steps), horizon, self._sampling(4, "mode"))
        found = {"features": trajectory.states.features, "continues": imagination.continues(trajectory)}
        if "reward" in self.agent.heads:
            found["rewards"] = imagination.rewards(trajectory)
        return {key: value.float().cpu().numpy() for key, value in found.items()}

    def _sampling(self, seed: int, mode: Any = "sample") -> Sampling:
        return Sampling(mode, generators=[torch.Generator().manual_seed(seed)])


SAME = [name for name in FAMILIES if name not in ("no gradients", "stages and rounds", "workers")]


@pytest.mark.parametrize("name", SAME)
def test_losses_gradients_and_dreams_are_those_of_the_cpu(name: str) -> None:
    here, there = Case(name, "cpu"), Case(name, "cuda")
    one, other = here.dream(), there.dream()
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_allclose(other[key], one[key], rtol=1e-3, atol=1e-4, err_msg=key)
    expected, found = here.losses(), there.losses()
    assert expected.keys() == found.keys()
    assert len(expected) > 2
    worst = max(abs(found[key] - expected[key]) / max(abs(expected[key]), 1e-3) for key in expected)
    print(f"{name}: the largest difference is {worst:.1e} of a number")
    for key in expected:
        assert found[key] == pytest.approx(expected[key], rel=2e-3, abs=1e-4), key


def stopper(ticks: int) -> Any:
    from pytorch_lightning import Callback

    class Stop(Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
            trainer.should_stop = trainer.should_stop or module.counters.ticks == ticks

    return Stop()


def tiny(*overrides: str) -> Any:
    return prepare("dreamer", [*TINY, *overrides], plugins=load_plugins())


def test_a_run_changes_its_device_and_back(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(tiny(GPU), run_dir=run, callbacks=[stopper(25)], progress=False).status == "interrupted"
    assert resume(run, accelerator="cpu", callbacks=[stopper(35)], progress=False).status == "interrupted"
    look = Look()
    assert resume(run, callbacks=[stopper(45), look.callback()], progress=False).status == "interrupted"
    assert look.devices == {"cuda"}
    assert resume(run, accelerator="cpu", progress=False).status == "completed"


def test_a_resumed_run_ends_as_the_undisturbed_one_does(tmp_path: Path) -> None:
    """Bit for bit, as on a CPU: nothing in a Dreamer over vectors is added up in an order of chance."""
    alone = train(tiny(GPU), run_dir=tmp_path / "alone", progress=False).run_dir
    other = tmp_path / "other"
    assert train(tiny(GPU), run_dir=other, callbacks=[stopper(31)], progress=False).status == "interrupted"
    assert resume(other, progress=False).status == "completed"
    one, two = final_state(alone), final_state(other)
    for state in (one, two):
        state["own"].pop("randomness")  # whoever asks for generators of a GPU begins with those that it has
    assert differences(one, two) == []


def test_a_run_is_judged_wherever_one_likes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(tiny(GPU, "env=pendulum"), run_dir=tmp_path / "run", progress=False).run_dir
    found = []
    for where in ("cpu", "gpu"):
        capsys.readouterr()
        options = ["--accelerator", where, "--episodes", "2", "--world-model", "--json"]
        assert reverie(["evaluate", str(run), *options]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[1]["returns"] == pytest.approx(found[0]["returns"], rel=0.05)
    plans = ["planner.horizon=3", "planner.candidates=8", "planner.elites=2", "planner.warm_start=true"]
    asked = [(name, plans) for name in ("cem", "mppi")] + [(name, plans[:2]) for name in ("gradient", "guided")]
    asked += [("icem", plans[:3]), ("cem", [*plans, "planner.proposals=2"])]
    for planner, known in asked:
        opened = reopen(run, [f"planner={planner}", *known], accelerator="gpu")
        assert opened.agent.anchor.device.type == "cuda"
        assert all(map(math.isfinite, evaluate(opened.agent, opened.factory, episodes=2, seed=3).returns))
    picture = tmp_path / "plan.png"
    told = ["plan", str(run), "planner=cem", *plans, "--steps", "4", "--out", str(picture), "--accelerator", "gpu"]
    assert reverie(told) == 0
    assert picture.stat().st_size > 1000


def test_more_gpus_than_there_are(tmp_path: Path) -> None:
    count = torch.cuda.device_count() + 1
    with pytest.raises(RecipeError, match=f"trainer.devices is {count}, and torch finds"):
        train(tiny(GPU, f"trainer.devices={count}"), run_dir=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_what_is_drawn_is_the_same_everywhere() -> None:
    """Noise is made on the CPU and moved: a seed means the same on every device."""
    for shape in ((6, 3), (6,)):
        here = Sampling(generators=[torch.Generator().manual_seed(i) for i in range(2)]).randn(shape)
        there = Sampling(generators=[torch.Generator().manual_seed(i) for i in range(2)])
        assert torch.equal(there.randn(shape, device=torch.device("cuda")).cpu(), here)
