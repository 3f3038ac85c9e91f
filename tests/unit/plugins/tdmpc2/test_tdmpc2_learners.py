"""The two learners on toys: their optimizers, their noise, and that the policy climbs."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reverie.assembly.rehearsal import Rehearsal
from reverie.contracts import ActionSpec, Head, Sampling, Transition, View
from reverie.testing.toys import ToyAgent, ToyHead, ToyNormal, toy_action, toy_batch
from reverie_plugins.tdmpc2.actor import PolicyPrior
from reverie_plugins.tdmpc2.config import (
    ImplicitConfig,
    PolicyPriorConfig,
    PolicyPriorLearnerConfig,
    QEnsembleConfig,
    TDMPC2Config,
)
from reverie_plugins.tdmpc2.dynamics import Implicit
from reverie_plugins.tdmpc2.head import QEnsemble, two_of
from reverie_plugins.tdmpc2.learner import TDMPC2
from reverie_plugins.tdmpc2.prior_learner import PolicyPriorLearner

ACTION = toy_action("continuous", 2)


class Hill(Head):
    """Q is highest where the first action is 0.6 and the second -0.3."""

    reads = "before_action"

    def __init__(self) -> None:
        super().__init__(None, 8, ACTION)
        self.top = nn.Parameter(torch.tensor([0.6, -0.3]))

    def forward(self, transition: Transition) -> ToyNormal:
        assert transition.action is not None
        return ToyNormal(-(transition.action - self.top).square().sum(-1), 1.0, 0)


def made(value: Head | None = None) -> ToyAgent:
    torch.manual_seed(0)
    dynamics = Implicit(ImplicitConfig(latent=8, group=4, units=8, layers=1), 6, ACTION)
    heads = {
        "reward": ToyHead(None, 8, ACTION),
        "continue": ToyHead(None, 8, ACTION),
        "value": value or QEnsemble(QEnsembleConfig(units=8, layers=1, zero_init=False, dropout=0.3), 8, ACTION),
    }
    return ToyAgent(
        action=ACTION, dynamics=dynamics, heads=heads, actor=PolicyPrior(PolicyPriorConfig(units=8), 8, ACTION)
    )


def test_the_encoder_learns_more_slowly_and_everything_is_stepped_once():
    agent = made()
    learner = TDMPC2(TDMPC2Config(lr=0.1, encoder_lr_scale=0.3).resolved(agent.slots()), agent)
    others, encoding = learner.optimizers()
    assert (others.defaults["lr"], encoding.defaults["lr"]) == (0.1, pytest.approx(0.03))
    slowly = [*agent.encoder.parameters(), *agent.dynamics.read.parameters()]
    assert {id(p) for p in encoding.param_groups[0]["params"]} == {id(p) for p in slowly}
    stepped = [id(p) for optimizer in (others, encoding) for p in optimizer.param_groups[0]["params"]]
    assert len(stepped) == len(set(stepped))
    assert set(stepped) == {id(p) for p in learner.trained(agent)}


def test_they_save_their_own_state_only():
    agent = made()
    model = TDMPC2(TDMPC2Config().resolved(agent.slots()), agent)
    assert {name.partition(".")[0] for name in model.state_dict()} == {"slow"}
    prior = PolicyPriorLearner(PolicyPriorLearnerConfig(), agent)
    assert {name.partition(".")[0] for name in prior.state_dict()} == {"scale"}


def test_two_ranks_compute_what_one_process_computes_on_the_joined_batch():
    """Dropout and draws of the policy belong to the row; the two heads that are asked are the same on all ranks."""
    agent = made()
    model = TDMPC2(TDMPC2Config().resolved(agent.slots()), agent)
    prior = PolicyPriorLearner(PolicyPriorLearnerConfig(scale_decay=0.0), agent)
    batch = toy_batch(4, 5, action=ACTION)

    def losses(part: Any, shard: tuple[int, int]) -> dict[str, Tensor]:
        sampling = Sampling(generators=[torch.Generator().manual_seed(3)], shard=shard)
        view = View(part, agent, sampling)
        ctx = Rehearsal(agent, sampling, agent.imagination)
        found = model.losses(view, ctx)
        return {**found, **prior.losses(view.detach(), ctx)}

    whole = losses(batch, (0, 1))
    halves = [losses(batch.map(lambda value, r=rank: value[2 * r : 2 * r + 2]), (rank, 2)) for rank in range(2)]
    for name, loss in whole.items():
        if name != "actor":  # its scale is gathered in a run
            torch.testing.assert_close(torch.cat([half[name] for half in halves]), loss)


def test_dropout_leaves_units_out_in_training_and_nowhere_else():
    head = QEnsemble(QEnsembleConfig(units=8, layers=1, zero_init=False, dropout=0.5), 8, ACTION)
    transition = Transition(before=made().dynamics.initial(64), action=torch.zeros(64, 2), after=None)
    plain = head(transition).logits
    assert torch.equal(plain, head(transition).logits)
    noise = Sampling(generators=[torch.Generator().manual_seed(0)])
    first, second = head(transition, dropout=noise).logits, head(transition, dropout=noise).logits
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, plain)
    kept = head._keep(torch.zeros(2000, 3), noise)
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert float(kept.mean()) == pytest.approx(1.0, abs=0.02)


def test_asking_some_heads_equals_asking_all_and_taking_some():
    head = QEnsemble(QEnsembleConfig(units=8, zero_init=False), 8, ACTION)
    transition = Transition(before=made().dynamics.initial(3), action=torch.rand(3, 2), after=None)
    chosen = torch.tensor([3, 1])
    torch.testing.assert_close(head(transition, chosen).logits, head(transition).logits[:, chosen])


def test_pairs_of_heads_are_distinct_and_all_occur():
    sampling = Sampling(generators=[torch.Generator().manual_seed(0)])
    pairs = {frozenset(two_of(5, sampling, torch.device("cpu")).tolist()) for _ in range(200)}
    assert {len(pair) for pair in pairs} == {2}
    assert len(pairs) == 10
    assert two_of(None, sampling, torch.device("cpu")).tolist() == [0]
    assert two_of(2, sampling, torch.device("cpu")).tolist() == [0, 1]


def test_the_policy_climbs_the_values():
    agent = made(Hill())
    learner = PolicyPriorLearner(PolicyPriorLearnerConfig(lr=0.03, entropy=1e-4), agent)
    sampling = Sampling(generators=[torch.Generator().manual_seed(0)])
    view = View(toy_batch(8, 4, action=ACTION), agent, sampling).detach()
    (optimizer,) = learner.optimizers()
    for _ in range(150):
        optimizer.zero_grad()
        learner.losses(view, Rehearsal(agent, sampling, agent.imagination))["actor"].mean().backward()
        optimizer.step()
    mode = agent.actor.policy(view.observed.train).mode.detach()
    assert float((mode - torch.tensor([0.6, -0.3])).abs().max()) < 0.15
    assert agent.heads["value"].top.tolist() == pytest.approx([0.6, -0.3])


def test_what_they_cannot_work_with_is_said():
    agent = made(ToyHead(None, 8, ACTION))
    for learner, config in ((TDMPC2, TDMPC2Config()), (PolicyPriorLearner, PolicyPriorLearnerConfig())):
        with pytest.raises(ValueError, match="must judge actions"):
            learner(config, agent)
    with pytest.raises(ValueError, match="continuous actions"):
        PolicyPrior(PolicyPriorConfig(), 8, ActionSpec("discrete", 3))
    agent = made()
    learner = TDMPC2(TDMPC2Config().resolved(agent.slots()), agent)
    sampling = Sampling(mode="mode")
    single = View(toy_batch(2, 1, action=ACTION), agent, sampling)
    with pytest.raises(ValueError, match="at least 2 steps"):
        learner.losses(single, Rehearsal(agent, sampling, agent.imagination))
