"""The asyncio client of streamd, the real-time feed server."""

__version__ = "0.1.0"
