"""The dashboard shows the feed, and takes an event."""

from playwright.async_api import expect

from tests.browser.chromium import MARKS
from tests.browser.dashboard import Dashboard, numbered

pytestmark = MARKS


async def test_it_says_that_there_is_nothing_yet(dashboard):
    page = dashboard.page
    await expect(page.get_by_role("heading", name="No entries yet")).to_be_visible()
    await expect(page.get_by_role("heading", name="streamd", exact=True)).to_be_visible()
    await expect(dashboard.rows).to_have_count(0)


async def test_an_event_inserted_from_python_is_on_screen(dashboard, producer):
    await producer.insert({"kind": "friend", "user": 23, "friend": 291})
    row = dashboard.rows.first
    await expect(row).to_be_visible()
    await expect(row).to_contain_text("friend 291")
    for name in ("friend", "user 23"):
        await expect(row.get_by_role("button", name=name, exact=True)).to_be_visible()
    await expect(dashboard.fact("Received")).to_have_text("1")


async def test_what_was_there_comes_first_and_then_what_happens(server, producer, visitor):
    await producer.insert_many(numbered(range(5)))
    dashboard = await visitor.open_dashboard(server.url)
    await dashboard.shows([4, 3, 2, 1, 0])
    await producer.insert_many(numbered([5, 6]))
    await producer.insert_many(numbered([7]))
    await dashboard.shows([7, 6, 5, 4, 3, 2, 1, 0])


async def test_a_row_shows_the_whole_event_on_demand(dashboard, producer):
    place = await producer.insert({"kind": "watch", "user": 291, "deep": {"er": [1, "ä"]}})
    await dashboard.row("deep").click(position={"x": 5, "y": 5})
    details = dashboard.details
    await expect(details).to_be_visible()
    await expect(details).to_contain_text(place.cursor)
    await expect(details.get_by_label("The event as JSON")).to_have_text(
        '{ "kind": "watch", "user": 291, "deep": { "er": [ 1, "ä" ] } }'
    )
    await details.get_by_role("button", name="Close").click()
    await expect(details).to_be_hidden()


async def test_it_tells_who_serves(dashboard, producer):
    info = await producer.info()
    await expect(dashboard.fact("Server")).to_have_text(f"{info.server} {info.version}")
    await expect(dashboard.fact("Epoch")).to_contain_text(info.epoch[:8])


async def test_a_test_event_is_checked_while_it_is_typed_and_inserted(dashboard, producer):
    page = dashboard.page
    await page.get_by_role("button", name="Insert", exact=True).click()
    box = page.get_by_role("dialog", name="Insert a test event")
    text = box.get_by_role("textbox")
    await text.fill('{"kind": "typed",\n "user": }')
    await expect(box).to_contain_text("line 2")
    assert await producer.items() == []
    await text.fill('{"kind": "typed", "user": {"a": 1}}')
    await text.press("Control+Enter")
    await expect(box.get_by_role("status")).to_contain_text("user")
    assert await producer.items() == []
    await text.fill('{"kind": "typed", "user": 291}')
    await text.press("Control+Enter")
    await expect(box.get_by_role("status")).to_contain_text((await producer.history()).cursor)
    assert await producer.items() == [{"kind": "typed", "user": 291}]
    await page.keyboard.press("Escape")
    await expect(box).to_be_hidden()
    await expect(dashboard.chip("typed")).to_be_visible()


async def test_two_dashboards_show_the_same(server, producer, visitor, dashboard: Dashboard):
    other = await visitor.open_dashboard(server.url)
    await producer.insert_many(numbered(range(3)))
    await dashboard.shows([2, 1, 0])
    await other.shows([2, 1, 0])
