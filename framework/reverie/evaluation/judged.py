"""An evaluation whose episodes also judge the world model, during training and afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.policy import Policy
from reverie.evaluation.episodes import Mode
from reverie.evaluation.protocol import EvaluationResult, evaluate
from reverie.evaluation.recording import Recorder, Recording
from reverie.evaluation.world_model import WorldModelReport, judge
from reverie.evaluation.world_model.discounts import discounts_of


def evaluate_and_judge(
    agent: Any,
    factory: EnvironmentFactory,
    learners: Iterable[Any],
    *,
    episodes: int,
    seed: int,
    mode: Mode = "mode",
    should_stop: Callable[[], bool] | None = None,
    player: Policy | None = None,
) -> tuple[EvaluationResult, WorldModelReport]:
    """Play the episodes of an evaluation once, for returns and for the world model.

    Args:
        agent: an assembled `Agent`.
        factory: makes the environments.
        learners: the options of the recipe's learners, which say how values are discounted.
        episodes, seed, mode, should_stop: as for `evaluate`.
        player: acts in place of the agent, which may have neither planner nor actor.

    Raises:
        EvaluationStopped: `should_stop` said so.
    """
    recorder = Recorder(range(seed, seed + episodes))
    result = evaluate(
        player or agent,
        factory,
        episodes=episodes,
        seed=seed,
        mode=mode,
        should_stop=should_stop,
        watch=recorder.watch,
    )
    recordings = recorder.recordings()
    own = player is None
    report = judge_recorded(agent, recordings, learners, repeat=factory.action_repeat, own=own, mode=mode, seed=seed)
    return result, report


def judge_recorded(
    agent: Any,
    recordings: Sequence[Recording],
    learners: Iterable[Any],
    *,
    own: bool,
    repeat: int = 1,
    mode: Mode = "mode",
    seed: int = 0,
) -> WorldModelReport:
    """Judge the world model on episodes that nothing learned from.

    Args:
        agent: an assembled `Agent`.
        recordings: at least one.
        learners: the options of the recipe's learners, which say how values are discounted.
        own: whether the agent played them itself, so that they say something of its values and its policy.
        repeat: frames of one decision.
        mode, seed: as for `evaluate`.
    """
    found = discounts_of(learners, repeat)
    folded = found.cont
    return judge(agent, recordings, discount=found.value, continue_discount=folded, own=own, mode=mode, seed=seed)
