"""Objective `overshooting` against the definition, prediction by prediction (Hafner et al. 2019, section 4)."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from reverie.cli.main import run as reverie
from reverie.contracts import ArraySpec, Latent, ObservationSpec, Sampling
from reverie.nn import SquaredError
from reverie_plugins.perception.config import OvershootingConfig
from reverie_plugins.perception.overshooting import Overshooting

B, T, F, A = 3, 6, 4, 2
OBSERVATION = ObservationSpec({"a": ArraySpec((3,), "float32")})


@dataclass(frozen=True)
class Plain(Latent):
    x: Tensor

    @property
    def features(self) -> Tensor:
        return self.x


class Linear:
    """x' = x M + action N + noise."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.M = 0.5 * torch.randn(F, F, generator=generator, dtype=torch.float64)
        self.N = torch.randn(A, F, generator=generator, dtype=torch.float64)

    def imagine(self, state: Plain, action: Tensor, sampling: Sampling) -> Plain:
        noise = 0.0 if sampling.mode == "mode" else sampling.randn((len(action), F), dtype=torch.float64)
        return Plain(state.x @ self.M + action @ self.N + noise)


class FirstThree:
    reads = "code"

    def __call__(self, code: Tensor) -> dict[str, SquaredError]:
        return {"a": SquaredError(code[..., :3])}


def parts(observation=OBSERVATION) -> SimpleNamespace:
    return SimpleNamespace(decoder=FirstThree(), dynamics=Linear(), observation=observation)


def view() -> SimpleNamespace:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(B, T, *shape, generator=generator, dtype=torch.float64)

    is_first = torch.zeros(B, T, dtype=torch.bool)
    is_first[0, 0] = is_first[1, 3] = True
    return SimpleNamespace(
        shape=(B, T),
        batch=SimpleNamespace(is_first=is_first, action=normal(A), reward=torch.zeros(B, T, dtype=torch.float64)),
        obs={"a": normal(3)},
        observed=SimpleNamespace(states=Plain(normal(F).requires_grad_())),
        sampling=Sampling(generators=[torch.Generator().manual_seed(7)]),
    )


def by_hand(seen: SimpleNamespace, dynamics: Linear, starts: dict[int, list[int]], steps: int) -> Tensor:
    """(B, T) squared errors of predictions for each step, loop over loop; latents are the most likely ones."""
    found = torch.zeros(B, T, dtype=torch.float64)
    for b, begins in starts.items():
        for begin in begins:
            x = seen.observed.states.x[b, begin]
            for t in range(begin + 1, min(begin + steps, T - 1) + 1):
                if seen.batch.is_first[b, t]:
                    break
                x = x @ dynamics.M + seen.batch.action[b, t] @ dynamics.N
                found[b, t] += (x[:3] - seen.obs["a"][b, t]).square().sum()
    return found


@pytest.mark.parametrize("steps", [1, 3, 15])
def test_every_start_predicts_to_the_end_of_its_chunk_or_episode(steps):
    """With as many starts as there are steps with a successor, nothing is left to chance."""
    seen, made = view(), parts()
    objective = Overshooting(OvershootingConfig(starts=99, steps=steps, mode="mode", scale=0.5), made)
    loss = objective.losses(seen, made)["a"]
    D = min(steps, T - 1)
    expected = by_hand(seen, made.dynamics, {b: list(range(T - 1)) for b in range(B)}, steps)
    torch.testing.assert_close(loss, 0.5 * T / ((T - 1) * D) * expected)


def test_starts_are_drawn_and_weigh_what_all_of_them_would():
    """Two starts of five: averaged over many draws, the loss is that of all five."""
    made = parts()
    few = Overshooting(OvershootingConfig(starts=2, steps=3, mode="mode"), made)
    every = Overshooting(OvershootingConfig(starts=T - 1, steps=3, mode="mode"), made)
    seen = view()
    drawn = torch.stack([few.losses(seen, made)["a"].detach() for _ in range(3000)])
    assert len({tuple((row != 0).flatten().tolist()) for row in drawn}) > 10
    torch.testing.assert_close(drawn.mean(0), every.losses(seen, made)["a"].detach(), rtol=0.1, atol=0.05)


def test_long_predictions_train_the_state_that_they_began_from():
    seen, made = view(), parts()
    objective = Overshooting(OvershootingConfig(starts=T - 1, steps=2, mode="mode"), made)
    loss = objective.losses(seen, made)["a"]
    (slope,) = torch.autograd.grad(loss[2].sum(), seen.observed.states.x)
    assert bool((slope[2, : T - 1] != 0).all(-1).all())
    assert not slope[2, T - 1].any(), "from the last step nothing is predicted"
    assert not slope[:2].any()


def test_latents_are_drawn_unless_the_most_likely_ones_are_asked_for():
    made = parts()
    drawn, likely = (
        Overshooting(OvershootingConfig(starts=T - 1, steps=2, mode=mode), made) for mode in ("sample", "mode")
    )
    seen = view()
    assert torch.equal(likely.losses(seen, made)["a"], likely.losses(seen, made)["a"])
    assert not torch.equal(drawn.losses(seen, made)["a"], drawn.losses(seen, made)["a"])


def test_some_frames_stand_for_all_predictions():
    pictures = ObservationSpec({"a": ArraySpec((8, 8, 1), "uint8")})
    made, seen = parts(pictures), view()
    whole = Overshooting(OvershootingConfig(starts=T - 1, steps=3, mode="mode", frames=None), made).losses(seen, made)[
        "a"
    ]
    some = Overshooting(OvershootingConfig(starts=T - 1, steps=3, mode="mode", frames=4 * B), made)
    drawn = torch.stack([some.losses(seen, made)["a"].detach() for _ in range(3000)])
    assert ((drawn != 0).sum((1, 2)) <= 4 * B).all()
    torch.testing.assert_close(drawn.mean(0), whole.detach(), rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("entry", "decoded"), [(ArraySpec((8, 8, 1), "uint8"), 64 // B), (ArraySpec((3,), "float32"), 4 * 15)]
)
def test_of_pictures_64_predictions_are_decoded_and_of_vectors_all(entry, decoded):
    """As many as `dreamer` decodes of its reconstructions; a small model has no time for 960 pictures an update."""
    made, seen = parts(ObservationSpec({"a": entry})), view()
    long = 40
    seen.shape = (B, long)
    seen.batch.is_first = torch.zeros(B, long, dtype=torch.bool)
    seen.batch.action = torch.zeros(B, long, A, dtype=torch.float64)
    seen.obs = {"a": torch.zeros(B, long, 3, dtype=torch.float64)}
    seen.observed.states = Plain(torch.zeros(B, long, F, dtype=torch.float64))
    codes = []

    class Listens(FirstThree):
        def __call__(self, code: Tensor) -> dict[str, SquaredError]:
            codes.append(code.shape[:2])
            return super().__call__(code)

    made.decoder = Listens()
    Overshooting(OvershootingConfig(), made).losses(seen, made)
    assert codes == [(B, decoded)]


def test_a_chunk_of_one_step_predicts_nothing():
    seen, made = view(), parts()
    seen.shape = (B, 1)
    seen.batch = SimpleNamespace(**{key: value[:, :1] for key, value in vars(seen.batch).items()})
    seen.obs = {"a": seen.obs["a"][:, :1]}
    assert torch.equal(
        Overshooting(OvershootingConfig(), made).losses(seen, made)["a"], torch.zeros(B, 1, dtype=torch.float64)
    )


@pytest.mark.parametrize("decoder", [None, SimpleNamespace(reads="embed")])
def test_it_is_refused_without_a_decoder_of_states(decoder):
    assert OvershootingConfig().needs().slots == ("decoder",)
    with pytest.raises(ValueError, match="`decoder`"):
        Overshooting(OvershootingConfig(), SimpleNamespace(decoder=decoder))


def test_check_says_what_to_change(capsys):
    assert reverie(["check", "world_models", "+objectives/far=overshooting"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "objectives/far (overshooting) needs a decoder of states, and decoder (vae) reads" in said
    assert "fix: leave objectives/far out, or take a decoder that reads states" in said
    assert said.count("why:") == said.count("fix:") == 1
    assert "could not be built" not in said
