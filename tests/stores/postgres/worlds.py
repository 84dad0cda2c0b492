"""What tests on a PostgreSQL name and do."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.services import PostgresServer

NewPostgres = Callable[..., PostgresServer]
Connect = Callable[..., Any]


async def do(action: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Do something that takes a while, beside the event loop."""
    return await asyncio.to_thread(action, *arguments, **options)
