"""The dashboard under a flood."""

import asyncio
import time

from playwright.async_api import expect
from streamd_client import Client, Event, connect

from tests.browser.chromium import MARKS
from tests.browser.dashboard import numbered
from tests.browser.trace import traced
from tests.promises.serving import daemon

pytestmark = MARKS

RATE, SECONDS = 1_000, 10
LONGEST = 200.0  # milliseconds of the processor's time
ELEMENTS = 1_500
PLACE = {"city": "Reykjavík", "lat": 64.13, "lon": -21.9}


async def produce(producer: Client, events: list[Event]) -> None:
    """Insert events at the rate, whatever else the machine does."""
    start, sent = time.monotonic(), 0
    while sent < len(events):
        await asyncio.sleep(0.01)
        due = round((time.monotonic() - start) * RATE)
        part = events[sent : min(due, sent + RATE)]
        await producer.insert_many(part)  # Each is a message of its own to those who follow.
        sent += len(part)


async def test_a_thousand_events_a_second_do_not_freeze_it(chromium, visitor, outlasting):
    server = await outlasting.enter_async_context(daemon("--store", "memory:"))
    producer = await outlasting.enter_async_context(connect(server.url))
    dashboard = await visitor.open_dashboard(server.url.replace("ws:", "http:"))
    async with traced(chromium) as busy:
        await produce(producer, numbered(range(RATE * SECONDS), where=PLACE))
        await expect(dashboard.fact("Received")).to_have_text("10,000")
        await expect(dashboard.rows.first).to_contain_text("n-9999")
    numbers = await dashboard.numbers()
    assert numbers == [*range(9_999, 9_999 - len(numbers), -1)]
    assert await dashboard.page.locator("*").count() < ELEMENTS
    assert busy.longest < LONGEST, busy
