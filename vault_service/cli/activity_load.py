"""Loads a file of activity, batch by batch, so that it can go on after any interruption.

Each batch has an Idempotency-Key made of the load's random name and the batch's place in the file.
What was sent and not written down as sent is sent again, and the service answers what it answered
before. It does so for a day; a load that is resumed later may send one batch twice.
"""

from __future__ import annotations

import csv
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from vault_service.cli.exits import ExitCode, Failed
from vault_service.client.activity import Activity, RecordedEntries

LONGEST_LINE: Final = 64 * 1024
_COLUMNS: Final = ("customer", "at", "kind", "details")

Refused = Callable[[int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is loaded, and where it is written down how far it is."""

    path: Path
    form: str
    state: Path
    resume: bool
    batch: int


class State(msgspec.Struct):
    """How far a load is. `source` says which file, `batch` how it is cut."""

    load: str
    source: str
    batch: int
    offset: int = 0
    line: int = 0
    recorded: int = 0
    refused: int = 0


@dataclass(slots=True)
class _Batch:
    """Lines of one request: the entries with their line numbers, and what is none."""

    end: int
    line: int
    entries: list[tuple[int, dict[str, Any]]]
    malformed: list[int]


def run(activity: Activity, source: Source, *, refused: Refused) -> State:
    """Load a file; how far it came, and what became of the lines.

    Args:
        activity: the call that takes the entries.
        source: what is loaded.
        refused: told the line and the code of each entry that is not kept.

    Raises:
        Failed: the file is not the one that the state is about, or another process loads it.
        ApiError, Unreachable: a batch was not taken; resume it.
        OSError: a file cannot be read or written.
    """
    with source.path.open("rb") as stream, _locked(source.state):
        state = _state(source, stream)
        columns = _head(stream) if source.form == "csv" else None
        stream.seek(max(state.offset, stream.tell()))
        while batch := _read(stream, state.line, source.batch, columns):
            answer = _send(activity, state, batch)
            for line, code in sorted(_problems(batch, answer)):
                refused(line, code)
            state.recorded += 0 if answer is None else answer.recorded
            state.refused += len(batch.malformed) + (0 if answer is None else len(answer.refused))
            state.offset, state.line = batch.end, batch.line
            _keep(source.state, state)
    return state


def _send(activity: Activity, state: State, batch: _Batch) -> RecordedEntries | None:
    if not batch.entries:
        return None
    return activity.load(
        [entry for _, entry in batch.entries], idempotency_key=f"{state.load}-{state.offset}"
    )


def _problems(batch: _Batch, answer: RecordedEntries | None) -> Iterator[tuple[int, str]]:
    yield from ((line, "line_malformed") for line in batch.malformed)
    if answer is not None:
        yield from ((batch.entries[each.place][0], each.error.code) for each in answer.refused)


def _read(stream: BinaryIO, line: int, most: int, columns: list[str] | None) -> _Batch | None:
    """The next lines; None at the end of the file."""
    batch = _Batch(end=stream.tell(), line=line, entries=[], malformed=[])
    while len(batch.entries) + len(batch.malformed) < most:
        raw = stream.readline(LONGEST_LINE)
        if not raw:
            break
        batch.line += 1
        if len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
            while raw and not raw.endswith(b"\n"):
                raw = stream.readline(LONGEST_LINE)
            entry = None
        else:
            if not raw.strip():
                continue
            entry = _entry(raw) if columns is None else _row(raw, columns)
        if entry is None:
            batch.malformed.append(batch.line)
        else:
            batch.entries.append((batch.line, entry))
    batch.end = stream.tell()
    return batch if batch.line > line else None


def _entry(raw: bytes) -> dict[str, Any] | None:
    try:
        entry = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _row(raw: bytes, columns: list[str]) -> dict[str, Any] | None:
    try:
        (cells,) = csv.reader([raw.decode()], strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError):
        return None
    if len(cells) != len(columns):
        return None
    return {
        name: cell for name, cell in zip(columns, cells, strict=True) if cell or name != "details"
    }


def _head(stream: BinaryIO) -> list[str]:
    """The columns that the first line names."""
    stream.seek(0)
    try:
        (columns,) = csv.reader([stream.readline(LONGEST_LINE).decode("utf-8-sig")], strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError):
        columns = []
    if not set(_COLUMNS[:3]) <= set(columns) <= set(_COLUMNS) or len(set(columns)) < len(columns):
        raise Failed(
            f"the first line names the columns {', '.join(_COLUMNS)}",
            code="header_malformed",
            exit_code=ExitCode.USAGE,
        )
    return columns


def _state(source: Source, stream: BinaryIO) -> State:
    facts = os.fstat(stream.fileno())
    identity = f"{facts.st_dev}:{facts.st_ino}:{facts.st_size}:{facts.st_mtime_ns}:{source.form}"
    if not source.resume:
        state = State(load=secrets.token_hex(16), source=identity, batch=source.batch)
        state.line = 1 if source.form == "csv" else 0
        # Before anything is sent, so that what is sent can be sent again under the same keys.
        _keep(source.state, state)
        return state
    try:
        found = msgspec.json.decode(source.state.read_bytes(), type=State)
    except (FileNotFoundError, msgspec.DecodeError):
        raise Failed(
            "there is nothing to resume", code="state_missing", exit_code=ExitCode.USAGE
        ) from None
    if (found.source, found.batch) != (identity, source.batch):
        raise Failed(
            "this is not the file that was being loaded, or --batch is another",
            code="state_of_another_load",
            exit_code=ExitCode.USAGE,
        )
    return found


def _keep(path: Path, state: State) -> None:
    """Replace the state whole."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as stream:
        stream.write(msgspec.json.encode(state))
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Hold the load's lock; it goes with the process, however it dies.

    Raises:
        Failed: another process has it.
    """
    path = state.with_name(f"{state.name}.lock")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Failed(
            "another load is under way with this state file",
            code="load_under_way",
            exit_code=ExitCode.CONFLICT,
            hint="wait for it, or choose another with --state",
        ) from None
    finally:
        os.close(handle)
