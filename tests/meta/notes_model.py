"""Mutations of correctness notes 9 to 11: divergence, categoricals, the recurrent cell."""

from mutating import Mutation
from suites import DISTRIBUTIONS, GRU, KL, POLICIES, RSSM

_ONE_HOT = "reverie.nn.distributions.one_hot:OneHot"
_BALANCED = "reverie.nn.kl:kl_balanced"
_JOINT = "reverie.nn.kl:kl_joint"
_CELL = "reverie.nn.recurrent:GRUCell.forward"
_LOSSES = "reverie_plugins.rssm.dynamics:RSSM.losses"

DIVERGENCE = [
    Mutation(
        9,
        "the floor comes before the sum over latents",
        "32 latents with a nat each: 32 nats are free, and the model may say nothing of what it saw",
        f"{_ONE_HOT}.kl",
        "return sum_event(self.probs * (self.log_probs - other.log_probs), self.event_dims)",
        "each = (self.probs * (self.log_probs - other.log_probs)).sum(-1); "
        "return sum_event(each.clamp_min(1.0), self.event_dims - 1)",
        (f"{KL}test_v3_sums_over_latents_before_the_floor", f"{KL}test_v3_is_a_loop_over_steps"),
    ),
    Mutation(
        9,
        "the mean comes before the floor",
        "one surprising step frees all others, or one dull batch stops all learning",
        _BALANCED,
        "post.detach().kl(prior).clamp_min(free_nats)",
        "post.detach().kl(prior).mean().clamp_min(free_nats).expand(post.batch_shape)",
        (f"{KL}test_v3_is_a_loop_over_steps", f"{KL}test_a_step_below_the_floor_has_no_gradient_and_one_above_has"),
    ),
    Mutation(
        9,
        "the representation has no floor",
        "the posterior is pressed onto the prior where it is free",
        _BALANCED,
        "post.kl(prior.detach()).clamp_min(free_nats)",
        "post.kl(prior.detach())",
        (f"{KL}test_v3_floors_each_step_and_each_term", f"{KL}test_v3_is_a_loop_over_steps"),
    ),
    Mutation(
        9,
        "the scales change places",
        "the posterior runs after the prior instead of the prior after the posterior",
        _BALANCED,
        "return dyn * dynamics, rep * representation",
        "return rep * dynamics, dyn * representation",
        (f"{KL}test_v3_sums_over_latents_before_the_floor", f"{KL}test_v3_is_a_loop_over_steps"),
    ),
    Mutation(
        9,
        "the dynamics term trains the posterior as well",
        "both terms pull at both distributions; the balance is gone",
        _BALANCED,
        "post.detach().kl(prior)",
        "post.kl(prior)",
        (f"{KL}test_v3_dynamics_term_trains_the_prior_and_representation_term_the_posterior",),
    ),
    Mutation(
        9,
        "prior and posterior change places",
        "the other divergence: the prior covers nothing but one mode",
        _LOSSES,
        "kl_balanced(posterior, prior,",
        "kl_balanced(prior, posterior,",
        (f"{RSSM}test_losses_equal_torch_divergences_of_the_reference",),
    ),
    Mutation(
        9,
        "DreamerV1's floor holds for each step",
        "steps below the floor stop learning, which V1 does not want",
        _JOINT,
        "above = mean_over_ranks(value) > free_nats",
        "above = value > free_nats",
        (f"{KL}test_v1_floors_the_mean_so_that_steps_below_the_floor_still_learn",),
    ),
    Mutation(
        9,
        "PlaNet's floor holds for the mean",
        "steps below the floor keep learning, which PlaNet does not want",
        _JOINT,
        "return scale * (value - free_nats).clamp_min(0)",
        "return scale * (value.mean() - free_nats).clamp_min(0).expand(value.shape)",
        (f"{KL}test_planet_subtracts_the_free_nats_at_every_step",),
    ),
    Mutation(
        9,
        "DreamerV2's balance is turned round",
        "the posterior gets 80% of the gradient instead of the prior",
        _JOINT,
        "balance * post.detach().kl(prior) + (1 - balance) * post.kl(prior.detach())",
        "balance * post.kl(prior.detach()) + (1 - balance) * post.detach().kl(prior)",
        (f"{KL}test_v2_balance_scales_gradients_and_not_the_value",),
    ),
    Mutation(
        9,
        "the divergence is a mean over latents",
        "the KL weighs 32 times less than published",
        "reverie.nn.distributions.normal:Normal.kl",
        "0.5 * sum_event(",
        "0.5 / self.mean.shape[-1] * sum_event(",
        (f"{KL}test_normal_divergence_agrees_with_torch",),
    ),
]

CATEGORICALS = [
    Mutation(
        10,
        "the uniform share is missing in the KL",
        "a latent that is certain and wrong has an infinite loss",
        f"{_ONE_HOT}.kl",
        "self.log_probs - other.log_probs",
        "self.log_probs - ((other.probs - 0.01 / other.probs.shape[-1]) / 0.99).clamp_min(1e-30).log()",
        (f"{KL}test_divergence_sees_the_uniform_share",),
    ),
    Mutation(
        10,
        "the uniform share is missing in the draws",
        "the model is trained on one distribution and imagines with another",
        f"{_ONE_HOT}.from_noise",
        "one_hot_from(probs, uniform)",
        "one_hot_from(probs - probs.amin(-1, keepdim=True), uniform)",
        (f"{DISTRIBUTIONS}test_unimix_is_in_the_draws",),
    ),
    Mutation(
        10,
        "the share is added and not mixed",
        "probabilities sum to more than 1",
        "reverie.nn.distributions.one_hot:mix_uniform",
        "alpha=1 - unimix",
        "alpha=1",
        (f"{DISTRIBUTIONS}test_unimix_by_hand",),
    ),
    Mutation(
        10,
        "latents have no uniform share",
        "classes die out and their KL blows up",
        "reverie_plugins.rssm.latent:Categorical.distribution",
        "self.unimix, 2",
        "0.0, 2",
        (f"{RSSM}test_filtering_equals_the_reference",),
    ),
    Mutation(
        10,
        "the discrete actor has no uniform share",
        "an action dies out early and is never tried again",
        "reverie_plugins.policies.actor:MLPActor.policy",
        "OneHot(outputs, self.config.unimix)",
        "OneHot(outputs)",
        (f"{POLICIES}test_no_action_dies_out",),
    ),
    Mutation(
        10,
        "draws carry no gradient",
        "encoder and posterior learn from the KL alone; reconstructions stay grey",
        f"{_ONE_HOT}.straight_through",
        "sample + (self.probs - self.probs.detach()) if self.probs.requires_grad else sample",
        "sample",
        (
            f"{DISTRIBUTIONS}test_straight_through_is_exactly_one_hot_and_has_the_gradient_of_the_probabilities",
            f"{RSSM}test_gradients_equal_the_reference",
        ),
    ),
    Mutation(
        10,
        "draws are soft",
        "probabilities leak past the bottleneck that a one-hot vector is",
        f"{_ONE_HOT}.straight_through",
        "sample + (self.probs - self.probs.detach()) if self.probs.requires_grad else sample",
        "self.probs",
        (f"{DISTRIBUTIONS}test_straight_through_is_exactly_one_hot_and_has_the_gradient_of_the_probabilities",),
    ),
    Mutation(
        10,
        "draws are off by one class",
        "the inverse of the cumulative distribution, read one entry late",
        "reverie.nn.distributions.one_hot:one_hot_from",
        "probs.cumsum(-1)[..., :-1] <= uniform",
        "probs.cumsum(-1)[..., 1:] <= uniform",
        (f"{DISTRIBUTIONS}test_inverse_cdf_by_hand_and_at_the_edges",),
    ),
]

RECURRENCE = [
    Mutation(
        11,
        "a fresh cell forgets",
        "an update gate without its -1 keeps half of the state; long memories are not learned",
        _CELL,
        "update - 1",
        "update",
        (f"{GRU}test_equals_the_equations", f"{GRU}test_a_fresh_cell_remembers"),
    ),
    Mutation(
        11,
        "the reset gate stands outside the tanh",
        "another cell than the published one; imported weights mean nothing",
        _CELL,
        "torch.tanh(torch.sigmoid(reset) * candidate)",
        "torch.sigmoid(reset) * torch.tanh(candidate)",
        (f"{GRU}test_equals_the_equations",),
    ),
    Mutation(
        11,
        "the update gate is turned round",
        "the cell keeps what it should replace",
        _CELL,
        "torch.lerp(state, candidate, ",
        "torch.lerp(candidate, state, ",
        (f"{GRU}test_equals_the_equations", f"{RSSM}test_filtering_equals_the_reference"),
    ),
    Mutation(
        11,
        "gates are not normalised",
        "gates saturate in long sequences",
        _CELL,
        "self.norm.forward(gates).to(state.dtype)",
        "gates.to(state.dtype)",
        (f"{GRU}test_equals_the_equations", f"{RSSM}test_filtering_equals_the_reference"),
    ),
]

MUTATIONS = [*DIVERGENCE, *CATEGORICALS, *RECURRENCE]
