"""Mutations of correctness notes 14 to 16: returns, weights and their scale."""

from mutating import Mutation
from suites import BEHAVIOUR, FOLDED, RESUMED, RETURNS, SCALE

_LAMBDA = "reverie.nn.returns:lambda_return"
_WEIGHTS = "reverie.nn.returns:trajectory_weights"
_SCALE = "reverie.nn.returns:ReturnScale"
_LEARNER = "reverie_plugins.dreamer.learner:ActorCritic"

LAMBDA_RETURNS = [
    Mutation(
        14,
        "returns lean on the value of the state itself",
        "off by one: values chase their own tail",
        _LAMBDA,
        "following = value[:, 1:]",
        "following = value[:, :-1]",
        (
            f"{RETURNS}test_equals_the_mixture_of_n_step_returns",
            f"{RETURNS}test_by_hand",
            f"{RETURNS}test_the_value_of_the_start_is_not_read",
        ),
    ),
    Mutation(
        14,
        "the last value is not bootstrapped from",
        "the horizon becomes the end of the world",
        _LAMBDA,
        "latest = following[:, -1]",
        "latest = torch.zeros_like(following[:, -1])",
        (f"{RETURNS}test_equals_the_mixture_of_n_step_returns", f"{RETURNS}test_by_hand"),
    ),
    Mutation(
        14,
        "lambda is turned round",
        "lambda 0.95 trusts the critic instead of the imagined rewards",
        _LAMBDA,
        "(1 - lam) * kept",
        "lam * kept",
        (f"{RETURNS}test_equals_the_mixture_of_n_step_returns", f"{RETURNS}test_by_hand"),
    ),
    Mutation(
        14,
        "the continue flag is that of the state before",
        "returns go on for one step behind the end",
        _LAMBDA,
        "kept = discount * cont",
        "kept = discount * torch.cat([torch.ones_like(cont[:, :1]), cont[:, :-1]], 1)",
        (f"{RETURNS}test_equals_the_mixture_of_n_step_returns", f"{RETURNS}test_nothing_counts_after_the_end"),
    ),
    Mutation(
        14,
        "the advantage is taken from the value after the step",
        "the baseline of another state",
        f"{_LEARNER}._by_reinforce",
        "judged.returns - judged.value[:, :-1]",
        "judged.returns - judged.value[:, 1:]",
        (f"{BEHAVIOUR}test_reinforce",),
    ),
    Mutation(
        14,
        "the critic is fitted to the return of the state before",
        "every value is one step late",
        f"{_LEARNER}._critic_loss",
        "self._towards(critic, target, slow)[:, :-1]",
        "self._towards(critic, target.roll(1, 1), slow)[:, :-1]",
        (f"{BEHAVIOUR}test_the_critic_follows_returns_and_its_slow_copy",),
    ),
]

WEIGHTS = [
    Mutation(
        15,
        "imagination from a dead start counts",
        "the actor learns from states behind the end, which nobody ever acts in",
        _WEIGHTS,
        "start.unsqueeze(1)",
        "torch.ones_like(start).unsqueeze(1)",
        (
            f"{RETURNS}test_weights_start_from_the_real_flag",
            f"{BEHAVIOUR}test_a_state_behind_a_true_end_counts_nothing",
        ),
    ),
    Mutation(
        15,
        "weights are one step early",
        "a state counts as if it had already ended",
        _WEIGHTS,
        "cont[:, :-1]",
        "cont[:, 1:]",
        (f"{RETURNS}test_weights_start_from_the_real_flag", f"{BEHAVIOUR}test_reinforce"),
    ),
    Mutation(
        15,
        "weights are not discounted",
        "late imagined states weigh as much as early ones",
        _WEIGHTS,
        "discount * cont",
        "cont",
        (f"{RETURNS}test_weights_start_from_the_real_flag", f"{BEHAVIOUR}test_reinforce"),
    ),
    Mutation(
        15,
        "weights are not multiplied up",
        "only the last step decides, not the way there",
        _WEIGHTS,
        "torch.cumprod(steps.detach(), 1)",
        "steps.detach()",
        (f"{RETURNS}test_weights_start_from_the_real_flag", f"{BEHAVIOUR}test_reinforce"),
    ),
    Mutation(
        15,
        "weights carry a gradient",
        "the actor learns to die early where its losses are large",
        _WEIGHTS,
        "steps.detach()",
        "steps",
        (
            f"{RETURNS}test_weights_have_no_gradient",
            f"{BEHAVIOUR}test_the_gradient_of_the_actor_through_the_dynamics_is_the_numerical_one",
        ),
    ),
    Mutation(
        15,
        "a folded discount is applied again",
        "gamma squared: a horizon of 333 steps becomes one of 167",
        f"{_LEARNER}._returns",
        "trajectory_weights(alive, continues, self.discount)",
        "trajectory_weights(alive, continues, self.discount if self.discount < 1 else 0.9)",
        (f"{FOLDED}test_a_discount_in_the_continue_target_takes_the_place_of_the_option",),
    ),
    Mutation(
        15,
        "the option stays beside a folded discount",
        "the same, in the returns",
        f"{_LEARNER}._returns",
        "lambda_return(rewards, continues, value, self.discount,",
        "lambda_return(rewards, continues, value, min(0.9, self.discount),",
        (f"{FOLDED}test_a_discount_in_the_continue_target_takes_the_place_of_the_option",),
    ),
    Mutation(
        15,
        "the actor is not weighted",
        "what comes after an imagined death is learned from",
        f"{_LEARNER}._by_reinforce",
        '"actor": -judged.weights * gain',
        '"actor": -gain',
        (f"{BEHAVIOUR}test_reinforce", f"{BEHAVIOUR}test_a_state_behind_a_true_end_counts_nothing"),
    ),
    Mutation(
        15,
        "the actor is not weighted where its gradient goes through the dynamics",
        "the same, on the other route",
        "reverie_plugins.dreamer.learner:ActorCritic._through_dynamics",
        '"actor": -judged.weights * gain',
        '"actor": -gain',
        (f"{BEHAVIOUR}test_through_the_dynamics",),
    ),
    Mutation(
        15,
        "the critic is not weighted",
        "the critic spends itself on states that are never reached",
        f"{_LEARNER}._critic_loss",
        "judged.weights * self._towards",
        "self._towards",
        (f"{BEHAVIOUR}test_the_critic_follows_returns_and_its_slow_copy",),
    ),
]

RETURN_SCALE = [
    Mutation(
        16,
        "small returns are blown up",
        "without the 1, noise of sparse rewards becomes the signal",
        f"{_SCALE}.divisor",
        "clamp_min(self.floor)",
        "clamp_min(1e-8)",
        (f"{SCALE}test_small_returns_are_not_blown_up", f"{BEHAVIOUR}test_reinforce"),
    ),
    Mutation(
        16,
        "the average forgets at once",
        "the decay is turned round: the scale jumps with every batch",
        f"{_SCALE}.update",
        "self.high.lerp_(quantiles[1].to(self.high.dtype), 1 - self.decay)",
        "self.high.lerp_(quantiles[1].to(self.high.dtype), self.decay)",
        (f"{SCALE}test_equals_numpy_percentiles_and_a_plain_average", f"{BEHAVIOUR}test_reinforce"),
    ),
    Mutation(
        16,
        "the range is that of all returns",
        "one outlier makes every advantage small",
        f"{_SCALE}.update",
        "flat.new_tensor(self.quantiles, dtype=torch.float32)",
        "flat.new_tensor((0.0, 1.0), dtype=torch.float32)",
        (f"{SCALE}test_equals_numpy_percentiles_and_a_plain_average",),
    ),
    Mutation(
        16,
        "the scale is not in the checkpoint",
        "a resumed run divides by 1 and takes steps a hundred times too large",
        f"{_SCALE}.__init__",
        'self.register_buffer("high", torch.zeros(()))',
        'self.register_buffer("high", torch.zeros(()), persistent=False)',
        (
            f"{SCALE}test_saved_and_restored",
            f"{RESUMED}test_a_resumed_learner_goes_on_with_its_slow_copy_and_its_scale",
        ),
    ),
    Mutation(
        16,
        "returns are scaled and values are not",
        "an advantage of different units",
        f"{_LEARNER}._by_reinforce",
        "(judged.returns - judged.value[:, :-1]) / self._divisor(judged, ctx)",
        "judged.returns / self._divisor(judged, ctx) - judged.value[:, :-1]",
        (f"{BEHAVIOUR}test_reinforce",),
    ),
    Mutation(
        16,
        "advantages through the dynamics are not scaled",
        "entropy means something else in every environment",
        f"{_LEARNER}._through_dynamics",
        "gain / self._divisor(judged, ctx)",
        "gain",
        (f"{BEHAVIOUR}test_through_the_dynamics",),
    ),
]

MUTATIONS = [*LAMBDA_RETURNS, *WEIGHTS, *RETURN_SCALE]
