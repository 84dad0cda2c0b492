"""One feed that everybody reads: against a plain server, and with one event at a time."""

from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.dialects import event
from benchmarks.figures import Figure, Outcome, Scale
from benchmarks.rigs import Rig, Step, Taken, figures, in_turns, plain_rig, ratio, streamd_rig

__all__ = ["BURST", "FEED", "USER", "burst", "feed"]

USER = 291
FEED = {"user": USER}
SUBSCRIBERS = 1_000
BURST = 8
BURSTS = 40
PRODUCERS = 16


def burst(subscribers: int, size: int) -> Step:
    """Return a burst of events that everybody gets."""
    return Step((event(USER),) * size, (range(subscribers),) * size)


def feed(scale: Scale) -> Iterator[Outcome]:
    """Measure bursts of one producer, single inserts of 16, and one event at a time."""
    subscribers = scale.size(SUBSCRIBERS)
    bursts = [burst(subscribers, BURST)] * scale.size(BURSTS)
    single = burst(subscribers, 1)

    def push_bursts(_: str, rig: Rig) -> Taken:
        return rig.push(bursts)

    def push_singles(_: str, rig: Rig) -> Taken:
        return rig.push([single] * scale.size(100))

    def insert(_: str, rig: Rig) -> Taken:
        return rig.insert(single, scale.size(40), PRODUCERS)

    with ExitStack() as stack:
        wanted = [FEED] * subscribers
        rigs = {
            "websockets": stack.enter_context(plain_rig(wanted)),
            "streamd": stack.enter_context(streamd_rig(wanted)),
        }
        for prefix, how, once, goal in (
            ("feed.bursts", f"bursts of {BURST}", push_bursts, 5.5),
            ("feed.inserts", f"{PRODUCERS} producers, each waiting", insert, 7.0),
            ("feed.single", "one event at a time", push_singles, None),
        ):
            taken = in_turns(scale, rigs, once)
            yield Figure(
                name=f"{prefix}.ratio",
                what=f"{how}: CPU per delivery, websockets ÷ streamd",
                unit="×",
                rounds=ratio(taken["websockets"], taken["streamd"]),
                at_least=goal,
                headline=True,
            )
            yield from figures(prefix, how, taken)
