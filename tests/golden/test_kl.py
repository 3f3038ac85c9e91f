"""Correctness note 9: the KL terms and their floors, against numbers worked out by hand and torch.distributions."""

import math
import multiprocessing
from pathlib import Path

import pytest
import torch
from torch import distributions as td

from reverie.nn import Normal, OneHot, kl_balanced, kl_joint

# KL((1/2, 1/2) || (3/4, 1/4)) = ln(2/3) / 2 + ln(2) / 2
ONE_GROUP = 0.5 * math.log(2 / 3) + 0.5 * math.log(2)


def pair(groups: int) -> tuple[OneHot, OneHot]:
    post = torch.tensor([0.5, 0.5]).expand(2, 3, groups, 2)  # (B, T, G, K)
    prior = torch.tensor([0.75, 0.25]).expand(2, 3, groups, 2)
    return OneHot(probs=post, event_dims=2), OneHot(probs=prior, event_dims=2)


def test_categorical_divergence_sums_over_groups_and_only_over_them():
    post, prior = pair(groups=5)
    torch.testing.assert_close(post.kl(prior), torch.full((2, 3), 5 * ONE_GROUP))


def test_v3_sums_over_latents_before_the_floor():
    post, prior = pair(groups=10)  # 1.438 nats together, 0.144 each: a floor per latent would give 10
    dyn, rep = kl_balanced(post, prior, dyn=0.5, rep=0.1, free_nats=1.0)
    torch.testing.assert_close(dyn, torch.full((2, 3), 0.5 * 10 * ONE_GROUP))
    torch.testing.assert_close(rep, torch.full((2, 3), 0.1 * 10 * ONE_GROUP))


def test_v3_floors_each_step_and_each_term():
    post, prior = pair(groups=2)  # 0.288 nats
    dyn, rep = kl_balanced(post, prior, dyn=0.5, rep=0.1, free_nats=1.0)
    torch.testing.assert_close(dyn, torch.full((2, 3), 0.5))
    torch.testing.assert_close(rep, torch.full((2, 3), 0.1))


def uneven() -> tuple[list[list[float]], OneHot, OneHot]:
    """Divergences of (2, 3) steps, posteriors and priors: in each of 3 groups the posterior (p, 1 - p) lies near the
    prior (1/2, 1/2) or far from it."""
    shares = [
        [0.5, 0.5, 0.5],
        [0.6, 0.7, 0.5],
        [0.9, 0.99, 0.6],
        [0.999, 0.98, 0.9],
        [0.55, 0.5, 0.9],
        [0.97, 0.1, 0.2],
    ]
    post = torch.tensor([[[p, 1 - p] for p in step] for step in shares], dtype=torch.float64).reshape(2, 3, 3, 2)
    prior = torch.full_like(post, 0.5)
    forwards = [sum(_two(p, 0.5) for p in step) for step in shares]
    return [forwards[:3], forwards[3:]], OneHot(probs=post, event_dims=2), OneHot(probs=prior, event_dims=2)


def _two(p: float, q: float) -> float:
    """KL((p, 1 - p) || (q, 1 - q)), a loop over two classes."""
    return sum(a * math.log(a / b) for a, b in ((p, q), (1 - p, 1 - q)))


def test_v3_is_a_loop_over_steps():
    """Sum over latents, then the floor at each step, and only then a mean: some steps here lie below it, some above."""
    forwards, post, prior = uneven()
    flat = [value for row in forwards for value in row]
    assert sum(value < 1 for value in flat) == 3
    assert sum(value > 1 for value in flat) == 3
    dyn, rep = kl_balanced(post, prior, dyn=0.7, rep=0.2, free_nats=1.0)
    for b, row in enumerate(forwards):
        for t, value in enumerate(row):
            assert dyn[b, t].item() == pytest.approx(0.7 * max(value, 1.0), rel=1e-12), (b, t)
            assert rep[b, t].item() == pytest.approx(0.2 * max(value, 1.0), rel=1e-12), (b, t)
    # The two other orders give other numbers: the floor of the mean, and the sum of floors per latent.
    mean = sum(max(value, 1.0) for value in flat) / 6
    assert dyn.mean().item() == pytest.approx(0.7 * mean, rel=1e-12)
    assert abs(mean - max(sum(flat) / 6, 1.0)) > 0.1


def test_a_step_below_the_floor_has_no_gradient_and_one_above_has():
    forwards, post, prior = uneven()
    logits = post.probs.log().requires_grad_()
    kl_balanced(OneHot(logits, 0.0, 2), prior, free_nats=1.0)[1].mean().backward()
    moved = logits.grad.abs().sum((-1, -2)) > 1e-9
    assert moved.tolist() == [[value > 1 for value in row] for row in forwards]
    other = torch.zeros(2, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    kl_balanced(post, OneHot(other, 0.0, 2), free_nats=1.0)[0].mean().backward()
    assert (other.grad.abs().sum((-1, -2)) > 1e-9).tolist() == moved.tolist()


def gradients(loss_of, groups: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    post = torch.randn(2, 3, groups, 4, generator=generator, dtype=torch.float64).requires_grad_()
    prior = torch.randn(2, 3, groups, 4, generator=generator, dtype=torch.float64).requires_grad_()
    loss_of(OneHot(post, 0.0, 2), OneHot(prior, 0.0, 2)).mean().backward()
    zeros = torch.zeros_like(post)
    return (zeros if post.grad is None else post.grad), (zeros if prior.grad is None else prior.grad)


def test_v3_dynamics_term_trains_the_prior_and_representation_term_the_posterior():
    post, prior = gradients(lambda q, p: kl_balanced(q, p, free_nats=0.0)[0])
    assert post.abs().sum() == 0
    assert prior.abs().sum() > 0
    post, prior = gradients(lambda q, p: kl_balanced(q, p, free_nats=0.0)[1])
    assert post.abs().sum() > 0
    assert prior.abs().sum() == 0


def test_v2_balance_scales_gradients_and_not_the_value():
    whole = gradients(lambda q, p: kl_joint(q, p, free_nats=0.0))
    split = gradients(lambda q, p: kl_joint(q, p, free_nats=0.0, balance=0.8))
    torch.testing.assert_close(split[0], 0.2 * whole[0])
    torch.testing.assert_close(split[1], 0.8 * whole[1])
    post, prior = pair(groups=10)
    torch.testing.assert_close(kl_joint(post, prior, free_nats=0.0, balance=0.8), kl_joint(post, prior, free_nats=0.0))


def gaussians(means: list[float]) -> tuple[Normal, Normal, torch.Tensor]:
    """Posteriors N(m, 1) against N(0, 1): the divergence is m^2 / 2 by hand."""
    mean = torch.tensor(means).reshape(1, -1, 1).requires_grad_()  # (1, T, 1)
    return (
        Normal(mean, torch.ones_like(mean)),
        Normal(torch.zeros(1, len(means), 1), torch.ones(1, len(means), 1)),
        mean,
    )


def test_v1_floors_the_mean_so_that_steps_below_the_floor_still_learn():
    post, prior, mean = gaussians([1.0, 4.0])  # 0.5 and 8 nats, mean 4.25
    loss = kl_joint(post, prior, free_nats=3.0, floor="mean")
    assert loss.mean().item() == pytest.approx(4.25)
    loss.mean().backward()
    torch.testing.assert_close(mean.grad.flatten(), torch.tensor([0.5, 2.0]))  # m / T


def test_v1_stands_still_when_the_mean_is_below_the_floor():
    post, prior, mean = gaussians([1.0, 3.0])  # 0.5 and 4.5 nats, mean 2.5: one step alone lies above 3
    loss = kl_joint(post, prior, scale=2.0, free_nats=3.0, floor="mean")
    assert loss.mean().item() == pytest.approx(6.0)
    loss.mean().backward()
    torch.testing.assert_close(mean.grad.flatten(), torch.zeros(2))


def test_planet_subtracts_the_free_nats_at_every_step():
    post, prior, mean = gaussians([1.0, 4.0])
    loss = kl_joint(post, prior, free_nats=3.0, floor="element")
    torch.testing.assert_close(loss, torch.tensor([[0.0, 5.0]]))
    loss.mean().backward()
    torch.testing.assert_close(mean.grad.flatten(), torch.tensor([0.0, 2.0]))


def test_normal_divergence_agrees_with_torch():
    generator = torch.Generator().manual_seed(1)
    a, b, c, d = (torch.rand(2, 3, 5, generator=generator, dtype=torch.float64) + 0.2 for _ in range(4))
    mine = Normal(a, b, 1).kl(Normal(c, d, 1))
    theirs = td.kl_divergence(td.Independent(td.Normal(a, b), 1), td.Independent(td.Normal(c, d), 1))
    torch.testing.assert_close(mine, theirs)


def test_divergence_sees_the_uniform_share():
    """Note 10: a posterior that is certain against a prior that is certain of something else stays finite."""
    certain = torch.tensor([[100.0, 0.0]])
    divergence = OneHot(certain, 0.01).kl(OneHot(-certain, 0.01))
    by_hand = 0.995 * math.log(0.995 / 0.005) + 0.005 * math.log(0.005 / 0.995)
    assert divergence.item() == pytest.approx(by_hand, rel=1e-5)


def _rank(rank: int, folder: str, queue) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    post, prior, _ = gaussians([1.0] if rank == 0 else [4.0])
    queue.put((rank, kl_joint(post, prior, free_nats=3.0, floor="mean").item()))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_the_mean_is_that_of_all_ranks(tmp_path: Path):
    """Alone, the rank with 0.5 nats would answer 3; with the other's 8 the mean is 4.25 and both train."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_rank, args=(rank, str(tmp_path), queue)) for rank in range(2)]
    for process in processes:
        process.start()
    answers = dict(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(60)
    assert answers == {0: pytest.approx(0.5), 1: pytest.approx(8.0)}
