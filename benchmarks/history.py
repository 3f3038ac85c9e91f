"""Does a world model see as far after a long memory as after a short one? Its errors on episodes of its own policy, by
how much of the episode it has seen.

    python benchmarks/history.py runs/mine

Every chunk of a batch starts afresh, so that a model is trained for memories of `replay.length` steps, while an agent
that acts remembers whole episodes. Where the last line is much worse than those before it, make `replay.length` longer.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
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
from reverie.evaluation.world_model.rollouts import filtered, imagined_from

EPISODES, FIRST_SEED = 6, 1_000_000
HORIZONS = (1, 5, 15)
MEMORIES = (4, 8, 16, 24, 40)
STARTS = 60
"""Per episode, evenly spread over the rows that the longest memory fits before."""


def states_after(agent: Any, held: HeldOut, starts: Starts, memory: int, sampling: Sampling) -> Latent:
    """(N,) states at the starts of a filter that began afresh `memory` rows before, the start's own included."""
    ago = torch.arange(-memory + 1, 1)
    row, at = starts.episode[:, None], starts.step[:, None] + ago  # (N, 1), (N, memory)
    seen = {key: value[row, at] for key, value in held.obs.items()}
    embed = agent.encoder(agent.preprocess(seen), sampling)  # (N, memory, E)
    first = torch.zeros(at.shape, dtype=torch.bool)
    first[:, 0] = True
    last: Latent = agent.dynamics.observe(embed, held.action[row, at].to(embed.dtype), first, sampling=sampling).last
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
        states = {f"{memory} steps": states_after(agent, held, starts, memory, sampling) for memory in MEMORIES}
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="+", help="finished runs")
    torch.set_num_threads(1)
    for run in parser.parse_args().run:
        opened = reopen(run)
        recordings = record(opened.policy, opened.factory, range(FIRST_SEED, FIRST_SEED + EPISODES))
        try:
            found = by_memory(opened.agent, recordings)
        except ValueError as error:
            raise SystemExit(f"{run}: {error}") from error
        print(f"{run}: errors at {', '.join(map(str, HORIZONS))} steps, in standard deviations, after a memory of")
        for name, result in found.items():
            print(f"  {name:>12}: {told(result, 'model')}")
        print(f"  {'baseline':>12}: {told(found['the episode'], 'copy_last', 'mean')}", flush=True)


if __name__ == "__main__":
    main()
