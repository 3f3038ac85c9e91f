"""`reverie evaluate MODEL.zip --sb3 CLASS`: a model of Stable-Baselines3 by the evaluation protocol of every run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reverie.cli.console import current_plugins, print_json, say, warn
from reverie.errors import ReverieError


def evaluate_model(
    path: Path,
    algorithm: str | None,
    overrides: Sequence[str],
    refused: Sequence[str],
    *,
    episodes: int | None,
    seed: int | None,
    mode: Any,
    random: bool,
    as_json: bool,
    trust_pickle: bool,
) -> None:
    """Play whole episodes with a model and report their returns.

    Args:
        path: what `model.save` wrote.
        algorithm: the class that saved it.
        overrides: the environment, such as `env=pendulum`.
        refused: options that were given and mean something for runs only.
        episodes, seed, mode: of the protocol, with the defaults of recipes.
        random: a random policy beside it.
        as_json: instead of a table.
        trust_pickle: reading the file may run the code in it.
    """
    if algorithm is None:
        raise ReverieError(
            "--trust-pickle is for models of Stable-Baselines3; nothing of Reverie's own is a pickle\n"
            "    fix: name the class that saved it, such as --sb3 CLASS, or leave --trust-pickle out"
        )
    if refused:
        raise ReverieError(
            f"{' and '.join(refused)}: a model of Stable-Baselines3 has neither checkpoints nor a world model"
        )
    from reverie.assembly.build import build_environment
    from reverie.evaluation.protocol import RandomPolicy
    from reverie.evaluation.protocol import evaluate as play
    from reverie.evaluation.stable_baselines import open_model
    from reverie.recipes.prepare import prepare_environment

    recipe = prepare_environment(overrides, plugins=current_plugins())
    factory, protocol = build_environment(recipe), recipe.settings.evaluation
    if trust_pickle:
        warn(f"{path} is trusted: reading it runs the code in it")
    policy: Any = open_model(path, algorithm, factory.observation, factory.action, trust_pickle=trust_pickle)
    options: dict[str, Any] = {
        "episodes": episodes or protocol.episodes,
        "seed": protocol.seed if seed is None else seed,
        "mode": mode or protocol.mode,
    }
    results = {"agent": play(policy, factory, **options)}
    if random:
        results["random"] = play(RandomPolicy(factory.action), factory, **options)
    name, choice = type(policy.model).__name__, recipe.choice("env")
    environment = str(getattr(choice.config, "id", choice.name)) if choice else ""
    if as_json:
        others = results["random"].as_json() if random else None
        data = {"model": path, "algorithm": name, "environment": environment}
        print_json({**data, **results["agent"].as_json(), "random": others})
        return
    from reverie.cli.evaluate import say_results

    say(f"{name} on {environment}", "bold")
    say(f"{path}, a model of Stable-Baselines3", "dim")
    say_results(results)
