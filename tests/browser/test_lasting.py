"""The dashboard goes on: after a kill of the server, behind other tabs."""

import asyncio
import itertools
import signal

from playwright.async_api import expect
from streamd_client import connect

from tests.browser.chromium import MARKS, windowed
from tests.browser.dashboard import Dashboard, eventually, numbered
from tests.harness import DEADLINE
from tests.promises.serving import daemon

pytestmark = MARKS

REFUSED = "WebSocket connection to"
"""What the console says of a server that is not there."""


async def test_a_killed_server_comes_back_and_nothing_is_missing(visitor, outlasting):
    server = await outlasting.enter_async_context(daemon())
    producer = await outlasting.enter_async_context(connect(server.url))
    dashboard = await visitor.open_dashboard(server.url.replace("ws:", "http:"))
    visitor.allow(REFUSED)

    back = asyncio.Event()

    async def produce() -> int:
        for number in itertools.count():
            await producer.insert(*numbered([number]), timeout=DEADLINE)
            if back.is_set():
                return number
            await asyncio.sleep(0.01)
        raise AssertionError

    producing = asyncio.create_task(produce())
    await expect(dashboard.rows.first).to_contain_text("n-")
    await server.stop(signal.SIGKILL)
    await expect(dashboard.state).not_to_have_text("Live")
    await server.start()
    await dashboard.live()
    back.set()
    last = await producing
    await expect(dashboard.rows.first).to_contain_text(f"n-{last}")
    assert await dashboard.read_all() == [*range(last, -1, -1)]


async def test_who_knows_that_the_server_is_back_need_not_wait(visitor, outlasting):
    server = await outlasting.enter_async_context(daemon())
    page = await visitor.new_page(server.url.replace("ws:", "http:"))
    visitor.allow(REFUSED)
    await page.clock.install()
    await page.goto(server.url.replace("ws:", "http:"))
    dashboard = Dashboard(page)
    now = page.get_by_role("button", name="Try now")
    await dashboard.live()
    await expect(now).to_be_hidden()
    await server.stop(signal.SIGKILL)
    await expect(now).to_be_visible()
    await page.clock.pause_at(await page.evaluate("Date.now()"))  # No attempt comes by itself.
    await server.start()
    async with page.expect_websocket():
        await now.click()
    await page.clock.resume()
    await dashboard.live()
    await expect(now).to_be_hidden()


async def test_a_gap_is_told_in_its_place(visitor, outlasting):
    server = await outlasting.enter_async_context(daemon("--store", "memory:"))
    dashboard = await visitor.open_dashboard(server.url.replace("ws:", "http:"))
    visitor.allow(REFUSED)
    async with connect(server.url) as producer:
        await producer.insert_many(numbered([0, 1]))
    await dashboard.shows([1, 0])
    await server.stop(signal.SIGKILL)
    await server.start()  # It begins a new log.
    async with connect(server.url) as producer:
        await producer.insert_many(numbered([2, 3]))
    await dashboard.shows([3, 2, 1, 0])
    texts = await dashboard.rows.all_inner_texts()
    assert "entries may be missing here" in texts[2]


async def test_a_hidden_tab_misses_nothing(server, producer, visitor, playwright, tmp_path):
    async with windowed(playwright, tmp_path) as context:
        page = await visitor.new_page_in(context, server.url)
        await page.goto(server.url)
        dashboard = Dashboard(page)
        await dashboard.live()
        await producer.insert_many(numbered(range(10)))
        await dashboard.shows(range(9, -1, -1))
        other = await context.new_page()
        await other.bring_to_front()
        await eventually(lambda: page.evaluate("document.hidden"), True)
        for start in range(10, 510, 20):
            await producer.insert_many(numbered(range(start, start + 20)))
        await page.bring_to_front()
        await eventually(lambda: page.evaluate("document.hidden"), False)
        await expect(dashboard.rows.first).to_contain_text("n-509")
        assert await dashboard.read_all() == [*range(509, -1, -1)]
