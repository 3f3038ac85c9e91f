"""Do the parts fit the environment's observations and actions?"""

from reverie.contracts import ActionSpec, EnvironmentFactory, ObservationSpec
from reverie.errors import Problem, ReverieError
from reverie.extension.names import listing
from reverie.recipes.messages import Locate
from reverie.recipes.overrides import PLACE
from reverie.recipes.recipe import Choice, Recipe
from reverie.recipes.slots import key_of


def check_spaces(recipe: Recipe, where: Locate) -> list[Problem]:
    """Build the environment's factory and compare its spaces with what the components say they can do."""
    env = recipe.choice("env")
    if env is None:
        return []
    try:
        factory: EnvironmentFactory = env.component.load()(env.config)
        observation, action = factory.observation, factory.action
    except ReverieError as error:
        what, _, rest = str(error).partition("\n")
        fix = rest.strip().removeprefix("why:").removeprefix("fix:").strip()
        what = what.removeprefix("env: ")
        return [Problem(f"env ({env.name}): {what}", _place(recipe, where), "env", "", fix)]
    except Exception as error:  # noqa: BLE001 - environments are other people's code: whatever it raises is the answer
        what = f"env ({env.name}): it cannot be made: {type(error).__name__}: {error}"
        return [Problem(what, _place(recipe, where), "env", "", "see --debug for the whole story")]
    problems = []
    for choice in recipe.choices.values():
        if choice.kind in ("actor", "planner"):
            problems += _actions(recipe, choice, action, where)
        if choice.kind in ("encoder", "decoder"):
            problems += _observations(recipe, choice, observation, where)
    return problems


def _place(recipe: Recipe, where: Locate) -> str:
    """Where an environment that cannot be made was described: the command line, if it had any part in it."""
    places = {place for key, place in recipe.places.items() if key.startswith("env.")}
    return PLACE if PLACE in places else where(("env",))


def _actions(recipe: Recipe, choice: Choice, action: ActionSpec, where: Locate) -> list[Problem]:
    handled = {"continuous", "discrete"} & choice.provides
    if not handled or action.kind in handled:
        return []
    fits = [
        one.reference for one in recipe.plugins.catalogue.components(choice.kind) if action.kind in one.spec.provides
    ]
    fix = f"use {choice.slot}={fits[0]} (choices: {', '.join(fits)})" if fits else f"no installed {choice.kind} does"
    kinds = " and ".join(sorted(handled))
    what = f"{choice.slot} ({choice.name}) is for {kinds} actions, and those of {_env(recipe)} are {action.kind}"
    return [Problem(what, where(key_of(choice.slot)), choice.slot, "", f"{fix}; or another environment")]


def _observations(recipe: Recipe, choice: Choice, observation: ObservationSpec, where: Locate) -> list[Problem]:
    handled = {"vector", "image"} & choice.provides
    shown = {"image" if spec.is_image else "vector" for spec in observation.values()}
    if not handled or handled & shown:
        return []
    fits = [one.reference for one in recipe.plugins.catalogue.components(choice.kind) if shown & one.spec.provides]
    fix = f"use {choice.slot}={fits[0]} (choices: {', '.join(fits)})" if fits else f"no installed {choice.kind} does"
    what = f"{choice.slot} ({choice.name}) reads {' and '.join(sorted(handled))} entries, and {_env(recipe)} has none"
    return [Problem(what, where(key_of(choice.slot)), choice.slot, f"its entries: {listing(observation)}", fix)]


def _env(recipe: Recipe) -> str:
    env = recipe.choices["env"]
    return f"the environment ({env.name})"
