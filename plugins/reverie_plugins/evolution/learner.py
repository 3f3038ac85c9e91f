"""The learner `evolution`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reverie.contracts import AgentParts, Context, Latent, Learner, Sampling
from reverie_plugins.evolution.config import EvolutionConfig
from reverie_plugins.evolution.population import Population, PopulationPolicy
from reverie_plugins.evolution.search import Array, Search

SEGMENT = 25
"""Dreamed steps that are kept at once: a dream of 1,000 steps of a thousand rows would fill the memory."""
OVER = 1e-3
"""A dream ends early when no candidate goes on with more than this probability."""


class Evolution(Learner):
    """CMA-ES on the weights of the actor. One update is one generation; afterwards the actor has the weights in the
    middle of the search's distribution, which are better than any single candidate's where scores are noisy.

    A candidate's score is the mean of several rollouts, and all candidates of a generation meet the same starts and the
    same noise (World Models, appendix A.4; note 27). A dream's score is the sum of expected rewards, each weighted by
    the predicted probability of having come so far.

    Where the world model has been trained since the last generation, the old scores mean nothing: the search begins
    anew around the weights found so far, at the first sigma.
    """

    config: EvolutionConfig

    def __init__(self, config: EvolutionConfig, agent: AgentParts) -> None:
        super().__init__(config, agent)
        if config.trains != ("actor",):
            named = ", ".join(config.trains)
            raise ValueError(f"learner `evolution` judges actors: its `trains` is [actor], not [{named}]")
        self._search: Search | None = None
        self._updates = 0

    def update(self, ctx: Context) -> None:
        search = self._current(ctx)
        weights = search.ask()  # (P, n)
        dreamed = self._dreamed(ctx, weights) if self.config.judge != "real" else None
        real = self._played(ctx, weights) if self.config.judge != "dream" else None
        scores = dreamed if dreamed is not None else real
        assert scores is not None
        search.tell(scores)
        self._write(ctx.agent, search.centre)
        ctx.log("sigma", search.spread)
        for name, found in (("dream", dreamed), ("real", real)):
            if found is not None:
                ctx.log(f"{name}_mean", float(found.mean()))
                ctx.log(f"{name}_best", float(found.max()))
        if dreamed is not None and real is not None:
            ctx.log("gap", float(dreamed.mean() - real.mean()))

    # -- judging -------------------------------------------------------------------------------------------------

    def _dreamed(self, ctx: Context, weights: Array) -> Array:
        """(P,) returns of candidates in dreams from common starts with common noise, the mean over all processes."""
        config, size = self.config, len(weights)
        view = ctx.experience(config.rollouts, config.context)
        begun = view.observed.last  # (R,)
        population = self._population(ctx.agent, weights)
        sampling = replace(ctx.sampling, temperature=config.temperature, shared=size)
        returns = dream_returns(
            ctx, begun, view.batch.cont[:, -1], population, config.horizon, config.discount, sampling
        )  # (R, P)
        gathered = ctx.gather(returns.mean(0)).reshape(-1, size)  # (world, P)
        found: Array = gathered.mean(0).double().cpu().numpy()
        return found

    def _played(self, ctx: Context, weights: Array) -> Array:
        """(P,) returns of candidates in whole real episodes with common reset seeds."""
        config, scores = self.config, []
        noise = ctx.sampling.rand((config.rollouts, 1), dtype=torch.float64)  # (R, 1)
        seeds = [int(value * 2**31) for value in noise[:, 0].tolist()]
        together = max(1, config.side_by_side // config.rollouts)
        for first in range(0, len(weights), together):
            some = weights[first : first + together]
            policy = PopulationPolicy(ctx.agent, self._population(ctx.agent, some))
            repeated = [seed for seed in seeds for _ in some]  # row r * P + i plays seed r
            played = ctx.environments.rollout(policy, repeated)
            returns = np.array([episode.episode_return for episode in played]).reshape(config.rollouts, len(some))
            scores.append(returns.mean(0))
        gathered = ctx.gather(torch.from_numpy(np.concatenate(scores))).reshape(-1, len(weights))  # (world, P)
        found: Array = gathered.mean(0).numpy()
        return found

    def _population(self, agent: AgentParts, weights: Array) -> Population:
        assert agent.actor is not None
        return Population(agent.actor, torch.from_numpy(weights), agent.action.is_discrete)

    # -- the search ----------------------------------------------------------------------------------------------

    def _current(self, ctx: Context) -> Search:
        """The search to go on with: a new one at first, and where the world model has changed under it."""
        stale = self.config.judge != "real" and ctx.counters.updates != self._updates
        if self._search is None or stale:
            same = Sampling(generators=ctx.sampling.generators)  # on all ranks: they judge the same candidates
            seed = int(same.rand((1, 1), dtype=torch.float64).item() * 2**31)
            start = nn.utils.parameters_to_vector(self.trained(ctx.agent)).detach().double().cpu().numpy()
            self._search = Search(start, self.config.sigma, self.config.population, seed)
            self._updates = ctx.counters.updates
        return self._search

    def _write(self, agent: AgentParts, weights: Array) -> None:
        """Copied in place: views of one long vector would be saved with all of it."""
        vector, position = torch.from_numpy(weights), 0
        for parameter in self.trained(agent):
            part = vector[position : position + parameter.numel()]
            parameter.copy_(part.reshape(parameter.shape))
            position += parameter.numel()

    # -- saving --------------------------------------------------------------------------------------------------

    def get_extra_state(self) -> dict[str, Any]:
        search = self._search
        if search is None:
            return {"updates": self._updates}
        told = np.stack(search.scores) if search.scores else np.zeros((0, search.population))
        return {
            "updates": self._updates,
            "start": torch.from_numpy(search.start),
            "seed": search.seed,
            "scores": torch.from_numpy(told),  # (generations, P)
        }

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError for a state of another population."""
        self._updates, self._search = int(state["updates"]), None
        if "start" not in state:
            return
        scores = state["scores"].numpy()
        if scores.shape[1] != self.config.population:
            raise ValueError(f"the saved search has a population of {scores.shape[1]}, not {self.config.population}")
        config = self.config
        self._search = Search.resumed(
            state["start"].numpy(), config.sigma, config.population, int(state["seed"]), scores
        )


def dream_returns(
    ctx: Context, begun: Latent, alive: Tensor, population: Population, horizon: int, discount: float, sampling: Any
) -> Tensor:
    """(R, P): the return of every candidate from every start.

    Args:
        begun: (R,) states from which all candidates start.
        alive: (R,) 0 where the start was a true end already; such a dream is worth nothing.
        sampling: its noise is shared by the candidates of one start.
    """
    state = begun.repeat(population.size)  # (R * P,)
    weight = alive.repeat_interleave(population.size)  # (R * P,)
    total = torch.zeros_like(weight)
    done = 0
    while done < horizon and bool((weight > OVER).any()):
        steps = min(SEGMENT, horizon - done)
        trajectory = ctx.imagination.rollout(state, lambda latent, _: population.act(latent), steps, sampling)
        rewards = ctx.imagination.rewards(trajectory)  # (R * P, steps)
        passed = torch.cumprod(discount * ctx.imagination.continues(trajectory), 1)  # (R * P, steps)
        reached = torch.cat((torch.ones_like(passed[:, :1]), passed[:, :-1]), 1)  # (R * P, steps)
        total = total + weight * (reached * rewards).sum(1)
        weight = weight * passed[:, -1]
        state = trajectory.states[:, -1]
        done += steps
    return total.reshape(-1, population.size)
