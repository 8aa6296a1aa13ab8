"""Counts what lies under each version of each key, and raises the alarm when a key grows too old.

The counting reads every wrapped key, so it is done by the worker, and whoever wants to know reads
what was counted last.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from keys.declared import KeySpec, Purpose
from keys.fingerprint import key_of
from vault_service.services.alarms import Alarms
from vault_service.services.ports import UnitOfWork
from vault_service.services.reindex_ports import SHARDS
from vault_service.services.rewrapping import ACTOR, Rewrapping
from vault_service.services.rotation_ports import KeyReader

# Seconds between counts; rotations count besides.
PERIOD: Final = 3600.0
# How long a key may be past its period before somebody is called: a rotation takes its time.
GRACE: Final = timedelta(days=1)
OVERDUE: Final = "key_overdue"


class KeyCensus:
    """The worker's duty of counting keys.

    Args:
        uow: the worker's units of work.
        keys: reads keys in Vault.
        rewrapping: walks the wrapped keys.
        specs: the declared keys.
        alarms: raises the alarm.
        grace: how long after its period a key is overdue.
    """

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        keys: KeyReader,
        rewrapping: Rewrapping,
        specs: Sequence[KeySpec],
        alarms: Alarms,
        grace: timedelta = GRACE,
    ) -> None:
        self._uow = uow
        self._keys = keys
        self._rewrapping = rewrapping
        self._specs = specs
        self._alarms = alarms
        self._grace = grace

    def run(self, _stop: threading.Event) -> None:
        """Count everything, and look how old the keys are.

        Raises:
            VaultUnavailable, VaultDenied, KeyNotReady: Vault could not be asked.
            Unavailable: the database is away.
        """
        self.below("", 0)
        self._count_fingerprints()
        for spec in self._specs:
            self._watch(spec)

    def below(self, key: str, version: int) -> int:
        """Count; how many keys lie under `key` below `version`, or say so of themselves wrongly.

        Raises:
            Unavailable: the database is away.
        """
        counted: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        left = 0
        for each in self._rewrapping.count():
            # What contradicts itself is of no version.
            counted[each.kek][each.version if each.sound else 0] += each.count
            if each.kek == key and (each.version < version or not each.sound):
                left += each.count
        with self._uow.begin() as tx:
            for spec in self._specs:
                if spec.purpose is not Purpose.FINGERPRINT:
                    tx.census.put(spec.name, counted[spec.name])
        return left

    def _count_fingerprints(self) -> None:
        """Count what is indexed under each version of each fingerprint key."""
        counted: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for shard in range(SHARDS):
            with self._uow.begin(read_only=True) as tx:
                found = tx.fingerprints.count(shard)
            for (data_class, version), count in found.items():
                counted[key_of(data_class)][version] += count
        with self._uow.begin() as tx:
            for spec in self._specs:
                if spec.purpose is Purpose.FINGERPRINT:
                    tx.census.put(spec.name, counted[spec.name])

    def _watch(self, spec: KeySpec) -> None:
        info = self._keys.read(spec.name)
        with self._uow.begin() as tx:
            now = tx.clock.now()
            age = now - info.created.get(info.latest_version, now)
            overdue = age > spec.rotate_after + self._grace
            if not tx.census.flag(spec.name, overdue=overdue):
                return
            if not overdue:
                self._alarms.clear_in(tx, OVERDUE, ACTOR, subject=spec.name, key=spec.name)
                return
            self._alarms.raise_in(
                tx,
                OVERDUE,
                ACTOR,
                severity="medium",
                subject=spec.name,
                key=spec.name,
                observed=age.days,
                limit=spec.rotate_after.days,
            )
