"""Who holds a value: found by its fingerprint, so that nobody need say which customer is meant."""

from __future__ import annotations

from vault_service.domain.classes import DataClass
from vault_service.domain.values import search_key
from vault_service.services.crypto_ports import Fingerprinting
from vault_service.services.ports import UnitOfWork
from vault_service.services.record_ports import MaskedRecord


def holders(
    uow: UnitOfWork, fingerprints: Fingerprinting, data_class: DataClass, value: str, limit: int
) -> list[MaskedRecord]:
    """Live records with this value, about `limit` at most.

    Raises:
        InvalidInput: no value of the class looks like this.
        VaultUnavailable, Unavailable: nobody could be found.
    """
    (group,) = fingerprints.candidates([(data_class, search_key(data_class, value))])
    with uow.begin(read_only=True) as tx:
        found = tx.records.by_fingerprint([(data_class, each.digest) for each in group], limit)
    return [row for rows in found.values() for row in rows]
