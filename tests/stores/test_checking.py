"""streamd.checking: what is wrong is found and named by its place, and nothing else is."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamd.checking import Check, Finding, Kind
from streamd.stores.base import Posting, Store, Stream
from streamd.stores.memory import MemoryStore
from streamd.walk import Patience
from tests.stores.tampering import tamper_with
from tests.stores.worlds import (
    KEYS,
    LIMITS,
    draft,
    numbered,
    places,
    put,
    read_all,
    wanted,
)

PATIENCE = Patience(1.0, lambda error: None, pause=0.01)


async def checked(store: Store, *, repair: bool = False) -> tuple[Check, list[Finding]]:
    """Check a store; return what it told."""
    found: list[Finding] = []
    check = Check(store, found.append, PATIENCE, repair=repair)
    async for _ in check.log():
        pass
    async for _ in check.index():
        pass
    assert sum(check.counts.values()) == len(found)
    return check, sorted(found, key=lambda finding: (finding.place, finding.kind))


@pytest.fixture
async def thirty(store: Store) -> Store:
    """Thirty events: user n % 10, kind `secret`, tags n % 3 and `all`, for the place n."""
    drafts = [
        draft({"user": n % 10, "kind": "secret", "tags": [n % 3, "all"]}) for n in range(1, 31)
    ]
    await put(store, drafts)
    return store


async def test_a_sound_stream_is_clean(thirty: Store) -> None:
    check, found = await checked(thirty)
    assert found == []
    assert (check.entries, check.terms, check.postings) == (30, 120, 120)
    assert (check.walk.done, check.walk.total) == (30, 30)


async def test_an_empty_stream_is_clean(store: Store) -> None:
    check, found = await checked(store)
    assert (found, check.entries, check.postings) == ([], 0, 0)


async def test_a_stream_of_every_kind_of_value_is_clean(store: Store) -> None:
    odd = {"user": "Ünï:{}*\n\"' \u2028 x", "kind": True, "tags": ["b", 1.5, 1e22, -0.0, 0, None]}
    await put(store, [draft(odd), draft({"user": 2**64 - 1, "kind": []}), draft({})])
    check, found = await checked(store)
    assert found == []
    assert check.postings == check.terms == 7


async def test_postings_that_the_index_lacks_are_found(thirty: Store) -> None:
    await tamper_with(thirty).unpost(
        [Posting("tag:all", 7), Posting("tag:1", 7), Posting("user:1", 1), Posting("user:0", 30)]
    )
    check, found = await checked(thirty)
    assert found == [
        (Kind.MISSING, 1, "user"),
        (Kind.MISSING, 7, "tag"),
        (Kind.MISSING, 7, "tag"),
        (Kind.MISSING, 30, "user"),
    ]
    assert str(found[0]) == "the index lacks a value of key 'user' at place 1"
    assert check.counts == {Kind.MISSING: 4}


async def test_postings_that_no_entry_has_are_found(thirty: Store) -> None:
    await tamper_with(thirty).post(
        [Posting("user:5", 4), Posting("user:secret", 4), Posting("tag:all", 31), Posting("x:y", 9)]
    )
    check, found = await checked(thirty)
    assert found == [
        (Kind.SURPLUS, 4, "user"),
        (Kind.SURPLUS, 4, "user"),
        (Kind.SURPLUS, 9, None),
        (Kind.SURPLUS, 31, "tag"),
    ]
    assert str(found[2]) == (
        "the index has a value of a key that is not declared at place 9 that is not there in the log"
    )
    assert not any("secret" in str(finding) for finding in found)
    assert check.counts == {Kind.SURPLUS: 4}


async def test_places_without_an_entry_are_found(thirty: Store) -> None:
    for seq in (1, 8, 9, 30):
        await tamper_with(thirty).erase(seq)
    _, found = await checked(thirty)
    assert [f.place for f in found if f.kind is Kind.EMPTY] == [1, 8, 9, 30]
    # The index has these places still, and should not.
    assert [f.place for f in found if f.kind is Kind.SURPLUS] == [1] * 4 + [8] * 4 + [9] * 4 + [
        30
    ] * 4


@pytest.mark.parametrize(
    ("change", "wrong", "key"),
    [
        ({"body": b"{"}, Kind.EVENT, None),
        ({"body": b"[1]"}, Kind.EVENT, None),
        ({"body": b"\xff"}, Kind.EVENT, None),
        ({"body": b'{"user":7,"kind":"other","tags":[1,"all"]}'}, Kind.TERMS, "kind"),
        ({"body": b'{"user":[7,8],"kind":"secret","tags":[1,"all"]}'}, Kind.TERMS, "user"),
        ({"body": b'{"user":7,"kind":"secret"}'}, Kind.TERMS, "tag"),
        ({"body": b'{"user":{"secret":1},"kind":"secret"}'}, Kind.TERMS, "user"),
        ({"terms": ("user:7", "kind:secret", "tag:1", "tag:all", "x:secret")}, Kind.TERMS, None),
        ({"time": 5}, Kind.TIME, None),
    ],
)
async def test_what_is_wrong_with_an_entry_is_found(
    thirty: Store, change: dict[str, Any], wrong: Kind, key: str | None
) -> None:
    (entry,) = await thirty.upkeep().read([7])
    await tamper_with(thirty).write(entry._replace(**change))
    _, found = await checked(thirty)
    ours = [finding for finding in found if finding.kind not in (Kind.MISSING, Kind.SURPLUS)]
    assert ours == [(wrong, 7, key)]
    assert "secret" not in str(ours[0])


async def test_events_that_were_let_in_under_other_limits_are_right(
    open_new: Callable[..., Any],
) -> None:
    store = await open_new(event_terms=200, value_bytes=2_000)
    given = draft({"user": "x"})._replace(
        body=b'{"user":"%b","tags":[%b]}'
        % (b"u" * 1_500, b",".join(b"%d" % n for n in range(150))),
        terms=("user:" + "u" * 1_500, *(f"tag:{n}" for n in range(150))),
    )
    await put(store, [given])
    assert (await checked(store))[1] == []


# Repairing.


async def test_the_index_is_repaired(thirty: Store) -> None:
    tampering = tamper_with(thirty)
    await tampering.unpost([Posting("tag:all", 7), Posting("user:1", 1)])
    await tampering.post([Posting("user:1", 4), Posting("user:x", 4), Posting("tag:all", 31)])
    check, found = await checked(thirty, repair=True)
    assert check.counts == {Kind.MISSING: 2, Kind.SURPLUS: 3}
    assert len(found) == 5
    assert (await checked(thirty))[1] == []
    assert places(await read_all(thirty, wanted({"user": 1}))) == [1, 11, 21]
    assert len(await read_all(thirty, wanted({"tag": "all"}))) == 30


async def test_an_index_that_is_lost_is_made_anew(store: Store) -> None:
    await put(store, [draft({"user": n % 7, "kind": n}) for n in range(1_500)])
    every = [Posting(t, entry.seq) for entry in await read_all(store) for t in entry.terms]
    tampering = tamper_with(store)
    for first in range(0, len(every), 500):
        await tampering.unpost(every[first : first + 500])
    check, _ = await checked(store, repair=True)
    assert check.counts == {Kind.MISSING: 3_000}
    assert check.postings == 3_000
    assert (await checked(store))[1] == []


async def test_the_log_is_not_repaired(thirty: Store) -> None:
    await tamper_with(thirty).erase(8)
    (entry,) = await thirty.upkeep().read([7])
    await tamper_with(thirty).write(entry._replace(body=b"["))
    _, first = await checked(thirty, repair=True)
    _, second = await checked(thirty, repair=True)
    assert [f for f in first if f.kind is not Kind.SURPLUS] == second
    assert second == [(Kind.EVENT, 7, None), (Kind.EMPTY, 8, None)]


async def test_the_index_follows_the_log_though_the_event_says_otherwise(thirty: Store) -> None:
    (entry,) = await thirty.upkeep().read([7])
    await tamper_with(thirty).write(entry._replace(terms=("user:9",)))
    await checked(thirty, repair=True)
    _, found = await checked(thirty)
    assert {finding.kind for finding in found} == {Kind.TERMS}
    assert 7 in places(await read_all(thirty, wanted({"user": 9})))


# Beside a server.


async def test_what_comes_and_goes_meanwhile_is_no_finding(open_new: Callable[..., Any]) -> None:
    store = await open_new(max_events=3_000)
    done = asyncio.Event()

    async def write() -> None:
        n = 0
        while not done.is_set():
            await put(store, numbered(range(n, n + 50), tags=["all", n]))
            n += 50
            await asyncio.sleep(0)

    await put(store, numbered(range(3_000), kind="k"))
    writing = asyncio.create_task(write())
    try:
        for repair in (False, True, False, True):
            check, found = await checked(store, repair=repair)
            assert found == []
            assert check.entries > 0
    finally:
        done.set()
        await writing
    assert (await checked(store))[1] == []


async def test_what_retention_has_left_is_no_finding(open_new: Callable[..., Any]) -> None:
    store = await open_new(max_events=10)
    await put(store, numbered(range(100), kind="k"))
    check, found = await checked(store)
    assert (found, check.entries) == ([], 10)


# Against the obvious way.


_POSTINGS = st.lists(
    st.builds(
        Posting,
        st.sampled_from(["user:0", "user:1", "kind:a", "kind:b", "tag:x"]),
        st.integers(1, 14),
    ),
    unique=True,
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(add=_POSTINGS, remove=_POSTINGS)
async def test_whatever_is_wrong_with_an_index_is_found_and_mended(
    add: list[Posting], remove: list[Posting]
) -> None:
    async with MemoryStore("memory:", Stream("s", KEYS, LIMITS)) as store:
        await put(store, [draft({"user": n % 2, "kind": "ab"[n % 3 > 0]}) for n in range(12)])
        right = {Posting(t, entry.seq) for entry in await read_all(store) for t in entry.terms}
        tampering = tamper_with(store)
        await tampering.post(add)
        await tampering.unpost(remove)
        wrong = (right | set(add)) - set(remove)
        _, found = await checked(store, repair=True)
        told = sorted((f.kind is Kind.MISSING, f.place, f.key) for f in found)
        expected = [(True, p.seq, p.term.split(":")[0]) for p in right - wrong]
        expected += [(False, p.seq, p.term.split(":")[0]) for p in wrong - right]
        assert told == sorted(expected)
        assert (await checked(store))[1] == []


def test_a_finding_names_neither_value_nor_event() -> None:
    for kind in Kind:
        for key in ("user", None):
            assert "{" not in str(Finding(kind, 7, key))
            assert "place 7" in str(Finding(kind, 7, key))
