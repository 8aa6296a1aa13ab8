"""The repository of communications' chunks, as the use cases see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from vault_service.services.record_ports import MaskedRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRow:
    """A record that is a communication; `kept_at` is what its customer's are ordered by."""

    record: MaskedRecord
    kept_at: datetime


class Communications(Protocol):
    """Chunks of communications, from an upload's begin to their end."""

    def start(self, bucket: int, token: str, customer: str) -> None:
        """Begin an upload."""
        ...

    def add(self, bucket: int, token: str, first: int, sealed: Sequence[bytes]) -> bool:
        """Add chunks to an upload, from this number on; False where it is none any more."""
        ...

    def keep(self, bucket: int, token: str, size: int) -> None:
        """End an upload to which this unit of work has added: it is a communication now."""
        ...

    def drop(self, bucket: int, token: str) -> None:
        """Forget an upload; leaves alone what was kept."""
        ...

    def page(
        self, bucket: int, customer: str, before: tuple[datetime, str] | None, limit: int
    ) -> list[KeptRow]:
        """A customer's live communications, newest first, after one by (time, token)."""
        ...

    def size(self, bucket: int, token: str) -> int | None:
        """How many bytes a communication has; None where there is none."""
        ...

    def chunks(self, bucket: int, token: str, first: int, count: int) -> list[bytes]:
        """Some chunks in their order, from this number on."""
        ...

    def purge(self, older_than: timedelta, limit: int) -> list[str]:
        """Delete what was erased, and uploads that nobody goes on with; their tokens."""
        ...
