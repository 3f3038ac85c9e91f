"""Correctness note 7: what a decoder is asked for, and how its errors are added up."""

import numpy as np
import pytest
import torch

from reverie.assembly.agent import Agent
from reverie.contracts import Sampling, View
from reverie.testing.toys import LinearDynamics, ToyActor, ToyEncoder, toy_action, toy_batch, toy_observation
from reverie_plugins.perception.config import AutoDecoderConfig, ReconstructionConfig
from reverie_plugins.perception.decoder import AutoDecoder
from reverie_plugins.perception.reconstruction import Reconstruction

B, T = 2, 3
SCALES = {"camera": 1.5, "state": 4.0}


@pytest.fixture
def parts() -> tuple[Agent, View]:
    """An agent that has seen observations around 5, and a batch for it."""
    torch.manual_seed(0)
    observation, action = toy_observation(image=True), toy_action()
    encoder = ToyEncoder(None, observation)
    dynamics = LinearDynamics(None, encoder.embed_size, action)
    config = AutoDecoderConfig(units=8, layers=1, depth=2, vector_scale=SCALES["state"], image_scale=SCALES["camera"])
    actor = ToyActor(None, dynamics.feature_size, action)
    agent = Agent(
        observation,
        action,
        encoder=encoder,
        dynamics=dynamics,
        decoder=AutoDecoder(config, dynamics.code_size, observation),
        actor=actor,
        planner=actor,
        vectors="normalize_symlog",
    )
    agent.update_statistics({"state": np.random.default_rng(0).normal(5.0, 3.0, (200, 5)).astype(np.float32)})
    return agent, View(toy_batch(B, T, observation, action), agent, Sampling("mode"))


def symlog(x: float) -> float:
    return float(np.sign(x) * np.log(1 + abs(x)))


def wanted(agent: Agent, view: View, key: str, b: int, t: int) -> list[float]:
    """The entry that should be decoded, number by number, worked out from the raw batch."""
    raw = view.batch.obs[key][b, t]
    if key == "camera":  # (H, W, C) bytes -> (C, H, W) in [0, 1], and no symlog
        return [float(raw[h, w, c]) / 255 for c in range(3) for h in range(raw.shape[0]) for w in range(raw.shape[1])]
    normalizer = agent.normalizers[key]
    mean, std = normalizer.mean.tolist(), normalizer.std.tolist()
    return [symlog((float(x) - m) / s) for x, m, s in zip(raw, mean, std, strict=True)]


@pytest.mark.parametrize("key", ["camera", "state"])
def test_what_is_decoded_is_what_was_encoded(parts: tuple[Agent, View], key: str) -> None:
    agent, view = parts
    losses = Reconstruction(ReconstructionConfig(), agent).losses(view, agent)
    with torch.no_grad():
        predicted = agent.decoder(view.observed.train.code)[key].mean.flatten(2)
    for b in range(B):
        for t in range(T):
            target = wanted(agent, view, key, b, t)
            seen = view.obs[key][b, t].flatten().tolist()
            assert seen == pytest.approx(target, abs=1e-5)
            error = sum((x - y) ** 2 for x, y in zip(predicted[b, t].tolist(), target, strict=True))
            assert float(losses[key][b, t].detach()) == pytest.approx(SCALES[key] * error, rel=1e-4), (b, t)


def test_the_loss_of_a_picture_is_a_loop_over_its_pixels(parts: tuple[Agent, View]) -> None:
    """Four times the pixels, four times the loss: a mean would not change. 288 numbers of squared error 1/4 are 72."""
    agent, view = parts
    loss = Reconstruction(ReconstructionConfig(), agent)
    flat = [parameter for name, parameter in agent.decoder.named_parameters() if "parts.1" in name]
    with torch.no_grad():
        for parameter in flat:
            parameter.zero_()  # a grey picture: sigmoid(0) everywhere
        view.batch.obs["camera"].fill_(255)
        found = loss.losses(view, agent)["camera"]
    torch.testing.assert_close(found, torch.full((B, T), SCALES["camera"] * 8 * 12 * 3 / 4))


@pytest.mark.parametrize("key", ["camera", "state"])
def test_each_entry_shapes_the_states_that_it_is_decoded_from(parts: tuple[Agent, View], key: str) -> None:
    """Note 13: the gradient of every single entry arrives at dynamics and encoder, not only at the decoder."""
    agent, view = parts
    Reconstruction(ReconstructionConfig(), agent).losses(view, agent)[key].mean().backward()
    for slot in ("decoder", "dynamics", "encoder"):
        assert any(p.grad is not None and bool(p.grad.any()) for p in agent.module(slot).parameters()), slot
