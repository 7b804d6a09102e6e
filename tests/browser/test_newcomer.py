"""A newcomer signs up, makes a key, plays, and sees the picture, the charge and the balance."""

import re
from base64 import b64encode
from decimal import Decimal

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Visit, sign_up
from tests.marketplace.media import samples
from tests.running import Stack

PLACES = """() => {
  window.places = new Set();
  new MutationObserver(() => {
    const stage = document.querySelector("[data-stage]");
    if (!stage?.querySelector("img")) return;
    const { top, height } = stage.getBoundingClientRect();
    window.places.add(`${Math.round(top + scrollY)} ${Math.round(height)}`);
  }).observe(document.getElementById("result"), { childList: true, subtree: true });
}"""
# The page hears of its run what the test says, until it is left to the server.
SAYING = """
const Real = EventSource;
window.streams = [];
window.EventSource = class extends EventTarget {
  constructor() { super(); streams.push(this); }
  close() {}
};
window.say = (name, told) =>
  streams.at(-1).dispatchEvent(new MessageEvent(name, { data: JSON.stringify(told) }));
window.leave = () => { window.EventSource = Real; say("done", {}); };
"""


def nano(wallet: Locator) -> int:
    return int(wallet.locator("data").get_attribute("value") or "")


def test_a_stranger_makes_a_picture_on_the_front_page(stranger: Visit) -> None:
    page = stranger.open("/")
    page.get_by_label("What should it show?").fill("green apple")
    page.get_by_role("button", name="Make this picture").click()
    # The stack's first picture also waits for the weights to be read.
    expect(page.get_by_text("and the house paid")).to_be_visible(timeout=90_000)
    expect(page.locator("#viewer").get_by_role("img", name="green apple")).to_be_visible()
    assert stranger.faults == []


def test_from_a_models_page_to_a_paid_for_picture(stranger: Visit, stack: Stack) -> None:
    page = stranger.open("/models/kinora/glyph?prompt=tomato")
    page.get_by_role("link", name="Sign up to run").click()
    sign_up(stranger, stack.data, "nia@example.test")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("tomato")
    plays(page)
    page.get_by_role("link", name="Open this run").click()
    expect(page.get_by_role("img", name="tomato")).to_be_visible()
    expect(page.get_by_role("list", name="Timeline")).to_contain_text("Settled")
    page.get_by_role("link", name="Balance", exact=True).click()
    expect(page.get_by_role("table")).to_contain_text("Charge")
    makes_a_key(page)
    assert stranger.faults == []


def makes_a_key(page: Page) -> None:
    page.get_by_role("link", name="Keys").click()
    page.get_by_label("Name").fill("laptop")
    page.get_by_role("button", name="Make a key").click()
    expect(page.get_by_test_id("secret")).to_have_text(re.compile("^kin_live_[0-9A-Za-z]{36}$"))
    page.goto(page.url)
    expect(page.get_by_test_id("secret")).to_have_count(0)
    expect(page.get_by_role("row", name=re.compile("laptop"))).to_be_visible()


def plays(page: Page) -> None:
    """Previews, as many as there is time for, in one place; then the charge, and as much less in
    the wallet."""
    wallet = page.get_by_role("link", name=re.compile("Available"))
    before = nano(wallet)
    page.get_by_label("Steps").fill("40")
    expect(page.locator("#price")).to_contain_text("expected")
    page.evaluate(PLACES)
    page.get_by_role("button", name="Run").click()
    receipt = page.get_by_role("region", name="Receipt")
    expect(receipt).to_be_visible()
    assert page.evaluate("places.size") <= 1
    total = receipt.locator(".total data")
    charged = int(total.get_attribute("value") or "")
    assert charged > 0
    assert nano(wallet) == before - charged
    lines = [
        Decimal(text.replace("−", "-"))
        for text in receipt.locator(".ledger tbody td").all_inner_texts()
    ]
    assert sum(lines) == 0


def test_previews_replace_one_another_in_one_place(newcomer_wide: Visit) -> None:
    newcomer_wide.page.add_init_script(SAYING)
    page = newcomer_wide.open("/models/kinora/glyph")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("[data-followed]")).to_be_visible()
    stage, places = page.locator("[data-stage]"), []
    for step, shade in enumerate((60, 200), 1):
        source = f"data:image/png;base64,{b64encode(samples.picture(shade=shade)).decode()}"
        progress = {"step": step, "steps": 2, "preview": source}
        page.evaluate("told => say('run', told)", {"state": "running", "progress": progress})
        expect(stage.get_by_role("img")).to_have_count(1)
        expect(stage.get_by_role("img")).to_have_attribute("src", source)
        expect(page.get_by_text(f"Step {step} of 2")).to_be_visible()
        places.append(stage.bounding_box())
    assert places[0] == places[1]
    page.evaluate("leave()")
    # The stack's first picture also waits for the weights to be read.
    expect(page.get_by_role("region", name="Receipt")).to_be_visible(timeout=90_000)
    assert newcomer_wide.faults == []


def test_the_playground_is_run_by_keyboard_alone(newcomer_wide: Visit) -> None:
    page = newcomer_wide.open("/models/kinora/glyph")
    page.get_by_label("Prompt", exact=True).focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("red heart")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "Run":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Receipt")).to_be_visible()
    assert page.evaluate("document.activeElement.textContent.trim()") == "Run"
    assert newcomer_wide.faults == []


def test_what_is_missing_is_said_at_its_field(newcomer_wide: Visit) -> None:
    page = newcomer_wide.open("/models/kinora/glyph")
    page.get_by_label("Prompt", exact=True).fill("")
    page.get_by_label("Guidance").fill("99")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("Prompt is missing.")).to_be_visible()
    expect(page.get_by_label("Guidance")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Guidance")).to_have_accessible_description(
        re.compile("less than or equal to 10")
    )


def test_a_clip_plays_with_its_price_before_it(newcomer_wide: Visit) -> None:
    page = newcomer_wide.open("/models/rehearsal/clip")
    page.get_by_label("Prompt", exact=True).fill("a wheel of light")
    page.get_by_label("Seconds", exact=True).fill("3")
    page.get_by_label("Latency").fill("800")
    expect(page.locator("#price")).to_contain_text("$0.03")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_label("a wheel of light", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Receipt")).to_contain_text("3 × $0.01")


def test_a_cancelled_run_says_that_it_cost_nothing(newcomer_wide: Visit) -> None:
    page = newcomer_wide.open("/models/rehearsal/still")
    page.get_by_label("Prompt", exact=True).fill("never mind")
    page.get_by_label("Latency").fill("20000")
    page.get_by_role("button", name="Run").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("You cancelled this run.")).to_be_visible()
    expect(page.get_by_text("You were not charged.")).to_be_visible()


def test_a_cell_of_usage_is_a_filter_by_mouse_and_keyboard(newcomer: Visit) -> None:
    page = newcomer.open("/models/kinora/glyph")
    page.get_by_role("button", name="Run").click()
    # The stack's first picture also waits for the weights to be read.
    expect(page.get_by_role("region", name="Receipt")).to_be_visible(timeout=90_000)
    page.goto(newcomer.url + "/usage")
    rows = page.get_by_role("row")
    expect(page.get_by_role("region", name="Totals")).to_contain_text("Paid")
    page.get_by_role("link", name="Playground").first.click()
    chip = page.get_by_role("list", name="Filters").get_by_role("link")
    expect(chip).to_contain_text("Key Playground")
    expect(page).to_have_url(re.compile("key=playground"))
    chip.focus()
    page.keyboard.press("Enter")
    expect(chip).to_have_count(0)
    page.get_by_role("link", name="Each day").click()
    expect(rows.nth(0)).to_contain_text("Day")
    assert newcomer.look("/usage?by=day&project=") == []


def test_the_doors_are_accessible(stranger: Visit) -> None:
    paths = ["/account/login/", "/account/signup/", "/account/password/reset/", "/"]
    assert [fault for path in paths for fault in stranger.look(path)] == []
    stranger.page.set_viewport_size({"width": 360, "height": 740})
    assert [fault for path in paths for fault in stranger.look(path)] == []


def test_the_theme_is_kept(stranger: Visit) -> None:
    page = stranger.open("/")
    lamp = page.get_by_role("button", name="Dark theme")
    expect(lamp).to_have_attribute("aria-pressed", "false")
    lamp.click()
    page.reload()
    expect(lamp).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 16, 14)"
