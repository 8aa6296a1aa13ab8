"""Records as stored, and what the use cases need of them from the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from keys.data_keys import WrappedKey
from vault_service.services.binding_ports import Binding


class NewRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed value on its way into the table."""

    bucket: int
    token: str
    customer: str
    data_class: str
    format: str
    variant: str
    mask: Mapping[str, object]
    fingerprint: bytes
    fingerprint_version: int
    envelope: bytes
    wrapped_key: WrappedKey
    metadata: Mapping[str, str] | None
    reference: str | None
    expires_at: datetime | None
    binding: Binding | None = None


class MaskedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What may be known of a record without a key. Expired and erased ones are never returned."""

    bucket: int
    token: str
    customer: str
    data_class: str
    format: str
    version: int
    mask: Mapping[str, object]
    metadata: Mapping[str, str] | None
    reference: str | None
    created_at: datetime
    expires_at: datetime | None


class UpsertedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The record that now stands for an offered one: itself, or the one that was there.

    `record.token` differs from the offered token when the value was deduplicated.
    """

    index: int
    record: MaskedRecord


class SealedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record with its sealed columns, for the reveal role only.

    `values` is how many values it counts for: a segment of activity holds several entries.
    """

    bucket: int
    token: str
    customer: str
    data_class: str
    version: int
    envelope: bytes
    wrapped_key: WrappedKey
    binding: Binding | None = None
    values: int = 1


class Records(Protocol):
    """Sealed values. Every method takes a batch."""

    def upsert(self, offered: Sequence[NewRecord]) -> list[UpsertedRecord]:
        """Insert, or find the live record of the same deduplication key.

        The offered must not repeat a deduplication key. Missing from the answer is an item whose
        customer is unknown, whose KEK version lies below the floor, whose fingerprint is of
        another version than its class is written under, or whose deduplication key is held by an
        expired record. A deduplicated record lives as long as its longest-lived
        caller asked.

        Raises:
            TokenTaken: a card-shaped token is in use; nothing was written.
        """
        ...

    def erase_expired_duplicates(self, offered: Sequence[NewRecord]) -> list[tuple[str, str]]:
        """Erase expired records that hold the deduplication keys; (customer, token) of each.

        One under a legal hold is not erased: it gives the deduplication key up and stays.
        """
        ...

    def masked(self, names: Sequence[tuple[int, str]]) -> dict[str, MaskedRecord]:
        """Live records by (bucket, token)."""
        ...

    def sealed(self, names: Sequence[tuple[int, str]]) -> dict[str, SealedRecord]:
        """Live records by (bucket, token), sealed columns included."""
        ...

    def sealed_of_customer(
        self, bucket: int, customer: str, classes: Sequence[str], limit: int
    ) -> list[SealedRecord]:
        """Live records of one customer in some classes, by token."""
        ...

    def page(
        self, bucket: int, customer: str, data_class: str | None, after: str | None, limit: int
    ) -> list[MaskedRecord]:
        """Live records of one customer, ordered by token, after a token."""
        ...

    def by_fingerprint(
        self,
        fingerprints: Sequence[tuple[str, bytes]],
        limit: int,
        *,
        newest: Mapping[str, int] | None = None,
    ) -> dict[bytes, list[MaskedRecord]]:
        """Live records by (class, fingerprint), at most `limit` for each.

        Raises:
            FingerprintOutdated: a class is written under a later version than the newest of these.
        """
        ...

    def erase(self, names: Sequence[tuple[int, str]]) -> dict[str, tuple[str, str]]:
        """Destroy sealed columns, fingerprint and mask; token -> (customer, class) of each.

        What a legal hold keeps is left as it is.
        """
        ...

    def ask_live(self, names: Sequence[tuple[int, str]]) -> Callable[[], set[str]]:
        """Of these (bucket, token), those that `masked` would return.

        Travels with what is asked next, or when what this returns is called.
        """
        ...

    def standing(self, names: Sequence[tuple[int, str]]) -> dict[str, str]:
        """Of these, the records that are not erased, expired ones too; token -> customer."""
        ...

    def erase_expired(self, limit: int) -> list[tuple[int, str, str, str]]:
        """Erase up to `limit` records past their expiry: (bucket, token, customer, class).

        What a legal hold keeps is left as it is.
        """
        ...


class TokenTaken(Exception):
    """A card-shaped token on offer is already in use."""
