"""The fingerprints that values are written under, also while their class is re-indexed.

A class is written under one version of its key at a time, and the database says under which; see
docs/adr/0026. While Vault computes under older versions too, a record that holds the value may
still lie under one of them. Whoever is about to write the value first brings that record under
the version in force; then the unique index tells the two for one, and nothing else is different.
Where a key was never rotated, none of this asks anybody anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from keys.fingerprint import Fingerprint
from vault_service.errors import Unavailable
from vault_service.services.crypto_ports import Fingerprinting
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.reindex_ports import Renewal

# A version is learnt at the first try and used at the second; the third is for a switch meanwhile.
TRIES: Final = 3

# Bucket, customer and variant: with class and fingerprint, what makes two values the same record.
Place = tuple[int, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Fingerprints to write under, and those of the same values under older versions in force."""

    current: list[Fingerprint]
    older: list[list[Fingerprint]]


class Indexing:
    """Makes fingerprints that may be written. Thread-safe.

    Args:
        uow: the database role of ingest.
        fingerprints: makes them in Vault.
    """

    def __init__(self, *, uow: UnitOfWork, fingerprints: Fingerprinting) -> None:
        self._uow = uow
        self._fingerprints = fingerprints

    def make(
        self,
        items: Sequence[tuple[str, bytes]],
        places: Callable[[], Sequence[Place]],
        *,
        others: Sequence[tuple[str, bytes]] = (),
        versions: Mapping[str, int] | None = None,
    ) -> Made:
        """Fingerprint values that are about to be written.

        Args:
            items: pairs of class and normalised value.
            places: tells where each is to be written; asked only where it matters.
            others: what is fingerprinted in the same call, and not looked for.
            versions: by class, versions known to be in force.

        Returns:
            `current` holds the fingerprints of `items` and then of `others`.

        Raises:
            VaultUnavailable, VaultDenied, KeyNotReady, VaultRefused: Vault made none.
            Unavailable: the database is, or a rotation begins at this very moment.
        """
        known = dict(versions or {})
        for _ in range(TRIES):
            current = self._fingerprints.compute([*items, *others], versions=known)
            older = self._fingerprints.older(items, current)
            if not any(older):
                return Made(current=current, older=older)
            renewals = _renewals(items, places(), current, older)
            stale = self._uow.run(partial(_renew, renewals=renewals))
            if not stale:
                return Made(current=current, older=older)
            known |= stale
        raise Unavailable("the keys are being rotated", code="rotation_under_way", retry_after=5.0)


def _renewals(
    items: Sequence[tuple[str, bytes]],
    places: Sequence[Place],
    current: Sequence[Fingerprint],
    older: Sequence[Sequence[Fingerprint]],
) -> list[list[Renewal]]:
    """What may have to be brought along: first from the newest of the older versions."""
    rounds: list[list[Renewal]] = [[] for _ in range(max(map(len, older)))]
    for (data_class, _), place, new, group in zip(items, places, current, older, strict=False):
        bucket, customer, variant = place
        for rank, old in enumerate(group):
            rounds[rank].append(
                Renewal(
                    bucket=bucket,
                    customer=customer,
                    data_class=data_class,
                    variant=variant,
                    old=old.digest,
                    new=new.digest,
                    version=new.key_version,
                )
            )
    return rounds


def _renew(tx: Transaction, renewals: list[list[Renewal]]) -> dict[str, int]:
    """Renew, and nothing where a class is written under another version: which."""
    versions = tx.fingerprints.versions()
    stale = {
        each.data_class: versions[each.data_class]
        for each in renewals[0]
        if versions.get(each.data_class, each.version) != each.version
    }
    if not stale:
        for round_ in renewals:
            # A value that stands in a batch twice is one.
            tx.fingerprints.renew(list(dict.fromkeys(round_)))
    return stale
