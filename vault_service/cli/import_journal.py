"""Where an import stands, so that it can go on after any interruption.

Three files grow together: the output, the rejects, and the state, which says how far all of them
are good. A batch is written to the first two and brought to the disk before the state says so;
what a killed process had written beyond that is cut off when the import is resumed. The state is
replaced whole. It holds places, counts and the import's random name: nothing of any record.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import msgspec

from vault_service.cli.exits import ExitCode, Failed
from vault_service.cli.import_lines import Reason

VERSION: Final = 1
_REJECTS_HEAD: Final = "line,column,code,reason\r\n"


class Counts(msgspec.Struct):
    """How many records there were, and what became of them."""

    records: int = 0
    accepted: int = 0
    deduplicated: int = 0
    rejected: int = 0


class State(msgspec.Struct):
    """How far an import has come. `import_id` makes its Idempotency-Keys its own."""

    import_id: str
    source: str
    options: str
    offset: int = 0
    line: int = 1
    output_bytes: int = 0
    rejects_bytes: int = 0
    counts: Counts = msgspec.field(default_factory=Counts)
    done: bool = False
    version: int = VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where an import writes."""

    output: Path
    rejects: Path
    state: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a batch adds: lines of the output and refused records by line."""

    lines: list[str] = field(repr=False)
    rejects: list[tuple[int, Reason]]


class Journal:
    """The three files of one import, held by this process alone while it is open.

    Args:
        files: where they are.
        source: says which input this is; another one is another import.
        options: says how it is read.
        resume: go on from where an earlier import of the same stopped.

    Raises:
        Failed: another process has them, or what is to be resumed is of another input.
        OSError: they cannot be written.
    """

    def __init__(self, files: Files, *, source: str, options: str, resume: bool) -> None:
        self._files = files
        with contextlib.ExitStack() as opened:
            opened.callback(os.close, _locked(files.state))
            found = _read(files.state) if resume else None
            if found is not None:
                _check_same(found, source=source, options=options)
            self.resumed = found is not None
            self.state = found or State(
                import_id=secrets.token_hex(16), source=source, options=options
            )
            self._output = opened.enter_context(_open(files.output, keep=self.state.output_bytes))
            self._rejects = opened.enter_context(
                _open(files.rejects, keep=self.state.rejects_bytes)
            )
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    def begin(self, *, head: str, offset: int, line: int) -> None:
        """Write the heads of both files and note where the records begin."""
        self._output.write(head.encode())
        self._rejects.write(_REJECTS_HEAD.encode())
        self._note(offset=offset, line=line)

    def add(self, written: Written, *, deduplicated: int, offset: int, line: int) -> None:
        """Bring a batch to the disk, and then note that it is there."""
        self._output.write("".join(written.lines).encode())
        self._rejects.write("".join(_reject_lines(written.rejects)).encode())
        counts = self.state.counts
        counts.records += len(written.lines) + len(written.rejects)
        counts.accepted += len(written.lines)
        counts.deduplicated += deduplicated
        counts.rejected += len(written.rejects)
        self._note(offset=offset, line=line)

    def finish(self) -> None:
        """Note that the import is complete."""
        self.state.done = True
        self._write_state()

    def _note(self, *, offset: int, line: int) -> None:
        for stream in (self._output, self._rejects):
            stream.flush()
            os.fsync(stream.fileno())
        self.state.offset, self.state.line = offset, line
        self.state.output_bytes = self._output.tell()
        self.state.rejects_bytes = self._rejects.tell()
        self._write_state()

    def _write_state(self) -> None:
        path = self._files.state
        temporary = path.with_name(f".{path.name}.new")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(msgspec.json.encode(self.state))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def unfinished(state: Path) -> bool:
    """Whether a state file tells of an import that can be resumed."""
    with contextlib.suppress(Failed):
        found = _read(state)
        return found is not None and not found.done
    return False


def _locked(state: Path) -> int:
    """A descriptor that holds the import's lock; it goes with the process, however it dies."""
    path = state.with_name(f"{state.name}.lock")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Failed(
            "another import is under way with this state file",
            code="import_under_way",
            exit_code=ExitCode.CONFLICT,
            hint="wait for it, or choose another with --state",
        ) from None
    return handle


def _read(state: Path) -> State | None:
    try:
        found = msgspec.json.decode(state.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        found = None
    if found is None or found.version != VERSION:
        raise Failed(
            f"{state} is not the state of an import",
            code="state_malformed",
            exit_code=ExitCode.USAGE,
            hint="start anew without --resume",
        )
    return found


def _check_same(found: State, *, source: str, options: str) -> None:
    changed = "the file" if found.source != source else "an option or the mapping"
    if found.source != source or found.options != options:
        raise Failed(
            f"{changed} is not the same as when the import was interrupted",
            code="resume_mismatch",
            exit_code=ExitCode.CONFLICT,
            hint="start anew without --resume: nothing is stored twice",
        )


def _open(path: Path, *, keep: int) -> BinaryIO:
    """A file cut to its good part, ready to append.

    Raises:
        Failed: it is shorter than what the state says was written.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stream = os.fdopen(handle, "r+b")
    if stream.seek(0, os.SEEK_END) < keep:
        stream.close()
        raise Failed(
            f"{path} has lost what was written to it",
            code="resume_mismatch",
            exit_code=ExitCode.CONFLICT,
            hint="start anew without --resume: nothing is stored twice",
        )
    stream.truncate(keep)
    stream.seek(keep)
    return stream


def _reject_lines(rejects: Iterable[tuple[int, Reason]]) -> list[str]:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    for line, reason in rejects:
        writer.writerow((line, reason.column, reason.code, reason.detail))
    return [buffer.getvalue()]
