"""What costs what inside, without sockets: the matcher and the window."""

import random
import statistics
import time
from collections.abc import Callable

from streamd.filters import Filter
from streamd.log import Entry
from streamd.matcher import Matcher
from streamd.window import Window

Row = dict[str, object]

ROUNDS = 5


def per_call(call: Callable[[], object], times: int) -> list[float]:
    """Return the seconds per call of some rounds."""
    rounds = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(times):
            call()
        rounds.append((time.process_time() - begin) / times)
    return rounds


def friends(rng: random.Random, users: int, count: int) -> Filter:
    """Return the filter of one who has `count` of `users` as friends."""
    return Filter(((frozenset(f"user:{rng.randrange(users)}" for _ in range(count)),),))


def matcher() -> list[Row]:
    """Measure a match at two numbers of subscriptions, with the same number of matches an event."""
    rows: list[Row] = []
    for subscriptions in (5_000, 50_000):
        rng = random.Random(1)
        index: Matcher[int] = Matcher(lambda term: 0)
        users = subscriptions * 2  # So an event has 100 matches in both.
        for number in range(subscriptions):
            index.add(friends(rng, users, 200), number)
        events = [(f"user:{rng.randrange(users)}", "kind:watch") for _ in range(500)]
        matches = sum(len(index.match(terms)) for terms in events)
        rounds = per_call(lambda: [index.match(terms) for terms in events], 1)  # noqa: B023 - called at once
        rows.append(
            {
                "name": f"one match, {subscriptions:,} subscriptions",
                "unit": "µs",
                "value": statistics.median(rounds) / matches * 1e6,
                "least": min(rounds) / matches * 1e6,
                "most": max(rounds) / matches * 1e6,
            }
        )
    return rows


def window() -> list[Row]:
    """Measure the newest 20 of 500 friends."""
    rng = random.Random(1)
    held = Window()
    for seq in range(1, 100_001):
        terms = (f"user:{rng.randrange(10_000)}", f"kind:{rng.randrange(5)}")
        held.append(Entry(seq, seq, terms, b"x" * 200))
    wanted = friends(rng, 10_000, 500)
    with_kind = Filter(((wanted.clauses[0][0], frozenset(["kind:1"])),))
    rows: list[Row] = []
    for name, asked in (("", wanted), (", AND one of five kinds", with_kind)):
        rounds = per_call(
            lambda: held.backward(asked, held.high + 1, limit=20, work=200_000, size=1 << 22),  # noqa: B023 - called at once
            100,
        )
        rows.append(
            {
                "name": f"newest 20 of 500 friends{name}",
                "unit": "µs",
                "value": statistics.median(rounds) * 1e6,
                "least": min(rounds) * 1e6,
                "most": max(rounds) * 1e6,
            }
        )
    return rows
