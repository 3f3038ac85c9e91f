"""World Models' formulas (notes 25 to 27) by independent routes: float64, torch.distributions, hand-worked numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch import distributions as td
from torch.nn import functional as F

from reverie.assembly.rehearsal import Rehearsal
from reverie.contracts import ActionSpec, ArraySpec, ObservationSpec, Sampling, Transition, View
from reverie.testing.toys import ToyAgent, point_latent, toy_batch
from reverie_plugins.evolution.actor import LinearActor
from reverie_plugins.evolution.config import EvolutionConfig, LinearActorConfig
from reverie_plugins.evolution.learner import Evolution
from reverie_plugins.evolution.population import Population
from reverie_plugins.mdn_rnn.config import MDNRNNConfig
from reverie_plugins.mdn_rnn.dynamics import MDNRNN
from reverie_plugins.mdn_rnn.mixture import NormalMixture
from reverie_plugins.policies.actor import MLPActor
from reverie_plugins.policies.config import MLPActorConfig
from reverie_plugins.vae.config import VAEDecoderConfig, VAEEncoderConfig, VAELossConfig
from reverie_plugins.vae.decoder import VAEDecoder
from reverie_plugins.vae.encoder import VAEEncoder
from reverie_plugins.vae.objective import VAELoss

SPACE = ObservationSpec({"state": ArraySpec((3,), "float32"), "camera": ArraySpec((16, 16, 3), "uint8", 0, 255)})
CODE = 5


def seeded(*seeds: int) -> Sampling:
    return Sampling(generators=[torch.Generator().manual_seed(seed) for seed in seeds])


def autoencoder(**options: Any) -> tuple[ToyAgent, VAELoss]:
    torch.manual_seed(0)
    encoder = VAEEncoder(VAEEncoderConfig(latent=CODE, depth=2, units=8), SPACE)
    decoder = VAEDecoder(VAEDecoderConfig(depth=2, units=8, image_scale=3.0, vector_scale=0.5), CODE, SPACE)
    with torch.no_grad():  # frames whose divergence lies below the floor beside frames above it
        encoder.outputs.weight.mul_(3.0)
        encoder.outputs.bias.normal_(std=0.3)
    agent = ToyAgent(SPACE, encoder=encoder, decoder=decoder).double()
    return agent, VAELoss(VAELossConfig(**options), agent)


def frames(seed: int = 3) -> Any:
    batch = toy_batch(4, 6, SPACE, seed=seed)
    batch.obs["camera"][:] = torch.randint(0, 256, batch.obs["camera"].shape, dtype=torch.uint8)
    batch.obs["state"][::2] *= 0.05
    return batch


# -- V (note 25) -----------------------------------------------------------------------------------------------------


def test_the_loss_of_the_autoencoder_is_sums_over_pixels_and_a_floored_divergence_per_frame() -> None:
    agent, objective = autoencoder(free=0.5, beta=2.0)
    view = View(frames(), agent, seeded(1))
    found = objective.losses(view, agent)
    posterior, predicted = agent.encoder.posterior(view.obs), agent.decoder(view.embed)
    floored = 0
    for b in range(4):
        for t in range(6):
            for key, scale in (("state", 0.5), ("camera", 3.0)):
                error = 0.0
                for mine, true in zip(
                    predicted[key].mean[b, t].flatten().tolist(), view.obs[key][b, t].flatten().tolist(), strict=True
                ):
                    error += scale * (mine - true) ** 2
                assert found[key][b, t].item() == pytest.approx(error, rel=1e-9)
            each = td.kl_divergence(td.Normal(posterior.mean[b, t], posterior.std[b, t]), td.Normal(0.0, 1.0))
            divergence = each.sum().item()
            floored += divergence < 0.5 * CODE
            assert found["kl"][b, t].item() == pytest.approx(2.0 * max(divergence, 0.5 * CODE), rel=1e-9)
    assert 0 < floored < 24, "the batch must have frames on both sides of the floor"


def test_each_pass_over_the_same_frames_draws_the_code_anew() -> None:
    agent, _ = autoencoder()
    batch = frames()
    first, second = (View(batch, agent, seeded(seed)) for seed in (1, 2))
    assert torch.equal(first.posterior.mean, second.posterior.mean)
    std = first.posterior.std  # type: ignore[attr-defined]
    noise = [(view.embed - view.posterior.mean) / std for view in (first, second)]
    expected = [torch.randn(4, 6, CODE, generator=torch.Generator().manual_seed(seed)).double() for seed in (1, 2)]
    for drawn, known in zip(noise, expected, strict=True):
        assert torch.allclose(drawn, known, atol=1e-6)


# -- M (note 26) -----------------------------------------------------------------------------------------------------


def mixture(seed: int = 0, batch: tuple[int, ...] = (3, 4), size: int = 5, components: int = 4) -> NormalMixture:
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(*batch, size, components, generator=generator, dtype=torch.float64) for _ in range(3)]
    return NormalMixture(2 * parts[0], 2 * parts[1], 0.5 * parts[2])


def reference(found: NormalMixture) -> td.Independent:
    parts = td.Normal(found.means, found.log_std.exp())
    return td.Independent(td.MixtureSameFamily(td.Categorical(logits=found.log_weights), parts), 1)


def test_the_likelihood_is_torchs_mixture() -> None:
    found = mixture()
    value = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64) * 3
    expected = reference(found)
    assert torch.allclose(found.log_prob(value), expected.log_prob(value), rtol=1e-10)
    assert torch.allclose(found.mean, expected.mean, rtol=1e-10)
    assert torch.allclose(found.std, expected.variance.sqrt(), rtol=1e-10)


def test_far_values_have_a_finite_likelihood() -> None:
    """Summing densities before the logarithm would underflow to log(0)."""
    value = torch.full((3, 4, 5), 1e4, dtype=torch.float64)
    assert torch.isfinite(mixture().log_prob(value)).all()


def test_the_mode_is_the_component_where_the_density_is_highest() -> None:
    narrow = NormalMixture(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[-1.0, 2.0]]]), torch.tensor([[[-3.0, 1.0]]]))
    assert narrow.mode.item() == -1.0  # less weight, but a far higher peak


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
def test_temperature_divides_log_weights_and_multiplies_variances(temperature: float) -> None:
    """By hand: weights 0.8 and 0.2 to the power of 1 / temperature, renormalised; deviations times its root."""
    weights, std = np.array([0.8, 0.2]), np.array([0.5, 2.0])
    plain = NormalMixture(
        torch.log(torch.tensor(weights)).reshape(1, 1, 2),
        torch.tensor([[[-1.0, 1.0]]], dtype=torch.float64),
        torch.log(torch.tensor(std)).reshape(1, 1, 2),
    )
    cooled = plain.cooled(temperature)
    powered = weights ** (1 / temperature)
    powered /= powered.sum()
    assert cooled.log_weights.exp().flatten().numpy() == pytest.approx(powered)
    entropy = -(powered * np.log(powered)).sum()
    assert td.Categorical(logits=cooled.log_weights).entropy().item() == pytest.approx(entropy)
    gaussian = 0.5 * np.log(2 * np.pi * np.e * temperature * std**2)
    assert td.Normal(0.0, cooled.log_std.exp()).entropy().flatten().numpy() == pytest.approx(gaussian)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_have_the_density(temperature: float) -> None:
    """Kolmogorov and Smirnov, against the distribution function of the mixture at that temperature."""
    one = mixture(seed=2, batch=(1,), size=1, components=3)
    many = NormalMixture(*(part.expand(20_000, 1, 3) for part in (one.log_weights, one.means, one.log_std)))
    drawn = many.draw(Sampling(temperature=temperature, generators=[torch.Generator().manual_seed(5)]))
    weights = one.log_weights[0, 0].exp().numpy() ** (1 / temperature)
    weights /= weights.sum()
    means, std = one.means[0, 0].numpy(), one.log_std[0, 0].exp().numpy() * math.sqrt(temperature)

    def cumulative(x: Any) -> Any:
        return sum(w * stats.norm.cdf(x, m, s) for w, m, s in zip(weights, means, std, strict=True))

    assert stats.kstest(drawn.flatten().numpy(), cumulative).pvalue > 0.01
    wrong = stats.kstest(drawn.flatten().numpy(), lambda x: stats.norm.cdf(x, drawn.mean(), drawn.std()))
    assert wrong.pvalue < 1e-6, "the test could not tell a mixture from a normal"


def made(action: ActionSpec | None = None, **options: Any) -> MDNRNN:
    torch.manual_seed(0)
    return MDNRNN(MDNRNNConfig(hidden=7, components=3, **options), CODE, action or ActionSpec("continuous", 2)).double()


def test_standard_deviations_keep_their_bounds() -> None:
    dynamics = made(min_log_std=-1.0, max_log_std=0.5)
    with torch.no_grad():
        dynamics.outputs.weight.mul_(100.0)
    log_std = dynamics.mixture(torch.randn(50, 7).double(), torch.zeros(50, CODE).double()).log_std
    assert log_std.min().item() == -1.0
    assert log_std.max().item() == 0.5


def paper_loop(dynamics: MDNRNN, z: Tensor, taken: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The paper's rollout of one episode: at each step the controller sees [z, h], acts, and h is updated with its
    action. `taken[k]` is the action chosen at step k. Returns what the controller saw, and -log p of each later z."""
    cell = dynamics.cell
    weights = (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    h = c = torch.zeros(7, dtype=torch.float64)

    def update(x: Tensor) -> tuple[Tensor, Tensor]:
        gates = weights[0] @ x + weights[2] + weights[1] @ h + weights[3]
        i, f, g, o = gates.chunk(4)
        after = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(after), after

    h, c = update(torch.zeros(CODE + taken.shape[-1], dtype=torch.float64))  # the beginning: no code, no action
    seen, nlls = [], []
    for step in range(len(z)):
        if step > 0:
            nlls.append(-density(dynamics, h, z[step - 1]).log_prob(z[step]))
        seen.append(torch.cat((z[step], h)))
        h, c = update(torch.cat((z[step], taken[step])))
    return seen, nlls


def density(dynamics: MDNRNN, h: Tensor, before: Tensor) -> td.Distribution:
    """The mixture of the next code, by torch, from the plain output layer."""
    logits, means, log_std = (dynamics.outputs.weight @ h + dynamics.outputs.bias).reshape(3, CODE, 3)
    if dynamics.config.predicts == "change":
        means = means + before[:, None]
    mixed = td.MixtureSameFamily(td.Categorical(logits=logits), td.Normal(means, log_std.clamp(-7, 3).exp()))
    return td.Independent(mixed, 1)


# -- C (note 27) -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("predicts", ["next", "change"])
def test_the_controller_sees_h_before_its_update_by_the_action_that_it_chooses(predicts: str) -> None:
    """Arrival-aligned rows beside the paper's loop: `action[t]` led to z[t], so the controller at t sees an h that has
    read `action[t]` and not `action[t + 1]`, which is the one it chooses."""
    dynamics = made(predicts=predicts)
    generator = torch.Generator().manual_seed(4)
    z = torch.randn(6, CODE, generator=generator, dtype=torch.float64)
    action = torch.rand(6, 2, generator=generator, dtype=torch.float64) * 2 - 1
    is_first = torch.tensor([[True] + [False] * 5])
    observed = dynamics.observe(z[None], action[None], is_first, sampling=Sampling(mode="mode"))
    taken = torch.cat((action[1:], action[:1]))  # the action chosen at t arrives at t + 1; the last one never does
    seen, _ = paper_loop(dynamics, z, taken)
    assert torch.allclose(observed.states.features[0], torch.stack(seen), rtol=1e-10)
    later = action.clone()
    later[4] *= -1
    moved = dynamics.observe(z[None], later[None], is_first, sampling=Sampling(mode="mode")).states.features[0]
    assert torch.equal(moved[:4], observed.states.features[0, :4])
    assert not torch.allclose(moved[4], observed.states.features[0, 4])


@pytest.mark.parametrize("predicts", ["next", "change"])
def test_the_loss_is_that_of_the_papers_loop_and_zero_where_nothing_predicts(predicts: str) -> None:
    dynamics = made(predicts=predicts)
    encoder = VAEEncoder(VAEEncoderConfig(latent=CODE, units=8), ObservationSpec({"state": SPACE["state"]}))
    agent = ToyAgent(ObservationSpec({"state": SPACE["state"]}), encoder=encoder, dynamics=dynamics).double()
    batch = toy_batch(3, 7, agent.observation, seed=6)
    batch = type(batch)(**{**batch.__dict__, "action": batch.action.double()})
    batch.is_first[:] = False
    batch.is_first[1, 3] = True
    view = View(batch, agent, seeded(2))
    found = dynamics.losses(view)["nll"]
    for row, borders in ((0, [0, 7]), (1, [0, 3, 7]), (2, [0, 7])):
        for begin, end in pairwise(borders):
            z, action = view.embed[row, begin:end], batch.action[row, begin:end]
            _, nlls = paper_loop(dynamics, z, torch.cat((action[1:], action[:1])))
            assert found[row, begin].item() == 0.0
            assert torch.allclose(found[row, begin + 1 : end], torch.stack(nlls), rtol=1e-9)


class Told(Rehearsal):
    """A context that keeps what is logged."""

    def log(self, name: str, value: float | Tensor) -> None:
        self.__dict__.setdefault("logged", {})[name] = float(value)


def evolving(**options: Any) -> tuple[Evolution, Told]:
    torch.manual_seed(0)
    agent = ToyAgent(ObservationSpec({"state": SPACE["state"]}))
    settings = {"population": 4, "rollouts": 6, "horizon": 5, "context": 3, "temperature": 2.0, **options}
    context = Told(agent, seeded(3), agent.imagination)
    return Evolution(EvolutionConfig(**settings), agent), context


def test_equal_candidates_have_equal_luck_and_a_score_is_the_mean_of_several_dreams() -> None:
    """All candidates of a generation meet the same starts and the same noise."""
    learner, context = evolving()
    weights = np.random.default_rng(0).normal(size=(1, sum(p.numel() for p in learner.trained(context.agent))))
    scores = learner._dreamed(context, weights.repeat(4, 0))
    assert np.ptp(scores) < 1e-6
    single = []
    for start in range(6):
        learner, context = evolving()
        view = context.experience(6, 3)
        begun = view.observed.last  # its noise is drawn before that of the dream
        single.append(_one_dream(context, view, begun, weights[0], start))
    assert np.ptp(single) > 1e-3
    assert scores[0] == pytest.approx(np.mean(single), rel=1e-4)


def _one_dream(context: Told, view: View, state: Any, weights: np.ndarray, start: int) -> float:
    """One start among six, step by step: the sum of expected rewards, each times the chance of having come so far."""
    agent = context.agent
    torch.nn.utils.vector_to_parameters(torch.from_numpy(weights).float(), agent.module("actor").parameters())
    sampling = replace(context.sampling, temperature=2.0)
    total, weight = 0.0, view.batch.cont[start, -1].item()
    with torch.no_grad():
        for _ in range(5):
            state = agent.dynamics.imagine(state, agent.actor.policy(state).mode, sampling)
            after = Transition(before=None, action=None, after=state)
            total += weight * agent.heads["reward"](after).mean[start].item()
            weight *= agent.heads["continue"](after).mean[start].item()
    return total


def test_discrete_actions_are_the_largest_output_of_each_candidate() -> None:
    for kind in ("discrete", "continuous"):
        actor = LinearActor(LinearActorConfig(), 4, ActionSpec(kind, 3))  # type: ignore[arg-type]
        weights = torch.randn(5, 4 * 3 + 3, generator=torch.Generator().manual_seed(0))
        x = torch.randn(2 * 5, 4, generator=torch.Generator().manual_seed(1))
        found = Population(actor, weights, kind == "discrete").act(point_latent(x))
        for row in range(10):
            one = weights[row % 5]
            output = one[:12].reshape(3, 4) @ x[row] + one[12:]
            expected = F.one_hot(output.argmax(), 3).float() if kind == "discrete" else torch.tanh(output)
            assert torch.allclose(found[row], expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_candidates_of_a_network_act_as_each_would_alone(kind: str) -> None:
    torch.manual_seed(0)
    actor = MLPActor(MLPActorConfig(units=6), 4, ActionSpec(kind, 3))  # type: ignore[arg-type]
    states = point_latent(torch.randn(2 * 5, 4))
    weights = torch.randn(5, sum(p.numel() for p in actor.parameters()))
    together = Population(actor, weights, kind == "discrete").act(states)
    for candidate in range(5):
        torch.nn.utils.vector_to_parameters(weights[candidate], actor.parameters())
        alone = actor.policy(states).mode.detach()
        assert torch.allclose(together[candidate::5], alone[candidate::5], atol=1e-5)


def forked(generator: torch.Generator, B: int, T: int) -> tuple[Tensor, Tensor]:
    """A system with two futures: z = 1.0 a with a chance of 0.7, else z = -0.5 a, each with a deviation of 0.05; the
    action a is -1 or 1. Returns z and a, each (B, T, 1)."""
    a = torch.randint(2, (B, T, 1), generator=generator) * 2.0 - 1.0
    first = torch.rand(B, T, 1, generator=generator) < 0.7
    return torch.where(first, a, -0.5 * a) + 0.05 * torch.randn(B, T, 1, generator=generator), a


def test_both_futures_of_a_forked_system_are_found_with_their_weights() -> None:
    """The likelihood is fitted through `losses`, the futures are counted in draws of `imagine`."""
    torch.manual_seed(0)
    dynamics = MDNRNN(MDNRNNConfig(hidden=16, components=5), 1, ActionSpec("continuous", 1))
    generator, sampling = torch.Generator().manual_seed(1), seeded(2)
    optimizer = torch.optim.Adam(dynamics.parameters(), lr=1e-2)
    is_first = torch.zeros(64, 8, dtype=torch.bool)
    is_first[:, 0] = True
    for _ in range(400):
        z, a = forked(generator, 64, 8)
        observed = dynamics.observe(z, a, is_first, sampling=sampling)
        view: Any = SimpleNamespace(observed=observed, batch=SimpleNamespace(is_first=is_first))
        optimizer.zero_grad()
        dynamics.losses(view)["nll"].mean().backward()
        optimizer.step()
    z, a = forked(generator, 4000, 8)
    with torch.no_grad():
        last = dynamics.observe(z, a, is_first[:1].expand(4000, 8), sampling=sampling).last
        for action in (-1.0, 1.0):
            drawn = action * dynamics.imagine(last, torch.full((4000, 1), action), sampling).z.squeeze(-1)  # (4000,)
            likely = drawn > 0.25
            assert likely.float().mean().item() == pytest.approx(0.7, abs=0.04)
            assert drawn[likely].mean().item() == pytest.approx(1.0, abs=0.03)
            assert drawn[~likely].mean().item() == pytest.approx(-0.5, abs=0.03)
            assert 0.03 < drawn[likely].std().item() < 0.09
            assert 0.03 < drawn[~likely].std().item() < 0.09
