"""TorchRL's CEMPlanner on the world model of `benchmarks/plan.py`. Runs in a virtual environment of its own.

    python -m venv /tmp/peer && /tmp/peer/bin/pip install torch==2.13.0 torchrl==0.14.1
    python benchmarks/plan.py --peer /tmp/peer/bin/python

Reads one line per request from standard input (`<setting>`) and answers with one JSON line.
"""

import json
import sys
import time
import warnings
from typing import Any

warnings.filterwarnings("ignore")

import torch  # noqa: E402
import torchrl  # noqa: E402
from tensordict import TensorDict  # noqa: E402
from torch import nn  # noqa: E402
from torchrl.data import Bounded, Composite, Unbounded  # noqa: E402
from torchrl.envs.model_based.dreamer import DreamerEnv  # noqa: E402
from torchrl.modules import MLP, CEMPlanner, SafeModule, WorldModelWrapper  # noqa: E402
from torchrl.modules.models.model_based import RSSMPrior  # noqa: E402


def world(sizes: dict[str, int]) -> DreamerEnv:
    deter, stoch, actions, units = (sizes[name] for name in ("deter", "stoch", "actions", "units"))
    action = Bounded(-1.0, 1.0, (actions,))
    prior = RSSMPrior(action, hidden_dim=units, rnn_hidden_dim=deter, state_dim=stoch, action_dim=actions)
    keys = ["_", "_", "state", "belief"]
    dynamics = SafeModule(prior, in_keys=["state", "belief", "action"], out_keys=keys)
    head = MLP(in_features=stoch + deter, out_features=1, depth=2, num_cells=units, activation_class=nn.ELU)
    reward = SafeModule(head, in_keys=["state", "belief"], out_keys=["reward"])
    env = DreamerEnv(WorldModelWrapper(dynamics, reward), prior_shape=(stoch,), belief_shape=(deter,))
    state = {"state": Unbounded((stoch,)), "belief": Unbounded((deter,))}
    env.observation_spec, env.state_spec = Composite(**state), Composite(**state)
    env.action_spec, env.reward_spec = action, Unbounded((1,))
    return env


def planner(setting: dict[str, int], sizes: dict[str, int]) -> Any:
    return CEMPlanner(
        world(sizes),
        planning_horizon=setting["horizon"],
        optim_steps=setting["iterations"],
        num_candidates=setting["candidates"],
        top_k=setting["elites"],
    )


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = json.loads(sys.stdin.readline())
    sizes, made = config["sizes"], {}
    start = TensorDict({"state": torch.randn(sizes["stoch"]), "belief": torch.randn(sizes["deter"]).tanh()}, [])
    print(json.dumps({"name": f"torchrl {torchrl.__version__}, torch {torch.__version__}"}), flush=True)
    for line in sys.stdin:
        name = line.strip()
        if name not in made:
            made[name] = planner(config["settings"][name], sizes)
        wall, cpu = time.perf_counter(), time.process_time()
        with torch.no_grad():
            action = made[name].planning(start)
        took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        assert action.shape == (sizes["actions"],)
        print(json.dumps(took), flush=True)


if __name__ == "__main__":
    main()
