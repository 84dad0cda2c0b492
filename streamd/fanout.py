"""The fan-out: who gets what of a batch, and the frames made for them, each once."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from streamd import notifications
from streamd.filters import Filter
from streamd.log import Entry
from streamd.matcher import Matcher
from streamd.outbox import Frame
from streamd.subscription import Peer, Subscription
from streamd.types import Seq, Term

__all__ = ["Fanout", "Part", "Plan"]

_TURN = 0.005
"""Seconds of matching until others have their turn: an event may be for 50,000 filters, or for none."""

_SLICE = 64
"""Subscriptions between two looks at the clock."""


class _Turn:
    """The time until others are to have theirs. Subscriptions may come and go meanwhile."""

    __slots__ = ("_now", "_until")

    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._until = self._now() + _TURN

    @property
    def over(self) -> bool:
        return self._now() > self._until

    async def end(self) -> None:
        await asyncio.sleep(0)
        self._until = self._now() + _TURN


class _Group:
    """Subscriptions of one filter, one number and one way of framing: all get the same bytes."""

    __slots__ = ("members",)

    def __init__(self) -> None:
        self.members: dict[Subscription, None] = {}


class _Audience:
    """The subscriptions of one filter. Most filters have one alone, which then stands for itself."""

    __slots__ = ("groups", "wanted")

    def __init__(self, wanted: Filter) -> None:
        self.wanted = wanted
        self.groups: dict[tuple[int, Frame], _Group] = {}

    def add(self, sub: Subscription) -> None:
        way = sub.number, sub.peer.outbox.frame
        group = self.groups.get(way)
        if group is None:
            group = self.groups[way] = _Group()
        group.members[sub] = None

    def discard(self, sub: Subscription) -> None:
        way = sub.number, sub.peer.outbox.frame
        members = self.groups[way].members
        del members[sub]
        if not members:
            del self.groups[way]


Part = tuple[Subscription, bytes, int]
"""What a subscription gets of a batch: its frames, joined, and how many entries they are."""


class Plan:
    """What is to be written for a batch."""

    __slots__ = ("entries", "several", "singles", "size")

    def __init__(self) -> None:
        self.singles: list[Part] = []
        """For peers that have one subscription."""
        self.several: dict[Peer, list[Part]] = {}
        """For the others, put together: a batch is one write to a connection."""
        self.entries = 0
        """All that is to be written: an entry for three subscriptions is three."""
        self.size = 0
        """The bytes of all that."""

    def count(self, entries: int, size: int, times: int = 1) -> None:
        """Count what some subscriptions get, each the same; so many less than none do not get it after all."""
        self.entries += entries * times
        self.size += size * times

    def put(self, parts: Iterable[Part]) -> None:
        """Take in what some subscriptions get."""
        singles = self.singles
        for part in parts:
            peer = part[0].peer
            if len(peer.subscriptions) == 1:
                singles.append(part)
            else:
                self.several.setdefault(peer, []).append(part)


class Fanout:
    """Know the live subscriptions, and plan what a batch of the tail brings them."""

    def __init__(self, frequency: Callable[[Term], int], cursor: Callable[[Seq], str]) -> None:
        self._cursor = cursor
        self._matcher: Matcher[Subscription | _Audience] = Matcher(frequency)

    def __len__(self) -> int:
        return len(self._matcher)

    @property
    def num_postings(self) -> int:
        """The postings by which entries find subscriptions."""
        return self._matcher.num_postings

    def add(self, sub: Subscription) -> None:
        """Take in a subscription, whose filter becomes the one that equal ones share."""
        found = self._matcher.get(sub.wanted)
        if found is None:
            sub.wanted = self._matcher.add(sub.wanted, sub)
            return
        sub.wanted = found.wanted
        if isinstance(found, Subscription):
            audience = _Audience(found.wanted)
            audience.add(found)
            self._matcher.replace(sub.wanted, audience)
            found = audience
        found.add(sub)

    def discard(self, sub: Subscription) -> None:
        """Let a subscription go that was taken in."""
        found = self._matcher.get(sub.wanted)
        assert found is not None, "it was taken in"
        if isinstance(found, _Audience):
            found.discard(sub)
            if found.groups:
                return
        self._matcher.remove(sub.wanted)

    def frames(self, sub: Subscription, entries: Iterable[Entry]) -> bytes:
        """Return the frames of some entries for one subscription, joined."""
        frame, number = sub.peer.outbox.frame, sub.number
        return b"".join(
            [frame(notifications.event(number, self._params(entry))) for entry in entries]
        )

    def _params(self, entry: Entry) -> bytes:
        return notifications.event_params(entry, self._cursor(entry.seq))

    async def plan(self, entries: list[Entry]) -> Plan:
        """Return what is to be written; who comes or goes meanwhile is for the writer to see."""
        alone: dict[Subscription, list[bytes]] = {}
        groups: dict[_Group, list[bytes]] = {}
        turn = _Turn()
        for entry in entries:
            found = self._matcher.values(entry.terms)
            frames = _Frames(self._params(entry) if found else b"")
            for first in range(0, len(found), _SLICE):
                frames.collect(found[first : first + _SLICE], alone, groups)
                if turn.over:
                    await turn.end()
            if turn.over:
                await turn.end()
        return await _put_together(alone, groups, turn)


class _Frames:
    """The frames of one entry, each made once."""

    __slots__ = ("_made", "_params")

    def __init__(self, params: bytes) -> None:
        self._params = params
        self._made: dict[tuple[int, Frame], bytes] = {}

    def _make(self, number: int, frame: Frame) -> bytes:
        made = self._made[number, frame] = frame(notifications.event(number, self._params))
        return made

    def collect(
        self,
        found: list[Subscription | _Audience],
        alone: dict[Subscription, list[bytes]],
        groups: dict[_Group, list[bytes]],
    ) -> None:
        """Add them to what those who want the entry have of the batch so far."""
        made = self._made.get
        for audience in found:
            if isinstance(audience, Subscription):
                way = audience.number, audience.peer.outbox.frame
                frame = made(way) or self._make(*way)
                got = alone.get(audience)
                if got is None:
                    alone[audience] = [frame]
                else:
                    got.append(frame)
            else:
                for way, group in audience.groups.items():
                    groups.setdefault(group, []).append(made(way) or self._make(*way))


async def _put_together(
    alone: dict[Subscription, list[bytes]], groups: dict[_Group, list[bytes]], turn: _Turn
) -> Plan:
    plan = Plan()
    parts = _parts(alone, groups, plan)
    while some := list(islice(parts, _SLICE)):
        plan.put(some)
        if turn.over:
            await turn.end()
    return plan


def _parts(
    alone: dict[Subscription, list[bytes]], groups: dict[_Group, list[bytes]], plan: Plan
) -> Iterator[Part]:
    """Yield one part for each subscription: a second could follow the first on another way, or be doubled by it.

    The members of a group are counted together, which costs nothing for each.
    """
    for group, frames in groups.items():
        joined, entries = b"".join(frames), len(frames)
        members = list(group.members)
        plan.count(entries, len(joined), len(members))
        for sub in members:
            before = alone.get(sub)
            if before is None:
                yield sub, joined, entries
            else:
                before.extend(frames)  # Another has joined it in the middle of the batch.
                plan.count(entries, len(joined), -1)
    for sub, frames in alone.items():
        joined, entries = b"".join(frames), len(frames)
        plan.count(entries, len(joined))
        yield sub, joined, entries
