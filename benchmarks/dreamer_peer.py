"""sheeprl's side of `benchmarks/dreamer_step.py`, which makes the virtual environment that this runs in.

Its DreamerV3 with the sizes of a subject, on random data of the same shapes, through its own `train` and `get_actions`.
"""

import json
import resource
import sys
import time
import warnings

warnings.filterwarnings("ignore")

import gymnasium as gym  # noqa: E402
import hydra  # noqa: E402
import numpy as np  # noqa: E402
import sheeprl  # noqa: E402
import torch  # noqa: E402
from lightning.fabric import Fabric  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from sheeprl.algos.dreamer_v3 import dreamer_v3  # noqa: E402
from sheeprl.algos.dreamer_v3.agent import build_agent  # noqa: E402
from sheeprl.algos.dreamer_v3.utils import Moments  # noqa: E402
from sheeprl.utils.metric import MetricAggregator  # noqa: E402
from sheeprl.utils.timer import timer  # noqa: E402
from sheeprl.utils.utils import dotdict  # noqa: E402


def configured(subject):
    """sheeprl's smallest DreamerV3 with everything that a subject names put in its place."""
    model, units = "algo.world_model", subject["units"]
    wanted = {
        "algo.dense_units": units,
        "algo.mlp_layers": subject["layers"],
        "algo.horizon": subject["horizon"],
        "algo.per_rank_batch_size": subject["batch"],
        "algo.per_rank_sequence_length": subject["length"],
        f"{model}.stochastic_size": subject["groups"],
        f"{model}.discrete_size": subject["classes"],
        f"{model}.recurrent_model.recurrent_state_size": subject["deter"],
        f"{model}.transition_model.hidden_size": units,
        f"{model}.representation_model.hidden_size": units,
        f"{model}.reward_model.bins": subject["bins"],
        "algo.critic.bins": subject["bins"],
        "algo.cnn_keys.encoder": "[]",
        "algo.cnn_keys.decoder": "[]",
        "algo.mlp_keys.encoder": "[state]",
        "algo.mlp_keys.decoder": "[state]",
        "env.num_envs": subject.get("environments", 1),
    }
    overrides = ["exp=dreamer_v3", "env=gym", "env.id=Pendulum-v1", "algo=dreamer_v3_XS"]
    overrides += [f"{key}={value}" for key, value in wanted.items()]
    with hydra.initialize_config_module("sheeprl.configs", version_base="1.3"):
        composed = hydra.compose("config", overrides=overrides)
    return dotdict(OmegaConf.to_container(composed, resolve=True, throw_on_missing=False))


class Subject:
    """An agent of sheeprl's, with what its training step needs."""

    def __init__(self, subject):
        torch.manual_seed(0)
        self.config = config = configured(subject)
        torch.distributions.Distribution.set_default_validate_args(config.distribution.validate_args)
        self.fabric = Fabric(devices=1, accelerator="cpu")
        self.actions = (subject["actions"],)
        state = gym.spaces.Box(-np.inf, np.inf, (subject["observation"],), dtype=np.float32)
        parts = build_agent(self.fabric, self.actions, False, config, gym.spaces.Dict({"state": state}))
        self.model, self.actor, self.critic, self.target, self.player = parts
        trained = (
            (config.algo.world_model, self.model),
            (config.algo.actor, self.actor),
            (config.algo.critic, self.critic),
        )
        optimizers = [
            hydra.utils.instantiate(part.optimizer, params=module.parameters(), _convert_="all")
            for part, module in trained
        ]
        self.optimizers = self.fabric.setup_optimizers(*optimizers)
        scale = config.algo.actor.moments
        self.moments = Moments(scale.decay, scale.max, scale.percentile.low, scale.percentile.high)
        self.data = self.batch(subject)
        torch.set_num_threads(1)

    def batch(self, subject):
        """Time-major random experience without an end of an episode."""
        size = (subject["length"], subject["batch"])
        zeros = {name: torch.zeros(*size, 1) for name in ("is_first", "terminated", "truncated")}
        return {
            "state": torch.randn(*size, subject["observation"]),
            "actions": torch.eye(subject["actions"])[torch.randint(subject["actions"], size)],
            "rewards": torch.randn(*size, 1),
            **zeros,
        }

    def step(self):
        rate = self.config.algo.critic.tau
        with torch.no_grad():
            for fast, slow in zip(self.critic.parameters(), self.target.parameters(), strict=True):
                slow.lerp_(fast, rate)
        parts = (self.model, self.actor, self.critic, self.target, *self.optimizers)
        dreamer_v3.train(self.fabric, *parts, self.data, None, self.config, False, self.actions, self.moments)

    def acts(self, count):
        self.player.num_envs = count
        self.player.init_states()
        obs = {"state": torch.randn(1, count, *self.data["state"].shape[2:])}

        def act():
            with torch.inference_mode():
                self.player.get_actions(obs)

        return act


def main():
    torch.set_num_threads(1)
    MetricAggregator.disabled = timer.disabled = True
    answers, sys.stdout = sys.stdout, sys.stderr
    made = {}
    for line in sys.stdin:
        subject = json.loads(line)
        do = subject["do"]
        if do == "name":
            answer = {"name": f"sheeprl {sheeprl.__version__}, torch {torch.__version__}"}
        elif do == "memory":
            answer = {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        else:
            name = subject["name"]
            if name not in made:
                built = Subject(subject)
                made[name] = built.acts(subject["environments"]) if do == "act" else built.step
            start = time.process_time()
            for _ in range(subject["times"]):
                made[name]()
            answer = {"cpu": 1e3 * (time.process_time() - start) / subject["times"]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
