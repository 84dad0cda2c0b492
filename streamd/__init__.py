"""A WebSocket real-time feed server: one filter for query and push."""

__version__ = "0.1.0"
