"""The dashboard is for everybody: by keyboard, to a screen reader, on a phone, in the dark."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.axe import grave_faults
from tests.browser.chromium import MARKS
from tests.browser.dashboard import Dashboard, numbered
from tests.story import STORY

pytestmark = MARKS

PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": PHONE,
    "dark phone": {**PHONE, "color_scheme": "dark"},
}
HARD = {"kind": "w" * 300, "user": ["x" * 400, "y"], "repo": 1, "z" * 500: "q" * 5_000}


async def open_row(dashboard: Dashboard) -> None:
    await dashboard.rows.first.click(position={"x": 5, "y": 5})
    await expect(dashboard.details).to_be_visible()


@pytest.mark.parametrize("look", LOOKS)
async def test_axe_finds_no_grave_fault(look, server, producer, visitor):
    await producer.insert_many(STORY)
    dashboard = await visitor.open_dashboard(server.url, **LOOKS[look])
    page = dashboard.page
    await expect(dashboard.rows).to_have_count(5)
    assert await grave_faults(page) == []
    await dashboard.chip("friend").first.click()
    await page.get_by_role("button", name="Pause").click()
    await producer.insert({"kind": "friend"})
    await expect(dashboard.news).to_be_visible()
    await open_row(dashboard)
    assert await grave_faults(page) == []
    await page.keyboard.press("Escape")
    for button in ("Insert", "Keys of this page"):
        await page.get_by_role("button", name=button, exact=True).click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        assert await grave_faults(page) == []
        await page.keyboard.press("Escape")


async def test_axe_finds_no_grave_fault_in_the_example(server, producer, visitor):
    await producer.insert_many(STORY)
    page = await visitor.open(f"{server.url}example?friends=23,291")
    await expect(page.get_by_role("listitem")).to_have_count(5)
    assert await grave_faults(page) == []


async def width_beyond(page: Page) -> int:
    """Return by how much the page is wider than the screen."""
    beyond: int = await page.evaluate(
        "document.scrollingElement.scrollWidth - document.documentElement.clientWidth"
    )
    return beyond


@pytest.mark.parametrize("options", [PHONE, {"viewport": {"width": 640, "height": 360}}])
async def test_nothing_is_wider_than_a_phone_or_a_page_at_200_percent(
    options, server, producer, visitor
):
    await producer.insert_many([*STORY, HARD])
    dashboard = await visitor.open_dashboard(f"{server.url}", **options)
    page = dashboard.page
    await expect(dashboard.rows).to_have_count(6)
    assert await width_beyond(page) <= 0
    await open_row(dashboard)
    assert await width_beyond(page) <= 0
    await page.keyboard.press("Escape")
    await dashboard.rows.first.locator("button[aria-pressed=false]").first.click()
    await dashboard.look_for("user=" + "x" * 400)
    await expect(dashboard.wanted).to_have_count(2)
    assert await width_beyond(page) <= 0


async def test_all_goes_by_keyboard(dashboard, producer):
    page = dashboard.page
    press = page.keyboard.press
    await producer.insert_many([*STORY, *numbered(range(10))])
    await dashboard.shows([*range(9, -1, -1)])

    await press("/")
    await expect(dashboard.values).to_be_focused()
    await page.keyboard.type("kind=count")
    await press("Enter")
    await expect(dashboard.rows).to_have_count(10)
    await press("Escape")

    await press("j")
    await press("j")
    await expect(dashboard.row("n-8")).to_be_focused()
    await press("k")
    await expect(dashboard.row("n-9")).to_be_focused()
    await press("ArrowDown")
    await press("Enter")
    await expect(dashboard.details).to_contain_text("n-8")
    await press("Escape")
    await expect(dashboard.details).to_be_hidden()
    await expect(dashboard.row("n-8")).to_be_focused()
    await press("Escape")

    await press("p")
    await producer.insert_many(numbered([10, 11]))
    await expect(dashboard.news).to_have_text("2 new")
    await press("p")
    await expect(dashboard.rows.first).to_contain_text("n-11")

    await press("i")
    box = page.get_by_role("dialog", name="Insert a test event")
    await expect(box.get_by_role("textbox")).to_be_focused()
    await press("Control+a")
    await page.keyboard.type('{"kind": "count", "text": "n-12"}')
    await press("Control+Enter")
    await expect(dashboard.row("n-12")).to_be_attached()
    await press("Escape")

    await press("?")
    await expect(page.get_by_role("dialog", name="Keys of this page")).to_be_visible()
    await press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_the_tab_key_reaches_everything(dashboard, producer):
    await producer.insert_many(STORY)
    await expect(dashboard.rows).to_have_count(5)
    seen = []
    for _ in range(40):
        await dashboard.page.keyboard.press("Tab")
        name = await dashboard.page.evaluate(
            "document.activeElement.ariaLabel || document.activeElement.innerText || document.activeElement.id"
        )
        seen.append(name)
    reached = "\n".join(seen)
    for name in ("Pause", "Insert", "filter-values", "Add", "friend", "Whole event"):
        assert re.search(name, reached), (name, seen)


async def test_a_screen_reader_is_told_now_and_then_and_where_in_the_list_one_is(
    server, producer, visitor
):
    page = await visitor.new_page(server.url)
    await page.clock.install()
    await page.goto(server.url)
    dashboard = Dashboard(page)
    await dashboard.live()
    await producer.insert_many(numbered(range(3)))
    await dashboard.shows([2, 1, 0])
    await page.clock.run_for(16_000)
    await expect(page.get_by_role("status").filter(has_text="3 new entries")).to_have_count(1)
    for place, row in enumerate(await dashboard.rows.all(), 1):
        await expect(row).to_have_attribute("aria-posinset", str(place))
        await expect(row).to_have_attribute("aria-setsize", "3")
