"""The Lua scripts of the Redis store, and the keys they work on.

All keys of a stream begin with its hash tag, so that a cluster keeps them in one slot: `{feed}meta`,
`{feed}log`, … and `{feed}:user:291` for the places of a term. A term has the name of a key before its
colon and nothing else begins with one, so no value can collide with another key.
"""

import re
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files

from streamd.types import Term

__all__ = [
    "APPEND",
    "EXPIRED",
    "MEND",
    "MESSAGE_BYTES",
    "MISSING",
    "OPEN",
    "PLACES",
    "READ",
    "REMOVE",
    "RESTORE",
    "RETAIN",
    "SCAN",
    "SEARCH",
    "STATE",
    "TERMS",
    "Names",
    "Script",
]


MESSAGE_BYTES = 1 << 20
"""Bytes of one message that tells of new entries, roughly; one entry may be larger."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script as Redis knows it: by its source, or by the digest of that once it was sent."""

    name: str
    source: bytes
    digest: str


def _load(name: str, *shared: str) -> Script:
    folder = files(__package__)
    own, *parts = [
        folder.joinpath(f"{each}.lua").read_bytes() for each in (name, "common", *shared)
    ]
    # The first line must stay the first: it says how Redis is to treat the script.
    first, _, rest = own.partition(b"\n")
    source = b"\n".join((first, *parts, rest))
    return Script(name, source, sha1(source, usedforsecurity=False).hexdigest())


OPEN = _load("open", "writing")
STATE = _load("state")
APPEND = _load("append", "writing")
SCAN = _load("scan")
SEARCH = _load("search")
RETAIN = _load("retain")
EXPIRED = _load("expired")
REMOVE = _load("remove")
RESTORE = _load("restore", "writing")
READ = _load("read")
MISSING = _load("missing")
TERMS = _load("terms")
PLACES = _load("places")
MEND = _load("mend", "writing")


class Names:
    """The keys of one stream, and its channel."""

    __slots__ = (
        "batches",
        "channel",
        "ids",
        "lease",
        "log",
        "meta",
        "old_batches",
        "old_ids",
        "pattern",
        "tag",
    )

    def __init__(self, stream: str, database: int) -> None:
        self.tag = tag = f"{{{stream}}}"
        self.meta = tag + "meta"
        """A hash: epoch, owner, chain, head, floor, what is removed, keys, schema, times."""
        self.log = tag + "log"
        """A sorted set: entries by place. Each begins with its place, so that equal events are two."""
        self.ids = tag + "ids"
        """A hash: places and digests by insert id, of the last lifetime or less."""
        self.old_ids = tag + "ids-old"
        """The same, of the lifetime before."""
        self.batches = tag + "batches"
        self.old_batches = tag + "batches-old"
        self.lease = tag + "lease"
        """Who removes what is no longer retained."""
        # Channels are the same in all databases of a server.
        self.channel = f"{tag}entries@{database}"
        self.pattern = re.sub(r"([][*?\\^-])", r"\\\1", self.term("")) + "*"
        """What the keys of all terms are like, for SCAN."""

    def term(self, term: Term) -> str:
        """Return the key of a term's places: a sorted set, the score being the place."""
        return f"{self.tag}:{term}"

    def term_of(self, name: str) -> Term:
        """Return the term of whose places this is the key."""
        return name[len(self.tag) + 1 :]
