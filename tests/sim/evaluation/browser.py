"""A real headless Chromium for tests of pages that are opened from disk."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
MISSING = (
    "no Chromium, so the report page was not tested in a browser: run `apt-get install chromium-headless-shell` "
    "(as root; `make test` does), or set CHROMIUM=/path/to/chromium"
)
PATIENCE = 120_000
"""How long a step may take on a busy machine [ms]."""


def chromium_path() -> str | None:
    """Returns where Chromium is: the environment variable CHROMIUM, or the first of `NAMES` on the path."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium() -> Iterator:
    """Starts the browser. Raises FileNotFoundError, with what to do, where there is none."""
    from playwright.sync_api import sync_playwright

    path = chromium_path()
    if path is None or not Path(path).is_file():
        raise FileNotFoundError(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, timeout=PATIENCE)
        yield browser
        browser.close()


class Tab:
    """A page opened from disk, and all that it said, asked for or stumbled over.

    Args:
        browser: from `chromium`.
        path: of the page.
        width, height: of the window [px].
        scheme: "light" or "dark".
    """

    def __init__(self, browser, path: Path, width: int = 1280, height: int = 900, scheme: str = "light"):
        self.page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page.set_default_timeout(PATIENCE)
        self.console: list[str] = []
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def wait(self, condition: str) -> None:
        """Waits until a JavaScript expression holds."""
        self.page.wait_for_function(f"() => {condition}")

    def text(self, selector: str) -> str:
        """What an element shows."""
        return self.page.locator(selector).inner_text()

    def pixel(self, x: float, y: float) -> tuple[int, ...]:
        """Red, green and blue of the player's picture at a share of its width and height."""
        return tuple(
            self.page.evaluate(
                """([x, y]) => {
                  const stage = document.getElementById("stage");
                  const dot = new OffscreenCanvas(1, 1).getContext("2d");
                  dot.drawImage(stage, -Math.round(x * stage.width), -Math.round(y * stage.height));
                  return [...dot.getImageData(0, 0, 1, 1).data].slice(0, 3);
                }""",
                [x, y],
            )
        )

    def picture(self) -> str:
        """All of the player's picture."""
        return self.page.evaluate("document.getElementById('stage').toDataURL()")
