"""What Vault's keys are like: versions, ages, when each is due, what lies under each version."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from keys.declared import KeySpec
from keys.errors import KeyNotReady
from keys.operations import KeyInfo
from vault_service.domain.actors import Action
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.ports import UnitOfWork
from vault_service.services.rotation_ports import CensusRow, KeyReader, RotationRow
from vault_service.services.rotations import shown

# Seconds: monitoring may ask as often as it likes.
KEPT: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatusView:
    """One key.

    Attributes:
        name: in Vault.
        purpose: kek, fingerprint or signing.
        exists: whether Vault has it; without it nothing more is known.
        version: the newest.
        min_encryption_version: the oldest that wraps, signs or computes.
        min_decryption_version: the oldest that opens or verifies.
        created: when the newest version was made.
        age_days: how old that is.
        due: when its rotation is due.
        overdue: whether that is past.
        wrapped: version -> keys that lie under it, as counted last; 0 for those that say of
            themselves what is not so.
        counted_at: when; None before the first count.
        rotation: the one under way.
        remaining: keys that it still has to rewrap.
    """

    name: str
    purpose: str
    exists: bool
    version: int | None
    min_encryption_version: int | None
    min_decryption_version: int | None
    created: datetime | None
    age_days: int | None
    due: datetime | None
    overdue: bool
    wrapped: Mapping[int, int]
    counted_at: datetime | None
    rotation: str | None
    remaining: int


class KeyStatus:
    """The use case.

    Args:
        uow: a database role that reads rotations and census.
        keys: reads keys in Vault.
        specs: the declared keys.
        audit: decides.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        keys: KeyReader,
        specs: Sequence[KeySpec],
        audit: Audit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._uow = uow
        self._keys = keys
        self._specs = specs
        self._audit = audit
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[float, list[KeyStatusView]] | None = None

    def overview(self, caller: Caller) -> list[KeyStatusView]:
        """Every declared key.

        Raises:
            Forbidden: the caller is neither operator nor auditor.
            VaultUnavailable, VaultDenied: Vault could not be asked.
            Unavailable: the database is.
        """
        self._audit.require(caller, Action.READ_KEYS)
        return self._look()

    def measured(self) -> list[KeyStatusView]:
        """The same for monitoring, which shows no credential: looked at once in `KEPT` seconds.

        Raises:
            VaultUnavailable, VaultDenied: Vault could not be asked.
            Unavailable: the database is.
        """
        with self._lock:
            if self._kept is None or self._clock() - self._kept[0] >= KEPT:
                self._kept = (self._clock(), self._look())
            return self._kept[1]

    def _look(self) -> list[KeyStatusView]:
        found = [(spec, self._read(spec.name)) for spec in self._specs]
        with self._uow.begin(read_only=True) as tx:
            now = tx.clock.now()
            census = tx.census.all()
            live = {row.key: row for row in tx.rotations.live()}
        return [
            _view(spec, info, census.get(spec.name), live.get(spec.name), now)
            for spec, info in found
        ]

    def _read(self, key: str) -> KeyInfo | None:
        try:
            return self._keys.read(key)
        except KeyNotReady:
            return None


def _view(
    spec: KeySpec,
    info: KeyInfo | None,
    counted: CensusRow | None,
    rotation: RotationRow | None,
    now: datetime,
) -> KeyStatusView:
    created = None if info is None else info.created.get(info.latest_version)
    due = None if created is None else created + spec.rotate_after
    return KeyStatusView(
        name=spec.name,
        purpose=spec.purpose.value,
        exists=info is not None,
        version=None if info is None else info.latest_version,
        min_encryption_version=None if info is None else info.min_encryption_version,
        min_decryption_version=None if info is None else info.min_decryption_version,
        created=created,
        age_days=None if created is None else (now - created).days,
        due=due,
        overdue=due is not None and due < now,
        wrapped={} if counted is None else counted.wrapped,
        counted_at=None if counted is None else counted.counted_at,
        rotation=None if rotation is None else rotation.id,
        remaining=0 if rotation is None else shown(rotation).remaining,
    )
