"""Every subscriber has a list of friends of his own, so nearly every delivery is a write of its own."""

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import accumulate

from benchmarks.dialects import event
from benchmarks.feed import BURST, FEED, burst
from benchmarks.figures import Figure, Outcome, Scale, Skipped, ratios
from benchmarks.load import open_files
from benchmarks.rigs import Step, bare_rig, figures, in_turns, ratio, streamd_rig

__all__ = ["lists", "lists_of_friends", "single_steps", "workers"]

USERS = 100_000
SUBSCRIBERS = 10_000
FRIENDS = 200
EXPONENT = 0.6
"""Of Zipf's law, for friends and for actors: the n-th user comes with a weight of n ** -0.6."""
EVENTS = 400
_FIRST = 100_000
"""The least user's number: all numbers, and so all frames of events, are of the same length."""

_WEIGHTS = list(accumulate(number**-EXPONENT for number in range(1, USERS + 1)))
_NUMBERS = range(_FIRST, _FIRST + USERS)


def _draw(rng: random.Random, count: int) -> list[int]:
    return rng.choices(_NUMBERS, cum_weights=_WEIGHTS, k=count)


def _friends(rng: random.Random) -> list[int]:
    drawn: dict[int, None] = {}
    while len(drawn) < FRIENDS:
        drawn |= dict.fromkeys(_draw(rng, FRIENDS))
    return list(drawn)[:FRIENDS]


def lists_of_friends(subscribers: int) -> list[list[int]]:
    """Return each subscriber's friends: always the same ones."""
    rng = random.Random(1)
    return [_friends(rng) for _ in range(subscribers)]


def single_steps(friends: Sequence[Sequence[int]], events: int) -> list[Step]:
    """Return events one by one, with their readers as looking through all lists finds them."""
    everybody = [frozenset(each) for each in friends]
    actors = _draw(random.Random(2), events)
    readers = [
        [number for number, each in enumerate(everybody) if actor in each] for actor in actors
    ]
    return [Step((event(actor),), (each,)) for actor, each in zip(actors, readers, strict=True)]


def _join(steps: Sequence[Step], size: int) -> list[Step]:
    """Return the same events in bursts."""
    return [
        Step(
            tuple(event for step in steps[first : first + size] for event in step.events),
            tuple(readers for step in steps[first : first + size] for readers in step.readers),
        )
        for first in range(0, len(steps), size)
    ]


def lists(scale: Scale) -> Iterator[Outcome]:
    """Measure own lists against one feed, one event at a time; then the same events in bursts."""
    if (allowed := open_files()) < SUBSCRIBERS + 500:
        yield Skipped("lists", f"needs {SUBSCRIBERS + 500:,} open files, {allowed:,} are allowed")
        return
    subscribers = scale.size(SUBSCRIBERS)
    friends = lists_of_friends(subscribers)
    steps = single_steps(friends, scale.size(EVENTS))
    small = scale.size(1_000)
    work = {
        "lists": steps,
        "feed": [burst(small, 1)] * scale.size(100),
        "large": [burst(subscribers, 1)] * scale.size(30),
        "bare": steps,
    }
    yield _matches(steps)
    with ExitStack() as stack:
        rigs = {
            "lists": stack.enter_context(streamd_rig([{"user": each} for each in friends])),
            "feed": stack.enter_context(streamd_rig([FEED] * small)),
            "large": stack.enter_context(streamd_rig([FEED] * subscribers)),
            "bare": stack.enter_context(bare_rig(subscribers)),
        }
        taken = in_turns(scale, rigs, lambda name, rig: rig.push(work[name]))
        bursts = in_turns(
            scale, {"lists": rigs["lists"]}, lambda _, rig: rig.push(_join(steps, BURST))
        )
    how = "one event at a time"
    for name, below, other, goal in (
        ("ratio", "feed", f"one feed of {small:,}", 1.3),
        ("ratio.large", "large", f"one feed of {subscribers:,}", None),
        ("ratio.bare", "bare", "bare writes of the same bytes to the same sockets", None),
    ):
        yield Figure(
            name=f"lists.{name}",
            what=f"{how}: CPU per delivery, {subscribers:,} lists ÷ {other}",
            unit="×",
            rounds=ratio(taken["lists"], taken[below]),
            at_most=goal,
            headline=True,
        )
    yield Figure(
        name="lists.bare.ratio",
        what=f"{how}: CPU per delivery, bare writes as of {subscribers:,} lists ÷ "
        f"one feed of {small:,}",
        unit="×",
        rounds=ratio(taken["bare"], taken["feed"]),
        headline=True,
    )
    yield Figure(
        name="lists.bursts.ratio",
        what=f"bursts of {BURST}: CPU per delivery, {subscribers:,} lists ÷ one feed of "
        f"{small:,}, one event at a time",
        unit="×",
        rounds=ratio(bursts["lists"], taken["feed"]),
        headline=True,
    )
    yield from figures("lists", how, taken)
    yield from figures("lists.bursts", f"bursts of {BURST}", bursts)


def _matches(steps: Sequence[Step]) -> Figure:
    counts = [float(len(step.readers[0])) for step in steps]
    return Figure(
        name="lists.matches",
        what="own lists: subscribers that an event is for",
        unit="",
        rounds=[sum(counts) / len(counts)],
    )


def workers(scale: Scale) -> Iterator[Outcome]:
    """Measure own lists with two workers against one, both on Redis."""
    if (cores := os.cpu_count() or 1) < 4:
        yield Skipped("workers", f"no core is left for load and Redis: {cores} of 4 needed")
        return
    yield from _workers(scale)


def _workers(scale: Scale) -> Iterator[Outcome]:
    # Of the tests' services, which start and end it.
    from tests.services import RedisServer

    friends = lists_of_friends(scale.size(SUBSCRIBERS))
    wanted = [{"user": each} for each in friends]
    bursts = _join(single_steps(friends, scale.size(EVENTS)), BURST)
    redis = RedisServer().start()
    try:
        with ExitStack() as stack:
            rigs = {
                f"{number} worker(s)": stack.enter_context(
                    streamd_rig(wanted, redis.url, "--stream", name, "--workers", str(number))
                )
                for number, name in ((1, "one"), (2, "two"))
            }
            taken = in_turns(scale, rigs, lambda _, rig: rig.push(bursts, ahead=8))
    finally:
        redis.close()
    one, two = taken.values()
    yield Figure(
        name="workers.ratio",
        what="own lists through Redis: deliveries by the clock, two workers ÷ one",
        unit="×",
        rounds=ratios([each.rate for each in two], [each.rate for each in one]),
        headline=True,
    )
    yield from figures("workers", "own lists through Redis", taken)
