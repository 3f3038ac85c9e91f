"""Models of Stable-Baselines3: pickles, read only by those who say that they trust them."""

import base64
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import bombs
import pytest
from victims import Refused

from reverie.errors import RunError
from reverie.evaluation.stable_baselines import load_model


def hostile_model() -> bytes:
    """A model in the library's own form, one of whose attributes is a pickle that runs a command."""
    attribute = {":type:": "x", ":serialized:": base64.b64encode(pickle.dumps(bombs.Touch())).decode()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("data", json.dumps({"policy_class": attribute}))
        archive.writestr("policy.pth", bombs.saved({}))
        archive.writestr("_stable_baselines3_version", "2.9.2")
    return out.getvalue()


MODELS: dict[str, Callable[[], bytes]] = {
    "pickle in the attributes": hostile_model,
    "pickle in the weights": lambda: bombs.npz({}, bombs.zipped(bombs.raw())),
    "raw pickle": bombs.raw,
    "text": lambda: b"\x1b[2Jos.system('touch canary')",
    "empty": lambda: b"",
}


@pytest.mark.parametrize("name", MODELS)
def test_without_trust_nothing_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.zip").write_bytes(MODELS[name]())
    said = refused("evaluate", "model.zip", "env=cartpole", "--sb3", "ppo")
    assert "model.zip is not read" in said
    assert "--trust-pickle, which lets it run code" in said
    assert "is not a run, but a file" in refused("evaluate", "model.zip")
    refused("import", "model.zip", "new")
    with pytest.raises(RunError, match="runs any code that its author put there"):
        load_model(Path("model.zip"), "ppo")
    assert not Path("canary").exists()


def test_with_trust_its_code_runs_which_is_what_the_flag_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the test above would prove nothing."""
    pytest.importorskip("stable_baselines3")
    monkeypatch.chdir(tmp_path)
    Path("model.zip").write_bytes(hostile_model())
    with pytest.raises(RunError, match=r"model\.zip cannot be read as a PPO"):
        load_model(Path("model.zip"), "ppo", trust_pickle=True)
    assert Path("canary").exists()


@pytest.mark.parametrize("name", ["raw pickle", "text", "empty"])
def test_with_trust_what_is_no_model_is_one_clear_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    pytest.importorskip("stable_baselines3")
    monkeypatch.chdir(tmp_path)
    Path("model.zip").write_bytes(MODELS[name]())
    words = ("evaluate", "model.zip", "env=cartpole", "--sb3", "ppo", "--trust-pickle")
    assert "model.zip cannot be read as a PPO" in refused(*words)
