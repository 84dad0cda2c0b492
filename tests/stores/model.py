"""A store as a plain list, and strategies for what is done to it: the contract suite compares."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from streamd.errors import InvalidParams
from streamd.filters import EVERYTHING, Filter
from streamd.log import Draft, Page, Placed, Run
from streamd.stores.base import Bounds, Verdict
from tests.stores.worlds import draft, places

__all__ = ["Append", "Model", "ReadAfter", "ReadNewest", "actions"]


@dataclass
class Model:
    """What a log must contain after what was done to it."""

    drafts: list[Draft] = field(default_factory=list)
    """The draft at place n is the item n - 1."""
    ids: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    most: int | None = None

    @property
    def floor(self) -> int:
        return max(1, len(self.drafts) + 1 - self.most) if self.most else 1

    def append(self, call: list[Draft]) -> list[tuple[int, bool]] | None:
        """Return place and duplicate of each draft, or None if the call must be refused."""
        placed: list[tuple[int, bool]] = []
        fresh: list[Draft] = []
        ids = dict(self.ids)
        for item in call:
            if item.id is not None and item.id in ids:
                seq, digest = ids[item.id]
                if digest != item.digest:
                    return None
                placed.append((seq, True))
                continue
            fresh.append(item)
            seq = len(self.drafts) + len(fresh)
            if item.id is not None:
                ids[item.id] = (seq, item.digest)
            placed.append((seq, False))
        self.drafts += fresh
        self.ids = ids
        return placed

    def matching(self, wanted: Filter, low: int, high: int) -> list[int]:
        """Return the matching places from `low` to `high`, oldest first."""
        low, high = max(low, self.floor), min(high, len(self.drafts))
        return [n for n in range(low, high + 1) if wanted.matches(self.drafts[n - 1].terms)]

    def size(self, seqs: list[int]) -> int:
        """Return the bytes of some bodies."""
        return sum(len(self.drafts[n - 1].body) for n in seqs)


@dataclass(frozen=True)
class Append:
    """Append a batch, perhaps twice."""

    calls: list[list[Draft]]
    repeat: bool

    def check(self, model: Model, verdicts: list[Verdict]) -> None:
        assert len(verdicts) == len(self.calls)
        for call, verdict in zip(self.calls, verdicts, strict=True):
            expected = model.append(call)
            if expected is None:
                assert isinstance(verdict, InvalidParams)
            else:
                assert isinstance(verdict, list)
                assert all(isinstance(placed, Placed) for placed in verdict)
                assert [(placed.seq, placed.duplicate) for placed in verdict] == expected


@dataclass(frozen=True)
class ReadNewest:
    """Read a page."""

    wanted: Filter
    bounds: Bounds
    before: int | None

    def check(self, model: Model, page: Page) -> None:
        head = len(model.drafts)
        assert (page.state.head, page.state.floor) == (head, model.floor)
        top = head if self.before is None else min(head, self.before - 1)
        every = model.matching(self.wanted, 1, top)[::-1]
        down_to = page.before if page.before is not None else 1
        seen = [seq for seq in every if seq >= down_to]
        found = places(page.entries)
        assert found == seen[self.bounds.skip :]
        assert len(found) <= self.bounds.limit
        assert model.size(found) <= self.bounds.size or len(found) == 1
        for entry in page.entries:
            stored = model.drafts[entry.seq - 1]
            assert (entry.terms, entry.body) == (stored.terms, stored.body)
        if page.before is None:
            return
        assert model.floor < page.before <= max(top + 1, self.before or 0)
        full = len(found) == self.bounds.limit
        rest = every[self.bounds.skip + len(found) :]
        too_large = bool(rest) and model.size([*found, rest[0]]) > self.bounds.size
        assert full or too_large or page.exhausted
        if page.exhausted:
            assert self.bounds.work < max(top - model.floor + 1, 1) or too_large


@dataclass(frozen=True)
class ReadAfter:
    """Read a run."""

    wanted: Filter
    bounds: Bounds
    since: int

    def check(self, model: Model, run: Run) -> None:
        head = len(model.drafts)
        assert (run.state.head, run.state.floor) == (head, model.floor)
        assert run.since == self.since
        if not model.floor - 1 <= self.since <= head:
            assert (run.upto, run.entries) == (self.since, [])
            return
        found = places(run.entries)
        assert found == model.matching(self.wanted, self.since + 1, run.upto)
        assert run.upto <= head
        assert run.upto > self.since or self.since == head
        assert len(found) <= self.bounds.limit
        assert model.size(found) <= self.bounds.size or len(found) == 1


_VALUES: dict[str, list[Any]] = {
    "user": [1, 2, 3, 4, "x:{}*\n"],
    "kind": ["a", True],
    "tag": ["p", "q", "r"],
}


@st.composite
def _drafts(draw: st.DrawFn) -> Draft:
    event = {
        "user": draw(st.sampled_from([None, *_VALUES["user"]])),
        "kind": draw(st.sampled_from(_VALUES["kind"])),
        "tags": draw(st.lists(st.sampled_from(_VALUES["tag"]), max_size=3)),
        "text": "x" * draw(st.sampled_from([0, 1, 50])),
    }
    return draft(event, draw(st.sampled_from([None, None, None, "a", "b", "c"])))


@st.composite
def _filters(draw: st.DrawFn) -> Filter:
    def clause() -> tuple[frozenset[str], ...]:
        # A key may be named twice: once by the caller, and once by a grant.
        names = [name for name in [*_VALUES, "tag", "user"] if draw(st.booleans())]
        return tuple(
            frozenset(
                f"{name}:{'true' if value is True else value}"
                for value in draw(st.lists(st.sampled_from([*_VALUES[name], "none"]), min_size=1))
            )
            for name in names
        )

    if draw(st.integers(0, 4)) == 0:
        return EVERYTHING
    return Filter(tuple(clause() for _ in range(draw(st.integers(0, 3)))))


_bounds = st.builds(
    Bounds,
    limit=st.sampled_from([1, 2, 5, 1_000]),
    work=st.sampled_from([1, 3, 10, 200_000]),
    size=st.sampled_from([1, 100, 300, 1 << 20]),
    skip=st.sampled_from([0, 0, 1, 4]),
)
_seqs = st.integers(0, 40)

actions = st.lists(
    st.one_of(
        st.builds(
            Append,
            st.lists(st.lists(_drafts(), min_size=1, max_size=4), min_size=1, max_size=4),
            st.booleans(),
        ),
        st.builds(ReadNewest, _filters(), _bounds, st.one_of(st.none(), _seqs)),
        st.builds(ReadAfter, _filters(), _bounds.map(lambda b: b._replace(skip=0)), _seqs),
    ),
    min_size=1,
    max_size=25,
)
"""Things to do to a store, in order."""
