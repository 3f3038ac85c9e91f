"""Drawing DeepMind Control where there is no display."""

from __future__ import annotations

import importlib
import os

from reverie import PluginError


def draw_without_display(id: str) -> None:
    """Let dm_control draw through EGL, unless there is a display or somebody chose otherwise with `MUJOCO_GL`.

    Left to itself, dm_control takes GLFW wherever its package is installed, and GLFW fails without a display. The
    choice is made when dm_control is imported, which may have been long ago for an environment that was never drawn;
    so it is replaced here rather than asked for.

    Raises:
        PluginError: when EGL is missing or finds nothing to draw with.
    """
    if any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL")):
        return
    try:
        egl = importlib.import_module("dm_control._render.pyopengl.egl_renderer")
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        raise PluginError(cannot_draw(id, error)) from error
    render = importlib.import_module("dm_control._render")
    render.Renderer, render.BACKEND = egl.EGLContext, "egl"  # type: ignore[attr-defined]  # a module without types


def cannot_draw(id: str, error: Exception) -> str:
    """Why a picture cannot be drawn here, and what helps."""
    return (
        f"env: '{id}' cannot be drawn: without a display that takes EGL, which does not work here "
        f"({type(error).__name__}: {error})\n"
        "    fix: install it (Debian: apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri), or leave out `pixels`"
    )
