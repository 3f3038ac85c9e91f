"""Classes that are looked up instead of multiplied: the same numbers, and the straight-through gradient untouched.

Both paths are forced, whatever would be faster at these sizes; issue 3 asks for the comparison.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from reverie.contracts import ActionSpec, Sampling
from reverie.nn import linear
from reverie_plugins.rssm import latent as module
from reverie_plugins.rssm.config import RSSMConfig
from reverie_plugins.rssm.dynamics import RSSM

B, T, E, A = 3, 4, 5, 2


@pytest.fixture
def both(monkeypatch) -> Callable[[Callable[[], Any]], tuple[Any, Any]]:
    """What something gives when classes are looked up wherever that is allowed, and when never."""

    def run(something: Callable[[], Any]) -> tuple[Any, Any]:
        found = []
        for pays in (True, False):
            monkeypatch.setattr(module, "lookup_pays", lambda *unused, pays=pays: pays)
            found.append(something())
        return found[0], found[1]

    return run


def model() -> RSSM:
    torch.manual_seed(0)
    return RSSM(RSSMConfig(deter=6, hidden=5, groups=3, classes=4), E, ActionSpec("continuous", A)).double()


def reader(rssm: RSSM) -> torch.nn.Linear:
    """The first layer of a head."""
    torch.manual_seed(1)
    return linear(rssm.feature_size, 7).double()


def chunk() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    first = torch.zeros(B, T, dtype=torch.bool)
    first[1, 2] = True
    embed = torch.randn(B, T, E, generator=generator, dtype=torch.float64)
    return embed, torch.rand(B, T, A, generator=generator, dtype=torch.float64), first


def noise() -> Sampling:
    return Sampling(generators=[torch.Generator().manual_seed(3)])


def test_the_gradient_of_the_scan_is_the_same_by_either_path(both):
    """A loss on what a head reads of filtered states: every weight of the model, the head's, and the embedding."""
    rssm = model()
    head = reader(rssm)

    def gradients() -> tuple[Tensor, ...]:
        embed, action, first = chunk()
        embed.requires_grad_()
        states = rssm.observe(embed, action, first, sampling=noise()).states
        return torch.autograd.grad(
            states.project(head).square().sum(), [embed, *rssm.posterior.parameters(), *head.parameters()]
        )

    looked_up, multiplied = both(gradients)
    assert multiplied[0].abs().min() > 0  # the posterior of every step learns from the head, through the draw alone
    for one, other in zip(looked_up, multiplied, strict=True):
        torch.testing.assert_close(one, other)


def test_the_gradient_of_imagination_is_the_same_by_either_path(both):
    """Two imagined steps: the second reads classes that were drawn from what the action changed."""
    rssm = model()

    def gradients() -> tuple[Tensor, ...]:
        action = torch.full((B, A), 0.3, dtype=torch.float64, requires_grad=True)
        start = rssm.observe(*chunk(), sampling=noise()).last.detach()
        once = rssm.imagine(start, action, noise())
        cut = type(once)(once.deter.detach(), once.index, once.probs)  # classes are the only way that is left
        twice = rssm.imagine(cut, torch.zeros_like(action), noise())
        leaves = [action, rssm.stoch_in.weight]
        return torch.autograd.grad(twice.deter.sum(), leaves, allow_unused=True, materialize_grads=True)

    looked_up, multiplied = both(gradients)
    assert multiplied[0].abs().min() > 0
    for one, other in zip(looked_up, multiplied, strict=True):
        torch.testing.assert_close(one, other)


def test_imagining_without_a_graph_and_reading_it_are_the_same_by_either_path(both):
    """As actor and critic do: values, and the gradients of the layer that reads. From the state of an episode's
    beginning, which holds no class at all."""
    rssm = model()
    head = reader(rssm)

    def numbers() -> tuple[Tensor, ...]:
        with torch.no_grad():
            start = rssm.initial(B)
            states = [start, rssm.imagine(start, torch.ones(B, A, dtype=torch.float64), noise())]
            states.append(rssm.imagine(states[1], -torch.ones(B, A, dtype=torch.float64), noise()))
        joined = type(start).stack(states, 1)
        read = joined.project(head)
        return (joined.deter, joined.index, read, *torch.autograd.grad(read.square().sum(), list(head.parameters())))

    looked_up, multiplied = both(numbers)
    for one, other in zip(looked_up, multiplied, strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(looked_up[2][:, 0], head.bias.expand(B, -1))  # zeros were read


def test_who_looks_first_without_gradients_takes_them_from_nobody():
    rssm = model()
    states = rssm.observe(*chunk(), sampling=noise()).states
    with torch.no_grad():
        features = states.features  # kept, for the next who asks
    assert features.requires_grad
    assert states.stoch.requires_grad
    assert torch.autograd.grad(features.sum(), rssm.embed_in.weight, retain_graph=True)[0].abs().sum() > 0
    assert torch.autograd.grad(states.stoch[..., 0].sum(), rssm.embed_in.weight)[0].abs().sum() > 0
