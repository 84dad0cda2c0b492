"""The fan-out: who gets what of a batch, and the frames made for them, each once."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple, TypeVar

from streamd import notifications
from streamd.filters import Filter
from streamd.log import Entry
from streamd.matcher import Matcher
from streamd.outbox import Frame
from streamd.subscription import Peer, Subscription
from streamd.types import Seq, Term

__all__ = ["Fanout", "Part", "Plan"]

T = TypeVar("T")

_TURN = 0.005
"""Seconds of matching until others have their turn: an event may be for 50,000 filters, or for none."""

_LOOKS = 64
"""Subscriptions between two looks at the clock."""


class _Turn:
    """The time until others are to have theirs. Subscriptions may come and go meanwhile."""

    __slots__ = ("_looks", "_now", "_until")

    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._until = self._now() + _TURN
        self._looks = 0

    def over(self, work: int) -> bool:
        """Tell whether it is, after so much more work."""
        self._looks += work
        if self._looks < _LOOKS:
            return False
        self._looks = 0
        return self._now() > self._until

    async def end(self) -> None:
        await asyncio.sleep(0)
        self._until = self._now() + _TURN


class _Group:
    """Subscriptions of one filter, one number and one way of framing: all get the same bytes."""

    __slots__ = ("frame", "members", "number")

    def __init__(self, number: int, frame: Frame) -> None:
        self.number = number
        self.frame = frame
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
            group = self.groups[way] = _Group(*way)
        group.members[sub] = None

    def discard(self, sub: Subscription) -> None:
        way = sub.number, sub.peer.outbox.frame
        members = self.groups[way].members
        del members[sub]
        if not members:
            del self.groups[way]


Part = tuple[Subscription, bytes]
"""What a subscription gets of a batch: its frames, joined."""


class Plan(NamedTuple):
    """What is to be written for a batch."""

    singles: list[Part]
    """For peers that have one subscription."""
    several: dict[Peer, list[Part]]
    """For the others, put together: a batch is one write to a connection."""

    def put(self, sub: Subscription, frames: bytes) -> None:
        """Take in what a subscription gets."""
        if len(sub.peer.subscriptions) == 1:
            self.singles.append((sub, frames))
        else:
            self.several.setdefault(sub.peer, []).append((sub, frames))


class Fanout:
    """Know the live subscriptions, and plan what a batch of the tail brings them."""

    def __init__(self, frequency: Callable[[Term], int], cursor: Callable[[Seq], str]) -> None:
        self._cursor = cursor
        self._matcher: Matcher[Subscription | _Audience] = Matcher(frequency)

    def __len__(self) -> int:
        return len(self._matcher)

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
            found = self._audiences(entry.terms)
            frames: dict[tuple[int, Frame], bytes] = {}
            params = self._params(entry) if found else b""
            for audience in found:
                if isinstance(audience, Subscription):
                    frame = _frame(frames, params, audience.number, audience.peer.outbox.frame)
                    _collect(alone, audience, frame)
                else:
                    for group in audience.groups.values():
                        frame = _frame(frames, params, group.number, group.frame)
                        _collect(groups, group, frame)
                if turn.over(1):
                    await turn.end()
            if turn.over(1):
                await turn.end()
        return await _put_together(alone, groups, turn)

    def _audiences(self, terms: Collection[Term]) -> list[Subscription | _Audience]:
        value = self._matcher.__getitem__
        numbers = self._matcher.match(terms)
        return [found for number in numbers if (found := value(number)) is not None]


def _frame(made: dict[tuple[int, Frame], bytes], params: bytes, number: int, frame: Frame) -> bytes:
    """Return an entry's frame for a number and a way of framing, made once."""
    found = made.get((number, frame))
    if found is None:
        found = made[number, frame] = frame(notifications.event(number, params))
    return found


def _collect(frames: dict[T, list[bytes]], of: T, frame: bytes) -> None:
    found = frames.get(of)
    if found is None:
        frames[of] = [frame]
    else:
        found.append(frame)


async def _put_together(
    alone: dict[Subscription, list[bytes]], groups: dict[_Group, list[bytes]], turn: _Turn
) -> Plan:
    plan = Plan([], {})
    for sub, frames in alone.items():
        plan.put(sub, b"".join(frames))
        if turn.over(1):
            await turn.end()
    for group, frames in groups.items():
        joined = b"".join(frames)
        for sub in list(group.members):
            plan.put(sub, joined)
            if turn.over(1):
                await turn.end()
    return plan
