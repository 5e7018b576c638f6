"""A headless Chromium without a network, for tests that look at pages; they skip where it is not installed."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "headless=new",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "disable-dev-shm-usage",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "host-resolver-rules=MAP * ~NOTFOUND",
    "window-size=1360,1000",
)
_READY_S = 60.0


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A browser with an empty profile that logs its console and its requests."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium, to drive Chromium")
    programs = shutil.which("chromium"), shutil.which("chromedriver")
    if None in programs:
        pytest.skip("needs Chromium and its driver (Debian: apt-get install chromium chromium-driver)")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    options.binary_location = programs[0]
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=Service(programs[1])) as driver:
        driver.execute_cdp_cmd("Network.enable", {})
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
        yield driver


def show(driver: Any, page: Path) -> Any:
    """Open a page and wait until all of it is drawn."""
    driver.get(page.absolute().as_uri())
    until(driver, "return document.documentElement.dataset.ready === 'yes'")
    return driver


def until(driver: Any, script: str) -> Any:
    """Wait until a script returns something true; returns that."""
    deadline = time.monotonic() + _READY_S
    while not (found := driver.execute_script(script)):
        assert time.monotonic() < deadline, f"{script} stays {found!r}: {console(driver)}"
        time.sleep(0.03)
    return found


def console(driver: Any) -> list[str]:
    """What the console said since the last look: errors, warnings, violations of the security policy."""
    return [entry["message"] for entry in driver.get_log("browser")]


def requests(driver: Any) -> list[str]:
    """Addresses that were asked for since the last look."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def mouse(driver: Any, element: Any, *places: tuple[float, float]) -> None:
    """Press at the first place, drag through the others, let go; in pixels from the element's upper left corner."""
    from selenium.webdriver import ActionChains

    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    corner = driver.execute_script("const b = arguments[0].getBoundingClientRect(); return [b.left, b.top]", element)
    chain = ActionChains(driver, duration=30)
    for k, (x, y) in enumerate(places):
        chain.w3c_actions.pointer_action.move_to_location(round(corner[0] + x), round(corner[1] + y))
        if not k:
            chain.w3c_actions.pointer_action.pointer_down()
    chain.w3c_actions.pointer_action.pointer_up()
    chain.perform()
