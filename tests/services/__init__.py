"""Real servers for tests: private, on a unix socket, gone with the process that started them."""

from tests.services.postgres import PostgresServer, make_postgres
from tests.services.process import free_port, need
from tests.services.redis import RedisServer

__all__ = ["PostgresServer", "RedisServer", "free_port", "make_postgres", "need"]
