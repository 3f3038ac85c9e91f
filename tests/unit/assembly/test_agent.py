import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reverie.assembly.agent import Agent
from reverie.assembly.state import AgentState
from reverie.contracts import AgentParts, Batch, Observed, Policy, Sampling, SearchPlanner, frozen
from reverie.testing.toys import toy_batch

N, T = 4, 7


def batch_for(agent: Agent, n: int = N) -> Batch:
    return toy_batch(n, T, agent.observation, agent.action)


def at(batch: Batch, t: int, rows: slice = slice(None)) -> tuple[dict[str, Any], Any]:
    return {key: value[rows, t].numpy() for key, value in batch.obs.items()}, batch.is_first[rows, t].numpy()


def play(
    agent: Agent, batch: Batch, state: AgentState, rows: slice = slice(None), **options: Any
) -> tuple[list[Any], list[AgentState]]:
    actions, states = [], []
    for t in range(T):
        obs, is_first = at(batch, t, rows)
        action, state = agent.act(obs, state, is_first, **options)
        actions.append(action)
        states.append(state)
    return actions, states


def test_the_agent_is_a_policy_and_has_its_parts(make_agent: Any):
    agent = make_agent()
    parts: AgentParts = agent
    policy: Policy = agent
    assert parts.slots() == ["encoder", "dynamics", "decoder", "actor", "heads/reward", "heads/continue", "heads/value"]
    assert parts.module("heads/reward") is agent.heads["reward"]
    assert policy is parts
    with pytest.raises(KeyError, match=r"'heads/cost' is empty.*heads/reward"):
        agent.module("heads/cost")


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
@pytest.mark.parametrize("explore", [True, False])
def test_actions_lie_in_the_action_space_and_are_remembered_as_executed(make_agent: Any, kind: str, explore: bool):
    agent = make_agent(kind, noise=2.0, epsilon=0.5)
    actions, states = play(agent, batch_for(agent), agent.initial(N), explore=explore)
    for action, state in zip(actions, states, strict=True):
        assert action.shape == (N, 3)
        assert action.dtype == np.float32
        assert float(np.abs(action).max()) <= 1
        if kind == "discrete":
            assert np.array_equal(np.sort(action, 1), np.tile([0, 0, 1], (N, 1)))
        assert np.array_equal(state.action.numpy(), action)


def test_the_model_is_told_what_was_executed(make_agent: Any):
    agent = make_agent(noise=2.0)
    batch = batch_for(agent)
    seen: list[Tensor] = []
    observe = agent.dynamics.observe

    def spy(embed: Tensor, action: Tensor, is_first: Tensor, state: Any, *, sampling: Sampling) -> Observed[Any]:
        seen.append(action[:, 0].clone())
        return observe(embed, action, is_first, state, sampling=sampling)

    agent.dynamics.observe = spy
    actions, _states = play(agent, batch, agent.initial(N), explore=True)
    assert torch.equal(seen[0], torch.zeros(N, 3))
    for told, executed in zip(seen[1:], actions[:-1], strict=True):
        assert np.array_equal(told.numpy(), executed)


def test_acting_filters_as_observing_whole_chunks_does(make_agent: Any):
    agent = make_agent()
    batch = batch_for(agent)
    actions, states = play(agent, batch, agent.initial(N), mode="mode")
    told = torch.stack([torch.zeros(N, 3), *map(torch.from_numpy, actions[:-1])], 1)
    with torch.no_grad():
        sampling = Sampling("mode")
        embed = agent.encoder(agent.preprocess(batch.obs), sampling)
        whole = agent.dynamics.observe(embed, told, batch.is_first, sampling=sampling)
    assert bool(batch.is_first[:, 1:].any())
    for t, state in enumerate(states):
        torch.testing.assert_close(state.latent.x, whole.states.x[:, t])


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_a_batch_acts_as_each_environment_alone(make_agent: Any, kind: str):
    agent = make_agent(kind, noise=0.3, epsilon=0.3)
    batch, seeds = batch_for(agent), [11, 7, 7 << 40, 0]
    together, _ = play(agent, batch, agent.initial(N, seeds), explore=True)
    for row in range(N):
        some = slice(row, row + 1)
        alone, _ = play(agent, batch, agent.initial(1, seeds[some]), some, explore=True)
        for mine, ours in zip(alone, together, strict=True):
            np.testing.assert_allclose(mine, ours[some], atol=1e-6)


def test_noise_differs_between_environments_steps_and_seeds(make_agent: Any):
    agent = make_agent(noise=0.3)
    obs = {key: np.zeros((2, *spec.shape), np.float32) for key, spec in agent.observation.items()}
    first = np.ones(2, bool)

    def act(seeds: list[int], steps: int) -> Any:
        state = agent.initial(2, seeds)
        state = AgentState(state.latent, state.action, {}, state.seeds, state.steps + steps)
        return agent.act(obs, state, first, explore=True)[0]

    base = act([1, 2], 0)
    assert not np.allclose(base[0], base[1])
    assert not np.allclose(base, act([1, 2], 1))
    assert not np.allclose(base, act([3, 4], 0))
    assert np.array_equal(base, act([1, 2], 0))
    assert np.array_equal(base[0], act([1, 9], 0)[0])
    _action, state = agent.act(obs, agent.initial(2, [1, 2]), first, explore=True)
    assert state.steps.tolist() == [1, 1]
    assert np.array_equal(agent.act(obs, state, first, explore=True)[0], act([1, 2], 1)), "each call is a step"


def test_torchs_own_generator_is_never_touched(make_agent: Any):
    agent = make_agent(noise=0.3)
    before = torch.get_rng_state()
    play(agent, batch_for(agent), agent.initial(N), explore=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_by_default_only_exploring_draws(make_agent: Any):
    agent = make_agent()
    batch = batch_for(agent)
    greedy = [play(agent, batch, agent.initial(N, seeds))[0] for seeds in ([1, 2, 3, 4], [5, 6, 7, 8])]
    assert np.array_equal(greedy[0], greedy[1])
    explored, drawn, modes = (
        play(agent, batch, agent.initial(N), **options)[0]
        for options in ({"explore": True}, {"mode": "sample"}, {"mode": "mode", "explore": True})
    )
    assert np.array_equal(explored, drawn), "there is no exploration noise in this agent"
    assert np.array_equal(modes, greedy[0])
    assert not np.allclose(explored, greedy[0])


def test_epsilon_replaces_actions_as_often_as_it_says(make_agent: Any):
    agent = make_agent("discrete", epsilon=0.25)
    n = 3000
    obs = {key: np.zeros((n, *spec.shape), np.float32) for key, spec in agent.observation.items()}
    state, first = agent.initial(n), np.ones(n, bool)
    greedy = agent.act(obs, state, first, mode="mode")[0]
    explored = agent.act(obs, state, first, mode="mode", explore=True)[0]
    changed = float((greedy != explored).any(1).mean())
    assert changed == pytest.approx(0.25 * 2 / 3, abs=0.02)  # one of three random actions is the greedy one


def test_exploration_noise_has_the_deviation_it_says(make_agent: Any):
    agent = make_agent(noise=0.1)
    n = 3000
    obs = {key: np.zeros((n, *spec.shape), np.float32) for key, spec in agent.observation.items()}
    state, first = agent.initial(n), np.ones(n, bool)
    greedy = agent.act(obs, state, first, mode="mode")[0]
    explored = agent.act(obs, state, first, mode="mode", explore=True)[0]
    assert float((explored - greedy).std()) == pytest.approx(0.1, rel=0.05)


def test_planner_memory_begins_anew_where_an_episode_does(make_agent: Any, counting: type[SearchPlanner]):
    agent = make_agent(planner=counting)
    obs = {key: np.zeros((3, *spec.shape), np.float32) for key, spec in agent.observation.items()}
    state = agent.initial(3)
    for is_first, wanted in (
        ([True, True, True], [1, 1, 1]),
        ([False, False, False], [2, 2, 2]),
        ([False, True, False], [3, 1, 3]),
        ([False, False, True], [4, 2, 1]),
    ):
        action, state = agent.act(obs, state, np.array(is_first))
        np.testing.assert_allclose(action[:, 0], 0.1 * np.array(wanted), rtol=1e-6)


def test_the_actor_acts_alone_and_leaves_the_planners_memory(make_agent: Any, counting: type[SearchPlanner]):
    agent = make_agent(planner=counting)
    batch = batch_for(agent)
    obs, is_first = at(batch, 0)
    _action, state = agent.act(obs, agent.initial(N), is_first)
    action, after = agent.act(obs, state, np.zeros(N, bool), who="actor")
    assert torch.equal(after.carry["count"], state.carry["count"])
    policy = agent.actor.policy(after.latent)
    np.testing.assert_allclose(action, policy.mode.detach().clamp(-1, 1).numpy(), rtol=1e-6)
    agent.actor = None
    with pytest.raises(ValueError, match="no actor"):
        agent.act(obs, state, is_first, who="actor")


def test_the_planners_memory_does_not_outlive_an_episode_that_the_actor_ended(
    make_agent: Any, counting: type[SearchPlanner]
):
    """Note 23: stages may hand an environment from the planner to the actor and back."""
    agent = make_agent(planner=counting)
    obs = {key: np.zeros((2, *spec.shape), np.float32) for key, spec in agent.observation.items()}
    _, state = agent.act(obs, agent.initial(2), np.array([True, True]))
    _, state = agent.act(obs, state, np.array([False, True]), who="actor")
    action, _ = agent.act(obs, state, np.array([False, False]))
    np.testing.assert_allclose(action[:, 0], [0.2, 0.1], rtol=1e-6)


def test_planners_by_gradient_get_their_gradient(make_agent: Any, climbing: type[SearchPlanner]):
    agent = make_agent(planner=climbing, vectors="none")
    with torch.no_grad():
        agent.heads["continue"].linear.weight.zero_()
        agent.heads["continue"].linear.bias.fill_(1.0)
    batch = batch_for(agent)
    obs, is_first = at(batch, 0)
    action, state = agent.act(obs, agent.initial(N), is_first, mode="mode")
    # d score / d a_0 = reward . (B + A B) for x' = A x + B a, summed over two steps.
    weight, reward = agent.dynamics.transition.weight, agent.heads["reward"].linear.weight[0]
    A, B = weight[:, :4], weight[:, 4:]
    wanted = (reward @ B + reward @ A @ B).detach().clamp(-1, 1)
    np.testing.assert_allclose(action, wanted.expand(N, -1).numpy(), rtol=1e-4)
    assert not state.latent.x.requires_grad


def test_state_round_trip(make_agent: Any, counting: type[SearchPlanner]):
    agent = make_agent(planner=counting, noise=0.1)
    batch = batch_for(agent)
    state = agent.initial(N, [5, 6, 7, 8])
    for t in range(3):
        obs, is_first = at(batch, t)
        _, state = agent.act(obs, state, is_first, explore=True)
    tensors = {name: value.clone() for name, value in state.tensors().items()}
    assert set(tensors) == {"latent.x", "latent.mean", "carry.count", "action", "seeds", "steps"}
    restored = agent.state_from(tensors)
    obs, is_first = at(batch, 3)
    mine, theirs = (agent.act(obs, one, is_first, explore=True) for one in (state, restored))
    assert np.array_equal(mine[0], theirs[0])
    for name, value in mine[1].tensors().items():
        assert torch.equal(value, theirs[1].tensors()[name])


def test_some_environments_of_a_state(make_agent: Any, counting: type[SearchPlanner]):
    agent = make_agent(planner=counting)
    state = agent.initial(4, [1, 2, 3, 4])[[2, 0]]
    assert len(state) == 2
    assert state.seeds.tolist() == [3, 1]
    assert state.carry["count"].shape == (2, 1)
    assert torch.equal(state.to("cpu").action, state.action)


def test_another_action_may_have_been_executed(make_agent: Any):
    state = make_agent().initial(2)
    assert state.executed(np.ones((2, 3), np.float32)).action.tolist() == [[1.0] * 3] * 2
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        state.executed(np.ones((2, 2)))


def test_train_and_eval_act_alike(make_agent: Any):
    agent = make_agent()
    batch = batch_for(agent)
    trained = play(agent.train(), batch, agent.initial(N), explore=True)[0]
    assert np.array_equal(trained, play(agent.eval(), batch, agent.initial(N), explore=True)[0])


def test_a_state_may_enter_a_graph(make_agent: Any):
    agent = make_agent()
    _actions, states = play(agent, batch_for(agent), agent.initial(N))
    agent.actor.policy(states[-1].latent).mean.sum().backward()
    assert agent.actor.linear.weight.grad is not None


def test_acting_leaves_parameters_fit_for_training(make_agent: Any):
    agent = make_agent()
    batch = batch_for(agent)
    play(agent, batch, agent.initial(N), explore=True)
    obs = agent.preprocess(batch.obs)
    with frozen([agent.decoder]):
        play(agent, batch, agent.initial(N), explore=True)
    observed = agent.dynamics.observe(agent.encoder(obs, Sampling()), batch.action, batch.is_first, sampling=Sampling())
    agent.actor.policy(observed.states).mean.sum().backward()
    for slot in ("encoder", "dynamics", "actor"):
        assert all(p.grad is not None for p in agent.module(slot).parameters()), slot


def test_a_copy_is_an_agent_of_its_own(make_agent: Any):
    agent = make_agent(noise=0.1)
    batch = batch_for(agent)
    twin = copy.deepcopy(agent)
    assert twin.planner is twin.actor
    assert twin.imagination._agent is twin
    with torch.no_grad():
        agent.actor.linear.bias.add_(5.0)
    mine, theirs = (play(one, batch, one.initial(N))[0] for one in (agent, twin))
    assert not np.allclose(mine, theirs)


def test_the_actor_is_saved_once(make_agent: Any, counting: type[SearchPlanner]):
    assert [name for name in make_agent().state_dict() if "linear" in name and "actor" in name] == [
        "actor.linear.weight",
        "actor.linear.bias",
    ]

    class Module(counting, nn.Module):  # type: ignore[misc, valid-type]
        """A planner with a parameter, that also holds the actor."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.p = nn.Parameter(torch.zeros(()))

    agent = make_agent(planner=Module)
    assert agent.planner.proposal is agent.actor
    assert "planner" in agent.slots()
    assert [name for name in agent.state_dict() if name.startswith("planner")] == ["planner.p"]


def test_frozen_slots_take_no_gradient(make_agent: Any):
    agent = make_agent(frozen=["encoder", "heads/reward"])
    assert agent.frozen_slots == {"encoder", "heads/reward"}
    for slot in agent.slots():
        assert all(p.requires_grad == (slot not in agent.frozen_slots) for p in agent.module(slot).parameters())


def test_precision_follows_the_modules(make_agent: Any):
    agent = make_agent().double()
    batch = batch_for(agent)
    obs, is_first = at(batch, 0)
    action, state = agent.act(obs, agent.initial(N), is_first, explore=True)
    assert action.dtype == np.float32
    assert state.latent.x.dtype == torch.float64


def test_what_does_not_belong_together_is_named(make_agent: Any):
    agent = make_agent()
    obs, is_first = at(batch_for(agent), 0)
    with pytest.raises(ValueError, match=r"keys \['.*state'.*\], not ndarray"):
        agent.act(obs["state"], agent.initial(N), is_first)
    with pytest.raises(ValueError, match=r"not the keys \['stat'\]"):
        agent.act({"stat": obs["state"]}, agent.initial(N), is_first)
    with pytest.raises(ValueError, match=rf"state is of {N + 1} environments"):
        agent.act(obs, agent.initial(N + 1), is_first)
    with pytest.raises(ValueError, match=r"\{'is_first': 1\}"):
        agent.act(obs, agent.initial(N), is_first[:1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": np.zeros((N, 4), np.float32)}, r"'state' has shape \(4, 4\), not \(n, 5\)"),
        ({"state": np.zeros((5,), np.float32)}, "'state' has shape"),
    ],
)
def test_wrong_observations_are_named(make_agent: Any, change: Mapping[str, Any], message: str):
    agent = make_agent()
    obs, is_first = at(batch_for(agent), 0)
    with pytest.raises(ValueError, match=message):
        agent.act({**obs, **change}, agent.initial(N), is_first)
    with pytest.raises(ValueError, match="2 seeds for 3"):
        agent.initial(3, [1, 2])
