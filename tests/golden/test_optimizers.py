"""LaProp, adaptive clipping, warm-up and fall of the rate (note 13), against loops over Python floats."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn

from reverie.nn import LaProp, OptimizerName, clip_adaptively, make_optimizers, schedule_rate

GRADIENTS = [[0.5, -2.0], [0.1, 30.0], [-4.0, 0.0], [1e-3, 1e-3], [0.2, -0.7]]


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def step(optimizer: torch.optim.Optimizer, weight: nn.Parameter, gradient: list[float] | None) -> None:
    weight.grad = None if gradient is None else torch.tensor(gradient, dtype=weight.dtype)
    optimizer.step()


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_laprop_by_hand(decay: float):
    """The moments are written as weighted sums over the whole history, not as the recursion."""
    lr, eps, first, second = 0.01, 1e-3, 0.8, 0.95
    weight = parameter(1.0, -3.0)
    optimizer = LaProp([weight], lr, eps, (first, second), decay)
    for gradient in GRADIENTS:
        step(optimizer, weight, gradient)
    for i, value in enumerate([1.0, -3.0]):
        units: list[float] = []
        for t in range(1, len(GRADIENTS) + 1):
            weights = [second ** (t - k) for k in range(1, t + 1)]
            mean_square = sum(w * GRADIENTS[k][i] ** 2 for k, w in enumerate(weights)) / sum(weights)
            units.append(GRADIENTS[t - 1][i] / (math.sqrt(mean_square) + eps))
            weights = [first ** (t - k) for k in range(1, t + 1)]
            value *= 1 - lr * decay
            value -= lr * sum(w * unit for w, unit in zip(weights, units, strict=True)) / sum(weights)
        assert weight[i].item() == pytest.approx(value, rel=1e-9)


def test_laprop_takes_first_steps_of_one_rate_whatever_the_scale():
    weight = parameter(1.0, 1.0)
    step(LaProp([weight], 0.1), weight, [1e-12, -1e9])
    assert weight.tolist() == pytest.approx([0.9, 1.1])


def test_laprop_is_not_adam():
    """After a small gradient a large one: Adam forgets the first, LaProp has counted both as one unit."""
    one, other = parameter(0.0), parameter(0.0)
    laprop, adam = LaProp([one], 0.1, betas=(0.5, 0.5)), torch.optim.Adam([other], 0.1, (0.5, 0.5), 1e-20)
    for gradient in ([1e-3], [1.0]):
        for optimizer, weight in ((laprop, one), (adam, other)):
            step(optimizer, weight, gradient)
    # LaProp: u = 1, then 1 / sqrt(2/3); m = (1 u_1 + 2 u_2) / 3. Adam: m = 2/3, v = 2/3.
    assert one.item() == pytest.approx(-0.1 - 0.1 * (1 + 2 * math.sqrt(1.5)) / 3, rel=1e-5)
    assert other.item() == pytest.approx(-0.1 - 0.1 * math.sqrt(2 / 3), rel=1e-2)


def test_laprop_leaves_what_has_no_gradient_and_lets_it_catch_up_later():
    """A parameter that begins later is corrected for its own number of steps."""
    early, late = parameter(1.0, 1.0), parameter(1.0, 1.0)
    optimizer = LaProp([early, late], 0.1)
    step(optimizer, early, [1.0, 1.0])
    assert late.tolist() == [1.0, 1.0]
    late.grad = torch.tensor([2.0, 2.0], dtype=torch.float64)
    step(optimizer, early, [1.0, 1.0])
    assert late.tolist() == pytest.approx([0.9, 0.9])


def test_laprop_is_saved_and_restored():
    weight = parameter(1.0, -3.0)
    optimizer = LaProp([weight], 0.01)
    for gradient in GRADIENTS[:3]:
        step(optimizer, weight, gradient)
    twin = nn.Parameter(weight.detach().clone())
    again = LaProp([twin], 0.5)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for gradient in GRADIENTS[3:]:
        step(optimizer, weight, gradient)
        step(again, twin, gradient)
    assert torch.equal(weight, twin)


def test_laprop_refuses_numbers_out_of_range():
    with pytest.raises(ValueError, match="betas in"):
        LaProp([parameter(1.0)], 0.1, betas=(0.9, 1.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adaptive_clipping_by_hand(dtype: torch.dtype):
    """|w| = 5 allows 1.5 of |g| = 10 (a share of 0.15); |w| = 0 counts as 1e-3; a short gradient stays as it is."""
    weights = [torch.tensor([3.0, 4.0]), torch.zeros(2), torch.tensor([[3.0], [4.0]]), torch.ones(3)]
    gradients = [torch.tensor([6.0, -8.0]), torch.tensor([0.0, 2.0]), torch.tensor([[0.6], [0.8]]), None]
    parameters = [nn.Parameter(weight.to(dtype)) for weight in weights]
    for one, gradient in zip(parameters, gradients, strict=True):
        one.grad = None if gradient is None else gradient.to(dtype)
    clip_adaptively(parameters, 0.3)
    assert parameters[0].grad.tolist() == pytest.approx([0.9, -1.2])
    assert parameters[1].grad.tolist() == pytest.approx([0.0, 3e-4])
    assert torch.equal(parameters[2].grad, gradients[2].to(dtype))
    assert parameters[3].grad is None


def test_adaptive_clipping_of_nothing():
    clip_adaptively([nn.Parameter(torch.ones(2))], 0.3)
    still = nn.Parameter(torch.zeros(2))
    still.grad = torch.zeros(2)
    clip_adaptively([still], 0.3)
    assert still.grad.tolist() == [0.0, 0.0]


def rates(steps: int, name: OptimizerName = "adam", **options: int) -> list[float]:
    """How far each of `steps` steps moves: with a constant gradient, exactly one rate of 0.1 and what is left of it."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = make_optimizers(name, [weight], 0.1, 1e-20, **options)[0]
    moved = [0.0]
    for _ in range(steps):
        weight.grad = torch.ones(1, dtype=torch.float64)
        optimizer.step()
        moved.append(-weight.item())
    return [after - before for before, after in itertools.pairwise(moved)]


@pytest.mark.parametrize("name", ["adam", "laprop"])
def test_warm_up_by_hand(name: OptimizerName):
    """0, 1/4, 2/4, 3/4, 1, 1 of the rate."""
    assert rates(6, name, warmup=4) == pytest.approx([0.0, 0.025, 0.05, 0.075, 0.1, 0.1], rel=1e-5)


@pytest.mark.parametrize("name", ["adam", "laprop"])
def test_the_fall_by_hand(name: OptimizerName):
    """After 4 steps the whole rate; from then on half of it after 16, a third after 36."""
    found = rates(37, name, falls_after=4)
    assert found[:5] == pytest.approx([0.1] * 5, rel=1e-5)
    assert (found[16], found[36]) == pytest.approx((0.05, 0.1 / 3), rel=1e-5)


def test_it_rises_and_falls():
    """Both factors hold at once: a warm-up of 8 that falls after 2 uses k / 8 * sqrt(2 / k) of the rate until 8."""
    found = rates(10, warmup=8, falls_after=2)
    expected = [0.0, 0.1 / 8, *(0.1 * k / 8 * (2 / k) ** 0.5 for k in range(2, 8)), 0.05, 0.1 * (2 / 9) ** 0.5]
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("options", "sixth"), [({"warmup": 10}, 0.05), ({"falls_after": 1}, 0.1 / 5**0.5)])
def test_a_schedule_goes_on_after_a_restore(options: dict[str, int], sixth: float):
    def made() -> tuple[nn.Parameter, torch.optim.Optimizer]:
        weight = nn.Parameter(torch.zeros(1))
        return weight, make_optimizers("adam", [weight], 0.1, 1e-20, **options)[0]

    weight, optimizer = made()
    for _ in range(5):
        weight.grad = torch.ones(1)
        optimizer.step()
    other, again = made()
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    other.grad = torch.ones(1)
    again.step()
    assert other.item() == pytest.approx(-sixth)


def test_without_a_schedule_nothing_is_added():
    optimizer = make_optimizers("laprop", [parameter(1.0)], 0.1, 1e-8)[0]
    assert set(optimizer.param_groups[0]) == {"params", "lr", "eps", "betas", "weight_decay"}
    assert schedule_rate(optimizer) is optimizer


@pytest.mark.parametrize(("warmup", "falls_after"), [(-3, None), (0, -5), (0, 0)])
def test_a_schedule_of_less_than_no_steps_is_refused(warmup: int, falls_after: int | None):
    with pytest.raises(ValueError, match="warmup must be at least 0 and falls_after at least 1"):
        schedule_rate(make_optimizers("adam", [parameter(1.0)], 0.1, 1e-8)[0], warmup, falls_after)


@pytest.mark.parametrize("name", ["adam", "laprop", "muon"])
def test_nothing_to_optimise_is_refused(name: str):
    with pytest.raises(ValueError, match="nothing to optimise"):
        make_optimizers(name, [], 0.1, 1e-8)
