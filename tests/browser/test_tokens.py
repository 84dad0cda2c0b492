"""The dashboard and tokens: it asks for one, goes on with it, and keeps it nowhere."""

import time
from typing import Any

import pytest_asyncio
from playwright.async_api import Locator, Page, expect
from streamd_client import Client, connect

from tests.browser.axe import grave_faults
from tests.browser.chromium import MARKS
from tests.browser.dashboard import Dashboard, numbered
from tests.harness import running
from tests.keys import SECRET, token

pytestmark = MARKS

ALL: dict[str, Any] = {"read": [{}], "write": [{}]}

KEPT = """async () => JSON.stringify([
  {...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state, name,
  await indexedDB.databases(), await caches.keys(), document.documentElement.outerHTML,
  [...document.querySelectorAll("input, textarea")].map((field) => field.value),
])"""
"""All that a page may leave behind, or show to somebody who comes later."""


@pytest_asyncio.fixture(loop_scope="session")
async def closed():
    """A server that lets in who has a token, and no longer."""
    async with running(token_secret=SECRET, token_leeway=0, authenticate_deadline=60) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def writer(closed) -> Client:
    """Who inserts events there."""
    async with connect(closed.ws_url, token=token(ALL, sub="writer")) as client:
        yield client


class Form:
    """The form for a token."""

    def __init__(self, page: Page) -> None:
        self.box = page.get_by_role("dialog", name="Token")
        self.text = self.box.get_by_role("textbox")

    async def give(self, given: str) -> None:
        await expect(self.text).to_be_focused()
        await self.text.fill(given)
        await self.text.press("Enter")

    async def says(self, text: str) -> None:
        await expect(self.text).to_be_focused()
        await expect(self.text).to_have_accessible_description(f"{text} {KEPT_HERE}")


KEPT_HERE = "It is kept in this page alone, until that is closed or loaded anew."


def give_a_token(page: Page) -> Locator:
    return page.get_by_role("button", name="Give a token")


async def test_it_asks_until_it_gets_a_token_that_is_taken(closed, writer, visitor):
    await writer.insert_many(numbered(range(3)))
    page = await visitor.open(closed.url)
    dashboard, form = Dashboard(page), Form(page)
    for given, answer in (
        (None, "This server asks for a token."),
        ("x", "this is no token: it must be a signed JWT without extensions (crit)"),
        (
            token(ALL, key="k" * 32),
            "the token's signature is wrong: it is of another key, or was changed",
        ),
        (token(ALL, exp=time.time() - 5), "the token has expired: come with a new one"),
    ):
        if given is not None:
            await form.give(given)
        await form.says(answer)
        assert await grave_faults(page) == []
    await form.give(token(ALL))
    await dashboard.live()
    await expect(form.box).to_be_hidden()
    await dashboard.shows([2, 1, 0])


async def test_no_connection_waits_for_a_token_and_the_page_may_be_left_without_one(
    closed, visitor
):
    page = await visitor.new_page(closed.url)
    form = Form(page)
    async with page.expect_websocket() as opened:
        await page.goto(closed.url)
    socket = await opened.value
    if not socket.is_closed():
        await socket.wait_for_event("close")
    await form.says("This server asks for a token.")
    await page.keyboard.press("Escape")
    await expect(form.box).to_be_hidden()
    await expect(page.get_by_role("alert").first).to_contain_text("This server asks for a token.")
    await give_a_token(page).click()
    await form.give(token(ALL))
    await Dashboard(page).live()


async def test_a_token_that_ends_is_asked_for_and_nothing_is_lost(closed, writer, visitor):
    await writer.insert_many(numbered(range(150)))
    page = await visitor.open(f"{closed.url}#kind=count")
    dashboard, form = Dashboard(page), Form(page)
    await form.give(token(ALL, exp=time.time() + 2))
    await dashboard.live()
    await form.says("the token has expired: come with a new one")
    await expect(dashboard.rows.first).to_contain_text("n-149")
    await writer.insert_many([*numbered(range(150, 300)), {"kind": "other"}])
    await form.give(token(ALL))
    await dashboard.live()
    await writer.insert_many(numbered([300]))
    await expect(dashboard.rows.first).to_contain_text("n-300")
    assert await dashboard.read_all() == [*range(300, -1, -1)]


async def test_what_is_not_granted_is_said_and_another_token_can_be_given(closed, writer, visitor):
    page = await visitor.open(closed.url)
    dashboard, form = Dashboard(page), Form(page)
    await form.give(token({"write": [{}]}))
    await expect(page.get_by_role("heading", name="Nothing may be read")).to_be_visible()
    await expect(page.get_by_role("alert").last).to_have_text("reading is not granted")

    await page.get_by_role("button", name="Token", exact=True).click()
    await form.give(token({"read": [{"kind": "count"}]}))
    await dashboard.live()
    await writer.insert_many([*numbered([1]), {"kind": "other", "text": "n-2"}])
    await dashboard.shows([1])
    await page.get_by_role("button", name="Insert", exact=True).click()
    box = page.get_by_role("dialog", name="Insert a test event")
    await box.get_by_role("button", name="Insert").click()
    await expect(box.get_by_role("status")).to_have_text("writing is not granted")


async def test_an_event_that_the_list_leaves_out_is_explained(dashboard):
    page = dashboard.page
    await dashboard.look_for("user=23")
    await page.get_by_role("button", name="Insert", exact=True).click()
    box = page.get_by_role("dialog", name="Insert a test event")
    await box.get_by_role("textbox").fill('{"user": 4}')
    await box.get_by_role("button", name="Insert").click()
    said = "It is not in this list: its user 4 is not looked for"
    await expect(box.get_by_role("status")).to_contain_text(said)
    await box.get_by_role("textbox").fill('{"user": "23"}')
    await box.get_by_role("button", name="Insert").click()
    await expect(dashboard.rows).to_have_count(1)
    await expect(box.get_by_role("status")).not_to_contain_text("not in this list")


async def test_where_all_may_read_a_token_is_offered_to_who_may_not_write(visitor):
    async with running(token_secret=SECRET, allow_anonymous="read") as server:
        dashboard = await visitor.open_dashboard(server.url)
        page, form = dashboard.page, Form(dashboard.page)
        offer = page.get_by_role("button", name="Token", exact=True)
        await expect(offer).to_be_hidden()
        await page.get_by_role("button", name="Insert", exact=True).click()
        box = page.get_by_role("dialog", name="Insert a test event")
        await box.get_by_role("button", name="Insert").click()
        await expect(box.get_by_role("status")).to_have_text("writing is not granted")
        await page.keyboard.press("Escape")
        await offer.click()
        await form.give(token(ALL))
        await dashboard.live()
        await page.get_by_role("button", name="Insert", exact=True).click()
        await box.get_by_role("button", name="Insert").click()
        await expect(box.get_by_role("status")).to_contain_text("Inserted")
        await page.close()


async def test_a_token_is_kept_in_memory_and_gone_with_it(closed, visitor):
    page = await visitor.open(closed.url)
    dashboard, form = Dashboard(page), Form(page)
    secret = token(ALL)
    await form.give(secret)
    await dashboard.live()
    await dashboard.look_for("user=23")
    await page.get_by_role("button", name="Token", exact=True).click()
    await expect(form.text).to_have_value("")
    await form.text.fill("left")
    await page.keyboard.press("Escape")
    kept = await page.evaluate(KEPT)
    assert secret not in kept
    assert "left" not in kept
    state = await page.context.storage_state(indexed_db=True)
    assert state == {"cookies": [], "origins": []}
    await page.reload()
    await form.says("This server asks for a token.")
    await expect(form.text).to_have_value("")
    await page.go_back()
    await form.says("This server asks for a token.")


async def test_no_browser_offers_to_keep_it_or_shows_it(closed, visitor):
    page = await visitor.open(closed.url)
    text = Form(page).text
    await expect(text).to_have_attribute("autocomplete", "off")
    await expect(text).to_have_attribute("spellcheck", "false")
    assert await text.evaluate("(field) => field.type") == "text"
    security = "getComputedStyle(document.getElementById('token-text')).webkitTextSecurity"
    assert await page.evaluate(security) == "disc"
