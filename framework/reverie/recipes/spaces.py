"""Do the parts fit the environment's observations and actions?"""

from reverie.assembly.data import absent_environment
from reverie.contracts import ActionSpec, DataSource, EnvironmentFactory, ObservationSpec
from reverie.errors import Problem, ReverieError
from reverie.extension.names import listing
from reverie.recipes.messages import Locate
from reverie.recipes.overrides import PLACE
from reverie.recipes.recipe import Choice, Recipe
from reverie.recipes.slots import dotted, key_of


def check_spaces(recipe: Recipe, where: Locate) -> list[Problem]:
    """Compare the spaces of the environment, or of the data in its place, with what the components say they can do."""
    env = recipe.choice("env") or recipe.choice("data")
    if env is None:
        return []
    try:
        made = _made(recipe, env)
        observation, action = made.observation, made.action
    except ReverieError as error:
        what, _, rest = str(error).partition("\n")
        fix = rest.strip().removeprefix("why:").removeprefix("fix:").strip()
        what = what.removeprefix(f"{env.slot}: ").removeprefix(f"{env.slot} ({env.name}): ")
        return [Problem(f"{env.slot} ({env.name}): {what}", _place(recipe, env.slot, where), env.slot, "", fix)]
    except Exception as error:  # noqa: BLE001 - environments are other people's code: whatever it raises is the answer
        what = f"{env.slot} ({env.name}): it cannot be made: {type(error).__name__}: {error}"
        return [Problem(what, _place(recipe, env.slot, where), env.slot, "", "see --debug for the whole story")]
    problems = []
    for choice in recipe.choices.values():
        if choice.kind in ("actor", "planner"):
            problems += _actions(recipe, choice, action, where)
        if choice.kind in ("encoder", "decoder"):
            problems += _observations(recipe, choice, observation, where)
        problems += _prepared(recipe, choice, observation, where)
    return problems


def _made(recipe: Recipe, choice: Choice) -> EnvironmentFactory | DataSource:
    """What has the spaces: of data that a lock knows, the data itself is not needed."""
    if choice.kind == "data" and recipe.data_facts is not None:
        return absent_environment(recipe.data_facts)
    made: EnvironmentFactory | DataSource = choice.component.load()(choice.config)
    return made


def _place(recipe: Recipe, slot: str, where: Locate) -> str:
    """Where an environment that cannot be made was described: the command line, if it had any part in it."""
    places = {place for key, place in recipe.places.items() if key.startswith(f"{slot}.")}
    return PLACE if PLACE in places else where((slot,))


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


def _prepared(recipe: Recipe, choice: Choice, observation: ObservationSpec, where: Locate) -> list[Problem]:
    """A part of a run reads, or predicts, vectors as that run prepared them."""
    mine, theirs = recipe.settings.observations.vectors, choice.vectors
    if theirs is None or theirs == mine or not observation.vectors or not _meets_vectors(recipe, choice):
        return []
    key = (*key_of(choice.slot), "from_run")
    what = f"{choice.slot} comes from a run with observations.vectors={theirs}, and here it is {mine}"
    why = "what it learned of numbers that were prepared otherwise means nothing with these"
    return [Problem(what, where(key), dotted(key), why, f"write observations.vectors={theirs}")]


def _meets_vectors(recipe: Recipe, choice: Choice) -> bool:
    """Whether prepared vectors enter or leave it. Behind an encoder there are embeddings, unless it hands on what it
    was given (`identity`)."""
    if choice.kind in ("encoder", "decoder"):
        return {"vector", "image"} & choice.provides != {"image"}
    encoder = recipe.choice("encoder")
    return choice.kind in ("dynamics", "head") and encoder is not None and "observation" in encoder.provides


def _env(recipe: Recipe) -> str:
    env = recipe.choice("env")
    return f"the environment ({env.name})" if env is not None else f"the data ({recipe.choices['data'].name})"
