"""Films: the right number of frames, or no file at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest
from PIL import Image

from reverie.errors import ReverieError
from reverie.evaluation.video import GIF_WIDTH, write_film

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]


def frames() -> Iterator[Image.Image]:
    for index in range(9):
        yield Image.new("RGB", (GIF_WIDTH * 2, 64), COLOURS[index % 3])


def test_an_mp4_plays_back_frame_by_frame(tmp_path: Path) -> None:
    path = tmp_path / "new" / "film.mp4"
    assert write_film(path, frames(), fps=10) == 9
    with imageio.get_reader(path) as reader:
        read = [frame for frame in reader]  # noqa: C416 (list() asks for its length, which is infinite)
        assert reader.get_meta_data()["fps"] == pytest.approx(10)
    assert len(read) == 9
    for index, frame in enumerate(read):
        assert frame.shape == (64, GIF_WIDTH * 2, 3)
        assert np.abs(frame.mean((0, 1)) - COLOURS[index % 3]).max() < 12


def test_a_gif_is_narrow_and_loops(tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    assert write_film(path, frames(), fps=10) == 9
    with Image.open(path) as film:
        assert (film.n_frames, film.size, film.info["loop"], film.info["duration"]) == (9, (GIF_WIDTH, 32), 0, 100)
        film.seek(4)
        assert np.abs(np.array(film.convert("RGB"))[5, 5].astype(int) - COLOURS[1]).max() < 12


def test_a_png_is_the_last_frame(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    assert write_film(path, frames(), fps=10) == 9
    with Image.open(path) as still:
        assert still.getpixel((3, 3)) == COLOURS[2]


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReverieError, match=r"\.mp4, \.gif, \.png"):
        write_film(tmp_path / "film.avi", frames(), fps=10)


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".png"])
def test_a_film_that_fails_leaves_the_old_one(tmp_path: Path, suffix: str) -> None:
    def broken() -> Iterator[Image.Image]:
        yield from frames()
        raise RuntimeError("no more")

    path = tmp_path / f"film{suffix}"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="no more"):
        write_film(path, broken(), fps=10)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
