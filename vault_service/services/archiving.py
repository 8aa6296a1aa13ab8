"""Moves old entries out of the database into a file that still verifies.

Only entry bundles go: hash tiles stay, 33 bytes an entry, so that every proof can be made for ever.
Nothing is deleted before the written file was read back and verified against a signed head. Needs
the schema's owner: no role of the running service may delete what is in the log.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from keys.signature import verify_ed25519
from vault_service.errors import Conflict, InvalidInput
from vault_service.ledger import checkpoint as checkpoints
from vault_service.ledger import tiles
from vault_service.ledger.entries import Event
from vault_service.ledger.export import Export, ExportWriter
from vault_service.ledger.faults import EntriesMissing
from vault_service.ledger.note import VerifierKey
from vault_service.ledger.tiles import WIDTH, Tile
from vault_service.ledger.verify import verify
from vault_service.services.audit import Audit
from vault_service.services.log_ports import LogReading, LogState, Wanted
from vault_service.services.log_tiles import fetcher
from vault_service.services.ports import UnitOfWork

# PCI DSS 10.5.1: three months at hand for analysis, twelve in all. The first is refused here;
# the second is told, in the ledger and to whoever archives, for nothing here ever deletes a file.
AT_HAND: Final = timedelta(days=90)
KEPT: Final = timedelta(days=366)
ACTOR: Final = "archive"
_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What went into the file: leaves [first, end), the file's SHA-256, how long it must stay."""

    first: int
    end: int
    digest: str
    keep_until: date


Progress = Callable[[int, int], None]


class Archiving:
    """The use case.

    Args:
        uow: the schema's owner.
        audit: makes the entry that tells of it.
    """

    def __init__(self, *, uow: UnitOfWork, audit: Audit) -> None:
        self._uow = uow
        self._audit = audit

    def archive(
        self,
        file: Path,
        *,
        before: datetime,
        keys: Sequence[VerifierKey],
        progress: Progress | None = None,
    ) -> Archived:
        """Move the bundles whose entries are all older than `before` into a new file.

        Raises:
            InvalidInput: `before` is less than three months ago.
            Conflict: nothing is that old, or another archive is being made.
            LogError: the log, or the file as read back, does not verify; nothing was deleted.
            Unavailable: the database is.
            OSError: the file exists or cannot be written.
        """
        with self._uow.begin(read_only=True) as tx:
            if before > tx.clock.now() - AT_HAND:
                raise InvalidInput("the last three months stay at hand", code="archive_too_recent")
            state = tx.log.state()
            note = tx.log.checkpoint()
            first = state.first_leaf // WIDTH
            young = tx.log.find(Wanted(since=before, start=first), 1)
            end = young[0] if young else state.edge.size // WIDTH
            if note is None or end <= first:
                raise Conflict("no bundle of entries is that old", code="nothing_to_archive")
            head = checkpoints.verify(note, keys, verify_ed25519)
            with file.open("xb") as stream:
                writer = ExportWriter(stream)
                writer.head(note, map(str, keys))
                _put_tiles(writer, tx.log, state, head.size)
                _put_bundles(writer, tx.log, range(first, end), progress)
                writer.close()
                stream.flush()
                os.fsync(stream.fileno())
            _sync(file.parent)
        _require_whole(file, keys, first * WIDTH, end * WIDTH)
        found = Archived(
            first=first * WIDTH,
            end=end * WIDTH,
            digest=_digest(file),
            keep_until=(before + KEPT).date(),
        )
        self._forget(found)
        return found

    def _forget(self, archived: Archived) -> None:
        with self._uow.begin() as tx:
            if not tx.log.forget(archived.first, archived.end):
                raise Conflict("another archive was made meanwhile", code="nothing_to_archive")
            tx.outbox.append(
                self._audit.entries(
                    Event.LOG_ARCHIVED,
                    ACTOR,
                    at=tx.clock.now(),
                    count=archived.end - archived.first,
                    details={
                        "first": archived.first,
                        "end": archived.end,
                        "sha256": archived.digest,
                        "keep_until": archived.keep_until.isoformat(),
                    },
                )
            )


def _put_tiles(writer: ExportWriter, log: LogReading, state: LogState, size: int) -> None:
    fetch = fetcher(log, state.edge)
    for tile in tiles.of_tree(size):
        name = (tile.level or 0, tile.index)
        writer.tile(tile, fetch([name])[name][: tile.width * 32])


def _put_bundles(
    writer: ExportWriter, log: LogReading, numbers: range, progress: Progress | None
) -> None:
    for start in range(numbers.start, numbers.stop, _AT_ONCE):
        some = range(start, min(start + _AT_ONCE, numbers.stop))
        packed = log.bundles(some)
        for number in some:
            if number not in packed:
                raise EntriesMissing("a full bundle is missing", index=number * WIDTH)
            writer.tile(Tile(level=None, index=number), gzip.decompress(packed[number]))
        if progress is not None:
            progress(some.stop - numbers.start, len(numbers))


def _require_whole(file: Path, keys: Sequence[VerifierKey], first: int, end: int) -> None:
    """Return if the file, as it was written, proves the entries that it is there for.

    Raises:
        LogError: it does not.
    """
    source = Export(file)
    try:
        found = verify(source, keys=keys, check=verify_ed25519, complete=False)
    finally:
        source.close()
    missing = tuple(each for each in ((0, first), (end, found.head.size)) if each[0] < each[1])
    if found.missing != missing:
        raise EntriesMissing("the archive does not hold what it should")


def _sync(folder: Path) -> None:
    """Have the file's name reach the disk too, before the rows that it replaces are gone."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
