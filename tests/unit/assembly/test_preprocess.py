from typing import Any

import numpy as np
import pytest
import torch

from reverie.contracts import Sampling
from reverie.testing.toys import toy_batch


def symlog(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x > 0, torch.log(1 + x.abs()), -torch.log(1 + x.abs()))


@pytest.mark.parametrize("vectors", ["none", "symlog", "normalize", "normalize_symlog"])
def test_vectors(make_agent: Any, vectors: str):
    agent = make_agent(vectors=vectors)
    batch = toy_batch(3, 7, agent.observation, agent.action)
    rows = np.random.default_rng(0).normal(5.0, 3.0, (500, 5)).astype(np.float32)
    for part in np.split(rows, [1, 4, 100]):
        agent.update_statistics({"state": part, "touch": np.zeros((len(part), 2), np.float32)})
    wanted = batch.obs["state"]
    if "normalize" in vectors:
        wanted = (wanted - torch.from_numpy(rows.mean(0))) / torch.from_numpy(rows.std(0))
    if "symlog" in vectors:
        wanted = symlog(wanted)
    ready = agent.preprocess(batch.obs)
    torch.testing.assert_close(ready["state"], wanted, rtol=1e-4, atol=1e-5)
    assert set(agent.normalizers) == ({"state", "touch"} if "normalize" in vectors else set())
    torch.testing.assert_close(agent.postprocess(ready)["state"], batch.obs["state"], rtol=1e-4, atol=1e-4)


def test_images(make_agent: Any):
    agent = make_agent(image=True)
    batch = toy_batch(3, 7, agent.observation, agent.action)
    ready = agent.preprocess(batch.obs)
    assert ready["camera"].shape == (3, 7, 3, 8, 12)
    assert ready["camera"].dtype == torch.float32
    assert float(ready["camera"][1, 2, 0, 4, 5]) == pytest.approx(float(batch.obs["camera"][1, 2, 4, 5, 0]) / 255)
    torch.testing.assert_close(agent.postprocess(ready)["camera"], batch.obs["camera"].float())


def test_acting_and_training_see_the_same(make_agent: Any):
    agent = make_agent(image=True)
    batch = toy_batch(3, 7, agent.observation, agent.action)
    seen: list[torch.Tensor] = []
    forward = agent.encoder.forward

    def spy(obs: dict[str, torch.Tensor], sampling: Sampling) -> torch.Tensor:
        seen.append(forward(obs, sampling))
        return seen[-1]

    agent.encoder.forward = spy
    agent.act({key: value[:, 2].numpy() for key, value in batch.obs.items()}, agent.initial(3), np.ones(3, bool))
    whole = forward(agent.preprocess(batch.obs), Sampling())
    torch.testing.assert_close(seen[0], whole[:, 2].detach())


def test_statistics_are_saved_and_can_be_frozen(make_agent: Any):
    agent = make_agent()
    rows = {"state": np.full((3, 5), 2.0, np.float32), "touch": np.zeros((3, 2), np.float32)}
    agent.update_statistics(rows)
    assert float(agent.state_dict()["normalizers.state.count"]) == 3
    agent.statistics_frozen = True
    agent.update_statistics(rows)
    assert float(agent.normalizers["state"].count) == 3


def test_read_only_arrays_are_taken(make_agent: Any):
    agent = make_agent()
    rows = {"state": np.ones((3, 5), np.float32), "touch": np.zeros((3, 2), np.float32)}
    for value in rows.values():
        value.flags.writeable = False
    agent.update_statistics(rows)
    agent.act(rows, agent.initial(3), np.ones(3, bool))


def test_half_precision_rounds_after_scaling(make_agent: Any):
    """1,000.3 and 1,000.7 are one number in bfloat16; a deviation of 0.2 apart from their mean they are two."""
    agent = make_agent(vectors="normalize")
    rows = np.stack([np.full(5, 1000.3, np.float32), np.full(5, 1000.7, np.float32)])
    agent.update_statistics({"state": rows, "touch": np.zeros((2, 2), np.float32)})
    agent.to(torch.bfloat16)
    ready = agent.preprocess({"state": torch.from_numpy(rows), "touch": torch.zeros(2, 2)})["state"]
    assert ready.dtype == torch.bfloat16
    torch.testing.assert_close(ready.float(), torch.tensor([[-1.0] * 5, [1.0] * 5]), rtol=0, atol=0.01)
