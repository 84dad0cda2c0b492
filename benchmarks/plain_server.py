"""The plain way: a server on websockets.asyncio that broadcasts each message of a producer.

`python -m benchmarks.plain_server PORT LOOP`, LOOP being asyncio or uvloop.
"""

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

from benchmarks.dialects import ANSWER

listeners: set[ServerConnection] = set()


async def handle(connection: ServerConnection) -> None:
    """Take the first message as what the peer is."""
    first = await connection.recv()
    if first in ("produce", "produce and wait"):
        async for message in connection:
            broadcast(listeners, message)
            if first == "produce and wait":
                await connection.send(ANSWER.decode())
        return
    listeners.add(connection)
    await connection.send('{"jsonrpc":"2.0","result":true,"id":0}')
    await connection.wait_closed()
    listeners.discard(connection)


async def main() -> None:
    """Serve until the process is ended."""
    port = int(sys.argv[1])
    async with serve(handle, "127.0.0.1", port, compression=None, ping_interval=None):
        await asyncio.Event().wait()


if sys.argv[2] == "uvloop":
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
