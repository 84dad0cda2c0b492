"""The watch over the pages: it knows what failed from what was only left."""

import pytest

from tests.browser.chromium import MARKS
from tests.browser.visitor import Visitor

pytestmark = MARKS

ICON = "**/icon.svg"


async def test_what_a_page_waits_for_when_it_is_left_is_no_fault(server, visitor: Visitor):
    page = await visitor.new_page(server.url)
    await page.route(ICON, lambda _: None)  # It never comes.
    async with page.expect_request(ICON):
        await page.goto(server.url, wait_until="commit")
    async with page.expect_event("requestfailed") as failed:
        await page.reload(wait_until="commit")
    assert (await failed.value).failure == "net::ERR_ABORTED"
    visitor.check()


async def test_what_is_broken_off_in_a_page_that_stays_is_one(server, visitor: Visitor):
    page = await visitor.new_page(server.url)
    await page.route(ICON, lambda route: route.abort("aborted"))
    await page.goto(server.url)
    with pytest.raises(AssertionError, match=r"icon\.svg: net::ERR_ABORTED"):
        visitor.check()
    visitor.allow("icon.svg")
