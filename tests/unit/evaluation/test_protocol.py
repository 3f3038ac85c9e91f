"""The protocol against an environment whose returns are known: 1 + 2 + ... + (3 + seed % 4)."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from reverie.contracts import ActionSpec, EpisodeResult
from reverie.errors import EnvironmentFault, NumericalFault
from reverie.evaluation.protocol import ConstantPolicy, EvaluationResult, EvaluationStopped, RandomPolicy, evaluate


def test_returns_lengths_and_ends_by_hand(factory: Any, policy: Any) -> None:
    result = evaluate(policy, factory, episodes=5, seed=6)
    # seeds 6..10 last 5, 6, 3, 4, 5 steps and return 15, 21, 6, 10, 15
    assert result.episodes == [
        EpisodeResult(15.0, 5, 6, True),
        EpisodeResult(21.0, 6, 7, False),
        EpisodeResult(6.0, 3, 8, True),
        EpisodeResult(10.0, 4, 9, False),
        EpisodeResult(15.0, 5, 10, True),
    ]
    assert result.mean == pytest.approx(67 / 5)
    assert result.std == pytest.approx(np.std([15, 21, 6, 10, 15]))
    assert (result.min, result.max, result.lengths) == (6.0, 21.0, [5, 6, 3, 4, 5])
    assert result.calls == 6


def test_every_row_gets_its_own_seed_and_action_and_is_closed(factory: Any, policy: Any) -> None:
    evaluate(policy, factory, episodes=3, seed=8)  # last 3, 4, 5 steps
    assert [entry for entry in factory.log if entry[0] == "reset"] == [
        ("reset", 0, 8),
        ("reset", 1, 9),
        ("reset", 2, 10),
    ]
    for row, seed, length in ((0, 8, 3), (1, 9, 4), (2, 10, 5)):
        mine = [action for kind, index, action in (e for e in factory.log if e[0] == "step") if index == row]
        assert mine == [(seed + k) % 3 for k in range(length)]
    assert [entry[1] for entry in factory.log if entry[0] == "close"] == [0, 1, 2]


def test_the_policy_sees_the_whole_batch_until_the_end(factory: Any, policy: Any) -> None:
    evaluate(policy, factory, episodes=3, seed=8, mode="sample", explore=True)
    assert [call["first"].tolist() for call in policy.calls] == [[True] * 3] + [[False] * 3] * 4
    assert policy.calls[0]["obs"].tolist() == [[-5, 8], [-5, 9], [-5, 10]]
    # o_t shows a_{t-1} = (seed + t - 1) % 3; row 0 ended at its third step and keeps its last observation
    assert policy.calls[1]["obs"].tolist() == [[2, 8], [0, 9], [1, 10]]
    assert policy.calls[4]["obs"].tolist() == [[1, 8], [0, 9], [1, 10]]
    assert {(call["mode"], call["explore"]) for call in policy.calls} == {("sample", True)}


def test_a_policy_without_modes_is_not_told_one(factory: Any) -> None:
    result = evaluate(ConstantPolicy(factory.action, choice=2), factory, episodes=2, seed=0, mode="sample")
    assert result.mode == "sample"
    assert {entry[2] for entry in factory.log if entry[0] == "step"} == {2}


def test_the_same_arguments_give_the_same_answer_whatever_else_runs(make_factory: Any) -> None:
    def once(episodes: int) -> tuple[EvaluationResult, list[Any]]:
        factory = make_factory(ActionSpec("continuous", 2))
        result = evaluate(RandomPolicy(factory.action), factory, episodes=episodes, seed=3)
        return result, [tuple(e[2]) for e in factory.log if e[0] == "step" and e[1] == 0]

    first, second, alone = once(4), once(4), once(1)
    assert first == second
    assert alone[1] == first[1]  # row 0 plays the same actions alone
    assert len(set(first[1])) == len(first[1])


def test_global_generators_are_left_alone(factory: Any, policy: Any) -> None:
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    expected = (random.random(), np.random.rand(), torch.rand(1))
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    evaluate(policy, factory, episodes=2, seed=0)  # its environment draws from np.random
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected


def test_modules_are_in_evaluation_mode_and_get_their_own_back(factory: Any) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.still, self.active = nn.Dropout().eval(), nn.Dropout()
            self.seen: set[bool] = set()

        def initial(self, n: int, seeds: Any = None) -> int:
            return n

        def act(self, obs: Any, state: int, is_first: Any, *, explore: bool = False) -> Any:
            self.seen |= {module.training for module in self.modules()}
            return np.eye(3, dtype=np.float32)[[0] * state], state

    network = Network()
    evaluate(network, factory, episodes=1, seed=0)
    assert network.seen == {False}
    assert (network.training, network.still.training, network.active.training) == (True, False, True)


def test_stopping_reports_nothing_and_closes(factory: Any, policy: Any) -> None:
    answers = iter([False, False, True])
    with pytest.raises(EvaluationStopped, match="stopped before"):
        evaluate(policy, factory, episodes=3, seed=8, should_stop=lambda: next(answers))
    assert len(policy.calls) == 2
    assert sum(entry[0] == "close" for entry in factory.log) == 3


def test_max_steps_cuts_without_a_true_end(factory: Any, policy: Any) -> None:
    result = evaluate(policy, factory, episodes=2, seed=8, max_steps=3)  # seed 8 ends truly there, seed 9 is cut
    assert result.episodes == [EpisodeResult(6.0, 3, 8, True), EpisodeResult(6.0, 3, 9, False)]


def test_what_is_not_finite_stops_it(make_factory: Any, policy: Any) -> None:
    poisoned = make_factory(poison=2)
    with pytest.raises(EnvironmentFault, match="nan"):
        evaluate(policy, poisoned, episodes=2, seed=0)
    assert sum(entry[0] == "close" for entry in poisoned.log) == 2

    class Broken(RandomPolicy):
        def act(self, obs: Any, state: Any, is_first: Any, *, explore: bool = False) -> Any:
            actions, after = super().act(obs, state, is_first)
            actions[1] = np.nan
            return actions, after

    with pytest.raises(NumericalFault, match="episode 1 at step 0"):
        evaluate(Broken(poisoned.action), make_factory(), episodes=2, seed=0)


def test_continuous_actions_stay_within_their_bounds(make_factory: Any) -> None:
    class Eager(RandomPolicy):
        def act(self, obs: Any, state: Any, is_first: Any, *, explore: bool = False) -> Any:
            return np.array([[7.0, -7.0]], np.float32), state

    factory = make_factory(ActionSpec("continuous", 2))
    evaluate(Eager(factory.action), factory, episodes=1, seed=0)
    assert {tuple(entry[2]) for entry in factory.log if entry[0] == "step"} == {(1.0, -1.0)}


def test_json_is_plain_and_says_the_protocol(factory: Any, policy: Any) -> None:
    data = json.loads(json.dumps(evaluate(policy, factory, episodes=2, seed=8, mode="sample").as_json()))
    assert data.pop("ms_per_call") >= data.pop("ms_per_decision") > 0
    assert data.pop("imagined_steps") == data.pop("imagined_per_second") == 0
    assert data == {
        "mean": 8.0, "std": 2.0, "min": 6.0, "max": 10.0, "returns": [6.0, 10.0], "lengths": [3, 4], "seeds": [8, 9],
        "terminated": [True, False], "episodes": 2, "mode": "sample", "seed": 8, "explore": False,
    }  # fmt: skip


def test_timings_do_not_make_results_differ_and_are_shared_among_rows() -> None:
    episodes = [EpisodeResult(1.0, 2, 0, True)] * 4
    slow = EvaluationResult(episodes, "mode", 0, calls=10, seconds_deciding=2.0)
    assert slow == EvaluationResult(episodes, "mode", 0, calls=10, seconds_deciding=1.0)
    assert slow.ms_per_call == pytest.approx(200.0)
    assert slow.ms_per_decision == pytest.approx(50.0)


def test_no_episodes_are_refused(factory: Any, policy: Any) -> None:
    with pytest.raises(ValueError, match="at least one episode"):
        evaluate(policy, factory, episodes=0, seed=0)
