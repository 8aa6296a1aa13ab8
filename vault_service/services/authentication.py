"""Authentication: from an Authorization header to a caller, on every request anew.

Nothing is cached, so that a revoked key fails on the next request. Look-ups share a statement:
those of requests that are served together, and concurrent ones of all others. Whether a key id
exists cannot be told from the answer or its time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from vault_service.domain.actors import Principal, PrincipalState, Role
from vault_service.domain.tokens import parse_api_key
from vault_service.errors import NotAuthenticated, ServiceError, outcome
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit, Denials
from vault_service.services.context import Caller, Stranger
from vault_service.services.gather import Gather, sifted
from vault_service.services.ports import UnitOfWork
from vault_service.services.principal_ports import Credential

_SCHEME: Final = "bearer "
# Compared with when there is no such key, so that both ways cost the same.
_NOTHING: Final = hashlib.sha256(b"").digest()


def hash_secret(secret: bytes) -> bytes:
    """What is stored of a key's secret.

    SHA-256 without stretching is enough: the secret has 260 random bits, so there is nothing to
    guess (a slow hash is for passwords that people choose).
    """
    return hashlib.sha256(secret).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a request shows of who sends it.

    Attributes:
        authorization: the header's value, `Bearer vk_…`.
        request_id: the request's id.
        address: where it came from.
        deadline: `time.monotonic()` value after which nobody waits.
    """

    authorization: str | None = field(repr=False)
    request_id: str
    address: str
    deadline: float


class Authentication:
    """The use case."""

    def __init__(self, *, uow: UnitOfWork, audit: Audit) -> None:
        self._uow = uow
        self._audit = audit
        self._credentials = Gather[str, Credential | None](self._read)

    def authenticate(self, shown: Shown) -> Caller:
        """The caller whom the header names and proves.

        Raises:
            NotAuthenticated: with a code for each cause.
            Unavailable: the database is.
        """
        key_id, secret = _parse(shown.authorization)
        credential = self._credentials.submit(key_id, deadline=shown.deadline)
        with self._audit.denials() as denials:
            caller = _admitted(shown, key_id, secret, credential, denials)
        if credential is not None and credential.stale_use:
            self._touch([key_id])
        return caller

    def authenticate_many(self, shown: Sequence[Shown]) -> list[Caller | ServiceError]:
        """As `authenticate`, for requests that are served together: a caller or the refusal each.

        Raises:
            Unavailable: the database is.
        """
        results: list[Caller | ServiceError | None] = [None] * len(shown)
        parsed: dict[int, tuple[str, bytes]] = {}
        for place, each in enumerate(shown):
            try:
                parsed[place] = _parse(each.authorization)
            except NotAuthenticated as refusal:
                results[place] = outcome(refusal)
        names = list(dict.fromkeys(key_id for key_id, _ in parsed.values()))
        found = dict(zip(names, self._read(names), strict=True)) if names else {}

        def admitted(place: int, denials: Denials) -> Caller:
            key_id, secret = parsed[place]
            return _admitted(shown[place], key_id, secret, found[key_id], denials)

        places = list(parsed)
        passed, refused = sifted(places, admitted, self._audit)
        judged: dict[int, Caller | ServiceError] = {**passed, **refused}
        for number, caller in judged.items():
            results[places[number]] = caller
        good = {each.key_id for each in results if isinstance(each, Caller)}
        stale = [key_id for key_id in good if (one := found[key_id]) is not None and one.stale_use]
        if stale:
            try:
                self._touch(stale)
            except ServiceError as fault:
                # Those who were refused have been told so, in the ledger too.
                for place, found_out in enumerate(results):
                    if isinstance(found_out, Caller) and found_out.key_id in stale:
                        results[place] = outcome(fault)
        return [each for each in results if each is not None]

    def _touch(self, key_ids: Sequence[str]) -> None:
        with self._uow.begin() as tx:
            tx.principals.touch(list(key_ids))

    def _read(self, key_ids: list[str]) -> Sequence[Credential | None]:
        with self._uow.begin(read_only=True) as tx:
            found = tx.principals.credentials(key_ids)
        return [found.get(key_id) for key_id in key_ids]


def _admitted(
    shown: Shown, key_id: str, secret: bytes, credential: Credential | None, denials: Denials
) -> Caller:
    """The caller whom the credential proves; a refusal is an entry of its own."""
    try:
        return _judge(shown, key_id, secret, credential)
    except NotAuthenticated as refusal:
        denials.refused(
            Event.AUTHENTICATION_FAILED,
            Stranger(request_id=shown.request_id, address=shown.address),
            reason=refusal.code,
            key=key_id,
            details={"method": "api_key"},
        )
        raise


def _judge(shown: Shown, key_id: str, secret: bytes, credential: Credential | None) -> Caller:
    known = credential.secret_hash if credential else _NOTHING
    proven = hmac.compare_digest(hash_secret(secret), known)
    if credential is None or not proven:
        raise NotAuthenticated("this API key is not known", code="credential_unknown")
    # Only the holder of the right secret learns more than that.
    if credential.key_state == "pending":
        raise NotAuthenticated(
            "this API key waits for an officer's confirmation", code="credential_pending"
        )
    if credential.key_state != "active":
        raise NotAuthenticated("this API key was revoked", code="credential_revoked")
    if credential.expired:
        raise NotAuthenticated("this API key has expired", code="credential_expired")
    if credential.principal_state != PrincipalState.ACTIVE:
        raise NotAuthenticated("this principal is disabled", code="principal_disabled")
    return Caller(
        principal=Principal(
            id=credential.principal,
            name=credential.name,
            roles=frozenset(Role(role) for role in credential.roles),
            review_overdue=credential.review_overdue,
        ),
        key_id=key_id,
        request_id=shown.request_id,
        address=shown.address,
        deadline=shown.deadline,
    )


def _parse(authorization: str | None) -> tuple[str, bytes]:
    """Key id and secret of a header.

    Raises:
        NotAuthenticated: there are none.
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
    return parsed
