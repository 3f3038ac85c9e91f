"""`benchmarks/paired.py`: pairs, worked by hand."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from paired import compared


def test_the_gain_is_that_of_the_pairs():
    found = compared([1.0, 2.0, 3.0], [2.0, 2.0, 6.0])  # gains 1, 0, 3: mean 4/3, variance 7/3
    assert found["own"] == pytest.approx(2.0)
    assert found["other"] == pytest.approx(10 / 3)
    assert found["gain"] == pytest.approx(4 / 3)
    assert found["standard_error"] == pytest.approx((7 / 3 / 3) ** 0.5)


@pytest.mark.parametrize(("own", "other"), [([1.0], [2.0]), ([1.0, 2.0], [1.0])])
def test_what_is_no_pair_is_refused(own, other):
    with pytest.raises(ValueError, match="pairs are needed"):
        compared(own, other)
