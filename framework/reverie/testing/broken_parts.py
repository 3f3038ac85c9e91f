"""Actors, encoders, decoders, heads and objectives that are each broken in one way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from reverie.contracts import Distribution, Latent, Sampling, Transition, View
from reverie.testing.broken import breaks
from reverie.testing.toy_distributions import ToyNormal, ToyOneHot
from reverie.testing.toys import ToyActor, ToyDecoder, ToyEncoder, ToyHead, ToyObjective, ToyPosteriorEncoder

BOTH, SPACES = ("continuous", "discrete"), ("vector", "image")


@breaks("actor", "policy_shapes", provides=["continuous"])
class DimensionsAsBatch(ToyActor):
    """Its distribution takes every action dimension for a policy of its own."""

    def policy(self, latent: Latent) -> Distribution:
        return ToyNormal(torch.tanh(latent.project(self.linear)), 0.1, 0, bound=1.0)


@breaks("actor", "draws_within_bounds", provides=["continuous"])
class Unbounded(ToyActor):
    """Means far outside the bounds."""

    def policy(self, latent: Latent) -> Distribution:
        return ToyNormal(100.0 * latent.project(self.linear), 0.1)


@breaks("actor", "draws_within_bounds", provides=["discrete"])
class SoftOneHot(ToyActor):
    """Returns probabilities where a one-hot action belongs."""

    class Soft(ToyOneHot):
        """Its mode is its mean."""

        @property
        def mode(self) -> Tensor:
            return self.mean

    def policy(self, latent: Latent) -> Distribution:
        return self.Soft(latent.project(self.linear))


@breaks("actor", "draws_carry_gradients", provides=BOTH)
class CutDraws(ToyActor):
    """Its draws carry no gradient."""

    def policy(self, latent: Latent) -> Distribution:
        logits = latent.project(self.linear)
        policy: Any = ToyOneHot(logits) if self.action.is_discrete else ToyNormal(torch.tanh(logits), 0.1, 1, bound=1.0)
        draw = policy.draw
        policy.draw = lambda sampling: draw(sampling).detach()
        chosen: Distribution = policy
        return chosen


@breaks("actor", "state_matters", provides=BOTH)
class SeesOthers(ToyActor):
    """Its policy depends on the whole batch."""

    def policy(self, latent: Latent) -> Distribution:
        return super().policy(latent.map(lambda value: value + value.mean(0, keepdim=True)))


@breaks("actor", "seeded_draws", provides=BOTH)
class GlobalDraws(ToyActor):
    """Uses torch's global generator."""

    def policy(self, latent: Latent) -> Distribution:
        noise = torch.rand(1)
        return super().policy(latent.map(lambda value: value + 0.0 * noise))


@breaks("encoder", "embeds_every_space", provides=SPACES)
class WrongEmbedSize(ToyEncoder):
    """Says that its embedding is smaller than it is."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.embed_size -= 1


@breaks("encoder", "embeds_rows_alone", provides=SPACES)
class BatchStatistics(ToyEncoder):
    """Centres the embedding over the batch."""

    def forward(self, obs: dict[str, Tensor], sampling: Sampling) -> Tensor:
        embed = super().forward(obs, sampling)
        return embed - 0.5 * embed.mean(0, keepdim=True)


@breaks("encoder", "embeds_every_entry", provides=SPACES)
class FirstEntryOnly(ToyEncoder):
    """Reads the first entry and drops the others."""

    def flat(self, obs: Any) -> Tensor:
        first = next(iter(self.observation))
        return super().flat({key: value if key == first else value * 0.0 for key, value in obs.items()})


@breaks("encoder", "posterior_is_embedding", provides=[*SPACES, "posterior"])
class TwoEmbeddings(ToyPosteriorEncoder):
    """Embeds by one network and has its posterior elsewhere."""

    def forward(self, obs: dict[str, Tensor], sampling: Sampling) -> Tensor:
        embed: Tensor = self.linear(self.flat(obs)) + 0.5
        return embed


@breaks(
    "decoder", "decodes_every_entry", provides=SPACES, also=["decoder_has_no_dead_parameters", "likelihood_over_batch"]
)
class RawImages(ToyDecoder):
    """Predicts images as (H, W, C), as environments give them and not as losses compare them."""

    def forward(self, code: Tensor) -> dict[str, Distribution]:
        found = super().forward(code)
        return {key: _rawer(value) if len(value.event_shape) == 3 else value for key, value in found.items()}


def _rawer(value: Distribution) -> Distribution:
    if value.event_shape[-1] == value.event_shape[-3]:
        return value
    return ToyNormal(value.mean.movedim(-3, -1), 1.0, 3)


@breaks("decoder", "likelihood_over_batch", provides=SPACES)
class PixelsAsBatch(ToyDecoder):
    """Its log-probability keeps one number per element."""

    class Each(ToyNormal):
        """Does not sum over the entry."""

        def log_prob(self, value: Tensor) -> Tensor:
            return -0.5 * (value - self.mean).square()

    def forward(self, code: Tensor) -> dict[str, Distribution]:
        return {key: self.Each(v.mean, 1.0, len(v.event_shape)) for key, v in super().forward(code).items()}


@breaks("decoder", "decoder_has_no_dead_parameters", provides=SPACES)
class CutFromCode(ToyDecoder):
    """Detaches the code, so that no objective reaches the model."""

    def forward(self, code: Tensor) -> dict[str, Distribution]:
        return super().forward(code.detach())


@breaks("head", "head_shapes", also=["head_learns"])
class KeepsLastAxis(ToyHead):
    """Forgets to drop the axis of size one."""

    def forward(self, transition: Transition) -> Distribution:
        return ToyNormal(super().forward(transition).mean[..., None], 1.0, 0)


@breaks("head", "head_reads_what_it_says")
class ReadsLess(ToyHead):
    """Says that it reads the whole transition, and looks at its end."""

    reads = "transition"


@breaks("head", "head_learns")
class DeadHead(ToyHead):
    """Has a layer that never learns."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.unused = nn.Linear(2, 2)


@breaks("head", "head_learns")
class WrongSign(ToyHead):
    """Its log-probability is the loss."""

    class Negative(ToyNormal):
        """A log-probability with the wrong sign."""

        def log_prob(self, value: Tensor) -> Tensor:
            return -super().log_prob(value)

    def forward(self, transition: Transition) -> Distribution:
        return self.Negative(super().forward(transition).mean, 1.0, 0)


@breaks("objective", "objective_per_step")
class MeanObjective(ToyObjective):
    """Takes the mean itself."""

    def losses(self, view: View, agent: Any) -> dict[str, Tensor]:
        return {name: value.mean() for name, value in super().losses(view, agent).items()}


@breaks("objective", "objective_reaches_the_model")
class DetachedObjective(ToyObjective):
    """Reads detached states: only the decoder learns."""

    def losses(self, view: View, agent: Any) -> dict[str, Tensor]:
        predicted = agent.decoder(view.observed.train.detach().code)
        return {
            key: (value.mean - view.obs[key]).square().flatten(2).sum(-1)  # (B, T)
            for key, value in predicted.items()
        }


@breaks("objective", "objective_is_repeatable")
class RandomObjective(ToyObjective):
    """Drops terms at random, by torch's global generator."""

    def losses(self, view: View, agent: Any) -> dict[str, Tensor]:
        return {name: value * (torch.rand(value.shape) + 0.1) for name, value in super().losses(view, agent).items()}
