"""The sequencer: gives the outbox's entries their places in the log, and has the head signed.

One transaction takes a batch out of the outbox and puts it into the log, under the lock of the one
row that stands for the tree. So an entry is in the outbox or in the log, never in both and never in
neither, wherever the process dies; and of two sequencers one waits its turn. Signing comes after:
what it signs is committed, and it signs nothing that does not grow out of what was signed before.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from keys.signature import verify_ed25519
from vault_service.ledger import checkpoint as checkpoints
from vault_service.ledger import merkle, tiles
from vault_service.ledger.checkpoint import Checkpoint
from vault_service.ledger.faults import EdgeBroken, EntriesMissing, LogError, LogForked
from vault_service.ledger.note import VerifierKey
from vault_service.services.log_ports import (
    Appended,
    LogReading,
    LogSigner,
    LogState,
    NewBundle,
    WaitingEntry,
)
from vault_service.services.log_terms import outline
from vault_service.services.log_tiles import fetcher
from vault_service.services.ports import UnitOfWork

# Entries of one transaction: 16 bundles, a tenth of a second of work.
BATCH: Final = 4096
KEY_NAME: Final = "ledger"
# Seconds between two log lines that tell a head.
TELL_EVERY: Final = 10.0
# Level 1 is a third faster than the default and a tenth larger.
_PACKING: Final = 1

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequenced:
    """One round: how many entries got a place, and how many there are now."""

    entries: int
    size: int

    @property
    def more(self) -> bool:
        """Whether the batch was full, so that another round is due at once."""
        return self.entries == BATCH


class Sequencer:
    """The use case. Needs the worker's database role and the Vault role `sign-ledger`.

    Args:
        uow: the worker's database role.
        signer: Vault's key `ledger`.
        origin: the log's name, if it has none yet; else the name that it has stays.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        signer: LogSigner,
        origin: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._uow = uow
        self._signer = signer
        self._origin = origin
        self._last: Checkpoint | None = None
        self._keys: dict[int, bytes] = {}
        self._clock = clock
        self._told: float | None = None

    def sequence(self) -> Sequenced | None:
        """Put one batch into the log; None while another sequencer is at it.

        Raises:
            LogError: the stored tree contradicts itself; nothing was done.
            Unavailable: the database is; the batch is in the log, or still in the outbox.
        """
        with self._uow.begin() as tx:
            state = tx.log.lock()
            if state is None:
                return None
            _check_edge(state)
            waiting = tx.log.take(BATCH)
            if waiting:
                tx.log.append(_batch(state, waiting, tx.log))
        return Sequenced(entries=len(waiting), size=state.edge.size + len(waiting))

    def sign(self) -> Checkpoint | None:
        """Sign the log's head, if it is not signed yet; the checkpoint, or None.

        Raises:
            LogForked: the tree does not continue the last checkpoint; nothing was signed.
            LogError: the stored tree contradicts itself; nothing was signed.
            VaultUnavailable: Vault did not sign.
            Unavailable: the database is; the checkpoint may have been stored.
        """
        with self._uow.begin(read_only=True) as tx:
            # Before the state, so that nothing which this head leaves out has waited for longer.
            since = tx.log.unplaced_since()
            state = tx.log.state()
            if state.edge.size == state.signed_size:
                return None
            _check_edge(state)
            origin = state.origin or self._origin
            self._require_growth(state, origin, tx.log)
        head = Checkpoint(origin=origin, size=state.edge.size, root=state.root)
        text = head.text().encode()
        version, signature = self._signer.sign(text)
        key = self._key(origin, version)
        verify_ed25519(key.public_key, text, signature)
        note = checkpoints.signed(head, key, signature).encode()
        # Not under the tree's lock: a head that gave way to whoever is at work would be thrown away
        # each time when there is much to do, and nothing signed just then.
        with self._uow.begin() as tx:
            tx.log.record_checkpoint(origin=origin, size=head.size, note=note, since=since)
        self._last = head
        self._tell(head)
        return head

    def _tell(self, head: Checkpoint) -> None:
        """Leave a copy of the head outside of the database, wherever the log lines go."""
        now = self._clock()
        if self._told is None or now - self._told >= TELL_EVERY:
            self._told = now
            _log.info("checkpoint", size=head.size, root=head.root.hex(), origin=head.origin)

    def _require_growth(self, state: LogState, origin: str, log: LogReading) -> None:
        last = self._last or self._stored(origin, log)
        if last is None:
            return
        try:
            proof = tiles.prove(
                merkle.consistency_ranges(last.size, state.edge.size), fetcher(log, state.edge)
            )
            merkle.verify_consistency(
                old=last.size,
                old_root=last.root,
                new=state.edge.size,
                new_root=state.root,
                proof=proof,
            )
        except LogError as error:
            raise LogForked("the log does not continue its last checkpoint") from error

    def _stored(self, origin: str, log: LogReading) -> Checkpoint | None:
        """The newest checkpoint of an earlier life of this process, or of another's."""
        note = log.checkpoint()
        if note is None:
            return None
        self._keys = dict(self._signer.public_keys())
        keys = [checkpoints.log_key(origin, raw) for raw in self._keys.values()]
        return checkpoints.verify(note, keys, verify_ed25519)

    def _key(self, origin: str, version: int) -> VerifierKey:
        if version not in self._keys:
            self._keys = dict(self._signer.public_keys())
        return checkpoints.log_key(origin, self._keys[version])


def _check_edge(state: LogState) -> None:
    """Return if the right edge gives the root that was stored with it.

    Raises:
        LogError: it does not.
    """
    if state.edge.root() != state.root:
        raise EdgeBroken("the stored edge has another root")


def _batch(state: LogState, waiting: Sequence[WaitingEntry], log: LogReading) -> Appended:
    first = state.edge.size
    entries = [each.entry for each in waiting]
    growth = tiles.grow(state.edge, [merkle.leaf_hash(entry) for entry in entries])
    begun = first % tiles.WIDTH
    fills = begun + len(entries) >= tiles.WIDTH
    before = [entry for _, entry in log.tail()] if begun and fills else []
    if fills and len(before) != begun:
        raise EntriesMissing("entries of the partial bundle are missing")
    bundles, tail = _cut(first, before, entries, waiting[0].created_at)
    return Appended(
        first_leaf=first,
        ids=tuple(each.id for each in waiting),
        wrapped_keys=tuple(each.wrapped_keys for each in waiting),
        tiles=growth.tiles,
        edge=growth.edge,
        changed=growth.changed,
        root=growth.edge.root(),
        bundles=bundles,
        tail=tail,
        oldest=waiting[0].created_at,
    )


def _cut(
    first: int, before: list[bytes], entries: list[bytes], fallback: datetime
) -> tuple[tuple[NewBundle, ...], tuple[tuple[int, bytes], ...]]:
    """The bundles that become full, and what is new in the partial one behind them."""
    if first % tiles.WIDTH + len(entries) < tiles.WIDTH:
        return (), tuple(enumerate(entries, first))
    start = first - len(before)
    whole = before + entries
    full = len(whole) - len(whole) % tiles.WIDTH
    bundles = tuple(
        _bundle((start + place) // tiles.WIDTH, whole[place : place + tiles.WIDTH], fallback)
        for place in range(0, full, tiles.WIDTH)
    )
    return bundles, tuple(enumerate(whole[full:], start + full))


def _bundle(number: int, entries: list[bytes], fallback: datetime) -> NewBundle:
    outlines = [outline(entry) for entry in entries]
    times = [each.at for each in outlines if each.at is not None] or [fallback]
    return NewBundle(
        number=number,
        packed=gzip.compress(tiles.encode_bundle(entries), _PACKING, mtime=0),
        terms=tuple(sorted({term for each in outlines for term in each.terms})),
        first_at=min(times),
        last_at=max(times),
    )
