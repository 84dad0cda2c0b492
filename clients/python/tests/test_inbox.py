from hypothesis import given
from hypothesis import strategies as st
from streamd_client.errors import PlaceLost
from streamd_client.inbox import MAX_BYTES, MAX_ENTRIES, Inbox
from streamd_client.values import Entry


def entry(n):
    return Entry(f"c{n}", n, {"n": n})


def gap():
    return PlaceLost(-32007, "gone", {"reason": "epoch"})


def test_the_cursor_moves_when_the_next_entry_is_asked_for():
    inbox = Inbox("c0")
    inbox.put(entry(1), 10)
    inbox.put(entry(2), 10)
    assert (inbox.cursor, inbox.position) == ("c0", "c2")
    assert inbox.take() == entry(1)
    assert inbox.cursor == "c0"
    assert inbox.take() == entry(2)
    assert inbox.cursor == "c1"
    assert inbox.take() is None
    assert inbox.cursor == "c2"


def test_progress_counts_only_when_all_before_it_is_finished():
    inbox = Inbox()
    inbox.mark("c1")
    assert inbox.cursor == "c1"
    inbox.put(entry(2), 10)
    inbox.mark("c5")
    inbox.mark("c9")
    assert (inbox.cursor, inbox.position) == ("c1", "c9")
    inbox.take()
    assert inbox.cursor == "c1"
    assert inbox.take() is None
    assert inbox.cursor == "c9"


def test_progress_waits_for_the_body_in_hand():
    inbox = Inbox()
    inbox.put(entry(1), 10)
    inbox.take()
    inbox.mark("c7")
    assert inbox.cursor is None
    assert inbox.take() is None
    assert inbox.cursor == "c7"


def test_marks_take_no_room():
    inbox = Inbox()
    inbox.put(entry(1), 10)
    for n in range(2, 10_000):
        inbox.mark(f"c{n}")
    assert len(inbox._items) == 2


def test_start_is_a_wish_and_not_a_cursor():
    inbox = Inbox("start")
    assert (inbox.cursor, inbox.position) == (None, "start")
    inbox.mark("c0")
    assert (inbox.cursor, inbox.position) == ("c0", "c0")


def test_entries_are_bounded_by_number():
    inbox = Inbox()
    for n in range(MAX_ENTRIES):
        assert inbox.has_room(1)
        inbox.put(entry(n), 1)
    assert not inbox.has_room(1)
    inbox.take()
    assert inbox.has_room(1)


def test_entries_are_bounded_by_bytes_but_one_always_fits():
    inbox = Inbox()
    assert inbox.has_room(MAX_BYTES + 1)
    inbox.put(entry(1), MAX_BYTES)
    assert not inbox.has_room(1)
    inbox.take()
    inbox.put(entry(2), MAX_BYTES - 1)
    assert inbox.has_room(1)
    assert not inbox.has_room(2)


def test_a_gap_comes_in_its_place_and_leaves_the_cursor_alone():
    inbox = Inbox()
    inbox.put(entry(1), 10)
    inbox.gap(lost := gap())
    assert inbox.position is None
    inbox.put(entry(5), 10)
    inbox.mark("c5")
    assert inbox.take() == entry(1)
    assert inbox.take() is lost
    assert inbox.cursor == "c1"
    assert inbox.take() == entry(5)
    assert inbox.take() is None
    assert inbox.cursor == "c5"


def test_a_gap_swallows_one_that_was_not_seen():
    inbox = Inbox()
    inbox.put(entry(1), 10)
    for n in range(2, 50):
        inbox.gap(gap())
        inbox.put(entry(n), 10)
        inbox.mark(f"c{n}")
    assert len(inbox) == 2
    assert inbox.take() == entry(1)
    assert isinstance(inbox.take(), PlaceLost)
    assert inbox.take() == entry(49)
    assert inbox.take() is None
    assert inbox.has_room(MAX_BYTES)


def test_clearing_keeps_the_cursor():
    inbox = Inbox("c0")
    inbox.put(entry(1), 10)
    inbox.clear()
    assert len(inbox) == 0
    assert inbox.take() is None
    assert inbox.cursor == "c0"


@given(st.lists(st.sampled_from(["put", "mark", "take"]), max_size=60))
def test_everything_put_is_taken_once_and_the_cursor_never_runs_ahead(steps):
    inbox, put, taken, finished = Inbox("c0"), [], [], 0

    def take():
        nonlocal finished
        finished = len(taken)
        if (item := inbox.take()) is not None:
            taken.append(item)

    for n, step in enumerate(steps, 1):
        if step == "put":
            inbox.put(entry(n), 1)
            put.append(entry(n))
        elif step == "mark":
            inbox.mark(f"c{n}")
        else:
            take()
        unfinished = put[finished:]
        assert inbox.position in {None, "c0"} | {f"c{i}" for i in range(1, n + 1)}
        if unfinished:
            assert int(inbox.cursor[1:]) < unfinished[0].time
    while len(taken) < len(put):
        take()
    assert taken == put
