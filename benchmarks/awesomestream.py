"""AwesomeStream 0.1's own way in Redis, as a reference: a list for every combination of keys."""

import itertools
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import redis

__all__ = ["AwesomeStream"]


class AwesomeStream:
    """Keep an event under its id, and its id in 2^k lists: one for all, one per combination of its k keys."""

    def __init__(self, client: redis.Redis, keys: Iterable[str]) -> None:
        self._client = client
        self._keys = sorted(keys)

    def insert(self, event: dict[str, Any]) -> None:
        """Store an event, a command at a time, as 0.1 did."""
        self._write(self._client, event)

    def insert_many(self, events: Iterable[dict[str, Any]]) -> None:
        """Store events by one pipeline, which 0.1 did not have."""
        pipeline = self._client.pipeline(transaction=False)
        for event in events:
            self._write(pipeline, event)
        pipeline.execute()

    def _write(self, client: redis.Redis, event: dict[str, Any]) -> None:
        ident = str(uuid.uuid1())
        place = orjson.dumps((time.time(), ident))
        client.set(ident, orjson.dumps(event))
        client.lpush("_all", place)
        given = [key for key in self._keys if event.get(key) is not None]
        for size in range(1, len(given) + 1):
            for names in itertools.combinations(given, size):
                client.lpush("-".join((*names, *(str(event[name]) for name in names))), place)

    def items(self, filter: dict[str, list[Any]], end: int) -> list[dict[str, Any]]:
        """Return the newest matching events, at least one key given: of each list so many, merged here."""
        found: dict[str, float] = {}
        for index in self._indexes(filter):
            for place in self._client.lrange(index, 0, end):
                when, ident = orjson.loads(place)
                found[ident] = when
        newest = sorted(found, key=found.__getitem__, reverse=True)[:end]
        return [orjson.loads(event) for event in self._client.mget(newest) if event]

    def _indexes(self, filter: dict[str, list[Any]]) -> Iterator[str]:
        names = sorted(filter)
        for values in itertools.product(*(filter[name] for name in names)):
            yield "-".join((*names, *map(str, values)))
