"""The ensemble and the identity codecs in recipes: what fits is built, what does not is told in one message."""

from pathlib import Path

import pytest
import torch

from reverie.assembly.build import build_agent, build_environment
from reverie.contracts import ActionSpec, ArraySpec, ObservationSpec, Sampling, Transition
from reverie.errors import RecipeError
from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import prepare
from reverie_plugins.ensemble.config import EnsembleConfig
from reverie_plugins.ensemble.dynamics import Ensemble
from reverie_plugins.ensemble.latent import EnsembleLatent
from reverie_plugins.perception.config import IdentityDecoderConfig, IdentityEncoderConfig
from reverie_plugins.perception.identity import IdentityDecoder, IdentityEncoder
from reverie_plugins.shooting.config import CEMConfig

PLUGINS = load_plugins()
OBSERVATION = ObservationSpec(
    {"state": ArraySpec((3,), "float32"), "camera": ArraySpec((8, 8, 3), "uint8"), "touch": ArraySpec((2,), "float32")}
)


def told(*overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        prepare("pets", list(overrides), plugins=PLUGINS)
    return str(caught.value)


def test_the_shipped_recipe_observes_what_the_environment_shows() -> None:
    recipe = prepare("pets", ["env=pendulum"], plugins=PLUGINS)
    factory = build_environment(recipe)
    agent = build_agent(recipe, factory.observation, factory.action)
    assert agent.dynamics.members == 5
    assert not {"encoder", "decoder"} & set(agent.slots())  # identity has nothing to train
    agent.update_statistics({"state": torch.tensor([[1.0, 0.0, 4.0], [-1.0, 0.5, -4.0]])})
    raw = {"state": torch.tensor([[0.3, 0.4, 2.0]])}
    seen = agent.preprocess(raw)
    latent = agent.dynamics.observe(
        agent.encoder(seen, Sampling())[:, None], torch.zeros(1, 1, 1), torch.ones(1, 1).bool(), sampling=Sampling()
    ).last
    assert torch.equal(latent.features, seen["state"])
    shown = agent.postprocess({"state": agent.decoder(latent.code)["state"].mean})["state"]
    torch.testing.assert_close(shown, raw["state"])


READERS = ("heads.value", "heads.reward", "actor")
"""What reads the observation itself where nothing is encoded."""


def readings(sizes: tuple[float, ...], *overrides: str) -> dict[str, list[torch.Tensor]]:
    """What each reader makes of the same 16 directions at several sizes: (16,) or (16, A) for each size."""
    torch.manual_seed(0)
    recipe = prepare("pets", list(overrides), plugins=PLUGINS)
    factory = build_environment(recipe)
    agent = build_agent(recipe, factory.observation, factory.action)
    value, reward, actor = agent.heads["value"], agent.heads["reward"], agent.actor
    assert actor is not None
    noise = torch.Generator().manual_seed(0)
    for reader, deviation in ((value, 1.0), (reward, 1.0), (actor, 0.2)):  # their last layers begin at or near 0
        last = [part for part in reader.modules() if isinstance(part, torch.nn.Linear)][-1]
        torch.nn.init.normal_(last.weight, std=deviation, generator=noise)
    x = torch.randn(16, agent.dynamics.feature_size, generator=noise)
    found: dict[str, list[torch.Tensor]] = {reader: [] for reader in READERS}
    for size in sizes:
        state = EnsembleLatent(size * x, torch.zeros(16, dtype=torch.int64))
        transition = Transition(before=state, action=torch.zeros(16, agent.action.size), after=state)
        with torch.no_grad():
            said = (value(transition).mean, reward(transition).mean, actor.policy(state).mean)
        for reader, mean in zip(READERS, said, strict=True):
            found[reader].append(mean)
    return found


def seen_sizes(env: str, *overrides: str) -> dict[str, float]:
    """Share of what is read that differs by more than a tenth of itself between states of size 1 and of size 10."""
    return {
        reader: float(((near - far).abs() > 0.1 * torch.maximum(near.abs(), far.abs())).float().mean())
        for reader, (near, far) in readings((1.0, 10.0), f"env={env}", *overrides).items()
    }


@pytest.mark.parametrize("env", ["cartpole", "pendulum"])
def test_what_reads_the_observation_sees_its_size(env: str) -> None:
    assert min(seen_sizes(env).values()) > 0.6


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("env", ["cartpole", "pendulum"])
def test_behind_a_layer_norm_it_would_see_the_direction_alone(env: str, reader: str) -> None:
    shares = seen_sizes(env, f"{reader}.norm=layer")
    assert shares.pop(reader) < 0.2
    assert min(shares.values()) > 0.6


@pytest.mark.parametrize("env", ["cartpole", "pendulum"])
def test_what_reads_the_observation_stays_within_bounds(env: str) -> None:
    """A young model's imagination leaves all bounds."""
    for far, farther in readings((1e6, 1e9), f"env={env}").values():
        assert torch.isfinite(far).all()
        torch.testing.assert_close(far, farther, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["pets", "latent_vs_observation"])
def test_value_and_planner_discount_alike_where_actions_repeat(name: str) -> None:
    recipe = prepare(name, ["env=dmc/cartpole_swingup"], plugins=PLUGINS)
    env, learner, planner = (recipe.choices[slot].config for slot in ("env", "learners/value", "planner"))
    assert env.action_repeat == 8
    assert learner.per_decision(learner.discount, env.action_repeat) == planner.discount == 0.98


def test_the_search_of_the_paper_is_spelled_out() -> None:
    """The command that the recipe's page gives, against the numbers of Chua et al. 2018."""
    page = Path(__file__).parents[4] / "docs/recipes/pets.md"
    (line,) = [line for line in page.read_text().splitlines() if "planner.size=pets" in line]
    assert line.startswith("$ reverie check pets ")
    recipe = prepare("pets", line.removeprefix("$ reverie check pets ").split(), plugins=PLUGINS)
    paper = {
        "horizon": 25, "candidates": 400, "elites": 40, "iterations": 5, "momentum": 0.1, "noise": "truncated",
        "std": 0.5, "min_std": 0.0, "warm_start": True, "particles": 20,
        "proposals": 0, "bootstrap": False, "discount": 1.0,
    }  # fmt: skip
    assert recipe.choices["planner"].config.model_dump() == {**CEMConfig().model_dump(), **paper}


def test_another_value_is_one_line_away() -> None:
    prepare("pets", ["learners/value=fitted_value", "actor=null", "planner.proposals=0"], plugins=PLUGINS)
    prepare("pets", ["planner=guided"], plugins=PLUGINS)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["dynamics.members=0"], "greater than 0"),
        (["env=cartpole_pixels"], "encoder (identity) reads vector entries"),
        (["dynamics=rssm"], "decoder (identity) needs dynamics to provide 'embedding', which rssm does not"),
        (["encoder=vector"], "decoder (identity) needs encoder to provide 'observation', which vector does not"),
        (["dynamics.propagation=ts2"], "ts1"),
        (["planner.risk=1", "dynamics.members=1"], "every plan is judged by one particle"),
        (["planner.risk=1", "planner.particles=1"], "every plan is judged by one particle"),
    ],
)
def test_a_mix_that_cannot_work_is_refused(overrides: list[str], expected: str) -> None:
    assert expected in told(*overrides)


def test_risk_over_members_is_fine() -> None:
    prepare("pets", ["planner.risk=1"], plugins=PLUGINS)
    prepare("pets", ["planner.risk=1", "dynamics.members=1", "planner.particles=4"], plugins=PLUGINS)


def test_identity_joins_vectors_in_order_and_takes_them_apart_again() -> None:
    encoder = IdentityEncoder(IdentityEncoderConfig(), OBSERVATION)
    decoder = IdentityDecoder(IdentityDecoderConfig(), 5, OBSERVATION)
    obs = {"touch": torch.randn(4, 6, 2), "state": torch.randn(4, 6, 3), "camera": torch.zeros(4, 6, 3, 8, 8)}
    embed = encoder(obs, Sampling())
    assert torch.equal(embed, torch.cat((obs["state"], obs["touch"]), -1))
    decoded = decoder(embed)
    assert list(decoded) == ["state", "touch"]
    assert all(torch.equal(decoded[key].mean, obs[key]) for key in decoded)


def test_a_code_of_another_size_is_no_observation() -> None:
    with pytest.raises(ValueError, match="the code has 7 numbers and the vector entries have 5"):
        IdentityDecoder(IdentityDecoderConfig(), 7, OBSERVATION)


@pytest.mark.parametrize("mode", ["sample", "mode"])
def test_a_filtered_step_is_a_step_of_observe(mode: str) -> None:
    dynamics = Ensemble(EnsembleConfig(members=3), 4, ActionSpec("discrete", 2))

    def sampling() -> Sampling:
        return Sampling(mode=mode, generators=[torch.Generator().manual_seed(row) for row in range(3)])  # type: ignore[arg-type]

    embed, action, first = torch.randn(3, 4), torch.eye(2)[[0, 1, 1]], torch.tensor([True, False, False])
    whole = dynamics.observe(embed[:, None], action[:, None], first[:, None], dynamics.initial(3), sampling=sampling())
    step = dynamics.filter(embed, action, first, dynamics.initial(3), sampling=sampling())
    assert torch.equal(step.x, whole.last.x)
    assert torch.equal(step.member, whole.last.member)


def test_filtered_states_are_spread_over_the_members() -> None:
    """So that learners which imagine from them, without branching, hear all members."""
    dynamics = Ensemble(EnsembleConfig(members=4), 2, ActionSpec("continuous", 1))
    sampling = Sampling(generators=[torch.Generator().manual_seed(0)])
    member = dynamics.observe(
        torch.zeros(50, 40, 2), torch.zeros(50, 40, 1), torch.zeros(50, 40).bool(), sampling=sampling
    ).states.member
    assert bool(((member.flatten().bincount(minlength=4) - 500).abs() < 100).all())
