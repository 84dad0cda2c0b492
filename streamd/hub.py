"""The hub of one worker: tail → window → matcher → connections.

Law of this file: it alone changes a subscription's state. A subscription that is LIVE has been sent
everything up to the hub's position, but for the part of a batch that is just going out: a batch
moves each member from the batch's start to its end in the slice that writes it. So a member that
became LIVE after the start (its `cursor` is greater) is left out; one that cannot be written to
becomes BEHIND with the start as its cursor, and is read forward when its socket drains.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing

from streamd import notifications
from streamd.catchup import CatchUp
from streamd.errors import CallError, PlaceLost, UnknownSubscription
from streamd.filters import Filter
from streamd.limits import Limits
from streamd.log import Entry, Run
from streamd.matcher import Matcher
from streamd.outbox import Outbox
from streamd.progress import Progress
from streamd.subscription import Peer, State, Subscription
from streamd.types import Seq
from streamd.view import View

__all__ = ["Hub"]

logger = logging.getLogger("streamd.hub")

_PART_ENTRIES = 256
_PART_BYTES = 64 << 10
"""A batch is cut so that one write to a connection stays near its outbox's size."""

_SLICE = 200
"""Subscriptions written to between two looks at what else is to do."""

_TURN = 0.005
"""Seconds of matching between two such looks: an event may be for 50,000 filters, or for none."""

_WRITE_BYTES = 128 << 10
"""Frames joined to one write. A peer with many subscriptions may fill its outbox in the middle of a batch."""

Members = dict[Subscription, None]
Groups = dict[int, Members]
"""Subscriptions of one filter, by their number: all of one number get the same bytes."""


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


class Hub:
    """Push what the tail brings to the subscriptions that want it."""

    def __init__(self, view: View, limits: Limits, frame: Callable[[bytes], bytes]) -> None:
        self._view = view
        self._limits = limits
        self._frame = frame
        self._matcher: Matcher[tuple[Filter, Groups]] = Matcher(
            lambda term: view.window.frequency(term)
        )
        self._peers: dict[Peer, None] = {}
        self._catch_up = CatchUp(view, frames=self._frames, go_live=self._go_live, lose=self._lose)
        self._between_batches = asyncio.Lock()
        """Held while a batch goes out: nobody may be told of places meanwhile."""
        self._progress = Progress(view, limits, self._between_batches)
        self._tasks: list[asyncio.Task[None]] = []

    # Lifecycle.

    def start(self) -> None:
        """Begin to follow the tail; the view is loaded."""
        self._catch_up.start()
        self._tasks = [
            asyncio.create_task(self._follow(), name="hub: tail"),
            asyncio.create_task(self._progress.beat(self._peers), name="hub: progress"),
        ]

    @property
    def following(self) -> bool:
        """Whether the tail is being followed."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    async def aclose(self) -> None:
        """Stop following; idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._catch_up.aclose()

    async def _follow(self) -> None:
        try:
            async with aclosing(self._view.follow()) as tail:
                async for run in tail:
                    if not self._view.continues(run):
                        async with self._between_batches:
                            await self._rewind(run)
                    for part in _parts(run):
                        async with self._between_batches:
                            await self._push(part)
                    await asyncio.sleep(0)
        except Exception:
            # A tail ends by cancellation only: anything else is a defect, and must be seen.
            logger.critical(
                "the tail has ended; this worker pushes nothing any more", exc_info=True
            )
            raise

    # Membership.

    def join(self, outbox: Outbox) -> Peer:
        """Take in a connection."""
        peer = Peer(outbox)
        peer.told = self._view.position
        peer.told_at = asyncio.get_running_loop().time()
        self._peers[peer] = None
        return peer

    def leave(self, peer: Peer) -> None:
        """Let a connection go, with its subscriptions; idempotent."""
        self._peers.pop(peer, None)
        for sub in list(peer.subscriptions.values()):
            self._end(sub)

    def drained(self, peer: Peer) -> None:
        """Go on with a connection that takes bytes again."""
        if peer.num_behind:
            self._catch_up.add(peer)

    def subscribe(self, peer: Peer, wanted: Filter) -> Subscription:
        """Give a subscription its number; it is PENDING, and counts against the limits.

        Raise LimitExceeded for `subscriptions` and `connection_filter_values`.
        """
        self._limits.check("subscriptions", len(peer.subscriptions) + 1)
        self._limits.check("connection_filter_values", peer.num_values + wanted.num_values)
        peer.last_number += 1
        sub = Subscription(peer, peer.last_number, wanted)
        peer.subscriptions[sub.number] = sub
        peer.num_values += wanted.num_values
        return sub

    def activate(self, sub: Subscription) -> None:
        """Let entries after the subscription's cursor flow: its answer has been written."""
        if sub.lost is not None:
            sub.peer.outbox.send(notifications.closed(sub.number, sub.lost))
        elif sub.state is State.PENDING:
            sub.state = State.BEHIND
            sub.peer.num_behind += 1
            if sub.cursor == self._view.position:
                self._go_live(sub)
            else:
                self._catch_up.add(sub.peer)

    def unsubscribe(self, peer: Peer, number: int) -> None:
        """End a subscription: no entry of its number follows. Raise UnknownSubscription."""
        sub = peer.subscriptions.get(number)
        if sub is None:
            raise UnknownSubscription(
                f"this connection has no subscription {number}", subscription=number
            )
        self._end(sub)

    def abandon(self, sub: Subscription) -> None:
        """End a subscription whose answer could not be given."""
        self._end(sub)

    def _end(self, sub: Subscription) -> None:
        if sub.state is State.LIVE:
            self._discard(sub)
        elif sub.state is State.BEHIND:
            sub.peer.num_behind -= 1
        sub.state = State.ENDED
        if sub.peer.subscriptions.pop(sub.number, None) is not None:
            sub.peer.num_values -= sub.wanted.num_values

    def _go_live(self, sub: Subscription) -> None:
        found = self._matcher.get(sub.wanted)
        if found is None:
            found = (sub.wanted, {})
            self._matcher.add(sub.wanted, found)
        # Identical filters are stored once.
        sub.wanted = found[0]
        found[1].setdefault(sub.number, {})[sub] = None
        sub.state = State.LIVE
        sub.cursor = self._view.position
        sub.peer.num_behind -= 1
        if sub.promised:
            sub.promised = False
            cursor = self._view.cursor(sub.cursor)
            sub.peer.outbox.send(notifications.progress(cursor, sub.number, live=True))

    def _fall_behind(self, sub: Subscription, cursor: Seq) -> None:
        self._discard(sub)
        sub.state = State.BEHIND
        sub.cursor = cursor
        sub.peer.num_behind += 1

    def _discard(self, sub: Subscription) -> None:
        found = self._matcher.get(sub.wanted)
        assert found is not None, "a LIVE subscription is in the matcher"
        groups = found[1]
        members = groups[sub.number]
        del members[sub]
        if not members:
            del groups[sub.number]
            if not groups:
                self._matcher.remove(sub.wanted)

    def _lose(self, sub: Subscription, error: CallError) -> None:
        """End a subscription whose place can't be kept, and say so."""
        if sub.state is State.PENDING:
            sub.lost = error
        elif sub.state is not State.ENDED:
            sub.peer.outbox.send(notifications.closed(sub.number, error))
        self._end(sub)

    # Pushing.

    def _frames(self, sub: Subscription, entries: list[Entry]) -> bytes:
        frame, cursor = self._frame, self._view.cursor
        return b"".join(
            [
                frame(
                    notifications.event(
                        sub.number, notifications.event_params(entry, cursor(entry.seq))
                    )
                )
                for entry in entries
            ]
        )

    async def _push(self, run: Run) -> None:
        start = self._view.position
        self._view.advance(run)
        touched = await self._match(run.entries)
        if not touched:
            return
        if len(touched) == 1:
            members, frames = touched[0]
            plan: Iterable[tuple[Peer, list[tuple[Subscription, bytes]]]] = (
                (sub.peer, [(sub, frames)]) for sub in list(members)
            )
        else:
            plan = (await self._by_peer(touched)).items()
        written = 0
        for peer, parts in plan:
            self._write(peer, parts, start)
            written += len(parts)
            if written >= _SLICE:
                await asyncio.sleep(0)
                written = 0

    async def _match(self, entries: list[Entry]) -> list[tuple[Members, bytes]]:
        """Return each group that something is for, with all its frames joined."""
        found: dict[int, tuple[Members, list[bytes]]] = {}
        turn = _Turn()
        for entry in entries:
            params = b""
            frames: dict[int, bytes] = {}
            for _, groups in self._matcher.match(entry.terms):
                for number, members in groups.items():
                    frame = frames.get(number)
                    if frame is None:
                        params = params or notifications.event_params(
                            entry, self._view.cursor(entry.seq)
                        )
                        frame = frames[number] = self._frame(notifications.event(number, params))
                    group = found.get(id(members))
                    if group is None:
                        found[id(members)] = (members, [frame])
                    else:
                        group[1].append(frame)
                if turn.over:
                    await turn.end()
            if turn.over:
                await turn.end()
        touched: list[tuple[Members, bytes]] = []
        for members, group_frames in found.values():
            touched.append((members, b"".join(group_frames)))
            if turn.over:
                await turn.end()
        return touched

    @staticmethod
    async def _by_peer(
        touched: list[tuple[Members, bytes]],
    ) -> dict[Peer, list[tuple[Subscription, bytes]]]:
        plan: dict[Peer, list[tuple[Subscription, bytes]]] = {}
        turn = _Turn()
        for members, frames in touched:
            for sub in members:
                parts = plan.get(sub.peer)
                if parts is None:
                    plan[sub.peer] = [(sub, frames)]
                else:
                    parts.append((sub, frames))
            if turn.over:
                await turn.end()
        return plan

    def _write(self, peer: Peer, parts: list[tuple[Subscription, bytes]], start: Seq) -> None:
        due = [part for part in parts if part[0].state is State.LIVE and part[0].cursor <= start]
        if not due:
            return
        if len(due) == 1 and not peer.outbox.paused:
            peer.outbox.write(due[0][1])
            return
        joined: list[bytes] = []
        size = 0
        for sub, frames in due:
            if peer.outbox.paused:
                self._fall_behind(sub, start)
                continue
            joined.append(frames)
            size += len(frames)
            if size >= _WRITE_BYTES:
                peer.outbox.write(b"".join(joined))
                joined, size = [], 0
        if joined:
            peer.outbox.write(b"".join(joined))

    # Losing places.

    async def _rewind(self, run: Run) -> None:
        """Go where a run begins that does not continue the view; tell those whose place is gone."""
        reached, chain = self._view.position, self._view.chain
        self._view.rewind(run.state, run.since)
        forked = chain != run.state.chain
        error = PlaceLost("epoch" if forked else "expired")
        first, last = 0, run.since
        if forked and chain.shared(run.state.chain) is None:
            last = -1  # Another log: no place means what it did.
        elif not forked:
            first, last = run.since, reached + run.since
        if not first <= reached <= last:
            logger.warning(
                "went from place %d to %d of the log: %s", reached, run.since, error.message
            )
        places = [
            (sub, reached if sub.state is State.LIVE else sub.cursor)
            for peer in self._peers
            for sub in peer.subscriptions.values()
            if sub.placed
        ]
        for count, (sub, place) in enumerate(places, 1):
            if not first <= place <= last:
                self._lose(sub, error)
            if count % _SLICE == 0:
                await asyncio.sleep(0)

    async def say_goodbye(self, peer: Peer, reconnect_after_ms: int) -> None:
        """Tell a connection how far it has got, and that the server stops."""
        async with self._between_batches:
            if peer.subscriptions and not peer.outbox.closed:
                self._progress.tell(peer, asyncio.get_running_loop().time())
            peer.outbox.send(notifications.shutdown(reconnect_after_ms))


def _parts(run: Run) -> Iterator[Run]:
    """Cut a run into parts of a size that fits an outbox."""
    since, part, size = run.since, [], 0
    for entry in run.entries:
        part.append(entry)
        size += len(entry.body)
        if len(part) >= _PART_ENTRIES or size >= _PART_BYTES:
            yield Run(run.state, since, part, entry.seq)
            since, part, size = entry.seq, [], 0
    if part or since < run.upto:
        yield Run(run.state, since, part, run.upto)
