"""A recipe with every wrong mix in one file: the command line names all of them at once, each with its line and fix."""

from pathlib import Path

from reverie.testing.distributions import call_reverie

RECIPES = Path(__file__).parents[2] / "recipes"

PLUGIN = '''\
"""A planner for continuous actions only."""

from reverie import ComponentSpec, Config, hookimpl


class SteeringConfig(Config):
    """No options."""


@hookimpl
def reverie_components():
    return [
        ComponentSpec(
            kind="planner",
            name="steering",
            target=f"{__name__}:NeverBuilt",
            config=f"{__name__}:SteeringConfig",
            summary="steers smoothly",
            provides=frozenset({"continuous"}),
        )
    ]
'''

WRONG = """\
# Every mistake at once.   reverie check wrong.yaml
defaults:
  - dreamer
  - heads/cost: gausian
  - override decoder: null
  - override planner: steering
  - learners/second: world_model
  - _self_
dynamics:
  detr: 32
encoder:
  layers: many
learners:
  second: {trains: [dynamics], objectives: []}
stages:
  - {name: prefill, collect: {policy: random}, until: {env_stps: 100}}
  - {name: train, collect: {policy: planner}, learners: [model, second, behaviour], ratio: 8, until: {env_steps: 100}}
"""

PROBLEMS = {
    "wrong.yaml:4: heads/cost: there is no head called 'gausian'": "'gaussian'",
    "wrong.yaml:6: planner (steering) is for continuous actions, and those of the environment (gym) are discrete": (
        "use planner=actor (choices: actor, "
    ),
    "wrong.yaml:10: dynamics (rssm): unknown key 'detr' (did you mean 'deter'?)": "keys: latent, deter, hidden, ",
    "wrong.yaml:12: encoder (auto): `layers` must be a whole number, not 'many'": "",
    "wrong.yaml:16: stages.0.until: unknown key 'env_stps' (did you mean 'env_steps' or 'agent_steps'?)": (
        "keys: env_steps, agent_steps, updates, "
    ),
    "wrong.yaml:17: stage train: the learners 'model' and 'second' both train dynamics": (
        "take dynamics out of learners.model.trains or learners.second.trains, or use two stages"
    ),
    "{dreamer}: objectives/reconstruction (reconstruction) needs decoder, which is empty": (
        "add `- decoder: auto` to the defaults list"
    ),
}
"""What is said, and (part of) what is to be done about it; a wrong type says itself what belongs there."""


SHARED_OUT = "{trains: [heads/reward], objectives: []}\n  model: {trains: [encoder, dynamics, decoder, heads/continue]}"
"""Two learners for one world model, one slot each."""


def test_all_wrong_mixes_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG)
    (tmp_path / "steering.py").write_text(PLUGIN)
    done = call_reverie(tmp_path, None, "check", "wrong.yaml", "--plugin", "steering.py")
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    blocks = [block.splitlines() for block in done.stderr.split("\n- ")]
    assert f"error: {len(PROBLEMS)} problems" in blocks.pop(
        0
    )  # behind a note about the keys that went with the decoder
    text = (RECIPES / "dreamer.yaml").read_text().splitlines()
    line = next(i for i, content in enumerate(text, 1) if content.startswith("  reconstruction:"))
    said = {block[0].replace(f"{RECIPES / 'dreamer.yaml'}:{line}", "{dreamer}"): "\n".join(block) for block in blocks}
    assert list(said) == list(PROBLEMS)
    for head, fix in PROBLEMS.items():
        assert fix in said[head].partition("    fix: ")[2], said[head]
    assert "decoder is emptied at wrong.yaml:5" in said[list(PROBLEMS)[-1]]


def test_and_the_same_file_put_right_is_accepted(tmp_path: Path) -> None:
    """The message's own advice, followed to the letter."""
    right = (
        WRONG.replace("gausian", "gaussian")
        .replace("  - override decoder: null\n", "")
        .replace("override planner: steering", "override planner: actor")
        .replace("detr", "deter")
        .replace("many", "2")
        .replace("{trains: [dynamics], objectives: []}", SHARED_OUT)
        .replace("env_stps", "env_steps")
    )
    (tmp_path / "right.yaml").write_text(right)
    done = call_reverie(tmp_path, None, "check", "right.yaml")
    assert done.returncode == 0, done.stderr
