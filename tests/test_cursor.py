"""streamd.cursor: one place, one text; and which places two chains share."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.cursor import Chain, Cursor, parse_cursor
from streamd.errors import InvalidParams

BASE64URL = string.ascii_letters + string.digits + "-_"
EPOCHS = st.text(BASE64URL, min_size=8, max_size=8)
SEQS = st.integers(0, 2**56 - 1)


@given(EPOCHS, SEQS)
@settings(deadline=None)
def test_a_cursor_survives_the_round_trip(epoch: str, seq: int) -> None:
    text = Chain(epoch).cursor(seq)
    assert parse_cursor(text, "after") == Cursor(epoch, seq)
    assert len(text) <= 64
    assert text.isascii()
    assert set(text) <= set(BASE64URL)


@given(EPOCHS, SEQS)
@settings(deadline=None)
def test_a_truncated_cursor_is_none(epoch: str, seq: int) -> None:
    text = Chain(epoch).cursor(seq)
    for length in range(len(text)):
        for part in (text[:length], text[length + 1 :], text[:length] + "=" * (20 - length)):
            with pytest.raises(InvalidParams):
                parse_cursor(part, "after")


@given(EPOCHS, SEQS)
@settings(max_examples=10, deadline=None)
def test_one_forged_character_never_names_another_place_of_the_epoch(epoch: str, seq: int) -> None:
    text = Chain(epoch).cursor(seq)
    for at in range(len(text)):
        for char in BASE64URL + "+/= \0é":
            if char == text[at]:
                continue
            forged = text[:at] + char + text[at + 1 :]
            try:
                named = parse_cursor(forged, "after")
            except InvalidParams:
                continue
            assert named.epoch != epoch, (text, forged)


@pytest.mark.parametrize(
    "value",
    [
        None, 7, 1.5, True, [], {}, "", "start ", "x" * 20, "A" * 20, " " * 20, "\0" * 20, "é" * 20,
        "A" * 21, "A" * 1_000_000, "🙂" * 20, "A" * 8 + "=" * 12, "A" * 8 + "\n" * 12,
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_cursor_is_refused_by_the_parameters_name(value: object) -> None:
    with pytest.raises(InvalidParams) as caught:
        parse_cursor(value, "before")
    assert "before" in caught.value.message
    assert caught.value.data == ({"reason": "cursor"} if isinstance(value, str) else None)
    assert len(caught.value.message) < 100


def test_a_cursor_with_the_alphabet_of_plain_base64_is_none() -> None:
    chain = Chain("epochepo")
    texts = [chain.cursor(seq) for seq in range(10_000)]
    for text in texts:
        plain = text.translate(str.maketrans("-_", "+/"))
        if plain != text:
            with pytest.raises(InvalidParams):
                parse_cursor(plain, "after")
    assert any("-" in text or "_" in text for text in texts)


# Chains, against a model: a log is a list of event numbers; a fork keeps its beginning.


class Model:
    """A log with its chain."""

    def __init__(self, number: int = 0) -> None:
        self.names = 0
        self.number = number
        self.log: list[int] = []
        self.chain = Chain(self._name())

    def _name(self) -> str:
        self.names += 1
        return f"{self.number:04}{self.names:04}"

    def append(self, number: int) -> None:
        for _ in range(number):
            self.number += 1
            self.log.append(self.number)

    def fork(self, kept: int) -> None:
        closed = []
        first = 1
        for epoch, last in (*self.chain.closed, (self.chain.epoch, len(self.log))):
            if first <= min(last, kept):
                closed.append((epoch, min(last, kept)))
            first = last + 1
        self.log = self.log[:kept]
        self.chain = Chain(self._name(), tuple(closed))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 4)),
        st.tuples(st.just("fork"), st.integers(0, 6)),
    ),
    max_size=8,
)


def histories(steps: list[tuple[str, int]]) -> list[tuple[Chain, list[int]]]:
    model = Model()
    states = [(model.chain, list(model.log))]
    for step, number in steps:
        if step == "append":
            model.append(number)
        else:
            model.fork(max(0, len(model.log) - number))
        states.append((model.chain, list(model.log)))
    return states


def common(one: list[int], other: list[int]) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_shared_is_where_two_logs_part(steps: list[tuple[str, int]]) -> None:
    states = histories(steps)
    for one, one_log in states:
        for other, other_log in states:
            shared = one.shared(other)
            least = min(len(one_log), len(other_log), -1 if shared is None else shared)
            assert max(least, 0) == common(one_log, other_log)
            assert shared == other.shared(one)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_a_chain_holds_the_cursors_of_its_own_events_and_of_no_other(
    steps: list[tuple[str, int]],
) -> None:
    states = histories(steps)
    chain, log = states[-1]
    names: dict[str, int] = {}
    for older, older_log in states:
        for seq, event in enumerate(older_log, 1):
            text = older.cursor(seq)
            assert names.setdefault(text, event) == event, "two events under one cursor"
            here = seq <= len(log) and log[seq - 1] == event
            cursor = parse_cursor(text, "after")
            # What lies ahead of the head is for the view to judge, which knows it.
            assert (chain.holds(cursor) and seq <= len(log)) == here
            if here:
                assert chain.cursor(seq) == text


def test_the_place_before_the_first_event_is_one_too() -> None:
    chain = Chain("bbbbbbbb", (("aaaaaaaa", 3),))
    text = chain.cursor(0)
    assert parse_cursor(text, "after") == Cursor("aaaaaaaa", 0)
    assert chain.holds(Cursor("aaaaaaaa", 0))
    assert not chain.holds(Cursor("bbbbbbbb", 0))


def test_chains_of_different_logs_share_nothing() -> None:
    assert Chain("aaaaaaaa").shared(Chain("bbbbbbbb")) is None
    assert Chain("aaaaaaaa", (("cccccccc", 3),)).shared(Chain("bbbbbbbb")) is None


def test_chains_are_equal_by_what_they_say() -> None:
    assert Chain("a", (("b", 1),)) == Chain("a", (("b", 1),))
    assert Chain("a", (("b", 1),)) != Chain("a", (("b", 2),))


# Forking.


def test_a_fork_closes_the_epoch_at_the_head() -> None:
    chain = Chain("aaaaaaaa").fork("bbbbbbbb", 5, 1)
    assert chain == Chain("bbbbbbbb", (("aaaaaaaa", 5),))
    assert chain.fork("cccccccc", 9, 1).closed == (("aaaaaaaa", 5), ("bbbbbbbb", 9))


def test_an_epoch_that_named_nothing_is_not_remembered_but_for_the_first() -> None:
    first = Chain("aaaaaaaa").fork("bbbbbbbb", 0, 1)
    assert first.closed == (("aaaaaaaa", 0),)
    assert first.fork("cccccccc", 0, 1).closed == (("aaaaaaaa", 0),)
    later = Chain("bbbbbbbb", (("aaaaaaaa", 5),))
    assert later.fork("cccccccc", 5, 1).closed == (("aaaaaaaa", 5),)


def test_epochs_whose_cursors_have_all_expired_are_forgotten() -> None:
    chain = Chain("cccccccc", (("aaaaaaaa", 5), ("bbbbbbbb", 9)))
    kept = chain.fork("dddddddd", 12, 6).closed
    assert kept == (("aaaaaaaa", 5), ("bbbbbbbb", 9), ("cccccccc", 12))
    assert chain.fork("dddddddd", 12, 7).closed == (("bbbbbbbb", 9), ("cccccccc", 12))
    assert chain.fork("dddddddd", 9, 11).closed == ()


@given(st.lists(st.tuples(st.integers(0, 20), EPOCHS), max_size=6, unique_by=lambda fork: fork[1]))
@settings(deadline=None)
def test_forks_never_rename_a_place(forks: list[tuple[int, str]]) -> None:
    chain, head = Chain("--------"), 0
    names: dict[int, str] = {}
    for inserted, epoch in forks:
        head += inserted
        names |= {seq: chain.cursor(seq) for seq in range(head + 1) if seq not in names}
        chain = chain.fork(epoch, head, 1)
        assert {seq: chain.cursor(seq) for seq in names} == names
