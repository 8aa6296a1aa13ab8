"""The repository of the ledger's outbox: it adds, and can neither read nor change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vault_service.services.outbox_ports import OutboxEntry
from vault_service.storage import arrays
from vault_service.storage.session import Session

_APPEND: Final = b"""
INSERT INTO ledger_outbox (bucket, id, entry)
SELECT * FROM unnest(%b::smallint[], %b::uuid[], %b::bytea[])
"""


class SqlOutbox:
    """The ledger's outbox."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def append(self, entries: Sequence[OutboxEntry]) -> None:
        """Insert the entries; they are promised once the unit of work commits.

        They travel with the next statement or with the commit, which is where a failure to
        write them shows: the commit then does not happen.
        """
        if entries:
            self._session.defer(
                _APPEND,
                (
                    arrays.shorts([entry.bucket for entry in entries]),
                    arrays.uuids([entry.id for entry in entries]),
                    arrays.blobs([entry.entry for entry in entries]),
                ),
            )
