"""Muon, against singular values one by one in float64, and against torch's."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from reverie.nn import LaProp, Muon, make_optimizers
from reverie.nn.muon import orthogonal
from reverie.training.checkpoint.optimizers import load_optimizer

SHAPES = [(6, 6), (4, 9), (9, 4), (3, 4, 5), (5, 2, 3, 3), (4, 9)]
"""Square, wide, tall, a stack of three matrices, a convolution, and one that shares the second's shape."""


def polynomial(value: float) -> float:
    """The iteration on one singular value: that of a matrix follows it, since odd powers keep the singular vectors."""
    for _ in range(5):
        value = 3.4445 * value - 4.7750 * value**3 + 2.0315 * value**5
    return value


def by_singular_values(matrix: Tensor) -> Tensor:
    """(R, C) -> what five rounds make of it, by its singular value decomposition."""
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    norm = math.sqrt(sum(value**2 for value in values.tolist()))
    return (
        left
        @ torch.diag(torch.tensor([polynomial(value / norm) for value in values.tolist()], dtype=torch.float64))
        @ right
    )


def stepped(shapes: list[tuple[int, ...]], seed: int = 0, dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes]


def gradients(shapes: list[tuple[int, ...]], seed: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [parameter.detach() for parameter in stepped(shapes, seed, dtype)]


def step(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], found: list[Tensor]) -> None:
    for parameter, gradient in zip(parameters, found, strict=True):
        parameter.grad = gradient.clone()
    optimizer.step()


@pytest.mark.parametrize("shape", [(5, 5), (3, 8)])
def test_the_iteration_is_a_polynomial_of_the_singular_values(shape: tuple[int, int]):
    x = gradients([shape], 1)[0]
    torch.testing.assert_close(orthogonal(x.unsqueeze(0))[0], by_singular_values(x), rtol=1e-9, atol=1e-9)


def test_singular_values_come_near_to_one_unless_they_are_tiny():
    for value in torch.logspace(-2, 0, 50).tolist():
        matrix = torch.diag(torch.tensor([1.0, value], dtype=torch.float64))
        small, large = sorted(torch.linalg.svdvals(orthogonal(matrix.unsqueeze(0))[0]).tolist())
        assert 0.65 < small <= large < 1.25
    matrix = torch.diag(torch.tensor([1.0, 1e-5], dtype=torch.float64))
    assert torch.linalg.svdvals(orthogonal(matrix.unsqueeze(0))[0]).min() < 0.01


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_three_steps_by_hand(decay: float):
    """The momentum is written as a weighted sum over the whole history, and each matrix is taken alone."""
    lr, momentum, seeds = 0.01, 0.8, [1, 2, 3]
    parameters = stepped(SHAPES)
    optimizer = Muon(parameters, lr, momentum, decay)
    history = [gradients(SHAPES, seed) for seed in seeds]
    for found in history:
        step(optimizer, parameters, found)
    for number, (shape, value) in enumerate(zip(SHAPES, stepped(SHAPES), strict=True)):
        rows = value.detach().reshape(-1, *shape[1:]) if len(shape) == 3 else value.detach().flatten(1).unsqueeze(0)
        for k in range(len(rows)):
            matrix = rows[k].clone()
            for t in range(len(seeds)):
                past = [one[number].reshape(rows.shape)[k] for one in history[: t + 1]]
                mean = sum((1 - momentum) * momentum ** (t - s) * past[s] for s in range(t + 1))
                ahead = momentum * mean + (1 - momentum) * past[-1]
                matrix *= 1 - lr * decay
                matrix -= lr * 0.2 * math.sqrt(max(matrix.shape)) * by_singular_values(ahead)
            torch.testing.assert_close(parameters[number].detach().reshape(rows.shape)[k], matrix, rtol=1e-9, atol=1e-9)


def test_as_torch_has_it_up_to_its_bfloat16():
    shapes = [(6, 6), (4, 9), (9, 4), (64, 192)]
    ours, theirs = stepped(shapes, dtype=torch.float32), stepped(shapes, dtype=torch.float32)
    one = Muon(ours, 0.1)
    other = torch.optim.Muon(theirs, 0.1, weight_decay=0.0, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    for seed in range(1, 4):
        for optimizer, parameters in ((one, ours), (other, theirs)):
            step(optimizer, parameters, gradients(shapes, seed, torch.float32))
    for mine, yours, began in zip(ours, theirs, stepped(shapes, dtype=torch.float32), strict=True):
        assert ((mine - yours).norm() / (mine - began).norm()).item() < 0.03


def test_a_step_is_about_as_long_as_adams():
    """A matrix whose singular values are all 1 has entries of 1 / sqrt(longer side): 0.2 of the rate at most."""
    parameters = stepped([(32, 64)])
    step(Muon(parameters, 0.1), parameters, gradients([(32, 64)], 1))
    length = (parameters[0] - stepped([(32, 64)])[0]).square().mean().sqrt().item()
    assert 0.1 * 0.2 * 0.7 < length < 0.1 * 0.2 * 1.25


def test_the_scale_of_gradients_does_not_matter_and_nothing_is_nothing():
    for scale in (1e-5, 1.0, 1e9):
        parameters = stepped(SHAPES)
        step(Muon(parameters, 0.1), parameters, [scale * one for one in gradients(SHAPES, 1)])
        reference = stepped(SHAPES)
        step(Muon(reference, 0.1), reference, gradients(SHAPES, 1))
        for one, other in zip(parameters, reference, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    parameters = stepped(SHAPES)
    step(Muon(parameters, 0.1), parameters, [torch.zeros_like(one) for one in parameters])
    assert all(torch.equal(one, other) for one, other in zip(parameters, stepped(SHAPES), strict=True))


@pytest.mark.parametrize("scale", [1e-8, 1e-23, 1e-30, 1e-37])
def test_tiny_gradients_never_break_float32(scale: float):
    parameters, began = stepped([(8, 8)], dtype=torch.float32), stepped([(8, 8)], dtype=torch.float32)
    step(Muon(parameters, 0.1), parameters, [scale * gradients([(8, 8)], 1, torch.float32)[0]])
    assert torch.isfinite(parameters[0]).all()
    assert (parameters[0] - began[0]).norm() < 1.25 * 0.1 * 0.2 * 8


def test_a_matrix_whose_gradients_have_gone_comes_to_rest():
    parameters = stepped([(16, 16)], dtype=torch.float32)
    optimizer = Muon(parameters, 1e-3)
    step(optimizer, parameters, [1e-3 * gradients([(16, 16)], 1, torch.float32)[0]])
    for _ in range(600):
        step(optimizer, parameters, [torch.zeros(16, 16)])
    before = parameters[0].detach().clone()
    for _ in range(1_000):
        step(optimizer, parameters, [torch.zeros(16, 16)])
    torch.testing.assert_close(parameters[0].detach(), before, rtol=0, atol=1e-6)


def test_autocast_does_not_round_its_steps():
    parameters, plain = stepped([(8, 9)], dtype=torch.float32), stepped([(8, 9)], dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        step(Muon(parameters, 0.1), parameters, gradients([(8, 9)], 1, torch.float32))
    step(Muon(plain, 0.1), plain, gradients([(8, 9)], 1, torch.float32))
    assert torch.equal(parameters[0], plain[0])


def test_all_options_reach_both_halves():
    made = make_optimizers("muon", stepped([(4, 9), (9,)]), 0.1, 1e-8, warmup=7, weight_decay=0.3, average=0.2)
    assert len(made) == 2
    for optimizer in made:
        group = optimizer.param_groups[0]
        assert (group["warmup"], group["full_lr"], group["weight_decay"], group["average"]) == (7, 0.1, 0.3, 0.2)


def test_what_has_no_gradient_stays():
    moved, still = stepped([(4, 9), (4, 9)])
    moved.grad = torch.ones_like(moved)
    before = still.detach().clone()
    Muon([moved, still], 0.1, weight_decay=0.5).step()
    assert torch.equal(still, before)


def test_matrices_are_muons_and_the_rest_is_adams():
    shapes = [(4, 9), (9,), (1, 5), (5, 1), (), (3, 4, 5), (2, 1, 5)]
    parameters, alone = stepped(shapes), stepped(shapes)
    muon, adam = make_optimizers("muon", parameters, 0.01, 1e-8)
    assert type(muon) is Muon
    assert [tuple(one.shape) for one in muon.param_groups[0]["params"]] == [(4, 9), (3, 4, 5)]
    reference = torch.optim.Adam(alone, 0.01, eps=1e-8)
    for seed in range(1, 4):
        for optimizer, which in ((muon, parameters), (adam, parameters), (reference, alone)):
            step(optimizer, which, gradients(shapes, seed))
    for number in (1, 2, 3, 4, 6):
        torch.testing.assert_close(parameters[number], alone[number])
    assert [type(one) for one in make_optimizers("muon", stepped([(9,)]), 0.01, 1e-8)] == [torch.optim.Adam]
    assert [type(one) for one in make_optimizers("muon", stepped([(4, 9)]), 0.01, 1e-8)] == [Muon]


@pytest.mark.parametrize("kind", [Muon, LaProp])
def test_a_closure_is_called_with_gradients_before_the_step_and_answered(kind: type):
    parameters = stepped([(4, 9)])
    began = parameters[0].detach().clone()

    def closure() -> Tensor:
        assert torch.equal(parameters[0], began)
        loss = parameters[0].square().sum()
        loss.backward()
        return loss

    assert kind(parameters, 0.1).step(closure).item() == pytest.approx(began.square().sum().item())
    assert not torch.equal(parameters[0], began)
    assert kind(parameters, 0.1).step() is None


def test_it_is_saved_and_restored():
    parameters = stepped(SHAPES)
    optimizer = Muon(parameters, 0.01)
    step(optimizer, parameters, gradients(SHAPES, 1))
    twins = [nn.Parameter(one.detach().clone()) for one in parameters]
    again = Muon(twins, 0.5)
    load_optimizer(again, copy.deepcopy(optimizer.state_dict()))
    for which, taken in ((optimizer, parameters), (again, twins)):
        step(which, taken, gradients(SHAPES, 2))
    assert all(torch.equal(one, other) for one, other in zip(parameters, twins, strict=True))
    for forgery, told in (
        (torch.zeros(2, 2), "mean of an optimizer is"),
        (torch.full((6, 6), float("nan")), "a finite mean"),
        (1.0, "a finite mean"),
        (None, "a finite mean"),
    ):
        forged = copy.deepcopy(optimizer.state_dict())
        forged["state"][0]["mean"] = forgery
        with pytest.raises(ValueError, match=told):
            load_optimizer(Muon(stepped(SHAPES), 0.5), forged)


@pytest.mark.parametrize("options", [{"lr": -1.0}, {"lr": 0.1, "momentum": 1.0}, {"lr": 0.1, "weight_decay": -0.1}])
def test_numbers_out_of_range_are_refused(options: dict[str, float]):
    with pytest.raises(ValueError, match="momentum in"):
        Muon(stepped([(4, 9)]), **options)


@pytest.mark.parametrize("shape", [(3,), (1, 4), (2, 2, 2, 2, 2)])
def test_what_is_no_matrix_is_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match="steps matrices"):
        Muon(stepped([shape]), 0.1)
