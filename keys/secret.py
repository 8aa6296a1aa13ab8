"""Bytes that do not print, pickle, hash, copy or compare with `==`.

Guards against the accidents that put secrets into logs, caches and crash reports. It cannot
wipe memory: Python keeps copies wherever it likes, so the claim is a short life and no
accidental copy, never "wiped".
"""

from __future__ import annotations

import hmac
from typing import ClassVar, Never

_HIDDEN = "Secret(hidden)"


class Secret:
    """Secret bytes, readable only by an explicit `expose()`."""

    __slots__ = ("__value",)

    # A hash would let a secret live in a dict or set, and == would leak by its timing.
    __hash__: ClassVar[None]  # type: ignore[assignment]  # None is how Python says "unhashable"

    def __init__(self, value: bytes) -> None:
        self.__value = bytes(value)

    def expose(self) -> bytes:
        """Return the bytes; a test keeps the short list of modules that may call this."""
        return self.__value

    def equals(self, other: Secret | bytes) -> bool:
        """Tell whether both hold the same bytes, in time that does not depend on where they differ.

        Args:
            other: a secret or plain bytes.
        """
        theirs = other.expose() if isinstance(other, Secret) else other
        return hmac.compare_digest(self.__value, theirs)

    def __repr__(self) -> str:
        return _HIDDEN

    def __str__(self) -> str:
        return _HIDDEN

    def __format__(self, format_spec: str) -> Never:
        raise TypeError("a secret is not formatted into text")

    def __eq__(self, other: object) -> bool:
        raise TypeError("secrets are compared with equals()")

    def __ne__(self, other: object) -> bool:
        raise TypeError("secrets are compared with equals()")

    def __reduce_ex__(self, protocol: object) -> Never:
        # pickle, copy.copy and copy.deepcopy all come through here.
        raise TypeError("a secret is not pickled or copied")
