"""Every page by axe, at each width and in each theme: of a team at work, of an empty one, of staff.

A page of the URL map that takes no argument and is in no list fails the first test.
"""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.urls import URLPattern
from playwright.sync_api import Browser, expect

from marketplace.pages.urls import urlpatterns
from tests.browser.conftest import NARROW, WIDE, Visit, sign_up, visit
from tests.running import Stack

OPEN = ("/", "/models", "/models?q=zebra", "/models/kinora/glyph", "/models/rehearsal/clip")
OF_TEAMS = (
    "/runs", "/usage", "/budgets", "/budgets/new", "/balance", "/webhooks", "/keys", "/settings",
)  # fmt: skip
OF_STAFF = (
    "/console/exceptions", "/console/labs", "/console/margins", "/console/dues", "/console/audit",
)  # fmt: skip
NO_PAGES = {  # they answer no GET, or with a file
    "/try", "/files/announce", "/usage.csv", "/usage/focus.csv", "/budgets/zone",
    "/balance/statement", "/webhooks/secret", "/webhooks/replay",
}  # fmt: skip
LOOKS = ("wide light", "wide dark", "narrow light", "narrow dark")
SECOND_TEAM = """
WITH team AS (
    INSERT INTO accounts_team (id, name, status, created_at)
    VALUES (gen_random_uuid(), 'Northern lights and other moving pictures', 'active', now())
    RETURNING id)
INSERT INTO accounts_member (team_id, user_id, role)
SELECT team.id, u.id, 'viewer' FROM team, accounts_user u WHERE u.email = %s"""
STAFF = "UPDATE accounts_user SET is_staff = true WHERE email = %s"


def test_every_page_without_an_argument_is_looked_at() -> None:
    routes = [str(p.pattern) for p in urlpatterns if isinstance(p, URLPattern)]
    plain = {f"/{route}" for route in routes if "<" not in route}
    assert plain == {path.partition("?")[0] for path in (*OPEN, *OF_TEAMS, *OF_STAFF)} - {
        "/models/kinora/glyph", "/models/rehearsal/clip",
    } | NO_PAGES  # fmt: skip


@pytest.fixture(scope="module")
def studio(browser: Browser, stack: Stack) -> dict[str, Any]:
    """Ida's cookies: an admin in two teams, with a budget, an endpoint, a delivery, keys, runs."""
    context = browser.new_context(viewport=WIDE)
    context.set_default_timeout(20_000)
    ida = Visit(context.new_page(), stack.url)
    ida.open("/account/signup/")
    sign_up(ida, stack.data, "ida@example.test")
    with psycopg.connect(stack.conninfo) as database:
        for sql in (SECOND_TEAM, STAFF):
            database.execute(sql, ["ida@example.test"])
    fill(ida)
    state: dict[str, Any] = dict(context.storage_state())
    context.close()
    return state


def fill(ida: Visit) -> None:
    """One of everything, by the pages' own forms."""
    page = ida.open("/budgets/new?kind=end_user&period=day&limit=1.00")
    page.get_by_role("button", name="Make the budget").click()
    page = ida.open("/budgets/new?kind=team&period=month&limit=25.00")
    page.get_by_role("button", name="Make the budget").click()
    page = ida.open("/webhooks")
    page.get_by_label("Address").fill("https://example.com/hooks/kinora")
    page.get_by_role("button", name="Add the endpoint").click()
    page.get_by_role("link", name=re.compile("example.com")).first.click()
    page.get_by_role("button", name="Send a test event").click()
    page = ida.open("/keys")
    page.get_by_label("Name").fill("production")
    page.get_by_role("button", name="Make a key").click()
    page = ida.open("/models/rehearsal/still")
    page.get_by_label("Prompt", exact=True).fill("salt and light")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("region", name="Receipt")).to_be_visible()
    page = ida.open("/console/audit")
    page.get_by_role("button", name="Ask now").click()


@pytest.fixture(params=LOOKS)
def ida(
    request: pytest.FixtureRequest, browser: Browser, stack: Stack, studio: dict[str, Any]
) -> Iterator[Visit]:
    width, theme = request.param.split()
    size = WIDE if width == "wide" else NARROW
    yield from visit(browser, stack, viewport=size, color_scheme=theme, storage_state=studio)


def first_links(ida: Visit) -> list[str]:
    """A page of one thing of each list."""
    found = []
    for path, start in (
        ("/runs", "/runs/run_"), ("/budgets", "/budgets/budget_"), ("/webhooks", "/webhooks/whe_"),
        ("/webhooks", "/webhooks/deliveries/"),
    ):  # fmt: skip
        link = ida.open(path).locator(f'main a[href^="{start}"]').first
        found.append(link.get_attribute("href") or "")
    return found


def test_the_pages_of_a_team_at_work_are_accessible(ida: Visit) -> None:
    paths = [*OPEN, *OF_TEAMS, *first_links(ida)]
    assert [fault for path in paths for fault in ida.look(path)] == []


def test_the_console_is_accessible(ida: Visit) -> None:
    assert [fault for path in OF_STAFF for fault in ida.look(path)] == []


def test_the_empty_pages_of_a_newcomer_are_accessible(newcomer: Visit) -> None:
    assert [fault for path in (*OPEN, *OF_TEAMS) for fault in newcomer.look(path)] == []


def test_a_team_is_chosen_by_keyboard(ida: Visit) -> None:
    page = ida.open("/keys")
    summary = page.locator(".menu.team > summary")
    mine = summary.inner_text()
    summary.focus()
    page.keyboard.press("Enter")
    other = page.get_by_role("button", name=re.compile("^Northern lights"))
    expect(other).to_be_visible()
    page.keyboard.press("Escape")
    expect(other).not_to_be_visible()
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("Enter")
    other.focus()
    page.keyboard.press("Enter")
    expect(summary).to_have_text(re.compile("Northern lights"))
    expect(page).to_have_url(re.compile("/keys$"))
    assert ida.look("/budgets") == []  # as one who only looks
    page.goto(ida.url + "/keys")
    summary.click()
    page.get_by_role("button", name=mine, exact=True).click()
    expect(summary).to_have_text(mine)


def test_the_models_are_narrowed_as_one_types(ida: Visit) -> None:
    page = ida.open("/models")
    entries = page.locator(".entry")
    whole = entries.count()
    page.get_by_label("Find").fill("glyph")
    expect(page.get_by_text(f"of {whole} models")).to_be_visible()
    assert 0 < entries.count() < whole
    expect(page).to_have_url(re.compile(r"/models\?q=glyph$"))
    page.get_by_label("Find").fill("zebra")
    expect(page.get_by_text("No model is like that")).to_be_visible()
    page.get_by_role("link", name="Show all models").click()
    expect(entries).to_have_count(whole)
    if page.get_by_text("Narrow down").is_visible():
        page.get_by_text("Narrow down").click()
    page.get_by_label(re.compile("^Text to image")).check()
    expect(page).to_have_url(re.compile("task=text-to-image"))
    assert ida.faults == []
