"""The alignment environment through a real agent: what it filters while acting is what it filters in training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from reverie.assembly.agent import Agent
from reverie.contracts import Sampling, Transition, View
from reverie.recipes.schema import Replay as ReplaySettings
from reverie.testing.environments import AlignmentFactory
from reverie.training.collector import Collector
from reverie.training.environments import VectorEnvironments
from reverie.training.replay import Replay
from reverie.training.replay.columns import empty
from reverie_plugins.heads.config import BernoulliConfig, GaussianConfig
from reverie_plugins.heads.head import BernoulliHead, GaussianHead
from reverie_plugins.perception.config import VectorEncoderConfig
from reverie_plugins.perception.encoder import VectorEncoder
from reverie_plugins.policies.actor import MLPActor
from reverie_plugins.policies.config import ActorPlannerConfig, MLPActorConfig
from reverie_plugins.policies.planner import ActorPlanner
from reverie_plugins.rssm.config import RSSMConfig
from reverie_plugins.rssm.dynamics import RSSM

CASES = [(kind, latent) for kind in ("continuous", "discrete") for latent in ("categorical", "gaussian")]
COUNT, STEPS = 3, 28
QUIET = Sampling("mode")


class Watched(Agent):
    """Draws nothing at random but its exploration, and keeps every filtered state."""

    def act(self, obs, state, is_first, **options):
        action, after = super().act(obs, state, is_first, **{**options, "mode": "mode"})
        self.filtered.append((np.array(obs["clock"]), after.latent))
        return action, after


def agent_of(factory, latent):
    torch.manual_seed(0)
    encoder = VectorEncoder(VectorEncoderConfig(), factory.observation)
    dynamics = RSSM(RSSMConfig(latent=latent, deter=16, hidden=16, groups=4), encoder.embed_size, factory.action)
    actor = MLPActor(MLPActorConfig(), dynamics.feature_size, factory.action)
    size = dynamics.feature_size
    heads = {
        "reward": GaussianHead(GaussianConfig(), size, factory.action),
        "continue": BernoulliHead(BernoulliConfig(), size, factory.action),
    }
    planner = ActorPlanner(ActorPlannerConfig(), factory.action, actor)
    agent = Watched(
        factory.observation,
        factory.action,
        encoder=encoder,
        dynamics=dynamics,
        actor=actor,
        planner=planner,
        heads=heads,
        vectors="symlog",
        noise=0.5,
        epsilon=0.5,
    )
    agent.filtered = []
    for parameter in agent.parameters():  # heads begin with zero weights, which would hide everything
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    return agent.eval()


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request, tmp_path_factory):
    """An agent, and everything it collected: whole streams as a batch (COUNT, T)."""
    kind, latent = request.param
    factory = AlignmentFactory(kind=kind)
    agent = agent_of(factory, latent)
    environments = VectorEnvironments(factory, COUNT, seed=2)
    replay = Replay(
        tmp_path_factory.mktemp("replay"), factory.observation, factory.action, COUNT, ReplaySettings(chunk=16)
    )
    Collector(agent, environments, replay, seed=2).collect("actor", steps=STEPS)
    environments.close()
    return agent, [whole(replay, index) for index in range(COUNT)]


def whole(replay, stream):
    """All rows of a stream as a batch of one."""
    mine = replay._streams[stream]
    batch = empty(replay._layout, len(mine))
    replay._copy(mine, 0, len(mine), batch, 0)
    return replay._batch(batch, 1, len(mine))


def observed(agent, batch):
    with torch.no_grad():
        return View(batch, agent, QUIET).observed.states


def close(one, other):
    return all(
        torch.allclose(mine, theirs, atol=1e-5)
        for mine, theirs in zip(one.tensors().values(), other.tensors().values(), strict=True)
    )


def test_states_filtered_while_acting_are_those_of_training(case):
    """Every index that an agent acted on: the previous action, the resets and the observation all fit together."""
    agent, batches = case
    for index, batch in enumerate(batches):
        states = observed(agent, batch)
        acted = [t for t in range(batch.shape[1]) if not batch.is_last[0, t]]
        assert len(acted) >= STEPS
        for t, (clock, latent) in zip(acted, agent.filtered, strict=False):
            assert np.array_equal(clock[index], batch.obs["clock"][0, t].numpy())
            assert close(latent[index : index + 1], states[:, t]), f"environment {index}, row {t}"


def poisoned(batch, border):
    """The batch with everything before `border`, and the action and reward at it, replaced by nonsense."""

    def noise(value, end):
        value = value.clone()
        value[:, :end] = torch.rand_like(value[:, :end]) * 2 - 1
        return value

    return replace(
        batch,
        obs={key: noise(value, border) for key, value in batch.obs.items()},
        action=noise(batch.action, border + 1),
        reward=noise(batch.reward, border + 1),
    )


def test_nothing_crosses_an_episode_border_not_even_the_action(case):
    agent, batches = case
    torch.manual_seed(1)
    for batch in batches:
        clean = observed(agent, batch)
        borders = torch.nonzero(batch.is_first[0, 1:]).flatten() + 1
        assert len(borders) >= 3
        for border in borders.tolist():
            spoiled = observed(agent, poisoned(batch, border))
            assert close(spoiled[:, border:], clean[:, border:])
            assert not close(spoiled[:, :border], clean[:, :border])
            assert agent_heads(agent, spoiled[:, border:]) == agent_heads(agent, clean[:, border:])


def agent_heads(agent, states):
    with torch.no_grad():
        found = [head(Transition(before=None, action=None, after=states)).mean for head in agent.heads.values()]
    return [[round(value, 4) for value in one.flatten().tolist()] for one in found]


def test_an_action_changes_the_state_it_led_to_and_no_earlier_one(case):
    agent, batches = case
    batch = batches[0]
    clean = observed(agent, batch)
    for t in range(1, 20):
        action = batch.action.clone()
        action[:, t] = action[:, t].roll(1, dims=-1) + 0.1
        changed = observed(agent, replace(batch, action=action))
        assert close(changed[:, :t], clean[:, :t])
        assert close(changed[:, t], clean[:, t]) == bool(batch.is_first[0, t])


def test_heads_see_the_transition_that_the_rows_describe(case):
    """`before` and `action` of index t lead to row t: there, and only there, o_t = f(a_t) in the batch's indices."""
    agent, batches = case
    for batch in batches:
        with torch.no_grad():
            view = View(batch, agent, QUIET)
            seen = view.transition("transition")
        states = view.observed.train
        assert torch.equal(seen.valid, ~batch.is_first & (torch.arange(batch.shape[1]) > 0))
        assert close(seen.before[:, 1:], states[:, :-1])
        assert close(seen.after, states)
        action, echo = seen.action[seen.valid], batch.obs["echo"][seen.valid]
        assert torch.equal(0.25 + 0.5 * action.flip(-1), echo)
        assert torch.equal(batch.cont, 1 - (batch.is_terminal).float())
