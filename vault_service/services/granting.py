"""Exchanges a grant for disclosure tokens: short-lived, signed in Vault, each for one use."""

from __future__ import annotations

from vault_service.domain import disclosures as rules
from vault_service.domain import tokens
from vault_service.domain.actors import Action
from vault_service.domain.disclosures import State
from vault_service.domain.grounds import Policy
from vault_service.errors import Conflict, InvalidInput, NotFound
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.disclosure_token import TokenIssuer
from vault_service.services.disclosures import state_now, told_grant
from vault_service.services.ports import DisclosureRow, UnitOfWork
from vault_service.services.views import IssuedDisclosureToken


class Granting:
    """The use case."""

    def __init__(
        self, *, uow: UnitOfWork, issuer: TokenIssuer, policy: Policy, audit: Audit
    ) -> None:
        self._uow = uow
        self._issuer = issuer
        self._policy = policy
        self._audit = audit

    def issue(self, caller: Caller, disclosure: str) -> IssuedDisclosureToken:
        """A disclosure token for the grant's requester.

        It lives as long as the ground allows, never beyond the grant, and reveals nothing before
        its row is committed: a token that was signed and then lost is worth nothing.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such grant of the caller's.
            Conflict: the grant is not active, or the policy has changed.
            VaultUnavailable: it could not be signed.
        """
        self._audit.require(caller, Action.TAKE_DISCLOSURE_TOKEN)
        row = self._grant(caller, disclosure)
        ground = self._policy.grounds.get((row.ground, row.category))
        if row.policy != self._policy.version or ground is None:
            raise Conflict(
                "the policy has changed since this grant was made", code="policy_changed"
            )
        if row.expires_at is None:
            raise Conflict("the grant has no end", code="disclosure_not_active")
        jti = tokens.new_jti(row.bucket)
        issued = self._issuer.issue(
            told_grant(row),
            holder=caller.principal.id,
            jti=jti,
            now=row.now,
            life=ground.token_life,
            grant_ends=row.expires_at,
        )
        ends = issued.claims.expires_at
        with self._uow.begin() as tx:
            tx.disclosures.insert_token(
                row.bucket,
                jti=jti,
                disclosure=row.id,
                holder=caller.principal.id,
                issued_at=row.now,
                expires_at=ends,
            )
            tx.outbox.append(
                self._audit.entries(
                    Event.DISCLOSURE_TOKEN_ISSUED,
                    caller,
                    at=tx.clock.now(),
                    grant=row,
                    customer=row.customer,
                    details={"jti": jti, "expires_at": int(ends.timestamp())},
                )
            )
        return IssuedDisclosureToken(expires_at=ends, token=issued.token)

    def _grant(self, caller: Caller, disclosure: str) -> DisclosureRow:
        missing = NotFound("there is no such disclosure request", code="disclosure_not_found")
        try:
            bucket = tokens.bucket_from_disclosure_id(disclosure)
        except InvalidInput as exc:
            raise missing from exc
        with self._uow.begin(read_only=True) as tx:
            row = tx.disclosures.grants([(bucket, disclosure)]).get(disclosure)
        if row is None or row.requester != caller.principal.id:
            raise missing
        state = state_now(row)
        if state is not State.ACTIVE:
            raise Conflict(
                f"the request is {state}, not an active grant",
                code=rules.Refusal.NOT_ACTIVE
                if state not in rules.TERMINAL
                else f"disclosure_{state}",
            )
        return row
