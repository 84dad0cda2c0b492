"""A process of its own that appends to a stream and follows it: `run` starts one.

It prints what was acknowledged, a JSON object of texts and places for each batch, and at last the
list of all that came through its tail.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.stores.faults import Writer, make
from tests.stores.worlds import follow

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def run(
    url: str, name: str, batches: int, total: int = 0, stream: str = "s"
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Append a number of batches of three, and follow until the log has `total` events."""
    words = [url, name, str(batches), str(total), stream]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.stores.process", *words),
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 26,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _main(url: str, name: str, batches: int, total: int, stream: str) -> None:
    writer = Writer(name)
    async with make(url, stream) as store, follow(store, 0) as followed:
        for _ in range(batches):
            known = set(writer.stored)
            await writer.write(store, 1)
            new = {text: seq for text, seq in writer.stored.items() if text not in known}
            print(json.dumps(new), flush=True)  # noqa: T201 - it is how it tells
        await followed.reach(total, deadline=40)
        assert not followed.turns, followed.turns
        entries = [(entry.seq, entry.terms[0]) for entry in followed.entries]
        print(json.dumps(entries))  # noqa: T201 - as above


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:3], *map(int, sys.argv[3:5]), sys.argv[5]))
