"""Logs: lines on stderr, text for people and JSON for programs; of peers neither headers nor events.

The parts log as any library does, with `logging`; so a program that sets up logs of its own has ours in
them. What a line tells beside its message is in the record's `extra`, and only what is named here is shown.
"""

import logging
import sys

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["NoStartupFailure", "set_up_logs"]

_FIELDS = (
    "connection",
    "address",
    "reason",
    "code",
    "entries",
    "bytes",
    "seconds",
    "unsent",
    "times",
    "of",
)
"""What may stand beside a message."""


class NoStartupFailure(logging.Filter):
    """Leave out what uvicorn adds to the sentence that says why the server did not start."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is to be kept."""
        return "startup failed" not in record.getMessage()


def set_up_logs(level: str = "info", form: str = "auto") -> None:
    """Log as the daemon does, unless the program has said already where its logs go.

    `form` is text, json, or auto: text on a terminal, else JSON. Of others' libraries only warnings and
    what is worse is logged at every level: they would tell of events (SQL) and of headers (WebSocket).
    """
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(text=form == "text" or (form == "auto" and _on_terminal())))
    handler.addFilter(NoStartupFailure())
    root.addHandler(handler)
    root.setLevel(max(logging.WARNING, _number(level)))
    logging.getLogger("streamd").setLevel(_number(level))
    logging.getLogger("streamd.websocket.parser").setLevel(logging.ERROR)


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _on_terminal() -> bool:
    return sys.stderr.isatty()


def _formatter(*, text: bool) -> logging.Formatter:
    beside: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow=_FIELDS),
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*beside, *(_FOR_PEOPLE if text else _FOR_PROGRAMS)],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _text() if text else _json,
        ],
    )


def _text() -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=_on_terminal(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )


def _json(logger: WrappedLogger, name: str, line: EventDict) -> str:
    # What streamd calls an event is something else.
    first = {"time": line.pop("time"), "level": line.pop("level"), "message": line.pop("event")}
    return orjson.dumps({**first, **line}, default=str).decode()


def _process(logger: WrappedLogger, name: str, line: EventDict) -> EventDict:
    record: logging.LogRecord = line["_record"]
    line["process"] = record.process
    return line


_FOR_PEOPLE: list[Processor] = [structlog.processors.TimeStamper("%Y-%m-%d %H:%M:%S", utc=False)]
_FOR_PROGRAMS: list[Processor] = [structlog.processors.TimeStamper("iso", key="time"), _process]
