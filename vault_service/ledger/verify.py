"""The verifier: re-derives the whole log from its entries, and believes nothing but one key.

What an auditor runs, off-line, and can read in one sitting. It takes the entries (`export`), the
log's verifier key, the checkpoint, and checkpoints that he kept from before, and follows these
steps:

1. The checkpoint is signed by a trusted key, and so is each checkpoint that was kept.
2. Every entry is hashed anew; the hashes are the stored leaves.
3. Every tile of every level is made anew from the level below; the stored tiles are the same.
4. The root so found is the checkpoint's.
5. For each kept checkpoint, the root over as many entries as it speaks of is its root: the log
   only grew since.

Where a part of the entries lies in an archive that is not at hand, and the auditor says that this
is as it should be, the stored leaves stand for them: root and growth are still proven, the entries
of that part are not, and the result says which. Verification either returns what it found or
raises; there is no false that could be overlooked. Nothing here needs more than the standard
library and one function that checks an Ed25519 signature.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from vault_service.ledger import checkpoint as checkpoints
from vault_service.ledger import merkle, tiles
from vault_service.ledger import note as notes
from vault_service.ledger.checkpoint import Checkpoint, Cosignature
from vault_service.ledger.export import CHECKPOINT, Source
from vault_service.ledger.faults import LogError, TileMalformed
from vault_service.ledger.merkle import HASH_SIZE
from vault_service.ledger.note import CheckSignature, VerifierKey
from vault_service.ledger.tiles import WIDTH, Edge, Tile

# In canonical JSON a member's name stands in quotes and is followed by a colon, and no text of an
# entry may hold a quote, so this finds the members and nothing else.
_EVENT: Final = re.compile(rb'"event":"([a-z_.]{1,64})"')
_AT: Final = re.compile(rb'"at":"([0-9TZ:.-]{27})"')


class TamperingFound(LogError):
    """The log is not what was signed. `code` says what differs, `index` where."""

    code = "ledger_tampered"


Progress = Callable[[int, int], None]
Examine = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was proven.

    Attributes:
        head: the checkpoint whose root was re-derived.
        signers: the trusted keys that signed it.
        cosignatures: what known witnesses said of it.
        kept: the earlier checkpoints that the log continues.
        entries: how many entries were hashed anew.
        missing: ranges of leaves whose entries were not at hand: (first, after the last).
        events: how many entries of each event; `?` for what is no entry.
        first_at: time of the first entry at hand, as it tells it.
        last_at: time of the last.
    """

    head: Checkpoint
    signers: tuple[VerifierKey, ...]
    cosignatures: tuple[Cosignature, ...]
    kept: tuple[Checkpoint, ...]
    entries: int
    missing: tuple[tuple[int, int], ...]
    events: Mapping[str, int]
    first_at: str | None
    last_at: str | None


@dataclass(slots=True)
class _Tally:
    """What is counted on the way."""

    entries: int = 0
    missing: list[tuple[int, int]] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    first_at: str | None = None
    last_at: str | None = None

    def count(self, bundle: bytes, entries: int) -> None:
        found = _EVENT.findall(bundle)
        self.events.update(name.decode() for name in found)
        if len(found) != entries:
            self.events["?"] += entries - len(found)
        self.entries += entries
        times = _AT.findall(bundle)
        if times:
            self.first_at = self.first_at or times[0].decode()
            self.last_at = times[-1].decode()

    def miss(self, first: int, end: int) -> None:
        if self.missing and self.missing[-1][1] == first:
            first = self.missing.pop()[0]
        self.missing.append((first, end))


def verify(
    source: Source,
    *,
    keys: Sequence[VerifierKey],
    check: CheckSignature,
    kept: Sequence[bytes] = (),
    complete: bool = True,
    examine: Examine | None = None,
    progress: Progress | None = None,
) -> Verified:
    """Verify a log; the numbers in the code are the steps of the module's docstring.

    Args:
        source: where its parts are.
        keys: the log's keys that are trusted, and those of known witnesses.
        check: checks an Ed25519 signature, and raises when it is wrong.
        kept: checkpoints from before, as signed notes.
        complete: refuse when an entry is missing.
        examine: shown each entry at hand, with its index; may raise `LogError`.
        progress: told (leaves done, leaves in all) now and then.

    Raises:
        NoteRejected, CheckpointRejected: a checkpoint is malformed or not signed by a trusted key.
        TamperingFound: the log is not what was signed, or does not continue a kept checkpoint.
        LogError: a part is missing or malformed.
    """
    # 1
    stored = source.read(CHECKPOINT)
    if stored is None:
        raise LogError("there is no checkpoint", code="ledger_checkpoint_missing")
    head = checkpoints.verify(stored, keys, check)
    note = notes.parse(stored)
    before = [checkpoints.verify(each, keys, check) for each in kept]
    for each in before:
        _require_older(each, head)
    # 2, 3 and 5
    walk = _Walk(source, head, before, complete=complete, examine=examine)
    walk.run(progress)
    # 4
    if walk.root != head.root:
        raise TamperingFound("the entries lead to another root than the signed one")
    return Verified(
        head=head,
        signers=tuple(note.verified(keys, check)),
        cosignatures=tuple(checkpoints.cosigned(note, keys, check)),
        kept=tuple(before),
        entries=walk.tally.entries,
        missing=tuple(walk.tally.missing),
        events=dict(walk.tally.events),
        first_at=walk.tally.first_at,
        last_at=walk.tally.last_at,
    )


def _require_older(kept: Checkpoint, head: Checkpoint) -> None:
    if kept.origin != head.origin:
        raise TamperingFound("the kept checkpoint is another log's", code="ledger_other_log")
    if kept.size > head.size:
        raise TamperingFound(
            f"the log has {head.size} entries; the kept checkpoint speaks of {kept.size}",
            code="ledger_truncated",
        )


class _Walk:
    """One walk over the log from left to right, keeping only the right edge of what was seen."""

    def __init__(
        self,
        source: Source,
        head: Checkpoint,
        kept: Sequence[Checkpoint],
        *,
        complete: bool,
        examine: Examine | None,
    ) -> None:
        self._source = source
        self._size = head.size
        self._kept = sorted(kept, key=lambda each: each.size)
        self._complete = complete
        self._examine = examine
        self._levels = [bytearray() for _ in tiles.widths(head.size)]
        self._indexes = [0] * len(self._levels)
        self.tally = _Tally()
        self.root = merkle.EMPTY_ROOT

    def run(self, progress: Progress | None) -> None:
        """Walk; `root` is then the root of all leaves."""
        for bundle in tiles.bundles_of(self._size):
            first = bundle.index * WIDTH
            leaves = self._leaves(bundle, first)
            self._compare_kept(first, leaves, last=False)
            self._levels[0] += leaves
            self._close_full(0)
            if progress is not None:
                progress(first + bundle.width, self._size)
        self._close_partial()
        self.root = self._edge(self._size, 0, b"").root()
        self._compare_kept(self._size, b"", last=True)

    def _leaves(self, bundle: Tile, first: int) -> bytes:
        """The leaf hashes of a bundle, made anew where its entries are at hand."""
        data = self._source.read(bundle.path)
        if data is None:
            if self._complete:
                raise TamperingFound(
                    f"the entries from {first} on are missing",
                    code="ledger_entries_missing",
                    index=first,
                )
            self.tally.miss(first, first + bundle.width)
            return self._stored(Tile(level=0, index=bundle.index, width=bundle.width))
        try:
            entries = tiles.decode_bundle(data, bundle.width)
        except TileMalformed as error:
            raise TamperingFound(
                f"the bundle at {first} is not whole", code=error.code, index=first
            ) from error
        self.tally.count(data, len(entries))
        if self._examine is not None:
            for index, entry in enumerate(entries, first):
                self._examine(index, entry)
        return b"".join(map(merkle.leaf_hash, entries))

    def _stored(self, tile: Tile) -> bytes:
        data = self._source.read(tile.path)
        if data is None:
            raise TamperingFound(f"{tile.path} is missing", code="ledger_tile_missing")
        tiles.hashes_of(data, tile.width)
        return data

    def _close_full(self, level: int) -> None:
        """Compare a tile that became full with the stored one, and carry its root upwards."""
        made = self._levels[level]
        if len(made) < tiles.FULL_TILE:
            return
        self._compare(Tile(level=level, index=self._indexes[level]), bytes(made))
        root = merkle.perfect_root(tiles.hashes_of(bytes(made), WIDTH))
        self._levels[level] = bytearray()
        self._indexes[level] += 1
        self._levels[level + 1] += root
        self._close_full(level + 1)

    def _close_partial(self) -> None:
        for level, made in enumerate(self._levels):
            if made:
                width = len(made) // HASH_SIZE
                self._compare(
                    Tile(level=level, index=self._indexes[level], width=width), bytes(made)
                )

    def _compare(self, tile: Tile, made: bytes) -> None:
        stored = self._stored(tile)
        if stored == made:
            return
        place = next(
            place
            for place in range(tile.width)
            if made[place * HASH_SIZE : (place + 1) * HASH_SIZE]
            != stored[place * HASH_SIZE : (place + 1) * HASH_SIZE]
        )
        index = (tile.index * WIDTH + place) << (tiles.HEIGHT * (tile.level or 0))
        raise TamperingFound(
            f"{tile.path} is not what its entries make, from entry {index} on",
            code="ledger_tile_differs",
            index=index,
        )

    def _compare_kept(self, first: int, leaves: bytes, *, last: bool) -> None:
        """Compare the root at the size of each kept checkpoint that lies within these leaves."""
        end = first + len(leaves) // HASH_SIZE
        while self._kept and (self._kept[0].size < end or last):
            old = self._kept.pop(0)
            within = old.size - first
            if self._edge(old.size, within, leaves).root() != old.root:
                raise TamperingFound(
                    f"the log was rewritten: the checkpoint kept at {old.size} has another root",
                    code="ledger_forked",
                    index=old.size,
                )

    def _edge(self, size: int, within: int, leaves: bytes) -> Edge:
        """The right edge of the tree of `size`, `within` leaves beyond what was closed."""
        base = bytes(self._levels[0]) if self._levels else b""
        upper = [bytes(level) for level in self._levels[1:]]
        return Edge(size=size, levels=(base + leaves[: within * HASH_SIZE], *upper))
