"""Stores of each kind, for the tests of what is promised of all of them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from streamd.stores.base import Store
from tests.stores.worlds import STORES, Kind, Streams


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> Kind:
    """A kind of store, and where it is."""
    name = request.param
    url = "memory:" if name == "memory" else request.getfixturevalue(f"{name}_url")
    return Kind(name, url)


@pytest.fixture
async def open_new(kind: Kind) -> AsyncIterator[Callable[..., Any]]:
    """Open stores on one stream; the limits are given by name."""
    streams = Streams(kind)
    async with AsyncExitStack() as stack:

        async def open_one(**limits: Any) -> Store:
            return await stack.enter_async_context(streams.new(**limits))

        yield open_one


@pytest.fixture
async def store(open_new: Callable[..., Any]) -> Store:
    """A store on a stream of its own."""
    return await open_new()
