"""A second verifier, written from the specifications alone; it shares no line with the first.

    python second_checker.py EXPORT VKEY [KEPT-CHECKPOINT]...

RFC 6962 section 2.1, C2SP signed-note, tlog-checkpoint and tlog-tiles. The tree is computed by the
recursive definition, the entries are read straight out of the tar file's blocks, and the Ed25519
signature is checked by the arithmetic of RFC 8032, section 5.1, in the open. Slow and short, so
that an auditor can hold it against the papers line by line.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import sys
from pathlib import Path

# ------------------------------------------------------------ Ed25519 (RFC 8032, 5.1)

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
I = pow(2, (P - 1) // 4, P)  # noqa: E741 -- the paper's letters
Point = tuple[int, int]
ZERO: Point = (0, 1)


def add(a: Point, b: Point) -> Point:
    """The sum of two points of the curve -x^2 + y^2 = 1 + d x^2 y^2."""
    (x1, y1), (x2, y2) = a, b
    k = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + k, P - 2, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - k, P - 2, P)
    return x % P, y % P


def multiply(n: int, a: Point) -> Point:
    """A point, n times."""
    total = ZERO
    while n:
        if n & 1:
            total = add(total, a)
        a, n = add(a, a), n >> 1
    return total


def decompress(data: bytes) -> Point:
    """The point of 32 bytes."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    assert y < P
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * I % P
    assert (x * x - square) % P == 0
    assert x or not sign
    return (x if x & 1 == sign else P - x), y


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def check_signature(key: bytes, message: bytes, signature: bytes) -> None:
    """Stop unless the signature is right."""
    assert len(key) == 32
    assert len(signature) == 64
    s = int.from_bytes(signature[32:], "little")
    assert s < Q
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % Q
    right = add(decompress(signature[:32]), multiply(h, decompress(key)))
    assert multiply(s, BASE) == right, "the signature is wrong"


# ------------------------------------------------------------ the log


def open_note(data: bytes, vkey: str) -> tuple[int, bytes]:
    """(size, root) of a checkpoint that the key signed."""
    name, key_id, encoded = vkey.split("+", 2)
    material = base64.b64decode(encoded)
    assert material[0] == 1, "not an Ed25519 key"
    assert hashlib.sha256(name.encode() + b"\n" + material).digest()[:4].hex() == key_id
    text, _, lines = data.decode().rpartition("\n\n")
    text += "\n"
    signed = 0
    for line in lines.splitlines():
        dash, who, value = line.split(" ")
        signature = base64.b64decode(value)
        if (dash, who, signature[:4].hex()) == ("\u2014", name, key_id):
            check_signature(material[1:], text.encode(), signature[4:])
            signed += 1
    assert signed, "the key did not sign"
    origin, size, root = text.splitlines()
    assert origin == name
    return int(size), base64.b64decode(root)


def members(data: bytes) -> dict[str, bytes]:
    """The files of a tar archive: blocks of 512 bytes, a header before each file."""
    found = {}
    place = 0
    while data[place : place + 512].strip(b"\0"):
        header = data[place : place + 512]
        name = header[:100].rstrip(b"\0").decode()
        size = int(header[124:136].rstrip(b"\0 "), 8)
        assert header[156:157] == b"0", "not a plain file"
        assert name not in found, "a file stands twice"
        found[name] = data[place + 512 : place + 512 + size]
        place += 512 + (size + 511) // 512 * 512
    return found


def tree_hash(leaves: list[bytes], first: int, end: int) -> bytes:
    """MTH over leaf hashes, by its definition."""
    if end == first:
        return hashlib.sha256().digest()
    if end - first == 1:
        return leaves[first]
    k = 1
    while k * 2 < end - first:
        k *= 2
    left, right = tree_hash(leaves, first, first + k), tree_hash(leaves, first + k, end)
    return hashlib.sha256(b"\1" + left + right).digest()


def tile_name(level: object, number: int, width: int) -> str:
    """Where tlog-tiles puts a tile."""
    digits = f"{number:d}"
    digits = digits.zfill((len(digits) + 2) // 3 * 3)
    groups = [digits[place : place + 3] for place in range(0, len(digits), 3)]
    path = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{path}" + ("" if width == 256 else f".p/{width}")


def read_leaves(files: dict[str, bytes], size: int) -> list[bytes]:
    """The hashes of all entries."""
    leaves = []
    for number in range((size + 255) // 256):
        width = min(256, size - 256 * number)
        data = files[tile_name("entries", number, width)]
        for _ in range(width):
            (length,) = struct.unpack(">H", data[:2])
            entry, data = data[2 : 2 + length], data[2 + length :]
            assert len(entry) == length
            leaves.append(hashlib.sha256(b"\0" + entry).digest())
        assert not data, "a bundle holds more than its entries"
    return leaves


def check_tiles(files: dict[str, bytes], leaves: list[bytes]) -> int:
    """Compare every tile of every level with what the leaves make; how many there are."""
    count, level, row = 0, 0, leaves
    while row:
        for number in range((len(row) + 255) // 256):
            hashes = row[256 * number : 256 * number + 256]
            name = tile_name(level, number, len(hashes))
            assert files[name] == b"".join(hashes), f"{name} is not what its entries make"
            count += 1
        full = len(row) // 256
        row = [tree_hash(row, 256 * n, 256 * n + 256) for n in range(full)]
        level += 1
    return count


def check(export: Path, vkey: str, kept: list[Path]) -> str:
    """Verify an export; what was found."""
    files = members(export.read_bytes())
    size, root = open_note(files["checkpoint"], vkey)
    leaves = read_leaves(files, size)
    assert tree_hash(leaves, 0, size) == root, "the entries lead to another root"
    count = check_tiles(files, leaves)
    for path in kept:
        old_size, old_root = open_note(path.read_bytes(), vkey)
        assert old_size <= size, "the log was truncated"
        assert tree_hash(leaves, 0, old_size) == old_root, "the log was rewritten"
    return f"{size} entries, {count} tiles, root {root.hex()}, {len(kept)} kept"


if __name__ == "__main__":
    print(check(Path(sys.argv[1]), sys.argv[2], [Path(each) for each in sys.argv[3:]]))  # noqa: T201
