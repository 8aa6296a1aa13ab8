"""Arrays for the statements that write or name many rows, in PostgreSQL's binary form.

The driver asks for the type of each element, looks for its dumper and calls it; for the eighteen
columns of a thousand rows that took longer than all else about the statement. These arrays are
made column by column of what is known to have one type. They carry no type of their own: each
statement says `%b::text[]` or the like, and the server reads them as that.

    i32 dimensions (1; 0 of none) | i32 holds nulls | u32 type of the elements
    i32 elements | i32 first subscript (1)
    for each element: i32 length (-1 of a null) | bytes            all of it big-endian
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from psycopg import pq
from psycopg.adapt import AdaptersMap, Dumper

from vault_service.services.ports import RowRefused

# Types by their numbers in PostgreSQL's catalogue, which never change.
_BYTEA: Final = 17
_INT2: Final = 21
_INT4: Final = 23
_TEXT: Final = 25
_TIMESTAMPTZ: Final = 1184
_UUID: Final = 2950
_EMPTY: Final = struct.Struct(">iiI")
_HEAD: Final = struct.Struct(">iiIii")
_LENGTH: Final = struct.Struct(">i")
_SHORT: Final = struct.Struct(">h")
_LONG: Final = struct.Struct(">q")
# PostgreSQL counts microseconds from here.
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NULL: Final = _LENGTH.pack(-1)


class Array(bytes):
    """An array as it is sent."""

    __slots__ = ()


class _ArrayDumper(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: Array) -> Array:
        """What is to be sent: it is that already."""
        return obj


def register(adapters: AdaptersMap) -> None:
    """Teach a connection these arrays."""
    adapters.register_dumper(Array, _ArrayDumper)


def texts(items: Sequence[str | None]) -> Array:
    """`text[]`.

    Raises:
        RowRefused: half a surrogate pair is no text.
    """
    try:
        return _array(_TEXT, [None if item is None else item.encode() for item in items])
    except UnicodeError:
        pass
    # Outside of the handler, so that Python's error, which holds the text, is not its context.
    raise RowRefused


def blobs(items: Sequence[bytes | None]) -> Array:
    """`bytea[]`."""
    return _array(_BYTEA, items)


def uuids(items: Sequence[UUID | None]) -> Array:
    """`uuid[]`."""
    return _array(_UUID, [None if item is None else item.bytes for item in items])


def shorts(items: Sequence[int]) -> Array:
    """`smallint[]`.

    Raises:
        RowRefused: a number is out of range.
    """
    return _array(_INT2, _numbers(_SHORT, items))


def integers(items: Sequence[int]) -> Array:
    """`integer[]`.

    Raises:
        RowRefused: a number is out of range.
    """
    return _array(_INT4, _numbers(_LENGTH, items))


def moments(items: Sequence[datetime]) -> Array:
    """`timestamptz[]`."""
    return _array(_TIMESTAMPTZ, [_LONG.pack((item - _EPOCH) // _MICROSECOND) for item in items])


def names(pairs: Sequence[tuple[int, str]]) -> tuple[Array, Array]:
    """Rows by (bucket, name) as two columns, each row once; `smallint` and `text`."""
    once = dict.fromkeys(pairs)
    return shorts([bucket for bucket, _ in once]), texts([name for _, name in once])


def _numbers(form: struct.Struct, items: Sequence[int]) -> list[bytes]:
    pack = form.pack
    try:
        return [pack(item) for item in items]
    except struct.error:
        # What the server would say of it; a number is never cut to fit.
        pass
    raise RowRefused


def _array(kind: int, items: Sequence[bytes | None]) -> Array:
    if not items:
        return Array(_EMPTY.pack(0, 0, kind))
    head = _HEAD.pack(1, None in items, kind, len(items), 1)
    first = items[0]
    if items.count(first) == len(items):  # as class, key and customer of most batches
        return Array(head + _cell(first) * len(items))
    cells = [head]
    pack = _LENGTH.pack
    for item in items:
        if item is None:
            cells.append(_NULL)
        else:
            cells.append(pack(len(item)))
            cells.append(item)
    return Array(b"".join(cells))


def _cell(item: bytes | None) -> bytes:
    return _NULL if item is None else _LENGTH.pack(len(item)) + item
