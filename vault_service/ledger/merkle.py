"""The Merkle tree of RFC 6962, section 2.1: hashes, and the two proofs that make a log verifiable.

    MTH({})      = SHA-256()
    MTH({d})     = SHA-256(0x00 || d)
    MTH(D[0:n])  = SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n])),  k = largest power of two below n

A perfect subtree is named by (height, index): it covers the leaves [index << height,
(index + 1) << height). Whoever makes proofs hands in a function that knows those hashes; `tiles`
finds them in stored tiles. Verifying needs nothing but the proof. Standard library only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from vault_service.ledger.faults import LogError, ProofRejected

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
# A tree of more than 2^63 leaves has no place in a checkpoint's readers.
MAX_SIZE: Final = 2**63 - 1

Range = tuple[int, int]
Node = tuple[int, int]
ReadNode = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry as a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of subtrees of one height.

    Raises:
        LogError: their number is not a power of two.
    """
    count = len(hashes)
    if count == 0 or count & (count - 1):
        raise LogError("a perfect subtree has a power of two of leaves")
    level = list(hashes)
    sha256 = hashlib.sha256
    while len(level) > 1:
        level = [
            sha256(b"\x01" + level[place] + level[place + 1]).digest()
            for place in range(0, len(level), 2)
        ]
    return level[0]


def fold(peaks: Sequence[bytes]) -> bytes:
    """The root over perfect subtrees of falling size, left to right; of none, the empty root."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def subtrees(start: int, end: int) -> Iterator[Node]:
    """The perfect subtrees, of falling size, whose fold is the hash of a range of a tree.

    The range must be one that the definition of MTH makes: `start` a multiple of every power of
    two that fits into its length.
    """
    while start < end:
        height = (end - start).bit_length() - 1
        yield height, start >> height
        start += 1 << height


def range_hash(start: int, end: int, read: ReadNode) -> bytes:
    """The hash of the leaves [start, end), a range that MTH makes."""
    return fold([read(height, index) for height, index in subtrees(start, end)])


def _split(size: int) -> int:
    """The largest power of two below `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The ranges whose hashes prove that leaf `index` is in the tree of `size`, leaf upwards.

    Raises:
        LogError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise LogError("the tree has no such leaf")
    low, high = 0, size
    found: list[Range] = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            found.append((middle, high))
            high = middle
        else:
            found.append((low, middle))
            low = middle
    return found[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The ranges whose hashes prove that the tree of `old` is the beginning of that of `new`.

    Raises:
        LogError: the old tree is not the smaller one.
    """
    if not 0 <= old <= new:
        raise LogError("the older tree is the larger one")
    if old in (0, new):
        return []
    low, high, whole = 0, new, True
    found: list[Range] = []
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            found.append((middle, high))
            high = middle
        else:
            found.append((low, middle))
            low, whole = middle, False
    if not whole:
        found.append((low, high))
    return found[::-1]


def prove(ranges: Sequence[Range], read: ReadNode) -> list[bytes]:
    """The hashes of a proof's ranges."""
    return [range_hash(start, end, read) for start, end in ranges]


def nodes_of(ranges: Sequence[Range]) -> set[Node]:
    """The perfect subtrees that a proof over these ranges reads."""
    return {node for start, end in ranges for node in subtrees(start, end)}


def included_root(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root of the only tree of `size` that has this leaf at `index`, by this proof.

    RFC 9162, 2.1.3.2. The caller compares it with a root that somebody signed.

    Raises:
        ProofRejected: the proof has another length than one of this leaf and size has.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofRejected("the tree has no such leaf")
    found = leaf
    for from_left, step in _steps(index, size - 1, proof):
        found = node_hash(step, found) if from_left else node_hash(found, step)
    return found


def _steps(inner: int, last: int, proof: Sequence[bytes]) -> Iterator[tuple[bool, bytes]]:
    """Each hash of a proof, and whether it stands to the left (RFC 9162, 2.1.3.2 and 2.1.4.2).

    Raises:
        ProofRejected: the proof has another length than one of this place has.
    """
    for step in proof:
        if last == 0:
            raise ProofRejected("the proof is too long")
        from_left = bool(inner & 1) or inner == last
        yield from_left, step
        while from_left and inner and not inner & 1:
            inner, last = inner >> 1, last >> 1
        inner, last = inner >> 1, last >> 1
    if last:
        raise ProofRejected("the proof is too short")


def verify_inclusion(
    leaf: bytes, *, index: int, size: int, root_hash: bytes, proof: Sequence[bytes]
) -> bytes:
    """Return the leaf's hash if the proof shows it at `index` of the tree of this root.

    Raises:
        ProofRejected: it does not.
    """
    if included_root(leaf, index, size, proof) != root_hash:
        raise ProofRejected("the inclusion proof leads to another root")
    return leaf


def verify_consistency(
    *, old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]
) -> bytes:
    """Return the new root if the proof shows that the old tree is its beginning.

    RFC 9162, 2.1.4.2.

    Raises:
        ProofRejected: it does not.
    """
    if not 0 <= old <= new <= MAX_SIZE:
        raise ProofRejected("the older tree is the larger one")
    if old in (0, new):
        return _verify_trivial(old, old_root, new, new_root, proof)
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise ProofRejected("the consistency proof is empty")
    inner, last = old - 1, new - 1
    while inner & 1:
        inner, last = inner >> 1, last >> 1
    first = second = path[0]
    for from_left, step in _steps(inner, last, path[1:]):
        if from_left:
            first, second = node_hash(step, first), node_hash(step, second)
        else:
            second = node_hash(second, step)
    if first != old_root or second != new_root:
        raise ProofRejected("the two trees are not consistent")
    return new_root


def _verify_trivial(
    old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]
) -> bytes:
    """Consistency with the empty tree, or with the same tree."""
    if proof:
        raise ProofRejected("the consistency proof should be empty")
    if old == 0 and old_root != EMPTY_ROOT:
        raise ProofRejected("an empty tree has another root")
    if old == new and old_root != new_root:
        raise ProofRejected("two trees of one size have different roots")
    return new_root
