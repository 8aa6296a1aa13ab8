"""Writing new records: insert each, or find the live one that it equals.

Shared by all that makes records. Knows why a row did not take: its data key is from before a
rotation, its fingerprint is of another version than its class is written under, its customer is
not there, or an expired record stands in its way and has to go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from vault_service.domain.tokens import bucket_of
from vault_service.services import bindings
from vault_service.services.ports import Transaction
from vault_service.services.record_ports import MaskedRecord, NewRecord
from vault_service.services.reindex_ports import FingerprintOutdated

FIRST_VERSION: Final = 1

# What makes two items the same record: bucket, customer, class, fingerprint, variant.
Identity = tuple[int, str, str, bytes, str]


class FloorRaised(Exception):
    """A row carries a KEK version that a rotation has retired from writing."""

    def __init__(self, kek: str) -> None:
        super().__init__(kek)
        self.kek = kek


def upsert(
    tx: Transaction, rows: Sequence[NewRecord]
) -> tuple[dict[Identity, MaskedRecord], dict[str, list[str]]]:
    """Write the rows and find out about each that did not take.

    Returns:
        What now stands for each row, and the tokens by customer of expired records that had to go.

    Raises:
        FloorRaised: a row was sealed under a KEK version that writes no more.
        FingerprintOutdated: a class is written under another version than a row of it has.
    """
    stands = _offered(tx, rows)
    ended: dict[str, list[str]] = defaultdict(list)
    pending = [row for row in rows if identity(row) not in stands]
    if not pending:
        return stands, ended
    floors = tx.floors.get()
    for row in pending:
        if row.wrapped_key.kek_version < floors.get(row.wrapped_key.kek, 0):
            raise FloorRaised(row.wrapped_key.kek)
    versions = tx.fingerprints.versions()
    outdated = {
        row.data_class: versions[row.data_class]
        for row in pending
        if versions.get(row.data_class, row.fingerprint_version) != row.fingerprint_version
    }
    if outdated:
        raise FingerprintOutdated(outdated)
    known = tx.customers.get([(row.bucket, row.customer) for row in pending])
    pending = [row for row in pending if row.customer in known]
    # What is left stands behind an expired record that the purge has not reached.
    for customer, token in tx.records.erase_expired_duplicates(pending):
        ended[customer].append(token)
    tx.modifications.forget(
        [(bucket_of(customer), token) for customer, gone in ended.items() for token in gone]
    )
    return stands | _offered(tx, pending), ended


def leaf_of(row: NewRecord) -> bytes:
    """What the ledger entry of a new record commits to."""
    digest = bindings.envelope_hash(row.envelope)
    return bindings.leaf(row.token, FIRST_VERSION, row.wrapped_key, digest)


def _offered(tx: Transaction, rows: Sequence[NewRecord]) -> dict[Identity, MaskedRecord]:
    return {identity(rows[upserted.index]): upserted.record for upserted in tx.records.upsert(rows)}


def identity(row: NewRecord) -> Identity:
    """What makes this row the same record as another."""
    return row.bucket, row.customer, row.data_class, row.fingerprint, row.variant
