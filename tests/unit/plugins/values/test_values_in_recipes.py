"""What a recipe with a learner of values may not say."""

import pytest

from reverie.errors import RecipeError
from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import prepare

FOLDED = [
    "learners.value=fitted_value",
    "actor=null",
    "planner.proposals=0",
    "learners.model.continue_discount=0.98",
    "planner.discount=1",
]


def test_the_discount_of_a_fitted_value_is_said_once() -> None:
    plugins = load_plugins()
    with pytest.raises(RecipeError) as caught:
        prepare("pets", FOLDED, plugins=plugins)
    text = str(caught.value)
    assert "learners/value discounts by 0.99" in text
    assert "fix: write learners.value.discount=1, or learners.model.continue_discount=1" in text
    prepare("pets", [*FOLDED, "learners.value.discount=1"], plugins=plugins)
