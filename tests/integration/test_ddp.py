"""Two gloo ranks and one process on the joined batch end with the same weights."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from reverie.training.run_folder import read_status

from .conftest import TINY, differences, final_state

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


@pytest.mark.slow
def test_a_run_on_two_devices_is_terminated_and_resumed_to_the_same_numbers(tmp_path: Path) -> None:
    """Lightning starts the second process, from the same command line."""
    reverie = [sys.executable, "-m", "reverie.cli.main"]
    options = [*TINY, "trainer.devices=2", "stages.1.until.env_steps=100"]
    alone, stopped = tmp_path / "alone", tmp_path / "stopped"
    launch([*reverie, "train", "dreamer", *options, f"run_dir={alone}"], 1)
    child = subprocess.Popen([*reverie, "train", "dreamer", *options, f"run_dir={stopped}"], stdout=subprocess.DEVNULL)
    while read_status(stopped).get("ticks", 0) < 14 and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=120) == 143
    assert read_status(stopped)["status"] == "interrupted"
    launch([*reverie, "resume", str(stopped)], 1)
    assert read_status(stopped)["env_steps"] == read_status(alone)["env_steps"] == 120
    assert differences(final_state(alone), final_state(stopped)) == []
