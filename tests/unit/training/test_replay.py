from __future__ import annotations

import json
import os
import resource
import time
from collections import Counter

import numpy as np
import pytest
import torch

from reverie.contracts.specs import ActionSpec, ArraySpec, ObservationSpec
from reverie.errors import EnvironmentFault, RunError
from reverie.recipes.schema import Replay as Settings
from reverie.training.replay import Replay, ReplayMark
from reverie.training.rows import Rows

VECTOR = ObservationSpec({"x": ArraySpec((2,), "float32")})
IMAGE = ObservationSpec({"image": ArraySpec((64, 64, 3), "uint8")})
ACTION = ActionSpec("continuous", 1)


def rows_of(first, count, stream=0, every=5):
    """Rows whose numbers say where they come from: x = (stream, row); an episode every `every` rows."""
    number = np.arange(first, first + count)
    start = number % every == 0
    return Rows(
        obs={"x": np.stack([np.full(count, stream), number], axis=1).astype(np.float32)},
        action=np.where(start, 0, number / 1e4).astype(np.float32)[:, None],
        reward=np.where(start, 0, number).astype(np.float32),
        is_first=start,
        is_terminal=np.zeros(count, bool),
        is_last=number % every == every - 1,
    )


def replay_at(folder, streams=2, spec=VECTOR, **settings):
    return Replay(folder, spec, ACTION, streams, Settings(**{"chunk": 8, **settings}))


def filled(folder, counts=(30, 21), streams=2, **settings):
    replay = replay_at(folder, streams, **settings)
    for stream, count in enumerate(counts):
        for first in range(0, count, 3):
            replay.add(stream, rows_of(first, min(3, count - first), stream))
    return replay


def equal(one, other):
    return all(torch.equal(one.obs[key], other.obs[key]) for key in one.obs) and all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("action", "reward", "is_first", "is_terminal", "is_last", "step_id")
    )


# Sampling.


def test_chunks_are_consecutive_rows_of_one_stream_with_every_column(tmp_path):
    replay = filled(tmp_path)
    batch = replay.sample(200, 11, np.random.default_rng(0))
    assert batch.shape == (200, 11)
    stream, row = batch.obs["x"][..., 0], batch.obs["x"][..., 1]
    assert (stream == stream[:, :1]).all()
    assert (row == row[:, :1] + torch.arange(11)).all()
    assert torch.equal(batch.is_first, row % 5 == 0)
    assert torch.equal(batch.is_last, row % 5 == 4)
    assert torch.equal(batch.reward, torch.where(row % 5 == 0, 0.0, row))
    assert torch.allclose(batch.action[..., 0], torch.where(row % 5 == 0, 0.0, row / 1e4))
    assert batch.is_first.dtype == torch.bool
    assert batch.step_id.dtype == torch.int64
    assert batch.obs["x"].dtype == torch.float32


def test_every_start_step_of_every_stream_is_equally_likely(tmp_path):
    replay = filled(tmp_path, counts=(30, 13))
    rng = np.random.default_rng(1)
    draws = 34_000
    batch = replay.sample(draws, 10, rng)
    starts = Counter(map(tuple, batch.obs["x"][:, 0].int().tolist()))
    assert set(starts) == {(0, row) for row in range(21)} | {(1, row) for row in range(4)}
    expected = draws / 25
    chi2 = sum((count - expected) ** 2 / expected for count in starts.values())
    assert chi2 < 51.2  # 99.9% quantile with 24 degrees of freedom


def test_the_batch_depends_on_the_callers_generator_only(tmp_path):
    replay = filled(tmp_path)
    assert equal(replay.sample(9, 5, np.random.default_rng(3)), replay.sample(9, 5, np.random.default_rng(3)))
    assert not equal(replay.sample(9, 5, np.random.default_rng(3)), replay.sample(9, 5, np.random.default_rng(4)))


def test_step_ids_are_unique_and_follow_the_order_of_arrival(tmp_path):
    replay = replay_at(tmp_path)
    replay.add(1, rows_of(0, 4, 1))
    replay.add(0, rows_of(0, 3, 0))
    replay.add(1, rows_of(4, 2, 1))
    ones = replay.sample(200, 1, np.random.default_rng(0))
    by_place = {
        tuple(x): step for x, step in zip(ones.obs["x"][:, 0].int().tolist(), ones.step_id[:, 0].tolist(), strict=True)
    }
    assert by_place == {
        (1, 0): 0,
        (1, 1): 1,
        (1, 2): 2,
        (1, 3): 3,
        (0, 0): 4,
        (0, 1): 5,
        (0, 2): 6,
        (1, 4): 7,
        (1, 5): 8,
    }


def test_too_few_rows_cannot_be_sampled(tmp_path):
    replay = filled(tmp_path, counts=(6, 6))
    assert replay.steps == 12
    assert replay.can_sample(16, 6)
    assert not replay.can_sample(16, 7)
    with pytest.raises(RunError, match="12 rows, too few for a chunk of 7"):
        replay.sample(1, 7, np.random.default_rng(0))


def test_a_cut_episode_shows_its_end_by_the_reset_that_follows(tmp_path):
    replay = replay_at(tmp_path, 1)
    replay.add(0, rows_of(0, 3))
    replay.add(0, rows_of(5, 3))  # rows 3 and 4 never came
    batch = replay.sample(1, 6, np.random.default_rng(0))
    assert batch.is_first[0].tolist() == [True, False, False, True, False, False]
    assert batch.is_last[0].tolist() == [False, False, True, False, False, False]
    assert not batch.is_terminal.any()


def test_batches_are_copies(tmp_path):
    replay = filled(tmp_path)
    first = replay.sample(4, 5, np.random.default_rng(0))
    first.reward.fill_(7)
    first.obs["x"].fill_(7)
    assert not (replay.sample(4, 5, np.random.default_rng(0)).obs["x"] == 7).all()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("reward", np.zeros((2, 1), np.float32), "reward"),
        ("reward", np.zeros(2), "float64"),
        ("action", np.zeros((2, 2), np.float32), "action"),
        ("obs", {"x": np.zeros((2, 3), np.float32)}, "obs/x"),
        ("obs", {"y": np.zeros((2, 2), np.float32)}, "missing"),
    ],
)
def test_rows_of_another_kind_never_enter(tmp_path, name, value, message):
    replay = replay_at(tmp_path)
    good = rows_of(0, 2)
    bad = Rows(**{**{key: getattr(good, key) for key in good.__dataclass_fields__}, name: value})
    with pytest.raises(EnvironmentFault, match=message):
        replay.add(0, bad)
    assert replay.steps == 0
    assert replay.next_id == 0


# On disk.


def test_a_restored_replay_gives_the_same_batches_and_goes_on_alike(tmp_path):
    replay = filled(tmp_path)
    mark = ReplayMark.from_dict(json.loads(json.dumps(replay.flush().to_dict())))
    assert mark == replay.flush()  # nothing new: nothing written
    other = replay_at(tmp_path)
    found = other.restore(mark)
    assert (found.rows, found.dropped_rows, found.dropped_files) == (51, 0, 0)
    assert other.steps == replay.steps
    for one in (replay, other):
        for first in (30, 37):
            one.add(0, rows_of(first, 7))
        one.add(1, rows_of(21, 4, 1))
    for length in (1, 5, 20):
        assert equal(
            replay.sample(50, length, np.random.default_rng(2)), other.sample(50, length, np.random.default_rng(2))
        )


def test_files_are_only_ever_added(tmp_path):
    replay = filled(tmp_path, counts=(10, 3))
    contents = {}
    for first in range(10, 40, 5):
        replay.flush()
        for path in tmp_path.iterdir():
            contents.setdefault(path.name, path.read_bytes())
        replay.add(0, rows_of(first, 5))
    assert all((tmp_path / name).read_bytes() == content for name, content in contents.items())
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_lies_beyond_the_mark_is_dropped_and_counted(tmp_path):
    replay = filled(tmp_path, counts=(10, 10))
    mark = replay.flush()
    replay.add(0, rows_of(10, 13))  # one more full chunk, and 7 rows of a tail
    replay.flush()
    replay.add(1, rows_of(10, 3, 1))  # in memory only: lost without a trace
    other = replay_at(tmp_path)
    found = other.restore(mark)
    assert (found.rows, found.dropped_rows) == (20, 13)
    assert other.steps == 20
    assert other.sample(300, 1, np.random.default_rng(0)).obs["x"][..., 1].max() == 9
    assert other.next_id == 20


def test_restoring_an_older_mark_still_works_after_newer_ones(tmp_path):
    replay = filled(tmp_path, counts=(10, 10))
    old = replay.flush()
    before = replay.sample(20, 4, np.random.default_rng(0))
    replay.add(0, rows_of(10, 30))
    replay.flush()
    other = replay_at(tmp_path)
    other.restore(old)
    assert equal(other.sample(20, 4, np.random.default_rng(0)), before)
    other.add(0, rows_of(900, 2))  # a different continuation, under other names
    different = other.flush()
    assert {chunk.name for chunk in different.chunks} - {chunk.name for chunk in old.chunks}
    again = replay_at(tmp_path)
    again.restore(old)
    assert equal(again.sample(20, 4, np.random.default_rng(0)), before)


def test_rows_are_durable_after_flush_in_another_process(tmp_path):
    pid = os.fork()
    if pid == 0:
        replay = filled(tmp_path, counts=(11, 4))
        (tmp_path / "mark.json").write_text(json.dumps(replay.flush().to_dict()))
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    replay = replay_at(tmp_path)
    assert replay.restore(ReplayMark.from_dict(json.loads((tmp_path / "mark.json").read_text()))).rows == 15


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "swap"])
@pytest.mark.parametrize("which", [0, -1])
def test_corrupt_chunks_are_named(tmp_path, damage, which):
    replay = filled(tmp_path)
    mark = replay.flush()
    victim = tmp_path / mark.chunks[which].name
    content = bytearray(victim.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        victim.write_bytes(content)
    elif damage == "truncate":
        victim.write_bytes(content[:-10])
    elif damage == "delete":
        victim.unlink()
    else:
        victim.write_bytes((tmp_path / mark.chunks[1].name).read_bytes())
    other = replay_at(tmp_path)
    with pytest.raises(RunError, match=victim.name):
        other.restore(mark)
    assert other.steps == 0


def test_damage_that_happens_during_a_run_is_named_when_it_is_read(tmp_path):
    replay = filled(tmp_path)
    mark = replay.flush()
    other = replay_at(tmp_path)
    other.restore(mark)
    victim = tmp_path / mark.chunks[0].name
    content = bytearray(victim.read_bytes())
    content[content.index(b"obs|x.npy") + 200] ^= 255
    victim.write_bytes(content)
    with pytest.raises(RunError, match=victim.name):
        other.sample(100, 4, np.random.default_rng(0))


def test_a_chunk_of_objects_is_refused(tmp_path):
    replay = filled(tmp_path, counts=(8,), streams=1)
    mark = replay.flush()
    np.savez(tmp_path / mark.chunks[0].name, **{"obs|x": np.array([{}] * 8, object)})
    other = replay_at(tmp_path, 1)
    with pytest.raises(RunError, match="corrupt"):
        other.restore(mark)


HOSTILE = [
    {"version": 2},
    {"chunks": [["../../etc/passwd", 8, "0" * 64]]},
    {"chunks": [["stream-00000-000000000000-000008-000000000000.npz/../x", 8, "0" * 64]]},
    {"chunks": [["stream-00000-000000000000-000008-000000000000.npz\n", 8, "0" * 64]]},
    {"chunks": [["stream-00000-000000000000-000008-000000000000.npz", 9, "0" * 64]]},
    {"chunks": [["stream-00000-000000000000-000008-000000000000.npz", 8, "1" * 64]]},
    {"chunks": [["stream-00007-000000000000-000008-000000000000.npz", 8, "0" * 64]]},
    {"chunks": [["stream-00000-000000000000-000008-000000000000.npz", 8, "0" * 64]] * 2},
    {"chunks": "everything"},
    {"next_id": -1},
    {"next_id": 1e9},
    {"streams": True},
    {"streams": None},
]


@pytest.mark.parametrize("change", HOSTILE)
def test_malformed_marks_are_refused(tmp_path, change):
    data = {**filled(tmp_path, counts=(8, 8)).flush().to_dict(), **change}
    with pytest.raises(RunError, match="replay mark"):
        ReplayMark.from_dict(data)


def test_another_number_of_streams_or_a_smaller_chunk_is_refused(tmp_path):
    mark = filled(tmp_path).flush()
    with pytest.raises(RunError, match=r"environments\.count"):
        replay_at(tmp_path, 3).restore(mark)
    with pytest.raises(RunError, match=r"replay\.chunk"):
        replay_at(tmp_path, 2, chunk=4).restore(mark)


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "replay").write_text("")
    with pytest.raises(RunError, match="folder"):
        replay_at(tmp_path / "replay")


def test_a_vanished_folder_is_named(tmp_path):
    replay = replay_at(tmp_path / "replay")
    (tmp_path / "replay").rmdir()
    with pytest.raises(RunError, match="could not write"):
        replay.add(0, rows_of(0, 8))


def test_a_full_disk_loses_no_rows_and_names_what_it_needed(tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    replay = filled(tmp_path, counts=(7, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(RunError, match=r"needs 1,962 bytes \([\d,]+ bytes are free\): File too large"):
            replay.add(0, rows_of(7, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert list(tmp_path.iterdir()) == []
    replay.add(0, rows_of(8, 3))
    mark = replay.flush()
    other = replay_at(tmp_path)
    other.restore(mark)
    batch = other.sample(1, 11, np.random.default_rng(0))
    assert batch.obs["x"][0, :, 1].tolist() == list(range(11))
    assert batch.step_id[0].tolist() == list(range(11))
    assert other.steps == replay.steps == 11


# Capacity and memory.


def test_the_oldest_chunks_leave_and_their_files_stay_until_no_checkpoint_needs_them(tmp_path):
    replay = filled(tmp_path, counts=(40, 0), capacity=24)
    assert 17 <= replay.steps <= 24
    drawn = replay.sample(500, 1, np.random.default_rng(0)).obs["x"][:, 0, 1]
    assert drawn.min() == 40 - replay.steps
    assert drawn.max() == 39
    old = replay.flush()
    for first in range(40, 80, 4):
        replay.add(0, rows_of(first, 4))
    new = replay.flush()
    assert replay.prune([old, new]) == 4  # rows 0 to 15, which had left before `old`, and 40 to 55, which came and went
    other = replay_at(tmp_path, capacity=24)
    other.restore(old)
    replay.prune([new])
    assert {path.name for path in tmp_path.iterdir()} == {chunk.name for chunk in new.chunks}
    with pytest.raises(RunError):
        replay_at(tmp_path, capacity=24).restore(old)
    replay_at(tmp_path, capacity=24).restore(new)


def test_the_oldest_rows_leave_first_whichever_stream_they_are_in(tmp_path):
    replay = filled(tmp_path, counts=(40, 40), capacity=40)
    assert abs(len(replay._streams[0]) - len(replay._streams[1])) <= 8
    assert replay.steps <= 40


def test_prune_keeps_what_was_written_since_the_last_mark(tmp_path):
    replay = filled(tmp_path, counts=(10, 0))
    mark = replay.flush()
    replay.add(0, rows_of(10, 10))
    (tmp_path / ".staged-x").write_text("half")
    replay.prune([mark])
    after = replay.flush()
    replay_at(tmp_path).restore(after)
    replay_at(tmp_path).restore(mark)
    assert not (tmp_path / ".staged-x").exists()


def image_rows(count, value):
    return Rows(
        obs={"image": np.full((count, 64, 64, 3), value, np.uint8)},
        action=np.zeros((count, 1), np.float32),
        reward=np.full(count, value, np.float32),
        is_first=np.zeros(count, bool),
        is_terminal=np.zeros(count, bool),
        is_last=np.zeros(count, bool),
    )


def test_memory_stays_bounded_while_the_data_does_not(tmp_path):
    """60 MB of frames through a cache of 4 MB: what is held, and what Python allocates at its peak."""
    import tracemalloc

    replay = replay_at(tmp_path, 1, IMAGE, chunk=128, memory_mb=4)
    tracemalloc.start()
    held = 0
    for block in range(160):
        replay.add(0, image_rows(32, block))
        held = max(held, replay.memory_bytes)
    rng = np.random.default_rng(0)
    for _ in range(40):
        batch = replay.sample(4, 8, rng)
        assert (batch.obs["image"].float().mean(dim=(2, 3, 4)) == batch.reward).all()
        held = max(held, replay.memory_bytes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    total = 160 * 32 * 64 * 64 * 3
    assert total > 60e6
    chunk = 128 * 64 * 64 * 3
    assert held <= 4 * 2**20 + 2 * chunk  # the cache, a tail, and that the cache may overshoot by one
    assert peak < 14e6  # besides: the bytes of one file while it is written, and the batch
    assert replay.disk_loads > 10


def test_sampling_is_fast_enough_to_vanish_beside_an_update(tmp_path):
    """16 x 16 vectors from memory; the best of many, for the machine is shared."""
    replay = replay_at(tmp_path, 1, chunk=1024)
    for first in range(0, 20_000, 500):
        replay.add(0, rows_of(first, 500))
    rng = np.random.default_rng(0)
    times = []
    for _ in range(300):
        began = time.perf_counter()
        replay.sample(16, 16, rng)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.5e-3
