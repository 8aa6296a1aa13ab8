"""Reading the log: what an auditor is served, and nobody else.

Checkpoint, tiles and bundles are those of C2SP tlog-tiles. Entries are found by name and time over
the terms of their bundles, at most `SCAN` bundles a page, so that no question can keep the
database busy; a page may therefore be short, or empty, and still have a next one.
"""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from vault_service.domain.actors import Action
from vault_service.errors import Conflict, InvalidInput, NotFound
from vault_service.ledger import checkpoint as checkpoints
from vault_service.ledger import merkle, tiles
from vault_service.ledger import note as notes
from vault_service.ledger.checkpoint import Checkpoint
from vault_service.ledger.faults import EntriesMissing, TileMalformed, TileMissing
from vault_service.ledger.merkle import HASH_SIZE
from vault_service.ledger.tiles import WIDTH, Tile
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.log_ports import LogReading, LogState, Shown, Wanted
from vault_service.services.log_terms import matches, term
from vault_service.services.log_tiles import at_edge, fetcher
from vault_service.services.ports import UnitOfWork
from vault_service.services.token_keys import PublicKeys

# Bundles that are looked through for one page: 16,384 entries, a tenth of a second.
SCAN: Final = 64
MAX_PAGE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Bytes as served; `packed` when they are gzip."""

    data: bytes
    packed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which entries are wanted.

    Attributes:
        names: kind -> name: event, actor, token, customer, grant, principal, key.
        since: at this time or later.
        until: at this time or earlier.
        cursor: where the page before ended.
        limit: entries on a page.
        newest_first: the other way round.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None
    cursor: str | None = None
    limit: int = 100
    newest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEntry:
    """An entry and its place; `members` is what it says."""

    index: int
    members: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some entries, and where to go on."""

    entries: tuple[LoggedEntry, ...]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """That an entry is in the log. `entry` is None where it lies in an archive."""

    id: str
    index: int
    entry: bytes | None
    leaf: bytes
    checkpoint: str
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency:
    """That a log of one size is the beginning of that of another."""

    old: int
    new: int
    old_root: bytes
    new_root: bytes
    proof: tuple[bytes, ...]


class LedgerReading:
    """The use case. Needs the console's database role.

    Args:
        uow: the console's database role.
        keys: the public keys of Vault's key `ledger`.
        audit: asks the table of permissions.
    """

    def __init__(self, *, uow: UnitOfWork, keys: PublicKeys, audit: Audit) -> None:
        self._uow = uow
        self._keys = keys
        self._audit = audit

    def checkpoint(self, caller: Caller) -> bytes:
        """The newest checkpoint.

        Raises:
            Forbidden: the caller is no auditor.
            NotFound: nothing was signed yet.
        """
        self._audit.require(caller, Action.READ_LEDGER)
        with self._uow.begin(read_only=True) as tx:
            return _newest(tx.log)

    def verifier_keys(self, caller: Caller) -> list[str]:
        """The log's keys, oldest first, as verifiers take them.

        Raises:
            Forbidden: the caller is no auditor.
            NotFound: the log has no name yet.
            VaultUnavailable: Vault gave no answer in time.
        """
        self._audit.require(caller, Action.READ_LEDGER)
        with self._uow.begin(read_only=True) as tx:
            origin = tx.log.state().origin
        if origin is None:
            raise _unsigned()
        found = sorted(self._keys.public_keys().items())
        return [str(checkpoints.log_key(origin, raw)) for _, raw in found]

    def tile(self, caller: Caller, name: str) -> Blob:
        """A tile or an entry bundle by the path behind `tile/`.

        Raises:
            Forbidden: the caller is no auditor.
            NotFound: there is no such tile, or not yet, or its entries were archived.
        """
        self._audit.require(caller, Action.READ_LEDGER)
        try:
            tile = tiles.parse_name(name)
        except TileMalformed as error:
            raise NotFound("there is no such tile", code="ledger_tile_not_found") from error
        with self._uow.begin(read_only=True) as tx:
            state = tx.log.state()
            if not _exists(tile, state.edge.size):
                raise NotFound("there is no such tile", code="ledger_tile_not_found")
            if tile.level is None:
                return _bundle(tx.log, tile, state)
            return Blob(data=_hashes(tx.log, tile, state))

    def search(self, caller: Caller, question: Question) -> Page:
        """Entries by name and time, in the order of the log.

        Raises:
            Forbidden: the caller is no auditor.
            InvalidInput: the cursor or the limit is wrong.
        """
        self._audit.require(caller, Action.READ_LEDGER)
        if not 1 <= question.limit <= MAX_PAGE:
            raise InvalidInput(f"1 to {MAX_PAGE} entries on a page", code="limit_invalid")
        with self._uow.begin(read_only=True) as tx:
            tail = tx.log.tail()
            size = tail[-1][0] + 1 if tail else tx.log.state().edge.size
            start = _start(question, size)
            return _Search(tx.log, question, tail, size).page(start)

    def inclusion(self, caller: Caller, entry: str) -> Inclusion:
        """The proof that an entry is in the log, against the newest checkpoint.

        Raises:
            Forbidden: the caller is no auditor.
            NotFound: there is no such entry in the log.
            Conflict: it waits for the next checkpoint (code `ledger_entry_pending`).
        """
        self._audit.require(caller, Action.READ_LEDGER)
        wanted = _uuid(entry)
        # Two questions and no more: under load each of them waits its turn.
        with self._uow.begin(read_only=True) as tx:
            found = tx.log.locate(wanted)
            index, edge = found.leaf, found.state.edge
            if index is None:
                raise NotFound("the log has no such entry", code="ledger_entry_not_found")
            if found.note is None:
                raise _unsigned()
            head = Checkpoint.parse(notes.parse(found.note).text)
            if not index < head.size <= edge.size:
                raise Conflict(
                    "the entry waits for the next checkpoint; ask again in a second",
                    code="ledger_entry_pending",
                )
            ranges = [(index, index + 1), *merkle.inclusion_ranges(index, head.size)]
            partial = at_edge(edge)
            full = [name for name in tiles.tiles_for(ranges) if name not in partial]
            shown = tx.log.show(full, index)
        leaf, *proof = merkle.prove(ranges, tiles.reader(partial | {**shown.tiles}))
        return Inclusion(
            id=str(wanted),
            index=index,
            entry=_entry(shown, index),
            leaf=leaf,
            checkpoint=found.note.decode(),
            proof=tuple(proof),
        )

    def consistency(self, caller: Caller, *, old: int, new: int | None) -> Consistency:
        """The proof that the log of one size is the beginning of that of another.

        Args:
            caller: an auditor.
            old: the smaller size.
            new: the larger; the newest checkpoint's, if None.

        Raises:
            Forbidden: the caller is no auditor.
            InvalidInput: the log never had these sizes.
        """
        self._audit.require(caller, Action.READ_LEDGER)
        with self._uow.begin(read_only=True) as tx:
            state = tx.log.state()
            new = state.signed_size if new is None else new
            if not 0 <= old <= new <= state.edge.size:
                raise InvalidInput("the log has no such sizes", code="ledger_size_unknown")
            ranges = [(0, old), (0, new), *merkle.consistency_ranges(old, new)]
            found = fetcher(tx.log, state.edge)(tiles.tiles_for(ranges))
        old_root, new_root, *proof = merkle.prove(ranges, tiles.reader(found))
        return Consistency(
            old=old, new=new, old_root=old_root, new_root=new_root, proof=tuple(proof)
        )


def _unsigned() -> NotFound:
    return NotFound("nothing was signed yet", code="ledger_checkpoint_not_found")


def _newest(log: LogReading) -> bytes:
    note = log.checkpoint()
    if note is None:
        raise _unsigned()
    return note


def _uuid(text: str) -> uuid.UUID:
    try:
        found = uuid.UUID(text)
    except ValueError as error:
        raise NotFound("the log has no such entry", code="ledger_entry_not_found") from error
    if str(found) != text:
        raise NotFound("the log has no such entry", code="ledger_entry_not_found")
    return found


def _exists(tile: Tile, size: int) -> bool:
    """Whether a tree of this size has the tile, or had it when it was smaller."""
    hashes = size >> (tiles.HEIGHT * (tile.level or 0))
    return tile.index * WIDTH + tile.width <= hashes


def _hashes(log: LogReading, tile: Tile, state: LogState) -> bytes:
    name = (tile.level or 0, tile.index)
    data = at_edge(state.edge).get(name) or log.tiles([name]).get(name)
    if data is None:
        raise TileMissing("a full tile is missing")
    return data[: tile.width * HASH_SIZE]


def _bundle(log: LogReading, tile: Tile, state: LogState) -> Blob:
    first = tile.index * WIDTH
    if first < state.first_leaf:
        raise NotFound("these entries were archived", code="ledger_archived")
    if tile.width < WIDTH:
        # Read before the full bundle: it may become full in between, and never the other way.
        entries = [entry for leaf, entry in log.tail() if first <= leaf < first + tile.width]
        if len(entries) == tile.width:
            return Blob(data=tiles.encode_bundle(entries))
    packed = log.bundles([tile.index]).get(tile.index)
    if packed is None:
        raise EntriesMissing("a full bundle is missing")
    if tile.width == WIDTH:
        return Blob(data=packed, packed=True)
    return Blob(data=tiles.encode_bundle(_unpack(packed)[: tile.width]))


def _unpack(packed: bytes) -> list[bytes]:
    return tiles.decode_bundle(gzip.decompress(packed), WIDTH)


def _entry(shown: Shown, index: int) -> bytes | None:
    """The entry of a leaf; None if it was archived."""
    return shown.entry if shown.packed is None else _unpack(shown.packed)[index % WIDTH]


def _start(question: Question, size: int) -> int:
    if question.cursor is None:
        return size - 1 if question.newest_first else 0
    if not (question.cursor.isascii() and question.cursor.isdigit()) or len(question.cursor) > 18:
        raise InvalidInput("this is not a cursor", code="cursor_invalid")
    return int(question.cursor)


class _Search:
    """One page's search: bundle by bundle, and the partial bundle where its turn comes."""

    def __init__(
        self, log: LogReading, question: Question, tail: Sequence[tuple[int, bytes]], size: int
    ) -> None:
        self._log = log
        self._question = question
        self._tail = tail
        self._full = size // WIDTH
        self._terms = tuple(sorted({term(kind, value) for kind, value in question.names.items()}))

    def page(self, start: int) -> Page:
        """The entries from leaf `start` on."""
        found: list[LoggedEntry] = []
        numbers = self._numbers(start // WIDTH)
        for number, entries in self._bundles(numbers[:SCAN]):
            for index, entry in self._ordered(number, entries):
                if (index > start) if self._question.newest_first else (index < start):
                    continue
                if len(found) == self._question.limit:
                    return Page(entries=tuple(found), next=str(index))
                members = self._wanted(entry)
                if members is not None:
                    found.append(LoggedEntry(index=index, members=members))
        return Page(entries=tuple(found), next=self._next(numbers))

    def _next(self, numbers: Sequence[int]) -> str | None:
        """Where to go on when every bundle of this page was looked through."""
        if len(numbers) <= SCAN:
            return None
        number = numbers[SCAN]
        return str(number * WIDTH + (WIDTH - 1 if self._question.newest_first else 0))

    def _numbers(self, start: int) -> list[int]:
        """Bundles to look through, one more than a page looks through if there are more."""
        question = self._question
        if question.newest_first and start >= self._full:
            return [self._full, *self._find(self._full - 1, SCAN)]
        found = self._find(start, SCAN + 1)
        if question.newest_first or len(found) > SCAN:
            return found
        return [*found, self._full]

    def _find(self, start: int, limit: int) -> list[int]:
        question = self._question
        wanted = Wanted(
            terms=self._terms,
            since=question.since,
            until=question.until,
            start=start,
            newest_first=question.newest_first,
        )
        # What became full since the partial bundle was read is for the next page.
        return [number for number in self._log.find(wanted, limit) if number < self._full]

    def _bundles(self, numbers: Sequence[int]) -> Iterable[tuple[int, list[bytes]]]:
        # A few at a time: a page is often full after the first.
        for place in range(0, len(numbers), 8):
            some = numbers[place : place + 8]
            packed = self._log.bundles([number for number in some if number != self._full])
            for number in some:
                if number == self._full:
                    yield number, [entry for _, entry in self._tail]
                elif number in packed:
                    yield number, _unpack(packed[number])

    def _ordered(self, number: int, entries: Sequence[bytes]) -> Iterable[tuple[int, bytes]]:
        numbered = list(enumerate(entries, number * WIDTH))
        return reversed(numbered) if self._question.newest_first else numbered

    def _wanted(self, entry: bytes) -> Mapping[str, Any] | None:
        """What an entry says, if it is wanted."""
        question = self._question
        try:
            members: dict[str, Any] = json.loads(entry)
            if not matches(members, question.names):
                return None
            at = datetime.fromisoformat(members["at"])
            if question.since is not None and at < question.since:
                return None
            if question.until is not None and at > question.until:
                return None
        except (ValueError, TypeError, KeyError, AttributeError):
            # No entry of ours, so it has no name and no time that anybody could ask for.
            return None if question.names or question.since or question.until else {}
        return members
