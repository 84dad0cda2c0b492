"""Logs: lines on stderr, text for people and JSON for programs; of peers neither headers nor events.

The parts log as any library does, with `logging`; so a program that sets up logs of its own has ours in
them. What a line tells beside its message is in the record's `extra`, and only what is named here is shown.
Lines are written by a thread of their own: a pipe that nobody reads holds no server up.
"""

import json
import logging
import queue
import sys
import threading
from types import TracebackType

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from streamd.errors import StreamdError

__all__ = ["NoStartupFailure", "set_up_logs"]

_FIELDS = (
    "connection",
    "address",
    "reason",
    "why",
    "code",
    "entries",
    "bytes",
    "seconds",
    "unsent",
    "times",
    "of",
)
"""What may stand beside a message."""

_WAITING = 10_000
"""Lines that may wait to be written; of more, only how many there were is told."""
_LAST_WORDS = 2.0
"""Seconds that a process which ends waits for its lines to be written."""


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
    handler = _Writer()
    handler.setFormatter(_formatter(text=form == "text" or (form == "auto" and _on_terminal())))
    handler.addFilter(NoStartupFailure())
    root.addHandler(handler)
    root.setLevel(max(logging.WARNING, _number(level)))
    logging.getLogger("streamd").setLevel(_number(level))
    logging.getLogger("streamd.websocket.parser").setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught


def _log_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, (KeyboardInterrupt, StreamdError)):
        # Foreseen: a sentence for people, which may point to the lines above it.
        for handler in logging.getLogger().handlers:
            handler.flush()
        sys.__excepthook__(kind, error, traceback)
        return
    logging.getLogger("streamd").critical("uncaught", exc_info=(kind, error, traceback))


class _Writer(logging.Handler):
    """Write lines to what stderr is now, in a thread that nobody waits for while the process runs."""

    def __init__(self) -> None:
        super().__init__()
        self._stream = sys.stderr
        self._lines: queue.Queue[str | threading.Event] = queue.Queue(_WAITING)
        self._lost = 0
        threading.Thread(target=self._run, name="logs", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line to the thread, or count it where too many wait."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - a line that can't be made must not end what told of it
            self.handleError(record)
            return
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._lost += 1

    def flush(self) -> None:
        """Wait until what came before is written, but not for ever."""
        written = threading.Event()
        try:
            self._lines.put(written, timeout=_LAST_WORDS)
        except queue.Full:
            return
        written.wait(_LAST_WORDS)

    def _run(self) -> None:
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            lost, self._lost = self._lost, 0
            self._write(line)
            if lost:
                record = logging.LogRecord(
                    "streamd.logs", logging.WARNING, "", 0, "lines not written: %d", (lost,), None
                )
                self._write(self.format(record))

    def _write(self, line: str) -> None:
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):
            return  # Nobody reads it any more; that is no reason to stop.


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
            *((_one_line, _text()) if text else (_json,)),
        ],
    )


def _text() -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=_on_terminal(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )


def _one_line(logger: WrappedLogger, name: str, line: EventDict) -> EventDict:
    """Let no message make a line of its own, or tell the terminal anything."""
    line["event"] = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in str(line["event"])
    )
    return line


def _json(logger: WrappedLogger, name: str, line: EventDict) -> str:
    # What streamd calls an event is something else.
    first = {"time": line.pop("time"), "level": line.pop("level"), "message": line.pop("event")}
    told = json.dumps({**first, **line}, default=str, ensure_ascii=False, separators=(",", ":"))
    return told.encode(errors="replace").decode()  # What UTF-8 has not, readers of JSON refuse.


def _process(logger: WrappedLogger, name: str, line: EventDict) -> EventDict:
    record: logging.LogRecord = line["_record"]
    line["process"] = record.process
    return line


_FOR_PEOPLE: list[Processor] = [structlog.processors.TimeStamper("%Y-%m-%d %H:%M:%S%z", utc=False)]
_FOR_PROGRAMS: list[Processor] = [structlog.processors.TimeStamper("iso", key="time"), _process]
