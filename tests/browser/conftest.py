"""Fixtures of the tests in a browser."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest_asyncio
from playwright.async_api import Browser, Playwright, async_playwright, expect
from streamd_client import Client, connect

from streamd.server import RunningServer
from tests.browser.chromium import launched
from tests.browser.dashboard import Dashboard
from tests.browser.visitor import Visitor
from tests.harness import DEADLINE, running

expect.set_options(timeout=DEADLINE * 1000)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    """The driver of browsers."""
    async with async_playwright() as driver:
        yield driver


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(playwright: Playwright) -> AsyncIterator[Browser]:
    """A Chromium for all tests: each takes a context of its own, as a person with nothing stored."""
    async with launched(playwright) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def server() -> AsyncIterator[RunningServer]:
    """A server with a log of its own."""
    async with running() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def producer(server: RunningServer) -> AsyncIterator[Client]:
    """Who inserts events, from Python."""
    async with connect(server.ws_url) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def outlasting() -> AsyncIterator[AsyncExitStack]:
    """What is to end after the pages are closed, as servers are: they would miss them."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(chromium: Browser, outlasting: AsyncExitStack) -> AsyncIterator[Visitor]:
    """Someone with a browser; fails the test if anything went wrong in his pages."""
    async with AsyncExitStack() as stack:
        visitor = Visitor(chromium, stack)
        yield visitor
        visitor.check()


@pytest_asyncio.fixture(loop_scope="session")
async def dashboard(server: RunningServer, visitor: Visitor) -> Dashboard:
    """The dashboard of the server, connected."""
    return await visitor.open_dashboard(server.url)
