"""A one-file plugin with a component of every kind, so that messages do not depend on the built-in ones."""

from typing import Any, ClassVar, Literal

from pydantic import Field

import reverie
from reverie import ComponentSpec, Config, LearnerConfig, Needs, hookimpl
from reverie.contracts import ActionSpec, ArraySpec, EnvironmentFactory, ObservationSpec
from reverie.errors import EnvironmentFault, Problem


class EnvConfig(Config):
    action: Literal["discrete", "continuous"] = "discrete"
    """Kind of action."""
    image: bool = False
    """Show an image instead of a vector."""
    limit: int | None = Field(default=None, gt=0)
    """Steps of an episode."""
    broken: Literal["no", "fault", "crash"] = "no"
    """How it fails."""


class Env(EnvironmentFactory):
    def __init__(self, config: EnvConfig) -> None:
        super().__init__(config)
        if config.broken == "fault":
            raise EnvironmentFault("the simulator is not installed\n    fix: pip install simulator")
        if config.broken == "crash":
            raise KeyError("boom")
        entry = ArraySpec((8, 8, 3), "uint8") if config.image else ArraySpec((3,), "float32")
        self.observation = ObservationSpec({"camera" if config.image else "state": entry})
        self.action = ActionSpec(config.action, 2)

    def make(self, index: int = 0, *, render: bool = False) -> Any:
        raise AssertionError("preparing a recipe makes no environment")


class Loss(Config):
    scale: float = Field(default=1.0, ge=0)
    """Weight of the loss."""


class LinearConfig(Config):
    width: int = Field(default=8, gt=0)
    """Size of the state."""
    mode: Literal["plain", "fancy"] = "plain"
    """Kind of state."""
    loss: Loss = Loss()
    """The loss."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "xs": {"width": 4, "loss": {"scale": 0.5}},
        "m": {"width": 16, "mode": "fancy"},
    }


class OtherConfig(Config):
    depth: int = 1
    """Layers."""


class LabelConfig(Config):
    label: str = ""
    """Any text."""


class NoConfig(Config):
    pass


class HeadConfig(Config):
    layers: int = 1
    """Hidden layers."""


class RebuildConfig(Config):
    decoder: str | None = None
    """Another decoder."""

    def needs(self) -> Needs:
        return Needs(slots=("decoder" if self.decoder is None else f"decoders/{self.decoder}",))


class FitConfig(LearnerConfig):
    trains: tuple[str, ...] = ("encoder", "dynamics", "decoder", "heads/reward", "objectives/*")
    """Slots that it steps."""
    objectives: tuple[str, ...] = ("*",)
    """Objectives that it runs."""


class BehaveConfig(LearnerConfig):
    trains: tuple[str, ...] = ("actor", "heads/value")
    """Slots that it steps."""


def spec(kind: str, name: str, config: type[Config], *provides: str, needs: Needs | None = None) -> ComponentSpec:
    return ComponentSpec(
        kind=kind,
        name=name,
        target=f"{__name__}:{'Env' if kind == 'env' else 'NeverLoaded'}",
        config=f"{__name__}:{config.__name__}",
        summary=f"a toy {kind}",
        provides=frozenset(provides),
        needs=needs or Needs(),
    )


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        spec("env", "toy", EnvConfig),
        spec("encoder", "plain", NoConfig, "vector", "image"),
        spec("encoder", "pixels", NoConfig, "image"),
        spec("dynamics", "linear", LinearConfig, "differentiable"),
        spec("dynamics", "other", OtherConfig),
        spec("decoder", "auto", NoConfig, "vector", "image"),
        spec("head", "number", HeadConfig),
        spec("head", "odds", HeadConfig),
        spec("actor", "both", HeadConfig, "continuous", "discrete"),
        spec("planner", "policy", NoConfig, "continuous", "discrete", needs=Needs(slots=("actor",))),
        spec("planner", "labelled", LabelConfig, "continuous", "discrete", needs=Needs(slots=("actor",))),
        spec("planner", "steering", HeadConfig, "continuous"),
        spec("planner", "climbing", NoConfig, needs=Needs(provides={"dynamics": ("differentiable",)})),
        spec("objective", "rebuild", RebuildConfig),
        spec("objective", "tell_apart", NoConfig),
        spec("learner", "fit", FitConfig, "gradient"),
        spec("learner", "behave", BehaveConfig, "gradient"),
        spec("learner", "evolve", BehaveConfig, "evolution"),
        spec("external", "outside", NoConfig),
    ]


@hookimpl
def reverie_check_recipe(recipe: Any) -> list[Problem]:
    dynamics = recipe.choice("dynamics")
    if dynamics is not None and getattr(dynamics.config, "width", 0) == 13:
        return [Problem("dynamics: 13 is an unlucky width", "here", "dynamics.width", "", "choose another")]
    return []


assert reverie.API_VERSION == 1
