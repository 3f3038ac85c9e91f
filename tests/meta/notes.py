"""All mutations, by correctness note."""

import notes_alignment
import notes_behaviour
import notes_data
import notes_ensembles
import notes_gradients
import notes_implicit
import notes_model
import notes_planning
import notes_returns
import notes_world_models
from mutating import Mutation

_PARTS = (
    notes_alignment,
    notes_data,
    notes_model,
    notes_gradients,
    notes_implicit,
    notes_returns,
    notes_behaviour,
    notes_planning,
    notes_ensembles,
    notes_world_models,
)
MUTATIONS: list[Mutation] = [mutation for part in _PARTS for mutation in part.MUTATIONS]

TITLES = {
    1: "`is_first` clears the recurrent state, the stochastic state and the previous action; a chunk starts fresh",
    2: "Gymnasium resets on the next step: terminal observation with done, reset observation one step later",
    3: "Arrival alignment: action and reward at t led to the observation at t",
    4: "The continue target is true termination only; time limits are bootstrapped",
    5: "Start steps are drawn uniformly; a chunk may cross an episode only with resets inside",
    6: "Frames are decisions times action repeat, everywhere; the replay ratio is per decision",
    7: "One preprocessing for training and acting; image likelihoods are sums; symlog only on vectors",
    8: "Every source of randomness is seeded, kept apart and checkpointed",
    9: "KL: sum over latents, then the floor, then the mean; which floor and which scales belong to the recipe",
    10: "1% uniform share in draws and KL alike; straight-through gradients",
    11: "The recurrent cell: sigmoid(u - 1), tanh(reset * c), normalised inside",
    12: "Two-hot regression: two variants, never mixed; targets are clamped; uniform logits give 0",
    13: "Which gradient enters what",
    14: "Lambda-returns: H + 1 states, H returns, the last value bootstrapped",
    15: "Trajectory weights start from the real flag; a folded discount is not applied again",
    16: "Advantages are divided by max(1, EMA(P95 - P5)), which is checkpointed",
    17: "Gradients through the dynamics or REINFORCE; the log-probability is that of the unclipped draw",
    18: "Entropy weighted like the rest; a slow critic that starts equal and survives a resume; zero initial heads",
    19: "The reward on arrival at an end counts; nothing behind it does",
    20: "How actions are chosen in evaluations is fixed and recorded",
    21: "PlaNet's, PETS's, iCEM's and TD-MPC2's searches, number by number",
    22: "Candidates and states are repeated in the same order",
    23: "NaN scores become -inf; actions are clipped inside the search; memory resets per environment",
    24: "A value behind the last state; the mean over particles and members, not one lucky sample",
    25: "V: errors summed over pixels, free bits per frame, and a new draw of the code in every pass",
    26: "M: a mixture for each number of the code, its likelihood by logsumexp, bounded deviations, temperature",
    27: "C: [z, h] with h before its update by the action chosen; the mean of rollouts with common luck",
    28: "Ensembles: bootstrapped members, soft learned bounds of the variance, TS-1 or TS-infinity",
}
