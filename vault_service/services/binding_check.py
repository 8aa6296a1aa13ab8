"""Walks all records and segments against the log: is each wrapped key the one that it tells of?

1. the log is read, entry by entry: which tokens were made and which erased, which rewraps belong to
   which rotation, and whether the index of commitments repeats what the entries say. Each entry's
   hash is compared with the tile of hashes; that the tiles are what was signed is for
   `ledger verify` to say.
2. the records are read, in pages: each is compared with the commitment of the entry that it names,
   and each token with what the log knows of it.
3. segments of activity are read likewise. The log says how many came and not their names, so of
   these it is not known whether any is missing.
4. what the log got meanwhile is read, so that nothing is reported for having happened just now.

Needs the schema's owner, and only reads. Holds the names of all tokens in memory, about 250 bytes
each. Entries that lie in archives are counted and not read: of their commitments the index is
believed.
"""

from __future__ import annotations

import gzip
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import msgspec

from vault_service.ledger import merkle, tiles
from vault_service.ledger.entries import Event
from vault_service.services import bindings
from vault_service.services.binding_ports import Bindings, BoundRow, WalkedRow
from vault_service.services.log_ports import LogReading
from vault_service.services.ports import UnitOfWork

# Records of one statement.
PAGE: Final = 5_000
# Bundles of one statement: 16,384 entries.
BUNDLES: Final = 64
ERASING: Final = frozenset(
    (
        Event.TOKENS_ERASED,
        Event.TOKENS_EXPIRED,
        Event.CUSTOMER_ERASED,
        Event.RETENTION_ENDED,
    )
)

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something that is not as the ledger says: a stable code, and the token or entry or key."""

    code: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was looked at, and what was found.

    Attributes:
        records: live records that were compared with their entries.
        segments: segments of activity that were.
        erased: records that were erased.
        entries: entries that were read.
        archived: entries that were not, because they lie in archives.
        findings: what is wrong, sorted.
        seconds: how long it took.
    """

    records: int
    segments: int
    erased: int
    entries: int
    archived: int
    findings: tuple[Finding, ...]
    seconds: float


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """The members of an entry that matter here."""

    id: str
    event: str
    tokens: tuple[str, ...] = ()
    customer: str | None = None
    key: str | None = None
    count: int | None = None
    commitments: dict[str, str] = {}
    details: dict[str, str | int] = {}


_decoder: Final = msgspec.json.Decoder(_Entry)


@dataclass(slots=True)
class _Told:
    """What the log says, as far as it was read."""

    made: set[str] = field(default_factory=set)
    bound_when_made: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    erased_customers: set[str] = field(default_factory=set)
    started: set[str] = field(default_factory=set)
    rewrapped: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    certified: set[str] = field(default_factory=set)
    rewraps: dict[UUID, tuple[str, int]] = field(default_factory=dict)
    adoptions: set[UUID] = field(default_factory=set)
    adopted: bool = False
    entries: int = 0


class BindingCheck:
    """The use case.

    Args:
        uow: the schema's owner.
        clock: seconds, monotonic.
    """

    def __init__(self, *, uow: UnitOfWork, clock: Callable[[], float] = time.monotonic) -> None:
        self._uow = uow
        self._clock = clock

    def run(self, *, progress: Progress = lambda _what, _done, _of: None) -> Checked:
        """Look at everything.

        Raises:
            Unavailable: the database is.
            LogError: a bundle of the log cannot be read at all.
        """
        began = self._clock()
        run = _Run(self._uow, progress)
        run.read_erasures()
        run.read_log()
        run.read_records()
        run.read_segments()
        run.read_rest()
        return run.result(self._clock() - began)


class _Run:
    """One walk."""

    def __init__(self, uow: UnitOfWork, progress: Progress) -> None:
        self._uow = uow
        self._progress = progress
        self._told = _Told()
        self._found: set[Finding] = set()
        self._read = 0
        self._archived = 0
        self._records = 0
        self._segments = 0
        self._erased = 0
        # Settled when the log was read to its end: what may have happened meanwhile.
        self._unknown: list[str] = []
        self._untold: list[tuple[str, str]] = []
        self._rewrapped: list[BoundRow] = []
        self._late: list[tuple[str, BoundRow]] = []
        self._size = 0
        self._ids: set[UUID] | None = None
        self._missing: set[str] = set()
        self._ended: set[str] = set()

    def result(self, seconds: float) -> Checked:
        """What came of it."""
        told = self._told
        for token in self._missing:
            self._add("record_missing", token)
        for token, row in self._late:
            self._check_origin(token, row)
        for row in self._rewrapped:
            self._check_rewrap(row)
        # What archived entries tell is not known here.
        if not self._archived:
            for token in self._unknown:
                if token not in told.made:
                    self._add("record_unknown", token)
            for token, customer in self._untold:
                if token not in told.erased and customer not in told.erased_customers:
                    self._add("record_erased_untold", token)
        return Checked(
            records=self._records,
            segments=self._segments,
            erased=self._erased,
            entries=told.entries,
            archived=self._archived,
            findings=tuple(sorted(self._found)),
            seconds=seconds,
        )

    def _add(self, code: str, subject: object) -> None:
        self._found.add(Finding(code, str(subject)))

    # ------------------------------------------------------------ the log

    def read_erasures(self) -> None:
        """Note which tokens are erased by entries that still wait for their place in the log.

        Whatever of it is there when the records are read has come back. The entries themselves are
        taken in at the end, in the log's order.
        """
        with self._uow.begin(read_only=True) as tx:
            waiting = tx.bindings.waiting()
        for data in waiting:
            with suppress(msgspec.DecodeError):  # told of when it is taken in
                entry = _decoder.decode(data)
                if entry.event in ERASING:
                    self._ended.update(entry.tokens)

    def read_log(self) -> None:
        """Read what was not read yet of the sequenced log."""
        with self._uow.begin(read_only=True) as tx:
            state = tx.log.state()
            if not self._read:
                self._read = self._archived = state.first_leaf
            size = self._size = state.edge.size
            full = size // tiles.WIDTH
            for start in range(self._read // tiles.WIDTH, full, BUNDLES):
                numbers = range(start, min(start + BUNDLES, full))
                self._read_bundles(tx.log, tx.bindings, numbers)
                self._progress("entries", self._read, size)
            tail = [(leaf, entry) for leaf, entry in tx.log.tail() if leaf >= self._read]
            self._take(tx.bindings, tail)

    def _read_bundles(self, log: LogReading, index: Bindings, numbers: range) -> None:
        packed = log.bundles(numbers)
        hashes = log.tiles([(0, number) for number in numbers])
        for number in numbers:
            if number not in packed:
                self._add("ledger_entries_missing", number * tiles.WIDTH)
                continue
            entries = tiles.decode_bundle(gzip.decompress(packed[number]), tiles.WIDTH)
            found = b"".join(map(merkle.leaf_hash, entries))
            if found != hashes.get((0, number)):
                self._add("ledger_entries_changed", number * tiles.WIDTH)
            first = number * tiles.WIDTH
            some = [
                (leaf, entry) for leaf, entry in enumerate(entries, first) if leaf >= self._read
            ]
            self._take(index, some)
        self._read = max(self._read, numbers.stop * tiles.WIDTH)

    def _take(self, index: Bindings, entries: Sequence[tuple[int, bytes]]) -> None:
        read = dict(self._hear(entries))
        indexed = index.indexed(list(read)) if read else {}
        for entry, expected in read.items():
            if indexed.get(entry) != expected:
                self._add("ledger_index_differs", entry)
        if entries:
            self._read = max(self._read, entries[-1][0] + 1)

    def read_rest(self) -> None:
        """Read what the log got meanwhile, and what waits for its place in it."""
        # The outbox first: what leaves it now is in the log by the time that that is read.
        with self._uow.begin(read_only=True) as tx:
            waiting = tx.bindings.waiting()
        ids = self._ids = set()
        self.read_log()
        self._ids = None
        list(self._hear(enumerate(waiting, self._read), but=ids))

    def _hear(
        self, entries: Iterable[tuple[int, bytes]], *, but: Collection[UUID] = ()
    ) -> Iterator[tuple[UUID, tuple[int, bytes | None]]]:
        """Take in what entries say; what the index should say of each."""
        for leaf, data in entries:
            try:
                entry = _decoder.decode(data)
                name = UUID(entry.id)
            except (msgspec.DecodeError, ValueError):
                self._add("ledger_entry_malformed", leaf)
                continue
            if name in but:
                continue
            if self._ids is not None:
                self._ids.add(name)
            self._told.entries += 1
            commitment = entry.commitments.get(bindings.COMMITMENT)
            self._hear_one(entry, name, bound=commitment is not None)
            yield name, (leaf, None if commitment is None else commitment.encode())

    def _hear_one(self, entry: _Entry, name: UUID, *, bound: bool) -> None:
        told = self._told
        match entry.event:
            case Event.TOKENS_CREATED:
                self._hear_made(entry, bound=bound)
            case event if event in ERASING:
                told.erased.update(entry.tokens)
                if event == Event.CUSTOMER_ERASED and entry.customer is not None:
                    told.erased_customers.add(entry.customer)
            case Event.ROTATION_STARTED:
                told.started.add(str(entry.details.get("rotation")))
            case Event.VAULT_KEY_REWRAPPED:
                self._hear_rewrapped(entry, name, bound=bound)
            case Event.ROTATION_CERTIFICATE:
                self._hear_certified(entry)
            case Event.VAULT_KEY_ADOPTED:
                if told.adopted:
                    self._add("adopted_again", name)
                told.adopted = told.adopted or entry.details.get("remaining") == 0
                told.adoptions.add(name)
            case _:
                pass

    def _hear_made(self, entry: _Entry, *, bound: bool) -> None:
        told = self._told
        # Where some of a batch were known before, the entry does not say which.
        if bound and entry.details.get("deduplicated") == 0:
            for token in entry.tokens:
                if token in told.bound_when_made:
                    self._add("record_created_twice", token)
            told.bound_when_made.update(entry.tokens)
        told.made.update(entry.tokens)

    def _hear_rewrapped(self, entry: _Entry, name: UUID, *, bound: bool) -> None:
        told, rotation = self._told, str(entry.details.get("rotation"))
        told.rewrapped[rotation] += entry.count or 0
        if bound:
            version = entry.details.get("to_version")
            told.rewraps[name] = entry.key or "", version if isinstance(version, int) else 0
        if rotation in told.certified or (rotation not in told.started and not self._archived):
            self._add("rewrap_outside_a_rotation", name)

    def _hear_certified(self, entry: _Entry) -> None:
        rotation = str(entry.details.get("rotation"))
        self._told.certified.add(rotation)
        counted = self._told.rewrapped.pop(rotation, 0)
        if counted != entry.details.get("rewrapped") and not self._archived:
            self._add("rotation_miscounted", rotation)

    # ------------------------------------------------------------ the records

    def read_records(self) -> None:
        """Compare each record with the log."""
        self._missing = set(self._told.made)
        after: tuple[int, str] | None = None
        total = len(self._missing) or None
        while True:
            with self._uow.begin(read_only=True) as tx:
                rows = tx.bindings.walk(after, PAGE)
            for row in rows:
                self._check(row)
            self._progress("records", self._records + self._erased, total)
            if len(rows) < PAGE:
                return
            after = rows[-1].bucket, rows[-1].token

    def read_segments(self) -> None:
        """Compare each segment of activity with the log."""
        after: str | None = None
        while True:
            with self._uow.begin(read_only=True) as tx:
                rows = tx.bindings.walk_segments(after, PAGE)
            for row in rows:
                self._check_binding(row, row.bound)
            self._segments += len(rows)
            self._progress("segments", self._segments, None)
            if len(rows) < PAGE:
                return
            after = rows[-1].token

    def _check(self, row: WalkedRow) -> None:
        told = self._told
        self._missing.discard(row.token)
        if row.bound is None:
            self._erased += 1
            if row.token not in told.erased:
                self._untold.append((row.token, row.customer))
            return
        self._records += 1
        if (
            row.token in told.erased
            or row.customer in told.erased_customers
            or row.token in self._ended
        ):
            self._add("record_came_back", row.token)
        if row.token not in told.made:
            self._unknown.append(row.token)
        self._check_binding(row, row.bound)

    def _check_binding(self, row: WalkedRow, bound: BoundRow | None) -> None:
        if bound is None or bound.binding is None:
            self._add("binding_missing", row.token)
        elif row.committed is None:
            self._add("binding_without_entry", row.token)
        elif bindings.root(bindings.leaf_of(bound), bound.binding.path) != row.committed:
            self._add("wrapped_key_substituted", row.token)
        elif bound.wrapped.ciphertext.partition(":")[2].partition(":")[0] != (
            f"v{bound.wrapped.kek_version}"
        ):
            self._add("wrapped_key_version", row.token)
        elif row.leaf is None or row.leaf >= self._size:
            self._late.append((row.token, bound))
        else:
            self._check_origin(row.token, bound)

    def _check_origin(self, token: str, bound: BoundRow) -> None:
        """Whether the entry is one that may bind this row."""
        entry = bound.binding.entry if bound.binding is not None else None
        if entry in self._told.adoptions and token in self._told.bound_when_made:
            self._add("adopted_though_bound", token)
        elif entry in self._told.rewraps:
            self._rewrapped.append(bound)

    def _check_rewrap(self, row: BoundRow) -> None:
        entry = row.binding.entry if row.binding is not None else None
        said = self._told.rewraps.get(entry) if entry is not None else None
        if said != (row.wrapped.kek, row.wrapped.kek_version):
            self._add("rewrap_of_another_key", row.token)
