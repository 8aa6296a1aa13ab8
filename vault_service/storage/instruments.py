"""The repository of what officers said of legal instruments. Rows are written once."""

from __future__ import annotations

from typing import Final

from vault_service.domain.instruments import Instrument
from vault_service.storage.session import Session

_INSERT: Final = b"""
INSERT INTO disclosure_instruments (bucket, disclosure, tokens, customer, classes, begins, ends)
VALUES (%b, %b, %b::text[], %b, %b::text[], %b, %b)
"""
_GET: Final = b"""
SELECT tokens, customer, classes, begins, ends FROM disclosure_instruments
WHERE bucket = %b AND disclosure = %b
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

    def get(self, bucket: int, disclosure: str) -> Instrument | None:
        """What the determination of a request says, if there is one."""
        rows = self._session.rows(_GET, (bucket, disclosure))
        if not rows:
            return None
        tokens, customer, classes, begins, ends = rows[0]
        return Instrument(
            tokens=None if tokens is None else tuple(tokens),
            customer=customer,
            classes=tuple(classes),
            begins=begins,
            ends=ends,
        )
