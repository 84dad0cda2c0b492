"""The matcher by itself: an event's cost is that of its matches, whatever else is subscribed."""

import random
import time
from collections.abc import Iterator, Sequence

from benchmarks.figures import Figure, Outcome, Scale, ratios
from benchmarks.stores import read_filter
from streamd.matcher import Matcher
from streamd.types import Term

__all__ = ["matcher"]

_SUBSCRIPTIONS, _CORE = 50_000, 5_000
_VALUES = 200
_MATCHES = 100
"""How many subscriptions want an event of one user, on the average."""
_EVENTS = 2_000


def matcher(scale: Scale) -> Iterator[Outcome]:
    """Match the same events among few and among many subscriptions, in turns."""
    few, many = scale.size(_CORE), scale.size(_SUBSCRIPTIONS)
    acting = _users(0, few)
    events = _events(scale, acting)
    small, large = _Subscribed(), _Subscribed()
    for subscribed in (small, large):
        subscribed.add(few, acting)
    large.add(many - few, _users(len(acting), many - few))
    what = "the others want other users"
    yield from _compare(scale, "matcher.core", what, (small, events), (large, events), 1.2)
    del large
    # Now all users act, and there are the more of them, the more subscriptions there are.
    everybody = _users(0, many)
    large = _Subscribed()
    large.add(many, everybody)
    what = "as many times the users"
    pair = (small, events), (large, _events(scale, everybody))
    yield from _compare(scale, "matcher.grown", what, *pair, None)


def _users(first: int, subscriptions: int) -> range:
    """Return so many users that each is in the friend lists of 100 of these subscriptions."""
    return range(first, first + max(2 * _VALUES, subscriptions * _VALUES // _MATCHES))


def _events(scale: Scale, users: range) -> list[tuple[Term, ...]]:
    rng = random.Random(2)
    return [
        (f"user:{rng.choice(users)}", "kind:watch", f"repo:{rng.randrange(50_000)}")
        for _ in range(scale.size(_EVENTS))
    ]


class _Subscribed:
    """A matcher, and how it is filled."""

    def __init__(self) -> None:
        self._random = random.Random(1)
        self._matcher: Matcher[int] = Matcher(lambda term: 0)

    def __len__(self) -> int:
        return len(self._matcher)

    def add(self, subscriptions: int, users: range) -> None:
        for number in range(subscriptions):
            wanted = read_filter({"user": self._random.sample(users, _VALUES)})
            self._matcher.add(wanted, number)

    def match(self, events: Sequence[tuple[Term, ...]]) -> int:
        """Match all of them; return how many matches there were."""
        match = self._matcher.match
        return sum([len(match(terms)) for terms in events])


_Case = tuple[_Subscribed, list[tuple[Term, ...]]]


def _compare(
    scale: Scale, name: str, what: str, small: _Case, large: _Case, most: float | None
) -> Iterator[Figure]:
    events = len(small[1])
    seconds: tuple[list[float], list[float]] = ([], [])
    found = [0, 0]
    for _ in range(scale.rounds + 1):
        for number, (subscribed, asked) in enumerate((small, large)):
            begin = time.process_time()
            found[number] = subscribed.match(asked)
            seconds[number].append(time.process_time() - begin)
    warm = [each[1:] for each in seconds]
    sizes = (len(small[0]), len(large[0]))
    for which, size, taken, matches in zip(("few", "many"), sizes, warm, found, strict=True):
        yield Figure(
            name=f"{name}.match.{which}",
            what=f"one match of {matches / events:.1f} an event, {size:,} subscriptions of {_VALUES} users",
            unit="µs",
            rounds=[each / matches * 1e6 for each in taken],
            at_most=1.0 if which == "many" else None,
            headline=which == "many",
        )
    yield Figure(
        name=f"{name}.ratio",
        what=f"one event: {sizes[1]:,} ÷ {sizes[0]:,} subscriptions, {what}",
        unit="ratio",
        rounds=ratios(warm[1], warm[0]),
        at_most=most,
        headline=True,
    )
