"""Authentication: from an Authorization header to a caller, on every request anew.

Nothing is cached, so that a revoked key fails on the next request. Concurrent look-ups share a
statement. Whether a key id exists cannot be told from the answer or its time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from vault_service.domain.actors import Principal, PrincipalState, Role
from vault_service.domain.tokens import parse_api_key
from vault_service.errors import NotAuthenticated
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.context import Caller, Stranger
from vault_service.services.gather import Gather
from vault_service.services.ports import Credential, UnitOfWork

# Looks up the credential of a key id, by a deadline.
Look = Callable[[str, float], Credential | None]

_SCHEME: Final = "bearer "
# Compared with when there is no such key, so that both ways cost the same.
_NOTHING: Final = hashlib.sha256(b"").digest()


def hash_secret(secret: bytes) -> bytes:
    """What is stored of a key's secret.

    SHA-256 without stretching is enough: the secret has 260 random bits, so there is nothing to
    guess (a slow hash is for passwords that people choose).
    """
    return hashlib.sha256(secret).digest()


class Authentication:
    """The use case."""

    def __init__(self, *, uow: UnitOfWork, audit: Audit) -> None:
        self._uow = uow
        self._audit = audit
        self._credentials = Gather[str, Credential | None](self._read)

    def authenticate(
        self,
        authorization: str | None,
        *,
        request_id: str,
        address: str,
        deadline: float,
        look: Look | None = None,
    ) -> Caller:
        """The caller whom the header names and proves.

        Args:
            authorization: the header's value, `Bearer vk_…`.
            request_id: this request's id.
            address: where it came from.
            deadline: `time.monotonic()` value after which nobody waits.
            look: looks the credential up, now, in place of this use case's own statement.

        Raises:
            NotAuthenticated: with a code for each cause.
            Unavailable: the database is.
        """
        if not authorization:
            raise NotAuthenticated("an API key is needed", code="credential_missing")
        if not authorization[: len(_SCHEME)].lower() == _SCHEME:
            raise NotAuthenticated(
                "the Authorization header is not of the form `Bearer vk_…`",
                code="credential_malformed",
            )
        parsed = parse_api_key(authorization[len(_SCHEME) :].strip())
        if parsed is None:
            raise NotAuthenticated("this is not an API key", code="credential_malformed")
        key_id, secret = parsed
        stranger = Stranger(request_id=request_id, address=address)
        credential = (look or self._look)(key_id, deadline)
        known = credential.secret_hash if credential else _NOTHING
        proven = hmac.compare_digest(hash_secret(secret), known)
        if credential is None or not proven:
            self._fail(stranger, key_id, "credential_unknown", "this API key is not known")
        # Only the holder of the right secret learns more than that.
        if credential.key_state == "pending":
            self._fail(
                stranger,
                key_id,
                "credential_pending",
                "this API key waits for an officer's confirmation",
            )
        if credential.key_state != "active":
            self._fail(stranger, key_id, "credential_revoked", "this API key was revoked")
        if credential.expired:
            self._fail(stranger, key_id, "credential_expired", "this API key has expired")
        if credential.principal_state != PrincipalState.ACTIVE:
            self._fail(stranger, key_id, "principal_disabled", "this principal is disabled")
        if credential.stale_use:
            with self._uow.begin() as tx:
                tx.principals.touch([key_id])
        return Caller(
            principal=Principal(
                id=credential.principal,
                name=credential.name,
                roles=frozenset(Role(role) for role in credential.roles),
                review_overdue=credential.review_overdue,
            ),
            key_id=key_id,
            request_id=request_id,
            address=address,
            deadline=deadline,
        )

    def _look(self, key_id: str, deadline: float) -> Credential | None:
        return self._credentials.submit(key_id, deadline=deadline)

    def _read(self, key_ids: list[str]) -> Sequence[Credential | None]:
        with self._uow.begin(read_only=True) as tx:
            found = tx.principals.credentials(key_ids)
        return [found.get(key_id) for key_id in key_ids]

    def _fail(self, stranger: Stranger, key_id: str, code: str, detail: str) -> NoReturn:
        self._audit.refused(
            Event.AUTHENTICATION_FAILED,
            stranger,
            reason=code,
            key=key_id,
            details={"method": "api_key"},
        )
        raise NotAuthenticated(detail, code=code)
