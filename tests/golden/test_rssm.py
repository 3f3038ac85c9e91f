"""The RSSM against a reference written as the papers write it: one step at a time, nothing hoisted, float64.

Covers correctness notes 1 (is_first), 9 (which divergence), 10 (uniform share, straight-through) and 11 (the step)."""

import types

import pytest
import torch
from torch import distributions as td
from torch.nn import functional as F

from reverie.contracts import ActionSpec, Sampling
from reverie.nn.blocks import NORM_EPS
from reverie_plugins.rssm.config import KL, RSSMConfig
from reverie_plugins.rssm.dynamics import RSSM

B, T, E, A = 3, 5, 7, 2
GROUPS, CLASSES = 3, 4
KINDS = ["categorical", "gaussian"]


def make(latent: str, action: str = "continuous", **options) -> RSSM:
    torch.manual_seed(0)
    config = RSSMConfig(latent=latent, deter=6, hidden=5, groups=GROUPS, classes=CLASSES, layers=2, **options)
    rssm = RSSM(config, E, ActionSpec(action, A)).double()
    with torch.no_grad():  # gains and offsets that are not 1 and 0
        for parameter in rssm.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return rssm


def chunk() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    embed = torch.randn(B, T, E, generator=generator, dtype=torch.float64)
    action = torch.rand(B, T, A, generator=generator, dtype=torch.float64) * 2 - 1
    is_first = torch.zeros(B, T, dtype=torch.bool)
    is_first[:, 0] = torch.tensor([True, False, True])
    is_first[1, 3] = True
    return embed, action, is_first


class Reference:
    """The equations, with the module's weights joined into the matrices that the papers draw."""

    def __init__(self, rssm: RSSM, latent: str) -> None:
        self.latent = latent
        self.w = dict(rssm.named_parameters())
        self.into_cell = torch.cat([self.w["stoch_in.weight"], self.w["action_in.weight"]], 1)
        self.into_posterior = torch.cat([self.w["deter_in.weight"], self.w["embed_in.weight"]], 1)

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + NORM_EPS).sqrt()
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def silu(self, x: torch.Tensor) -> torch.Tensor:
        return x / (1 + (-x).exp())

    def tail(self, x: torch.Tensor, name: str, hidden: int) -> torch.Tensor:
        for index in range(hidden):
            x = self.silu(
                self.norm(x @ self.w[f"{name}.hidden.{index}.linear.weight"].T, f"{name}.hidden.{index}.norm")
            )
        return x @ self.w[f"{name}.output.weight"].T + self.w[f"{name}.output.bias"]

    def step(self, deter, stoch, action):
        x = self.silu(self.norm(torch.cat([stoch.flatten(1), action], 1) @ self.into_cell.T, "input_norm"))
        gates = self.norm(torch.cat([x, deter], 1) @ self.w["cell.linear.weight"].T, "cell.norm")
        reset, candidate, update = gates.split(deter.shape[1], 1)
        update = 1 / (1 + (1 - update).exp())
        return update * torch.tanh(candidate / (1 + (-reset).exp())) + (1 - update) * deter

    def prior(self, deter):
        return self.distribution(self.tail(deter, "prior", 2))

    def posterior(self, deter, embed):
        x = self.silu(self.norm(torch.cat([deter, embed], 1) @ self.into_posterior.T, "posterior_norm"))
        return self.distribution(self.tail(x, "posterior", 1))

    def distribution(self, out):
        if self.latent == "gaussian":
            mean, raw = out.split(GROUPS, 1)
            return td.Independent(td.Normal(mean, (1 + raw.exp()).log() + 0.1), 1)
        probs = 0.99 * out.reshape(-1, GROUPS, CLASSES).softmax(-1) + 0.01 / CLASSES
        return td.Independent(td.OneHotCategorical(probs=probs), 1)

    def mode(self, distribution):
        if self.latent == "gaussian":
            return distribution.mean
        probs = distribution.base_dist.probs
        return F.one_hot(probs.argmax(-1), CLASSES).to(probs) + probs - probs.detach()

    def observe(self, embed, action, is_first):
        rows = len(embed)
        deter = torch.zeros(rows, 6, dtype=torch.float64)
        shape = (rows, GROUPS) if self.latent == "gaussian" else (rows, GROUPS, CLASSES)
        stoch = torch.zeros(shape, dtype=torch.float64)
        found = []
        for t in range(embed.shape[1]):
            keep = 1.0 - is_first[:, t].double()
            deter = deter * keep[:, None]
            stoch = stoch * keep.reshape(rows, *(1,) * (stoch.dim() - 1))
            deter = self.step(deter, stoch, action[:, t] * keep[:, None])
            prior, post = self.prior(deter), self.posterior(deter, embed[:, t])
            stoch = self.mode(post)
            found.append((deter, stoch, post, prior))
        return found


@pytest.mark.parametrize("latent", KINDS)
def test_filtering_equals_the_reference(latent):
    rssm = make(latent)
    embed, action, is_first = chunk()
    observed = rssm.observe(embed, action, is_first, sampling=Sampling("mode"))
    for t, (deter, stoch, post, prior) in enumerate(Reference(rssm, latent).observe(embed, action, is_first)):
        torch.testing.assert_close(observed.states.deter[:, t], deter)
        torch.testing.assert_close(observed.states.stoch[:, t], stoch)
        if latent == "categorical":
            torch.testing.assert_close(observed.states.probs[:, t], post.base_dist.probs)
            torch.testing.assert_close(observed.priors.probs[:, t], prior.base_dist.probs)
        else:
            torch.testing.assert_close(observed.states.std[:, t], post.stddev)
            torch.testing.assert_close(observed.priors.mean[:, t], prior.mean)
    torch.testing.assert_close(observed.last.features, observed.states.features[:, -1])


@pytest.mark.parametrize("latent", KINDS)
def test_gradients_equal_the_reference(latent):
    """The straight-through gradient runs through every step of the chunk, for every weight."""
    rssm = make(latent)
    embed, action, is_first = chunk()
    weight = torch.randn(rssm.feature_size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    observed = rssm.observe(embed, action, is_first, sampling=Sampling("mode"))
    names, parameters = zip(*rssm.named_parameters(), strict=True)
    got = torch.autograd.grad((observed.states.features @ weight).sum(), parameters, allow_unused=True)
    found = Reference(rssm, latent).observe(embed, action, is_first)
    features = torch.stack([torch.cat([deter, stoch.flatten(1)], 1) for deter, stoch, _, _ in found], 1)
    expected = torch.autograd.grad((features @ weight).sum(), parameters, allow_unused=True)
    for name, mine, theirs in zip(names, got, expected, strict=True):
        assert (mine is None) == (theirs is None), name
        if mine is not None:
            torch.testing.assert_close(mine, theirs, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("latent", KINDS)
@pytest.mark.parametrize("free", ["each", "mean", "element"])
def test_losses_equal_torch_divergences_of_the_reference(latent, free):
    nats = {"categorical": 0.5, "gaussian": 1.5}[latent]
    rssm = make(latent, kl=KL(free=free, free_nats=nats, dyn=0.7, rep=0.2, scale=0.3))
    embed, action, is_first = chunk()
    observed = rssm.observe(embed, action, is_first, sampling=Sampling("mode"))
    losses = rssm.losses(types.SimpleNamespace(observed=observed))
    found = Reference(rssm, latent).observe(embed, action, is_first)
    kl = torch.stack([td.kl_divergence(post, prior) for _, _, post, prior in found], 1)  # (B, T)
    assert kl.min() < nats < kl.max()  # so that the floor matters at some steps and not at others
    if free == "each":
        torch.testing.assert_close(losses["kl_dyn"], 0.7 * kl.clamp_min(nats))
        torch.testing.assert_close(losses["kl_rep"], 0.2 * kl.clamp_min(nats))
    elif free == "mean":
        torch.testing.assert_close(losses["kl"].mean(), 0.3 * kl.mean().clamp_min(nats))
    else:
        torch.testing.assert_close(losses["kl"], 0.3 * (kl - nats).clamp_min(0))


@pytest.mark.parametrize("latent", KINDS)
def test_is_first_clears_deter_stoch_and_action(latent):
    """Poison all three with NaN and with numbers: neither may be felt behind the border."""
    rssm = make(latent)
    embed, action, is_first = chunk()
    is_first[:, 0] = True
    clean = rssm.observe(embed, action, is_first, sampling=Sampling("mode"))
    for poison in (float("nan"), 0.9):
        poisoned = action.clone()
        poisoned[is_first] = poison
        carried = rssm.initial(B).map(
            lambda value, poison=poison: torch.full_like(value, poison if value.is_floating_point() else 1)
        )
        dirty = rssm.observe(embed, poisoned, is_first, carried, sampling=Sampling("mode"))
        for name, value in clean.states.tensors().items():
            assert torch.equal(value, dirty.states.tensors()[name]), name


@pytest.mark.parametrize("latent", KINDS)
def test_without_is_first_everything_is_felt(latent):
    rssm = make(latent)
    embed, action, is_first = chunk()
    is_first[:] = False
    start = rssm.initial(B)
    base = rssm.observe(embed, action, is_first, start, sampling=Sampling("mode")).states.deter
    changes = {"deter": start.deter + 0.5}
    changes |= {"index": start.index - 1} if latent == "categorical" else {"stoch": start.stoch + 0.5}
    for field, value in changes.items():
        changed = type(start)(**{**start.tensors(), field: value})
        assert not torch.equal(
            rssm.observe(embed, action, is_first, changed, sampling=Sampling("mode")).states.deter, base
        )
    assert not torch.equal(
        rssm.observe(embed, action + 0.1, is_first, start, sampling=Sampling("mode")).states.deter, base
    )


@pytest.mark.parametrize("latent", KINDS)
def test_an_imagined_step_is_the_prior_that_is_trained(latent):
    rssm = make(latent)
    embed, action, is_first = chunk()
    is_first[:] = False
    observed = rssm.observe(embed, action, is_first, sampling=Sampling("mode"))
    step = rssm.imagine(observed.states[:, 1], action[:, 2], Sampling("mode"))
    for name, value in step.tensors().items():
        torch.testing.assert_close(value, observed.priors.tensors()[name][:, 2])


def test_actions_beyond_the_bounds_are_seen_clipped_and_keep_their_gradient():
    """Note 17: an actor's draw of 1.7 is executed as 1; the gradient of the draw still reaches the actor."""
    rssm = make("gaussian")
    state = rssm.initial(1)
    beyond = torch.tensor([[1.7, -0.4]], dtype=torch.float64, requires_grad=True)
    edge = torch.tensor([[1.0, -0.4]], dtype=torch.float64)
    got = rssm.imagine(state, beyond, Sampling("mode"))
    torch.testing.assert_close(got.deter, rssm.imagine(state, edge, Sampling("mode")).deter)
    gradient = torch.autograd.grad(got.deter.sum(), beyond)[0]
    assert gradient.abs().min() > 0


def test_gaussian_standard_deviation_has_its_floor():
    rssm = make("gaussian")
    distribution = rssm.family.distribution(torch.full((1, 2 * GROUPS), -50.0))
    torch.testing.assert_close(distribution.std, torch.full((1, GROUPS), 0.1))
