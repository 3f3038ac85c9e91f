"""What a person may get wrong about planners: one clear error each, before anything is trained."""

import pytest

from reverie.errors import RecipeError
from reverie.extension.manager import Plugins, load_plugins
from reverie.recipes.prepare import prepare

BLOCKED = """\
from reverie import ComponentSpec, Config, hookimpl


class BlockedConfig(Config):
    \"\"\"No options.\"\"\"


@hookimpl
def reverie_components():
    return [
        ComponentSpec(
            kind="dynamics",
            name="tabular",
            target=f"{__name__}:NeverBuilt",
            config=f"{__name__}:BlockedConfig",
            summary="a table of transitions, through which no gradient passes",
        )
    ]
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Plugins:
    file = tmp_path_factory.mktemp("plugins") / "tabular.py"
    file.write_text(BLOCKED)
    return load_plugins(files=[file])


@pytest.mark.parametrize(
    ("overrides", "said", "fix"),
    [
        (
            ["planner=cem", "planner.horizon=0"],
            "planner (cem): `horizon` must be greater than 0, not 0",
            "write a larger number; the default is 12",
        ),
        (
            ["planner=cem", "planner.elites=500"],
            "planner (cem): elites (500) cannot be more than candidates (128)",
            "set `elites` to 128 or fewer, or `candidates` to 500 or more",
        ),
        (
            ["planner=icem", "env=pendulum", "planner.candidates=5"],
            "planner (icem): elites (10) cannot be more than candidates (5)",
            "set `elites` to 5 or fewer",
        ),
        (
            ["planner=mppi", "env=pendulum", "planner.proposals=1000"],
            "planner (mppi): proposals (1000) cannot be more than candidates (512)",
            "set `proposals` to 512 or fewer",
        ),
        (
            ["planner=exhaustive", "planner.horizon=20"],
            "planner (exhaustive): 2 actions over 20 steps are 1,048,576 plans, and the budget is 4,096",
            "set planner.horizon=12",
        ),
        (
            ["planner=exhaustive", "env=pendulum"],
            "planner (exhaustive) is for discrete actions, and those of the environment (gym) are continuous",
            "random_shooting",
        ),
        (
            ["planner=gradient"],
            "planner (gradient) is for continuous actions, and those of the environment (gym) are discrete",
            "exhaustive",
        ),
        (
            ["planner=gradient", "env=pendulum", "dynamics=tabular"],
            "planner (gradient) needs dynamics to provide 'differentiable', which tabular does not",
            "use dynamics=rssm (choices: rssm, ensemble, implicit, mdn_rnn)",
        ),
        (
            ["planner=cem", "heads.cost=gaussian"],
            "heads/cost is not read: planner (cem) judges plans by rewards alone",
            "set planner.score_by to cost",
        ),
        (
            ["planner=cem", "planner.score_by=cost"],
            "planner (cem) needs heads/cost, which is empty",
            "heads/cost=<component>",
        ),
        (
            ["planner=cem", "heads.cost=gaussian", "planner.score_by=cost", "planner.bootstrap=true"],
            "planner (cem): the value head predicts rewards: with `score_by: cost` there is nothing to bootstrap from",
            "leave `bootstrap` out",
        ),
        (
            ["planner=gradient", "env=pendulum", "planner.std=0"],
            "planner (gradient): with std 0 all candidates are the same one",
            "use one candidate",
        ),
        (
            ["planner=mppi", "env=pendulum", "planner.min_std=3"],
            "planner (mppi): min_std (3.0) cannot be more than max_std (2.0)",
            "swap them",
        ),
        (["planner=cem", "planner.risk=nan"], "planner.risk: the number nan is not finite", "write a finite one"),
        (["planner=cem", "planner.risk=-inf"], "planner.risk: the number -inf is not finite", "write a finite one"),
    ],
)
def test_a_mistake_is_told_before_training(overrides: list[str], said: str, fix: str, plugins: Plugins) -> None:
    with pytest.raises(RecipeError) as caught:
        prepare("dreamer", overrides, plugins=plugins)
    (problem,) = caught.value.problems
    assert problem.what == said
    assert fix in problem.fix
    assert problem.where == "command line"


@pytest.mark.parametrize(
    ("planner", "slot"), [("cem", "heads/reward"), ("gradient", "heads/reward"), ("guided", "actor")]
)
def test_a_planner_that_needs_an_empty_slot_says_which(planner: str, slot: str, plugins: Plugins) -> None:
    with pytest.raises(RecipeError) as caught:
        prepare("dreamer", ["env=pendulum", f"planner={planner}", f"{slot}=null"], plugins=plugins)
    problem = next(problem for problem in caught.value.problems if problem.what.startswith("planner"))
    assert problem.what == f"planner ({planner}) needs {slot}, which is empty"
    assert f"{slot}=" in problem.fix
    assert "or a planner that does without: " in problem.fix


def test_unbounded_actions_are_refused(plugins: Plugins) -> None:
    """A planner samples within [-1, 1], so that the environment must say what these bounds mean."""
    import gymnasium as gym
    import numpy as np

    class Unbounded(gym.Env):  # type: ignore[type-arg]
        observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        action_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)

    gym.register("reverie-test/Unbounded-v0", entry_point=lambda **_: Unbounded())
    try:
        with pytest.raises(RecipeError, match=r"has no bounds, so \[-1, 1\] cannot be scaled to it"):
            prepare("dreamer", ["env=gym", "env.id=reverie-test/Unbounded-v0", "planner=cem"], plugins=plugins)
    finally:
        del gym.registry["reverie-test/Unbounded-v0"]


def test_a_cost_that_is_meant_to_be_unread_is_accepted(plugins: Plugins) -> None:
    prepare("dreamer", ["planner=cem", "heads.cost=gaussian", "planner.score_by=reward"], plugins=plugins)
    prepare("dreamer", ["planner=cem", "heads.cost=gaussian", "planner.score_by=reward_minus_cost"], plugins=plugins)
    prepare("dreamer", ["heads.cost=gaussian"], plugins=plugins)
