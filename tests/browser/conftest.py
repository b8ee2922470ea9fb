"""One headless Chromium for all tests, and a page object that looks and points as a reader does.

Nothing here is skipped where there is no Chromium: the tests fail and say what to install. After
each test the page must have made no request to anywhere and written nothing to the console.
"""

import json
import os
import shutil
import time

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

WINDOW = (1200, 800)
PATIENCE = 60.0
"""Seconds until something that should happen has not happened."""

RECORD = """
window.frame = [];
for (const name of ["rect", "line", "curve", "text", "image"]) {
  const draw = CanvasPainter.prototype[name];
  CanvasPainter.prototype[name] = function (...given) {
    window.frame.push([name, ...given.map((one) => one instanceof Element ? null : one)]);
    return draw.apply(this, given);
  };
}
const fit = Stage.fit;
Stage.fit = (...given) => {
  window.frame = [];
  return fit(...given);
};
Theme.apply();
"""
"""Keeps what is drawn on the canvas, of the last frame each call of the painter; draws once."""


def find_program(*names):
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    pytest.exit(f"the browser tests need {names[0]}: apt-get install chromium chromium-driver", 1)


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = find_program("chromium", "chromium-browser", "google-chrome")
    for argument in ("headless=new", "disable-dev-shm-usage", "hide-scrollbars", "disable-gpu"):
        options.add_argument(f"--{argument}")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chromedriver = find_program("chromedriver")
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    # Not set_window_size: the frame of a window that nobody sees has a size too.
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": WINDOW[0], "height": WINDOW[1], "deviceScaleFactor": 1, "mobile": False},
    )
    yield browser
    browser.quit()


@pytest.fixture
def page(driver, tmp_path):
    """Opens views; afterwards looks at what the browser noted."""
    page = Page(driver, tmp_path)
    for log in ("browser", "performance"):
        driver.get_log(log)
    yield page
    driver.switch_to.default_content()
    page.set_media(scheme="light")
    page.resize(*WINDOW)
    requests = page.requests()
    messages = [entry["message"] for entry in driver.get_log("browser")]
    driver.get("about:blank")
    local = ("file:", "data:", "blob:", "about:")
    assert not [url for url in requests if not url.startswith(local)]
    if not page.may_complain:
        assert messages == []


class Page:
    """A view in the browser."""

    def __init__(self, driver, folder):
        self.driver = driver
        self.folder = folder
        self.may_complain = False
        driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior",
            {"behavior": "allow", "downloadPath": str(folder), "eventsEnabled": False},
        )

    def open(self, view, name="view.html"):
        """Save a view, go there and wait until it is drawn."""
        path = self.folder / name
        view.save(path)
        return self.open_file(path)

    def open_file(self, path):
        self.driver.get(path.as_uri())
        self.wait("document.body.dataset.ready === 'true'")
        self.run(RECORD)
        self.settle()
        return self

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition):
        """Wait for a JavaScript expression to become true."""
        end = time.monotonic() + PATIENCE
        while not self.run(f"return {condition}"):
            assert time.monotonic() < end, f"never true: {condition}"
            time.sleep(0.02)

    def settle(self):
        """Wait for maps to be unpacked and for the frame that shows them."""
        self.wait("document.getElementById('panel-about').textContent !== 'Unpacking'")
        self.driver.execute_async_script(
            "const done = arguments[0];"
            "requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def requests(self):
        """The addresses that pages asked for, but those that their own policy stopped."""
        entries = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        stopped = {
            entry["params"]["requestId"]
            for entry in entries
            if entry["params"].get("blockedReason") == "csp"
        }
        return [
            entry["params"]["request"]["url"]
            for entry in entries
            if entry["method"] == "Network.requestWillBeSent"
            and entry["params"]["requestId"] not in stopped
        ]

    def set_media(self, *, scheme):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def resize(self, width, height):
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    # -- what is there

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def drawn(self, kind):
        """The painter's calls of one kind in the last frame: lists of arguments."""
        return [call[1:] for call in self.run("return window.frame") if call[0] == kind]

    def label(self, text, column=0):
        """Where a text stands on the canvas, once it does: a view may still be on its way there.
        column: which of several, from the left."""
        end = time.monotonic() + PATIENCE
        while True:
            found = sorted(call[:3] for call in self.drawn("text") if call[2] == text)
            if len(found) > column:
                return found[column][:2]
            assert time.monotonic() < end, f"{text!r} is not drawn"
            self.settle()

    def table(self):
        """The panel's table: rows of cell texts."""
        return self.run(
            "return [...document.querySelectorAll('#panel-table tbody tr')]"
            ".map((row) => [...row.cells].map((cell) => cell.textContent))"
        )

    def pixels(self):
        """The shown canvas as one text, to be compared."""
        return self.run(
            "const view = document.body.dataset.view;"
            "return document.querySelector(`#${view} canvas`).toDataURL()"
        )

    # -- what a reader does

    def click(self, selector):
        self.find(selector).click()
        self.settle()
        return self

    def choose(self, selector, value):
        self.run(
            "const select = document.querySelector(arguments[0]); select.value = arguments[1];"
            "select.dispatchEvent(new Event('change', { bubbles: true }))",
            selector, str(value),
        )  # fmt: skip
        self.settle()
        return self

    def press(self, *keys):
        for key in keys:
            ActionChains(self.driver, duration=0).send_keys(getattr(Keys, key, key)).perform()
        self.settle()
        return self

    def canvas(self):
        view = self.run("return document.body.dataset.view")
        return self.find("#tokens-scroller" if view == "tokens" else f"#{view} canvas")

    def point(self, x, y, *, click=False):
        """Move the mouse to a point of the canvas, in CSS pixels from its corner."""
        canvas = self.canvas()
        box = canvas.rect
        chain = ActionChains(self.driver, duration=0).move_to_element_with_offset(
            canvas, round(x - box["width"] / 2), round(y - box["height"] / 2)
        )
        (chain.click() if click else chain).perform()
        self.settle()
        return self

    def wheel(self, x, y, amount):
        """Turn the wheel over a point of the canvas; negative amounts zoom in."""
        self.run(
            "const [canvas, x, y, deltaY] = arguments; const box = canvas.getBoundingClientRect();"
            "canvas.dispatchEvent(new WheelEvent('wheel', {"
            " clientX: box.left + x, clientY: box.top + y, deltaY, cancelable: true }))",
            self.canvas(), x, y, amount,
        )  # fmt: skip
        self.settle()
        return self

    def download(self, selector, ending):
        """Click on what saves a file, wait for the file."""
        self.find(selector).click()
        end = time.monotonic() + PATIENCE
        while True:
            found = [p for p in self.folder.glob(f"*.{ending}") if p.stat().st_size > 0]
            if found:
                return found[0]
            assert time.monotonic() < end, f"no .{ending} file came"
            time.sleep(0.05)


def interval(text):
    """The numbers that a shown weight stands for: (lowest, highest)."""
    number = text.split("\u2264")[-1].split("\u00b1")[0].strip()
    value = float(number)
    if "\u2264" in text:
        return 0.0, value
    if "\u00b1" in text:
        error = float(text.split("\u00b1")[1])
        return value - error, value + error
    return float(np.float32(value)), float(np.float32(value))


def assert_shown(text, weight):
    """A shown weight stands for the true one; without a sign of doubt it is its float32."""
    low, high = interval(text)
    exact = "\u2264" not in text and "\u00b1" not in text
    value = float(np.float32(weight)) if exact else float(weight)
    assert low <= value <= high, f"{text} is shown for {weight!r}"
