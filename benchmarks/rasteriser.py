"""How fast is CartPole drawn to a small picture?

    python benchmarks/rasteriser.py

Frames per second of CPU time on one thread: the picture alone, the whole environment (game, picture, standard form),
and for comparison Gymnasium's own drawing reduced to the same size.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np

from reverie_plugins.gym.cartpole import Rasteriser
from reverie_plugins.gym.config import GymConfig
from reverie_plugins.gym.factory import GymEnvironment


def rate(step: Callable[[int], object], frames: int, rounds: int = 5) -> float:
    """Frames per second of CPU time, the best of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for index in range(frames):
            step(index)
        best = min(best, time.process_time() - began)
    return frames / best


def drawing(size: int) -> Callable[[int], object]:
    rasteriser = Rasteriser(size)
    return lambda index: rasteriser.draw(2 * np.sin(index / 10), 0.2 * np.cos(index / 7))


def playing(config: GymConfig) -> Callable[[int], object]:
    env = GymEnvironment(config).make()
    env.reset(seed=0)

    def step(index: int) -> object:
        over = env.step(index % 2)[2:4]
        return env.reset(seed=index) if any(over) else None

    return step


def main() -> None:
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    rows = [(f"picture alone, {size} x {size}", drawing(size), 500) for size in (32, 64, 96)]
    rows += [
        ("reverie/CartPolePixels-v0, 64 x 64", playing(GymConfig(id="reverie/CartPolePixels-v0")), 500),
        ("CartPole-v1 drawn by Gymnasium, reduced to 64 x 64", playing(GymConfig(id="CartPole-v1", pixels=64)), 50),
    ]
    for name, step, frames in rows:
        print(f"{name:52s} {rate(step, frames):8,.0f} frames per second", flush=True)


if __name__ == "__main__":
    main()
