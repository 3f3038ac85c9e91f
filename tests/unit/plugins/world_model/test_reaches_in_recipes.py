"""What a recipe may not say about slots that the model's loss reaches."""

import pytest

from reverie.errors import RecipeError
from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import prepare

REACHES = "learners.model.reaches=[heads/value]"


def test_a_slot_that_another_learner_steps_in_the_same_stage_is_not_reached() -> None:
    """The value head would be stepped by the gradient of both."""
    with pytest.raises(RecipeError) as caught:
        prepare("dreamer", [REACHES], plugins=load_plugins())
    text = str(caught.value)
    assert "stage train: learners/model reaches heads/value, which learners/behaviour trains" in text
    assert "take it out of learners.model.reaches" in text


def test_the_same_in_two_stages_is_fine() -> None:
    apart = ["stages.train.learners=[behaviour]", "stages.prefill.learners=[model]", "stages.prefill.ratio=1"]
    assert prepare("dreamer", [REACHES, *apart], plugins=load_plugins()).learner_config("model").reaches == (
        "heads/value",
    )
