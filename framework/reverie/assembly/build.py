"""A recipe -> an environment factory, an agent, its learners. Sizes flow in code and are never written twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from torch import Tensor, nn

from reverie.assembly.agent import Agent
from reverie.assembly.constructors import check_constructor
from reverie.assembly.data import absent_environment
from reverie.assembly.spaces import beside_run
from reverie.assembly.weights import transplant
from reverie.contracts.behaviour import Actor, Carry, Imagination, Planner, SearchPlanner
from reverie.contracts.data import DataSource
from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.latent import Latent
from reverie.contracts.learner import ExternalLearner, Learner
from reverie.contracts.model import Decoder, Dynamics, Encoder, Head, Objective
from reverie.contracts.sampling import Sampling
from reverie.contracts.specs import ActionSpec, ObservationSpec
from reverie.errors import PluginError, Problem, RecipeError, ReverieError, RunError
from reverie.recipes.slots import kind_of

if TYPE_CHECKING:
    from reverie.recipes.recipe import Choice, Recipe


def build_environment(recipe: Recipe) -> EnvironmentFactory:
    """The factory in the slot `env`; without one, the spaces of the data in its place."""
    if recipe.choice("env") is None and recipe.choice("data") is not None:
        return absent_environment(recipe.data_facts or build_data(recipe))
    factory: EnvironmentFactory = _make(_chosen(recipe, "env"), EnvironmentFactory)
    if factory.action.repeat != factory.action_repeat:  # told once, by the factory; components read it in the spec
        factory.action = replace(factory.action, repeat=factory.action_repeat)
    return factory


def build_data(recipe: Recipe) -> DataSource:
    """The source in the slot `data`."""
    source: DataSource = _make(_chosen(recipe, "data"), DataSource)
    return source


def build_agent(recipe: Recipe, observation: ObservationSpec, action: ActionSpec, *, transplants: bool = True) -> Agent:
    """Every part of the agent, in the order in which sizes flow: encoder, dynamics, then the rest.

    Slots with `from_run` get the weights of that run, unless `transplants` is false (all weights come from elsewhere);
    slots with `freeze` are never trained. The caller seeds torch.

    Raises:
        RecipeError: without an encoder or a dynamics, or for weights of a run that do not fit.
        PluginError: if a component cannot be constructed, or lacks what its contract promises.
        RunError: if a run cannot be read.
    """
    encoder: Encoder = _make(_chosen(recipe, "encoder"), Encoder, observation)
    embed_size = _size(recipe, "encoder", encoder, "embed_size")
    dynamics: Dynamics[Any] = _make(_chosen(recipe, "dynamics"), Dynamics, embed_size, action)
    feature_size = _size(recipe, "dynamics", dynamics, "feature_size")
    code_size = _size(recipe, "dynamics", dynamics, "code_size")

    def decoder(choice: Choice) -> Decoder:
        reads = getattr(choice.component.load(), "reads", "code")
        made: Decoder = _make(choice, Decoder, embed_size if reads == "embed" else code_size, observation)
        return made

    chosen = {slot: recipe.choice(slot) for slot in ("decoder", "actor", "planner")}
    actor: Actor | None = _make(chosen["actor"], Actor, feature_size, action) if chosen["actor"] else None
    settings = recipe.settings
    agent = Agent(
        observation,
        action,
        encoder=encoder,
        dynamics=dynamics,
        decoder=decoder(chosen["decoder"]) if chosen["decoder"] else None,
        decoders={name: decoder(choice) for name, choice in recipe.group("decoders").items()},
        heads={name: _make(choice, Head, feature_size, action) for name, choice in recipe.group("heads").items()},
        actor=actor,
        planner=_planner(chosen["planner"], action, actor),
        vectors=settings.observations.vectors,
        noise=settings.exploration.noise,
        epsilon=settings.exploration.epsilon,
    )
    for name, choice in recipe.group("objectives").items():
        agent.objectives.put(name, _make(choice, Objective, agent))
    if transplants:
        _transplant(recipe, agent)
    _freeze(recipe, agent)
    return agent


def build_learners(recipe: Recipe, agent: Agent) -> dict[str, Learner]:
    """The learners by name, with their patterns (`heads/*`) written out for this recipe's slots."""
    return {
        name: _make(choice, Learner, agent, config=recipe.learner_config(name))
        for name, choice in recipe.group("learners").items()
    }


def build_external(recipe: Recipe, observation: ObservationSpec, action: ActionSpec) -> ExternalLearner:
    """The external learner in the slot `external`."""
    learner: ExternalLearner = _make(_chosen(recipe, "external"), ExternalLearner, observation, action)
    return learner


class NobodyActs(Planner):
    """Stands in the planner's slot where a recipe has neither planner nor actor (a world model trained alone)."""

    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> tuple[Tensor, Carry]:
        raise RecipeError(
            [
                Problem(
                    "this recipe has neither a planner nor an actor, so nothing can act",
                    key="planner",
                    fix="name a planner, such as `planner: cem`, or collect with `policy: random`",
                )
            ]
        )


def _planner(choice: Choice | None, action: ActionSpec, actor: Actor | None) -> Planner:
    if choice is None:
        return actor if actor is not None else NobodyActs()
    planner: Planner = _make(choice, Planner, action, actor)
    if isinstance(planner, Actor):
        _refuse(choice, "it is an actor, which belongs into the slot `actor`; a planner is built from other arguments")
    if isinstance(planner, nn.Module) and isinstance(planner, SearchPlanner):
        planner._modules.pop("proposal", None)
    return planner


def _transplant(recipe: Recipe, agent: Agent) -> None:
    taken = {*agent.slots(), "encoder"}  # an encoder without parameters still brings statistics of observations
    for slot, choice in recipe.choices.items():
        if choice.from_run is not None and slot in taken:
            try:
                transplant(agent, slot, choice.from_run)
            except RunError as error:
                why, fix = beside_run(recipe, choice.from_run)
                if not why:
                    raise
                key = f"{slot.replace('/', '.')}.from_run"
                raise RecipeError([Problem(str(error), recipe.places.get(key, ""), key, why, fix)]) from error


def _freeze(recipe: Recipe, agent: Agent) -> None:
    agent.freeze([slot for slot, choice in recipe.choices.items() if choice.freeze and slot in agent.slots()])
    encoder = recipe.choice("encoder")
    # A frozen encoder of another run goes on reading observations as that run normalised them.
    agent.statistics_frozen = encoder is not None and encoder.freeze and encoder.from_run is not None


def _chosen(recipe: Recipe, slot: str) -> Choice:
    choice = recipe.choice(slot)
    if choice is None:
        raise RecipeError(
            [Problem(f"the slot '{slot}' is empty", key=slot, fix=f"add `- {slot}: NAME` to the defaults list")]
        )
    return choice


def _make(choice: Choice, base: type[Any], *arguments: Any, config: Any = None) -> Any:
    """Construct a component by its contract's convention: the config first, then what the kind is given."""
    try:
        made_by = choice.component.load()
        check_constructor(
            made_by, kind_of(choice.slot) or choice.slot, f"{choice.slot}: the component {_label(choice)}"
        )
        made = made_by(config if config is not None else choice.config, *arguments)
    except ReverieError:
        raise
    except Exception as error:  # a plugin's constructor may raise anything: it is named and chained
        raise PluginError(
            f"{choice.slot}: the component {_label(choice)} could not be built: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(made, base):
        _refuse(
            choice, f"it is a {type(made).__name__}, which is no {base.__name__} (reverie.contracts.{base.__name__})"
        )
    return made


def _size(recipe: Recipe, slot: str, module: nn.Module, name: str) -> int:
    size = getattr(module, name, None)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        _refuse(_chosen(recipe, slot), f"its constructor must set `{name}` to a positive int, and it is {size!r}")
    return size


def _refuse(choice: Choice, why: str) -> NoReturn:
    raise PluginError(f"{choice.slot}: the component {_label(choice)} does not keep its contract: {why}")


def _label(choice: Choice) -> str:
    return f"{choice.component.name!r} ({choice.component.plugin.origin})"
