"""streamd.search: what backward finds, while others have their turn."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamd.search
import streamd.turns
from streamd.filters import EVERYTHING, Filter
from streamd.log import Entry
from streamd.search import search
from streamd.stores.base import Bounds
from streamd.turns import Turns
from streamd.window import Backward, Window

NEVER = Filter(((frozenset({"kind:a"}), frozenset({"user:even", "user:rare"})),))
"""Nothing has both, but every second entry is looked at for it."""


def window(number: int) -> Window:
    made = Window()
    for seq in range(1, number + 1):
        terms = ("kind:a", "user:odd") if seq % 2 else ("kind:b", "user:even")
        made.append(Entry(seq, seq, terms, b"{}"))
    return made


async def test_what_one_round_can_answer_is_answered_without_an_await() -> None:
    looking = search(window(1_000), EVERYTHING, 1_001, Bounds(20, 200_000, 1 << 20), Turns())
    with pytest.raises(StopIteration) as caught:
        looking.send(None)
    found: Backward = caught.value.value
    assert [entry.seq for entry in found.entries] == list(range(1_000, 980, -1))


async def test_a_long_search_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamd.turns, "_ALLOWANCE", 1e-9)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    found = await search(window(100_000), NEVER, 100_001, Bounds(20, 200_000, 1 << 20), Turns())
    other.cancel()
    assert found.entries == []
    assert found.looked == 50_000
    assert found.reached == 1
    assert turns >= 49


@given(
    st.lists(st.sets(st.sampled_from(["user:1", "user:2", "kind:1"])), max_size=60),
    st.integers(1, 70),
    st.integers(1, 9),
    st.integers(1, 70),
    st.integers(1, 300),
    st.integers(0, 9),
    st.integers(1, 9),
)
@settings(max_examples=100, deadline=None)
def test_rounds_find_what_one_look_finds(
    events: list[set[str]], before: int, limit: int, work: int, size: int, skip: int, a_round: int
) -> None:
    made = Window()
    for seq, terms in enumerate(events, 1):
        made.append(Entry(seq, 0, tuple(terms), b"x" * (seq % 5)))
    wanted = Filter(((frozenset({"user:1"}), frozenset({"kind:1"})), (frozenset({"user:2"}),)))
    whole = made.backward(wanted, before, limit=limit, work=work, size=1 << 30, skip=skip)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamd.search, "_ROUND", a_round)
        found = asyncio.run(
            search(made, wanted, before, Bounds(limit, work, 1 << 30, skip), Turns())
        )
        sized = asyncio.run(search(made, wanted, before, Bounds(limit, work, size, skip), Turns()))
    assert found == whole._replace(reached=min(before, whole.reached))
    # By size a page may end early; by one entry it may be over, where a round ended just there.
    assert sized.entries == whole.entries[: len(sized.entries)]
    assert sum(len(entry.body) for entry in sized.entries[:-1]) <= size
    if len(sized.entries) < len(whole.entries):
        assert sum(len(e.body) for e in whole.entries[: len(sized.entries) + 1]) >= size


async def test_what_is_forgotten_meanwhile_is_not_claimed_to_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streamd.turns, "_ALLOWANCE", 1e-9)
    made = window(40_000)
    looking = asyncio.create_task(
        search(made, NEVER, 40_001, Bounds(20, 200_000, 1 << 20), Turns())
    )
    await asyncio.sleep(0)
    made.forget_below(39_000)
    found = await looking
    # The first round has seen what lies above; what is below 39,000 is for the store to show.
    assert found.reached <= 39_000
    assert found.looked == 1_000
    assert found.reached == 38_001 or found.reached == 38_002


async def test_what_is_appended_meanwhile_is_not_part_of_the_answer() -> None:
    made = window(20_000)
    looking = asyncio.create_task(
        search(made, NEVER, 20_001, Bounds(20, 200_000, 1 << 20), Turns())
    )
    await asyncio.sleep(0)
    made.append(Entry(20_001, 0, ("kind:a", "user:rare"), b"{}"))
    assert (await looking).entries == []
