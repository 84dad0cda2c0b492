"""What the server says of itself is true: conversations with it, held against its documents.

The stories of `vectors/wire.json` and the calls of many other tests are held against them, too.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import orjson

from streamd.cursor import Chain
from streamd.notifications import NOTIFICATIONS
from streamd.signatures import METHODS
from tests.harness import CLOSE, TEXT, Peer, frame, running, websocket
from tests.keys import SECRET, token
from tests.parts import Rig, ScriptedStore, rig
from tests.traffic import Traffic, check_notification

CALLS: dict[str, list[Any]] = {
    "authenticate": [{"token": "$token"}, ["$token"]],
    "insert": [{"event": {"user": 291, "tags": ["a", None]}, "id": "one"}, [{"user": 23}]],
    "insert_many": [{"events": [{"user": 1}, {}], "ids": [None, "two"]}, {"events": []}],
    "items": [{}, {"filter": {"user": [291, "23"]}, "start": 0, "end": 5}, [None, 1, 2]],
    "history": [{}, {"limit": 1}, {"filter": {"user": 1}, "before": "$cursor"}],
    "subscribe": [
        {"filter": {"user": 1}},
        {"after": "start"},
        {"after": "$cursor", "backfill": 0},
        {"after": Chain("zzzzzzzz").cursor(3)},
    ],
    "unsubscribe": [{"subscription": 1}, [2]],
    "explain": [
        {"filter": {"user": [1, 2], "kind": []}, "cursor": "$cursor"},
        {"cursor": Chain("zzzzzzzz").cursor(0), "event": None, "filter": None},
        {"event": {"user": 291, "tags": ["a"]}},
    ],
    "subscriptions": [None, []],
    "info": [None, {}],
    "ping": [None],
    "rpc.discover": [None],
}
"""Calls that are answered with a result, of every method; in this order."""


async def next_message(peer: Peer, traffic: Traffic) -> Any:
    message = await peer.message()
    traffic.came(message)
    return message


async def test_a_conversation_is_as_the_documents_say() -> None:
    assert CALLS.keys() == METHODS.keys(), "each method has its place in the conversation"
    traffic = Traffic()
    async with AsyncExitStack() as stack:
        server = AsyncExitStack()
        peer = await stack.enter_async_context(
            websocket(await server.enter_async_context(running(token_secret=SECRET)))
        )
        cursor, pass_ = None, token({"read": [{}], "write": [{}]})
        for number, (method, params) in enumerate(
            (method, params) for method, several in CALLS.items() for params in several
        ):
            text = orjson.dumps(params).replace(b'"$cursor"', orjson.dumps(cursor))
            text = text.replace(b"$token", pass_.encode())
            call = {"jsonrpc": "2.0", "id": number, "method": method, "params": orjson.loads(text)}
            if params is None:
                del call["params"]
            traffic.sent(orjson.dumps(call))
            await peer.send(frame(TEXT, orjson.dumps(call)))
            while (message := await next_message(peer, traffic)).get("id") != number:
                pass
            if method == "insert":
                cursor = message["result"]["cursor"]
        await peer.send(frame(TEXT, b"{"))
        while "error" not in await next_message(peer, traffic):
            pass
        down = asyncio.create_task(server.aclose())
        while (await next_message(peer, traffic)).get("method") != "shutdown":
            pass
        await peer.send(frame(CLOSE, b"\x03\xe8"))
        await down
    assert traffic.methods == {*METHODS, *NOTIFICATIONS} - {"closed"}


async def test_the_end_of_a_subscription_is_as_the_documents_say() -> None:
    store = ScriptedStore(Chain("aaaaaaaa"), [])
    store.add(*[{"user": n} for n in range(10)])
    made: Rig = rig(store)
    async with made:
        transport, peer = made.join()
        made.subscribe(peer, {})
        store.chain, store.log = Chain("zzzzzzzz"), []
        store.add({"user": "other"})
        store.say(0)
        await transport.until(lambda: transport.sent("closed"))
        for message in transport.messages:
            check_notification(message)
