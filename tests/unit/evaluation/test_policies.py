"""Reference policies."""

from __future__ import annotations

import numpy as np
import pytest

from reverie.contracts import ActionSpec
from reverie.evaluation.policies import ConstantPolicy, RandomPolicy

NOTHING = np.zeros(1, dtype=bool)


def drawn(action: ActionSpec, steps: int) -> np.ndarray:
    policy = RandomPolicy(action)
    state, actions = policy.initial(4, seeds=[9, 4, 7, 9]), []
    for _ in range(steps):
        action_now, state = policy.act({}, state, NOTHING)
        actions.append(action_now)
    return np.stack(actions)


def test_continuous_actions_are_uniform() -> None:
    actions = drawn(ActionSpec("continuous", 3), 800)  # (800, 4, 3)
    assert actions.dtype == np.float32
    flat = np.sort(actions[:, :3].ravel())
    # Kolmogorov-Smirnov against the uniform distribution on [-1, 1], 7,200 draws: 1.95 / sqrt(n) is the 0.1% bound
    steps = np.arange(1, flat.size + 1) / flat.size
    assert np.abs(steps - (flat + 1) / 2).max() < 1.95 / np.sqrt(flat.size)


def test_discrete_actions_are_one_hot_and_equally_likely() -> None:
    actions = drawn(ActionSpec("discrete", 3), 1000)  # (1000, 4, 3)
    assert set(np.unique(actions)) == {0.0, 1.0}
    assert (actions.sum(-1) == 1).all()
    assert np.allclose(actions[:, :3].mean((0, 1)), 1 / 3, atol=0.03)


def test_a_seed_decides_the_actions_not_the_place_in_the_batch() -> None:
    actions = drawn(ActionSpec("continuous", 2), 5)
    assert (actions[:, 0] == actions[:, 3]).all()  # both have seed 9
    assert (actions[:, 0] != actions[:, 1]).any()


def test_constant_policies() -> None:
    policy = ConstantPolicy(ActionSpec("continuous", 2))
    assert (policy.act({}, policy.initial(3), NOTHING)[0] == np.zeros((3, 2))).all()
    chosen = ConstantPolicy(ActionSpec("discrete", 3), choice=2)
    assert chosen.act({}, chosen.initial(2), NOTHING)[0].tolist() == [[0, 0, 1], [0, 0, 1]]
    with pytest.raises(ValueError, match="not one of 3"):
        ConstantPolicy(ActionSpec("discrete", 3), choice=3)
