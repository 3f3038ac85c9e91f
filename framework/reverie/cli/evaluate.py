"""`reverie evaluate RUN`: returns of a trained agent by the evaluation protocol."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reverie.cli.console import clean, current_plugins, print_json, say, styled, table
from reverie.errors import ReverieError

if TYPE_CHECKING:
    from rich.table import Table

    from reverie.evaluation.protocol import EvaluationResult
    from reverie.evaluation.reopen import Opened
    from reverie.evaluation.world_model import WorldModelReport

_WHOSE = {"agent": "on the agent's episodes", "random": "on a random policy's episodes"}
_SHOWN = 12  # single returns are listed up to this many episodes


class Choice(StrEnum):
    """How latents and actions are chosen."""

    mode = "mode"
    sample = "sample"


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run; with --sb3, a model's .zip file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Another planner or environment, such as planner=cem."),
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Episodes, side by side.", show_default="the recipe's")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Episode i uses this plus i.", show_default="the recipe's")
    ] = None,
    mode: Annotated[
        Choice | None,
        typer.Option(help="Most likely latents and actions, or drawn ones.", show_default="the recipe's"),
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(metavar="NAME", help="By default the newest.")] = None,
    accelerator: Annotated[
        str | None, typer.Option(metavar="cpu|gpu|auto", help="Where the agent computes.", show_default="cpu")
    ] = None,
    random: Annotated[bool, typer.Option("--random", help="A random policy beside it, on the same seeds.")] = False,
    world_model: Annotated[
        bool,
        typer.Option(
            "--world-model",
            help="Judge the world model on the same episodes; with --random, on those of a random policy too, which "
            "are the same for all runs.",
        ),
    ] = False,
    sb3: Annotated[
        str | None, typer.Option(metavar="CLASS", help="RUN is a model that this class of Stable-Baselines3 saved.")
    ] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Let such a model run the code in it, which reading it does.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Play whole episodes with a run's agent and report their returns.

    Planner and environment may be swapped: reverie evaluate RUN planner=cem planner.horizon=20

    A model of Stable-Baselines3: reverie evaluate model.zip env=pendulum --sb3 CLASS --trust-pickle
    """
    if sb3 is not None or trust_pickle:
        from reverie.cli.stable_baselines import evaluate_model

        of_runs = {
            "--checkpoint": checkpoint is not None,
            "--world-model": world_model,
            "--accelerator": accelerator is not None,
        }
        evaluate_model(
            run, sb3, overrides or [], [name for name, given in of_runs.items() if given],
            episodes=episodes, seed=seed, mode=None if mode is None else mode.value,
            random=random, as_json=as_json, trust_pickle=trust_pickle,
        )  # fmt: skip
        return
    from reverie.evaluation.protocol import RandomPolicy
    from reverie.evaluation.protocol import evaluate as play
    from reverie.evaluation.reopen import reopen
    from reverie.training.memory import keep_freed_memory

    keep_freed_memory()  # a decision of a planner makes and frees the same tensors again and again
    opened = reopen(
        run, overrides or [], checkpoint=checkpoint, plugins=current_plugins(), accelerator=accelerator or "cpu"
    )
    for note in opened.recipe.notes:
        say(note, error=True)
    protocol = opened.recipe.settings.evaluation
    count, first = episodes or protocol.episodes, protocol.seed if seed is None else seed
    chosen: Any = protocol.mode if mode is None else mode.value
    reports: dict[str, WorldModelReport] = {}
    if opened.plays_nowhere:
        if random:
            raise ReverieError(f"{opened.run} has no environment for a random policy; name one, such as env=cartpole")
        _show_recorded(opened, world_model, as_json, chosen, first)
        return
    if world_model:
        results, reports = _judged(opened, random, episodes=count, seed=first, mode=chosen)
    else:
        results = {"agent": play(opened.policy, opened.factory, episodes=count, seed=first, mode=chosen)}
    if random and "random" not in results:
        policy = RandomPolicy(opened.factory.action)
        results["random"] = play(policy, opened.factory, episodes=count, seed=first, mode=chosen)
    if as_json:
        print_json(_as_data(opened, results, reports))
    else:
        _show(opened, results, reports)


def _show_recorded(opened: "Opened", world_model: bool, as_json: bool, mode: Any, seed: int) -> None:
    """A run that has only data: its model is judged on the episodes that nothing learned from."""
    from reverie.cli.world_model import show_world_model
    from reverie.evaluation.judged import judge_recorded

    if not world_model:
        raise ReverieError(
            f"{opened.run} learned from recorded data and has no environment to be played in; add --world-model to "
            "judge its model on held-out episodes, or name an environment, such as env=cartpole"
        )
    recordings = opened.held_out()
    learners = [choice.config for choice in opened.recipe.group("learners").values()]
    report = judge_recorded(opened.agent, recordings, learners, own=False, mode=mode, seed=seed)
    if as_json:
        print_json({**_about(opened), "world_model": report.as_json()})
        return
    say(f"{opened.recipe.name} on recorded data", "bold")
    updates = opened.checkpoint.counters.get("updates", 0)
    say(f"{opened.run}, {opened.checkpoint.name} ({updates:,} updates)", "dim")
    say()
    show_world_model(report)


def _judged(
    opened: "Opened", random: bool, **options: Any
) -> "tuple[dict[str, EvaluationResult], dict[str, WorldModelReport]]":
    """Returns and world model from the same episodes: the agent's, and a random policy's on request or where nothing
    else can act."""
    from reverie.assembly.build import NobodyActs
    from reverie.evaluation.judged import evaluate_and_judge
    from reverie.evaluation.protocol import RandomPolicy

    agent = opened.agent
    idle = isinstance(agent.planner, NobodyActs)
    learners = [choice.config for choice in opened.recipe.group("learners").values()]
    names = ["random"] if idle else ["agent", "random"] if random else ["agent"]
    players = {"agent": None, "random": RandomPolicy(opened.factory.action)}
    judged = {
        name: evaluate_and_judge(agent, opened.factory, learners, player=players[name], **options) for name in names
    }
    return {name: result for name, (result, _) in judged.items()}, {name: one for name, (_, one) in judged.items()}


def _as_data(
    opened: "Opened", results: "dict[str, EvaluationResult]", reports: "dict[str, WorldModelReport]"
) -> dict[str, Any]:
    data = {
        **_about(opened),
        **_main(results).as_json(),
        "random": results["random"].as_json() if "random" in results else None,
    }
    keys = {"agent": "world_model", "random": "world_model_random"}
    return {**data, **{keys[name]: report.as_json() for name, report in reports.items()}}


def _about(opened: "Opened") -> dict[str, Any]:
    return {
        "run": opened.run,
        "recipe": opened.recipe.name,
        "environment": opened.environment,
        "planner": opened.planner,
        "checkpoint": opened.checkpoint.name,
        "env_steps": opened.checkpoint.counters.get("env_steps"),
    }


def _main(results: "dict[str, EvaluationResult]") -> "EvaluationResult":
    """The agent's, or what stands in for it."""
    return next(iter(results.values()))


def _show(opened: "Opened", results: "dict[str, EvaluationResult]", reports: "dict[str, WorldModelReport]") -> None:
    steps = opened.checkpoint.counters.get("env_steps", 0)
    say(f"{opened.recipe.name} on {opened.environment}", "bold")
    say(f"{opened.run}, {opened.checkpoint.name} ({steps:,} environment steps), planner {opened.planner}", "dim")
    say_results(results)
    for name, report in reports.items():
        from reverie.cli.world_model import show_world_model

        say()
        show_world_model(report, f"world model, {_WHOSE[name]}")


def say_results(results: "dict[str, EvaluationResult]") -> None:
    """The table, and by which protocol the first policy was judged."""
    result = _main(results)
    last = result.seed + len(result.episodes) - 1
    say()
    say_table(results)
    say()
    if result.imagined_steps:
        speed = f"{result.imagined_per_second:,.0f} imagined steps per second"
        say(f"search   {result.ms_per_decision:.2f} ms per decision, {speed}")
    if len(result.episodes) <= _SHOWN:
        say("returns  " + "  ".join(f"{value:.4g}" for value in result.returns))
    how = "most likely latents and actions" if result.mode == "mode" else "latents and actions drawn"
    played = f"{len(result.episodes)} episodes, seeds {result.seed} to {last}"
    played = played if len(result.episodes) > 1 else f"1 episode, seed {result.seed}"
    say(f"protocol: {played}, mode {result.mode} ({how})", "dim")


def say_table(results: "dict[str, EvaluationResult]") -> None:
    """One row per policy."""
    from reverie.cli.console import console

    made: Table = table("policy", "return", "std", "min", "max", "length", "ms per decision")
    for column in made.columns[1:]:
        column.justify = "right"
    for name, result in results.items():
        length = sum(result.lengths) / len(result.lengths)
        cells = (f"{result.std:.4g}", f"{result.min:.4g}", f"{result.max:.4g}", f"{length:.4g}")
        made.add_row(
            styled(clean(name), "bold"),
            styled(f"{result.mean:.4g}", "bold green" if name == "agent" else ""),
            *cells,
            f"{result.ms_per_decision:.2f} ({result.ms_per_call:.1f} for all)",
        )
    console.print(made)
