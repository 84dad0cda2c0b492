"""The Redis store: one log in a Redis or Valkey server, shared by all workers.

`store` has the store, `link` the connections and what their failures mean, `scripts` and the `.lua`
files what Redis does at one stroke, `replies` the texts between the two, `tail` and `retention` what
runs beside the calls.
"""

from streamd.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
