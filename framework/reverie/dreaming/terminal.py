"""`reverie play` in a terminal: reality and dream as half-block pictures, under the keys of a person."""

from __future__ import annotations

import math
import os
import select
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reverie.dreaming.session import Moment, PlaySession, Side
from reverie.errors import ReverieError
from reverie.evaluation.drawing import Colour

Array = NDArray[Any]

SEQUENCES = {"\x1b[D": "ArrowLeft", "\x1b[C": "ArrowRight", "\x1b[A": "ArrowUp", "\x1b[B": "ArrowDown"}
"""What terminals send for arrows, and how browsers call them; with O instead of [ in application mode."""
REAL: Colour = (100, 165, 240)
DREAM: Colour = (244, 132, 60)
ERROR: Colour = (244, 72, 108)
QUIET: Colour = (140, 152, 170)
"""Bright enough on a dark terminal, dark enough on a light one."""
BARS = "▁▂▃▄▅▆▇█"
GAP = 3
"""Columns between the two pictures."""
HELD = 0.12
"""Seconds for which a key counts as held: terminals send it again and again, and never say that it was let go."""


def blocks(picture: Array, columns: int, lines: int) -> list[str]:
    """A picture (H, W, 3) in lines of half blocks, two pixels above each other per character; all of one width."""
    height, width = picture.shape[:2]
    scale = min(columns / width, 2 * lines / height)
    size = max(1, round(width * scale)), max(2, 2 * round(height * scale / 2))
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    pixels = np.asarray(Image.fromarray(picture).resize(size, method))
    return [
        "".join(f"{_fore(upper)}{_back(lower)}▀" for upper, lower in zip(above, below, strict=True)) + "\x1b[0m"
        for above, below in zip(pixels[::2].tolist(), pixels[1::2].tolist(), strict=True)
    ]


def screen(session: PlaySession, title: str, columns: int, rows: int, playing: bool = False) -> list[str]:
    """Everything that is shown, line by line, in a terminal of this size."""
    moment = session.moment
    sides = [(name, side, colour) for name, side, colour in _sides(moment)]
    width = (columns - GAP * (len(sides) - 1)) // len(sides)
    pictures = [blocks(side.picture, width, rows - 8) for _, side, _ in sides if side.picture is not None]
    widths = [block[0].count("▀") for block in pictures]
    lines = [_bold(title[:columns]), _coloured(_state(session, playing)[:columns], QUIET)]
    heads = [_padded(_head(name, side, moment), wide) for (name, side, _), wide in zip(sides, widths, strict=True)]
    colours = [ERROR if name == "Dreamed" and moment.parted is not None else colour for name, _, colour in sides]
    lines.append((" " * GAP).join(_coloured(head, colour) for head, colour in zip(heads, colours, strict=True)))
    tallest = max(len(block) for block in pictures)
    for row in range(tallest):
        parts = [block[row] if row < len(block) else " " * wide for block, wide in zip(pictures, widths, strict=True)]
        lines.append((" " * GAP).join(parts))
    numbers = [_padded(_earned(side), wide) for (_, side, _), wide in zip(sides, widths, strict=True)]
    lines.append((" " * GAP).join(numbers))
    if moment.real is not None:
        lines.append(_curve(moment, session.threshold, columns))
    lines.append(_coloured(_keys(session)[:columns], QUIET))
    return lines


def _sides(moment: Moment) -> Iterator[tuple[str, Side, Colour]]:
    if moment.real is not None:
        yield "Real", moment.real, REAL
    yield "Dreamed", moment.dreamed, DREAM


def _state(session: PlaySession, playing: bool) -> str:
    wakes = f"wakes up after {session.horizon}" if session.horizon else "never wakes up"
    who = "the agent plays" if playing else "you play"
    return (
        f"step {session.moment.step}  seed {session.seed}  temperature {session.model.temperature:.1f}  {wakes}  {who}"
    )


def _head(name: str, side: Side, moment: Moment) -> str:
    parted = name == "Dreamed" and moment.parted is not None
    told = [*([f"parted at step {moment.parted}"] if parted else []), *([side.over] if side.over else [])]
    return f"{name}: {', '.join(told)}" if told else name


def _earned(side: Side) -> str:
    return f"reward {side.reward:.2f}  sum {side.total:.1f}" if math.isfinite(side.reward) else ""


def _curve(moment: Moment, threshold: float, columns: int) -> str:
    """The last errors as bars; those above the threshold in red."""
    room = max(1, columns - 16)
    shown = moment.errors[-room:]
    most = max([2 * threshold, *(error for error in shown if math.isfinite(error))])
    bars = [
        _coloured(BARS[min(7, int(8 * error / most))], ERROR if error > threshold else DREAM)
        if math.isfinite(error)
        else " "
        for error in shown
    ]
    last = f"{shown[-1]:5.2f}" if shown and math.isfinite(shown[-1]) else "    –"
    return _coloured(f"error {last}  ", QUIET) + "".join(bars)


def _keys(session: PlaySession) -> str:
    pushes = "  ".join(f"{keys} {what}" for keys, what in session.controls.described())
    idle = "  space lets time run" if session.controls.idle is not None else ""
    agent = "  p agent" if session.agent_can_act else ""
    return f"{pushes}{idle}{agent}  + − temperature  [ ] waking up  r new episode  q quit"


def _padded(text: str, width: int) -> str:
    return text[:width].ljust(width)


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m"


def _coloured(text: str, colour: Colour) -> str:
    return f"{_fore(colour)}{text}\x1b[0m"


def _fore(colour: Sequence[int]) -> str:
    return f"\x1b[38;2;{colour[0]};{colour[1]};{colour[2]}m"


def _back(colour: Sequence[int]) -> str:
    return f"\x1b[48;2;{colour[0]};{colour[1]};{colour[2]}m"


class TerminalPlayer:
    """Reads keys and draws, until `q`.

    Args:
        session: what is played.
        title: its first line.
        speed: steps per second.
    """

    def __init__(self, session: PlaySession, title: str, speed: int = 12) -> None:
        self.session, self.title, self.speed = session, title, speed
        self.agent_plays = self.running = False
        self._pressed: dict[str, float] = {}
        self._drawn = ""

    def play(self) -> None:
        """Play until the person leaves.

        Raises:
            ReverieError: if nobody sits at a terminal.
        """
        if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.name != "posix":
            raise ReverieError("nobody sits at a terminal here; `reverie play RUN --browser` plays in a browser")
        with _own_screen():
            self.draw()
            left = False
            while not left:
                began = time.monotonic()
                for key in _read_keys(1 / self.speed):
                    left = self.press(key, began) or left
                self.turn(time.monotonic())
                time.sleep(max(0.0, 1 / self.speed - (time.monotonic() - began)))

    def press(self, key: str, now: float) -> bool:
        """Take one key; whether it leaves."""
        session = self.session
        if key in ("q", "\x03"):
            return True
        if key in session.controls.keys:
            self._pressed[key] = now
        elif key == "r":
            self._pressed.clear()
            session.reset()
        elif key == "p" and session.agent_can_act:
            self.agent_plays = not self.agent_plays
        elif key == " " and session.controls.idle is not None:
            self.running = not self.running
        elif key in "+-":
            change = 0.1 if key == "+" else -0.1
            session.adjust(temperature=round(min(3.0, max(0.1, session.model.temperature + change)), 1))
        elif key in "[]":
            session.adjust(horizon=max(0, session.horizon + (5 if key == "]" else -5)))
        return False

    def turn(self, now: float) -> None:
        """One step of time, if anything asks for it, and the picture of it."""
        self._pressed = {key: since for key, since in self._pressed.items() if now - since <= HELD}
        if self._pressed:
            self.session.step(self.session.controls.held(self._pressed))
        elif self.agent_plays:
            self.session.step()
        elif self.running:
            self.session.step(self.session.controls.idle)
        self.draw()

    def draw(self) -> None:
        """Show what has changed."""
        size = shutil.get_terminal_size()
        lines = screen(self.session, self.title, size.columns, size.lines, self.agent_plays)
        text = "\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in lines[: size.lines - 1]) + "\x1b[J"
        if text != self._drawn:
            sys.stdout.write(text)
            sys.stdout.flush()
            self._drawn = text


def _read_keys(wait: float) -> list[str]:
    """The keys that were pressed, as browsers call them; waits for the first one."""
    if not select.select([sys.stdin], [], [], wait)[0]:
        return []
    text = os.read(sys.stdin.fileno(), 1024).decode(errors="ignore").replace("\x1bO", "\x1b[")
    keys = []
    while text:
        name = next((name for name in SEQUENCES if text.startswith(name)), text[0])
        keys.append(SEQUENCES.get(name, name))
        text = text[len(name) :]
    return keys


@contextmanager
def _own_screen() -> Iterator[None]:
    """The terminal's other screen, without cursor, with every key at once; everything as before at the end."""
    import termios
    import tty

    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    try:
        tty.setcbreak(handle)
        sys.stdout.write("\x1b[?1049h\x1b[?25l\x1b[2J")
        yield
    finally:
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
        termios.tcsetattr(handle, termios.TCSADRAIN, before)
