"""Two gloo ranks and one process on the joined batch end with the same weights."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent


def launch(command: list[str], world: int, **environment: str) -> None:
    """Start `world` processes, as torchrun would, and wait for all of them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    if world > 1:
        common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(world), "NODE_RANK": "0"}
    ranks = [{"LOCAL_RANK": str(rank)} if world > 1 else {} for rank in range(world)]
    children = [
        subprocess.Popen(command, env={**common, **rank}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in ranks
    ]
    outputs = [child.communicate(timeout=250)[0] for child in children]
    assert [child.returncode for child in children] == [0] * world, "\n".join(outputs)[-4000:]


def load(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state


def test_two_ranks_give_the_weights_of_one_process_on_the_joined_batch(tmp_path: Path) -> None:
    script = [sys.executable, str(HERE / "two_ranks.py"), str(tmp_path)]
    launch([*script, "1"], 1)
    launch([*script, "2"], 2)
    one = load(tmp_path / "rank-0-of-1.pt")
    first, second = load(tmp_path / "rank-0-of-2.pt"), load(tmp_path / "rank-1-of-2.pt")
    moved = 0
    for name, value in one.items():
        assert torch.equal(first[name], second[name]), f"the ranks parted: {name}"
        if value.is_floating_point():
            torch.testing.assert_close(
                first[name], value, rtol=1e-4, atol=2e-6, msg=lambda text, n=name: f"{n}: {text}"
            )
            moved += value.numel()
    assert moved > 1000
