"""Mutations of correctness notes 12 and 13: two-hot regression, and which gradient enters what."""

from mutating import Mutation
from suites import BEHAVIOUR, DREAMER, LIKELIHOODS, OPTIMIZERS, REPLAYED, ROUTES, TWO_HOT, VARIANTS, WORLD_MODEL

_TWO_HOT = "reverie.nn.two_hot:TwoHot"

REGRESSION = [
    Mutation(
        12,
        "bins as plain numbers are read in symlog space",
        "the two variants mixed: predictions are off by orders of magnitude",
        f"{_TWO_HOT}.mean",
        'if self.variant == "symlog_linear":',
        "if True:",
        (f"{TWO_HOT}test_the_variants_predict_differently",),
    ),
    Mutation(
        12,
        "targets in symlog space for bins as plain numbers",
        "the same mistake on the side of the loss",
        f"{_TWO_HOT}.target",
        'symlog(value) if self.variant == "symlog_linear" else value',
        "symlog(value)",
        (f"{TWO_HOT}test_log_prob_is_minus_the_cross_entropy_to_the_loop_target", f"{TWO_HOT}test_targets_by_hand"),
    ),
    Mutation(
        12,
        "bins of the wrong variant",
        "the same mistake in the table of bins",
        "reverie_plugins.heads.head:TwoHotHead.__init__",
        "make_bins(config.variant,",
        'make_bins("symlog_linear",',
        (f"{VARIANTS}test_a_head_predicts_by_the_variant_that_it_names",),
    ),
    Mutation(
        12,
        "the head forgets its variant",
        "bins of one variant, predictions of the other",
        "reverie_plugins.heads.head:TwoHotHead.forward",
        "self.bins, self.variant",
        "self.bins",
        (
            f"{VARIANTS}test_a_head_predicts_by_the_variant_that_it_names",
            f"{VARIANTS}test_a_head_is_trained_by_the_variant_that_it_names",
        ),
    ),
    Mutation(
        12,
        "bins are summed from one end",
        "uniform logits predict a rounding error of e^20 instead of 0",
        f"{_TWO_HOT}.mean",
        "return pairs.sum(-1)",
        "return torch.cumsum(weighted, -1)[..., -1]",
        (f"{TWO_HOT}test_uniform_logits_predict_exactly_zero",),
    ),
    Mutation(
        12,
        "bins are not symmetric",
        "rounded separately, mirrored bins do not cancel",
        "reverie.nn.two_hot:make_bins",
        "-half[:-1].flip(0)",
        "-half[:-1].flip(0) * (1 + 1e-7)",
        (f"{TWO_HOT}test_uniform_logits_predict_exactly_zero",),
    ),
    Mutation(
        12,
        "targets beyond the bins are extrapolated",
        "negative probabilities; the loss runs away",
        f"{_TWO_HOT}.target",
        "x = x.clamp(bins[0], bins[-1])",
        "x = x.clamp(2 * bins[0], 2 * bins[-1])",
        (f"{TWO_HOT}test_targets_beyond_the_bins_count_as_the_outermost",),
    ),
    Mutation(
        12,
        "the neighbours' weights change places",
        "targets are reflected within their bin",
        f"{_TWO_HOT}.log_prob",
        "(1 - weight, weight)",
        "(weight, 1 - weight)",
        (f"{TWO_HOT}test_log_prob_is_minus_the_cross_entropy_to_the_loop_target",),
    ),
]

GRADIENTS = [
    Mutation(
        13,
        "reward and continue do not shape the states",
        "latents keep what is large in the picture and lose what pays",
        "reverie_plugins.world_model.learner:WorldModel.losses",
        'if "encoder" not in trains:',
        "if True:",
        (
            f"{WORLD_MODEL}test_what_each_head_has_to_explain_shapes_the_states",
            f"{WORLD_MODEL}test_gradients_reach_the_model_and_nothing_else",
        ),
    ),
    Mutation(
        13,
        "the decoder reads states cut from the graph",
        "the decoder learns, and teaches the dynamics nothing",
        "reverie_plugins.perception.reconstruction:Reconstruction.losses",
        "view.observed.train.code",
        "view.observed.train.detach().code",
        (f"{LIKELIHOODS}test_each_entry_shapes_the_states_that_it_is_decoded_from",),
    ),
    Mutation(
        13,
        "imagination starts from states with a graph",
        "the actor makes its life easier by changing what the model remembers",
        "reverie_plugins.dreamer.imagined:choose_starts",
        "view.observed.states.detach()",
        "view.observed.states",
        (f"{DREAMER}test_gradients_reach_actor_and_critic_and_nothing_else",),
    ),
    Mutation(
        13,
        "the critic's loss reaches the actor",
        "the critic is easier to fit if the actor goes where it is easy to fit",
        "reverie_plugins.dreamer.learner:ActorCritic._through_dynamics",
        "seen = states.detach()",
        "seen = states",
        (f"{ROUTES}test_each_loss_alone_trains_its_own_slot_and_no_other",),
    ),
    Mutation(
        13,
        "the actor's loss trains the critic",
        "the critic learns to promise what the actor wants to hear",
        "reverie_plugins.dreamer.learner:ActorCritic._through_dynamics",
        '[*self.config.reaches, "heads/value"]',
        "self.config.reaches",
        (f"{DREAMER}test_gradients_reach_actor_and_critic_and_nothing_else",),
    ),
    Mutation(
        13,
        "the actor's loss trains the model",
        "the model learns to dream what pays",
        "reverie_plugins.dreamer.learner:ActorCritic._through_dynamics",
        '[*self.config.reaches, "heads/value"]',
        '["heads/value"]',
        (
            f"{DREAMER}test_gradients_reach_actor_and_critic_and_nothing_else",
            f"{BEHAVIOUR}test_the_gradient_of_the_actor_through_the_dynamics_is_the_numerical_one",
        ),
    ),
    Mutation(
        13,
        "the value of replayed states always trains the model",
        "an exception of the current code becomes the rule",
        "reverie_plugins.dreamer.learner:ActorCritic._replayed",
        "states = states.detach()",
        "states = states",
        (f"{ROUTES}test_the_critic_on_replayed_states_reaches_the_model_only_on_request",),
    ),
    Mutation(
        13,
        "returns of replayed states run into the next episode",
        "a stream that broke off without a last step lends its returns from what follows",
        "reverie.nn.returns:replayed_returns",
        "last[:, :-1] |= batch.is_first[:, 1:]",
        "pass",
        (
            f"{REPLAYED}test_equals_the_mixture_of_n_step_returns_of_each_episode",
            f"{REPLAYED}test_nothing_of_the_next_episode_is_seen",
        ),
    ),
]

CLIPPING = [
    Mutation(
        13,
        "adaptive clipping measures the gradient against itself",
        "nothing is clipped where weights are small, everything where they are large",
        "reverie.nn.optim:clip_adaptively",
        "torch._foreach_norm(trained)",
        "torch._foreach_norm(gradients)",
        (f"{OPTIMIZERS}test_adaptive_clipping_by_hand",),
    ),
    Mutation(
        13,
        "weights that start at zero are clipped to nothing",
        "zero-initialised layers stay at zero for ever",
        "reverie.nn.optim:clip_adaptively",
        ".clamp_min(smallest)",
        "",
        (f"{OPTIMIZERS}test_adaptive_clipping_by_hand",),
    ),
    Mutation(
        13,
        "there is no warm-up",
        "the first thousand steps, on second moments of nothing, are taken at full length",
        "reverie.nn.optim:_rise",
        'min(1.0, group["taken"] / group["warmup"])',
        "1.0",
        (f"{OPTIMIZERS}test_warm_up_by_hand", f"{OPTIMIZERS}test_warm_up_goes_on_after_a_restore"),
    ),
]

MUTATIONS = [*REGRESSION, *GRADIENTS, *CLIPPING]
