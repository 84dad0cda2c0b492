"""The dashboard, as a person sees and uses it."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from playwright.async_api import Locator, Page, expect

from tests.harness import DEADLINE

__all__ = ["Dashboard", "eventually", "numbered"]

_NUMBER = re.compile(r"\bn-(\d+)\b")

_SCROLL = """(scroller, by) => new Promise((done) => {
  scroller.scrollTop += by * scroller.clientHeight;
  requestAnimationFrame(() => requestAnimationFrame(() => done()));
})"""


def numbered(numbers: Iterable[int], **more: Any) -> list[dict[str, Any]]:
    """Return events that can be told apart on the screen."""
    return [{"user": 291, "kind": "count", "text": f"n-{number}", **more} for number in numbers]


async def eventually(probe: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    """Wait until what a probe returns is what is wanted."""
    end = time.monotonic() + DEADLINE
    while (found := await probe()) != wanted:
        assert time.monotonic() < end, f"{found!r} is not {wanted!r}"
        await asyncio.sleep(0.02)


class Dashboard:
    """The page at `/`."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.feed = page.get_by_role("feed")
        self.rows = self.feed.get_by_role("article")
        self.values = page.get_by_role("textbox", name="Values")
        self.wanted = page.get_by_role("button", name=re.compile("^Remove "))
        """What is looked for: a button for each value."""
        self.news = page.get_by_role("button", name=re.compile(r"^[\d,]+ new"))
        self.details = page.get_by_role("dialog", name="Entry")
        self.state = page.locator("#state")

    # What it shows.

    async def live(self) -> None:
        """Wait until it is connected and shows what there is."""
        await expect(self.state).to_have_text("Live")
        entries = self.page.get_by_label("Entries, newest first")  # No feed while there is none.
        await expect(entries).to_have_attribute("aria-busy", "false")

    def row(self, text: str) -> Locator:
        """Return the rows with a text."""
        return self.rows.filter(has_text=text)

    def chip(self, name: str) -> Locator:
        """Return the buttons of the rows for a value: its key and its text, `user 23`; only the text of a kind."""
        return self.rows.get_by_role("button", name=name, exact=True)

    def fact(self, name: str) -> Locator:
        """Return what stands beside a name among the figures."""
        return self.page.locator("dt", has_text=re.compile(f"^{name}$")).locator("+ dd")

    async def numbers(self) -> list[int]:
        """Return the numbers of the numbered events whose rows there are, from above."""
        return _numbers(await self.rows.all_inner_texts())

    async def shows(self, numbers: Iterable[int]) -> None:
        """Wait until the rows are those of these numbered events, from above."""
        await eventually(self.numbers, list(numbers))

    async def read_all(self) -> list[int]:
        """Scroll from the newest entry to the beginning; return the numbers of all, from above."""
        read: list[int] = []
        await self.scroll(-1_000_000)
        beginning = self.page.get_by_text("the beginning")
        end = time.monotonic() + DEADLINE
        while True:
            at_end = await beginning.is_visible()
            here = await self.numbers()
            # The rows that are still here from before tell where these go on.
            known = read[read.index(here[0]) :] if read else []
            assert here[: len(known)] == known, (known, here)
            read += here[len(known) :]
            if at_end:
                return read
            assert time.monotonic() < end, f"there is no end after {len(read)} entries"
            await self.scroll(0.9)

    # What one does to it.

    async def scroll(self, by: float) -> None:
        """Scroll by so many heights of the list, and wait until that is painted."""
        await self.feed.locator("..").evaluate(_SCROLL, by)

    async def look_for(self, words: str) -> None:
        """Add to the filter by typing."""
        await self.values.fill(words)
        await self.values.press("Enter")


def _numbers(texts: Iterable[str]) -> list[int]:
    return [int(number) for text in texts for number in _NUMBER.findall(text)]
