"""What every `env=` of Reverie shows and takes, and how fast it is: the table of docs/environments.md.

    python benchmarks/environments.py                     # all that are installed
    python benchmarks/environments.py --only minigrid/    # those whose names begin so
    python benchmarks/environments.py --no-speed          # nothing is measured

Frames (not agent steps) per second of CPU time on one thread, with random actions and in the standard form, resets
included; the best of three rounds of half a second.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from reverie.contracts import EnvironmentFactory
from reverie.extension.manager import Plugins, load_plugins
from reverie.recipes.prepare import prepare
from reverie_plugins.gym.families import family_of

RECIPES = Path(__file__).parents[1] / "recipes" / "env"
HEAD = (
    "| `env=` | observation | action | repeat | limit | frames per second |",
    "|---|---|---|---|---|---|",
)


def names() -> list[str]:
    """Those without a folder first."""
    found = (path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("*.yaml"))
    return sorted(found, key=lambda name: ("/" in name, name))


def factory_of(name: str, plugins: Plugins) -> EnvironmentFactory:
    choice = prepare("dreamer", [f"env={name}"], plugins=plugins).choices["env"]
    made: EnvironmentFactory = choice.component.load()(choice.config)
    return made


def described(name: str, factory: EnvironmentFactory) -> list[str]:
    """All columns but the speed."""
    shapes = (f"{key} {' x '.join(map(str, spec.shape))}" for key, spec in factory.observation.items())
    kind = "choices" if factory.action.is_discrete else "continuous"
    limit = getattr(factory, "time_limit", None)
    repeat = str(factory.action_repeat)
    return [f"`{name}`", ", ".join(shapes), f"{factory.action.size} {kind}", repeat, f"{limit:,}" if limit else "none"]


def extra_of(factory: EnvironmentFactory) -> str:
    family = family_of(factory.config.id)
    return family.extra if family else ""


def frames_per_second(factory: EnvironmentFactory, seconds: float = 0.5, rounds: int = 3) -> float:
    env = factory.make()
    env.action_space.seed(0)
    env.reset(seed=0)
    best = 0.0
    for number in range(rounds):
        frames, began = 0, time.process_time()
        while time.process_time() - began < seconds:
            *_, terminated, truncated, info = env.step(env.action_space.sample())
            frames += int(info.get("frames", factory.action_repeat))
            if terminated or truncated:
                env.reset(seed=number)
        best = max(best, frames / (time.process_time() - began))
    env.close()
    return best


def rounded(rate: float) -> str:
    """Two significant digits: more would be noise."""
    digits = len(str(int(rate))) - 2
    return f"{round(rate, -digits):,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names that begin so")
    parser.add_argument("--no-speed", action="store_true", help="measure nothing")
    chosen = parser.parse_args()
    plugins = load_plugins()
    print("\n".join(HEAD))
    for name in names():
        if name.startswith(chosen.only):
            factory = factory_of(name, plugins)
            speed = "" if chosen.no_speed else rounded(frames_per_second(factory))
            print(f"| {' | '.join([*described(name, factory), speed])} |", flush=True)


if __name__ == "__main__":
    main()
