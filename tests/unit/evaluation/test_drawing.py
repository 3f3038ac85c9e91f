"""Charts and frames, read back pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from reverie.evaluation.drawing import (
    CONTEXT,
    DREAM,
    ERROR,
    REAL,
    Line,
    Panel,
    difference,
    fitted,
    number,
    picture,
    scale,
    shorten,
)
from reverie.evaluation.dreaming import Dream
from reverie.evaluation.recording import Recording
from reverie.evaluation.storyboard import ENTRIES, Chart, Pictures, Scene, Storyboard, charts_of


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-0.0001, "0"), (1, "1"), (-0.0612, "−0.061"), (12.34, "12.3"), (1234.5, "1234"), (0.5, "0.5"),
     (10, "10"), (-200, "−200"), (100, "100"), (99.96, "100")],
)  # fmt: skip
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize("values", [[0, 1], [-3.2, 7.9], [5, 5], [0, 0], [1e-9, 2e-9], [np.nan, 2, 3], [1e6, 1e6 + 1]])
def test_axes_hold_their_values_and_have_few_round_ticks(values: list[float]) -> None:
    low, high, ticks = scale(np.array(values, float))
    finite = [value for value in values if np.isfinite(value)]
    assert low < min(finite)
    assert max(finite) < high
    assert 1 <= len(ticks) <= 5
    assert all(low <= tick <= high for tick in ticks)


def test_an_axis_of_nothing_is_still_an_axis() -> None:
    low, high, ticks = scale(np.array([np.nan, np.inf]))
    assert low < high
    assert ticks


def coloured(image: Image.Image, colour: tuple[int, int, int], within: int = 24) -> np.ndarray:
    """(H, W) bool: pixels of about this colour."""
    return np.abs(np.asarray(image, int) - colour).max(-1) < within


def columns(image: Image.Image, colour: tuple[int, int, int], below: int, within: int = 24) -> np.ndarray:
    """Columns with that colour under the panel's head."""
    return np.flatnonzero(coloured(image, colour, within)[below:].any(0))


def test_curves_grow_up_to_now_and_no_further() -> None:
    panel = Panel("x", (Line(np.linspace(0, 1, 21), DREAM),), context=5, size=(400, 172))
    for step in (3, 10, 20):
        found = columns(panel.at(step), DREAM, panel.TOP)
        assert found.min() <= panel.x(0) + 2
        assert panel.x(step) - 8 <= found.max() <= panel.x(step) + 9  # the dot at the end has radius 8


def test_the_context_is_shaded_and_the_dream_is_not() -> None:
    panel = Panel("x", (Line(np.linspace(0, 1, 21), DREAM),), context=5, size=(400, 172))
    found = columns(panel.at(0), CONTEXT, panel.TOP, within=2)
    assert found.min() == pytest.approx(panel.x(0), abs=2)
    assert found.max() == pytest.approx(panel.x(4.5), abs=2)


def test_a_curve_passes_through_its_values_and_leaves_gaps() -> None:
    values = np.full(21, 0.25)
    values[8:12] = np.nan
    panel = Panel("x", (Line(values, DREAM),), context=1, size=(400, 172), span=(0.0, 1.0))
    drawn = coloured(panel.at(20), DREAM)
    assert drawn[round(panel.y(0.25)), round(panel.x(4))]
    assert not drawn[panel.TOP :, round(panel.x(10))].any()
    assert drawn[round(panel.y(0.25)), round(panel.x(16))]


def test_differences_are_white_where_equal_and_dark_where_not() -> None:
    real, dreamed = (Image.new("RGB", (4, 2), colour) for colour in ((10, 10, 10), (10, 10, 10)))
    dreamed.putpixel((3, 1), (255, 255, 255))
    shown, mean = difference(real, dreamed)
    assert shown.getpixel((0, 0)) == (255, 255, 255)
    assert shown.getpixel((3, 1)) == ERROR
    assert mean == pytest.approx(245 / 255 / 8)


def test_pictures_keep_their_shape_and_small_ones_their_pixels() -> None:
    array = np.zeros((2, 4, 1), np.uint8)
    array[0, 0] = 200
    image = picture(array, (40, 40))
    assert image.size == fitted((4, 2), (40, 40)) == (40, 20)
    assert set(image.get_flattened_data() if hasattr(image, "get_flattened_data") else image.getdata()) == {
        (0, 0, 0),
        (200, 200, 200),
    }


def test_long_names_end_in_an_ellipsis() -> None:
    assert shorten("short", 200, 20) == "short"
    assert shorten("a very long name indeed", 100, 20).endswith("…")


def dream(size: int = 2, steps: int = 12) -> Dream:
    generator = np.random.default_rng(0)
    obs = generator.normal(size=(steps, size)).astype(np.float32) * np.arange(1, size + 1)
    obs[:, 0] += 100.0  # varies least, compared with its size
    recording = Recording({"state": obs}, np.zeros((steps, 1)), np.ones(steps, np.float32), np.zeros(steps, bool), 0)
    reward = np.r_[np.nan, np.full(steps - 1, 0.9)]
    return Dream(recording, 4, {"state": obs + 1}, reward, np.ones(steps), None)


def test_charts_of_all_entries_then_reward_and_error() -> None:
    charts, left_out = charts_of(dream(), {"state": ["a", "b"]})
    assert [chart.title for chart in charts] == ["a", "b", "Reward", "Error / std", "Value"]
    assert left_out == 0
    real, dreamt = charts[2].lines
    assert np.isnan(real.values[0])
    assert (real.values[1:] == 1).all()
    assert dreamt.values[1] == pytest.approx(0.9)


def test_the_error_is_in_units_of_each_entrys_spread() -> None:
    dreamt = dream()
    spread = dreamt.real.obs["state"].std(0)
    error = charts_of(dreamt, {"state": ["a", "b"]})[0][3].lines[0].values
    assert error == pytest.approx(np.full(12, np.sqrt(((1 / spread) ** 2).mean())), rel=1e-4)


def test_of_many_entries_those_that_vary_most_are_shown_in_order() -> None:
    names = [f"e{index}" for index in range(9)]
    charts, left_out = charts_of(dream(9), {"state": names})
    shown = [chart.title for chart in charts if chart.title in names]
    assert len(shown) == ENTRIES
    assert left_out == 9 - ENTRIES
    assert "e0" not in shown
    assert shown == sorted(shown)


def test_frames_say_whether_the_model_watches_or_dreams() -> None:
    dreamt = dream()
    images = [np.full((6, 6, 3), value, np.uint8) for value in range(0, 240, 20)]
    scene = Scene("t", "s", dreamt, [Pictures("image", images, images)], [Chart("x", (Line(np.ones(12), DREAM),))])
    board = Storyboard(scene)
    frames = list(board.frames())
    assert len(frames) == 12
    assert {frame.size for frame in frames} == {board.size}
    assert board.size[0] % 2 == board.size[1] % 2 == 0
    pill = (slice(24, 76), slice(-360, -40))
    for step, frame in enumerate(frames):
        watching, dreaming = (coloured(frame, colour)[pill].mean() for colour in (REAL, DREAM))
        assert (watching > 0.5, dreaming > 0.5) == ((True, False) if step < 4 else (False, True))
