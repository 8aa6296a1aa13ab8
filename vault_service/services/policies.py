"""The history of the policy: every version that was in force, from when, and what it changed.

A version is the SHA-256 of its file, and its coming into force is an entry of the ledger
(`policy.adopted`), so a text that was changed in the database is not shown as what was in force.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from vault_service.domain.actors import Action
from vault_service.domain.grounds import Policy
from vault_service.errors import Conflict, InvalidInput, NotFound
from vault_service.policy import loader
from vault_service.policy.diff import Difference, diff
from vault_service.policy.loader import PolicyInvalid
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.policy_ports import AdoptionRow
from vault_service.services.ports import Transaction, UnitOfWork

MAX_PAGE: Final = 200
# Adoptions of one version that are told with its text; the newest.
_TOLD: Final = 100
_VERSION: Final = re.compile("[0-9a-f]{64}", re.ASCII)
_CURSOR: Final = re.compile("[1-9][0-9]{0,8}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptionPage:
    """Versions as they came into force, newest first, and the next cursor."""

    items: tuple[AdoptionRow, ...]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyText:
    """A version's file, and when it was in force, newest first."""

    version: str
    text: str
    adoptions: tuple[AdoptionRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChanges:
    """What a version allows and forbids, compared with another."""

    old: str
    new: str
    differences: tuple[Difference, ...]


class PolicyHistory:
    """The use case. Needs the console's database role.

    Args:
        uow: the console's database role.
        audit: decides.
    """

    def __init__(self, *, uow: UnitOfWork, audit: Audit) -> None:
        self._uow = uow
        self._audit = audit

    def page(self, caller: Caller, *, cursor: str | None, limit: int) -> AdoptionPage:
        """Versions as they came into force, newest first; one that came back stands twice.

        Raises:
            Forbidden: the caller is neither auditor, officer nor operator.
            InvalidInput: the cursor or the limit is wrong.
        """
        self._audit.require(caller, Action.READ_POLICIES)
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"1 to {MAX_PAGE} on a page", code="limit_invalid", pointer="/limit")
        if cursor is not None and _CURSOR.fullmatch(cursor) is None:
            raise InvalidInput("this is not a cursor", code="cursor_invalid")
        with self._uow.begin(read_only=True) as tx:
            rows = tx.policies.adoptions(
                before=None if cursor is None else int(cursor), limit=limit + 1
            )
        return AdoptionPage(
            items=tuple(rows[:limit]),
            next=str(rows[limit - 1].number) if len(rows) > limit else None,
        )

    def text(self, caller: Caller, version: str) -> PolicyText:
        """The file of a version.

        Raises:
            Forbidden: the caller is neither auditor, officer nor operator.
            NotFound: it was never in force.
            Conflict: what is stored is not what was in force.
        """
        self._audit.require(caller, Action.READ_POLICIES)
        with self._uow.begin(read_only=True) as tx:
            body = _body(tx, version)
            rows = tx.policies.adoptions(version=version, limit=_TOLD)
        return PolicyText(version=version, text=body, adoptions=tuple(rows))

    def changes(self, caller: Caller, version: str, *, since: str | None) -> PolicyChanges:
        """What a version allows and forbids, compared with `since` or with the one before it.

        Raises:
            Forbidden: the caller is neither auditor, officer nor operator.
            NotFound: one of them was never in force, or there was none before.
            Conflict: what is stored is not what was in force, or this release cannot read it.
        """
        self._audit.require(caller, Action.READ_POLICIES)
        with self._uow.begin(read_only=True) as tx:
            new = _body(tx, version)
            old = since or _before(tx, version)
            before = _body(tx, old)
        return PolicyChanges(
            old=old,
            new=version,
            differences=tuple(diff(_read(before), _read(new))),
        )


def _body(tx: Transaction, version: str) -> str:
    body = tx.policies.body(version) if _VERSION.fullmatch(version) else None
    if body is None:
        raise NotFound("no such version was ever in force", code="policy_not_found")
    if hashlib.sha256(body.encode()).hexdigest() != version:
        raise Conflict("the stored text is not what was in force", code="policy_altered")
    return body


def _before(tx: Transaction, version: str) -> str:
    """The version that was in force before this one came into force for the last time."""
    (newest,) = tx.policies.adoptions(version=version, limit=1)
    earlier = tx.policies.adoptions(before=newest.number, limit=1)
    if not earlier:
        raise NotFound("no version was in force before", code="policy_not_found")
    return earlier[0].version


def _read(body: str) -> Policy:
    try:
        return loader.parse(body.encode(), source="policy")
    except PolicyInvalid as error:
        raise Conflict("this release cannot read that version", code="policy_unreadable") from error
