"""A real Chromium, driven by Playwright."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Playwright

from tests.harness import DEADLINE
from tests.services.process import Guard, need

__all__ = ["MARKS", "launched", "windowed"]

MARKS = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="session")]
"""What all tests in a browser are marked with: they share one, and so its event loop."""

_PROGRAM = "chromium"
_FLAGS = (
    "--no-sandbox",  # It refuses to be root with one.
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # It is not to ask anybody for anything.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.test 127.0.0.1",
)


@asynccontextmanager
async def launched(playwright: Playwright) -> AsyncIterator[Browser]:
    """Run a browser whose pages all count as visible and focused."""
    browser = await playwright.chromium.launch(executable_path=need(_PROGRAM), args=_FLAGS)
    try:
        yield browser
    finally:
        await browser.close()


@asynccontextmanager
async def windowed(playwright: Playwright, folder: Path) -> AsyncIterator[BrowserContext]:
    """
    Run a browser as people do: one tab of its window is in front, and the others are hidden.

    Playwright lets every page of the browsers that it starts believe that it is in front.
    """
    profile = folder / "profile"
    options = ("--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}")
    guard = Guard(
        [need(_PROGRAM), *_FLAGS, *options, "about:blank"], log=folder / "log", end="TERM"
    )
    try:
        async with asyncio.timeout(DEADLINE):
            port = await _port(profile / "DevToolsActivePort")
        browser = await playwright.chromium.connect_over_cdp(
            f"http://127.0.0.1:{port}", no_defaults=True
        )
        try:
            yield browser.contexts[0]
        finally:
            await browser.close()
    finally:
        guard.end()


async def _port(note: Path) -> str:
    """Return the port that a browser has noted, as soon as the note is complete."""
    while not note.exists() or "\n" not in (text := note.read_text()):
        await asyncio.sleep(0.02)
    return text.partition("\n")[0]
