"""Principals and their API keys, under dual control.

A key with which plaintext can be asked for or approved (roles requester and officer) counts only
when an officer has confirmed it, unless its own principal made it with a key that already counts.
So an operator, who hands out credentials, cannot make himself the requester and the approvers.
The database holds the same rule as a constraint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from vault_service.domain import freetext, tokens
from vault_service.domain.actors import Action, PrincipalState, Role, permits, roles_named
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.authentication import hash_secret
from vault_service.services.context import Caller
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.principal_ports import ApiKeyRow, PrincipalRow
from vault_service.services.views import IssuedKey, KeyView, PrincipalView

NAME_LENGTH: Final = 100
MAX_PAGE: Final = 100
# More live keys than this for one principal are a mistake: two let a rotation overlap.
MAX_LIVE_KEYS: Final = 10

# Roles whose keys need an officer's confirmation.
GUARDED: Final = frozenset((Role.REQUESTER, Role.OFFICER))

SELF: Final = "me"


class Principals:
    """The use case."""

    def __init__(self, *, uow: UnitOfWork, audit: Audit) -> None:
        self._uow = uow
        self._audit = audit

    def create(
        self,
        caller: Caller,
        *,
        name: str,
        roles: Sequence[str],
        key_expires_at: datetime | None = None,
    ) -> IssuedKey:
        """Make a principal with its first key.

        Raises:
            Forbidden: the caller is no operator.
            InvalidInput: the name or the roles are wrong, or the roles exclude each other.
            Conflict: the name is taken.
        """
        self._audit.require(caller, Action.MANAGE_PRINCIPALS)
        checked = roles_named(roles)
        state = "pending" if checked & GUARDED else "active"
        return self._create(
            caller, name=name, roles=checked, state=state, key_expires_at=key_expires_at
        )

    def bootstrap(
        self,
        people: Sequence[tuple[str, Sequence[str]]],
        keep: Callable[[Sequence[IssuedKey]], None],
    ) -> list[IssuedKey]:
        """Make the first principals of an empty vault, their keys active.

        This is the one moment when nobody is there to confirm. It needs the console's database
        role, and works once: in a vault that has principals it makes none.

        Args:
            people: name and roles of each.
            keep: puts the keys where they survive; called before the commit, so that there are
                never principals whose keys nobody has.

        Raises:
            Conflict: another first start is under way.
        """
        with self._uow.begin() as tx:
            # The lease serialises two first starts: the second sees the principals of the first.
            if not tx.leases.hold("bootstrap", "bootstrap"):
                raise Conflict("another first start is under way", code="bootstrap_in_progress")
            if tx.principals.page(None, 1):
                return []
            issued = [
                self._make(tx, "bootstrap", name=name, roles=roles_named(roles), state="active")
                for name, roles in people
            ]
            keep(issued)
            return issued

    def page(
        self, caller: Caller, *, cursor: str | None, limit: int
    ) -> tuple[tuple[PrincipalView, ...], str | None]:
        """Principals with their keys, in the order of their ids, and the next cursor.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: the cursor or the limit is wrong.
        """
        self._audit.require(caller, Action.READ_PRINCIPALS)
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(
                f"a page holds 1 to {MAX_PAGE} principals", code="limit_invalid", pointer="/limit"
            )
        if cursor is not None:
            tokens.check_principal_id(cursor, pointer="/cursor")
        with self._uow.begin(read_only=True) as tx:
            rows = tx.principals.page(cursor, limit + 1)
            keys = tx.principals.keys([row.id for row in rows[:limit]])
        views = tuple(
            _view(row, [key for key in keys if key.principal == row.id]) for row in rows[:limit]
        )
        return views, views[-1].id if len(rows) > limit else None

    def get(self, caller: Caller, principal: str) -> PrincipalView:
        """One principal; everybody may see itself (`me`).

        Raises:
            Forbidden: the caller may not see others.
            NotFound: there is no such principal.
        """
        target = _target(caller, principal)
        if target != caller.principal.id:
            self._audit.require(caller, Action.READ_PRINCIPALS)
        with self._uow.begin(read_only=True) as tx:
            return _read(tx, target)

    def issue_key(
        self,
        caller: Caller,
        principal: str,
        *,
        expires_at: datetime | None = None,
        revoke: str | None = None,
    ) -> IssuedKey:
        """Make another key, for oneself or (as operator) for anybody; shown this once.

        Args:
            caller: who asks.
            principal: for whom; `me` for oneself.
            expires_at: when it stops to count.
            revoke: a key of the same principal that stops to count now (rotation).

        Raises:
            Forbidden: it is another's, and the caller is no operator.
            NotFound: there is no such principal, or no such live key to revoke.
            InvalidInput: a key would make one for itself that outlives it.
            Conflict: too many live keys.
        """
        target = self._own_or_managed(caller, principal)
        _check_expiry(expires_at)
        with self._uow.begin() as tx:
            row = _principal(tx, target, lock=True)
            own = target == caller.principal.id
            if own:
                _check_own_end(tx.principals.get_key(caller.key_id), expires_at)
            guarded = bool(GUARDED & {Role(role) for role in row.roles})
            if revoke is not None:
                self._revoke(tx, target, revoke)
            live = [key for key in tx.principals.keys([target]) if key.state != "revoked"]
            if len(live) >= MAX_LIVE_KEYS:
                raise Conflict(
                    f"a principal has at most {MAX_LIVE_KEYS} live keys",
                    code="too_many_keys",
                    hint="revoke one that is no longer used",
                )
            state = "pending" if guarded and not own else "active"
            issued = self._issue(tx, caller, row, state, expires_at)
            tx.outbox.append(
                self._audit.entries(
                    Event.CREDENTIAL_ROTATED if revoke else Event.CREDENTIAL_ISSUED,
                    caller,
                    at=tx.clock.now(),
                    principal=target,
                    key=issued.id,
                    details={"replaces": revoke} if revoke else {"state": state},
                )
            )
        return issued

    def revoke_key(self, caller: Caller, principal: str, key_id: str) -> PrincipalView:
        """Make a key count no more, from the next request on.

        Raises:
            Forbidden: it is another's, and the caller is no operator.
            NotFound: there is no such live key.
        """
        target = self._own_or_managed(caller, principal)
        with self._uow.begin() as tx:
            self._revoke(tx, target, key_id)
            self._credential(tx, Event.CREDENTIAL_REVOKED, caller, target, key_id)
            return _read(tx, target)

    def confirm_key(self, caller: Caller, principal: str, key_id: str) -> PrincipalView:
        """Let a pending key count: an officer vouches for its holder.

        Raises:
            Forbidden: the caller is no officer, is the holder, or made the key.
            NotFound: there is no such key.
            Conflict: the key is not pending.
        """
        self._audit.require(caller, Action.CONFIRM_KEY)
        with self._uow.begin() as tx:
            key = tx.principals.get_key(key_id)
            if key is None or key.principal != principal:
                raise _key_not_found()
            if caller.principal.id in (key.principal, key.created_by):
                raise Forbidden(
                    "a key is confirmed by an officer who neither made nor holds it",
                    code="own_key",
                )
            if not tx.principals.confirm_key(key_id, caller.principal.id):
                raise Conflict("this key is not waiting for confirmation", code="key_not_pending")
            self._credential(tx, Event.CREDENTIAL_CONFIRMED, caller, principal, key_id)
            return _read(tx, principal)

    def disable(self, caller: Caller, principal: str) -> PrincipalView:
        """Let none of a principal's keys count until it is enabled again.

        Raises:
            Forbidden: the caller is no operator.
            NotFound: there is no such principal.
        """
        return self._set_state(caller, principal, PrincipalState.DISABLED)

    def enable(self, caller: Caller, principal: str) -> PrincipalView:
        """Undo `disable`.

        Raises:
            Forbidden: the caller is no operator.
            NotFound: there is no such principal.
        """
        return self._set_state(caller, principal, PrincipalState.ACTIVE)

    def set_roles(self, caller: Caller, principal: str, roles: Sequence[str]) -> PrincipalView:
        """Replace a principal's roles.

        Raises:
            Forbidden: the caller is no operator, or the principal is the caller itself.
            InvalidInput: the roles are wrong or exclude each other.
            Conflict: a role would be added whose keys need confirmation; make a new principal.
            NotFound: there is no such principal.
        """
        self._audit.require(caller, Action.MANAGE_PRINCIPALS)
        checked = roles_named(roles)
        if principal in (SELF, caller.principal.id):
            raise Forbidden("nobody changes his own roles", code="own_roles")
        with self._uow.begin() as tx:
            # Locked, as where a key is issued: else a role could be given back that was taken away
            # a moment ago so that a key was issued without an officer's word.
            row = _principal(tx, principal, lock=True)
            if (checked & GUARDED) - {Role(role) for role in row.roles}:
                # Its keys were given out without an officer's word for this role.
                raise Conflict(
                    "requester and officer are not added to a principal that has keys already",
                    code="role_needs_new_principal",
                    hint="make a new principal with this role; an officer confirms its key",
                )
            tx.principals.set_roles(principal, sorted(checked))
            tx.outbox.append(
                self._audit.entries(
                    Event.PRINCIPAL_ROLES_CHANGED,
                    caller,
                    at=tx.clock.now(),
                    principal=principal,
                    details={
                        "roles": " ".join(sorted(checked)),
                        "roles_before": " ".join(sorted(row.roles)),
                    },
                )
            )
            return _read(tx, principal)

    # ------------------------------------------------------------ parts

    def _create(
        self,
        caller: Caller,
        *,
        name: str,
        roles: frozenset[Role],
        state: str,
        key_expires_at: datetime | None,
    ) -> IssuedKey:
        _check_expiry(key_expires_at)
        checked = freetext.check_text(name, pointer="/name", max_length=NAME_LENGTH)
        with self._uow.begin() as tx:
            return self._make(
                tx, caller, name=checked, roles=roles, state=state, key_expires_at=key_expires_at
            )

    def _make(
        self,
        tx: Transaction,
        caller: Caller | str,
        *,
        name: str,
        roles: frozenset[Role],
        state: str,
        key_expires_at: datetime | None = None,
    ) -> IssuedKey:
        now = tx.clock.now()
        row = PrincipalRow(
            id=tokens.new_principal_id(),
            name=name,
            roles=tuple(sorted(roles)),
            state=PrincipalState.ACTIVE,
            created_by=_by(caller),
            created_at=now,
        )
        if not tx.principals.insert(row):
            raise Conflict("there is a principal of this name", code="name_taken", pointer="/name")
        issued = self._issue(tx, caller, row, state, key_expires_at)
        tx.outbox.append(
            self._audit.entries(
                Event.PRINCIPAL_CREATED,
                caller,
                at=now,
                principal=row.id,
                details={"roles": " ".join(row.roles)},
            )
            + self._audit.entries(
                Event.CREDENTIAL_ISSUED,
                caller,
                at=now,
                principal=row.id,
                key=issued.id,
                details={"state": state},
            )
        )
        return issued

    def _issue(
        self,
        tx: Transaction,
        caller: Caller | str,
        row: PrincipalRow,
        state: str,
        expires_at: datetime | None,
    ) -> IssuedKey:
        new = tokens.new_api_key()
        tx.principals.insert_key(
            key_id=new.key_id,
            principal=row.id,
            secret_hash=hash_secret(new.secret.encode()),
            state=state,
            created_by=_by(caller),
            expires_at=expires_at,
        )
        return IssuedKey(
            principal=_view(row, tx.principals.keys([row.id])),
            id=new.key_id,
            state=state,
            key=new.full,
        )

    def _revoke(self, tx: Transaction, principal: str, key_id: str) -> None:
        key = tx.principals.get_key(key_id)
        if key is None or key.principal != principal or not tx.principals.revoke_key(key_id):
            raise _key_not_found()

    def _credential(
        self, tx: Transaction, event: Event, caller: Caller, principal: str, key_id: str
    ) -> None:
        tx.outbox.append(
            self._audit.entries(event, caller, at=tx.clock.now(), principal=principal, key=key_id)
        )

    def _set_state(self, caller: Caller, principal: str, state: PrincipalState) -> PrincipalView:
        self._audit.require(caller, Action.MANAGE_PRINCIPALS)
        target = _target(caller, principal)
        event = (
            Event.PRINCIPAL_ENABLED if state is PrincipalState.ACTIVE else Event.PRINCIPAL_DISABLED
        )
        with self._uow.begin() as tx:
            if not tx.principals.set_state(target, state):
                raise _principal_not_found()
            tx.outbox.append(
                self._audit.entries(event, caller, at=tx.clock.now(), principal=target)
            )
            return _read(tx, target)

    def _own_or_managed(self, caller: Caller, principal: str) -> str:
        target = _target(caller, principal)
        if target != caller.principal.id or permits(caller.principal, Action.MANAGE_PRINCIPALS):
            self._audit.require(caller, Action.MANAGE_PRINCIPALS)
        return target


def _by(caller: Caller | str) -> str:
    return caller if isinstance(caller, str) else caller.principal.id


def _target(caller: Caller, principal: str) -> str:
    return caller.principal.id if principal == SELF else principal


def _check_expiry(expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise InvalidInput(
            "the key would have expired already",
            code="expires_at_in_past",
            pointer="/expires_at",
        )


def _check_own_end(shown: ApiKeyRow | None, expires_at: datetime | None) -> None:
    """Return if the new key ends no later than the one that asks for it.

    Raises:
        InvalidInput: it would end later, or never: an end that a key can put off is none.
    """
    end = None if shown is None else shown.expires_at
    if end is not None and (expires_at is None or expires_at > end):
        raise InvalidInput(
            "a key makes no key that outlives it",
            code="outlives_own_key",
            pointer="/expires_at",
            hint="name an end no later than that of the key in use, or ask an operator",
        )


def _principal(tx: Transaction, principal: str, *, lock: bool = False) -> PrincipalRow:
    row = tx.principals.get(principal, lock=lock)
    if row is None:
        raise _principal_not_found()
    return row


def _read(tx: Transaction, principal: str) -> PrincipalView:
    return _view(_principal(tx, principal), tx.principals.keys([principal]))


def _view(row: PrincipalRow, keys: Sequence[ApiKeyRow]) -> PrincipalView:
    return PrincipalView(
        id=row.id,
        name=row.name,
        roles=row.roles,
        state=row.state,
        created_at=row.created_at,
        keys=tuple(
            KeyView(
                id=key.id,
                state=key.state,
                created_by=key.created_by,
                confirmed_by=key.confirmed_by,
                created_at=key.created_at,
                expires_at=key.expires_at,
                revoked_at=key.revoked_at,
                last_used_at=key.last_used_at,
            )
            for key in keys
        ),
    )


def _principal_not_found() -> NotFound:
    return NotFound("there is no such principal", code="principal_not_found")


def _key_not_found() -> NotFound:
    return NotFound("there is no such live key", code="key_not_found")
