"""Blind index: keyed fingerprints of normalised values, computed by Vault.

    fingerprint = HMAC-SHA256(key fingerprint-<class>, LP("fp1", class, normalised value))

A card's mask leaves 10^5 candidates for its number, so the key must never be where the
database is: it stays in Vault, and whoever wants to search candidates must ask Vault for each.
The caller normalises; this module does not know what a telephone number is.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from keys.canonical import lp
from keys.errors import VaultRefused

KEY_PREFIX = "fingerprint-"
_LABEL = "fp1"


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """A 32-byte fingerprint and the version of the key that made it."""

    digest: bytes
    key_version: int


class Hasher(Protocol):
    """What fingerprints need of Vault: HMAC and nothing else."""

    def hmac(
        self, key: str, inputs: Sequence[bytes], *, key_version: int | None = None
    ) -> list[Fingerprint]:
        """Return the HMAC-SHA256 of each input, under the newest or the given version."""
        ...


def key_of(data_class: str) -> str:
    """Return the name of the Transit key for a class."""
    return KEY_PREFIX + data_class.replace("_", "-")


class Fingerprinter:
    """Computes fingerprints through Transit; thread-safe."""

    def __init__(self, transit: Hasher) -> None:
        self._transit = transit
        self._lock = threading.Lock()
        self._oldest: dict[str, int] = {}

    def compute(
        self, items: Sequence[tuple[str, bytes]], *, versions: Mapping[str, int] | None = None
    ) -> list[Fingerprint]:
        """Return the fingerprint of each item, in order.

        Args:
            items: pairs of class and normalised value.
            versions: the key version of some classes; the newest of all others.

        Raises:
            VaultRefused: a version is not in force.
            VaultUnavailable, VaultDenied, KeyNotReady: Vault could not be asked.
        """
        given = versions or {}
        found: dict[int, Fingerprint] = {}
        for data_class, indexes, inputs in _by_class(items):
            macs = self._transit.hmac(key_of(data_class), inputs, key_version=given.get(data_class))
            found.update(zip(indexes, macs, strict=True))
        return [found[index] for index in range(len(items))]

    def older(
        self, items: Sequence[tuple[str, bytes]], made: Sequence[Fingerprint]
    ) -> list[list[Fingerprint]]:
        """Return for each item its fingerprints under the older versions in force, newest first.

        Costs nothing where a key was never rotated, or where its older versions are known to be
        retired.

        Args:
            items: pairs of class and normalised value.
            made: their fingerprints, which `compute` made in one call.

        Raises:
            VaultUnavailable, VaultDenied, KeyNotReady: Vault could not be asked.
        """
        with self._lock:
            known = dict(self._oldest)
        if all(
            each.key_version <= known.get(key_of(data_class), 1)
            for (data_class, _), each in zip(items, made, strict=False)
        ):
            return [[] for _ in items]
        found: dict[int, list[Fingerprint]] = {}
        for data_class, indexes, inputs in _by_class(items):
            rounds = self._older(key_of(data_class), inputs, made[indexes[0]].key_version)
            for place, index in enumerate(indexes):
                found[index] = [macs[place] for macs in rounds]
        return [found[index] for index in range(len(items))]

    def candidates(self, items: Sequence[tuple[str, bytes]]) -> list[list[Fingerprint]]:
        """Return for each item its fingerprints under all versions in force, newest first.

        For looking up while a re-index after a rotation of the fingerprint key is under way.

        Raises:
            VaultUnavailable, VaultDenied, KeyNotReady: Vault could not be asked.
        """
        made = self.compute(items)
        return [
            [newest, *others] for newest, others in zip(made, self.older(items, made), strict=True)
        ]

    def _older(self, key: str, inputs: list[bytes], newest: int) -> list[list[Fingerprint]]:
        # The role may not read the key's settings, so the oldest version in force is found by
        # asking downwards until Vault refuses; it only ever rises, so it can be remembered.
        with self._lock:
            oldest = self._oldest.get(key, 1)
        rounds: list[list[Fingerprint]] = []
        for version in range(newest - 1, oldest - 1, -1):
            try:
                rounds.append(self._transit.hmac(key, inputs, key_version=version))
            except VaultRefused:
                with self._lock:
                    self._oldest[key] = max(self._oldest.get(key, 1), version + 1)
                break
        return rounds


def _by_class(
    items: Sequence[tuple[str, bytes]],
) -> list[tuple[str, list[int], list[bytes]]]:
    indexes: dict[str, list[int]] = {}
    for index, (data_class, _) in enumerate(items):
        indexes.setdefault(data_class, []).append(index)
    return [
        (name, places, [lp(_LABEL, name, items[place][1]) for place in places])
        for name, places in indexes.items()
    ]
