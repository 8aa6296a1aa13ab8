"""Begins the rotation of a key: from its commit on, no write carries the old version of a KEK.

Vault makes the new version and refuses to wrap with the old one; then the floor in the database
rises, so that a data key still waiting in some process's pool is refused by the statement that
would write it. A signing key has no floor: Vault alone signs with it. Each step can be repeated
after a crash, and a repetition changes nothing more.
"""

from __future__ import annotations

from keys.rotation import Begun
from vault_service.domain.actors import Action
from vault_service.errors import NotFound
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.ports import UnitOfWork
from vault_service.services.rotation_ports import KeyRotator


class KeyRotation:
    """The use case. Needs the worker's database role and Vault's role `rotate`.

    Args:
        uow: the worker's units of work.
        rotator: begins a rotation in Vault.
        keks: the key-encryption keys that it may rotate.
        signing: the signing keys that it may rotate.
        audit: makes the entries.
    """

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        rotator: KeyRotator,
        keks: frozenset[str],
        signing: frozenset[str],
        audit: Audit,
    ) -> None:
        self._uow = uow
        self._rotator = rotator
        self._keks = keks
        self._signing = signing
        self._audit = audit

    def begin(self, by: Caller | str, key: str, *, known: int | None = None) -> Begun:
        """Rotate a key, and raise its floor if it is a KEK.

        Where a version newer than `known` is there already, no other is made.

        Raises:
            Forbidden: the caller is no operator.
            NotFound: there is no such key.
            VaultUnavailable: it may or may not have been rotated; repeat.
            Unavailable: Vault has rotated, the floor is not raised yet; repeat.
        """
        if isinstance(by, Caller):
            self._audit.require(by, Action.ROTATE_KEYS)
        if key not in self._keks | self._signing:
            raise NotFound("there is no such key to rotate", code="vault_key_not_found")
        begun = self._rotator.begin(key, known=known)
        with self._uow.begin() as tx:
            if key in self._keks:
                tx.floors.put(key, begun.to_version)
            tx.outbox.append(
                self._audit.entries(
                    Event.VAULT_KEY_ROTATED,
                    by,
                    at=tx.clock.now(),
                    key=key,
                    details={
                        "from_version": begun.from_version,
                        "to_version": begun.to_version,
                        "min_encryption": begun.to_version,
                    },
                )
            )
        return begun
