"""What became of each plugin: the record that every run, listing and error message speaks from."""

import traceback
from dataclasses import dataclass
from typing import Any, Literal

from reverie.extension.names import canonical

State = Literal["loaded", "blocked", "failed", "incompatible"]

LOCAL = "local"
"""One-file plugins are called `local.<file's stem>`."""


@dataclass(frozen=True)
class PluginRecord:
    """One plugin that was found, and what became of it.

    Args:
        name: its entry point's name, or `local.<stem>` for a file.
        distribution: the distribution that it came in; for a file the same as `name`.
        version: of the distribution; empty for a file.
        module: the module that was, or would have been, imported.
        file: that module's file, where it is known.
        state: `loaded`; `blocked` by the user and never imported; `failed`; or `incompatible` with this API version.
        error: one or two sentences that say what is wrong; empty if loaded.
        traceback: the full traceback, where there was one.
        sha256: of the file of a one-file plugin.
    """

    name: str
    distribution: str
    version: str
    module: str
    file: str | None = None
    state: State = "loaded"
    error: str = ""
    traceback: str = ""
    sha256: str | None = None

    @property
    def qualified(self) -> str:
        """`distribution/name`, which tells plugins of one name apart."""
        return self.name if self.is_local else f"{self.distribution}/{self.name}"

    @property
    def is_local(self) -> bool:
        """Whether it is a one-file plugin."""
        return self.name.startswith(f"{LOCAL}.") and self.distribution == self.name

    @property
    def origin(self) -> str:
        """Plugin, distribution and version, as messages name it."""
        if self.is_local:
            return f"plugin {self.name!r} ({self.file})"
        return f"plugin {self.name!r} of {self.distribution} {self.version}".rstrip()

    def answers_to(self, name: str) -> bool:
        """Whether a person who writes `name` (plain or `distribution/name`) means this plugin."""
        distribution, slash, plain = name.rpartition("/")
        if slash:
            return plain == self.name and canonical(distribution) == canonical(self.distribution)
        return name == self.name

    def as_data(self) -> dict[str, Any]:
        """For `--json` and for the provenance of a run (without the traceback)."""
        return {
            "name": self.name,
            "distribution": self.distribution,
            "version": self.version,
            "module": self.module,
            "file": self.file,
            "sha256": self.sha256,
            "state": self.state,
            "error": self.error,
        }


def describe_exception(error: BaseException) -> str:
    """One line that says what was raised."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({'' if error.code is None else repr(error.code)})"
    try:
        text = str(error).strip()
    except Exception as broken:  # noqa: BLE001  # the exception belongs to a plugin, so may its __str__ be broken
        text = f"(its message could not be read: {type(broken).__name__})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def format_traceback(error: BaseException) -> str:
    """The full traceback as text."""
    try:
        return "".join(traceback.format_exception(error))
    except Exception as broken:  # noqa: BLE001  # as above
        return f"{type(error).__name__} (its traceback could not be formatted: {type(broken).__name__})"
