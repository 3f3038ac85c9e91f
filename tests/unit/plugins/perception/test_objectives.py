import itertools
import math
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from reverie.contracts import ArraySpec, Latent, ObservationSpec
from reverie.nn import SquaredError
from reverie_plugins.perception.config import (
    ContrastiveConfig,
    ImageDecoderConfig,
    ReconstructionConfig,
    VectorDecoderConfig,
)
from reverie_plugins.perception.contrastive import Contrastive
from reverie_plugins.perception.decoder import ImageDecoder, VectorDecoder
from reverie_plugins.perception.reconstruction import Reconstruction

B, T, F, E = 2, 4, 5, 6
OBSERVATION = ObservationSpec({"a": ArraySpec((3,), "float32"), "b": ArraySpec((2,), "float32")})


@dataclass(frozen=True)
class Plain(Latent):
    x: torch.Tensor

    @property
    def features(self) -> torch.Tensor:
        return self.x


def view(seed: int = 0, rows: int = B, steps: int = T) -> SimpleNamespace:
    generator = torch.Generator().manual_seed(seed)
    states, priors = (Plain(torch.randn(rows, steps, F, generator=generator, dtype=torch.float64)) for _ in range(2))
    is_first = torch.zeros(rows, steps, dtype=torch.bool)
    is_first[1, 2] = True
    return SimpleNamespace(
        batch=SimpleNamespace(is_first=is_first),
        embed=torch.randn(rows, steps, E, generator=generator, dtype=torch.float64),
        obs={key: torch.randn(rows, steps, *spec.shape, generator=generator) for key, spec in OBSERVATION.items()},
        observed=SimpleNamespace(train=states, states=states, priors=priors),
    )


def agent(decoder=None, **decoders) -> SimpleNamespace:
    return SimpleNamespace(
        decoder=decoder,
        decoders=decoders,
        observation=OBSERVATION,
        dynamics=SimpleNamespace(feature_size=F),
        encoder=SimpleNamespace(embed_size=E),
    )


def contrastive(**options) -> Contrastive:
    torch.manual_seed(0)
    return Contrastive(ContrastiveConfig(dim=4, units=8, **options), agent()).double()


def test_some_frames_have_the_mean_and_gradient_of_all():
    """A few steps of each row stand for all: averaged over all draws, loss and gradient are the same."""
    pictures = ObservationSpec({"camera": ArraySpec((8, 8, 1), "uint8")})
    torch.manual_seed(0)
    decoder = ImageDecoder(ImageDecoderConfig(depth=2), F, pictures).double()
    parts, seen = agent(decoder), view()
    parts.observation = pictures
    seen.obs = {"camera": torch.rand(B, T, 1, 8, 8, dtype=torch.float64)}
    seen.shape = (B, T)
    code = seen.observed.train.x.requires_grad_()

    def loss_and_gradient(frames, order=None):
        draws = [] if order is None else [torch.tensor(order, dtype=torch.float64).expand(B, T)]
        seen.batch.reward = torch.zeros(B, T, dtype=torch.float64)
        seen.sampling = SimpleNamespace(shard=(0, 1), rand=lambda shape, device: draws.pop())
        loss = Reconstruction(ReconstructionConfig(frames=frames), parts).losses(seen, parts)["camera"]
        assert loss.shape == (B, T)
        (gradient,) = torch.autograd.grad(loss.mean(), code)
        return loss, gradient

    whole, gradient = loss_and_gradient(None)
    # frames=4 over 2 rows of 4 steps: 2 steps each. All 6 pairs of steps once.
    orders = [[float(t in pair) for t in range(T)] for pair in itertools.combinations(range(T), 2)]
    drawn = [loss_and_gradient(2 * B, order) for order in orders]
    assert all((loss == 0).sum() == B * 2 for loss, _ in drawn)
    torch.testing.assert_close(torch.stack([loss for loss, _ in drawn]).mean(0), whole)
    torch.testing.assert_close(torch.stack([found for _, found in drawn]).mean(0), gradient)
    everything, _ = loss_and_gradient(B * T)
    torch.testing.assert_close(everything, whole)


def test_reconstruction_is_the_likelihood_of_each_entry():
    torch.manual_seed(0)
    decoder = VectorDecoder(VectorDecoderConfig(units=8), F, OBSERVATION).double()
    parts, seen = agent(decoder), view()
    losses = Reconstruction(ReconstructionConfig(scale=0.5), parts).losses(seen, parts)
    predictions = decoder(seen.observed.train.code)
    assert list(losses) == ["a", "b"]
    for key, loss in losses.items():
        assert loss.shape == (B, T)
        torch.testing.assert_close(loss, 0.5 * 10 * (seen.obs[key] - predictions[key].mean).square().sum(-1))


def test_every_reconstructed_entry_trains_the_state_that_it_was_decoded_from():
    """Note 13: a decoder that reads states cut from the graph would learn, and teach the dynamics nothing."""
    torch.manual_seed(0)
    parts, seen = agent(VectorDecoder(VectorDecoderConfig(units=8), F, OBSERVATION).double()), view()
    seen.observed.train.x.requires_grad_()
    for key, loss in Reconstruction(ReconstructionConfig(), parts).losses(seen, parts).items():
        (slope,) = torch.autograd.grad(loss.sum(), seen.observed.train.x, retain_graph=True)
        assert bool((slope != 0).any(-1).all()), key


def test_reconstruction_uses_the_decoder_that_it_names_and_what_that_reads():
    class FromEmbed:
        reads = "embed"

        def __call__(self, code):
            assert code.shape[-1] == E
            return {"a": SquaredError(code[..., :3])}

    parts, seen = agent(None, vae=FromEmbed()), view()
    losses = Reconstruction(ReconstructionConfig(decoder="vae"), parts).losses(seen, parts)
    torch.testing.assert_close(losses["a"], (seen.obs["a"] - seen.embed[..., :3]).square().sum(-1))


@pytest.mark.parametrize(("name", "slot"), [(None, "decoder"), ("vae", "decoders/vae")])
def test_reconstruction_without_its_decoder_is_refused(name, slot):
    config = ReconstructionConfig(decoder=name)
    assert config.needs().slots == (slot,)
    with pytest.raises(ValueError, match=slot):
        Reconstruction(config, agent())


def loop_infonce(objective: Contrastive, seen, source: str, neighbours: int) -> torch.Tensor:
    """The definition, pair by pair, over rows numbered (b, t)."""
    states = seen.observed.train if source == "state" else seen.observed.priors
    a = objective.state_net(states).detach()
    z = objective.embed_net(seen.embed).detach()
    rows, steps = seen.batch.is_first.shape
    pairs = [(b, t) for b in range(rows) for t in range(steps)]
    first = seen.batch.is_first.tolist()

    def similarity(i, j):
        u, v = a[i], z[j]
        return (u @ v / (u.norm() * v.norm())).item() / objective.config.temperature

    def predicted(i):
        return source == "state" or (i[1] > 0 and not first[i[0]][i[1]])

    def excluded(i, j):
        same = i[0] == j[0] and not any(first[i[0]][min(i[1], j[1]) + 1 : max(i[1], j[1]) + 1])
        return same and 0 < abs(i[1] - j[1]) <= neighbours

    loss = torch.zeros(rows, steps, dtype=torch.float64)
    for i in pairs:
        if predicted(i):
            forth = sum(math.exp(similarity(i, j)) for j in pairs if not excluded(i, j))
            back = sum(math.exp(similarity(j, i)) for j in pairs if not excluded(j, i) and predicted(j))
            loss[i] = 0.5 * (math.log(forth) + math.log(back)) - similarity(i, i)
    return loss


@pytest.mark.parametrize("source", ["state", "prior"])
@pytest.mark.parametrize("neighbours", [0, 1])
def test_contrastive_equals_the_definition(source, neighbours):
    objective, seen = contrastive(source=source, neighbours=neighbours, temperature=0.5), view()
    loss = objective.losses(seen, agent())["infonce"]
    torch.testing.assert_close(loss, loop_infonce(objective, seen, source, neighbours))


def test_episode_starts_are_not_predicted():
    loss = contrastive(source="prior").losses(view(), agent())["infonce"]
    assert loss[:, 0].abs().sum() == 0
    assert loss[1, 2] == 0
    assert (loss != 0).sum() == B * T - 3


def test_a_collapsed_model_has_the_worst_loss_of_an_indifferent_one():
    """Constant states and constant embeddings cannot be told apart: the logarithm of the number of candidates."""
    seen = view()
    seen.observed.train = Plain(torch.ones(B, T, F, dtype=torch.float64))
    seen.embed = torch.ones(B, T, E, dtype=torch.float64)
    loss = contrastive().losses(seen, agent())["infonce"]
    torch.testing.assert_close(loss, torch.full((B, T), math.log(B * T), dtype=torch.float64))


def test_training_keeps_embeddings_apart():
    """From nearly collapsed networks, gradients into both sides spread the embeddings instead of joining them."""
    torch.manual_seed(0)
    encoder = torch.nn.Linear(8, E)
    dynamics = torch.nn.Linear(8, F)
    with torch.no_grad():
        encoder.weight.mul_(0.05)
        dynamics.weight.mul_(0.05)
    torch.manual_seed(0)
    objective = Contrastive(ContrastiveConfig(dim=8, units=16), agent())
    optimizer = torch.optim.Adam([*objective.parameters(), *encoder.parameters(), *dynamics.parameters()], lr=1e-2)
    world = torch.randn(8, 4, 8)
    seen = view(rows=8)

    def loss() -> torch.Tensor:
        seen.embed = encoder(world)
        seen.observed.train = Plain(dynamics(world))
        return objective.losses(seen, agent())["infonce"].mean()

    before, spread = loss().item(), seen.embed.std(0).mean().item()
    for _ in range(150):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.5 < before
    assert seen.embed.std(0).mean().item() > 3 * spread
