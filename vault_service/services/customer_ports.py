"""Customers as stored, and what the use cases need of them from the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRow:
    """A customer, without any personal data."""

    bucket: int
    id: str
    has_reference: bool
    created_at: datetime


class Customers(Protocol):
    """Customers."""

    def insert(self, rows: Sequence[tuple[int, str, bool]]) -> set[str]:
        """Insert (bucket, id, has_reference); the ids that were new."""
        ...

    def get(self, names: Sequence[tuple[int, str]]) -> dict[str, CustomerRow]:
        """Customers by (bucket, id)."""
        ...
