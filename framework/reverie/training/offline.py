"""Recorded episodes on their way into a run: looked through before anything is made, then copied into its replay."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from reverie.assembly.build import build_data, build_environment
from reverie.assembly.data import spaces_of
from reverie.contracts.data import DataSource
from reverie.contracts.specs import ActionSpec, ObservationSpec
from reverie.errors import EnvironmentFault, Problem, RecipeError, RunError
from reverie.evaluation.recording import Recording
from reverie.extension.config import ByObservation
from reverie.recipes.data_facts import DataFacts
from reverie.recipes.recipe import Recipe
from reverie.training.durable import make_folder
from reverie.training.replay import Replay
from reverie.training.replay.columns import columns_of, layout_of
from reverie.training.replay.files import chunk_files, read_chunk, write_chunk
from reverie.training.replay.mark import ChunkMark
from reverie.training.rows import Rows, check_rows, episode_rows
from reverie.training.run_folder import HELD_OUT

LONGEST = 999_999
"""Rows of an episode: what fits into one chunk file."""


def surveyed(recipe: Recipe) -> Recipe:
    """The recipe with what is known of its data, after looking through all of it; unchanged without data.

    Raises:
        RecipeError: if the data is not what the recipe, its environment or its lock says, or too small or too large.
    """
    if recipe.choice("data") is None:
        return recipe
    try:
        source = build_data(recipe)
        facts = survey(source, held_out_share(recipe))
    except EnvironmentFault as fault:
        raise RecipeError([_problem(recipe, str(fault), "", "mend the data")]) from fault
    problems = [*_sizes(recipe, facts), *_other_spaces(recipe, source), *_other_data(recipe, facts)]
    if problems:
        raise RecipeError(problems)
    return replace(recipe, data_facts=facts)


def held_out_share(recipe: Recipe) -> float:
    """The part of the episodes that the recipe keeps for metrics."""
    choice = recipe.choice("data")
    return float(getattr(choice.config, "held_out", 0.0)) if choice else 0.0


def survey(source: DataSource, share: float) -> DataFacts:
    """Read every episode once: count, check and fingerprint.

    Raises:
        EnvironmentFault: naming the episode and row that no environment of these spaces could have given.
    """
    digest, counts = hashlib.sha256(), []
    for rows in episodes_of(source):
        _add_to(digest, rows)
        counts.append(len(rows))
    if not counts:
        raise EnvironmentFault("the data holds no episode")
    held = held_out_indices(len(counts), share)
    learned = sum(count for index, count in enumerate(counts) if index not in held)
    spaces = spaces_of(source.observation, source.action)
    return DataFacts(fingerprint=digest.hexdigest(), episodes=len(counts), held_out=len(held), rows=learned, **spaces)


def episodes_of(source: DataSource) -> Iterator[Rows]:
    """All episodes as arrival-aligned rows, checked.

    Raises:
        EnvironmentFault: as `survey`.
    """
    for index in range(len(source)):
        episode = source.episode(index)
        try:
            rows = episode_rows(
                dict(episode.obs),
                episode.action,
                np.asarray(episode.reward),
                episode.terminated,
                spec=source.action,
                ended=episode.ended,
            )
            check_rows(rows, source.observation, source.action)
            if not 2 <= len(rows) <= LONGEST:
                raise EnvironmentFault(f"{len(rows) - 1} steps, where 1 to {LONGEST - 1} are possible")
        except EnvironmentFault as fault:
            raise EnvironmentFault(f"episode {index} of the data: {fault}") from None
        yield rows


def held_out_indices(episodes: int, share: float) -> frozenset[int]:
    """Which episodes are kept for metrics: evenly spread, at least one where there are two, never all of them."""
    if share <= 0 or episodes < 2:
        return frozenset()
    count = min(max(1, round(share * episodes)), episodes - 1)
    return frozenset((2 * k + 1) * episodes // (2 * count) for k in range(count))


class Recorded:
    """Brings a recipe's data into its run.

    Args:
        recipe: surveyed, or read from a lock.
        run: the folder.
    """

    def __init__(self, recipe: Recipe, run: Path) -> None:
        self.recipe, self.run = recipe, run

    def fill(self, replay: Replay, stream: int, agent: Any, rank: int = 0, world: int = 1) -> None:
        """Episodes to learn from go into a stream of the replay (and the agent's statistics), the others into files of
        their own. Of several processes each takes its share.

        Raises:
            RunError: if the data has changed since it was surveyed, or the disk does not take it.
        """
        facts = self.recipe.data_facts
        if facts is None:
            raise RunError(f"{self.run} does not say which data it was made for; train the recipe anew")
        held = held_out_indices(facts.episodes, held_out_share(self.recipe))
        digest, learned = hashlib.sha256(), 0
        for index, rows in enumerate(episodes_of(build_data(self.recipe))):
            _add_to(digest, rows)
            if index in held:
                if rank == 0:
                    self._hold_out(index, rows)
                continue
            if learned % world == rank:
                agent.update_statistics(rows.obs)
                replay.add(stream, rows)
            learned += 1
        if digest.hexdigest() != facts.fingerprint:
            raise RunError("the data has changed since this run was made; train the recipe anew, in another folder")

    def _hold_out(self, index: int, rows: Rows) -> None:
        factory = build_environment(self.recipe)
        make_folder(self.run / HELD_OUT)
        layout, ids = layout_of(factory.observation, factory.action), np.arange(len(rows), dtype=np.int64)
        write_chunk(self.run / HELD_OUT, index, 0, columns_of(rows, layout, ids))


def held_out_recordings(run: Path, observation: ObservationSpec, action: ActionSpec) -> list[Recording]:
    """The episodes of a run that nothing learned from, as they are judged; empty where there are none.

    Raises:
        RunError: naming a file that is damaged.
    """
    folder = run / HELD_OUT
    if not folder.is_dir():
        return []
    layout, found = layout_of(observation, action), []
    for path in chunk_files(folder):
        mark = ChunkMark(path.name, int(path.name[26:32]), "")
        columns = read_chunk(folder, mark, layout)
        entries = {key: columns[f"obs/{key}"] for key in observation}
        found.append(Recording(entries, columns["action"], columns["reward"], columns["is_terminal"], mark.stream))
    return found


def _add_to(digest: Any, rows: Rows) -> None:
    parts = {**{f"obs/{key}": rows.obs[key] for key in sorted(rows.obs)}, "action": rows.action, "reward": rows.reward}
    parts |= {"is_first": rows.is_first, "is_terminal": rows.is_terminal, "is_last": rows.is_last}
    for name, value in parts.items():
        digest.update(f"{name} {value.dtype} {value.shape};".encode())
        digest.update(np.ascontiguousarray(value).data)


def _problem(recipe: Recipe, what: str, why: str = "", fix: str = "") -> Problem:
    choice = recipe.choice("data")
    assert choice is not None
    return Problem(f"data ({choice.name}): {what}", recipe.places.get("data.name", ""), "data", why, fix)


def _sizes(recipe: Recipe, facts: DataFacts) -> Iterator[Problem]:
    images = any(entry.dtype == "uint8" for entry in facts.observation.values())
    length = ByObservation.choose(recipe.settings.replay.length, images)
    capacity = recipe.settings.replay.capacity
    held = f" ({facts.held_out} of {facts.episodes} episodes are held out)" if facts.held_out else ""
    if facts.rows < length:
        why = f"a batch is made of sequences of replay.length={length} rows"
        fix = f"give more data, or set replay.length to at most {facts.rows}"
        yield _problem(recipe, f"it holds only {facts.rows} rows to learn from{held}", why, fix)
    if facts.rows > capacity:
        why = f"the replay keeps replay.capacity={capacity} rows"
        yield _problem(
            recipe, f"it holds {facts.rows} rows to learn from{held}", why, f"set replay.capacity={facts.rows}"
        )


def _other_spaces(recipe: Recipe, source: DataSource) -> Iterator[Problem]:
    if recipe.choice("env") is None:
        return
    factory = build_environment(recipe)
    pairs = (
        ("observations", _entries(source.observation), _entries(factory.observation)),
        ("actions", (source.action.kind, source.action.size), (factory.action.kind, factory.action.size)),
    )
    for what, mine, theirs in pairs:
        if mine != theirs:
            why = "what is learned from the data is used in the environment"
            fix = "name the environment that the data came from, or none: env=null"
            yield _problem(recipe, f"its {what} are {mine}, and those of the environment {theirs}", why, fix)


def _entries(observation: ObservationSpec) -> dict[str, tuple[int, ...]]:
    return {key: spec.shape for key, spec in observation.items()}


def _other_data(recipe: Recipe, facts: DataFacts) -> Iterator[Problem]:
    known = recipe.data_facts
    if known is not None and known.fingerprint != facts.fingerprint:
        prints = f"{facts.fingerprint[:12]}, not {known.fingerprint[:12]}"
        fix = "train the recipe that the lock was made from"
        yield _problem(recipe, f"it is not the data that this lock was made with ({prints})", "", fix)
