"""The plain way: a server on websockets.asyncio that broadcasts each message to all others."""

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

listeners: set[ServerConnection] = set()


async def handle(connection: ServerConnection) -> None:
    """Take the first message as a subscription, or broadcast whatever comes from a producer."""
    first = await connection.recv()
    if b"subscribe" in (first if isinstance(first, bytes) else first.encode()):
        listeners.add(connection)
        await connection.send('{"jsonrpc":"2.0","result":true,"id":0}')
        await connection.wait_closed()
        listeners.discard(connection)
        return
    message: str | bytes = first
    while True:
        broadcast(listeners, message)
        message = await connection.recv()


async def main() -> None:
    """Serve until the process is ended."""
    async with serve(handle, "127.0.0.1", int(sys.argv[1]), compression=None):
        await asyncio.Event().wait()


asyncio.run(main())
