"""Correctness note 12: a two-hot head predicts and learns by the variant that its options name, and by no mixture."""

import math
from dataclasses import dataclass

import pytest
import torch

from reverie.contracts import ActionSpec, Latent, Transition
from reverie.nn import nll
from reverie_plugins.heads.config import TwoHotConfig
from reverie_plugins.heads.head import TwoHotHead

BINS, TOP = 9, 4.0
GRID = [-TOP + 2 * TOP * k / (BINS - 1) for k in range(BINS)]
LOGITS = [0.3, -1.0, 0.0, 0.5, 1.0, 2.0, -0.5, 1.5, 0.2]


@dataclass(frozen=True)
class Plain(Latent):
    x: torch.Tensor

    @property
    def features(self) -> torch.Tensor:
        return self.x


def symexp(x: float) -> float:
    return math.copysign(math.expm1(abs(x)), x)


def symlog(x: float) -> float:
    return math.copysign(math.log1p(abs(x)), x)


def head(variant: str) -> TwoHotHead:
    """A head whose output is LOGITS whatever it reads."""
    config = TwoHotConfig(variant=variant, bins=BINS, low=-TOP, high=TOP, layers=0)
    made = TwoHotHead(config, 3, ActionSpec("continuous", 1)).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
        biases = [parameter for parameter in made.parameters() if parameter.shape == (BINS,)]
        biases[-1].copy_(torch.tensor(LOGITS))
    return made


def probabilities() -> list[float]:
    total = sum(math.exp(one) for one in LOGITS)
    return [math.exp(one) / total for one in LOGITS]


def states() -> Transition:
    return Transition(None, None, Plain(torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).double()))


def test_a_head_predicts_by_the_variant_that_it_names() -> None:
    probs = probabilities()
    by_symlog = symexp(sum(p * b for p, b in zip(probs, GRID, strict=True)))
    by_number = sum(p * symexp(b) for p, b in zip(probs, GRID, strict=True))
    assert abs(by_symlog - by_number) > 1
    assert head("symlog_linear")(states()).mean.tolist() == pytest.approx([by_symlog] * 2, rel=1e-6)
    assert head("symexp_spaced")(states()).mean.tolist() == pytest.approx([by_number] * 2, rel=1e-6)


@pytest.mark.parametrize("variant", ["symlog_linear", "symexp_spaced"])
@pytest.mark.parametrize("value", [-7.0, 0.4, 3.0, 1000.0])
def test_a_head_is_trained_by_the_variant_that_it_names(variant: str, value: float) -> None:
    """The cross entropy to the two neighbours of the target, found by a loop."""
    grid = GRID if variant == "symlog_linear" else [symexp(b) for b in GRID]
    x = symlog(value) if variant == "symlog_linear" else value
    x = min(max(x, grid[0]), grid[-1])
    k = next(k for k in range(BINS - 1) if grid[k] <= x <= grid[k + 1])
    share = (x - grid[k]) / (grid[k + 1] - grid[k])
    probs = probabilities()
    expected = -(1 - share) * math.log(probs[k]) - share * math.log(probs[k + 1])
    found = nll(head(variant)(states()), torch.full((2,), value, dtype=torch.float64))
    assert found.tolist() == pytest.approx([expected] * 2, rel=1e-5)
