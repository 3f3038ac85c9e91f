"""Whole runs on a GPU that is none (`tests/placed.py`): nothing of an agent stays behind on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reverie.evaluation.reopen import reopen
from reverie.extension.manager import load_plugins
from reverie.training.run import resume, train

from .test_train_resume import At

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from families import FAMILIES

from placed import PretendedGpu, on_gpu, place, pretended_gpu, put

Make = Callable[..., Any]
SHORT = ("evaluation.world_model=true", "evaluation.episodes=2", "evaluation.every=null", "checkpoints.ticks=1000")
SAME_PARTS = ("stages and rounds", "several environments, long ticks", "workers")
"""Families that differ from others in what lies on the CPU anyway."""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedGpu]:
    with pretended_gpu(monkeypatch) as mode:
        yield mode


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in SAME_PARTS])
def test_every_family_trains_and_is_judged_there(name: str, gpu: PretendedGpu, tmp_path: Path) -> None:
    placed: list[bool] = []

    def look(module: Any) -> None:
        placed.extend(on_gpu(tensor) for tensor in (*module.parameters(), *module.buffers()))

    recipe = FAMILIES[name].prepared(*(line for line in SHORT if name != "no gradients" or "world_model" not in line))
    run = train(recipe, run_dir=tmp_path / "run", callbacks=[At(3, look)], progress=False)
    assert run.status == "completed"
    assert placed
    assert all(placed)


def test_an_update_makes_python_wait_six_times_at_most(
    gpu: PretendedGpu, tmp_path: Path, tiny_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wait leaves a GPU idle until Python has something for it again. The model, and the behaviour in its
    average, wait each for a loss, a gradient norm and what begins in the batch."""
    clip = torch.nn.utils.clip_grads_with_norm_

    def without_a_wait(*arguments: Any) -> None:
        """It asks C++ where gradients lie, hears `cpu`, and brings the factor there; on a GPU it stays where it is."""
        before = gpu.waits
        clip(*arguments)
        gpu.waits = before

    monkeypatch.setattr(torch.nn.utils, "clip_grads_with_norm_", without_a_wait)
    marks: list[tuple[int, int]] = []
    watch = At(0, lambda module: None)
    watch.on_train_batch_end = lambda trainer, module, *_: marks.append((module.counters.updates, gpu.waits))  # type: ignore[method-assign]
    quiet = ("evaluation.every=null", "logging.every=100000", "checkpoints.ticks=1000", "stages.1.collect.steps=1")
    train(
        tiny_recipe(*quiet, "stages.1.ratio=48", "stages.1.until.env_steps=6"),
        run_dir=tmp_path / "run",
        callbacks=[watch],
        progress=False,
    )
    (updates, waits), (later, more) = marks[-4], marks[-2]
    acts = 2 * 3  # one decision a tick: it begins anew?, its memory begins anew?, and the action itself
    assert later - updates == 8
    assert more - waits <= 6 * (later - updates) + acts


def test_a_run_changes_its_device_and_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_recipe: Make) -> None:
    def stop(module: Any) -> None:
        module.trainer.should_stop = True

    run = tmp_path / "run"
    assert train(tiny_recipe(), run_dir=run, callbacks=[At(25, stop)], progress=False).status == "interrupted"
    with pretended_gpu(monkeypatch):
        assert resume(run, callbacks=[At(40, stop)], progress=False).status == "interrupted"
    assert resume(run, progress=False).status == "completed"


@pytest.fixture(scope="module")
def dreamers(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Make) -> dict[str, Path]:
    """A trained Dreamer for either kind of action."""
    folder = tmp_path_factory.mktemp("dreamers")
    return {
        env: train(tiny_recipe(f"env={env}"), run_dir=folder / env, progress=False).run_dir
        for env in ("cartpole", "pendulum")
    }


PLANS = ["planner.horizon=3", "planner.candidates=6", "planner.elites=2", "planner.iterations=2"]
PLANNERS = {
    "cem": ("pendulum", [*PLANS, "planner.warm_start=true"]),
    "cem over classes": ("cartpole", [*PLANS, "planner.warm_start=true"]),
    "cem with proposals": ("pendulum", [*PLANS, "planner.proposals=2"]),
    "cem with proposals of classes": ("cartpole", [*PLANS, "planner.proposals=2"]),
    "cem truncated": ("pendulum", [*PLANS, "planner.noise=truncated"]),
    "icem": ("pendulum", PLANS),
    "mppi": ("pendulum", [*PLANS, "planner.warm_start=true", "planner.proposals=2"]),
    "gradient": ("pendulum", [PLANS[0], PLANS[3], "planner.candidates=3", "planner.warm_start=true"]),
    "exhaustive": ("cartpole", [PLANS[0]]),
    "guided": ("cartpole", PLANS[:2]),
    "random_shooting": ("cartpole", PLANS[:2]),
    "actor": ("cartpole", []),
}


@pytest.mark.parametrize("name", PLANNERS)
def test_every_planner_decides_there(name: str, gpu: PretendedGpu, dreamers: dict[str, Path]) -> None:
    """An episode's beginning, its middle, and an environment that begins anew beside one that does not."""
    env, overrides = PLANNERS[name]
    agent = reopen(dreamers[env], [f"planner={name.split()[0]}", *overrides], plugins=load_plugins()).agent
    place(agent)
    (key,) = agent.observation
    size = agent.observation[key].shape
    state = agent.initial(2)
    for first in ([True, True], [False, False], [True, False]):
        obs = {key: np.full((2, *size), 0.1, np.float32)}
        action, state = agent.act(obs, state, np.array(first), explore=True)
        assert action.shape == (2, agent.action.size)
        assert np.isfinite(action).all()
    memory = {name: value for name, value in state.tensors().items() if name not in ("seeds", "steps")}
    assert [name for name, value in memory.items() if not on_gpu(value)] == []
    assert not on_gpu(state.seeds)


def test_plans_are_looked_at_there(gpu: PretendedGpu, dreamers: dict[str, Path]) -> None:
    from reverie.evaluation.planning.thoughts import think, thoughts

    opened = reopen(dreamers["pendulum"], ["planner=cem", *PLANS], plugins=load_plugins())
    place(opened.agent)
    _, decisions = think(opened.agent, opened.factory, 0, 3, "mode")
    assert len(thoughts(opened.agent, decisions, "mode", 2)) == 3


# The pretended GPU refuses what a real one refuses.


def test_two_devices_do_not_meet() -> None:
    with PretendedGpu() as gpu:
        there, here = torch.ones(2, device="cuda"), torch.ones(2)
        assert there.device.type == "cuda"
        assert (there * torch.tensor(2.0)).device.type == "cuda"  # single numbers may come from anywhere
        for mixed in (
            lambda: there + here,
            lambda: torch.where(there > 0, here, here),
            lambda: torch.cat([there, here]),
            lambda: torch.stack([there.sum(), here.sum()]),
            lambda: here[there.long()],
            lambda: here.add_(there),
        ):
            with pytest.raises(RuntimeError, match="same device"):
                mixed()
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        with pytest.raises(TypeError, match="numpy"):
            np.asarray(there)
        with pytest.raises(RuntimeError, match="generator"):
            torch.rand(2, device="cuda", generator=torch.Generator())
        assert here.copy_(there).device.type == "cpu"
        assert there[torch.tensor([0])].device.type == "cuda"
        assert there.new_zeros(3).device.type == "cuda"
        assert torch.ones_like(there, device="cpu").device.type == "cpu"
        assert there.to("cpu").device.type == there.cpu().device.type == "cpu"
        assert here.to(there).device.type == here.to("cuda", torch.float64).device.type == "cuda"
        waited = gpu.waits
        assert float(there.sum()) == 2.0
        assert gpu.waits == waited + 1


def test_gradients_lie_where_their_weights_do() -> None:
    with PretendedGpu():
        weight = put(torch.nn.Parameter(torch.ones(2)))
        (weight * torch.ones(2, device="cuda")).sum().backward()
        gradient: Tensor | None = weight.grad
        assert gradient is not None
        assert gradient.device.type == "cuda"


def test_an_agent_that_keeps_something_behind_is_found_out(
    gpu: PretendedGpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As the memory of planners was kept on the CPU once, which only a GPU noticed."""
    from reverie.assembly.agent import Agent

    plain = Agent.initial

    def behind(self: Agent, n: int, seeds: Any = None) -> Any:
        state = plain(self, n, seeds)
        return type(state)(state.latent, state.action.cpu(), state.carry, state.seeds, state.steps)

    monkeypatch.setattr(Agent, "initial", behind)
    with pytest.raises(RuntimeError, match="same device"):
        train(FAMILIES["planning by shooting"].prepared(), run_dir=tmp_path / "run", progress=False)
