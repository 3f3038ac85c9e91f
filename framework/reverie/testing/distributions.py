"""Small installed distributions on disk, as pip would leave them: for tests of what is found and loaded."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

PLUGIN_SOURCE = """
from reverie import ComponentSpec, hookimpl

@hookimpl
def reverie_components():
    return [
        ComponentSpec(
            kind={kind!r},
            name={name!r},
            target={target!r},
            config={config!r},
            summary={summary!r},
            api={api!r},
        )
    ]
"""


def plugin_source(
    *,
    kind: str = "dynamics",
    name: str = "sample",
    target: str = "missing_module:Sample",
    config: str = "reverie:Config",
    summary: str = "a sample",
    api: object = 1,
) -> str:
    """The source of a plugin module with one component."""
    return PLUGIN_SOURCE.format(kind=kind, name=name, target=target, config=config, summary=summary, api=api)


def write_distribution(
    folder: Path,
    name: str,
    *,
    version: str = "1.0",
    plugins: Mapping[str, str] | None = None,
    modules: Mapping[str, str] | None = None,
) -> Path:
    """Write a distribution into `folder`, which works once `folder` is on `sys.path` or in `PYTHONPATH`.

    Args:
        folder: where it is "installed"; made if it does not exist.
        name: the distribution's name.
        version: its version.
        plugins: entry points of the group `reverie`: plugin name to `module` or `module:attribute`.
        modules: dotted module name to its source (dedented).

    Returns:
        `folder`.
    """
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{plugin} = {value}" for plugin, value in (plugins or {}).items()]
    (info / "entry_points.txt").write_text("\n".join(["[reverie]", *lines, ""]))
    for module, source in (modules or {}).items():
        file = folder.joinpath(*module.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(source))
    return folder


def call_reverie(
    folder: Path, site: Path | None, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the real command line in a process of its own.

    Args:
        folder: where it runs.
        site: a folder of distributions (see `write_distribution`) that it finds besides the installed ones.
        arguments: those of the command.
        environment: variables set besides the inherited ones.
    """
    inherited = {key: value for key, value in os.environ.items() if key not in ("REVERIE_DISABLE_PLUGINS", "COLUMNS")}
    env = {**inherited, "OMP_NUM_THREADS": "1", **({"PYTHONPATH": str(site)} if site else {}), **environment}
    command = [sys.executable, "-m", "reverie.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=folder, timeout=120)
