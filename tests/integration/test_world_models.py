"""V, M and C as stages of one run, and mixes of them with Dreamer's parts: all by recipe alone."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback

from reverie import api
from reverie.cli import main as command_line
from reverie.errors import ReverieError
from reverie.extension.manager import Plugins, load_plugins
from reverie.recipes.prepare import prepare
from reverie.training.checkpoint import read_agent_tensors
from reverie.training.run import train

from .conftest import differences, final_state, rows_of

SHARED = """
encoder: {latent: 3, units: 8, layers: 1}
decoder: {units: 8, layers: 1}
env: {time_limit: 15}
replay: {batch_size: 3, length: 5, chunk: 32}
evaluation: {episodes: 2}
logging: {every: 5, tensorboard: false}
checkpoints: {ticks: 3}
trainer: {threads: 1}
"""
MODEL = "dynamics: {hidden: 8, components: 2}\n"
STAGES = """
stages:
  - {name: random, collect: {policy: random}, until: {agent_steps: 40}}
  - rounds: 2
    stages:
      - {name: v, learners: [v], batch_size: 8, length: 1, until: {updates: 4}}
      - {name: m, learners: [m], until: {updates: 4}}
      - {name: c, learners: [c], until: {generations: 3}}
      - {name: collect, collect: {policy: planner}, until: {agent_steps: 20}}
"""
C = "learners: {c: {population: 4, rollouts: 2, horizon: 6, context: 3, temperature: 1.2}}\n"
PARTS = {"encoder", "dynamics", "decoder", "heads/reward", "heads/continue", "actor"}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


def written(folder: Path, defaults: str, body: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mix.yaml"
    lines = "".join(f"  - {line}\n" for line in defaults.split("; "))
    path.write_text(f"defaults:\n{lines}  - _self_\n{body}{SHARED}")
    return path


def trained(folder: Path, defaults: str, body: str, callbacks: Any = (), *overrides: str) -> Any:
    return api.train(written(folder, defaults, body), overrides, run_dir=folder / "run", callbacks=callbacks)


def moved(run: Path, plugins: Plugins) -> set[str]:
    """The slots whose weights differ from those that the run began with."""
    from reverie.assembly.build import build_agent, build_environment

    recipe = prepare(run / "recipe.lock.yaml", plugins=plugins)
    torch.manual_seed(recipe.settings.seed)
    factory = build_environment(recipe)
    before = build_agent(recipe, factory.observation, factory.action)
    after = read_agent_tensors(run)
    names = before.state_dict()
    return {
        slot
        for slot in before.slots()
        if any(
            name.startswith(slot.replace("/", ".") + ".") and not torch.equal(names[name], after[name])
            for name in names
        )
    }


def status(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "status.json").read_text()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """V, M, C and two rounds on CartPole's numbers."""
    folder = tmp_path_factory.mktemp("whole")
    return Path(trained(folder, "world_models; override env: cartpole", MODEL + C + STAGES).run_dir)


def test_all_three_parts_are_trained_one_after_another(whole: Path, plugins: Plugins) -> None:
    assert moved(whole, plugins) == PARTS
    found = status(whole)
    assert (found["status"], found["updates"], found["generations"]) == ("completed", 16, 6)
    assert found["replayed_steps"] == 2 * (4 * 8 * 1 + 4 * 3 * 5)  # each stage by the shape of its own batches
    columns = {name for row in rows_of(whole) for name, value in row.items() if value}
    assert {"v/vae/state", "v/vae/kl", "m/dynamics/nll", "m/reward", "m/continue", "c/dream_mean", "c/sigma"} <= columns


class Terminate(Callback):
    def __init__(self, ticks: int) -> None:
        self.ticks = ticks

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if module.counters.ticks == self.ticks:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("ticks", [50, 68])
def test_a_run_that_is_stopped_within_the_evolution_goes_on_bit_by_bit(whole: Path, tmp_path: Path, ticks: int) -> None:
    """The 50th tick is inside the first search, the 68th between two generations of the second round's."""
    stopped = trained(tmp_path, "world_models; override env: cartpole", MODEL + C + STAGES, [Terminate(ticks)])
    assert stopped.exit_code == 143
    assert 0 < status(stopped.run_dir)["generations"] < 6
    assert api.resume(stopped.run_dir).status == "completed"
    assert differences(final_state(whole), final_state(stopped.run_dir)) == []
    assert rows_of(whole) == rows_of(stopped.run_dir)


def test_the_dream_is_shown_and_the_controller_is_judged(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = command_line.run(["evaluate", str(whole), "--episodes", "3", "--world-model", "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    said = json.loads(captured.out)
    assert len(said["returns"]) == 3
    assert "observations" in said["world_model"]


def test_candidates_play_real_episodes_and_the_gap_to_the_dream_is_told(tmp_path: Path) -> None:
    body = (
        MODEL
        + C.replace("temperature: 1.2", "judge: both, side_by_side: 4")
        + (
            "stages:\n  - {name: random, collect: {policy: random}, until: {agent_steps: 30}}\n"
            "  - {name: c, learners: [c], until: {generations: 2}}\n"
        )
    )
    run = trained(tmp_path, "world_models; override env: cartpole", body).run_dir
    last = [row for row in rows_of(run) if row.get("c/gap")][-1]
    assert float(last["c/gap"]) == pytest.approx(float(last["c/dream_mean"]) - float(last["c/real_mean"]), abs=1e-3)
    assert status(run)["episodes"] >= 2 * 4 * 2  # generations, candidates, rollouts
    assert status(run)["env_steps"] > 30


# -- mixes -----------------------------------------------------------------------------------------------------------

PREFILL = "stages:\n  - {name: random, collect: {policy: random}, until: {agent_steps: 30}}\n"


def test_dreamers_actor_and_critic_on_an_mdn_rnn(tmp_path: Path, plugins: Plugins) -> None:
    defaults = (
        "world_models; override env: cartpole; override actor: mlp; heads/value: two_hot; override learners/c: dreamer"
    )
    body = (
        MODEL
        + "actor: {units: 8, layers: 1}\nlearners: {c: {horizon: 3, starts: 4}}\n"
        + PREFILL
        + ("  - {name: train, collect: {policy: planner}, learners: [v, m, c], ratio: 15, until: {agent_steps: 10}}\n")
    )
    run = trained(tmp_path, defaults, body).run_dir
    assert moved(run, plugins) == PARTS | {"heads/value"}


def test_cem_on_an_mdn_rnn(tmp_path: Path, plugins: Plugins) -> None:
    defaults = (
        "world_models; override env: cartpole; override actor: null; override learners/c: null; override planner: cem"
    )
    body = (
        MODEL
        + "planner: {horizon: 3, candidates: 16, elites: 4, iterations: 2}\n"
        + PREFILL
        + ("  - {name: train, collect: {policy: planner}, learners: [v, m], ratio: 15, until: {agent_steps: 10}}\n")
    )
    run = trained(tmp_path, defaults, body).run_dir
    assert moved(run, plugins) == PARTS - {"actor"}


DREAMER = "dynamics: {deter: 8, hidden: 8, groups: 2}\n"


def test_an_evolved_controller_on_an_rssm(tmp_path: Path, plugins: Plugins) -> None:
    defaults = "dreamer; override actor: linear; override heads/value: null; override learners/behaviour: evolution"
    body = (
        DREAMER
        + "learners: {behaviour: {population: 4, rollouts: 2, horizon: 6, context: 3}}\n"
        + PREFILL
        + "  - {name: model, learners: [model], until: {updates: 4}}\n"
        + "  - {name: evolve, learners: [behaviour], until: {generations: 2}}\n"
    )
    path = written(tmp_path, defaults, body)
    path.write_text(path.read_text().replace("latent: 3, ", ""))
    run = Path(api.train(path, [], run_dir=tmp_path / "run").run_dir)
    assert moved(run, plugins) == PARTS


def test_a_frozen_vae_under_an_rssm(whole: Path, tmp_path: Path, plugins: Plugins) -> None:
    """V of a finished run; the RSSM has a decoder of its own."""
    defaults = (
        "dreamer; override actor: null; override planner: cem; override heads/value: null; "
        "override learners/behaviour: null"
    )
    body = (
        DREAMER
        + "planner: {horizon: 3, candidates: 16, elites: 4, iterations: 2}\n"
        + PREFILL
        + "  - {name: model, learners: [model], until: {updates: 4}}\n"
    )
    path = written(tmp_path, defaults, body)
    taken = f"encoder: {{from_run: {whole}, freeze: true}}\nobservations: {{vectors: normalize_symlog}}"
    path.write_text(path.read_text().replace("encoder: {latent: 3, units: 8, layers: 1}", taken))
    run = Path(api.train(path, [], run_dir=tmp_path / "run").run_dir)
    before, after = read_agent_tensors(whole), read_agent_tensors(run)
    kept = [name for name in before if name.startswith(("encoder.", "normalizers."))]
    assert kept
    assert all(torch.equal(before[name], after[name]) for name in kept)
    assert moved(run, plugins) >= {"dynamics", "decoder", "heads/reward", "heads/continue"}


# -- mistakes --------------------------------------------------------------------------------------------------------


def refused(*overrides: str, recipe: str | Path = "world_models") -> str:
    with pytest.raises(ReverieError) as caught:
        prepare(recipe, ["env=cartpole", *overrides], plugins=load_plugins())
    return " ".join(str(caught.value).split())


def test_a_temperature_of_zero_is_refused() -> None:
    said = refused("learners.c.temperature=0")
    assert "learners/c (evolution), `temperature`" in said
    assert "a temperature of 0 divides by zero" in said


def test_a_population_of_one_is_refused() -> None:
    said = refused("learners.c.population=1")
    assert "learners/c (evolution), `population`" in said
    assert "a population of 1 has nothing to compare" in said


def test_an_encoder_without_a_posterior_is_refused() -> None:
    said = refused("encoder=auto")
    assert "dynamics (mdn_rnn) needs encoder to provide 'posterior', which auto does not" in said
    assert "use encoder=vae" in said


def test_a_missing_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "again.yaml"
    path.write_text("defaults:\n  - world_models\n  - _self_\nencoder: {from_run: runs/nowhere, freeze: true}\n")
    said = refused(recipe=path)
    assert "runs/nowhere" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        ("{name: m, learners: [m], length: 50, until: {updates: 2}}", "do not give 3 chunks of 50"),
        ("{name: c, learners: [c], until: {generations: 1}}", "hold no chunk of 60"),
    ],
)
def test_too_few_frames_are_told(tmp_path: Path, stage: str, told: str, plugins: Plugins) -> None:
    body = MODEL + C.replace("context: 3", "context: 60") + PREFILL + f"  - {stage}\n"
    recipe = prepare(written(tmp_path, "world_models; override env: cartpole", body), plugins=plugins)
    with pytest.raises(ReverieError, match="collect more in a stage before") as caught:
        train(recipe, run_dir=tmp_path / "run", progress=False)
    assert told in str(caught.value)


def test_weights_for_other_actions_are_refused(whole: Path, tmp_path: Path) -> None:
    """A model of discrete actions under a task with continuous ones."""
    path = tmp_path / "again.yaml"
    path.write_text(
        "defaults:\n  - world_models\n  - override env: pendulum\n  - _self_\n"
        f"dynamics: {{from_run: {whole}, freeze: true}}\n"
    )
    with pytest.raises(ReverieError) as caught:
        train(prepare(path, plugins=load_plugins()), run_dir=tmp_path / "run", progress=False)
    assert "dynamics" in str(caught.value)
    assert "the spaces or sizes differ" in str(caught.value) or "discrete" in str(caught.value)


# -- slow ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_cma_es_finds_a_linear_policy_for_cartpole_in_the_real_environment(tmp_path: Path) -> None:
    """Position, velocity, angle and angular velocity as they are; nothing is learned but the controller."""
    defaults = (
        "pets; override env: cartpole; override planner: actor; override actor: linear; override learners/model: null; "
        "override learners/value: null; learners/c: evolution"
    )
    body = (
        "observations: {vectors: none}\nlearners: {c: {judge: real, population: 12, rollouts: 4, sigma: 0.5}}\n"
        "stages:\n  - {name: c, learners: [c], until: {generations: 20}}\n"
        "budget: {env_steps: 1000000}\n"  # the stage ends it, not the budget that pets came with
        "evaluation: {every: null, episodes: 20}\nlogging: {tensorboard: false}\ntrainer: {threads: 1}\n"
    )
    path = tmp_path / "evolve.yaml"
    lines = "".join(f"  - {line}\n" for line in defaults.split("; "))
    path.write_text(f"defaults:\n{lines}  - _self_\n{body}")
    result = api.train(path, [], run_dir=tmp_path / "run")
    last = json.loads((result.run_dir / "metrics" / "evaluations.jsonl").read_text().splitlines()[-1])
    assert last["mean"] >= 475, last


@pytest.mark.slow
def test_car_racing_at_the_papers_sizes_runs_every_stage_a_little_way(tmp_path: Path) -> None:
    """Networks, batches and lengths of the paper; only the number of episodes, updates and candidates is small."""
    pytest.importorskip("Box2D")
    path = tmp_path / "little.yaml"
    path.write_text(
        "defaults:\n  - world_models_paper\n  - _self_\nenv: {time_limit: 200}\n"
        "learners: {c: {population: 2, rollouts: 1}}\n"
        "stages:\n  - {name: random, collect: {policy: random}, until: {episodes: 3}}\n"
        "  - {name: v, learners: [v], batch_size: 100, length: 1, until: {updates: 2}}\n"
        "  - {name: m, learners: [m], batch_size: 8, length: 500, until: {updates: 2}}\n"
        "  - {name: c, learners: [c], until: {generations: 1}}\n"
        "evaluation: {episodes: 1}\nlogging: {tensorboard: false}\n"
    )
    run = api.train(path, [], run_dir=tmp_path / "run").run_dir
    found = status(run)
    assert (found["status"], found["updates"], found["generations"]) == ("completed", 4, 1)
    assert found["episodes"] == 3 + 2
    assert found["replayed_steps"] == 2 * 100 * 1 + 2 * 8 * 500
