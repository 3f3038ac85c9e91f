from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from reverie.contracts.specs import ActionSpec, ArraySpec, ObservationSpec
from reverie.errors import EnvironmentFault
from reverie.training.rows import LoopConverter, Rows, check_rows, encode_action, episode_rows, reset_rows, step_rows

DISCRETE, CONTINUOUS = ActionSpec("discrete", 3), ActionSpec("continuous", 2)


def obs(*values):
    return {"x": np.array(values, np.float32)[:, None]}


def flags(rows):
    return rows.is_first.tolist(), rows.is_terminal.tolist(), rows.is_last.tolist()


def test_an_episode_of_a_data_set_by_hand():
    rows = episode_rows(obs(10, 11, 12), np.array([2, 0]), np.array([5.0, 6.0]), np.array([False, True]), spec=DISCRETE)
    assert rows.obs["x"][:, 0].tolist() == [10, 11, 12]
    assert rows.action.tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert rows.reward.tolist() == [0, 5, 6]
    assert flags(rows) == ([True, False, False], [False, False, True], [False, False, True])
    assert rows.reward.dtype == rows.action.dtype == np.float32


def test_a_time_limit_and_an_episode_cut_off_in_the_middle():
    limit = episode_rows(obs(0, 1), np.zeros((1, 2)), np.zeros(1), False, spec=CONTINUOUS)
    assert flags(limit) == ([True, False], [False, False], [False, True])
    cut = episode_rows(obs(0, 1), np.zeros((1, 2)), np.zeros(1), False, spec=CONTINUOUS, ended=False)
    assert flags(cut) == ([True, False], [False, False], [False, False])


def test_an_episode_without_a_step():
    rows = episode_rows(obs(7), np.zeros((0, 2)), np.zeros(0), np.zeros(0, bool), spec=CONTINUOUS)
    assert len(rows) == 1
    assert rows.is_first.all()


@pytest.mark.parametrize(
    ("observations", "actions", "rewards", "ends", "message"),
    [
        ((0, 1), 2, 2, (False, False), "2 observations for 2 rewards, not 3"),
        ((0, 1, 2), 3, 2, (False, False), "3 actions for 2 rewards"),
        ((0, 1, 2), 2, 2, (True, False), "in the middle"),
    ],
)
def test_episodes_that_do_not_fit_together_are_refused(observations, actions, rewards, ends, message):
    with pytest.raises(EnvironmentFault, match=message):
        episode_rows(obs(*observations), np.zeros((actions, 2)), np.zeros(rewards), np.array(ends), spec=CONTINUOUS)


def test_next_step_by_hand():
    """The step after the end: its observation is a reset, its action was ignored, its reward is 0."""
    converter = LoopConverter(DISCRETE, AutoresetMode.NEXT_STEP)
    no, yes = np.array([False]), np.array([True])
    stream = [converter.reset(obs(0))[0]]
    stream += converter.step(np.array([1]), obs(1), np.array([1.0]), yes, no)  # the goal: its reward must survive
    stream += converter.step(np.array([2]), obs(50), np.array([0.0]), no, no)  # ignored action, reset observation
    stream += converter.step(np.array([0]), obs(51), np.array([3.0]), no, yes)
    stream += converter.step(np.array([0]), obs(90), np.array([0.0]), no, no)
    rows = Rows.cat(stream)
    assert rows.obs["x"][:, 0].tolist() == [0, 1, 50, 51, 90]
    assert rows.reward.tolist() == [0, 1, 0, 3, 0]
    assert rows.action.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert flags(rows) == (
        [True, False, True, False, True],
        [False, True, False, False, False],
        [False, True, False, True, False],
    )


def test_same_step_by_hand():
    """Observation 50 arrives with the end, but belongs to the next episode; the last one is in the infos."""
    converter = LoopConverter(CONTINUOUS, AutoresetMode.SAME_STEP)
    stream = [converter.reset(obs(0, 0))[1]]
    infos = {"final_obs": np.array([None, {"x": np.array([9.0])}], object)}
    nothing, second = np.zeros(2, bool), np.array([False, True])
    arrived = converter.step(np.full((2, 2), 0.5), obs(1, 50), np.array([1.0, 2.0]), second, nothing, infos)
    assert [len(rows) for rows in arrived] == [1, 2]
    rows = Rows.cat([*stream, arrived[1]])
    assert rows.obs["x"][:, 0].tolist() == [0, 9, 50]
    assert rows.obs["x"].dtype == np.float32
    assert rows.reward.tolist() == [0, 2, 0]
    assert flags(rows) == ([True, False, True], [False, True, False], [False, True, False])
    with pytest.raises(EnvironmentFault, match="environment 1 ended"):
        converter.step(np.full((2, 2), 0.5), obs(1, 50), np.zeros(2), second, nothing, {})


def test_disabled_needs_the_caller_to_reset():
    converter = LoopConverter(CONTINUOUS)
    with pytest.raises(EnvironmentFault, match="before the first reset"):
        converter.step(np.zeros((2, 2)), obs(1, 1), np.zeros(2), np.zeros(2, bool), np.zeros(2, bool))
    converter.reset(obs(0, 0))
    converter.step(np.zeros((2, 2)), obs(1, 1), np.zeros(2), np.array([False, True]), np.zeros(2, bool))
    with pytest.raises(EnvironmentFault, match=r"\[1\] were not reset"):
        converter.step(np.zeros((2, 2)), obs(1, 1), np.zeros(2), np.zeros(2, bool), np.zeros(2, bool))
    arrived = converter.reset(obs(5, 6), np.array([False, True]))
    assert [len(rows) for rows in arrived] == [0, 1]
    assert arrived[1].obs["x"].tolist() == [[6]]
    converter.step(np.zeros((2, 2)), obs(1, 1), np.zeros(2), np.zeros(2, bool), np.zeros(2, bool))


def test_actions_outside_their_choices_are_refused():
    with pytest.raises(EnvironmentFault, match=r"outside 0 \.\.\. 2"):
        encode_action(np.array([0, 3]), DISCRETE)
    with pytest.raises(EnvironmentFault, match="size 2"):
        encode_action(np.zeros((4, 3)), CONTINUOUS)


def test_slices_masks_and_joins():
    rows = Rows.cat([reset_rows(obs(0, 1), 2), step_rows(obs(2), np.ones((1, 2), np.float32), np.ones(1), *ended())])
    assert len(rows) == 3
    assert rows.step_id is None
    assert rows[np.array([True, False, True])].obs["x"][:, 0].tolist() == [0, 2]
    assert rows[1:2].is_first.tolist() == [True]


def ended():
    return np.array([True]), np.array([False])


SPACE = ObservationSpec({"x": ArraySpec((1,), "float32")})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"obs": {"y": np.zeros((2, 1), np.float32)}}, r"\['y'\] where \['x'\]"),
        ({"obs": {"x": np.zeros((2, 1))}}, "'x' is float64"),
        ({"obs": {"x": np.array([[0], [np.nan]], np.float32)}}, "'x' is nan at row 1"),
        ({"action": np.full((2, 2), 2, np.float32)}, "'action' is 2.0 at row 0"),
        ({"action": np.zeros((2, 3), np.float32)}, r"\(2, 3\), expected \(2, 2\)"),
        ({"reward": np.array([0, np.inf], np.float32)}, "'reward' is inf at row 1"),
    ],
)
def test_rows_from_outside_are_checked(change, message):
    good = reset_rows(obs(0, 1), 2)
    check_rows(good, SPACE, CONTINUOUS)
    bad = Rows(**{**{name: getattr(good, name) for name in good.__dataclass_fields__}, **change})
    with pytest.raises(EnvironmentFault, match=message):
        check_rows(bad, SPACE, CONTINUOUS)
