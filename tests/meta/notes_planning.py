"""Mutations of correctness notes 21 to 24: searches, the order of rows, not-a-number, what a plan is worth."""

from mutating import Mutation
from suites import AGENT, IMAGINATION, OPTIMA, PLANNING, SEARCHES

_PLANS = "reverie_plugins.shooting.plans"
_SCORE = "reverie.assembly.imagination:Imagination.score"
_CEM = "test_cem_agrees_with_a_float64_reference_on_the_same_noise"
_ICEM = "test_icem_agrees_with_a_float64_reference_on_the_same_noise"
_MPPI = "test_mppi_agrees_with_a_float64_reference_on_the_same_noise"
_OWN_STATE = f"{PLANNING}test_22_each_environment_is_judged_from_its_own_state"
_BOUNDS = f"{PLANNING}test_23_plans_are_judged_as_they_would_be_executed"

SEARCH = [
    Mutation(
        21,
        "only the mean is fitted",
        "the next round's elites lie on both peaks again, and their mean between them",
        f"{_PLANS}:GaussianPlans.refit",
        "return mean, deviation",
        "return mean, spread",
        (
            f"{SEARCHES}{_CEM}",
            f"{OPTIMA}test_a_peak_is_found_where_the_middle_between_two_is_worth_nothing",
        ),
    ),
    Mutation(
        21,
        "elites have a sample's variance",
        "the search narrows more slowly than the paper's, and never to nothing",
        f"{_PLANS}:Elites.moments",
        "(share * (self.plans - mean[:, None]).square()).sum(1)",
        "(share * (self.plans - mean[:, None]).square()).sum(1) * (1 + 1 / max(weight.shape[1] - 1, 1))",
        (f"{SEARCHES}{_CEM}", f"{SEARCHES}{_ICEM}", f"{SEARCHES}{_MPPI}"),
    ),
    Mutation(
        21,
        "momentum is of the deviation",
        "PETS averages variances",
        f"{_PLANS}:GaussianPlans.refit",
        "(keep * spread.square() + (1 - keep) * variance).sqrt()",
        "(keep * spread + (1 - keep) * variance.sqrt())",
        (f"{SEARCHES}{_CEM}",),
    ),
    Mutation(
        21,
        "a truncated normal is not narrowed at the bounds",
        "plans near a bound are cut to it: half of them are one and the same",
        f"{_PLANS}:GaussianPlans.sample",
        "torch.minimum(spread, (1 - centre.abs()) / CUT)",
        "spread",
        (f"{SEARCHES}{_CEM}",),
    ),
    Mutation(
        21,
        "the last plan is not shifted",
        "a warm start that is one step late",
        f"{_PLANS}:shifted",
        "plans[..., 1:, :]",
        "plans[..., :-1, :]",
        (f"{SEARCHES}{_CEM}", f"{SEARCHES}{_ICEM}", f"{SEARCHES}{_MPPI}"),
    ),
    Mutation(
        21,
        "the planner explores by itself",
        "PlaNet's noise is the environment's affair; twice the noise is twice",
        "reverie_plugins.shooting.cem:CEM.plan",
        "return decided[:, 0], ",
        "return decided[:, 0] + (0.3 * sampling.randn(decided[:, 0].shape) if explore else 0.0), ",
        (f"{SEARCHES}test_planet_adds_no_noise_of_its_own",),
    ),
    Mutation(
        21,
        "elites are not kept",
        "iCEM forgets the best plan that it saw",
        "reverie_plugins.shooting.icem:ICEM.plan",
        "kept = elites.plans[:, : self.kept]",
        "pass",
        (f"{SEARCHES}{_ICEM}",),
    ),
    Mutation(
        21,
        "coloured noise is white",
        "plans tremble, and average to standing still",
        "reverie_plugins.shooting.icem:ICEM._sample",
        "(white @ self.colouring.to(mean)).transpose(2, 3)",
        "white.transpose(2, 3)",
        (f"{SEARCHES}{_ICEM}",),
    ),
    Mutation(
        21,
        "MPPI divides by its temperature",
        "greedier becomes less greedy: TD-MPC2 multiplies",
        "reverie_plugins.shooting.mppi:MPPI._weights",
        "self.config.temperature * (elites.scores - best)",
        "(elites.scores - best) / self.config.temperature",
        (f"{SEARCHES}{_MPPI}",),
    ),
    Mutation(
        21,
        "MPPI's deviation has no bounds",
        "it collapses in the first rounds and finds nothing in the last",
        "reverie_plugins.shooting.mppi:MPPI.plan",
        "variance.sqrt().clamp(config.min_std, config.max_std)",
        "variance.sqrt()",
        (f"{SEARCHES}{_MPPI}",),
    ),
    Mutation(
        21,
        "MPPI explores while it is evaluated",
        "exploration noise is counted against the agent",
        "reverie_plugins.shooting.mppi:MPPI.plan",
        "if explore and config.noise:",
        "if config.noise:",
        (f"{SEARCHES}test_mppi_explores_with_the_deviation_that_it_ended_with",),
    ),
]

ORDER = [
    Mutation(
        22,
        "candidates are tiled",
        "plan n of environment b is judged from another environment's state: right for a batch of one",
        "reverie.contracts.latent:Latent.repeat",
        "value.repeat_interleave(n, dim=0)",
        "value.repeat(n, *[1] * (value.dim() - 1))",
        (_OWN_STATE, f"{OPTIMA}test_the_first_action_is_the_linear_controllers"),
    ),
    Mutation(
        22,
        "particles and candidates change places",
        "scores of one plan are spread over several",
        "reverie.assembly.imagination:Imagination._particles",
        "reshape(B, copies, N).transpose(1, 2)",
        "reshape(B, N, copies)",
        (
            f"{IMAGINATION}test_particles_default_to_the_members_of_an_ensemble_and_are_averaged",
            f"{IMAGINATION}test_all_candidates_are_judged_by_the_same_members",
        ),
    ),
    Mutation(
        22,
        "elites are taken from the first environment",
        "everybody follows one environment's plans",
        f"{_PLANS}:best_of",
        "torch.arange(len(index), device=index.device)[:, None], index",
        "torch.zeros_like(index), index",
        (f"{SEARCHES}{_CEM}", _OWN_STATE),
    ),
]

NAN = [
    Mutation(
        23,
        "not-a-number scores nothing",
        "where honest rewards are negative, the plan that blew up wins",
        _SCORE,
        'torch.where(torch.isfinite(scores), scores, float("-inf"))',
        "torch.nan_to_num(scores)",
        (f"{PLANNING}test_23_a_plan_that_blows_up_is_never_chosen",),
    ),
    Mutation(
        23,
        "a broken plan may be an elite",
        "with few good plans, the refit averages over what cannot be scored",
        f"{_PLANS}:Elites.usable",
        "torch.isfinite(self.scores)",
        "torch.ones_like(self.scores, dtype=torch.bool)",
        (f"{PLANNING}test_23_no_bad_plan_is_an_elite_even_where_good_ones_are_fewer_than_elites",),
    ),
    Mutation(
        23,
        "CEM clips what it executes, not what it scores",
        "the model is asked about actions that nobody can take",
        f"{_PLANS}:GaussianPlans.sample",
        "(centre[:, None] + spread[:, None] * noise).clamp(-1, 1)",
        "(centre[:, None] + spread[:, None] * noise)",
        (_BOUNDS,),
    ),
    Mutation(
        23,
        "MPPI clips what it executes, not what it scores",
        "the same",
        "reverie_plugins.shooting.mppi:MPPI._sample",
        "(mean[:, None] + std[:, None] * noise).clamp(-1, 1)",
        "(mean[:, None] + std[:, None] * noise)",
        (_BOUNDS,),
    ),
    Mutation(
        23,
        "iCEM clips what it executes, not what it scores",
        "the same",
        "reverie_plugins.shooting.icem:ICEM._sample",
        "(mean[:, None] + std[:, None] * noise).clamp(-1, 1)",
        "(mean[:, None] + std[:, None] * noise)",
        (_BOUNDS,),
    ),
    Mutation(
        23,
        "plans climb beyond the bounds",
        "a gradient leads out of the action space and never back",
        "reverie_plugins.search.gradient:GradientAscent._climb",
        "(plans + self.config.lr * scaled).clamp(-1, 1)",
        "(plans + self.config.lr * scaled)",
        (_BOUNDS,),
    ),
    Mutation(
        23,
        "a planner remembers the episode before",
        "the first plan of an episode is the last one of another",
        "reverie.assembly.agent:Agent._choose",
        "if carry and bool(first.any()):",
        "if carry and bool(first.all()):",
        (f"{AGENT}test_planner_memory_begins_anew_where_an_episode_does",),
    ),
]

WORTH = [
    Mutation(
        24,
        "nothing lies behind the last step",
        "three steps of sight and no value: a planner that never sees the goal",
        "reverie.assembly.imagination:_Judge.verdict",
        "self.total + self.weight * self.value(last) if self.value is not None else self.total",
        "self.total",
        (f"{PLANNING}test_24_what_lies_behind_the_last_step_counts_where_there_is_a_value_head",),
    ),
    Mutation(
        24,
        "the value head is only asked on request",
        "a recipe with a critic plans as if it had none",
        "reverie.extension.config:PlannerConfig.scoring",
        "where_possible if self.bootstrap is None else self.bootstrap",
        "bool(self.bootstrap)",
        (f"{PLANNING}test_24_what_lies_behind_the_last_step_counts_where_there_is_a_value_head",),
    ),
    Mutation(
        24,
        "the luckiest particle counts",
        "wild plans win, since one of their outcomes is always good",
        _SCORE,
        "outcomes.mean(-1)",
        "outcomes.amax(-1)",
        (
            f"{PLANNING}test_24_particles_are_averaged_and_not_one_lucky_one_taken",
            f"{IMAGINATION}test_particles_default_to_the_members_of_an_ensemble_and_are_averaged",
        ),
    ),
    Mutation(
        24,
        "one member judges",
        "the planner exploits the errors of one network",
        _SCORE,
        "particles if particles is not None else self._agent.dynamics.members or 1",
        "particles or 1",
        (f"{IMAGINATION}test_particles_default_to_the_members_of_an_ensemble_and_are_averaged",),
    ),
    Mutation(
        24,
        "one member of a head speaks for all",
        "the same, in the value",
        "reverie.assembly.imagination:_members",
        "mean.mean(-1)",
        "mean[..., 0]",
        (f"{IMAGINATION}test_members_of_heads_are_averaged",),
    ),
    Mutation(
        24,
        "risk is sought where it should be shunned",
        "a cautious planner gambles",
        _SCORE,
        "scores - risk * outcomes",
        "scores + risk * outcomes",
        (
            f"{PLANNING}test_24_risk_is_the_spread_of_the_particles_and_can_be_sought_or_shunned",
            f"{IMAGINATION}test_risk_subtracts_standard_deviations_over_particles",
        ),
    ),
]

MUTATIONS = [*SEARCH, *ORDER, *NAN, *WORTH]
