"""streamd.access: what grants let somebody read and write, whichever way he asks."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamd.hub
from streamd.access import NOBODY, OPEN, Access, Grants, is_likely, parse_grants
from streamd.errors import CallError, Forbidden, InvalidParams, LimitExceeded
from streamd.filters import EVERYTHING, Filter
from streamd.jsonrpc import OutOfRange
from streamd.limits import Limits
from streamd.stores.base import Stream
from streamd.stores.memory import MemoryStore
from tests.parts import (
    KEYS,
    LIMITS,
    Client,
    RecordingTransport,
    draft,
    rig,
    serving,
    turns,
    wanted,
)

Json = dict[str, Any]


def access(claim: Any, subject: str = "ann", limits: Limits = LIMITS) -> Access:
    """Return what the claim of a token allows."""
    return Access(parse_grants(claim, KEYS, limits), limits, subject=subject)


def reader(*grants: Json) -> Access:
    return access({"read": list(grants)})


def writer(*grants: Json) -> Access:
    return access({"write": list(grants)})


# The obvious way.


def values(event: Json, key: str) -> set[str]:
    found = event.get("tags" if key == "tag" else key, [])
    return {str(each) for each in (found if isinstance(found, list) else [found])}


def listed(value: Any) -> set[str]:
    return {str(each) for each in (value if isinstance(value, list) else [value])}


def matches(query: Json, event: Json) -> bool:
    return all(values(event, key) & listed(query[key]) for key in query)


def may_read(grants: list[Json], event: Json) -> bool:
    return any(matches(grant, event) for grant in grants)


def may_write(grants: list[Json], event: Json) -> bool:
    return any(
        all(values(event, key) and values(event, key) <= listed(grant[key]) for key in grant)
        for grant in grants
    )


# Anything at all.

few = st.integers(0, 4)
some = few | st.lists(few, max_size=3)
queries = st.fixed_dictionaries({}, optional={"user": some, "kind": some, "tag": some})
events = st.fixed_dictionaries({}, optional={"user": few, "kind": some, "tags": some})
grants_of = st.lists(queries, max_size=4)


@settings(max_examples=400, deadline=None)
@given(grants_of.filter(bool), queries, st.lists(events, min_size=1, max_size=12))
def test_what_is_read_is_what_is_wanted_and_granted(
    grants: list[Json], query: Json, log: list[Json]
) -> None:
    allowed = reader(*grants)
    if not allowed.reads:
        assert not any(may_read(grants, event) for event in log)
        return
    narrowed = allowed.narrow(wanted(query))
    for event in log:
        terms = draft(event).terms
        assert narrowed.matches(terms) == (matches(query, event) and may_read(grants, event))


@settings(max_examples=400, deadline=None)
@given(grants_of, st.lists(events, min_size=1, max_size=12))
def test_what_is_written_is_allowed_whole_by_one_grant(grants: list[Json], log: list[Json]) -> None:
    for event in log:
        try:
            writer(*grants).admit(draft(event))
        except Forbidden:
            assert not may_write(grants, event), (grants, event)
        else:
            assert may_write(grants, event), (grants, event)


async def ask_everything(
    grants: list[Json], again: list[Json], query: Json, log: list[Json]
) -> None:
    """Ask in every way what there is to read, in a log of which a part is below the window."""
    store = MemoryStore("memory:", Stream("test", KEYS, Limits()))
    async with serving(store, window=4) as worker:
        half = len(log) // 2
        writing, before, later = Client(worker), Client(worker), Client(worker)
        before.session.access = later.session.access = reader(*grants)
        ways = {"filter": query, "backfill": 1_000}
        for event in log[:half]:
            await writing.call("insert", {"event": event})
        readable = [event for event in log if matches(query, event) and may_read(grants, event)]
        old = [event for event in log[:half] if event in readable]
        # From history to push.
        subscribed = await before.call("subscribe", ways)
        assert [entry["event"] for entry in subscribed["entries"]] == old
        for event in log[half:]:
            await writing.call("insert", {"event": event})
        # Looking back.
        assert (await later.call("items", {"filter": query, "end": 1_000}))[::-1] == readable
        page = await later.call("history", {"filter": query, "limit": 1_000})
        assert [entry["event"] for entry in page["entries"]][::-1] == readable
        # Resumed from the first place, and from the middle.
        after = await later.call("subscribe", {"filter": query, "after": "start"})
        middle = await later.call("subscribe", {"filter": query, "after": subscribed["cursor"]})
        await settled(before, later)
        new = [event for event in log[half:] if event in readable]
        assert old + before.transport.events() == readable
        assert later.transport.events(after["subscription"]) == readable
        assert later.transport.events(middle["subscription"]) == new
        # With another token, from one place on.
        other = reader(*again)
        await before.session._hub.judge_again(before.session.peer, other)
        ended = bool(before.transport.sent("closed"))
        for event in log:
            await writing.call("insert", {"event": event})
        await settled(before)
        more = [event for event in log if matches(query, event) and may_read(again, event)]
        expected = readable if ended else readable + more
        assert old + before.transport.events() == expected


async def settled(*clients: Client) -> None:
    for client in clients:
        await client.transport.until(
            lambda c=client: all(
                sub.state.name == "LIVE" for sub in c.session.peer.subscriptions.values()
            )
        )
    await turns()


@settings(max_examples=80, deadline=None)
@given(
    grants_of.filter(lambda grants: reader(*grants).reads),
    grants_of,
    queries,
    st.lists(events.map(lambda event: event), min_size=2, max_size=14),
)
def test_every_way_to_ask_is_narrowed_alike(
    grants: list[Json], again: list[Json], query: Json, log: list[Json]
) -> None:
    numbered = [{**event, "n": number} for number, event in enumerate(log)]
    asyncio.run(ask_everything(grants, again, query, numbered))


# Reading.


def test_where_everything_is_granted_the_filter_is_the_same_object() -> None:
    query = wanted({"user": 1})
    assert OPEN.narrow(query) is query
    assert reader({}).narrow(query) is query
    assert reader({"user": 2}, {}).narrow(query) is query


def test_without_a_grant_nothing_may_be_read_or_written() -> None:
    for nothing in (access(None), access({}), access({"read": [], "write": []}), NOBODY):
        with pytest.raises(Forbidden):
            nothing.narrow(EVERYTHING)
        with pytest.raises(Forbidden):
            nothing.admit(draft({"user": 1}))
    with pytest.raises(Forbidden):
        reader({"user": []}).narrow(EVERYTHING)


def test_grants_that_differ_in_one_key_are_one() -> None:
    assert reader({"user": 23}, {"user": 291}).narrow(EVERYTHING) == wanted({"user": [23, 291]})
    both = reader(
        {"user": 1, "kind": "a"}, {"user": [2], "kind": "a"}, {"user": [1, 2], "kind": "b"}
    )
    assert both.narrow(EVERYTHING) == wanted({"user": [1, 2], "kind": ["a", "b"]})


def test_what_another_grant_allows_takes_no_room() -> None:
    narrowed = reader({"user": [1, 2]}, {"user": 1, "kind": "a"}).narrow(EVERYTHING)
    assert narrowed == wanted({"user": [1, 2]})
    narrowed = reader({"user": [1, 2, 3]}).narrow(wanted({"user": [2, 3]}))
    assert narrowed == wanted({"user": [2, 3]})


def test_of_several_values_one_may_be_wanted_and_another_granted() -> None:
    narrowed = reader({"tag": "public"}).narrow(wanted({"tag": ["music", "film"]}))
    assert narrowed.matches(draft({"tags": ["film", "public"]}).terms)
    assert not narrowed.matches(draft({"tags": ["film", "music"]}).terms)
    assert not narrowed.matches(draft({"tags": ["public"]}).terms)
    assert not is_likely(narrowed)
    assert is_likely(reader({"tag": ["a", "b"]}).narrow(wanted({"tag": ["b", "c"]})))
    assert is_likely(EVERYTHING)
    assert not is_likely(Filter([]))


def test_what_grants_multiply_a_filter_to_is_bounded() -> None:
    limits = Limits(connection_filter_values=20)
    grants = [{"kind": "a", "user": 1}, {"kind": "b", "repo": 2}]
    allowed = access({"read": grants}, limits=limits)
    assert allowed.narrow(wanted({"tag": list(range(8))})).num_values == 20
    with pytest.raises(LimitExceeded) as caught:
        allowed.narrow(wanted({"tag": list(range(9))}))
    assert caught.value.data == {"limit": "connection_filter_values", "max": 20, "got": 22}


# Writing.


@pytest.mark.parametrize(
    ("grant", "event", "allowed"),
    [
        ({"user": "291"}, {"user": 291}, True),
        ({"user": 291}, {"user": 291, "kind": "any"}, True),
        ({"user": 291}, {}, False),
        ({"user": 291}, {"user": None}, False),
        ({"user": 291}, {"user": []}, False),
        ({"user": 291}, {"user": [291, 23]}, False),
        ({"user": [23, 291]}, {"user": [291, 23]}, True),
        ({"user": 291, "kind": ["a"]}, {"user": 291}, False),
        ({"user": 291, "kind": []}, {"user": 291}, False),
        ({}, {}, True),
    ],
)
def test_each_value_of_each_key_named_must_be_allowed(
    grant: Json, event: Json, allowed: bool
) -> None:
    if allowed:
        assert writer(grant).admit(draft(event)) == draft(event)
    else:
        with pytest.raises(Forbidden):
            writer(grant).admit(draft(event))


def test_two_grants_do_not_add_up_for_one_event() -> None:
    with pytest.raises(Forbidden):
        writer({"tag": "a"}, {"tag": "b"}).admit(draft({"tags": ["a", "b"]}))


async def test_insert_many_stores_all_or_nothing() -> None:
    async with serving() as worker:
        client = Client(worker)
        client.session.access = access({"write": [{"user": 1}], "read": [{}]})
        mixed = {"events": [{"user": 1}, {"user": 2}]}
        assert (await client.fail("insert_many", mixed))["code"] == -32002
        assert (await client.fail("insert", {"event": {"user": 2}}))["code"] == -32002
        assert await client.call("items") == []
        await client.call("insert_many", {"events": [{"user": 1}, {"user": 1}]})
        assert len(await client.call("items")) == 2


async def test_an_insert_id_belongs_to_the_subject() -> None:
    async with serving() as worker:
        ann, ben, anyone = Client(worker), Client(worker), Client(worker)
        ann.session.access = access({"write": [{}]}, "ann")
        ben.session.access = access({"write": [{}]}, "ben")
        anyone.session.access = Access(Grants(write=[{}]), LIMITS)
        for number, client in enumerate([ann, ben, anyone]):
            event = {"event": {"user": number}, "id": "a"}
            assert (await client.call("insert", event))["duplicate"] is False
            assert (await client.call("insert", event))["duplicate"] is True
        assert (await ann.fail("insert", {"event": {"user": 7}, "id": "a"}))["code"] == -32602


def test_no_id_of_one_subject_is_that_of_another() -> None:
    names = ["a", "ab", "a\0b", "", None]
    ids = ["c", "bc", "b", "\u0001c"]
    given = {(name, each) for name in names for each in ids}
    made = {
        Access(Grants(write=[{}]), LIMITS, subject=name).admit(draft({}, each)).id
        for name, each in given
    }
    assert len(made) == len(given)
    assert OPEN.admit(draft({}, "c")).id == "c"


# Claims.


@pytest.mark.parametrize(
    "claim",
    [
        [],
        "read",
        7,
        {"read": {}},
        {"read": [[]]},
        {"read": [{"colour": 1}]},
        {"read": [{"user": None}]},
        {"read": [{"user": {"in": [1]}}]},
        {"read": [{"user": [1, None]}]},
        {"write": [{"user": 1}, {"user": "a\0b"}]},
        {"write": [{"user": 2**70}]},
        {"write": [{"user": OutOfRange()}]},
        {"read": None},
        {"admin": 1},
        {"admin": "true"},
        {"deny": []},
        {"read": [{}], "limits": {}},
    ],
    ids=repr,
)
def test_a_claim_that_can_not_be_understood_is_refused(claim: Any) -> None:
    with pytest.raises(InvalidParams) as caught:
        parse_grants(claim, KEYS, LIMITS)
    assert "secret" not in caught.value.message


def test_grants_are_bounded() -> None:
    limits = Limits(grants=2, filter_values=3)
    parse_grants({"read": [{"user": [1, 2, 3]}] * 2}, KEYS, limits)
    for claim, limit in (
        ({"read": [{}] * 3}, "grants"),
        ({"write": [{}] * 3}, "grants"),
        ({"write": [{"user": [1, 2, 3, 4]}]}, "filter_values"),
    ):
        with pytest.raises(CallError) as caught:
            parse_grants(claim, KEYS, limits)
        assert caught.value.data is not None
        assert caught.value.data["limit"] == limit


def test_admin_is_granted_by_name_only() -> None:
    assert access({"admin": True}).admin
    assert not access({"read": [{}], "write": [{}]}).admin
    assert not OPEN.admin


# Judged again.


async def test_who_may_read_nothing_any_more_is_told() -> None:
    async with rig() as r:
        transport, peer = r.join()
        one, two, all_ = (r.subscribe(peer, query) for query in ({"user": 1}, {"user": 2}, {}))
        await r.append({"user": 1}, {"user": 2})
        await r.hub.judge_again(peer, reader({"user": 1}))
        assert [told["subscription"] for told in transport.sent("closed")] == [two.number]
        assert transport.sent("closed")[0]["code"] == -32002
        await r.append({"user": 2, "n": 1}, {"user": 1, "n": 2})
        await turns()
        assert transport.events(one.number) == [{"user": 1}, {"user": 1, "n": 2}]
        assert transport.events(two.number) == [{"user": 2}]
        assert transport.events(all_.number) == [{"user": 1}, {"user": 2}, {"user": 1, "n": 2}]
        # What was asked for is what is judged: rights come back.
        await r.hub.judge_again(peer, reader({}))
        await r.append({"user": 2, "n": 3})
        await turns()
        assert transport.events(all_.number)[-1] == {"user": 2, "n": 3}
        await r.hub.judge_again(peer, access(None))
        assert not peer.subscriptions
        assert peer.num_values == 0


async def test_what_does_not_change_is_left_alone() -> None:
    async with rig() as r:
        _, peer = r.join()
        sub = r.subscribe(peer, {"user": 1})
        kept = sub.wanted
        await r.hub.judge_again(peer, reader({"user": [1, 2]}))
        assert sub.wanted is kept


async def test_one_that_grants_make_too_large_ends_alone() -> None:
    async with rig(connection_filter_values=10) as r:
        transport, peer = r.join()
        r.subscribe(peer, {"user": [1, 2, 3, 4]})
        r.subscribe(peer, {"kind": "a"})
        await r.hub.judge_again(peer, reader({"repo": 1, "tag": 2}, {"repo": 3, "kind": [4, 5]}))
        (told,) = transport.sent("closed")
        assert (told["subscription"], told["code"]) == (1, -32004)
        assert list(peer.subscriptions) == [2]


async def test_an_event_does_not_wait_for_all_who_come_with_another_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streamd.hub, "_VALUES", 1)
    async with rig() as r:
        watching, watcher = r.join()
        r.subscribe(watcher, {"user": 1})
        peers = [r.join()[1] for _ in range(20)]
        for peer in peers:
            for number in range(20):
                r.subscribe(peer, {"repo": number})
        judging = [
            asyncio.create_task(r.hub.judge_again(peer, reader({"kind": 1}))) for peer in peers
        ]
        await turns(25)
        assert not all(each.done() for each in judging), "most wait for the one that changes"
        await r.append({"user": 1})
        await watching.until(lambda: watching.events())
        assert sum(each.done() for each in judging) < 5
        await asyncio.gather(*judging)


async def test_nothing_by_the_old_rights_is_sent_after_the_new_ones_count() -> None:
    async with rig() as r:
        seen: list[Any] = []
        judging: list[asyncio.Task[None]] = []

        async def judge() -> None:
            await r.hub.judge_again(last_peer, reader({"user": 1}))
            seen.extend(last.events())

        class First(RecordingTransport):
            """The first who gets a batch: while it goes out to the others, the last one's rights change."""

            def write(self, data: bytes) -> None:
                super().write(data)
                judging.append(asyncio.create_task(judge()))

        first = First()
        r.subscribe(r.hub.join(first.outbox), {})
        # A batch goes out in slices of some hundred.
        peers = [r.join() for _ in range(1_000)]
        for _, peer in peers:
            r.subscribe(peer, {})
        last, last_peer = peers[-1]
        await r.append({"user": 2})
        await first.until(lambda: judging)
        await judging[0]
        await turns()
        assert last.events() == seen == [{"user": 2}]
        assert last_peer.subscriptions[1].wanted == wanted({"user": 1})
