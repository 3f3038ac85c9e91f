"""What the RSSM promises besides its formulas: sampling, chunks, shapes, independence of rows."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from reverie.contracts import ActionSpec, Sampling
from reverie_plugins.rssm.config import KL, RSSMConfig
from reverie_plugins.rssm.dynamics import RSSM

KINDS = ["categorical", "gaussian"]
B, T, E, A = 4, 6, 5, 2


@pytest.fixture(params=KINDS)
def rssm(request) -> RSSM:
    torch.manual_seed(0)
    config = RSSMConfig(latent=request.param, deter=6, hidden=5, groups=3, classes=4)
    return RSSM(config, E, ActionSpec("continuous", A))


def data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    is_first = torch.zeros(B, T, dtype=torch.bool)
    is_first[2, 3] = True
    return torch.randn(B, T, E, generator=generator), torch.rand(B, T, A, generator=generator), is_first


def seeded(n: int = 1) -> Sampling:
    return Sampling(generators=[torch.Generator().manual_seed(seed) for seed in range(n)])


def test_shapes(rssm: RSSM):
    observed = rssm.observe(*data(), sampling=seeded())
    assert observed.states.batch_shape == observed.priors.batch_shape == (B, T)
    assert observed.last.batch_shape == rssm.initial(B).batch_shape == (B,)
    assert observed.states.features.shape == (B, T, rssm.feature_size)
    assert observed.states.code.shape == (B, T, rssm.code_size)
    assert observed.train is observed.states


def test_observing_in_chunks_equals_observing_whole_noise_included(rssm: RSSM):
    embed, action, is_first = data()
    whole = rssm.observe(embed, action, is_first, sampling=seeded())
    sampling = seeded()
    first = rssm.observe(embed[:, :2], action[:, :2], is_first[:, :2], sampling=sampling)
    second = rssm.observe(embed[:, 2:], action[:, 2:], is_first[:, 2:], first.last, sampling=sampling)
    for part in ("states", "priors"):
        joined = type(first.last).cat([getattr(first, part), getattr(second, part)], 1)
        for name, value in getattr(whole, part).tensors().items():
            torch.testing.assert_close(joined.tensors()[name], value)


def test_posterior_and_prior_of_a_step_are_drawn_from_noise_of_their_own():
    torch.manual_seed(0)
    rssm = RSSM(RSSMConfig(latent="gaussian", deter=6, hidden=5, groups=3), E, ActionSpec("continuous", A))
    observed = rssm.observe(*data(), sampling=seeded())
    posterior, prior = (((s.stoch - s.mean) / s.std).flatten(0, 1) for s in (observed.states, observed.priors))
    everything = torch.cat([posterior, prior]).flatten()
    nearest = (everything[:, None] - everything[None] + torch.eye(len(everything))).abs().min()
    assert nearest > 1e-6


def test_rows_do_not_touch_each_other(rssm: RSSM):
    """With a generator per environment, one row alone gives what it gives beside others."""
    embed, action, is_first = data()
    together = rssm.observe(embed, action, is_first, sampling=seeded(B))
    alone = rssm.observe(
        embed[2:3], action[2:3], is_first[2:3], sampling=Sampling(generators=[torch.Generator().manual_seed(2)])
    )
    for name, value in alone.states.tensors().items():
        torch.testing.assert_close(together.states.tensors()[name][2:3], value)


def test_the_future_is_not_seen(rssm: RSSM):
    embed, action, is_first = data()
    changed = embed.clone()
    changed[:, 4:] += 1
    before = rssm.observe(embed, action, is_first, sampling=seeded()).states
    after = rssm.observe(changed, action, is_first, sampling=seeded()).states
    assert torch.equal(before.features[:, :4], after.features[:, :4])
    assert not torch.equal(before.features[:, 4], after.features[:, 4])


def test_the_prior_does_not_see_its_own_observation(rssm: RSSM):
    embed, action, is_first = data()
    changed = embed.clone()
    changed[:, 3] += 1
    before = rssm.observe(embed, action, is_first, sampling=seeded()).priors
    after = rssm.observe(changed, action, is_first, sampling=seeded()).priors
    assert torch.equal(before.features[:, 3], after.features[:, 3])


def test_mode_draws_nothing(rssm: RSSM):
    state = torch.get_rng_state()
    rssm.imagine(rssm.observe(*data(), sampling=Sampling("mode")).last, torch.zeros(B, A), Sampling("mode"))
    assert torch.equal(state, torch.get_rng_state())


def test_imagined_draws_follow_the_prior(rssm: RSSM):
    state = rssm.observe(*data(), sampling=seeded()).last[:1].repeat(20_000)
    drawn = rssm.imagine(state, torch.zeros(20_000, A), seeded())
    expected = drawn.distribution.mean[0]
    torch.testing.assert_close(drawn.stoch.mean(0), expected, atol=0.03, rtol=0)


def test_gradients_reach_the_action_and_the_state(rssm: RSSM):
    action = torch.zeros(B, A, requires_grad=True)
    deter = torch.zeros(B, 6, requires_grad=True)
    start = type(rssm.initial(B))(**{**rssm.initial(B).tensors(), "deter": deter})
    last = rssm.imagine(rssm.imagine(start, action, seeded()), torch.zeros(B, A), seeded())
    for gradient in torch.autograd.grad(last.features.square().sum(), (action, deter)):
        assert gradient.abs().sum() > 0


def test_one_hot_actions_pass_unchanged():
    torch.manual_seed(0)
    rssm = RSSM(RSSMConfig(deter=6, hidden=5), E, ActionSpec("discrete", 3))
    assert rssm._project_action(torch.eye(3)).T.shape == rssm.action_in.weight.shape
    torch.testing.assert_close(rssm._project_action(torch.eye(3)).T, rssm.action_in.weight)


@pytest.mark.parametrize("size", list(RSSMConfig.presets))
@pytest.mark.parametrize("latent", KINDS)
def test_presets_are_valid_for_both_kinds(size, latent):
    config = RSSMConfig(**{**RSSMConfig.presets[size], "latent": latent})
    assert config.stoch_size > 0


def test_balance_without_a_single_term_is_refused():
    with pytest.raises(ValueError, match="balance"):
        KL(balance=0.8)
    assert KL(balance=0.8, free="mean", free_nats=0.0).balance == 0.8


@pytest.mark.parametrize("latent", KINDS)
@pytest.mark.parametrize("norm", ["layer", "rms", "none"])
def test_mixed_precision_keeps_states_in_full_precision(latent, norm):
    torch.manual_seed(0)
    rssm = RSSM(RSSMConfig(latent=latent, deter=6, hidden=5, norm=norm), E, ActionSpec("continuous", A))
    with torch.autocast("cpu", torch.bfloat16):
        observed = rssm.observe(*data(), sampling=seeded())
        imagined = rssm.imagine(observed.last, torch.zeros(B, A), seeded())
        losses = rssm.losses(SimpleNamespace(observed=observed))
    assert observed.states.deter.dtype == imagined.deter.dtype == torch.float32
    (sum(loss.mean() for loss in losses.values()) + imagined.features.float().sum()).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in rssm.parameters())


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "none", "activation": "elu", "latent": "gaussian"},
        {"cell": "standard", "norm": "none", "latent": "gaussian"},
        {"blocks": 4, "norm": "rms"},
    ],
)
def test_a_fan_of_actions_is_imagined_as_one_by_one(options: dict[str, Any], grad: bool):
    """What all actions of a state share is computed once, and nothing else differs: the noise neither."""
    torch.manual_seed(0)
    config = RSSMConfig(**{"deter": 8, "hidden": 6, "groups": 3, "classes": 4, **options})
    dynamics = RSSM(config, 5, ActionSpec("continuous", 2))
    state = dynamics.initial(3)
    state = state.map(
        lambda value: torch.randn(value.shape) if value.is_floating_point() else torch.randint(5, value.shape)
    )
    actions = torch.rand(12, 2) * 2 - 1
    with torch.set_grad_enabled(grad):
        found, wanted = (
            step(Sampling(generators=[torch.Generator().manual_seed(row) for row in range(3)]))
            for step in (
                lambda sampling: dynamics.fan(state, 4, actions, sampling),
                lambda sampling: dynamics.imagine(state.repeat(4), actions, sampling),
            )
        )
    for name, value in wanted.tensors().items():
        torch.testing.assert_close(found.tensors()[name], value)
