"""From a file's bytes to its records, one at a time, in constant memory, with exact places.

A billing system's export is read as it comes: broken UTF-8, NULs, open quotes and endless lines
spoil the record in which they stand and no other. What is spoiled becomes a `Spoiled` with the
line where it began; nothing here repeats what stood there.

A quoted field may hold line breaks (RFC 4180). When a quote is never closed, or what follows it is
no CSV, only the first line is given up and reading goes on with the next one: a stray quote must
not swallow the rest of a file.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

# Longer than any record that the service takes: metadata alone may have 20 times 500 characters.
MAX_RECORD: Final = 128 * 1024
_SKIP: Final = 64 * 1024
_BOM: Final = b"\xef\xbb\xbf"
_WIDE_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
_TO_CLOSING: Final = re.compile(rb'[^"]*(?:""[^"]*)*+"')
# Every one of these has ASCII's bytes for quotes, delimiters and line breaks, and for nothing else.
ENCODINGS: Final = ("utf-8", "cp1252", "iso-8859-1", "iso-8859-15")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a record is refused. `column` is a column's name or a JSON pointer."""

    code: str
    detail: str
    column: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record and its place: the line where it begins, the byte and line after it."""

    line: int
    end: int
    next_line: int
    cells: list[str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoiled:
    """A record that could not be read, with its place."""

    line: int
    end: int
    next_line: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class _Physical:
    """One line of the file, or the head of one that is too long."""

    data: bytes = field(repr=False)
    number: int
    end: int
    overlong: bool


LINE_TOO_LONG: Final = Reason(
    code="line_too_long", detail=f"this record is longer than {MAX_RECORD} bytes"
)
ENCODING_INVALID: Final = Reason(
    code="encoding_invalid", detail="this record is not in the encoding of the file"
)
NUL_BYTE: Final = Reason(code="nul_byte", detail="this record holds a NUL")
QUOTE_UNCLOSED: Final = Reason(
    code="quote_unclosed", detail="a quote is opened on this line and never closed"
)
CSV_MALFORMED: Final = Reason(
    code="csv_malformed", detail="a quoted field is followed by something else than a delimiter"
)


class Lines:
    """The physical lines of a stream from a place on; lines can be put back.

    Args:
        stream: opened for bytes, seekable.
        offset: where to begin, in bytes.
        line: number of the line that begins there, from 1.
    """

    def __init__(self, stream: BinaryIO, *, offset: int = 0, line: int = 1) -> None:
        self._stream = stream
        self._offset = offset
        self._number = line
        self._returned: deque[_Physical] = deque()
        stream.seek(offset)

    def take(self) -> _Physical | None:
        """The next line, or None at the end."""
        if self._returned:
            return self._returned.popleft()
        data = self._stream.readline(MAX_RECORD + 1)
        if not data:
            return None
        self._offset += len(data)
        overlong = len(data) > MAX_RECORD
        if overlong and not data.endswith(b"\n"):
            self._skip()
        if self._number == 1 and data.startswith(_BOM):
            data = data[len(_BOM) :]
        physical = _Physical(data, self._number, self._offset, overlong)
        self._number += 1
        return physical

    def put_back(self, lines: list[_Physical]) -> None:
        """Have these lines come again, in this order."""
        self._returned.extendleft(reversed(lines))

    def _skip(self) -> None:
        while True:
            more = self._stream.readline(_SKIP)
            self._offset += len(more)
            if not more or more.endswith(b"\n"):
                return


def is_wide(head: bytes) -> bool:
    """Whether a file's first bytes say UTF-16 or UTF-32."""
    return head.startswith(_WIDE_BOMS)


def csv_records(lines: Lines, *, delimiter: str, encoding: str) -> Iterator[Record | Spoiled]:
    """The records of a CSV file; blank lines are passed over."""
    opening = re.compile(rb"(?:\A|" + re.escape(delimiter.encode()) + rb')"')
    while (first := lines.take()) is not None:
        if first.overlong:
            yield _spoiled(first, LINE_TOO_LONG)
            continue
        group, closed = _gather(lines, first, opening)
        if not closed:
            lines.put_back(group[1:])
            yield _spoiled(first, QUOTE_UNCLOSED)
            continue
        cells = _parse(group, delimiter=delimiter, encoding=encoding)
        if isinstance(cells, Reason):
            lines.put_back(group[1:])
            yield _spoiled(first, cells)
        elif cells:
            last = group[-1]
            yield Record(line=first.number, end=last.end, next_line=last.number + 1, cells=cells)


def json_lines(lines: Lines, *, encoding: str) -> Iterator[Record | Spoiled]:
    """The lines of a JSONL file, each as a record with one cell; blank lines are passed over."""
    while (line := lines.take()) is not None:
        if line.overlong:
            yield _spoiled(line, LINE_TOO_LONG)
            continue
        text = _decode(line.data, encoding)
        if isinstance(text, Reason):
            yield _spoiled(line, text)
        elif text.strip():
            yield Record(line=line.number, end=line.end, next_line=line.number + 1, cells=[text])


def _gather(
    lines: Lines, first: _Physical, opening: re.Pattern[bytes]
) -> tuple[list[_Physical], bool]:
    """The lines of one record, and whether all its quotes are closed."""
    group = [first]
    quoted = _ends_quoted(first.data, opening, quoted=False)
    size = len(first.data)
    while quoted:
        more = lines.take()
        if more is None:
            return group, False
        group.append(more)
        size += len(more.data)
        if size > MAX_RECORD:
            return group, False
        quoted = _ends_quoted(more.data, opening, quoted=True)
    return group, True


def _ends_quoted(line: bytes, opening: re.Pattern[bytes], *, quoted: bool) -> bool:
    """Whether a line ends inside of a quoted field. A quote opens at a field's begin only."""
    if b'"' not in line:
        return quoted
    place = 0
    while True:
        if not quoted:
            found = opening.search(line, place)
            if found is None:
                return False
            place, quoted = found.end(), True
        closing = _TO_CLOSING.match(line, place)
        if closing is None:
            return True
        place, quoted = closing.end(), False


def _parse(group: list[_Physical], *, delimiter: str, encoding: str) -> list[str] | Reason:
    text = _decode(b"".join([line.data for line in group]), encoding)
    if isinstance(text, Reason):
        return text
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        parsed = list(rows)
    except csv.Error:
        return CSV_MALFORMED
    # A carriage return alone ends a row for the reader and no line for us.
    return parsed[0] if len(parsed) == 1 else CSV_MALFORMED


def _decode(data: bytes, encoding: str) -> str | Reason:
    if b"\0" in data:
        return NUL_BYTE
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return ENCODING_INVALID


def _spoiled(line: _Physical, reason: Reason) -> Spoiled:
    return Spoiled(line=line.number, end=line.end, next_line=line.number + 1, reason=reason)
