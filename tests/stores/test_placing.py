"""streamd.stores.placing: which draft gets which number, and which was here before."""

from streamd.errors import InvalidParams
from streamd.log import Placed
from streamd.stores.placing import Placing
from tests.stores.worlds import draft

OLD = (Placed(3, 70, duplicate=True), draft({"user": 1}, "old").digest)


def placing() -> Placing:
    return Placing(10, 99, {"old": OLD}.get)


def test_new_drafts_get_the_next_numbers_and_one_time() -> None:
    batch = placing()
    assert batch.place([draft({"user": 1}), draft({"user": 2})]) == [
        Placed(11, 99, duplicate=False),
        Placed(12, 99, duplicate=False),
    ]
    assert batch.place([draft({"user": 3}, "new")]) == [Placed(13, 99, duplicate=False)]
    assert [(entry.seq, entry.time, entry.terms) for entry in batch.entries] == [
        (11, 99, ("user:1",)),
        (12, 99, ("user:2",)),
        (13, 99, ("user:3",)),
    ]
    digest = draft({"user": 3}, "new").digest
    assert batch.fresh == {"new": (Placed(13, 99, duplicate=True), digest)}


def test_what_is_known_takes_no_number() -> None:
    batch = placing()
    first, again = draft({"user": 5}, "new"), draft({"user": 1}, "old")
    assert batch.place([again, first, first, draft({"user": 6})]) == [
        OLD[0],
        Placed(11, 99, duplicate=False),
        Placed(11, 99, duplicate=True),
        Placed(12, 99, duplicate=False),
    ]
    assert batch.place([first]) == [Placed(11, 99, duplicate=True)]
    assert len(batch.entries) == 2


def test_a_refused_call_leaves_nothing() -> None:
    batch = placing()
    refused = batch.place([draft({"user": 2}, "new"), draft({"user": 2}, "old")])
    assert isinstance(refused, InvalidParams)
    assert refused.data == {"reason": "id_reused"}
    assert (batch.entries, batch.fresh) == ([], {})
    assert batch.place([draft({"user": 4}, "new")]) == [Placed(11, 99, duplicate=False)]
