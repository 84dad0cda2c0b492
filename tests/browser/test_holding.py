"""The dashboard's list stands still when it is to, and goes back as far as one likes."""

import re

from playwright.async_api import expect

from tests.browser.chromium import MARKS
from tests.browser.dashboard import numbered

pytestmark = MARKS


async def test_paused_it_counts_what_is_new_and_loses_nothing(dashboard, producer):
    page = dashboard.page
    await producer.insert_many(numbered(range(3)))
    await dashboard.shows([2, 1, 0])
    await page.get_by_role("button", name="Pause").click()
    await producer.insert_many(numbered(range(3, 30)))
    await producer.insert_many(numbered(range(30, 40)))
    await expect(dashboard.news).to_have_text("37 new")
    assert await dashboard.numbers() == [2, 1, 0]
    await page.get_by_role("button", name=re.compile("Resume|Go on|Play")).click()
    await expect(dashboard.news).to_be_hidden()
    assert await dashboard.read_all() == [*range(39, -1, -1)]


async def test_what_one_reads_stays_where_it_is(dashboard, producer):
    await producer.insert_many(numbered(range(60)))
    await expect(dashboard.rows.first).to_contain_text("n-59")
    await dashboard.scroll(1)
    before = await dashboard.rows.first.bounding_box()
    seen = await dashboard.numbers()
    await producer.insert_many(numbered(range(60, 75)))
    await expect(dashboard.news).to_have_text("15 new")
    assert await dashboard.numbers() == seen
    assert await dashboard.rows.first.bounding_box() == before
    await dashboard.news.click()
    await expect(dashboard.rows.first).to_contain_text("n-74")
    await expect(dashboard.news).to_be_hidden()
    assert await dashboard.read_all() == [*range(74, -1, -1)]


async def test_one_scrolls_back_to_the_beginning(server, producer, visitor):
    await producer.insert_many(numbered(range(700)))
    dashboard = await visitor.open_dashboard(server.url)
    assert len(await dashboard.numbers()) < 100
    await dashboard.feed.hover()
    await dashboard.page.mouse.wheel(0, 3_000)
    await expect(dashboard.row("n-620")).to_be_attached()
    assert await dashboard.read_all() == [*range(699, -1, -1)]
