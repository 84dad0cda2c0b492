"""The hub of one worker: tail → window → matcher → connections.

Law of this file: it alone changes a subscription's state. A subscription that is LIVE has been sent
everything up to the hub's position, but for the part of a batch that is just going out: a batch
moves each member from the batch's start to its end in the slice that writes it. So a member that
became LIVE after the start (its `cursor` is greater) is left out; one that cannot be written to
becomes BEHIND with the start as its cursor, and is read forward when its socket drains.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from functools import partial

from streamd import notifications
from streamd.access import Access, is_likely
from streamd.catchup import CatchUp
from streamd.errors import (
    CallError,
    Forbidden,
    LimitExceeded,
    PlaceLost,
    UnknownSubscription,
)
from streamd.fanout import Fanout, Part, Plan
from streamd.filters import Filter
from streamd.limits import Limits
from streamd.log import Entry, Run
from streamd.meters import Meters
from streamd.outbox import Outbox
from streamd.progress import Progress
from streamd.subscription import Peer, State, Subscription, count_values
from streamd.turns import Turns
from streamd.types import Seq
from streamd.view import View

__all__ = ["Hub"]

logger = logging.getLogger("streamd.hub")

_PART_ENTRIES = 256
_PART_BYTES = 64 << 10
"""A batch is cut so that one write to a connection stays near its outbox's size."""

_SLICE = 200
"""Subscriptions written to between two looks at what else is to do."""

_VALUES = 5_000
"""Values of filters that are exchanged between two looks at what else is to do."""

_WRITE_BYTES = 128 << 10
"""Frames joined to one write. A peer with many subscriptions may fill its outbox in the middle of a batch."""

_Verdict = tuple[Subscription, Filter | CallError]
"""What a subscription is to get from now on, or why it is to end."""


class Hub:
    """Push what the tail brings to the subscriptions that want it."""

    def __init__(
        self,
        view: View,
        limits: Limits,
        turns: Turns | None = None,
        meters: Meters | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; `clock` tells the seconds since 1970, as the store's does that gives entries their time."""
        self._meters = meters or Meters()
        self._clock = clock
        self._view = view
        self._limits = limits
        self._turns = turns or Turns()
        self._fanout = Fanout(lambda term: view.window.index.frequency(term), view.cursor)
        self._peers: dict[Peer, None] = {}
        self._catch_up = CatchUp(
            view,
            frames=self._frames,
            go_live=self._go_live,
            lose=self._lose,
            turns=self._turns,
        )
        self._between_batches = asyncio.Lock()
        """Held while a batch goes out: nobody may be told of places meanwhile."""
        self._one_change = asyncio.Lock()
        """Held by those who wait for the other to change what many get: a batch waits for one of them at most."""
        self._progress = Progress(view, limits, self._between_batches)
        self._tasks: list[asyncio.Task[None]] = []
        self.heard = 0.0
        """When the tail last gave a sign of life, by the loop's clock."""

    # Lifecycle.

    def start(self) -> None:
        """Begin to follow the tail; the view is loaded."""
        self._catch_up.start()
        self.heard = asyncio.get_running_loop().time()
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
        now = asyncio.get_running_loop().time
        try:
            async with aclosing(self._view.follow()) as tail:
                async for run in tail:
                    self.heard = now()
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

    def subscribe(self, peer: Peer, wanted: Filter, asked: Filter | None = None) -> Subscription:
        """Give a subscription its number; it is PENDING, and counts against the limits.

        `wanted` is what it gets of what was `asked` for, which is kept to be judged again.

        Raise LimitExceeded for `subscriptions` and `connection_filter_values`.
        """
        self._limits.check("subscriptions", len(peer.subscriptions) + 1)
        asked = None if asked == wanted else asked
        values = peer.num_values + count_values(wanted, asked)
        self._limits.check("connection_filter_values", values)
        peer.last_number += 1
        sub = Subscription(peer, peer.last_number, wanted, asked)
        peer.subscriptions[sub.number] = sub
        peer.num_values = values
        self._meters.subscriptions.add()
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

    async def judge_again(self, peer: Peer, access: Access) -> None:
        """Narrow what a connection's subscriptions want anew: it may read something else.

        All that are LIVE change at one place in the log; those that are BEHIND where they are. One
        that may get nothing any more is told so; one for which nothing changes goes on.
        """
        subs = list(peer.subscriptions.values())
        verdicts = await self._turns.each(partial(_judge, access=access), subs)
        changed = [each for each in zip(subs, verdicts, strict=True) if each[0].wanted != each[1]]
        if not changed:
            return
        async with self._one_change, self._between_batches:
            async for sub, verdict in _in_slices(changed):
                if sub.state is not State.ENDED:
                    self._change(sub, verdict)

    def _change(self, sub: Subscription, verdict: Filter | CallError) -> None:
        """Let a subscription get something else from here on, or nothing."""
        if isinstance(verdict, CallError):
            self._lose(sub, verdict)
            return
        asked: Filter | None = sub.asked or sub.wanted
        asked = None if asked == verdict else asked
        values = sub.peer.num_values - sub.num_values + count_values(verdict, asked)
        try:
            self._limits.check("connection_filter_values", values)
        except LimitExceeded as error:
            self._lose(sub, error)
            return
        live = sub.state is State.LIVE
        if live:
            self._fanout.discard(sub)
        sub.peer.num_values = values
        sub.asked, sub.wanted = asked, verdict
        if live:
            self._fanout.add(sub)

    def abandon(self, sub: Subscription) -> None:
        """End a subscription whose answer could not be given."""
        self._end(sub)

    def _end(self, sub: Subscription) -> None:
        if sub.state is State.LIVE:
            self._fanout.discard(sub)
        elif sub.state is State.BEHIND:
            sub.peer.num_behind -= 1
        sub.state = State.ENDED
        if sub.peer.forget(sub):
            self._meters.subscriptions.add(-1)

    def _go_live(self, sub: Subscription) -> None:
        self._fanout.add(sub)
        sub.state = State.LIVE
        sub.cursor = self._view.position
        sub.peer.num_behind -= 1
        if sub.promised:
            sub.promised = False
            cursor = self._view.cursor(sub.cursor)
            sub.peer.outbox.send(notifications.progress(cursor, sub.number, live=True))

    def _fall_behind(self, sub: Subscription, cursor: Seq) -> None:
        self._fanout.discard(sub)
        sub.state = State.BEHIND
        sub.cursor = cursor
        sub.peer.num_behind += 1

    def _lose(self, sub: Subscription, error: CallError) -> None:
        """End a subscription whose place can't be kept, and say so."""
        if sub.state is State.PENDING:
            sub.lost = error
        elif sub.state is not State.ENDED:
            sub.peer.outbox.send(notifications.closed(sub.number, error))
        self._end(sub)

    # Pushing.

    async def _push(self, run: Run) -> None:
        start = self._view.position
        self._view.advance(run)
        plan = await self._fanout.plan(run.entries)
        self._meters.matched.add(plan.entries)
        await self._write_plan(plan, start)
        if plan.entries:
            self._meters.delivered.add(plan.entries)
            self._meters.sent_bytes.add(plan.size)
            age = self._clock() - run.entries[0].time / 1000
            self._meters.delivery.observe(max(age, 0.0), len(run.entries))

    async def _write_plan(self, plan: Plan, start: Seq) -> None:
        """Write what is planned; what a subscription does not get is taken out of the plan's count."""
        live = State.LIVE
        for first in range(0, len(plan.singles), _SLICE):
            if first:
                await asyncio.sleep(0)
            for sub, frames, entries in plan.singles[first : first + _SLICE]:
                outbox = sub.peer.outbox
                if sub.state is live and sub.cursor <= start and not outbox.paused:
                    outbox.write(frames)
                    sub.entries += entries
                    sub.size += len(frames)
                else:
                    plan.count(entries, len(frames), -1)
                    self._leave_out(sub, start)
        written = 0
        for peer, parts in plan.several.items():
            self._write(plan, peer, parts, start)
            written += len(parts)
            if written >= _SLICE:
                await asyncio.sleep(0)
                written = 0

    def _write(self, plan: Plan, peer: Peer, parts: list[Part], start: Seq) -> None:
        joined: list[bytes] = []
        size = 0
        for sub, frames, entries in parts:
            if sub.state is not State.LIVE or sub.cursor > start or peer.outbox.paused:
                plan.count(entries, len(frames), -1)
                self._leave_out(sub, start)
                continue
            joined.append(frames)
            sub.entries += entries
            sub.size += len(frames)
            size += len(frames)
            if size >= _WRITE_BYTES:
                peer.outbox.write(b"".join(joined))
                joined, size = [], 0
        if joined:
            peer.outbox.write(b"".join(joined))

    def _leave_out(self, sub: Subscription, start: Seq) -> None:
        """Let a subscription that the batch was for fall behind; others have their entries otherwise."""
        if sub.state is State.LIVE and sub.cursor <= start:
            self._fall_behind(sub, start)

    def _frames(self, sub: Subscription, entries: list[Entry]) -> bytes:
        """Return the frames of what a subscription that is behind is about to be sent."""
        frames = self._fanout.frames(sub, entries)
        sub.entries += len(entries)
        sub.size += len(frames)
        self._meters.delivered.add(len(entries))
        self._meters.sent_bytes.add(len(frames))
        return frames

    @property
    def num_postings(self) -> int:
        """The filter values by which entries find live subscriptions."""
        return self._fanout.num_postings

    # Losing places.

    async def _rewind(self, run: Run) -> None:
        """Go where a run begins that does not continue the view; tell those whose place is gone."""
        reached, forked = self._view.position, self._view.chain != run.state.chain
        error, kept = PlaceLost("epoch" if forked else "expired"), _kept(self._view, run)
        placed = [
            (sub, self._place(sub))
            for peer in self._peers
            for sub in peer.subscriptions.values()
            if sub.placed
        ]
        self._view.rewind(run.state, run.since)
        if forked:
            self._meters.epoch_changes.add()
            logger.warning("the log goes on under another epoch, from place %d on", run.since)
        if reached not in kept:
            logger.warning(
                "went from place %d to %d of the log: %s", reached, run.since, error.message
            )
        for count, (sub, place) in enumerate(placed, 1):
            if place not in kept:
                self._lose(sub, error)
            if count % _SLICE == 0:
                await asyncio.sleep(0)

    def _place(self, sub: Subscription) -> Seq:
        """Return up to where a subscription was sent everything."""
        return self._view.position if sub.state is State.LIVE else sub.cursor

    async def places(self, peer: Peer) -> dict[int, Seq]:
        """Return up to where each subscription of a connection was sent everything, by its number."""
        async with self._between_batches:
            subs = peer.subscriptions.values()
            return {sub.number: self._place(sub) for sub in subs if sub.placed}

    async def say_goodbye(self, peer: Peer, reconnect_after_ms: int) -> None:
        """Tell a connection how far it has got, and that the server stops."""
        async with self._between_batches:
            if peer.subscriptions and not peer.outbox.closed:
                self._progress.tell(peer, asyncio.get_running_loop().time())
            peer.outbox.send(notifications.shutdown(reconnect_after_ms))


def _judge(sub: Subscription, access: Access) -> Filter | CallError:
    """Return what a subscription is to get of what was asked for, or why it is to end."""
    try:
        wanted = access.narrow(sub.asked or sub.wanted)
    except CallError as error:
        return error
    if is_likely(sub.wanted) and not is_likely(wanted):
        return Forbidden("what this subscription asked for may not be read any more")
    return wanted


def _kept(view: View, run: Run) -> range:
    """Return the places that keep their meaning where a run does not continue the view."""
    if view.chain == run.state.chain:
        return range(run.since, view.position + run.since + 1)
    if view.chain.shared(run.state.chain) is None:
        return range(0)  # Another log: no place means what it did.
    return range(run.since + 1)


async def _in_slices(verdicts: list[_Verdict]) -> AsyncIterator[_Verdict]:
    """Yield verdicts, and let others have their turn after some thousand values of their subscriptions."""
    values = 0
    for each in verdicts:
        yield each
        values += each[0].wanted.num_values
        if values >= _VALUES:
            await asyncio.sleep(0)
            values = 0


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
