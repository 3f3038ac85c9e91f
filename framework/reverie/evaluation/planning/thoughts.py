"""What a planner considered before each decision of an episode, and what then happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.assembly.agent import Agent
from reverie.assembly.state import AgentState
from reverie.contracts.behaviour import Act, Imagination, Trajectory
from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.latent import Latent
from reverie.contracts.sampling import Sampling
from reverie.errors import RunError
from reverie.evaluation.dreaming import code_decoder
from reverie.evaluation.episodes import Mode
from reverie.evaluation.recording import Recording, record

Array = NDArray[Any]

DRAWN = 48
"""Plans of a round that are imagined once more to be drawn; the elites are among them."""
ELITES = 0.1
"""Best part of a round's plans, for planners that name no number of elites."""


@dataclass(frozen=True)
class Round:
    """One set of plans that was scored for one environment.

    Args:
        plans: (N, H, A).
        scores: (N,); -inf where the model blew up.
    """

    plans: Tensor
    scores: Tensor


@dataclass
class Decision:
    """Everything before one action.

    Args:
        state: (1,), the filtered state that was planned from.
        rounds: in the order in which they were scored.
        chosen: (H, A), the plan that the planner settled on.
        action: (A,), what was executed.
    """

    state: Latent | None = None
    rounds: list[Round] = field(default_factory=list)
    chosen: Tensor | None = None
    action: Tensor | None = None


class Watched:
    """An imagination that keeps what it is asked to score. Everything else goes through."""

    def __init__(self, inner: Imagination) -> None:
        self.inner = inner
        self.decision = Decision()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def rollout(self, start: Latent, act: Act, horizon: int, sampling: Sampling) -> Trajectory:
        return self.inner.rollout(start, act, horizon, sampling)

    def score(self, start: Latent, actions: Tensor, **options: Any) -> Tensor:
        """Score, and keep plans and scores of the one environment."""
        scores = self.inner.score(start, actions, **options)
        self.decision.rounds.append(Round(actions[0].detach().clone(), scores[0].detach().clone()))
        return scores

    def chose(self, plans: Tensor) -> None:
        """Keep the plan of the one environment."""
        self.decision.chosen = plans[0].detach().clone()


class Thinker:
    """A `Policy` that acts as an agent does, for one environment, and keeps what its planner considered."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.decisions: list[Decision] = []

    def initial(self, n: int, seeds: Sequence[int] | None = None) -> AgentState:
        return self.agent.initial(n, seeds)

    def act(
        self,
        obs: Mapping[str, Array | Tensor],
        state: AgentState,
        is_first: Array | Tensor,
        *,
        explore: bool = False,
        mode: Mode | None = None,
    ) -> tuple[Array, AgentState]:
        plain: Any = self.agent.imagination
        watched: Any = Watched(plain)
        self.agent.imagination = watched
        try:
            action, after = self.agent.act(obs, state, is_first, explore=explore, mode=mode)
        finally:
            self.agent.imagination = plain
        decision = watched.decision
        decision.state, decision.action = after.latent, after.action[0]
        self.decisions.append(decision)
        return action, after


def think(
    agent: Agent, factory: EnvironmentFactory, seed: int, steps: int, mode: Mode
) -> tuple[Recording, list[Decision]]:
    """Play one episode (or a part of it) and keep every row, and what came before its first `steps` decisions.

    It is played on by as many steps as a plan is long, so that every plan that is kept can be compared with what came.

    Raises:
        RunError: if the planner does not search.
    """
    thinker = Thinker(agent)
    ahead = getattr(getattr(agent.planner, "config", None), "horizon", 0)
    (recording,) = record(thinker, factory, [seed], mode=mode, max_steps=steps + ahead)
    decisions = thinker.decisions[:steps]
    if not any(decision.rounds for decision in decisions):
        raise RunError("this planner does not search, so there is nothing to see: choose one that does (planner=cem)")
    return recording, decisions


@dataclass(frozen=True)
class Future:
    """What the model expects of some plans, n of them over H steps. Row 0 of everything but actions is the start.

    Args:
        actions: (n, H, A).
        obs: raw entries, each (n, H + 1, *shape); empty without a decoder.
        reward: (n, H), expected on arrival; zeros without a reward head.
    """

    actions: Array
    obs: dict[str, Array]
    reward: Array

    @property
    def gain(self) -> Array:
        """(n, H + 1): the reward so far."""
        return np.concatenate([np.zeros((len(self.reward), 1)), self.reward.cumsum(1)], 1)


@dataclass(frozen=True)
class Fan:
    """Some plans of a round, from the worst to the best.

    Args:
        future: what is expected of them.
        elite: (n,) bool, those that the next round is fitted to.
        scores: (N,) of the whole round.
    """

    future: Future
    elite: Array
    scores: Array


@dataclass(frozen=True)
class Thought:
    """One decision, ready to be drawn.

    Args:
        step: the row of the recording at which it was made.
        fans: one per round.
        chosen: what is expected of the plan that was settled on, n = 1.
        sizes: (rounds, plans in the first round, steps of a plan).
    """

    step: int
    fans: list[Fan]
    chosen: Future
    sizes: tuple[int, int, int]

    @property
    def horizon(self) -> int:
        return self.sizes[2]

    @property
    def spread(self) -> float:
        """How much was at stake: the best score of the first round beyond its median."""
        scores = self.fans[0].scores
        finite = scores[np.isfinite(scores)]
        return float(finite.max() - np.median(finite)) if finite.size else 0.0


def thoughts(
    agent: Agent, decisions: Sequence[Decision], mode: Literal["mode", "sample"], rounds: int
) -> list[Thought]:
    """Imagine once more what is to be drawn of each decision; of many rounds the first, the last and some between."""
    drawn = []
    for step, decision in enumerate(decisions):
        if decision.rounds and decision.state is not None:
            with torch.no_grad():
                drawn.append(_thought(agent, step, decision, mode, rounds))
    return drawn


def _thought(agent: Agent, step: int, decision: Decision, mode: Mode, most: int) -> Thought:
    total = len(decision.rounds)
    picked = sorted({round(index) for index in np.linspace(0, total - 1, min(most, total))})
    sampling = Sampling(mode=mode, generators=[torch.Generator().manual_seed(step)])
    state = decision.state
    assert state is not None
    fans = [_fan(agent, state, decision.rounds[index], sampling) for index in picked]
    last = decision.rounds[-1]
    chosen = decision.chosen if decision.chosen is not None else _nearest(last, decision.action)
    sizes = (total, len(decision.rounds[0].plans), last.plans.shape[1])
    return Thought(step, fans, expected(agent, state, chosen[None], sampling, pictures=True), sizes)


def _nearest(last: Round, action: Tensor | None) -> Tensor:
    """(H, A): for planners that do not say what they settled on, the best plan that begins as what was executed."""
    assert action is not None
    distance = (last.plans[:, 0] - action).square().sum(-1)  # (N,)
    near = torch.where(distance <= distance.min() + 1e-6, last.scores, -torch.inf)
    return last.plans[int(near.argmax())]


def _fan(agent: Agent, state: Latent, round_: Round, sampling: Sampling) -> Fan:
    order = round_.scores.argsort()  # worst first
    count = len(order)
    named = getattr(getattr(agent.planner, "config", None), "elites", None)
    elites = min(named if isinstance(named, int) else max(1, round(ELITES * count)), count)
    # Elites and others in equal parts, evenly over their ranks.
    best = np.unique(np.linspace(count - elites, count - 1, min(elites, DRAWN // 2)).round().astype(int))
    rest = np.unique(np.linspace(0, count - elites - 1, min(count - elites, DRAWN - len(best))).round().astype(int))
    ranks = np.concatenate([rest, best]) if count > elites else best
    plans = round_.plans[order[torch.from_numpy(ranks)]]  # (n, H, A)
    future = expected(agent, state, plans, sampling)
    return Fan(future, ranks >= count - elites, round_.scores.float().cpu().numpy())


def expected(agent: Agent, state: Latent, plans: Tensor, sampling: Sampling, *, pictures: bool = False) -> Future:
    """What the model expects of (n, H, A) plans from a (1,) state. Image entries are decoded only on request."""
    count = len(plans)
    starts = agent.dynamics.branch(state, 1).repeat(count)  # (n,)
    steps = iter(plans.unbind(1))
    trajectory = agent.imagination.rollout(starts, lambda *_: next(steps), plans.shape[1], sampling)
    reward = agent.imagination.rewards(trajectory) if "reward" in agent.heads else plans.new_zeros(plans.shape[:2])
    obs = {} if not pictures and agent.observation.images else _decoded(agent, trajectory.states)
    return Future(plans.float().cpu().numpy(), obs, reward.float().cpu().numpy())


def _decoded(agent: Agent, states: Latent) -> dict[str, Array]:
    """Raw entries (n, T, *shape) that (n, T) states stand for."""
    decoder = code_decoder(agent)
    if decoder is None:
        return {}
    entries = agent.postprocess({key: found.mean for key, found in decoder(states.code).items()})
    return {
        key: value.cpu().numpy().round().astype(np.uint8) if agent.observation[key].is_image else value.cpu().numpy()
        for key, value in entries.items()
    }


@dataclass(frozen=True)
class Verdict:
    """Reward over the next steps as planned, and as it came, for each thought.

    Args:
        planned, came: (decisions,), over the same steps: a plan's, or those that were left of the episode.
    """

    planned: Array
    came: Array

    @property
    def error(self) -> float:
        """Mean absolute difference."""
        return float(np.abs(self.planned - self.came).mean())

    @property
    def correlation(self) -> float | None:
        """None where one of them does not vary."""
        if len(self.came) < 3 or self.planned.std() < 1e-9 or self.came.std() < 1e-9:
            return None
        return float(np.corrcoef(self.planned, self.came)[0, 1])


def verdict(recording: Recording, found: Sequence[Thought]) -> Verdict:
    """Compare plans with what came. The planner plans again at every step, so the two differ even for a true model."""
    planned, came = [], []
    for thought in found:
        ahead = recording.reward[thought.step + 1 : thought.step + 1 + thought.horizon]
        came.append(float(ahead.sum()))
        planned.append(float(thought.chosen.reward[0, : len(ahead)].sum()))
    return Verdict(np.array(planned), np.array(came))
