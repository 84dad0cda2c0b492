"""The tables, and how those of an older version become those of this one."""

from collections.abc import Awaitable, Callable, Mapping

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from streamd.stores.failure import Failure

__all__ = [
    "BATCHES",
    "INDEX",
    "INSERT_IDS",
    "LOG",
    "STREAMS",
    "SWEEPS",
    "VERSION",
    "create",
    "is_there",
]

VERSION = 1
"""The form of the tables; what reads or writes them otherwise needs another number, and a migration."""

MIGRATIONS: Mapping[int, Callable[[AsyncConnection], Awaitable[None]]] = {}
"""By the version that it starts from: what makes the tables those of the next."""

_TABLES = MetaData()
# Compared and ordered by their bytes, as Python does, whatever language the database was set up for.
_Text = String().with_variant(String(collation="C"), "postgresql")

_SCHEMA = Table("streamd_schema", _TABLES, Column("version", Integer, primary_key=True))

STREAMS = Table(
    "streamd_streams",
    _TABLES,
    Column("id", Integer, primary_key=True),
    Column("name", _Text, nullable=False, unique=True),
    Column("keys", _Text, nullable=False),
    Column("epoch", _Text, nullable=False),
    Column("chain", _Text, nullable=False),  # `epoch:last epoch:last …`, the oldest first
    Column("owner", _Text, nullable=False),  # the tenure of the server that handed out numbers last
    Column("head", BigInteger, nullable=False),
    Column("floor", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),  # of the newest entry, in ms
)
"""The head row of each stream: whoever writes to it holds it until its transaction ends. So numbers
have no holes, and the order of commits is their order."""


def _stream() -> Column[int]:
    return Column("stream", Integer, primary_key=True, autoincrement=False)


LOG = Table(
    "streamd_log",
    _TABLES,
    # The stream's number and the place in one: by it alone SQLite keeps rows in their order.
    Column(
        "id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    ),
    Column("time", BigInteger, nullable=False),
    Column("terms", LargeBinary, nullable=False),  # divided by NUL
    Column("body", LargeBinary, nullable=False),
)
INDEX = Table(
    "streamd_index",
    _TABLES,
    _stream(),
    Column("term", _Text, primary_key=True),  # key:value
    Column("seq", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)
INSERT_IDS = Table(
    "streamd_insert_ids",
    _TABLES,
    _stream(),
    Column("id", _Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
Index("streamd_insert_ids_by_time", INSERT_IDS.c.stream, INSERT_IDS.c.time)
BATCHES = Table(
    "streamd_batches",
    _TABLES,
    _stream(),
    Column("id", _Text, primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
Index("streamd_batches_by_time", BATCHES.c.stream, BATCHES.c.time)
SWEEPS = Table(
    "streamd_sweeps",
    _TABLES,
    _stream(),
    Column("swept", BigInteger, nullable=False),  # the last place that is removed
)
"""A row that only retention locks: inserts go on meanwhile."""


async def is_there(connection: AsyncConnection) -> bool:
    """Tell whether the database has our tables."""
    return await connection.run_sync(lambda sync: inspect(sync).has_table(_SCHEMA.name))


async def create(
    connection: AsyncConnection,
    *,
    version: int = VERSION,
    migrations: Mapping[int, Callable[[AsyncConnection], Awaitable[None]]] = MIGRATIONS,
) -> None:
    """Create the tables, or make those of an older version ours, in the transaction that is open.

    Raise Failure("SCHEMA") for those of a newer one.
    """
    if not await is_there(connection):
        await connection.run_sync(_TABLES.create_all)
        await connection.execute(insert(_SCHEMA).values(version=version))
        return
    found = (await connection.execute(select(_SCHEMA.c.version))).scalar_one()
    if found > version:
        sentence = "the tables are of a newer version of streamd by now"
        raise Failure("SCHEMA", sentence, repeat=False, found=str(found))
    for older in range(found, version):
        await migrations[older](connection)
    if found < version:
        await connection.execute(update(_SCHEMA).values(version=version))
