"""`reverie doctor`: is this installation whole, and what would mend it."""

import importlib
import importlib.util
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Literal

import typer
from rich.text import Text

from reverie.cli.console import console, current_plugins, print_json, say, styled, table

Status = Literal["ok", "optional", "wrong"]

_PACKAGES = ("torch", "pytorch-lightning", "hydra-core", "pydantic", "gymnasium", "numpy", "typer", "imageio")
_MARKS: dict[Status, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "optional": ("-", "dim"),
    "wrong": ("WRONG", "bold red"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        name: what was looked at.
        status: `ok`; `optional` for something that is not there and need not be; `wrong`.
        value: what was found.
        fix: how to mend it.
    """

    name: str
    status: Status
    value: str
    fix: str = ""


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check this installation: versions, threads, video, rendering, plugins. Exit code 1 if something is wrong."""
    findings = examine()
    wrong = [finding for finding in findings if finding.status == "wrong"]
    if as_json:
        print_json({"ok": not wrong, "findings": [asdict(finding) for finding in findings]})
    else:
        _print(findings)
        say()
        say(
            f"{len(wrong)} of {len(findings)} checks found something wrong"
            if wrong
            else "everything that is needed works"
        )
    if wrong:
        raise typer.Exit(1)


def _print(findings: list[Finding]) -> None:
    made = table("", "check", "found")
    for finding in findings:
        mark, style = _MARKS[finding.status]
        value = styled(finding.value)
        if finding.fix:
            value = Text.assemble(value, ("\nfix: ", "green"), styled(finding.fix))
        made.add_row(Text(mark, style), styled(finding.name, "bold"), value)
    console.print(made)


def examine() -> list[Finding]:
    """Make every check. A check that fails in a way nobody foresaw is itself a finding."""
    checks: list[tuple[str, Callable[[], list[Finding]]]] = [
        ("python", _python),
        ("packages", _packages),
        ("torch", _torch),
        ("video", _video),
        ("rendering", _rendering),
        ("extras", _extras),
        ("plugins", _plugins),
    ]
    found: list[Finding] = []
    for name, check in checks:
        try:
            found += check()
        except (Exception, SystemExit) as error:  # noqa: BLE001  # the doctor reports whatever a broken package raises
            found.append(Finding(name, "wrong", f"{type(error).__name__}: {error}"))
    return found


def _python() -> list[Finding]:
    wanted = sys.version_info >= (3, 11)
    value = f"{platform.python_version()} ({sys.executable}) on {platform.system()} {platform.machine()}"
    python = Finding("python", "ok" if wanted else "wrong", value, "" if wanted else "install Python 3.11 or later")
    return [python, Finding("reverie", "ok", _version_of("reverie") or "not installed as a distribution")]


def _packages() -> list[Finding]:
    found: list[Finding] = []
    for name in _PACKAGES:
        installed = _version_of(name)
        fix = "" if installed else "reinstall Reverie: its dependencies are incomplete"
        found.append(Finding(name, "ok" if installed else "wrong", installed or "not installed", fix))
    return found


def _version_of(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _torch() -> list[Finding]:
    torch = importlib.import_module("torch")
    variable = os.environ.get("OMP_NUM_THREADS")
    threads = f"torch uses {torch.get_num_threads()} of {_cores()} cores"
    found = [Finding("threads", "ok", f"{threads} (OMP_NUM_THREADS={variable})" if variable else threads)]
    cuda = torch.cuda.is_available()
    device = torch.cuda.get_device_name(0) if cuda else "no GPU that torch can use; training runs on the CPU"
    return [*found, Finding("gpu", "ok" if cuda else "optional", device)]


def _video() -> list[Finding]:
    ffmpeg = importlib.import_module("imageio_ffmpeg")
    try:
        return [Finding("ffmpeg", "ok", f"{ffmpeg.get_ffmpeg_version()} ({ffmpeg.get_ffmpeg_exe()})")]
    except RuntimeError as error:
        return [Finding("ffmpeg", "wrong", str(error), "install ffmpeg, or set IMAGEIO_FFMPEG_EXE to where it is")]


def _rendering() -> list[Finding]:
    """Draw one frame of a classic environment, without a display."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    gymnasium = importlib.import_module("gymnasium")
    env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    try:
        env.reset(seed=0)
        frame = env.render()
    finally:
        env.close()
    drawn = frame is not None and int(frame.max()) > int(frame.min())
    size = " x ".join(map(str, frame.shape)) if frame is not None else "nothing"
    fix = "" if drawn else "pip install 'gymnasium[classic-control]'"
    return [Finding("rendering", "ok" if drawn else "wrong", f"CartPole-v1 drew {size}", fix)]


def _extras() -> list[Finding]:
    from reverie.extension.known import EXTRAS, pip_line

    found: list[Finding] = []
    for extra in EXTRAS:
        missing = [module for module in extra.modules if importlib.util.find_spec(module) is None]
        if missing:
            value = f"{extra.summary}: not installed ({', '.join(missing)})"
            found.append(Finding(f"extra {extra.name}", "optional", value, pip_line("reverie", extra.name)))
        else:
            found.append(Finding(f"extra {extra.name}", "ok", extra.summary))
    return found


def _plugins() -> list[Finding]:
    plugins = current_plugins(strict=False)
    loaded = sum(record.state == "loaded" for record in plugins.records)
    status: Status = "ok" if loaded else "wrong"
    found = [Finding("plugins", status, f"{loaded} loaded, {len(plugins.catalogue)} components")]
    for record in plugins.records:
        if record.state == "blocked":
            found.append(Finding(f"plugin {record.name}", "optional", f"blocked ({record.origin})"))
    for record in plugins.failures():
        value = f"{record.state}: {record.error} ({record.origin})"
        found.append(Finding(f"plugin {record.name}", "wrong", value, "see `reverie plugins doctor`"))
    for problem in plugins.catalogue.conflicts():
        found.append(Finding("conflict", "wrong", problem.what, problem.fix))
    return found
