"""Chromium of the distribution against a stack of its own; a person signs up once per session."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.running import Stack

expect.set_options(timeout=20_000)
SECRET = "a wheel of photographs"
SERIOUS = {"serious", "critical"}
WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 360, "height": 740}


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    return {
        "executable_path": "/usr/bin/chromium",
        "args": ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    }


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker(pytest.mark.browser)


class Visit:
    """A page of the site, and what its console said."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.faults: list[str] = []
        page.on("console", self.heard)
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def open(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page

    def look(self, path: str) -> list[str]:
        """What is wrong there: serious findings of axe, sideways scrolling, console faults."""
        self.open(path)
        found = Axe().run(self.page).response["violations"]
        wrong = [
            f"{path} {v['id']}: {node['html'][:160]}"
            for v in found
            if v["impact"] in SERIOUS
            for node in v["nodes"]
        ]
        root = "document.documentElement"
        if self.page.evaluate(f"{root}.scrollWidth > {root}.clientWidth"):
            wrong.append(f"{path} scrolls sideways")
        return wrong + self.faults


def visit(browser: Browser, stack: Stack, **options: Any) -> Iterator[Visit]:
    context: BrowserContext = browser.new_context(**options)
    context.set_default_timeout(20_000)
    yield Visit(context.new_page(), stack.url)
    context.close()


@pytest.fixture
def stranger(browser: Browser, stack: Stack) -> Iterator[Visit]:
    """Somebody without an account, at a wide window."""
    yield from visit(browser, stack, viewport=WIDE)


@pytest.fixture(scope="session")
def signed_up(browser: Browser, stack: Stack) -> dict[str, Any]:
    """The cookies of a newcomer who has proved an address."""
    context = browser.new_context(viewport=WIDE)
    sol = Visit(context.new_page(), stack.url)
    sol.open("/account/signup/")
    sign_up(sol, stack.data, "sol@example.test")
    state: dict[str, Any] = dict(context.storage_state())
    context.close()
    return state


@pytest.fixture(params=["wide light", "wide dark", "narrow light", "narrow dark"])
def newcomer(
    request: pytest.FixtureRequest, browser: Browser, stack: Stack, signed_up: dict[str, Any]
) -> Iterator[Visit]:
    """The newcomer at each width and in each theme."""
    width, theme = request.param.split()
    size = WIDE if width == "wide" else NARROW
    yield from visit(browser, stack, viewport=size, color_scheme=theme, storage_state=signed_up)


@pytest.fixture
def newcomer_wide(browser: Browser, stack: Stack, signed_up: dict[str, Any]) -> Iterator[Visit]:
    """The newcomer at a wide window."""
    yield from visit(browser, stack, viewport=WIDE, storage_state=signed_up)


def sign_up(visit: Visit, data: Path, email: str) -> None:
    """Make an account and prove its address with the code from the mail's file."""
    page = visit.page
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(SECRET)
    page.get_by_role("button", name="Make an account").click()
    expect(page.get_by_role("heading", name="Prove your address")).to_be_visible()
    page.get_by_label("Code").fill(mailed_code(data, email))
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("link", name=re.compile("Available"))).to_be_visible()


def mailed_code(data: Path, email: str) -> str:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        for path in sorted((data / "mail").glob("*.log")):
            if f"To: {email}" in (text := path.read_text()):
                return re.findall(r"^    (\S+)$", text, re.MULTILINE)[-1]
        time.sleep(0.1)
    raise AssertionError("no mail has come")
