"""Ticks: what is collected, how many updates follow, and that a run may stop between any two units."""

from typing import Any

import pytest
import torch

from reverie.contracts import ArraySpec, ObservationSpec
from reverie.errors import NumericalFault, RunError
from reverie.nn import RunningNormalizer
from reverie.training.ticks import Ticker

from .conftest import make_ticker

COLLECT = {"name": "collect", "collect": {"policy": "random"}, "until": {"env_steps": 400}}


def learning(**options: Any) -> dict[str, Any]:
    given = {"name": "train", "collect": {"policy": "planner"}, "learners": ["model", "reward"]}
    return {**given, "until": {"env_steps": 4000}, **options}


def test_counters_count_frames_decisions_and_episodes() -> None:
    ticker = make_ticker({**COLLECT, "collect": {"policy": "random", "steps": 10}})
    assert ticker.tick()
    counters = ticker.counters
    assert (counters.agent_steps, counters.env_steps, counters.episodes, counters.ticks) == (20, 40, 2, 1)
    assert counters.updates == 0
    assert ticker.collector.calls == ["random"] * 10
    assert ticker.averages.take() == {"train/return": 7.5, "train/length": 5.0}


def test_a_tick_of_whole_episodes_ends_with_them() -> None:
    ticker = make_ticker({**COLLECT, "collect": {"policy": "random", "episodes": 3}})
    ticker.tick()
    assert ticker.counters.episodes == 3
    assert len(ticker.collector.calls) == 15


@pytest.mark.parametrize("ratio", [1.0, 2.5, 5.0, 12.0, 64.0])
def test_the_replay_ratio_is_replayed_steps_per_decision(ratio: float) -> None:
    ticker = make_ticker(learning(ratio=ratio))
    for _ in range(40):
        ticker.tick()
    counters = ticker.counters
    assert counters.replayed_steps == counters.updates * 10  # B * T
    # 40 ticks of 2 decisions; never ahead, and less than one batch behind. Frames (twice as many) do not count.
    assert 0 <= ratio * 80 - counters.replayed_steps < 10


def test_no_debt_piles_up_while_nothing_can_be_sampled() -> None:
    ticker = make_ticker(learning(ratio=10), ready=41)
    for _ in range(20):
        ticker.tick()
    assert ticker.counters.updates == 0
    ticker.tick()
    assert ticker.counters.updates == 2


def test_updates_per_tick() -> None:
    ticker = make_ticker(learning(updates=3), learning(name="once"))
    ticker.tick()
    assert ticker.counters.updates == 3
    ticker.cursor.advance(ticker.counters)
    ticker.tick()
    assert ticker.counters.updates == 4


@pytest.mark.parametrize(("images", "ratio"), [(False, 20.0), (True, 5.0)])
def test_the_ratio_may_depend_on_what_is_observed(images: bool, ratio: float) -> None:
    ticker = make_ticker(learning(ratio={"vectors": 20, "images": 5}))
    if images:
        ticker.agent.observation = ObservationSpec({"camera": ArraySpec((8, 8, 3), "uint8")})
    ticker.pending.agent_steps = 20
    assert ticker._due(ticker.cursor.stage) == ratio * 20 / 10  # updates of 10 replayed steps


@pytest.mark.parametrize("where", ["replay", "stage"])
@pytest.mark.parametrize(("images", "chunks", "length"), [(False, 8, 5), (True, 2, 4)])
def test_a_batch_may_depend_on_what_is_observed(where: str, images: bool, chunks: int, length: int) -> None:
    shape = {"batch_size": {"vectors": 8, "images": 2}, "length": {"vectors": 5, "images": 4}}
    stage = learning(ratio=20, **(shape if where == "stage" else {}))
    ticker = make_ticker(stage, replay=shape if where == "replay" else {"batch_size": 3, "length": 2})
    if images:
        ticker.agent.observation = ObservationSpec({"camera": ArraySpec((8, 8, 3), "uint8")})
    ticker.pending.agent_steps = 20
    assert ticker.shape(ticker.cursor.stage) == (chunks, length)
    assert ticker._due(ticker.cursor.stage) == 20 * 20 / (chunks * length)


def test_a_limit_in_updates_is_met_exactly() -> None:
    ticker = make_ticker(learning(updates=50, until={"updates": 7}))
    ticker.tick()
    assert ticker.counters.updates == 7
    assert ticker.cursor.ended(ticker.counters) == "updates"


def test_the_last_steps_are_learned_from_too() -> None:
    ticker = make_ticker(learning(ratio=10, until={"env_steps": 8}))
    while not ticker.cursor.ended(ticker.counters):
        ticker.tick()
    assert ticker.counters.agent_steps == 4
    assert ticker.counters.updates == 4
    capped = make_ticker(
        learning(ratio=100, until={"env_steps": 8}, collect={"policy": "random", "steps": 2}), budget={"updates": 3}
    )
    capped.tick()
    assert capped.counters.updates == 3


def test_a_limit_in_steps_is_met_inside_a_long_tick() -> None:
    ticker = make_ticker({**COLLECT, "collect": {"policy": "random", "steps": 100}, "until": {"env_steps": 12}})
    ticker.tick()
    assert ticker.counters.env_steps == 12


def test_learning_without_experience_is_an_error_that_says_so() -> None:
    ticker = make_ticker(learning(collect={"policy": "none"}), ready=5)
    with pytest.raises(RunError, match="collect more in a stage before"):
        ticker.tick()


def test_a_batch_must_be_shared_evenly() -> None:
    from reverie.training.ddp import World

    good = make_ticker(learning())
    with pytest.raises(RunError, match="3 devices"):
        Ticker(
            settings=good.settings,
            agent=good.agent,
            updates=good.updates,
            replay=good.replay,
            collector=good.collector,
            environments=good.environments,
            counters=good.counters,
            cursor=good.cursor,
            averages=good.averages,
            world=World(0, 3),
        )


def test_the_observations_of_all_processes_are_in_the_statistics(monkeypatch) -> None:
    """The other process of two saw the same rows as this one: as many again, of the same mean."""
    from reverie.training.ddp import World

    ticker, normalizer = make_ticker({**COLLECT, "collect": {"policy": "random", "steps": 3}}), RunningNormalizer((2,))
    ticker.agent.normalizers = torch.nn.ModuleDict({"state": normalizer})
    rows = torch.tensor([[1.0, -1.0], [3.0, -3.0]])
    plain = ticker.collector.collect

    def collect(*given, **options):
        normalizer.update(rows)
        return plain(*given, **options)

    monkeypatch.setattr(ticker.collector, "collect", collect)
    monkeypatch.setattr(World, "gather", lambda world, value: torch.cat([value, value]))
    monkeypatch.setattr(World, "sum", lambda world, values: list(values))
    monkeypatch.setattr(World, "max", lambda world, value: value)
    ticker.world = World(0, 2)
    ticker.tick()
    assert normalizer.count.item() == 3 * 2 * 2
    torch.testing.assert_close(normalizer.mean, torch.tensor([2.0, -2.0], dtype=torch.float64))
    torch.testing.assert_close(normalizer.std, torch.ones(2, dtype=torch.float64))


def test_what_no_learner_of_the_stage_trains_and_what_the_stage_freezes_stays() -> None:
    ticker = make_ticker(learning(learners=["model"], freeze=["encoder"]))
    before = {name: value.clone() for name, value in ticker.agent.state_dict().items()}
    ticker.tick()
    moved = {name.split(".")[0] for name, value in ticker.agent.state_dict().items() if not value.equal(before[name])}
    assert moved == {"dynamics"}
    assert all(parameter.requires_grad for parameter in ticker.agent.parameters())


def test_stages_of_one_name_freeze_what_each_of_them_freezes() -> None:
    ticker = make_ticker(learning(learners=["reward"]), learning(learners=["model"]))
    ticker.tick()
    ticker.cursor.advance(ticker.counters)
    before = {name: value.clone() for name, value in ticker.agent.state_dict().items()}
    ticker.tick()
    moved = {name.split(".")[0] for name, value in ticker.agent.state_dict().items() if not value.equal(before[name])}
    assert moved == {"encoder", "dynamics"}


def test_learners_without_gradients_make_generations() -> None:
    stage = {"name": "evolve", "learners": ["evolution"], "updates": 3, "until": {"generations": 5}}
    ticker = make_ticker(stage, learners=("evolution",))
    before = ticker.agent.actor.linear.bias.detach().clone()
    ticker.tick()
    ticker.tick()
    assert ticker.counters.generations == 5
    assert ticker.counters.updates == 0
    assert ticker.replay.drawn == []
    torch.testing.assert_close(ticker.agent.actor.linear.bias, before + 5)
    assert ticker.averages.take() == {"evolution/best": 2.0}


def test_real_episodes_of_a_generation_count_on_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process of two played as much as this one: a budget that each counted for itself would last twice."""
    from reverie.training.ddp import World

    stage = {"name": "evolve", "learners": ["evolution"], "updates": 2, "until": {"generations": 2}}
    ticker = make_ticker(stage, learners=("evolution",))
    evolution = ticker.updates.learners["evolution"]

    def update(ctx: Any) -> None:
        ctx.counters.agent_steps += 10
        ctx.counters.env_steps += 20
        ctx.counters.episodes += 2

    monkeypatch.setattr(evolution, "update", update)
    monkeypatch.setattr(World, "sum", lambda world, values: [2 * value for value in values])
    monkeypatch.setattr(World, "max", lambda world, value: value)
    ticker.world = World(0, 2)
    ticker.tick()
    counters = ticker.counters
    assert (counters.agent_steps, counters.env_steps, counters.episodes) == (40, 80, 8)
    assert counters.generations == 2


class StopAfter:
    """Asks to stop at the n-th question, once."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


@pytest.mark.parametrize("moment", range(1, 14))
def test_a_tick_that_was_stopped_anywhere_goes_on_to_the_same_weights(moment: int) -> None:
    stage = learning(collect={"policy": "planner", "steps": 6}, ratio=5.0)
    alone = make_ticker(stage)
    for _ in range(2):
        assert alone.tick()
    stopped = make_ticker(stage, stop=StopAfter(moment))
    whole = [stopped.tick() for _ in range(2)]
    assert not all(whole)
    # Another process: everything that a checkpoint keeps, and nothing else.
    resumed = make_ticker(stage)
    resumed.agent.load_state_dict(stopped.agent.state_dict())
    resumed.restore(stopped.state())
    resumed.counters.__dict__.update(stopped.counters.__dict__)
    resumed.collector.calls = list(stopped.collector.calls)
    resumed.replay.steps = stopped.replay.steps
    while resumed.counters.ticks < 2:
        assert resumed.tick()
    assert resumed.counters.updates == alone.counters.updates
    for name, value in alone.agent.state_dict().items():
        assert torch.equal(value, resumed.agent.state_dict()[name]), name


def test_a_learner_that_is_told_to_stop_by_a_signal_spoils_the_tick() -> None:
    asked = []
    ticker = make_ticker(learning(), stop=lambda: bool(asked))
    context = ticker._context("model", ticker.cursor.stage)
    assert not context.should_stop()
    assert not ticker.spoiled
    asked.append(1)
    assert context.should_stop()
    assert ticker.spoiled


def test_a_learner_is_asked_to_stop_when_the_budget_is_spent() -> None:
    ticker = make_ticker(learning(), budget={"env_steps": 8})
    context = ticker._context("model", ticker.cursor.stage)
    ticker.tick()
    assert not context.should_stop()
    ticker.tick()
    assert context.should_stop()
    assert not ticker.spoiled


def test_faults_name_the_stage() -> None:
    ticker = make_ticker(learning(name="behave"))
    with torch.no_grad():
        ticker.agent.heads["reward"].linear.bias.fill_(float("nan"))
    with pytest.raises(NumericalFault, match="stage 'behave', learner 'reward'"):
        ticker.tick()
    assert ticker.counters.updates == 0
    assert ticker.batch is not None


def test_noise_belongs_to_the_update_and_not_to_what_came_before() -> None:
    ticker = make_ticker(learning())
    ticker.counters.updates = 5
    first = ticker._sampling("view").randn((3,))
    ticker._sampling("view").randn((100,))
    assert torch.equal(ticker._sampling("view").randn((3,)), first)
    ticker.counters.updates = 6
    assert not torch.equal(ticker._sampling("view").randn((3,)), first)
    assert not torch.equal(ticker._sampling("learner:model").randn((3,)), first)


def test_batches_and_the_noise_of_view_and_learners_are_their_own_in_each_update() -> None:
    """Note 8: nothing that an update draws is drawn again, by another part of it or by another update."""
    ticker = make_ticker(learning(updates=4))
    seen: list[float] = []
    for name in ("model", "reward"):
        learner = ticker.updates.learners[name]

        def losses(view: Any, ctx: Any, own: Any = learner.losses) -> Any:
            seen.append(float(ctx.sampling.randn((1,))))
            seen.append(float(view.sampling.randn((1,))))
            return own(view, ctx)

        learner.losses = losses  # type: ignore[method-assign]
    ticker.tick()
    assert len(seen) == 16
    assert len(set(seen)) == 16
    assert len(ticker.replay.drawn) == 4  # type: ignore[attr-defined]
    assert len(set(ticker.replay.drawn)) == 4  # type: ignore[attr-defined]
