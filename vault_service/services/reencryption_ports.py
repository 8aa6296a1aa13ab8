"""What re-encrypting needs of the store, and its plain rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from vault_service.services.record_ports import SealedRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A part of a run: a range of buckets, and the record or segment behind which it goes on."""

    run: str
    number: int
    first_bucket: int
    last_bucket: int
    after: tuple[int, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run that came to its end: what was sealed anew, what would not open, and when."""

    run: str
    key: str
    done: int
    refused: int
    started_at: datetime
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Resealed:
    """A record or segment under a new data key; `before` is what it must still be wrapped as."""

    record: SealedRecord
    before: str


class Reencryptions(Protocol):
    """Runs of re-encryption, in shards that processes take one batch at a time."""

    def open(self, offered: str, key: str, by: str) -> str:
        """The key's run that has not ended; a new one under the offered name, if there is none."""
        ...

    def take(self, run: str) -> Shard | None:
        """Lock a shard that has more to do; None where all are done or in others' hands."""
        ...

    def records(self, shard: Shard, key: str, limit: int) -> list[SealedRecord]:
        """Lock the next of a shard under a KEK: records by their names, then segments by theirs."""
        ...

    def put(self, rows: Sequence[Resealed]) -> int:
        """Replace envelope, wrapped key and binding together; how many were as before."""
        ...

    def advance(
        self, shard: Shard, after: tuple[int, str] | None, *, done: int, refused: int, last: bool
    ) -> None:
        """Note how far a shard is."""
        ...

    def end(self, run: str) -> Ended | None:
        """Close a run whose shards are all done; None where they are not, or it was closed."""
        ...
