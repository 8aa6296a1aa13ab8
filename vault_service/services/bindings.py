"""Binds a record's wrapped key and envelope to the ledger entry of whoever wrote them.

Vault wraps for everybody who may wrap, so a wrapped key that opens proves nothing about where it
comes from: whoever writes in the database and may wrap could seal a value of his own for any row.
So each entry of a creation or a rewrap commits to what it wrote, and each row names its entry and
keeps the path to the commitment.

    leaf        = SHA-256(0x00 || LP("wk1", token, record version, KEK, wrapped key,
                                     SHA-256(envelope)))             LP as in keys.canonical
    commitment  = root of the Merkle tree of RFC 6962 over the leaves of one entry
    path        = place u16 | leaves u16 | audit path, 32 bytes a step, leaf upwards; big-endian

The entry has the commitment as `commitments.wrapped_keys`. It tells nothing of a value: a wrapped
key is random. A row that was erased has nothing left that its path could be shown for. Another form
of leaf or path gets another label; a row's binding is written anew by each rewrap.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final, TypeVar
from uuid import UUID

import msgspec

from keys.canonical import lp
from keys.data_keys import WrappedKey
from vault_service.domain.tokens import bucket_of
from vault_service.ledger import merkle
from vault_service.ledger.faults import LogError
from vault_service.services.binding_ports import Binding, Bindings, BoundRow
from vault_service.services.record_ports import SealedRecord

LABEL: Final = "wk1"
# The name of the commitment in an entry; outbox and index have it cut out by this name.
COMMITMENT: Final = "wrapped_keys"
# The alarm, and the code, of a row that is not what the ledger tells of.
SUBSTITUTED: Final = "wrapped_key_substituted"
# The same row again has nothing new to tell.
QUIET: Final = timedelta(days=1)
_HEAD: Final = struct.Struct(">HH")
_LEAF_HEAD: Final = lp(LABEL)

_K = TypeVar("_K", bound=Hashable)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A row with what it says of itself, to be compared with the entry that it names."""

    bucket: int
    leaf: bytes
    binding: Binding | None


def leaf(token: str, version: int, wrapped: WrappedKey, envelope_hash: bytes) -> bytes:
    """The leaf of one record; `envelope_hash` is the SHA-256 of its envelope.

    No record has a version below zero; a row that was changed so has a leaf that no entry has.
    """
    if version < 0:
        return merkle.leaf_hash(b"")
    return merkle.leaf_hash(
        _LEAF_HEAD + lp(token, version, wrapped.kek, wrapped.ciphertext, envelope_hash)
    )


def leaf_of(row: BoundRow) -> bytes:
    """The leaf of a stored record."""
    return leaf(row.token, row.version, row.wrapped, row.envelope_hash)


def claim(row: BoundRow) -> Claim:
    """What a stored record says of itself."""
    return Claim(bucket=row.bucket, leaf=leaf_of(row), binding=row.binding)


def claim_sealed(row: SealedRecord) -> Claim:
    """What a record, read with its envelope, says of itself."""
    hashed = envelope_hash(row.envelope)
    found = leaf(row.token, row.version, row.wrapped_key, hashed)
    return Claim(bucket=row.bucket, leaf=found, binding=row.binding)


def envelope_hash(envelope: bytes) -> bytes:
    """The hash of an envelope as a leaf has it."""
    return hashlib.sha256(envelope).digest()


def bind(entry: UUID, leaves: Sequence[bytes]) -> tuple[dict[str, str], list[Binding]]:
    """The commitment that an entry has to make to these leaves, and the binding of each.

    Of no leaves there is no commitment.
    """
    if not leaves:
        return {}, []
    levels = [list(leaves)]
    while len(level := levels[-1]) > 1:
        pairs = [
            merkle.node_hash(left, right)
            for left, right in zip(level[::2], level[1::2], strict=False)
        ]
        # What has no neighbour goes up as it is: that is the tree of RFC 6962, built from below.
        levels.append(pairs + level[len(pairs) * 2 :])
    # From the root downwards, because all below a subtree share the rest of their paths.
    rests = [b""]
    for level in reversed(levels[:-1]):
        rests = [
            level[place ^ 1] + rests[place >> 1] if place ^ 1 < len(level) else rests[place >> 1]
            for place in range(len(level))
        ]
    return {COMMITMENT: levels[-1][0].hex()}, [
        Binding(entry=entry, path=_HEAD.pack(place, len(leaves)) + rest)
        for place, rest in enumerate(rests)
    ]


def root(claimed: bytes, path: bytes) -> bytes | None:
    """The commitment that this leaf and path lead to, as an entry spells it; None of no path."""
    proof = path[_HEAD.size :]
    if len(path) < _HEAD.size or len(proof) % merkle.HASH_SIZE:
        return None
    place, size = _HEAD.unpack_from(path)
    steps = [proof[start : start + 32] for start in range(0, len(proof), merkle.HASH_SIZE)]
    try:
        return merkle.included_root(claimed, place, size, steps).hex().encode()
    except LogError:
        return None


def unbound(bindings: Bindings, claims: Mapping[_K, Claim]) -> set[_K]:
    """Those of some rows that are not what the entry that they name has committed to.

    Raises:
        Unavailable: the database is.
    """
    # An entry waits in the bucket of its customer, which is the row's, or in that of its own id.
    # A thousand rows name few entries; as numbers those are told apart much faster than as UUIDs.
    entries = {
        (claim.bucket, claim.binding.entry.int): claim.binding.entry
        for claim in claims.values()
        if claim.binding is not None
    }
    places = {
        (place, entry)
        for (bucket, _), entry in entries.items()
        for place in (bucket, bucket_of(str(entry)))
    }
    committed = bindings.committed(list(places)) if places else {}
    known = {entry.int: (commitment, _Proven()) for entry, commitment in committed.items()}
    return {name for name, claim in claims.items() if not _holds(claim, known)}


# Hashes of one entry's tree that are known to lie under its commitment, by their place in it: the
# index of the subtree and of the last one of its height, which tells the height and the tree.
_Proven = dict[tuple[int, int], bytes]


def _holds(claim: Claim, known: Mapping[int, tuple[bytes, _Proven]]) -> bool:
    """Whether a row is what its entry has committed to; `known` are entries by their numbers."""
    if claim.binding is None:
        return False
    found = known.get(claim.binding.entry.int)
    return found is not None and _leads(claim.leaf, claim.binding.path, *found)


def _leads(claimed: bytes, path: bytes, expected: bytes, proven: _Proven) -> bool:
    """Whether leaf and path lead to the commitment, as `root` does, or to what led there before.

    Rows of one batch share most of their tree: what one of them has shown, its neighbours need not
    show again. A hash is only remembered once the whole path has led to the commitment.
    """
    if len(path) < _HEAD.size or (len(path) - _HEAD.size) % merkle.HASH_SIZE:
        return False
    inner, size = _HEAD.unpack_from(path)
    last, place, found = size - 1, _HEAD.size, claimed
    if inner > last:
        return False
    seen: _Proven = {}
    while True:
        # The last subtree of a level that has no neighbour goes up as it is.
        while last and inner == last and not inner & 1:
            inner, last = inner >> 1, last >> 1
        if proven.get((inner, last)) == found:
            break
        seen[inner, last] = found
        if not last:
            if place != len(path) or found.hex().encode() != expected:
                return False
            break
        step = path[place : place + merkle.HASH_SIZE]
        if not step:
            return False
        seen[inner ^ 1, last] = step
        found = merkle.node_hash(step, found) if inner & 1 else merkle.node_hash(found, step)
        inner, last, place = inner >> 1, last >> 1, place + merkle.HASH_SIZE
    proven |= seen
    return True


def shared(
    offered: Iterable[tuple[UUID, Iterable[_K]]], leaf_of: Callable[[_K], bytes]
) -> tuple[dict[UUID, dict[str, str]], dict[_K, Binding]]:
    """Bind rows that several entries name to the first that does.

    Args:
        offered: each entry with the names of its rows.
        leaf_of: the leaf of a row.

    Returns:
        The commitment of each entry, and the binding of each row.
    """
    commitments: dict[UUID, dict[str, str]] = {}
    bound: dict[_K, Binding] = {}
    for entry, names in offered:
        own = [name for name in dict.fromkeys(names) if name not in bound]
        commitments[entry], made = bind(entry, [leaf_of(name) for name in own])
        bound.update(zip(own, made, strict=True))
    return commitments, bound
