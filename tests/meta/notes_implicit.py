"""Mutations of an implicit world model: rollouts, targets, and which gradient enters what (notes 1, 4, 13 and 18)."""

from mutating import Mutation
from suites import IMPLICIT

_DYNAMICS = "reverie_plugins.tdmpc2.dynamics:Implicit"
_LEARNER = "reverie_plugins.tdmpc2.learner:TDMPC2"
_LATENT = "reverie_plugins.tdmpc2.latent"
_TRANSITIONS = f"{IMPLICIT}test_reward_value_and_continue_are_loops_over_transitions"
_CONSISTENCY = f"{IMPLICIT}test_consistency_is_a_loop_over_predictions_and_their_observations"
_TARGETS = f"{IMPLICIT}test_targets_are_rewards_and_the_smaller_of_two_slow_values"

MUTATIONS = [
    Mutation(
        1,
        "an open-loop rollout runs on into the next episode",
        "the model is trained to predict resets that it cannot know",
        f"{_DYNAMICS}.observe",
        "torch.where(forget[:, t], states[:, t], predicted)",
        "predicted",
        (f"{IMPLICIT}test_training_states_are_open_loop_rollouts_that_begin_anew_with_each_episode",),
    ),
    Mutation(
        4,
        "a time limit ends the value of an action",
        "states near a limit look worthless, whatever is done in them",
        f"{_LEARNER}.target",
        "view.batch.cont[:, 1:]",
        "(~view.batch.is_last[:, 1:]).float()",
        (_TARGETS,),
    ),
    Mutation(
        4,
        "values go on behind a true end",
        "falling looks as good as whatever the value head makes of a state that nobody acts in",
        f"{_LEARNER}.target",
        "self.discount * view.batch.cont[:, 1:]",
        "self.discount",
        (_TARGETS,),
    ),
    Mutation(
        13,
        "value and reward do not shape the latents",
        "consistency alone is best served by latents that are all the same",
        "reverie_plugins.tdmpc2.learner:_read",
        "view.observed.train",
        "view.observed.train.detach()",
        (f"{IMPLICIT}test_each_loss_of_the_model_reaches_encoder_and_dynamics",),
    ),
    Mutation(
        13,
        "heads are trained on encoded states",
        "plans are judged on predicted states, which the heads have never seen",
        "reverie_plugins.tdmpc2.learner:_read",
        "view.observed.train",
        "view.observed.states",
        (_TRANSITIONS,),
    ),
    Mutation(
        13,
        "the observation is pulled towards its prediction",
        "the shortest way to agreement: every observation is encoded alike",
        f"{_DYNAMICS}.losses",
        "observed.states.z.detach()",
        "observed.states.z",
        (f"{IMPLICIT}test_consistency_moves_predictions_and_not_what_they_are_held_to",),
    ),
    Mutation(
        13,
        "the policy trains the values that it climbs",
        "values rise wherever the policy goes",
        "reverie_plugins.tdmpc2.prior_learner:PolicyPriorLearner.losses",
        'ctx.frozen(["heads/value"])',
        "ctx.frozen([])",
        (f"{IMPLICIT}test_the_policy_loss_trains_the_policy_alone",),
    ),
    Mutation(
        13,
        "targets take the larger of two values",
        "errors of the value heads are chosen and multiply",
        f"{_LEARNER}.target",
        "following.amin(-1)",
        "following.amax(-1)",
        (_TARGETS,),
    ),
    Mutation(
        13,
        "far predictions weigh as much as near ones",
        "early in training the model chases its own errors",
        f"{_LATENT}:rollout_weights",
        "torch.pow(rho,",
        "torch.pow(1.0,",
        (_CONSISTENCY, _TRANSITIONS, f"{IMPLICIT}test_the_policy_loss_is_a_loop_over_states"),
    ),
    Mutation(
        13,
        "learners fade by a number of their own, whatever the dynamics says",
        "an ablation of rho changes one loss of three",
        "reverie_plugins.tdmpc2.dynamics:decay_of",
        "dynamics.config.rho if isinstance(dynamics, Implicit) else 0.5",
        "0.5",
        (f"{IMPLICIT}test_one_rho_serves_dynamics_and_learners_unless_a_learner_has_its_own",),
    ),
    Mutation(
        13,
        "the first step of an episode counts as a transition",
        "the reward and the value of an action that was never taken",
        f"{_LATENT}:transition_weights",
        "* (~is_first[:, 1:]).to(dtype)",
        "",
        (_TRANSITIONS,),
    ),
    Mutation(
        18,
        "targets of values are made of the heads that learn from them",
        "values chase their own tail",
        f"{_LEARNER}.target",
        "values(self.slow,",
        'values(ctx.agent.heads["value"],',
        (f"{IMPLICIT}test_targets_are_those_of_the_slow_copy_which_follows_slowly",),
    ),
]
