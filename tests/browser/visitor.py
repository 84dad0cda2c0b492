"""Someone with a browser."""

from contextlib import AsyncExitStack
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page

from tests.browser.dashboard import Dashboard
from tests.browser.watch import Watch
from tests.harness import DEADLINE

__all__ = ["Visitor"]


class Visitor:
    """Open pages, each in a context of its own: as a person who was never here."""

    def __init__(self, browser: Browser, stack: AsyncExitStack) -> None:
        self._browser = browser
        self._stack = stack
        self._watches: list[Watch] = []

    async def new_page(self, *urls: str, **options: Any) -> Page:
        """Return an empty page that may talk to the hosts of some URLs; `options` are its context's."""
        context = await self._browser.new_context(**options)
        self._stack.push_async_callback(context.close)
        return await self.new_page_in(context, *urls)

    async def new_page_in(self, context: BrowserContext, *urls: str) -> Page:
        """Return an empty page of a context that nobody has used."""
        context.set_default_timeout(DEADLINE * 1000)
        self._watches.append(Watch(context, urls))
        return await context.new_page()

    async def open(self, url: str, *others: str, **options: Any) -> Page:
        """Open a page that may talk to the hosts of its own and of other URLs."""
        page = await self.new_page(url, *others, **options)
        await page.goto(url)
        return page

    async def open_dashboard(self, url: str, **options: Any) -> Dashboard:
        """Open a server's dashboard, and wait until it is live."""
        dashboard = Dashboard(await self.open(url, **options))
        await dashboard.live()
        return dashboard

    def allow(self, pattern: str) -> None:
        """Take no fault whose text matches for one: the test is about it."""
        for watch in self._watches:
            watch.allow(pattern)

    def check(self) -> None:
        """Fail if anything went wrong in a page."""
        faults = [fault for watch in self._watches for fault in watch.faults]
        assert not faults, "\n".join(faults)
