import asyncio

import pytest
from streamd_client import (
    CallTimeout,
    ClientClosed,
    ConnectionLost,
    InvalidParams,
    LimitExceeded,
    RateLimited,
    RpcError,
    StoreUnavailable,
    UnknownOutcome,
    Unreachable,
    connect,
)

from clients.python.tests.conftest import connected_to
from clients.python.tests.fake_server import drop_after, drop_before, fail, hold, ignore

WATCH = {"kind": "watch", "user": 291, "repo": 2842}


# Connections come and go.


async def test_an_insert_whose_answer_was_lost_is_stored_once(server, client):
    server.tricks["insert"].append(drop_after)
    inserted = await client.insert(WATCH)
    assert server.events == [WATCH]
    assert inserted.duplicate
    first, second = server.called("insert")
    assert first.params["id"] == second.params["id"]
    assert first.peer is not second.peer


async def test_an_insert_that_never_arrived_is_stored(server, client):
    server.tricks["insert"].append(drop_before)
    inserted = await client.insert(WATCH)
    assert server.events == [WATCH]
    assert not inserted.duplicate


async def test_many_inserts_are_stored_once_and_in_order_through_broken_connections(server, client):
    server.tricks["insert"].extend([drop_after, drop_before] * 5)
    await asyncio.gather(*(client.insert({"n": n}) for n in range(300)))
    assert server.events == [{"n": n} for n in range(300)]
    assert server.opened == 11


async def test_insert_many_is_stored_once(server, client):
    server.tricks["insert_many"].append(drop_after)
    inserted = await client.insert_many([WATCH, WATCH], [None, "mine"])
    assert server.events == [WATCH, WATCH]
    assert [each.duplicate for each in inserted] == [True, True]
    first, second = server.called("insert_many")
    assert first.params == second.params
    assert first.params["ids"][1] == "mine"


async def test_queries_are_repeated_too(server, client):
    server.push(WATCH)
    for method in ("items", "history", "info", "ping"):
        server.tricks[method].append(drop_before)
    assert await client.items() == [WATCH]
    assert len((await client.history()).entries) == 1
    assert (await client.info()).keys == ["user", "kind", "repo"]
    await client.ping()
    assert server.opened == 5


async def test_calls_made_while_there_is_no_connection_wait_for_one(server):
    await server.stop()
    async with connected_to(server) as client:
        calls = [asyncio.create_task(client.insert({"n": n})) for n in range(5)]
        await server.start()
        await asyncio.gather(*calls)
    assert server.events == [{"n": n} for n in range(5)]


async def test_a_restarted_server_is_found_again(server, client):
    await client.insert(WATCH)
    await server.stop()
    assert server.opened == 1
    await server.start()
    assert await client.items() == [WATCH]


# Passing errors.


@pytest.mark.parametrize("code", [-32005, -32010, -32011])
async def test_passing_errors_are_retried_with_the_same_id(server, client, code):
    server.tricks["insert"].extend([fail(code), fail(code, {"retry_after_ms": 5})])
    await client.insert(WATCH)
    assert server.events == [WATCH]
    assert len({call.params["id"] for call in server.called("insert")}) == 1
    assert len(server.called("insert")) == 3


@pytest.mark.parametrize(
    ("code", "kind"), [(-32005, RateLimited), (-32010, UnknownOutcome), (-32011, StoreUnavailable)]
)
async def test_the_last_passing_error_is_raised_at_the_deadline(server, client, code, kind):
    # The third would be too late. By the clock alone, one may be under way when the time is over.
    server.tricks["insert"].extend([fail(code), fail(code, {"retry_after_ms": 60_000})])
    with pytest.raises(kind):
        await client.insert(WATCH)
    assert len(server.called("insert")) == 2


async def test_a_typed_error_beats_a_timeout(server, client):
    server.tricks["insert"].extend([fail(-32010), ignore])
    with pytest.raises(UnknownOutcome):
        await client.insert(WATCH, timeout=0.7)
    assert len(server.called("insert")) == 2


async def test_an_outcome_that_is_open_is_not_called_a_missing_store(server, client):
    for lost in ([ignore], [drop_before, fail(-32011)]):
        server.tricks["insert"].extend([fail(-32011), *lost])
        server.tricks["insert"].extend([fail(-32011)] * 50)
        with pytest.raises(CallTimeout):
            await client.insert(WATCH, timeout=1.5)
        server.tricks["insert"].clear()


async def test_a_timeout_tells_whether_anything_was_sent(server):
    await server.stop()
    async with connected_to(server) as client:
        with pytest.raises(CallTimeout) as info:
            await client.insert(WATCH, timeout=0.1)
        assert isinstance(info.value.__cause__, Unreachable)
        await server.start()
        await client.ping()
        server.tricks["insert"].append(ignore)
        call = asyncio.create_task(client.insert(WATCH, timeout=0.5))
        await server.until(lambda: server.called("insert"))
        await server.stop()
        with pytest.raises(CallTimeout) as info:
            await call
        assert type(info.value.__cause__) is ConnectionLost


async def test_a_pause_beyond_the_deadline_is_not_waited_for(server, client):
    server.tricks["insert"].append(fail(-32011, {"retry_after_ms": 60_000}))
    async with asyncio.timeout(5):
        with pytest.raises(StoreUnavailable) as info:
            await client.insert(WATCH)
    assert info.value.retry_after == 60.0


async def test_other_errors_are_raised_at_once(server, client):
    server.tricks["insert"].append(fail(-32602, {"reason": "id_reused"}))
    with pytest.raises(InvalidParams) as info:
        await client.insert(WATCH, "a")
    assert info.value.data == {"reason": "id_reused"}
    server.tricks["insert"].append(fail(-32042))
    with pytest.raises(RpcError) as plain:
        await client.insert(WATCH)
    assert (type(plain.value), plain.value.code) == (RpcError, -32042)
    assert len(server.called("insert")) == 2


# Deadlines and cancellation.


async def test_a_call_without_an_answer_times_out(server, client):
    server.tricks["ping"].append(ignore)
    with pytest.raises(CallTimeout) as info:
        await client.ping(timeout=0.05)
    assert (info.value.method, info.value.timeout) == ("ping", 0.05)
    assert info.value.__cause__ is None
    await client.ping()


async def test_the_client_has_a_default_deadline(server):
    server.tricks["ping"].append(ignore)
    async with connected_to(server, timeout=0.05) as client:
        with pytest.raises(CallTimeout):
            await client.ping()


async def test_a_cancelled_call_is_forgotten_and_its_late_answer_ignored(server, client):
    answer = asyncio.Event()
    server.tricks["insert"].append(hold(answer))
    call = asyncio.create_task(client.insert(WATCH))
    await server.until(lambda: server.called("insert"))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(client._link._calls) == 0
    answer.set()
    await client.ping()
    await server.peer.socket.close(1012)
    await client.ping()
    assert len(server.called("insert")) == 1


async def test_an_outer_timeout_is_not_taken_for_ours(server, client):
    server.tricks["ping"].append(ignore)
    with pytest.raises(TimeoutError) as info:
        async with asyncio.timeout(0.05):
            await client.ping()
    assert not isinstance(info.value, CallTimeout)


# Many at once.


async def test_a_thousand_calls_run_at_the_same_time(server, client):
    server.push(WATCH)
    answers = await asyncio.gather(*(client.items(kind="watch") for _ in range(1_000)))
    assert answers == [[WATCH]] * 1_000


async def test_answers_may_come_in_any_order(server, client):
    first = asyncio.Event()
    server.push(WATCH)
    server.tricks["items"].append(hold(first))
    slow = asyncio.create_task(client.items())
    await server.until(lambda: server.called("items"))
    await client.ping()
    assert not slow.done()
    first.set()
    assert await slow == [WATCH]


async def test_a_call_too_long_for_one_message_fails_alone(server, client):
    with pytest.raises(LimitExceeded) as info:
        await client.insert({"text": "x" * 1024 * 1024})
    assert (info.value.limit, info.value.max) == ("message_bytes", 1024 * 1024)
    assert info.value.got > 1024 * 1024
    await client.ping()
    assert server.opened == 1
    async with connected_to(server, message_bytes=None) as other:
        await other.insert({"text": "x" * 1024 * 1024})


# The end.


async def test_closing_wakes_every_waiter(server, client):
    server.tricks["ping"].extend([ignore] * 3)
    calls = [asyncio.create_task(client.ping()) for _ in range(3)]
    await server.until(lambda: len(server.called("ping")) == 3)
    await client.close()
    for call in calls:
        with pytest.raises(ClientClosed):
            await call
    with pytest.raises(ClientClosed):
        await client.ping()
    await server.until(lambda: not server.peers)


async def test_closing_is_idempotent_and_may_happen_twice_at_once(server, client):
    await client.ping()
    await asyncio.gather(client.close(), client.close())
    await client.close()
    assert not client.connected


async def test_closing_while_connecting_or_waiting(server):
    await server.stop()
    async with connect(server.url, backoff=lambda attempt: 3600.0) as client:
        call = asyncio.create_task(client.ping())
        await asyncio.sleep(0)
    with pytest.raises(ClientClosed):
        await call


async def test_a_client_that_was_never_entered_can_be_closed(server):
    client = connect(server.url)
    await client.close()
    with pytest.raises(ClientClosed):
        await client.ping()


async def test_a_client_is_entered_once(server, client):
    with pytest.raises(RuntimeError):
        await client.__aenter__()
