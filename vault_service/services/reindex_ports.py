"""What re-indexing needs from outside: the versions to write under, records by version, Vault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from keys.rotation import Begun
from vault_service.services.record_ports import SealedRecord
from vault_service.services.rotation_ports import KeyReader

# Parts of a table that statements look through, so that none runs long: 16 buckets each.
SHARDS = 64


class FingerprintOutdated(Exception):
    """A fingerprint is of another key version than its class is written under.

    Attributes:
        versions: by class, the version that is in force.
    """

    def __init__(self, versions: Mapping[str, int]) -> None:
        super().__init__(dict(versions))
        self.versions = versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """A deduplication key under an older version of the fingerprint key, and under the present."""

    bucket: int
    customer: str
    data_class: str
    variant: str
    old: bytes = field(repr=False)
    new: bytes = field(repr=False)
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedRecord:
    """A sealed record and the fingerprint that it has."""

    record: SealedRecord
    fingerprint: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reindexed:
    """A record's new fingerprint; `before` is the one that it must still have."""

    bucket: int
    token: str
    before: bytes = field(repr=False)
    fingerprint: bytes = field(repr=False)


class FingerprintVersions(Protocol):
    """Which version each class is written under, and the records that are under an older one."""

    def versions(self) -> dict[str, int]:
        """By class, the version that a write must carry; any, for a class that is not there."""
        ...

    def renew(self, rows: Sequence[Renewal]) -> None:
        """Bring the records of these deduplication keys under the version in force.

        What names another version than that in force changes nothing.
        """
        ...

    def pin(self, data_class: str, version: int) -> None:
        """Have a class written under a version, unless it is under one already."""
        ...

    def switch(self, data_class: str, version: int) -> None:
        """Have a class written under a newer version, from this unit of work's commit on.

        Waits for everybody who is writing a record, and keeps them out until it has committed.

        Raises:
            Unavailable: somebody took too long; nothing is changed.
        """
        ...

    def count(self, shard: int) -> dict[tuple[str, int], int]:
        """How many records a shard has, by class and version."""
        ...

    def take(
        self, data_class: str, below: int, shard: int, after: tuple[int, str] | None, limit: int
    ) -> list[IndexedRecord]:
        """Records of a shard that are indexed below a version, by name, from one on."""
        ...

    def put(self, rows: Sequence[Reindexed], version: int) -> int:
        """Replace fingerprints that are as they were; how many.

        What a rival has locked is passed over, and a record whose new fingerprint another one of
        the same customer, class and variant has already.
        """
        ...

    def left(self, data_class: str, below: int, limit: int) -> list[str]:
        """Tokens of records that are indexed below a version."""
        ...


class IndexKeys(KeyReader, Protocol):
    """What re-indexing needs of Vault beside opening and fingerprinting. Calls may be repeated."""

    def renew(self, key: str, *, known: int) -> Begun:
        """Make a new version of a key, unless there is one newer than `known`; keep the older.

        Raises:
            VaultUnavailable: it may or may not have been done.
        """
        ...

    def outdate(self, key: str, version: int) -> None:
        """Have Vault compute nothing under any version below.

        Raises:
            VaultUnavailable: it may or may not have been done.
        """
        ...
