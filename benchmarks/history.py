"""Does a world model see as far after a long memory as after a short one? Its errors on episodes of its own policy, by
how much of the episode it has seen.

    python benchmarks/history.py runs/mine

Every chunk of a batch starts afresh, so that a model is trained for memories of `replay.length` steps, while an agent
that acts remembers whole episodes. Where the errors after `the episode` are much larger than those after a few steps,
make `replay.length` longer. The last line is what the better of copying and the mean would get.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tell import tell_each
from torch import Tensor

from reverie.contracts.latent import Latent
from reverie.contracts.sampling import Sampling
from reverie.evaluation.episodes import evaluating
from reverie.evaluation.recording import Recording, record
from reverie.evaluation.reopen import reopen
from reverie.evaluation.world_model.applicable import NotApplicable
from reverie.evaluation.world_model.held_out import HeldOut, Starts, held_out, spread_starts
from reverie.evaluation.world_model.horizons import HorizonErrors
from reverie.evaluation.world_model.open_loop import OpenLoopError
from reverie.evaluation.world_model.rollouts import embedded, filtered, imagined_from

EPISODES, FIRST_SEED = 6, 1_000_000
HORIZONS = (1, 5, 15)
MEMORIES = (4, 8, 16, 24, 40)
STARTS = 60
"""Per episode, evenly spread over the rows that the longest memory fits before."""


def states_after(agent: Any, held: HeldOut, embed: Tensor, starts: Starts, memory: int, sampling: Sampling) -> Latent:
    """(N,) states at the starts of a filter that began afresh `memory` rows before, the start's own included.

    Args:
        embed: (B, T, E) of all rows that are held.
    """
    row, at = starts.episode[:, None], starts.step[:, None] + torch.arange(-memory + 1, 1)  # (N, 1), (N, memory)
    first = torch.zeros(at.shape, dtype=torch.bool)
    first[:, 0] = True
    action = held.action[row, at].to(embed.dtype)
    last: Latent = agent.dynamics.observe(embed[row, at], action, first, sampling=sampling).last
    return last


def by_memory(agent: Any, recordings: Sequence[Recording]) -> dict[str, HorizonErrors]:
    """Open-loop errors from the same rows, by what the model has seen before them.

    Raises:
        ValueError: where no episode is longer than the longest memory, or nothing predicts observations.
    """
    sampling, held = Sampling("mode"), held_out(recordings)
    starts = spread_starts(held, max(MEMORIES), STARTS)
    enough = starts.step >= max(MEMORIES) - 1  # an episode that is too short is entered at its last row but one
    if not bool(enough.any()):
        raise ValueError(f"no episode of this policy is longer than {max(MEMORIES)} steps")
    starts = Starts(starts.episode[enough], starts.step[enough])
    found = {}
    with evaluating(agent), torch.no_grad():
        whole = filtered(agent, held, sampling).states[starts.episode, starts.step]
        embed = embedded(agent, held, sampling)
        states = {f"{memory} steps": states_after(agent, held, embed, starts, memory, sampling) for memory in MEMORIES}
        for name, state in {**states, "the episode": whole}.items():
            found[name] = _error(agent, held, starts, state, sampling)
    return found


def _error(agent: Any, held: HeldOut, starts: Starts, states: Latent, sampling: Sampling) -> HorizonErrors:
    future = held.future(starts, max(HORIZONS))
    imagined: dict[str, Tensor] = imagined_from(agent, states, future.action, sampling).obs
    if not imagined:
        raise ValueError("this recipe has no decoder")
    metric = OpenLoopError({key: agent.observation[key] for key in imagined}, max(HORIZONS), sync_on_compute=False)
    metric.update(imagined, future.obs, future.last, future.valid)
    result = metric.compute()
    if isinstance(result, NotApplicable):
        raise ValueError(str(result))
    return result.overall


def told(errors: HorizonErrors, *columns: str) -> str:
    """The smallest of the columns at each horizon; where an episode does not go on for so long, why."""
    rows = [errors.at(horizon) for horizon in HORIZONS]
    return ", ".join(
        str(row) if isinstance(row, NotApplicable) else f"{min(getattr(row, column) for column in columns):.3f}"
        for row in rows
    )


def table(run: Path) -> str:
    """What is printed of one run.

    Raises:
        ReverieError: where there is no such run, or it cannot be opened or played.
        ValueError: where nothing can be measured.
    """
    opened = reopen(run)
    agent = opened.agent
    recordings = record(opened.policy, opened.factory, range(FIRST_SEED, FIRST_SEED + EPISODES))
    found = by_memory(agent, recordings)
    rows = {name: told(result, "model") for name, result in found.items()}
    rows["baseline"] = told(found["the episode"], "copy_last", "mean")
    horizons = ", ".join(map(str, HORIZONS))
    head = f"{run}: errors at {horizons} steps, in standard deviations, after a memory of"
    return "\n".join([head, *(f"  {name:>12}: {row}" for name, row in rows.items())])


def main() -> int:
    """The number of runs of which nothing could be told."""
    return tell_each(__doc__, table)


if __name__ == "__main__":
    sys.exit(main())
