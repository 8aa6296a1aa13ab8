"""Structured logs: one line per event, fields by allow-list, everything through one last filter.

Whatever a library logs goes the same way. An exception is written as its type, its code and the
places it passed, never as its message or its local variables: messages of drivers and clients
quote statements, parameters and answers. A field that is not on the list is dropped, and the line
says how many were.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from vault_service.masking import mask
from vault_service.settings import LogFormat, LogLevel

# What a line may say. A name is added here only when its values cannot hold a customer's data, a
# text that a caller wrote, or a secret. `route` is a template, never a path.
FIELDS: Final = frozenset(
    {
        "timestamp", "level", "event", "logger", "message", "process", "worker", "role", "version",
        "request_id", "route", "method", "status", "ms", "bytes", "principal", "key", "code",
        "action", "outcome", "alarm", "reason", "pointer", "count", "items", "failed", "queue",
        "error", "cause", "frames", "dropped", "attempt", "seconds", "state", "entry", "bucket",
        "token", "tokens", "customer", "disclosure", "grant", "ground", "clause", "policy",
        "data_class", "vault_role", "transit_key", "key_version", "database_role", "name",
        "setting", "address", "host", "port", "workers", "threads", "pid", "signal", "folder",
        "file", "hint", "vault_event", "migration", "url", "size", "root", "origin", "duty",
        "severity", "observed", "limit",
    }
)  # fmt: skip

# Libraries whose messages are about themselves. Of all others only the template of a message is
# written, because its arguments may be statements, parameters or answers.
_PLAIN_SPOKEN: Final = frozenset({"_granian", "granian", "alembic", "vault_service", "keys"})
# What a library of our own may pass as `extra`; the others are names that every record has.
_EXTRA: Final = FIELDS - {"name", "process", "message", "event", "level", "timestamp", "logger"}
# What `_Stamp` puts first. Its seventeen digits would have every line searched for card numbers.
_HEAD: Final = len('{"timestamp":"2026-01-31T12:00:00.000Z"')
_MAX_TEXT: Final = 500
_MAX_LIST: Final = 20
_MAX_FRAMES: Final = 12
_MAX_CAUSES: Final = 5


def _name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"


def _place(filename: str, line: int) -> str:
    return f"{'/'.join(Path(filename).parts[-3:])}:{line}"


def _frames(trace: TracebackType | None) -> list[str]:
    places = []
    while trace is not None:
        places.append(_place(trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    return places[-_MAX_FRAMES:]


def describe_exception(error: BaseException) -> dict[str, object]:
    """Type, code, causes and places of an exception: what may be logged of it."""
    described: dict[str, object] = {"error": _name(error), "frames": _frames(error.__traceback__)}
    code = getattr(error, "code", None)
    if isinstance(code, str):
        described["code"] = code
    causes: list[str] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(causes) < _MAX_CAUSES:
        causes.append(_name(cause))
        cause = cause.__cause__ or cause.__context__
    if causes:
        described["cause"] = causes
    return described


# ---------------------------------------------------------------- processors


_alarm_listeners: list[Callable[[str], None]] = []


def on_alarm(listener: Callable[[str], None]) -> None:
    """Have `listener` called with the name of each alarm, a line that has the field `alarm`."""
    _alarm_listeners.append(listener)


def _announce_alarms(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    alarm = event.get("alarm")
    if isinstance(alarm, str):
        for listener in _alarm_listeners:
            listener(alarm)
    return event


def _condense_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        for name, value in describe_exception(error).items():
            event.setdefault(name, value)
    return event


def _plain(value: object) -> object:
    """A value as it may be written: short, and of a type whose text is known."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, str):
        return str(value)[:_MAX_TEXT]
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in list(value)[:_MAX_LIST]]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return f"<{type(value).__qualname__}>"


def _allow(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    kept = {name: _plain(value) for name, value in event.items() if name in FIELDS}
    if len(kept) != len(event):
        kept["dropped"] = len(event) - len(kept)
    return kept


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Stamp:
    """Puts time, level and process first, so that lines line up."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        head = {"timestamp": _now(), "level": "error" if method == "exception" else method}
        return {**head, "event": event.pop("event", ""), "process": self._process, **event}


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    line = msgspec.json.encode(event).decode()
    return line[:_HEAD] + mask(line[_HEAD:])


def _as_text(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    time = str(event.pop("timestamp"))[11:19]
    head = f"{time} {event.pop('level'):<8} {event.pop('event')}"
    event.pop("process", None)
    frames = event.pop("frames", [])
    pairs = [f"{name}={_shown(value)}" for name, value in event.items() if value is not None]
    return mask("\n".join(["  ".join([head, *pairs]), *(f"    at {frame}" for frame in frames)]))


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ",".join(_shown(item) for item in value)
    # A text keeps to its line: no control character of it reaches the terminal.
    text = str(value)
    return text if text.isprintable() else ascii(text)[1:-1]


# ---------------------------------------------------------------- where lines come from and go


class _Lines:
    """Writes whole lines; one writer at a time in this process, one `write` for each line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._lock = threading.Lock()

    def msg(self, line: str) -> None:
        # A log that cannot be written must not fail the request it tells of.
        with self._lock, contextlib.suppress(OSError, ValueError):
            self.stream.write(line + "\n")
            self.stream.flush()

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


# Loggers keep both from their first line on, so both stay the same objects and change within.
_target: Final = _Lines(sys.stderr)
_processors: Final[list[Processor]] = []


class _Access:
    """How lines of answered requests are written: as any other, without the way through structlog.

    There is one for each request, and its fields are known: that way cost three times as much.
    """

    def __init__(self) -> None:
        self.process = ""
        self.told = True
        self.render: Callable[[Any, str, EventDict], str] = _as_json


_access: Final = _Access()


def requests(told: Sequence[Mapping[str, object]]) -> None:
    """Write a line for each answered request, together.

    Args:
        told: the fields of each, of which every one is on the list.
    """
    if not _access.told:
        return
    head = {"timestamp": _now(), "level": "info", "event": "request", "process": _access.process}
    lines = []
    for fields in told:
        plain = {name: _plain(value) for name, value in fields.items()}
        lines.append(_access.render(None, "info", {**head, **plain}))
    _target.msg("\n".join(lines))


class _Forward(logging.Handler):
    """Sends what libraries log through the same processors."""

    def __init__(self) -> None:
        super().__init__()
        self._log = structlog.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        spoken = record.name.split(".", 1)[0] in _PLAIN_SPOKEN
        try:
            message = record.getMessage() if spoken else str(record.msg)
        except (TypeError, ValueError, KeyError):
            message = "<unprintable>"
        given = {name: record.__dict__[name] for name in _EXTRA if name in record.__dict__}
        fields: dict[str, Any] = {**given, "logger": record.name, "message": message}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        self._log.log(min(max(record.levelno // 10 * 10, 10), 50), "library", **fields)


def _open(path: Path) -> TextIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8")


def _watch_uncaught() -> None:
    log = structlog.get_logger()

    def uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        log.critical("uncaught", exc_info=error.with_traceback(trace))

    def uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            log.critical("uncaught", exc_info=args.exc_value)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread


def quiet(names: Iterable[str]) -> None:
    """Take away the handlers that a library gave its loggers, so that its lines come here."""
    for name in names:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def configure(
    *,
    process: str,
    level: LogLevel = LogLevel.INFO,
    form: LogFormat = LogFormat.JSON,
    file: Path | None = None,
    stream: TextIO | None = None,
) -> None:
    """Set up logging for this process; lines go to a file, a stream, or standard error.

    Raises:
        OSError: the file cannot be opened.
    """
    number = getattr(logging, level.upper())
    _target.stream = _open(file) if file is not None else stream or sys.stderr
    _access.process, _access.told = process, number <= logging.INFO
    _access.render = render = _as_json if form is LogFormat.JSON else _as_text
    _processors[:] = [
        structlog.contextvars.merge_contextvars,
        _announce_alarms,
        _condense_exception,
        _Stamp(process),
        _allow,
        render,
    ]
    structlog.configure(
        processors=_processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _target,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(max(number, logging.INFO))
    quiet(("_granian", "granian", "granian.access", "alembic", "vault_service.app", "werkzeug"))
    # Below a warning these tell of each statement and each connection.
    for noisy in ("sqlalchemy", "urllib3", "hvac", "psycopg", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    _watch_uncaught()
