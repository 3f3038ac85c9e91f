"""Learning curves from what a run wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from reverie.errors import ReverieError, RunError
from reverie.evaluation.curve import Curve, Point, draw_curve, read_curve, write_curve


@pytest.fixture
def run(tmp_path: Path) -> Path:
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    lines = [
        json.dumps({"env_steps": 200, "mean": 30.0, "std": 4.0, "min": 24.0, "max": 33.0}),
        json.dumps({"env_steps": 100, "mean": 0.0, "std": 1.0, "min": -1.0, "max": 2.0}),
        json.dumps({"env_steps": 300, "mean": float("nan")}),
        '{"env_steps": 400, "mea',
        "7",
    ]
    (metrics / "evaluations.jsonl").write_text("\n".join(lines))
    (metrics / "metrics.csv").write_text(
        "env_steps,stage,train/return\n50,prefill,0\n90,train,\n150,train,12.5\n170,tr"
    )
    return tmp_path


def test_points_are_read_in_order_and_broken_lines_left_out(run: Path) -> None:
    curve = read_curve(run)
    assert curve.evaluations == [Point(100, 0.0, 1.0, -1.0, 2.0), Point(200, 30.0, 4.0, 24.0, 33.0)]
    assert curve.collected == [(50.0, 0.0), (150.0, 12.5)]


def test_a_run_without_numbers_is_an_empty_curve(tmp_path: Path) -> None:
    assert read_curve(tmp_path) == Curve()


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_picture_is_written_whole(run: Path, suffix: str) -> None:
    path = draw_curve(read_curve(run), run / "new" / f"curve{suffix}", title="dreamer · X", random=3.0)
    assert path.stat().st_size > 5000
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_picture_holds_the_curve_and_the_random_line(run: Path) -> None:
    def colours(random: float | None) -> dict[tuple[int, int, int], int]:
        path = draw_curve(read_curve(run), run / "curve.png", title="x", random=random)
        with Image.open(path) as image:
            return {colour: count for count, colour in image.convert("RGB").getcolors(1 << 24) or []}  # type: ignore[misc]

    line, dashes = (0x34, 0x74, 0xBE), (0xE0, 0x58, 0x14)
    assert colours(3.0)[dashes] > 500
    assert dashes not in colours(None)
    assert colours(None)[line] > 1000


def test_other_endings_are_refused(run: Path) -> None:
    with pytest.raises(ReverieError, match=r"\.png, \.svg, \.pdf"):
        draw_curve(read_curve(run), run / "curve.exe", title="x")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        write_curve(tmp_path)
