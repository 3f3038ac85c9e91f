"""Frames -> a file: mp4 for people, gif for web pages, png for papers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
from PIL import Image

from reverie.errors import ReverieError

FORMATS = (".mp4", ".gif", ".png")
GIF_WIDTH = 640


def write_film(path: Path, frames: Iterable[Image.Image], fps: int) -> int:
    """Write all frames and give their number. The suffix decides: `.mp4` (H.264), `.gif` (640 pixels wide, endless) or
    `.png` (the last frame).

    The file appears under its name only once it is complete.

    Raises:
        ReverieError: for another suffix.
    """
    if path.suffix not in FORMATS:
        raise ReverieError(f"{path.name}: a dream is written as {', '.join(FORMATS)}, chosen by the file's ending")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        count = {".mp4": _mp4, ".gif": _gif, ".png": _png}[path.suffix](partial, frames, fps)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _mp4(path: Path, frames: Iterable[Image.Image], fps: int) -> int:
    options = ["-crf", "20", "-preset", "veryfast", "-movflags", "+faststart"]
    count = 0
    film: Any = imageio.get_writer(
        path, fps=fps, codec="libx264", quality=None, macro_block_size=2, pixelformat="yuv420p", output_params=options
    )
    try:
        for frame in frames:
            film.append_data(np.asarray(frame))
            count += 1
    finally:
        film.close()
    return count


def _gif(path: Path, frames: Iterable[Image.Image], fps: int) -> int:
    small = [_narrowed(frame) for frame in frames]
    palette = _palette(small)
    coded = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in small]
    coded[0].save(path, save_all=True, append_images=coded[1:], duration=round(1000 / fps), loop=0, optimize=False)
    return len(coded)


def _narrowed(frame: Image.Image) -> Image.Image:
    if frame.width <= GIF_WIDTH:
        return frame
    return frame.resize((GIF_WIDTH, round(frame.height * GIF_WIDTH / frame.width)), Image.Resampling.LANCZOS)


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """One palette for all frames, so that nothing flickers: from up to twelve of them, stacked."""
    chosen = [frames[index] for index in sorted({int(index) for index in np.linspace(0, len(frames) - 1, 12)})]
    sheet = Image.new("RGB", (chosen[0].width, sum(frame.height for frame in chosen)))
    top = 0
    for frame in chosen:
        sheet.paste(frame, (0, top))
        top += frame.height
    return sheet.quantize(255, method=Image.Quantize.MEDIANCUT)


def _png(path: Path, frames: Iterable[Image.Image], fps: int) -> int:
    count, last = 0, None
    for frame in frames:
        count, last = count + 1, frame
    if last is None:
        raise ReverieError("there is no frame to write")
    last.save(path)
    return count
