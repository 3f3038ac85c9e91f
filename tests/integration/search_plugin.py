"""A one-file plugin for tests: an external learner of ten lines, and a learner without gradients."""

import numpy as np
import torch

from reverie import ComponentSpec, Config, LearnerConfig, hookimpl
from reverie.contracts import ExternalLearner, Learner


class SearchConfig(Config):
    """Options of the external learner."""

    environments: int = 2
    """How many play side by side."""
    greedy: bool = False
    """Never ask whether to stop."""


class LinearPolicy:
    """Chooses the action with the largest linear score."""

    def __init__(self, weights):
        self.weights = np.asarray(weights)

    def initial(self, n, seeds=None):
        return None

    def act(self, obs, state, is_first, *, explore=False):
        scores = np.asarray(obs["state"]) @ self.weights  # (n, A)
        return np.eye(scores.shape[1], dtype=np.float32)[scores.argmax(1)], state


class RandomSearch(ExternalLearner):
    """Plays one episode with each of many random linear policies and keeps the best."""

    def __init__(self, config, observation, action):
        self.config, self.sizes = config, (observation["state"].shape[0], action.size)

    def fit(self, make_environments, run):
        envs, rng, best = make_environments(self.config.environments), np.random.default_rng(run.seed), None
        obs, _ = envs.reset(seed=run.seed)
        while self.config.greedy or not run.should_stop():
            policy, total, alive = LinearPolicy(rng.normal(size=self.sizes)), np.zeros(envs.num_envs), True
            while np.any(alive) and (self.config.greedy or not run.should_stop()):
                obs, reward, terminated, truncated, _ = envs.step(policy.act(obs, None, None)[0].argmax(1))
                total, alive = total + reward * alive, alive & ~(terminated | truncated)
            run.log({"score": total.mean()})
            if best is None or total.mean() > best[0]:
                best = total.mean(), policy
                run.checkpoint({"weights": torch.from_numpy(policy.weights)})
        return best[1]

    def policy(self, tensors):
        return LinearPolicy(tensors["weights"].numpy())


class ClimbConfig(LearnerConfig):
    """Options of the learner without gradients."""

    trains: tuple[str, ...] = ("actor",)
    scale: float = 1.0
    """Size of a step."""


class HillClimb(Learner):
    """Keeps a random step of the actor if two real episodes with it are better."""

    def __init__(self, config, agent):
        super().__init__(config, agent)
        self.register_buffer("best", torch.tensor(-float("inf"), dtype=torch.float64))
        self.history = []

    def get_extra_state(self):
        return {"history": list(self.history)}

    def set_extra_state(self, state):
        self.history = list(state["history"])

    def update(self, ctx):
        parameters = list(ctx.agent.module("actor").parameters())
        before = [parameter.detach().clone() for parameter in parameters]
        for parameter in parameters:
            parameter += self.config.scale * ctx.sampling.randn(parameter.shape, device=parameter.device)
        results = ctx.environments.rollout(ctx.agent, [11, 12])
        score = sum(result.episode_return for result in results) / len(results)
        self.history.append(score)
        ctx.log("score", score)
        if score > self.best.item():
            self.best.fill_(score)
        else:
            for parameter, old in zip(parameters, before, strict=True):
                parameter.copy_(old)


@hookimpl
def reverie_components():
    return [
        ComponentSpec("external", "search", f"{__name__}:RandomSearch", f"{__name__}:SearchConfig", "random search"),
        ComponentSpec(
            "learner",
            "climb",
            f"{__name__}:HillClimb",
            f"{__name__}:ClimbConfig",
            "hill climbing",
            provides=frozenset({"evolution"}),
        ),
    ]
