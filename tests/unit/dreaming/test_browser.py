"""The page of `reverie play --browser` in headless Chromium."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reverie.dreaming.server import PlayServer
from reverie.dreaming.session import PlaySession
from reverie.evaluation.reopen import reopen

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not shutil.which("chromedriver"), reason="needs chromium and chromium-driver"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1120,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def server(run: Path) -> Iterator[PlayServer]:
    session = PlaySession(reopen(run, ["env.time_limit=500"]), seed=3, threshold=0.5)
    made = PlayServer(session, "<img src=x onerror=alert(1)> & a title")
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()
    session.close()


def until(driver: Any, script: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 60).until(lambda found: found.execute_script(f"return {script}"))


def test_a_person_plays(chromium: Any, server: PlayServer, tmp_path: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    chromium.get(server.url)
    until(chromium, "document.body.dataset.step === '0'")
    assert chromium.title == "<img src=x onerror=alert(1)> & a title", "text, and not markup"
    assert chromium.execute_script("return document.querySelectorAll('img').length") == 2
    sizes = "[...document.images].map(image => image.naturalWidth > 0 && image.clientWidth > 200)"
    until(chromium, f"{sizes}.every(Boolean)")
    ActionChains(chromium).key_down(Keys.ARROW_RIGHT).perform()
    until(chromium, "now.step >= 3")
    ActionChains(chromium).key_up(Keys.ARROW_RIGHT).perform()
    until(chromium, "!busy")
    step = chromium.execute_script("return now.step")
    chromium.execute_async_script("setTimeout(arguments[0], 600)")
    assert chromium.execute_script("return now.step") == step, "time stands still without a key"
    chromium.execute_script(
        "for (const [id, value] of [['temperature', 1.7], ['horizon', 9]]) {"
        "at(id).value = value; at(id).dispatchEvent(new Event('input')); }"
    )
    assert chromium.find_element("id", "temperature-now").text == "1.7"
    assert chromium.find_element("id", "horizon-now").text == "9 steps"
    chromium.find_element("id", "agent").click()
    until(chromium, f"now.step > {step}")  # it may have parted already, under the old settings
    until(chromium, "now.parted !== null || now.over")
    assert (server.session.model.temperature, server.session.horizon) == (1.7, 9)
    marker = chromium.find_element("id", "marker")
    assert marker.text
    assert chromium.execute_script("return at('plot').getContext('2d').getImageData(0, 0, 900, 150).data.some(Boolean)")
    chromium.save_screenshot(str(tmp_path / "play.png"))
    chromium.find_element("id", "agent").click()
    until(chromium, "!busy")
    ActionChains(chromium).send_keys("r").perform()
    until(chromium, "now.step === 0 && now.seed === 4")
    server.shutdown()
    server.server_close()
    assert not [line for line in chromium.get_log("browser") if "favicon" not in line["message"]]


def test_the_page_fits_a_small_window(chromium: Any, server: PlayServer) -> None:
    chromium.set_window_size(520, 900)
    chromium.get(server.url)
    until(chromium, "document.body.dataset.step === '0'")
    assert chromium.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    chromium.set_window_size(1120, 900)
