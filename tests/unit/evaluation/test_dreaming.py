"""Recordings and open-loop dreams, against a model that knows the truth."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reverie.assembly.imagination import Imagination
from reverie.contracts import ArraySpec, Latent, ObservationSpec, Observed, Sampling
from reverie.evaluation.dreaming import code_decoder, dream_of
from reverie.evaluation.recording import Recording, record


@dataclass(frozen=True)
class Known(Latent):
    value: Tensor

    @property
    def features(self) -> Tensor:
        return self.value


class Truth:
    """x_{t+1} = 0.5 x_t + a_t; a posterior is the observation itself."""

    code_size = 1

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def initial(self, n: int) -> Known:
        return Known(torch.zeros(n, 1))

    def observe(self, embed: Tensor, action: Tensor, is_first: Tensor, state: Any = None, *, sampling: Any) -> Any:
        self.seen.append(embed)
        assert is_first.tolist() == [[True] + [False] * (embed.shape[1] - 1)]
        states = Known(embed)
        return Observed(states=states, priors=states, train=states, last=states[:, -1])

    def imagine(self, state: Known, action: Tensor, sampling: Any) -> Known:
        return Known(0.5 * state.value + action)


class Point:
    """A distribution that is certain."""

    def __init__(self, mean: Tensor) -> None:
        self.mean = self.mode = mean


def agent(**parts: Any) -> Any:
    """Preprocessing halves, postprocessing doubles; reward is 10 x after the step, value is -x."""
    found = SimpleNamespace(
        observation=ObservationSpec({"state": ArraySpec((1,), "float32")}),
        encoder=lambda obs, sampling: obs["state"] * 2.0,
        preprocess=lambda obs: {key: value / 2.0 for key, value in obs.items()},
        postprocess=lambda entries: {key: value * 2.0 for key, value in entries.items()},
        dynamics=Truth(),
        decoder=lambda code: {"state": Point(code / 2.0)},
        decoders={},
        heads={
            "reward": lambda transition: Point(10.0 * transition.after.features[..., 0]),
            "value": lambda transition: Point(-transition.after.features[..., 0]),
        },
    )
    for name in ("reward", "value"):
        found.heads[name].reads, found.heads[name].members = "after", None
    found.encoder.embed_size = 2  # another than the code's: no decoder of embeddings can read a code
    found.__dict__.update(parts)
    for decoder in (found.decoder, *found.decoders.values()):
        if decoder is not None and not hasattr(decoder, "reads"):
            decoder.reads = "code"
    found.imagination = Imagination(found)
    return found


def truth(steps: int = 9) -> Recording:
    generator = np.random.default_rng(0)
    action = generator.uniform(-1, 1, (steps, 1)).astype(np.float32)
    action[0] = 0
    x = np.ones((steps, 1), np.float32)
    for t in range(1, steps):
        x[t] = 0.5 * x[t - 1] + action[t]
    reward = (10 * x[:, 0]).astype(np.float32)
    reward[0] = 0
    return Recording({"state": x}, action, reward, np.zeros(steps, bool), 0)


def test_an_oracle_dreams_the_truth_with_every_index_in_its_place() -> None:
    recording = truth()
    dream = dream_of(agent(), recording, context=3)
    assert dream.obs["state"] == pytest.approx(recording.obs["state"], abs=1e-5)
    assert dream.reward is not None
    assert np.isnan(dream.reward[0])
    assert dream.reward[1:] == pytest.approx(recording.reward[1:], abs=1e-4)
    assert dream.value == pytest.approx(-recording.obs["state"][:, 0], abs=1e-5)
    assert dream.cont is None  # this agent has no continue head
    assert (dream.context, len(dream)) == (3, 9)


def test_the_model_sees_the_context_and_nothing_after_it() -> None:
    recording, model = truth(), agent()
    recording.obs["state"][3:] = 1e6
    dream = dream_of(model, recording, context=3)
    assert model.dynamics.seen[0].shape == (1, 3, 1)
    assert dream.obs["state"] == pytest.approx(truth().obs["state"], abs=1e-5)


def test_the_real_actions_are_what_is_imagined() -> None:
    recording = truth()
    recording.action[5] += 1.0
    gap = dream_of(agent(), recording, context=3).obs["state"][:, 0] - truth().obs["state"][:, 0]
    assert gap == pytest.approx([0, 0, 0, 0, 0, 1, 0.5, 0.25, 0.125], abs=1e-5)


def test_without_a_decoder_only_the_heads_speak() -> None:
    dream = dream_of(agent(decoder=None), truth(), context=2)
    assert dream.obs == {}
    assert dream.reward is not None


def test_a_named_decoder_of_codes_will_do() -> None:
    of_codes, of_embeddings = SimpleNamespace(reads="code"), SimpleNamespace(reads="embed")
    assert code_decoder(agent(decoder=None, decoders={"vae": of_embeddings, "other": of_codes})) is of_codes
    assert code_decoder(agent(decoder=None, decoders={"vae": of_embeddings})) is None


def test_images_come_back_as_bytes() -> None:
    spec = ObservationSpec({"state": ArraySpec((1,), "uint8")})
    dream = dream_of(agent(observation=spec, postprocess=lambda e: {"state": e["state"] * 0 + 7.6}), truth(), context=2)
    assert dream.obs["state"].dtype == np.uint8
    assert (dream.obs["state"] == 8).all()


@pytest.mark.parametrize("context", [0, 9, 12])
def test_something_must_be_left_to_imagine(context: int) -> None:
    with pytest.raises(ValueError, match="leaves nothing to imagine"):
        dream_of(agent(), truth(), context=context, sampling=Sampling(mode="mode"))


def test_recordings_are_arrival_aligned(factory: Any, policy: Any) -> None:
    recordings = record(policy, factory, [8, 9], max_steps=3)
    for recording, seed, ends in zip(recordings, (8, 9), (True, False), strict=True):
        actions = [(seed + k) % 3 for k in range(3)]
        assert recording.obs["state"].tolist() == [[-5, seed], *([float(a), seed] for a in actions)]
        assert recording.action.tolist() == [[0, 0, 0], *np.eye(3)[actions].tolist()]
        assert recording.reward.tolist() == [0, 1, 2, 3]
        assert recording.is_terminal.tolist() == [False, False, False, ends]
        assert (recording.seed, len(recording), len(recording.head(2))) == (seed, 4, 2)
