"""Logs: to stderr, one line each; of peers neither events nor headers, and their faults without tracebacks."""

import logging
import logging.config
from typing import Any

__all__ = ["NoStartupFailure", "set_up_logs"]


class NoStartupFailure(logging.Filter):
    """Leave out what uvicorn adds to the sentence that says why the server did not start."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is to be kept."""
        return "startup failed" not in record.getMessage()


_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
    },
    "filters": {"no_startup_failure": {"()": "streamd.logs.NoStartupFailure"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["no_startup_failure"],
        },
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "streamd": {"level": "INFO"},
        "streamd.websocket.parser": {"level": "ERROR"},
    },
}


def set_up_logs() -> None:
    """Log as the daemon does, unless the program has said already where its logs go."""
    if not logging.getLogger().handlers:
        logging.config.dictConfig(_LOGGING)
