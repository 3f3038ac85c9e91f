"""Correctness notes 14 and 15: lambda-returns and trajectory weights by routes of their own."""

import pytest
import torch

from reverie.nn import lambda_return, trajectory_weights


def mixture_of_n_step_returns(reward, cont, value, discount, lam):
    """(1 - lam) sum_n lam^(n-1) R^(n), the rest of the weight on the longest: the definition, not the recursion."""
    rows, horizon = len(reward), len(reward[0])
    answer = [[0.0] * horizon for _ in range(rows)]
    for i in range(rows):
        for t in range(horizon):
            longest = horizon - t
            total = 0.0
            for n in range(1, longest + 1):
                n_step, alive = 0.0, 1.0
                for k in range(n):
                    n_step += alive * reward[i][t + k]
                    alive *= discount * cont[i][t + k]
                n_step += alive * value[i][t + n]
                total += (lam ** (n - 1) * (1 - lam) if n < longest else lam ** (n - 1)) * n_step
            answer[i][t] = total
    return torch.tensor(answer, dtype=torch.float64)


@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_equals_the_mixture_of_n_step_returns(lam: float):
    generator = torch.Generator().manual_seed(0)
    reward = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    cont = torch.rand(3, 5, generator=generator, dtype=torch.float64)
    value = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    expected = mixture_of_n_step_returns(reward.tolist(), cont.tolist(), value.tolist(), 0.9, lam)
    torch.testing.assert_close(lambda_return(reward, cont, value, 0.9, lam), expected)


def test_by_hand():
    """discount 1/2, lam 1/4, rewards 1 and 2, the first arrival fully alive, the second half.

    R_2 = V_2 = 8; R_1 = 2 + 1/4 (3/4 8 + 1/4 8) = 4; R_0 = 1 + 1/2 (3/4 V_1 + 1/4 R_1) = 1 + 1/2 (4.5 + 1) = 3.75
    """
    reward, cont = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.5]])
    value = torch.tensor([[100.0, 6.0, 8.0]])
    torch.testing.assert_close(lambda_return(reward, cont, value, 0.5, 0.25), torch.tensor([[3.75, 4.0]]))


def test_nothing_counts_after_the_end():
    reward = torch.tensor([[1.0, 50.0, 50.0]])
    cont = torch.tensor([[0.0, 1.0, 1.0]])
    value = torch.tensor([[9.0, 9.0, 9.0, 9.0]])
    assert lambda_return(reward, cont, value, 0.99, 0.95)[0, 0] == 1.0


def test_the_value_of_the_start_is_not_read():
    reward, cont, value = torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 4)
    other = value.clone()
    other[:, 0] = float("nan")
    torch.testing.assert_close(
        lambda_return(reward, cont, other, 0.9, 0.9), lambda_return(reward, cont, value, 0.9, 0.9)
    )


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(N, H \+ 1\)"):
        lambda_return(torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 3), 0.9, 0.9)


def test_weights_start_from_the_real_flag():
    """Row 0 starts alive, row 1 in a true end: nothing imagined from there counts."""
    start = torch.tensor([1.0, 0.0])
    cont = torch.tensor([[1.0, 0.5, 0.25], [1.0, 1.0, 1.0]])
    expected = torch.tensor([[1.0, 0.9, 0.9 * 0.9 * 0.5], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(trajectory_weights(start, cont, 0.9), expected)


def test_weights_have_no_gradient():
    cont = torch.rand(2, 3, requires_grad=True)
    assert not trajectory_weights(torch.ones(2), cont, 0.9).requires_grad
