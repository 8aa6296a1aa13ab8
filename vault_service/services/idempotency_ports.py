"""Answers given under an Idempotency-Key, as stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What an Idempotency-Key stands for; `response` is None while the first is under way."""

    key: str
    request_mac: bytes
    response: bytes | None


class Idempotency(Protocol):
    """Answers given under an Idempotency-Key."""

    def claim(self, rows: Sequence[tuple[int, str, str, bytes]]) -> set[tuple[str, str]]:
        """Insert (bucket, principal, key, request_mac); the (principal, key) that were new.

        Waits for a rival transaction that holds the same key, in a fixed order.
        """
        ...

    def find(self, names: Sequence[tuple[int, str, str]]) -> dict[tuple[str, str], StoredAnswer]:
        """Stored answers by (bucket, principal, key)."""
        ...

    def answer(self, rows: Sequence[tuple[int, str, str, bytes]]) -> None:
        """Store the response of (bucket, principal, key)."""
        ...

    def purge(self, older_than: timedelta, limit: int) -> int:
        """Delete old answers; how many."""
        ...
