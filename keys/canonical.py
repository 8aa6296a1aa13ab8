"""Length-prefixed encoding for AAD and MAC inputs.

    LP(p1, p2, …) = u32 len(p1) | p1 | u32 len(p2) | p2 | …        all integers big-endian

Every part carries its length, so no two different lists of parts encode alike, which joining
with a separator cannot promise. Text is UTF-8; an integer is eight bytes. The caller fixes the
meaning and type of each position: LP("1") and LP(b"1") are the same bytes on purpose.

Changing this encoding changes every envelope and fingerprint; never change it, add another.
"""

from __future__ import annotations

import struct

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")


def lp(*parts: bytes | str | int) -> bytes:
    """Return the parts, each prefixed with its length as four bytes.

    Args:
        parts: bytes as they are, text as UTF-8, integers from 0 to 2^64-1 as eight bytes.

    Raises:
        ValueError: an integer is out of range, or text is not encodable.
        TypeError: a part has another type; booleans are refused, being integers by accident.
    """
    out: list[bytes] = []
    for part in parts:
        # The usual types are looked at by name: this runs several times for every value.
        if type(part) is str:
            encoded = part.encode()
        elif type(part) is bytes:
            encoded = part
        else:
            encoded = _encode(part)
        out.append(_U32.pack(len(encoded)))
        out.append(encoded)
    return b"".join(out)


def _encode(part: bytes | str | int) -> bytes:
    if isinstance(part, str):
        return part.encode()
    if isinstance(part, bytes):
        return part
    if isinstance(part, bool) or not isinstance(part, int):
        raise TypeError("a part is bytes, text or an integer")
    try:
        return _U64.pack(part)
    except struct.error as error:
        raise ValueError("an integer part is out of range") from error
