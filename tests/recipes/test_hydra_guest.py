"""Composing leaves no trace in a user's own Hydra app, and the app leaves none in what is composed."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import hydra
import pytest
from hydra import version
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime

from reverie.recipes.recipe import Recipe

Make = Callable[..., Recipe]


@pytest.mark.filterwarnings("ignore::hydra.errors.Hydra14MigrationWarning")
def test_inside_a_hydra_app(make: Make, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "mine.yaml").write_text("env: mine\nsize: 3\n")
    with hydra.initialize_config_dir(str(tmp_path / "config"), version_base="1.1", job_name="my_app"):
        app = GlobalHydra.instance().hydra
        recipe = make("base", "env=steered")
        assert recipe.choices["env"].name == "toy"
        assert GlobalHydra.instance().hydra is app
        assert str(version.getbase()) == "1.1"
        assert JobRuntime.instance().get("name") == "my_app"
        # The app composes its own config as before, and finds nothing of ours.
        assert hydra.compose("mine") == {"env": "mine", "size": 3}
        assert app is not None
        assert not app.config_loader.repository.group_exists("dynamics")
        assert make("base") == make("base")
    assert not GlobalHydra.instance().is_initialized()


def test_an_app_that_comes_later_finds_nothing_of_ours(make: Make, tmp_path: Path) -> None:
    make("base")
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
        app = GlobalHydra.instance().hydra
        assert app is not None
        assert "reverie" not in {source.scheme() for source in app.config_loader.get_sources()}


@dataclass
class Numbered:
    name: int = 3


def test_groups_of_an_app_do_not_leak_in(make: Make) -> None:
    """Hydra takes a config of the same path in the app's store for the schema of ours."""
    ConfigStore.instance().store(group="dynamics", name="linear", node=Numbered)
    try:
        assert make("base").choices["dynamics"].name == "linear"
        assert "dynamics" in ConfigStore.instance().repo
    finally:
        del ConfigStore.instance().repo["dynamics"]


def test_a_real_app(tmp_path: Path) -> None:
    """The whole of it, as a user writes it: `@hydra.main` and a recipe inside."""
    script = tmp_path / "app.py"
    script.write_text(
        textwrap.dedent(
            """
            import hydra
            from hydra.core.hydra_config import HydraConfig

            @hydra.main(version_base=None, config_path=None, config_name=None)
            def main(config):
                from reverie.recipes.prepare import prepare
                recipe = prepare("dreamer", ["env=pendulum"])
                print(recipe.choices["env"].config.id, HydraConfig.get().job.name)

            main()
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(script), f"hydra.run.dir={tmp_path}"],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=tmp_path,
    )
    assert done.stdout.strip().splitlines()[-1:] == ["Pendulum-v1 app"], done.stderr


def test_threads_compose_side_by_side(make: Make) -> None:
    widths = range(3, 9)
    found: dict[int, Recipe] = {}

    def work(width: int) -> None:
        found[width] = make("base", f"dynamics.width={width}")

    threads = [Thread(target=work, args=(width,)) for width in widths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[width].choices["dynamics"].config.model_dump()["width"] for width in widths] == list(widths)
