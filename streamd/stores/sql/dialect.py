"""What differs between the databases."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from streamd.stores.failure import Failure
from streamd.stores.sql.schema import INDEX
from streamd.types import Seq

__all__ = ["Dialect", "posting_list"]


class Dialect(ABC):
    """Speak to one kind of database."""

    name: str
    """The database, for people."""
    where: str
    """Which one it is, for people, without a password."""
    begin_read: str
    """Begins a transaction that sees the log as of one moment, and does not write."""
    begin_write: str
    """Begins a transaction that writes."""
    connections: int
    """Transactions at a time."""
    writers: int
    """Those among them that may write."""
    check: float
    """Seconds between looks at the log whatever the hints say; jittered up to twice that."""

    @abstractmethod
    def engine(self) -> AsyncEngine:
        """Return a new engine, whose connections commit each statement unless we begin."""

    @abstractmethod
    def exists(self) -> bool:
        """Tell whether there may be such a database, before anything is made by connecting."""

    @abstractmethod
    async def inspect(self, connection: AsyncConnection) -> None:
        """Raise StartupError if the database is set up in a way that breaks a promise."""

    @abstractmethod
    async def lock_schema(self, connection: AsyncConnection) -> None:
        """Let nobody else create or migrate tables until the transaction ends."""

    # Whose the log is.

    @abstractmethod
    def ownership(self) -> AbstractAsyncContextManager[None]:
        """Hold what tells others that the database is in use, as long as a store is open.

        Raise Failure if that can't be had.
        """

    @abstractmethod
    async def claim(self, connection: AsyncConnection, owner: str) -> str:
        """Return whom the log belongs to from now on; another than `owner` begins a new epoch.

        An owner is a tenure in which the database can't have gone back to older data.
        """

    @abstractmethod
    async def claimed(self) -> None:
        """Take note that a claim was committed."""

    @abstractmethod
    def owner(self) -> ColumnElement[str]:
        """Return the expression of who the owner must be."""

    @abstractmethod
    def verify(self) -> None:
        """Raise Failure if what is connected is no longer what was claimed, as far as that is easily seen."""

    # Statements.

    @abstractmethod
    def now(self) -> ColumnElement[int]:
        """Return the expression of the store's clock, in ms since 1970."""

    @abstractmethod
    def later(self, one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
        """Return the expression of the greater of two numbers."""

    @abstractmethod
    def texts(self, name: str) -> Select[tuple[str]]:
        """Return a query for the texts of the parameter `name`, a list that was packed."""

    @abstractmethod
    def numbers(self, name: str) -> Select[tuple[int]]:
        """Return a query for the whole numbers of the parameter `name`, a list that was packed."""

    @abstractmethod
    def pack(self, values: Sequence[str] | Sequence[int]) -> Any:
        """Return the parameter that such a list is."""

    @abstractmethod
    def pairs(self) -> Select[tuple[str, int]]:
        """Return a query for pairs of a text and a whole number, which were packed."""

    @abstractmethod
    def pack_pairs(self, pairs: Sequence[tuple[str, int]]) -> dict[str, Any]:
        """Return the parameters that such pairs are."""

    @abstractmethod
    def heads(self, *, forward: bool) -> Select[Any]:
        """Return a query for the first `count` places of some lists, each from a place of its own to `stop`.

        The lists are pairs that were packed: a term, and the place, exclusive. `stop` is inclusive. A
        row is a term and what `read_places` reads.
        """

    @abstractmethod
    def read_places(self, told: Any) -> list[Seq]:
        """Return the places that a row of `heads` tells."""

    # Hints.

    @abstractmethod
    def announcement(self) -> Sequence[ColumnElement[Any]]:
        """Return expressions whose evaluation tells all who listen that the stream has news."""

    @abstractmethod
    def listen(self, stream: int, engine: AsyncEngine) -> AsyncGenerator[None]:
        """Yield whenever there may be news; ends, or raises Failure, when it can't any more."""

    # Errors.

    @abstractmethod
    def failure(self, error: Exception, *, committing: bool) -> Failure | None:
        """Return what a driver's error means; None if it is none of the driver's."""


def posting_list(
    term: ColumnElement[str], start: ColumnElement[int], *, forward: bool
) -> Select[tuple[int]]:
    """Return a query for the first `count` places of one posting list, as Dialect.heads has them."""
    seq = INDEX.c.seq
    stop: BindParameter[int] = bindparam("stop")
    between = (seq > start, seq <= stop) if forward else (seq < start, seq >= stop)
    query = select(seq).where(INDEX.c.stream == bindparam("stream"), INDEX.c.term == term, *between)
    return query.order_by(seq if forward else seq.desc()).limit(bindparam("count"))
