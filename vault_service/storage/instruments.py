"""The repository of what officers said of legal instruments. Rows are written once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vault_service.domain.instruments import Instrument
from vault_service.storage import arrays
from vault_service.storage.session import Session

_INSERT: Final = b"""
INSERT INTO disclosure_instruments (bucket, disclosure, tokens, customer, classes, begins, ends)
VALUES (%b, %b, %b::text[], %b, %b::text[], %b, %b)
"""
_OF: Final = b"""
SELECT i.disclosure, i.tokens, i.customer, i.classes, i.begins, i.ends
FROM unnest(%b::smallint[], %b::text[]) AS n (bucket, id)
JOIN disclosure_instruments AS i ON i.bucket = n.bucket AND i.disclosure = n.id
"""


class SqlInstruments:
    """What determinations say of instruments."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, bucket: int, disclosure: str, instrument: Instrument) -> None:
        """Keep what a determination says."""
        self._session.defer(
            _INSERT,
            (
                bucket,
                disclosure,
                None if instrument.tokens is None else list(instrument.tokens),
                instrument.customer,
                list(instrument.classes),
                instrument.begins,
                instrument.ends,
            ),
        )

    def of(self, names: Sequence[tuple[int, str]]) -> dict[str, Instrument]:
        """What the determinations of requests say, of those that have one."""
        rows = self._session.rows(_OF, arrays.names(names))
        return {
            disclosure: Instrument(
                tokens=None if tokens is None else tuple(tokens),
                customer=customer,
                classes=tuple(classes),
                begins=begins,
                ends=ends,
            )
            for disclosure, tokens, customer, classes, begins, ends in rows
        }
