"""What a plugin says about its components, without importing them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import pluggy

API_VERSION = 1
"""Version of the contracts. A plugin states the version that it was written for in `ComponentSpec.api`."""

ENTRY_POINT_GROUP = "reverie"

hookspec = pluggy.HookspecMarker("reverie")
hookimpl = pluggy.HookimplMarker("reverie")

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "env": "makes Gymnasium environments in the standard form",
        "data": "gives recorded episodes to learn from, beside or in place of an environment",
        "encoder": "turns observations into an embedding",
        "dynamics": "filters embeddings into latent states and imagines the next ones",
        "decoder": "turns the code of a latent state into distributions over observations",
        "head": "predicts reward, continue, value or cost from latent states",
        "objective": "adds a term to the loss of a learner that runs it",
        "actor": "a policy over latent states with a distribution",
        "planner": "chooses actions by searching in imagination",
        "learner": "turns batches into parameter changes of the slots it trains",
        "external": "a whole training procedure from elsewhere, under the same budget and evaluation",
    }
)
"""Every kind of component, with what it does."""

CAPABILITIES: Mapping[str, str] = MappingProxyType(
    {
        "posterior": "an encoder with `posterior(obs)`, a distribution over its embedding",
        "vector": "an encoder or decoder for vector observations",
        "image": "an encoder or decoder for image observations",
        "observation": "an encoder whose embedding is the vector entries themselves, joined in their order",
        "embedding": "a dynamics whose code is the embedding itself, seen or predicted",
        "gaussian": "a dynamics whose stochastic state is Gaussian",
        "categorical": "a dynamics whose stochastic state is categorical",
        "recurrent": "a dynamics that carries information across steps beyond the last embedding",
        "differentiable": "a dynamics or a head through which gradients reach states and actions",
        "members": "a dynamics or head with several members whose disagreement is meaningful",
        "open_loop": "a dynamics whose `Observed.train` is its own rollout and not the filtered states",
        "continuous": "an actor or planner for continuous actions",
        "discrete": "an actor or planner for discrete (one-hot) actions",
        "proposal": "an actor whose policy a planner can sample candidates from",
        "gradient": "a learner with gradient losses",
        "evolution": "a learner without gradients",
    }
)
"""The vocabulary of `provides` and `needs`. Small and in one place; the conformance kit catches components that lie."""


@dataclass(frozen=True)
class Needs:
    """What a component needs of the rest of the recipe. Checked before training, with a fix for each miss.

    Args:
        slots: slot paths that must be filled, such as `"decoder"` or `"heads/reward"`.
        provides: slot path to capabilities that the component in that slot must provide, such as
            `{"encoder": ("posterior",)}`. A slot named here must be filled too.
    """

    slots: tuple[str, ...] = ()
    provides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __or__(self, other: "Needs") -> "Needs":
        merged = {slot: tuple(names) for slot, names in self.provides.items()}
        for slot, names in other.provides.items():
            merged[slot] = tuple(dict.fromkeys((*merged.get(slot, ()), *names)))
        return Needs(tuple(dict.fromkeys((*self.slots, *other.slots))), merged)


@dataclass(frozen=True)
class ComponentSpec:
    """One component, as a plugin declares it from `reverie_components`.

    Args:
        kind: one of `KINDS`.
        name: what a recipe writes; lower case letters, digits and underscores.
        target: `"module:Class"` of the component, imported only when a recipe chooses it.
        config: `"module:ConfigClass"`, a subclass of `reverie.Config`, importable without torch.
        summary: one line for `reverie plugins list`.
        provides: names from `CAPABILITIES`.
        needs: what it needs of other slots; needs that depend on options belong in `Config.needs`.
        extra: the pip extra (of the plugin's distribution) without which `target` cannot be imported.
        api: the contract version that it was written for.
    """

    kind: str
    name: str
    target: str
    config: str
    summary: str
    provides: frozenset[str] = frozenset()
    needs: Needs = field(default_factory=Needs)
    extra: str | None = None
    api: int = API_VERSION
