"""Checkpoints: immutable folders with a manifest of hashes, written whole or not at all."""

from reverie.training.checkpoint.folder import (
    Checkpoint,
    CheckpointFault,
    checkpoint_of,
    list_checkpoints,
    newest,
    open_checkpoint,
    read_agent_tensors,
)
from reverie.training.checkpoint.packing import merge, pack, read_tensors
from reverie.training.checkpoint.writer import CheckpointWriter

__all__ = [
    "Checkpoint",
    "CheckpointFault",
    "CheckpointWriter",
    "checkpoint_of",
    "list_checkpoints",
    "merge",
    "newest",
    "open_checkpoint",
    "pack",
    "read_agent_tensors",
    "read_tensors",
]
