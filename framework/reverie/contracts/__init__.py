"""The vocabulary of Reverie: what the parts of a world model are to each other."""

from reverie.contracts.agent import AgentParts
from reverie.contracts.batch import Batch
from reverie.contracts.behaviour import Act, Actor, Carry, Imagination, Planner, ScoreBy, SearchPlanner, Trajectory
from reverie.contracts.data import DataSource, Episode
from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.freezing import frozen, thawed
from reverie.contracts.latent import Latent
from reverie.contracts.learner import (
    BudgetedEnvironments,
    Context,
    Counters,
    EpisodeResult,
    ExternalLearner,
    Learner,
    MakeEnvironments,
    Run,
)
from reverie.contracts.model import Decoder, Dynamics, Encoder, Head, Objective, Observed, Transition
from reverie.contracts.policy import Policy
from reverie.contracts.sampling import Distribution, Sampling
from reverie.contracts.specs import ActionSpec, ArraySpec, ObservationSpec
from reverie.contracts.view import View

__all__ = [
    "Act",
    "ActionSpec",
    "Actor",
    "AgentParts",
    "ArraySpec",
    "Batch",
    "BudgetedEnvironments",
    "Carry",
    "Context",
    "Counters",
    "DataSource",
    "Decoder",
    "Distribution",
    "Dynamics",
    "Encoder",
    "EnvironmentFactory",
    "Episode",
    "EpisodeResult",
    "ExternalLearner",
    "Head",
    "Imagination",
    "Latent",
    "Learner",
    "MakeEnvironments",
    "Objective",
    "ObservationSpec",
    "Observed",
    "Planner",
    "Policy",
    "Run",
    "Sampling",
    "ScoreBy",
    "SearchPlanner",
    "Trajectory",
    "Transition",
    "View",
    "frozen",
    "thawed",
]
