"""How long the main thread of a page is busy at a time, by that thread's own clock.

Time by the wall would be that of the machine's other programs too.
"""

import asyncio
import base64
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from playwright.async_api import Browser, CDPSession

from tests.harness import DEADLINE

__all__ = ["Busy", "traced"]

_CONFIG = {
    "transferMode": "ReturnAsStream",
    "streamCompression": "gzip",
    "traceConfig": {"excludedCategories": ["*"], "includedCategories": ["toplevel"]},
}
_TASK = "ThreadControllerImpl::RunTask"
_THREAD = "CrRendererMain"


@dataclass
class Busy:
    """What the tasks of the main threads of a browser's pages took."""

    longest: float = 0.0
    """Milliseconds of the processor's time for the longest one."""
    total: float = 0.0
    """For all together."""


@asynccontextmanager
async def traced(browser: Browser) -> AsyncIterator[Busy]:
    """Measure while the block lasts; the figures are there when it is left."""
    busy = Busy()
    session = await browser.new_browser_cdp_session()
    await session.send("Tracing.start", _CONFIG)
    try:
        yield busy
    finally:
        trace = await _end(session)
        await session.detach()
    events = orjson.loads(trace)["traceEvents"]
    mains = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == _THREAD
    }
    times = [
        event["tdur"] / 1000
        for event in events
        if event["name"] == _TASK and (event["pid"], event["tid"]) in mains and "tdur" in event
    ]
    busy.longest, busy.total = max(times), sum(times)


async def _end(session: CDPSession) -> bytes:
    """End a trace and return it, as JSON."""
    ended: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    session.once("Tracing.tracingComplete", lambda event: ended.set_result(event))
    await session.send("Tracing.end")
    async with asyncio.timeout(DEADLINE):
        stream = {"handle": (await ended)["stream"]}
        chunks = []
        while True:
            answer = await session.send("IO.read", stream)
            chunks.append(base64.b64decode(answer["data"]))
            if answer["eof"]:
                break
    await session.send("IO.close", stream)
    return gzip.decompress(b"".join(chunks))
