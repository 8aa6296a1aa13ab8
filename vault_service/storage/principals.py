"""The repository of principals and their API keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects.postgresql import insert

from vault_service.services.principal_ports import ApiKeyRow, Credential, PrincipalRow
from vault_service.storage import arrays
from vault_service.storage.session import Row, Session
from vault_service.storage.tables.principals import api_keys, principals

# Rights that nobody reviewed in time are gone, and so is the right to approve of officers who let
# another's review pass.
# `last_used_at` is right to the minute, so that a busy key is not a row that all must write.
_CREDENTIAL: Final = b"""
SELECT
    k.id, k.secret_hash, k.state,
    coalesce(k.expires_at <= now(), false),
    coalesce(k.last_used_at < now() - interval '60 seconds', true),
    p.id, p.name, p.roles, p.state,
    CASE WHEN p.roles && ARRAY['officer', 'requester'] THEN
        p.review_due <= now()
        OR ('officer' = ANY(p.roles) AND EXISTS (
            SELECT FROM principals AS q
            WHERE q.id <> p.id AND q.state = 'active' AND q.roles && ARRAY['officer', 'requester']
                AND q.review_due <= now()
        ))
    ELSE false END
FROM api_keys AS k
JOIN principals AS p ON p.id = k.principal
WHERE k.id = """
# One id is looked up plainly, which is what every request that is not gathered does.
_CREDENTIAL_OF_ONE: Final = _CREDENTIAL + b"%b"
_CREDENTIAL_OF_MANY: Final = _CREDENTIAL + b"ANY(%b::text[])"
# Whoever is writing the same row just now is writing the same thing.
_TOUCH: Final = b"""
UPDATE api_keys SET last_used_at = now()
WHERE id IN (
    SELECT k.id FROM api_keys AS k
    WHERE k.id = ANY(%b::text[]) AND coalesce(k.last_used_at < now() - interval '60 seconds', true)
    FOR NO KEY UPDATE SKIP LOCKED
)
"""
_PRINCIPAL: Final = select(
    principals.c.id,
    principals.c.name,
    principals.c.roles,
    principals.c.state,
    principals.c.created_by,
    principals.c.created_at,
)
_KEY_COLUMNS: Final = (
    api_keys.c.id,
    api_keys.c.principal,
    api_keys.c.state,
    api_keys.c.created_by,
    api_keys.c.confirmed_by,
    api_keys.c.created_at,
    api_keys.c.expires_at,
    api_keys.c.revoked_at,
    api_keys.c.last_used_at,
)


class SqlPrincipals:
    """Principals and their API keys."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def credentials(self, key_ids: Sequence[str]) -> dict[str, Credential]:
        """Credentials by key id."""
        if not key_ids:
            return {}
        rows = (
            self._session.rows(_CREDENTIAL_OF_ONE, (key_ids[0],))
            if len(key_ids) == 1
            else self._session.rows(
                _CREDENTIAL_OF_MANY, (arrays.texts(list(dict.fromkeys(key_ids))),)
            )
        )
        return {
            row[0]: Credential(
                key_id=row[0],
                secret_hash=row[1],
                key_state=row[2],
                expired=row[3],
                stale_use=row[4],
                principal=row[5],
                name=row[6],
                roles=tuple(row[7]),
                principal_state=row[8],
                review_overdue=row[9],
            )
            for row in rows
        }

    def touch(self, key_ids: Sequence[str]) -> None:
        """Record that the keys were used now."""
        if key_ids:
            self._session.defer(_TOUCH, (arrays.texts(key_ids),))

    def insert(self, row: PrincipalRow) -> bool:
        """Insert a principal; False when the name is taken."""
        offered = insert(principals).values(
            id=row.id,
            name=row.name,
            roles=list(row.roles),
            state=row.state,
            created_by=row.created_by,
        )
        return bool(
            self._session.core(
                offered.on_conflict_do_nothing(index_elements=[principals.c.name]).returning(
                    principals.c.id
                )
            )
        )

    def get(self, principal: str, *, lock: bool = False) -> PrincipalRow | None:
        """One principal, locked for the rest of the unit of work when asked."""
        query = _PRINCIPAL.where(principals.c.id == principal)
        return self._one(query.with_for_update(key_share=True) if lock else query)

    def by_name(self, name: str) -> PrincipalRow | None:
        """One principal by its name."""
        return self._one(_PRINCIPAL.where(principals.c.name == name))

    def page(self, after: str | None, limit: int) -> list[PrincipalRow]:
        """Principals ordered by id."""
        query = _PRINCIPAL.order_by(principals.c.id).limit(limit)
        if after is not None:
            query = query.where(principals.c.id > after)
        return [_principal(row) for row in self._session.core(query)]

    def set_state(self, principal: str, state: str) -> bool:
        """Enable or disable a principal; False when there is none."""
        return self._update(principal, state=state)

    def set_roles(self, principal: str, roles: Sequence[str]) -> bool:
        """Replace a principal's roles; False when there is none."""
        return self._update(principal, roles=list(roles))

    def insert_key(
        self,
        *,
        key_id: str,
        principal: str,
        secret_hash: bytes,
        state: str,
        created_by: str,
        expires_at: datetime | None,
    ) -> ApiKeyRow:
        """Insert an API key."""
        rows = self._session.core(
            insert(api_keys)
            .values(
                id=key_id,
                principal=principal,
                secret_hash=secret_hash,
                state=state,
                created_by=created_by,
                expires_at=expires_at,
            )
            .returning(*_KEY_COLUMNS)
        )
        return _key(rows[0])

    def keys(self, principals: Sequence[str]) -> list[ApiKeyRow]:
        """All keys of some principals, oldest first."""
        if not principals:
            return []
        rows = self._session.core(
            select(*_KEY_COLUMNS)
            .where(api_keys.c.principal == func.any(list(principals)))
            .order_by(api_keys.c.created_at, api_keys.c.id)
        )
        return [_key(row) for row in rows]

    def get_key(self, key_id: str) -> ApiKeyRow | None:
        """One key, locked for the rest of the unit of work."""
        rows = self._session.core(
            select(*_KEY_COLUMNS).where(api_keys.c.id == key_id).with_for_update(key_share=True)
        )
        return _key(rows[0]) if rows else None

    def revoke_key(self, key_id: str) -> bool:
        """Revoke; False when it was not live."""
        return bool(
            self._session.core(
                update(api_keys)
                .where(api_keys.c.id == key_id, api_keys.c.state != "revoked")
                .values(state="revoked", revoked_at=func.now())
                .returning(api_keys.c.id)
            )
        )

    def confirm_key(self, key_id: str, by: str) -> bool:
        """Turn a pending key active; False when it was not pending."""
        return bool(
            self._session.core(
                update(api_keys)
                .where(api_keys.c.id == key_id, api_keys.c.state == "pending")
                .values(state="active", confirmed_by=by, confirmed_at=func.now())
                .returning(api_keys.c.id)
            )
        )

    def _one(self, query: Select[Any]) -> PrincipalRow | None:
        rows = self._session.core(query)
        return _principal(rows[0]) if rows else None

    def _update(self, principal: str, **values: object) -> bool:
        return bool(
            self._session.core(
                update(principals)
                .where(principals.c.id == principal)
                .values(**values)
                .returning(principals.c.id)
            )
        )


def _principal(row: Row) -> PrincipalRow:
    return PrincipalRow(
        id=row[0],
        name=row[1],
        roles=tuple(row[2]),
        state=row[3],
        created_by=row[4],
        created_at=row[5],
    )


def _key(row: Row) -> ApiKeyRow:
    return ApiKeyRow(
        id=row[0],
        principal=row[1],
        state=row[2],
        created_by=row[3],
        confirmed_by=row[4],
        created_at=row[5],
        expires_at=row[6],
        revoked_at=row[7],
        last_used_at=row[8],
    )
