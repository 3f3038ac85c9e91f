"""Mutations of correctness notes 25 to 27: V, M and C of World Models."""

from mutating import Mutation
from suites import WORLD_MODELS

_VAE = "reverie_plugins.vae.objective:VAELoss.losses"
_MIXTURE = "reverie_plugins.mdn_rnn.mixture:NormalMixture"
_MDN = "reverie_plugins.mdn_rnn.dynamics:MDNRNN"
_EVOLUTION = "reverie_plugins.evolution.learner:Evolution"

V = [
    Mutation(
        25,
        "the error of a frame is a mean over its pixels",
        "beside thousands of pixels the divergence weighs nothing, beside their mean it is all: every code is noise",
        _VAE,
        "nll(distribution, view.obs[key])",
        "nll(distribution, view.obs[key]) / view.obs[key][0, 0].numel()",
        (f"{WORLD_MODELS}test_the_loss_of_the_autoencoder_is_sums_over_pixels_and_a_floored_divergence_per_frame",),
    ),
    Mutation(
        25,
        "free bits hold for the mean over the batch",
        "one rich frame lets all others be pressed onto the prior",
        _VAE,
        "divergence.clamp_min(config.free * mean.shape[-1])",
        "divergence.mean().clamp_min(config.free * mean.shape[-1]).expand_as(divergence)",
        (f"{WORLD_MODELS}test_the_loss_of_the_autoencoder_is_sums_over_pixels_and_a_floored_divergence_per_frame",),
    ),
    Mutation(
        25,
        "free bits are those of one number",
        "half a nat for the whole code: what was meant to be free is paid for",
        _VAE,
        "config.free * mean.shape[-1]",
        "config.free",
        (f"{WORLD_MODELS}test_the_loss_of_the_autoencoder_is_sums_over_pixels_and_a_floored_divergence_per_frame",),
    ),
    Mutation(
        25,
        "M is fitted to the means of the posterior",
        "the model takes the code for exact, predicts it with a deviation of nothing, and knows no noisy one in dreams",
        "reverie.contracts.view:View.embed",
        "self.sampling.draw(self.posterior)",
        "self.posterior.mode",
        (f"{WORLD_MODELS}test_each_pass_over_the_same_frames_draws_the_code_anew",),
    ),
]

M = [
    Mutation(
        26,
        "the likelihood is that of the nearest component",
        "weights are never learned",
        f"{_MIXTURE}._log_density",
        "torch.logsumexp(each, -1)",
        "each.amax(-1)",
        (
            f"{WORLD_MODELS}test_the_likelihood_is_torchs_mixture",
            f"{WORLD_MODELS}test_the_loss_is_that_of_the_papers_loop_and_zero_where_nothing_predicts",
        ),
    ),
    Mutation(
        26,
        "densities are summed before the logarithm",
        "a code far from all components has a loss of infinity",
        f"{_MIXTURE}._log_density",
        "torch.logsumexp(each, -1)",
        "each.exp().sum(-1).log()",
        (f"{WORLD_MODELS}test_far_values_have_a_finite_likelihood",),
    ),
    Mutation(
        26,
        "standard deviations have no bounds",
        "a component narrows onto one frame until the loss overflows",
        f"{_MDN}.mixture",
        "log_std.clamp(config.min_log_std, config.max_log_std)",
        "log_std",
        (f"{WORLD_MODELS}test_standard_deviations_keep_their_bounds",),
    ),
    Mutation(
        26,
        "temperature leaves the weights alone",
        "a dream at a high temperature has no more surprises of kind, only of size",
        f"{_MIXTURE}.cooled",
        "self.log_weights / temperature",
        "self.log_weights",
        (
            f"{WORLD_MODELS}test_temperature_divides_log_weights_and_multiplies_variances",
            f"{WORLD_MODELS}test_draws_have_the_density",
        ),
    ),
    Mutation(
        26,
        "deviations are multiplied by the temperature itself",
        "a dream at 2 is as noisy as one should be at 4",
        f"{_MIXTURE}.cooled",
        "0.5 * math.log(temperature)",
        "math.log(temperature)",
        (
            f"{WORLD_MODELS}test_temperature_divides_log_weights_and_multiplies_variances",
            f"{WORLD_MODELS}test_draws_have_the_density",
        ),
    ),
    Mutation(
        26,
        "the loss counts steps that nothing predicts",
        "the first frame of a chunk is predicted from nothing, and the model learns the mean of all frames",
        f"{_MDN}.losses",
        "is_first[:, 0] = True",
        "is_first[:, 0] = is_first[:, 0]",
        (f"{WORLD_MODELS}test_the_loss_is_that_of_the_papers_loop_and_zero_where_nothing_predicts",),
    ),
]

C = [
    Mutation(
        27,
        "h has read the action that is about to be chosen",
        "the controller is trained on knowledge that it cannot have when it acts",
        f"{_MDN}.observe",
        "self._legal(action)",
        "self._legal(action.roll(-1, 1))",
        (f"{WORLD_MODELS}test_the_controller_sees_h_before_its_update_by_the_action_that_it_chooses",),
    ),
    Mutation(
        27,
        "h has not read the last action",
        "one step behind: a pole that was just pushed looks as if it had not been",
        f"{_MDN}.observe",
        "self._legal(action)",
        "self._legal(action.roll(1, 1))",
        (f"{WORLD_MODELS}test_the_controller_sees_h_before_its_update_by_the_action_that_it_chooses",),
    ),
    Mutation(
        27,
        "every candidate has luck of its own",
        "the ranking of a generation is one of luck",
        f"{_EVOLUTION}._dreamed",
        "shared=size",
        "shared=1",
        (f"{WORLD_MODELS}test_equal_candidates_have_equal_luck_and_a_score_is_the_mean_of_several_dreams",),
    ),
    Mutation(
        27,
        "a candidate is judged by its best dream",
        "the search goes where a lucky dream is possible",
        f"{_EVOLUTION}._dreamed",
        "returns.mean(0)",
        "returns.amax(0)",
        (f"{WORLD_MODELS}test_equal_candidates_have_equal_luck_and_a_score_is_the_mean_of_several_dreams",),
    ),
]

MUTATIONS = [*V, *M, *C]
