"""Every place where a wrapped data key lies, and the repository that walks and rewraps them.

A new column with a wrapped key is a new line of `PLACES` (a test compares them with the tables)
and a grant for the worker. All places are walked in the order of their primary key, so a walk
needs no index of its own, and a rewrap that touches no indexed column can stay on its page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.dialects import postgresql

from keys.data_keys import WrappedKey
from vault_service.services.binding_ports import BoundRow
from vault_service.services.rotation_ports import RewrappedRow, RowKey, Tally, WrappedRow
from vault_service.storage.bindings import binding
from vault_service.storage.session import Row, Session
from vault_service.storage.tables import metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A column with wrapped keys: its table, the primary key, and the columns that go with it.

    `bound` names the columns of token and record version where its rows are bound to the ledger, as
    `services.bindings` has it.
    """

    table: str
    keys: tuple[str, ...]
    wrapped: str
    kek: str
    version: str
    bound: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """`table.column`."""
        return f"{self.table}.{self.wrapped}"


PLACES: Final = (
    Place(
        table="records",
        keys=("bucket", "token"),
        wrapped="wrapped_key",
        kek="kek",
        version="kek_version",
        bound=("token", "version"),
    ),
    # A segment has one version for ever.
    Place(
        table="activity_segments",
        keys=("bucket", "month", "id"),
        wrapped="wrapped_key",
        kek="kek",
        version="kek_version",
        bound=("id", "1"),
    ),
    Place(
        table="modifications",
        keys=("bucket", "id"),
        wrapped="wrapped_key",
        kek="kek",
        version="kek_version",
        bound=("token", "record_version"),
    ),
    Place(
        table="disclosures",
        keys=("bucket", "id"),
        wrapped="details_wrapped_key",
        kek="details_kek",
        version="details_kek_version",
    ),
    Place(
        table="disclosure_decisions",
        keys=("bucket", "disclosure", "kind", "principal"),
        wrapped="comment_wrapped_key",
        kek="comment_kek",
        version="comment_kek_version",
    ),
    Place(
        table="evidence_documents",
        keys=("bucket", "id"),
        wrapped="wrapped_key",
        kek="kek",
        version="kek_version",
    ),
    Place(
        table="recipients",
        keys=("id",),
        wrapped="details_wrapped_key",
        kek="details_kek",
        version="details_kek_version",
    ),
    Place(
        table="holds",
        keys=("bucket", "id"),
        wrapped="details_wrapped_key",
        kek="details_kek",
        version="details_kek_version",
    ),
    Place(
        table="holds",
        keys=("bucket", "id"),
        wrapped="release_wrapped_key",
        kek="release_kek",
        version="release_kek_version",
    ),
)

_WINDOW: Final = """
SELECT {keys} FROM {table} WHERE {bounds} ORDER BY {keys} OFFSET %b LIMIT 1
"""
# What a row says of its version is believed only where the wrapped key says the same.
_SOUND: Final = "({wrapped} LIKE 'vault:v' || {version} || ':%%')"
_TALLY: Final = """
SELECT {kek}, {version}, {sound}, count(*) FROM {table}
WHERE {wrapped} IS NOT NULL AND {bounds} GROUP BY 1, 2, 3
"""
# Rows of a rival are left to it: a walk waits for nobody and so is nobody's deadlock.
_TAKE: Final = """
SELECT {wrapped}, {version}, now(), {keys}{binding} FROM {table}
WHERE {kek} = %b AND ({version} < %b OR NOT {sound}) AND {bounds}
ORDER BY {keys} LIMIT %b FOR NO KEY UPDATE SKIP LOCKED
"""
_PUT: Final = """
UPDATE {table} AS t SET {wrapped} = n.wrapped, {version} = n.version{bind}
FROM unnest(%b::text[], %b::integer[], {arrays}{bound}) AS n (wrapped, version, {keys}{names})
WHERE {same}
"""
_BINDING: Final = ", {}, {}, envelope_hash, bound_by, bound_path"
_BIND: Final = ", bound_by = n.bound_by, bound_path = n.bound_path"


class _Statements:
    """The statements of one place, put together once from the names of its columns."""

    def __init__(self, place: Place) -> None:
        columns = metadata.tables[place.table].c
        dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
        types = [columns[key].type.compile(dialect) for key in place.keys]
        self._names = {
            "table": place.table,
            "wrapped": place.wrapped,
            "kek": place.kek,
            "version": place.version,
            "keys": ", ".join(place.keys),
            "sound": _SOUND.format(wrapped=place.wrapped, version=place.version),
            "binding": _BINDING.format(*place.bound) if place.bound else "",
        }
        self._row = ", ".join(f"%b::{kind}" for kind in types)
        self.put = self._filled(
            _PUT,
            arrays=", ".join(f"%b::{kind}[]" for kind in types),
            same=" AND ".join(f"t.{key} = n.{key}" for key in place.keys),
            bind=_BIND if place.bound else "",
            bound=", %b::uuid[], %b::bytea[]" if place.bound else "",
            names=", bound_by, bound_path" if place.bound else "",
        )

    def bounded(
        self, template: str, after: RowKey | None, end: RowKey | None
    ) -> tuple[bytes, tuple[object, ...]]:
        """A statement over the rows behind `after` up to `end`, and the values of its bounds."""
        bounds = ["true"]
        values: tuple[object, ...] = ()
        for compare, bound in ((">", after), ("<=", end)):
            if bound is not None:
                bounds.append(f"({self._names['keys']}) {compare} ({self._row})")
                values += bound
        return self._filled(template, bounds=" AND ".join(bounds)), values

    def _filled(self, template: str, **more: str) -> bytes:
        return template.format(**self._names, **more).encode()


_BY_NAME: Final = {place.name: (place, _Statements(place)) for place in PLACES}


class SqlWrappedKeys:
    """Every wrapped key in the database, by place."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def places(self) -> tuple[str, ...]:
        """The names of all places."""
        return tuple(_BY_NAME)

    def window(self, place: str, after: RowKey | None, rows: int) -> RowKey | None:
        """Where a window of so many rows after `after` ends; None where the table ends first."""
        _, statements = _BY_NAME[place]
        statement, bounds = statements.bounded(_WINDOW, after, None)
        found = self._session.rows(statement, (*bounds, rows - 1))
        return found[0] if found else None

    def tally(self, place: str, after: RowKey | None, end: RowKey | None) -> list[Tally]:
        """Count the wrapped keys of a window."""
        _, statements = _BY_NAME[place]
        statement, bounds = statements.bounded(_TALLY, after, end)
        return [
            Tally(kek=kek, version=version, sound=sound, count=count)
            for kek, version, sound, count in self._session.rows(statement, bounds)
        ]

    def take(
        self,
        place: str,
        kek: str,
        below: int,
        *,
        after: RowKey | None,
        end: RowKey | None,
        limit: int,
    ) -> list[WrappedRow]:
        """Lock rows of a window that are wrapped below a version; those of rivals are skipped."""
        where, statements = _BY_NAME[place]
        statement, bounds = statements.bounded(_TAKE, after, end)
        rows = self._session.rows(statement, (kek, below, *bounds, limit))
        if rows:
            # So that nobody has to ask for the time, which would be a trip of its own.
            self._session.learn(rows[0][2])
        return [_wrapped(where, kek, row) for row in rows]

    def put(self, place: str, rows: Sequence[RewrappedRow]) -> None:
        """Store rewrapped keys in rows that were taken."""
        where, statements = _BY_NAME[place]
        if rows:
            self._session.defer(
                statements.put,
                (
                    [each.wrapped.ciphertext for each in rows],
                    [each.wrapped.kek_version for each in rows],
                    *([*column] for column in zip(*(each.row for each in rows), strict=True)),
                    *(_bound(rows) if where.bound else ()),
                ),
            )


def _wrapped(place: Place, kek: str, row: Row) -> WrappedRow:
    ciphertext, version, _, *rest = row
    wrapped = WrappedKey(kek=kek, kek_version=version, ciphertext=ciphertext)
    key = tuple(rest[: len(place.keys)])
    if not place.bound:
        return WrappedRow(row=key, wrapped=wrapped)
    token, number, digest, entry, path = rest[len(place.keys) :]
    return WrappedRow(
        row=key,
        wrapped=wrapped,
        bound=BoundRow(
            bucket=rest[0],
            token=token,
            version=number,
            wrapped=wrapped,
            envelope_hash=digest,
            binding=binding(entry, path),
        ),
    )


def _bound(rows: Sequence[RewrappedRow]) -> Iterator[list[object]]:
    bound = [each.binding for each in rows]
    yield [each and each.entry for each in bound]
    yield [each and each.path for each in bound]
