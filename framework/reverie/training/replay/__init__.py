"""Experience on disk: append-only checksummed chunk files, bounded memory, uniform sampling over start steps."""

from reverie.training.replay.mark import ChunkMark, ReplayMark
from reverie.training.replay.replay import Replay, Restored

__all__ = ["ChunkMark", "Replay", "ReplayMark", "Restored"]
