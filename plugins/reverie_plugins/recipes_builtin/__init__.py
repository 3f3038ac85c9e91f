"""The recipes that come with Reverie: those of the wheel, or of the checkout that this file lies in."""

from pathlib import Path

from reverie import hookimpl

_HERE = Path(__file__).resolve()
_WHEEL = _HERE.parents[1] / "_recipes"
_CHECKOUT = _HERE.parents[3] / "recipes"


@hookimpl
def reverie_recipe_roots() -> list[Path]:
    return [folder for folder in (_WHEEL, _CHECKOUT) if folder.is_dir()][:1]
