"""streamd.explanations: why an entry comes or not, and how far subscriptions are."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.access import NOBODY, OPEN, Access, parse_grants
from streamd.cursor import Chain
from streamd.errors import CallError, Forbidden, InvalidParams, PlaceLost
from streamd.explanations import Explanations
from streamd.limits import Limits
from streamd.stores.base import Store, Stream
from streamd.stores.memory import MemoryStore
from streamd.subscription import Peer
from tests.parts import KEYS, LIMITS, Client, Rig, ScriptedStore, draft, rig, serving, turns, wanted
from tests.traffic import check_answer

EVENTS: list[dict[str, Any]] = [
    {"user": 1, "kind": "friend", "tags": ["a", "b"]},
    {"user": 2, "kind": "watch"},
    {"kind": "friend"},
    {"user": "1", "kind": 5},
]
ABSENT = {"found": False, "matches": False, "keys": [], "grants": None}


class Asking:
    """Somebody who calls, and keeps what he is answered."""

    def __init__(self, access: Access = OPEN, peer: Peer | None = None) -> None:
        self.access = access
        self.peer = peer
        self.got = b""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        yield

    def result(self, result: bytes, then: Any = None, undo: Any = None) -> None:
        assert not self.got
        self.got = result

    def done(self, result: bytes) -> None:
        self.result(result)

    def error(self, error: CallError) -> None:
        raise AssertionError(error)

    def check(self) -> None:
        """There is room."""


def reader(*grants: Any) -> Access:
    return Access(parse_grants({"read": list(grants)}, KEYS, LIMITS), LIMITS, subject="ann")


class Explaining:
    """The two methods over a hub without sessions; its entries are at the places from 1 on."""

    def __init__(self, made: Rig) -> None:
        self.rig = made
        self.methods = Explanations(Stream("test", KEYS, made.limits), made.view, made.hub)

    def cursor(self, seq: int) -> str:
        return self.rig.view.cursor(seq)

    async def raw(self, access: Access = OPEN, **params: Any) -> bytes:
        asking = Asking(access)
        work = self.methods.explain(asking, params, asking)
        if work is not None:
            await work
        answer = {"jsonrpc": "2.0", "id": 1, "result": orjson.loads(asking.got)}
        call = {"jsonrpc": "2.0", "id": 1, "method": "explain", "params": params}
        check_answer(call, answer)
        return asking.got

    async def __call__(self, access: Access = OPEN, **params: Any) -> Any:
        return orjson.loads(await self.raw(access, **params))


@asynccontextmanager
async def explaining(store: Store | None = None, *events: Any, **limits: Any) -> Any:
    async with rig(store, **limits) as made:
        if events:
            await made.append(*events)
        yield Explaining(made)


# One entry, or an event.


async def test_it_is_told_key_by_key() -> None:
    async with explaining(None, *EVENTS) as explain:
        asked = {"user": [1, 2, 3], "tag": ["b", "c"], "kind": "watch", "repo": []}
        told = await explain(filter=asked, cursor=explain.cursor(1))
        assert told["keys"] == [
            {"key": "user", "wanted": 3, "matched": True, "values": ["1"]},
            {"key": "kind", "wanted": 1, "matched": False, "values": ["friend"]},
            {"key": "repo", "wanted": 0, "matched": False, "values": []},
            {"key": "tag", "wanted": 2, "matched": True, "values": ["a", "b"]},
        ]
        assert (told["found"], told["matches"], told["grants"]) == (True, False, None)
        assert told["entry"]["cursor"] == explain.cursor(1)
        assert told["entry"]["event"] == EVENTS[0]
        told = await explain(filter={"kind": "friend"}, cursor=explain.cursor(3))
        assert told["matches"] is True
        assert (await explain(cursor=explain.cursor(4)))["matches"] is True


async def test_an_event_of_ones_own_need_not_be_stored() -> None:
    async with explaining(None, *EVENTS) as explain:
        told = await explain(filter={"user": [1]}, event={"user": [1, 7, None]})
        assert told == {
            "found": True,
            "matches": True,
            "keys": [{"key": "user", "wanted": 1, "matched": True, "values": ["1", "7"]}],
            "grants": None,
        }
        assert explain.rig.view.position == len(EVENTS)


async def test_the_grants_are_told_as_well() -> None:
    access = reader({"user": [1, 2], "kind": ["friend"]}, {"user": [9]})
    async with explaining(None, *EVENTS) as explain:
        told = await explain(access, filter={"user": 1}, event={"user": 1, "kind": "watch"})
        assert (told["found"], told["matches"]) == (True, False)
        assert told["keys"][0]["matched"] is True
        assert told["grants"] == [
            [
                {"key": "user", "wanted": 2, "matched": True},
                {"key": "kind", "wanted": 1, "matched": False},
            ],
            [{"key": "user", "wanted": 1, "matched": False}],
        ]
        assert (await explain(access, event={"user": 9}))["matches"] is True
        assert (await explain(access, cursor=explain.cursor(1)))["matches"] is True
        with pytest.raises(Forbidden):
            await explain(NOBODY, cursor=explain.cursor(1))
        with pytest.raises(Forbidden):
            await explain(NOBODY, event={})


@pytest.mark.parametrize("window", [100, 2])
async def test_what_may_not_be_read_is_as_what_is_not_there(window: int) -> None:
    chain = Chain("aaaaaaaa")
    store = ScriptedStore(chain, [])
    store.add(*[{"user": n % 2} for n in range(9)])
    erased = store.log.pop(4)
    async with explaining(store, window=window) as explain:
        assert (explain.rig.view.window.low > 2) is (window == 2)
        access = reader({"user": [1]})
        places = {
            "granted": 2,
            "not granted": 1,
            "erased": erased.seq,
            "before all": 0,
            "ahead": 50,
        }
        told = {
            name: await explain.raw(access, filter={"user": [0, 1]}, cursor=explain.cursor(place))
            for name, place in places.items()
        }
        assert orjson.loads(told.pop("granted"))["entry"]["event"] == {"user": 1}
        assert len(set(told.values())) == 1, "one can't be told from the other"
        assert orjson.loads(told["erased"]) == ABSENT


async def test_a_place_that_is_lost_is_said_to_be() -> None:
    store = MemoryStore("memory:", Stream("test", KEYS, Limits(max_events=2)))
    async with explaining(store, *EVENTS) as explain:
        assert (await explain(cursor=explain.cursor(3)))["found"] is True
        with pytest.raises(PlaceLost) as caught:
            await explain(cursor=explain.cursor(2))
        assert caught.value.reason == "expired"
        with pytest.raises(PlaceLost) as caught:
            await explain(cursor=Chain("zzzzzzzz").cursor(3))
        assert caught.value.reason == "epoch"


async def test_what_was_forked_while_it_was_looked_for_is_of_the_new_log() -> None:
    store = ScriptedStore(Chain("aaaaaaaa"), [])
    store.add(*[{"user": n} for n in range(9)])
    async with explaining(store, window=2) as explain:
        cursor = explain.cursor(3)
        after = store.after

        async def forked(*args: Any) -> Any:
            store.after = after  # type: ignore[method-assign]
            store.fork(Chain("bbbbbbbb", (("aaaaaaaa", 2),)), 2)
            store.say(2)
            return await after(*args)

        store.after = forked  # type: ignore[method-assign]
        with pytest.raises(PlaceLost) as caught:
            await explain(cursor=cursor)
        assert caught.value.reason == "epoch"


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"cursor": "a", "event": {}},
        {"cursor": "x"},
        {"cursor": 5},
        {"event": 5},
        {"event": {"user": {}}},
        {"event": {}, "filter": {"colour": 1}},
        {"event": {}, "filter": []},
    ],
)
async def test_what_cannot_be_explained_is_refused(params: dict[str, Any]) -> None:
    async with explaining() as explain:
        with pytest.raises(InvalidParams):
            await explain(**params)


VALUES = st.sampled_from([1, 2, "1", 3.0, True])
QUERIES = st.dictionaries(
    st.sampled_from(["user", "kind", "tag"]), st.lists(VALUES, max_size=2), max_size=2
)
DRAWN = st.fixed_dictionaries(
    {}, optional={"user": VALUES, "kind": VALUES, "tags": st.lists(VALUES, max_size=2)}
)


@settings(max_examples=60, deadline=None)
@given(st.lists(DRAWN, min_size=1, max_size=8), QUERIES, st.lists(QUERIES, min_size=1, max_size=2))
async def test_it_agrees_with_what_is_delivered(
    events: list[Any], query: Any, grants: list[Any]
) -> None:
    access = reader(*grants)
    if not access.reads:
        return
    narrowed = access.narrow(wanted(query))
    async with explaining() as explain:
        transport, peer = explain.rig.join()
        sub = explain.rig.hub.subscribe(peer, narrowed)
        sub.cursor = 0
        explain.rig.hub.activate(sub)
        await explain.rig.append(*events)
        await transport.until(lambda: sub.entries == _expected(events, narrowed))
        await turns()
        came = {params["cursor"] for params in transport.sent("event")}
        for place, event in enumerate(events, 1):
            told = await explain(access, filter=query, cursor=explain.cursor(place))
            assert told["matches"] is (explain.cursor(place) in came)
            own = await explain(access, filter=query, event=event)
            assert own["matches"] is told["matches"]
            by_keys = all(key["matched"] for key in own["keys"])
            granted = own["grants"] is None or any(
                all(key["matched"] for key in grant) for grant in own["grants"]
            )
            assert own["matches"] is (by_keys and granted)
            assert told["found"] is granted


def _expected(events: list[Any], narrowed: Any) -> int:
    return sum(narrowed.matches(draft(event).terms) for event in events)


# One connection.


async def standing(client: Client) -> list[Any]:
    told: list[Any] = await client.call("subscriptions")
    return told


async def test_the_subscriptions_of_a_connection() -> None:
    async with serving() as worker:
        client, other = Client(worker), Client(worker)
        assert await standing(client) == []
        await other.call("subscribe", {})
        cursor = (await client.call("insert", {"event": {"user": 0}}))["cursor"]
        await client.call("subscribe", {"filter": {"user": [*range(500)], "kind": ["a", "b"]}})
        await client.call("subscribe", {"filter": {"user": []}})
        await client.call("subscribe", {})
        told = await standing(client)
        assert [each["subscription"] for each in told] == [1, 2, 3]
        assert [each["filter"] for each in told] == [
            {"user": {"count": 500}, "kind": {"count": 2, "values": ["a", "b"]}},
            None,
            {},
        ]
        for each in told:
            assert (each["state"], each["cursor"], each["lag"]) == ("live", cursor, 0)
            assert (each["entries"], each["bytes"]) == (0, 0)
        await client.call("unsubscribe", {"subscription": 2})
        assert [each["subscription"] for each in await standing(client)] == [1, 3]


async def test_what_was_sent_is_counted_to_the_byte() -> None:
    async with serving() as worker:
        client = Client(worker)
        await client.call("subscribe", {"filter": {"kind": "a"}})
        await client.call("subscribe", {})
        for n in range(3):
            await client.call("insert", {"event": {"user": n, "kind": "a"}})
        await client.call("insert_many", {"events": [{"user": n} for n in range(40)]})
        await client.transport.until(lambda: len(client.transport.events(2)) == 43)
        one, two = await standing(client)
        assert (one["entries"], two["entries"]) == (3, 43)
        lines = b"".join(client.transport.writes).splitlines(keepends=True)
        frames = [line for line in lines if b'"method":"event"' in line]
        assert one["bytes"] == sum(len(line) for line in frames if b'"subscription":1,' in line)
        assert two["bytes"] == sum(len(line) for line in frames if b'"subscription":2,' in line)


async def test_one_that_does_not_read_lags_behind_and_catches_up() -> None:
    async with serving() as worker:
        client, producer = Client(worker), Client(worker)
        await client.call("subscribe", {})
        asking = Asking(peer=client.session.peer)
        explanations = Explanations(worker.stream, worker._view, worker._hub)
        client.transport.stall()
        await producer.call("insert", {"event": {"user": 1}})
        first = await producer.call("insert", {"event": {"user": 1}})
        await worker._view.fresh()
        await producer.call("insert_many", {"events": [{"user": n} for n in range(10)]})
        await worker._view.fresh()
        await explanations.subscriptions(asking, {}, asking)
        (told,) = orjson.loads(asking.got)
        assert told["state"] == "behind"
        assert told["lag"] > 0
        client.transport.read_on()
        await client.transport.until(lambda: len(client.transport.events()) == 12)
        (told,) = await standing(client)
        assert (told["state"], told["lag"], told["entries"]) == ("live", 0, 12)
        assert told["cursor"] != first["cursor"]


async def test_one_without_an_answer_has_no_place_yet() -> None:
    async with explaining(None, *EVENTS) as explain:
        _, peer = explain.rig.join()
        explain.rig.hub.subscribe(peer, wanted({"user": 1}))
        asking = Asking(peer=peer)
        await explain.methods.subscriptions(asking, {}, asking)
        (told,) = orjson.loads(asking.got)
        assert (told["state"], told["cursor"], told["lag"]) == ("pending", None, None)


async def test_a_token_changes_nothing_of_what_is_shown_of_a_filter() -> None:
    async with explaining(None, *EVENTS) as explain:
        _, peer = explain.rig.join()
        asked = wanted({"user": [1, 2, 3]})
        narrowed = reader({"user": [1], "kind": ["a"]}, {"user": [2]}).narrow(asked)
        explain.rig.hub.subscribe(peer, narrowed, asked)
        asking = Asking(peer=peer)
        await explain.methods.subscriptions(asking, {}, asking)
        (told,) = orjson.loads(asking.got)
        assert told["filter"] == {"user": {"count": 3, "values": ["1", "2", "3"]}}
