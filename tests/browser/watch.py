"""Whatever goes wrong in a page, and would be seen by nobody."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from playwright.async_api import (
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Frame,
    Page,
    Request,
    WebError,
    WebSocket,
)

__all__ = ["Watch"]


class Watch:
    """Note the faults of all pages of a context: errors, warnings, failures, and calls elsewhere."""

    def __init__(self, context: BrowserContext, urls: Iterable[str]) -> None:
        """Begin; the pages may talk to the hosts of some URLs."""
        self._faults: list[str] = []
        self._aborted: list[tuple[int, str]] = []
        """What was broken off, and how many pages had been come to when it was begun."""
        self._hosts = {urlsplit(url).netloc for url in urls}
        self._allowed: list[str] = []
        self._visits = 0
        """Pages come to: the one before goes on asking for things until then."""
        self._leaving = False
        """Whether a page was asked for that nobody has come to yet."""
        self._begun: dict[Request, int] = {}
        """How many they were when something was asked for."""
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.on("dialog", self._on_dialog)
        context.on("request", self._on_request)
        context.on("requestfailed", self._on_failure)
        context.on("page", self._on_page)

    def allow(self, pattern: str) -> None:
        """Take no fault whose text matches for one: the test is about it."""
        self._allowed.append(pattern)

    @property
    def faults(self) -> list[str]:
        """What went wrong so far."""
        # What a page still waits for when it is left, nobody misses.
        aborted = [fault for begun, fault in self._aborted if begun == self._visits]
        return [
            fault
            for fault in self._faults + aborted
            if not any(re.search(pattern, fault) for pattern in self._allowed)
        ]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self._faults.append(f"console {message.type}: {message.text}")

    def _on_error(self, error: WebError) -> None:
        self._faults.append(f"uncaught: {error.error}")

    async def _on_dialog(self, dialog: Dialog) -> None:
        self._faults.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def _on_request(self, request: Request) -> None:
        self._leaving |= request.is_navigation_request()
        self._begun[request] = self._visits
        self._visit(request.url)

    def _on_failure(self, request: Request) -> None:
        fault = f"failed: {request.url}: {request.failure}"
        if request.failure == "net::ERR_ABORTED":
            self._aborted.append((self._begun[request], fault))
        else:
            self._faults.append(fault)

    def _on_page(self, page: Page) -> None:
        page.on("websocket", self._on_websocket)
        page.on("framenavigated", self._on_arrival)
        page.on("crash", lambda _: self._faults.append("crash"))

    def _on_arrival(self, _frame: Frame) -> None:
        # A page that changes its own address is told of as well.
        self._visits += self._leaving
        self._leaving = False

    def _on_websocket(self, websocket: WebSocket) -> None:
        self._visit(websocket.url)

    def _visit(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "data" and parts.netloc not in self._hosts:
            self._faults.append(f"elsewhere: {url}")
