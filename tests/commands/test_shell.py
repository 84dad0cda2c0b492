import asyncio
import json
import signal

from streamd_client import connect
from websockets.asyncio.server import serve

from tests.commands.cli import DEADLINE, Command, streamd
from tests.harness import running
from tests.keys import SECRET, token
from tests.services import free_port

ALL = {"read": [{}]}

INFO = {"server": "streamd", "version": "1", "epoch": "e", "cursor": "c", "keys": [], "limits": {}}


async def test_a_server_that_is_not_there_is_told_of_at_once():
    url = f"ws://127.0.0.1:{free_port()}/"
    for words in (["items"], ["tail"], ["insert", "{}"]):
        async with asyncio.timeout(8):
            result = await streamd(*words, url=url)
        assert (result.code, result.out) == (1, b"")
        assert result.err == (
            f"streamd: no server answers at {url}: "
            "start one with `streamd serve`, or name another with --url\n"
        )


async def test_a_server_that_never_answers_can_be_left():
    greeted = asyncio.Event()

    async def be_silent(peer):
        async for _ in peer:
            greeted.set()

    async with serve(be_silent, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        command = await Command.start("items", url=f"ws://{host}:{port}/")
        await asyncio.wait_for(greeted.wait(), DEADLINE)
        result = await command.end(signal.SIGINT)
    assert (result.code, result.err) == (130, "")


async def test_a_server_that_has_no_room_for_a_subject_is_none_that_does_not_answer():
    limits = {"token_secret": SECRET, "subject_connections": 1}
    async with running(**limits) as server, connect(server.ws_url, token=token(ALL)) as first:
        await first.info()
        result = await streamd("items", "--token", token(ALL), url=server.ws_url)
    assert (result.code, result.out) == (1, b"")
    assert result.err == (
        f"streamd: the server at {server.ws_url} does not let you in: "
        "subject_connections is limited to 1, got 2\n"
    )


async def test_why_there_is_no_room_for_an_address_is_told():
    async with running(address_connections=1) as server, connect(server.ws_url) as first:
        await first.info()
        result = await streamd("items", url=server.ws_url)
    assert result.code == 1
    assert '(HTTP 429: {"error":"there are as many connections of this address' in result.err


async def test_a_call_that_is_not_answered_in_time_is_told_of_in_a_sentence():
    async def know_only_itself(peer):
        async for message in peer:
            call = json.loads(message)
            if call["method"] == "info":
                await peer.send(json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": INFO}))

    async with serve(know_only_itself, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        result = await streamd("items", url=f"ws://{host}:{port}/")
    assert (result.code, result.out) == (1, b"")
    assert result.err == "streamd: history was not answered within 10 s\n"


async def test_a_host_that_is_not_there_is_told_of():
    result = await streamd("items", url="ws://nowhere.invalid/")
    assert result.code == 1
    assert result.err.startswith("streamd: no server answers at ws://nowhere.invalid/ (")


async def test_a_server_of_another_kind_is_told_of(url):
    result = await streamd("items", url=url + "no/such/path")
    assert result.code == 1
    assert result.err.startswith("streamd: the server refused the connection with HTTP 404")
    assert result.err.count("\n") == 1


async def test_http_urls_mean_the_same_server(url):
    assert (await streamd("items", url=url.replace("ws:", "http:"))).code == 0
