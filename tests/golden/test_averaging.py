"""The average of an optimizer's iterates, against weighted sums over the whole history; and what it is for."""

import copy

import pytest
import torch
from torch import nn

from reverie.nn import iterates, keep_average, make_optimizers, restart_averages
from reverie.training.checkpoint.optimizers import load_optimizer


def made(*values: float, rate: float | None = 0.25, lr: float = 0.5) -> tuple[nn.Parameter, torch.optim.Optimizer]:
    weight = nn.Parameter(torch.tensor(values, dtype=torch.float64))
    return weight, keep_average(torch.optim.SGD([weight], lr), rate)


def update(optimizer: torch.optim.Optimizer, weight: nn.Parameter, gradient: float | None) -> torch.Tensor:
    """One update; the iterate that it ended with."""
    with iterates([optimizer]):
        weight.grad = None if gradient is None else torch.full_like(weight, gradient)
        optimizer.step()
        return weight.detach().clone()


def test_the_average_by_hand():
    """The first 1 / rate iterates count alike; from then on each counts 1 - rate times as much as the one after it."""
    weight, optimizer = made(1.0, rate=0.25)
    gradients = [0.5, -2.0, 3.0, 0.25, -1.0, 4.0, 0.125]
    seen: list[float] = []
    for n, gradient in enumerate(gradients, 1):
        update(optimizer, weight, gradient)
        seen.append(1.0 - 0.5 * sum(gradients[:n]))  # plain gradient steps, from the iterate before
        first = min(n, 4)
        expected = sum(seen[:first]) / first * 0.75 ** (n - first)
        expected += sum(0.25 * 0.75 ** (n - k) * seen[k - 1] for k in range(first + 1, n + 1))
        assert weight.item() == pytest.approx(expected, rel=1e-12), n


def test_inside_are_the_iterates_and_outside_the_average():
    weight, optimizer = made(0.0, rate=0.5)
    for _ in range(3):
        last = update(optimizer, weight, -1.0)
    assert last.item() == 1.5
    assert weight.item() == pytest.approx(((0.5 + 1.0) / 2 + 1.5) / 2)
    with iterates([optimizer]):
        assert weight.item() == 1.5


def test_an_error_inside_leaves_average_and_iterate_as_they_were():
    weight, optimizer = made(0.0)
    for _ in range(3):
        update(optimizer, weight, -1.0)
    average, count = weight.item(), optimizer.param_groups[0]["averaged"]
    with pytest.raises(RuntimeError), iterates([optimizer]):
        raise RuntimeError
    assert weight.item() == average
    assert optimizer.param_groups[0]["averaged"] == count
    with iterates([optimizer]):
        assert weight.item() == 1.5


def test_it_goes_on_after_a_restore():
    weight, optimizer = made(0.0, 2.0)
    for _ in range(6):
        update(optimizer, weight, 0.3)
    other, again = made(7.0, 7.0)
    with torch.no_grad():
        other.copy_(weight)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for gradient in (1.0, -0.2):
        update(optimizer, weight, gradient)
        update(again, other, gradient)
    assert other.tolist() == weight.tolist()


def test_weights_that_nothing_steps_stay_and_join_later():
    weight, optimizer = made(3.0, rate=0.5)
    for _ in range(4):
        update(optimizer, weight, None)
    assert weight.item() == 3.0
    update(optimizer, weight, 1.0)
    assert weight.item() == 2.5  # its own average so far
    update(optimizer, weight, 1.0)
    assert weight.item() == pytest.approx((2.5 + 2.0) / 2)


@pytest.mark.parametrize("name", ["adam", "laprop"])
def test_the_iterates_are_those_of_the_optimizer_alone(name: str):
    def run(average: float | None) -> tuple[list[float], float]:
        weight = nn.Parameter(torch.tensor([1.0, -2.0]))
        optimizer, path = make_optimizers(name, [weight], 0.1, 1e-8, average=average)[0], []
        for k in range(5):
            with iterates([optimizer]):
                weight.grad = torch.tensor([0.3 * k, -1.0]) + weight.detach()
                optimizer.step()
                path += weight.tolist()
        return path, weight.tolist()[0]

    (plain, last), (averaged, mean) = run(None), run(0.1)
    assert averaged == plain
    assert mean != last


def test_the_average_lies_closer_to_the_minimum_of_a_noisy_loss():
    """What it is for: Adam runs around the minimum at a distance of its rate, however small the mean gradient."""
    weight = nn.Parameter(torch.full((64,), 1.0))
    optimizer, noise = make_optimizers("adam", [weight], 0.05, 1e-8, average=0.01)[0], torch.Generator().manual_seed(0)
    for _ in range(1000):
        with iterates([optimizer]):
            weight.grad = weight.detach() + torch.randn(64, generator=noise)
            optimizer.step()
            distance = weight.square().mean().sqrt().item()
    assert weight.square().mean().sqrt().item() < 0.6 * distance


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5])
def test_a_rate_out_of_range_is_refused(rate: float):
    with pytest.raises(ValueError, match=r"a rate in \(0, 1\]"):
        made(1.0, rate=rate)


def test_without_a_rate_nothing_is_added():
    weight, optimizer = made(1.0, rate=None)
    update(optimizer, weight, 1.0)
    assert weight.item() == 0.5
    assert "average" not in optimizer.param_groups[0]
    assert not optimizer.state[weight].get("iterate")


@pytest.mark.parametrize("broken", ["no iterate", "nan", "shape", "number", "rate", "count", "not averaged"])
def test_a_state_that_does_not_fit_is_refused(broken: str):
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = make_optimizers("laprop", [weight], 0.1, 1e-8, average=0.1)[0]
    update(optimizer, weight, 1.0)
    state = copy.deepcopy(optimizer.state_dict())
    entries, group = state["state"][0], state["param_groups"][0]
    if broken == "no iterate":
        del entries["iterate"]
    elif broken == "not averaged":
        del group["average"], group["averaged"]
    elif broken in ("rate", "count"):
        group.update(average=0.5) if broken == "rate" else group.update(averaged=-1)
    else:
        entries["iterate"] = {"nan": torch.full((2,), float("nan")), "shape": torch.zeros(3), "number": 0.5}[broken]
    with pytest.raises(ValueError, match=r"optimizer|average"):
        load_optimizer(optimizer, state)


def test_begun_anew_it_goes_on_from_what_others_made_of_the_weights():
    weight, optimizer = made(0.0)
    for _ in range(3):
        update(optimizer, weight, -1.0)  # iterates 0.5, 1.0, 1.5
    with torch.no_grad():
        weight.fill_(10.0)
    restart_averages([optimizer])
    assert update(optimizer, weight, -1.0).item() == 10.5
    assert weight.item() == 10.5  # the first of the new average
    update(optimizer, weight, -1.0)
    assert weight.item() == pytest.approx((10.5 + 11.0) / 2)
