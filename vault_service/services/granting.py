"""Exchanges a grant for disclosure tokens: short-lived, signed in Vault, each for one use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from vault_service.domain import disclosures as rules
from vault_service.domain import tokens
from vault_service.domain.actors import Action
from vault_service.domain.disclosures import Scope, State
from vault_service.domain.grounds import Category, Ground, Policy
from vault_service.domain.instruments import Instrument, covers, end, lacking
from vault_service.domain.policy import Progress, lacking_progress
from vault_service.errors import Conflict, InvalidInput, NotFound, Problem
from vault_service.ledger.entries import Event
from vault_service.services import possession
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.disclosure_token import TokenIssuer
from vault_service.services.disclosures import state_now, told_grant
from vault_service.services.dpop import Proof, ShownProof, missing
from vault_service.services.gather import Gather
from vault_service.services.ports import DisclosureRow, OutboxEntry, Transaction, UnitOfWork
from vault_service.services.possession import Possession
from vault_service.services.views import IssuedDisclosureToken

# Decisions after which there is no grant, whatever the row of the request says.
_ENDINGS: Final = frozenset(("deny", "annul", "revoke", "withdraw"))

_log = structlog.get_logger(__name__)


class Granting:
    """The use case."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        issuer: TokenIssuer,
        proofs: Possession,
        policy: Policy,
        audit: Audit,
    ) -> None:
        self._uow = uow
        self._issuer = issuer
        self._proofs = proofs
        self._policy = policy
        self._audit = audit
        self._reads = Gather[tuple[int, str], tuple[DisclosureRow | None, _Found]](self._read)
        self._writes = Gather[_Issued, None](self._write)

    def issue(
        self, caller: Caller, disclosure: str, *, proof: ShownProof | None = None
    ) -> IssuedDisclosureToken:
        """A disclosure token for the grant's requester, bound to the key of his proof.

        It lives as long as the ground allows, never beyond the grant, and reveals nothing before
        its row is committed: a token that was signed and then lost is worth nothing.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such grant of the caller's.
            Conflict: the grant is not active, or the policy has changed.
            ProofRefused: the proof of possession is wrong, or the grant demands one.
            VaultUnavailable: it could not be signed.
        """
        self._audit.require(caller, Action.TAKE_DISCLOSURE_TOKEN)
        row, found = self._grant(caller, disclosure)
        ground = self._policy.grounds.get((row.ground, row.category))
        if row.policy != self._policy.version or ground is None:
            raise Conflict(
                "the policy has changed since this grant was made", code="policy_changed"
            )
        ends = _end(row, found, ground, self._policy.categories[row.category])
        proven = self._proven(proof, row)
        if proven is None and (row.proof_of_possession or ground.proof_of_possession):
            raise missing()
        jti = tokens.new_jti(row.bucket)
        issued = self._issuer.issue(
            told_grant(row),
            holder=caller.principal.id,
            jti=jti,
            now=row.now,
            life=ground.token_life,
            grant_ends=ends,
            key_thumbprint=None if proven is None else proven.thumbprint,
        )
        until = issued.claims.expires_at
        self._writes.submit(
            _Issued(caller=caller, grant=row, jti=jti, until=until, proof=proven),
            deadline=caller.deadline,
        )
        return IssuedDisclosureToken(
            expires_at=until, token=issued.token, nonce=None if proven is None else proven.nonce
        )

    def _write(self, issued: list[_Issued]) -> list[Exception | None]:
        """Register tokens and write their entries; a proof that was used before refuses its own."""
        with self._uow.begin() as tx:
            outcomes: list[Exception | None] = [None] * len(issued)
            shown = [place for place, each in enumerate(issued) if each.proof is not None]
            proofs = [(each.grant.bucket, each.proof) for each in issued if each.proof is not None]
            for place, refusal in zip(
                shown, possession.spend(tx, proofs) if proofs else [], strict=True
            ):
                outcomes[place] = refusal
            good = [each for each, refusal in zip(issued, outcomes, strict=True) if refusal is None]
            now = tx.clock.now()
            for each in good:
                tx.disclosures.insert_token(
                    each.grant.bucket,
                    jti=each.jti,
                    disclosure=each.grant.id,
                    holder=each.caller.principal.id,
                    issued_at=each.grant.now,
                    expires_at=each.until,
                )
            tx.outbox.append([row for each in good for row in self._entries(each, now)])
        return outcomes

    def _entries(self, issued: _Issued, now: datetime) -> list[OutboxEntry]:
        details: dict[str, str | int] = {
            "jti": issued.jti,
            "expires_at": int(issued.until.timestamp()),
        }
        if issued.proof is not None:
            details["key_thumbprint"] = issued.proof.thumbprint
        return self._audit.entries(
            Event.DISCLOSURE_TOKEN_ISSUED,
            issued.caller,
            at=now,
            grant=issued.grant,
            customer=issued.grant.customer,
            details=details,
        )

    def _lacking(self, row: DisclosureRow, found: _Found) -> tuple[Problem, ...]:
        """What people have yet to do before a request becomes a grant, each by its clause."""
        ground = self._policy.grounds.get((row.ground, row.category))
        if ground is None:
            return ()
        progress = Progress(
            approvals=len(found.of("approve")), determined=True if found.of("determine") else None
        )
        return tuple(
            Problem(
                code=reason.code,
                pointer=reason.pointer,
                detail=reason.detail,
                clause=reason.clause,
            )
            for reason in lacking_progress(ground, progress)
        )

    def _proven(self, proof: ShownProof | None, row: DisclosureRow) -> Proof | None:
        if proof is None:
            return None
        nonces = self._proofs.nonces()
        return self._proofs.check(proof, now=row.now, nonces=nonces, token=None)

    def _grant(self, caller: Caller, disclosure: str) -> tuple[DisclosureRow, _Found]:
        """The caller's active grant, and what was decided on it."""
        missing = NotFound("there is no such disclosure request", code="disclosure_not_found")
        try:
            bucket = tokens.bucket_from_disclosure_id(disclosure)
        except InvalidInput as exc:
            raise missing from exc
        row, found = self._reads.submit((bucket, disclosure), deadline=caller.deadline)
        if row is None or row.requester != caller.principal.id:
            raise missing
        state = state_now(row)
        if state is not State.ACTIVE:
            raise Conflict(
                f"the request is {state}, not an active grant",
                code=rules.Refusal.NOT_ACTIVE
                if state not in rules.TERMINAL
                else f"disclosure_{state}",
                problems=() if state in rules.TERMINAL else self._lacking(row, found),
            )
        return row, found

    def _read(self, names: list[tuple[int, str]]) -> list[tuple[DisclosureRow | None, _Found]]:
        """Each grant as it stands, and what was decided on it; one of many callers is read once."""
        with self._uow.begin(read_only=True) as tx:
            rows = tx.disclosures.grants(names)
            found = {
                (bucket, name): _Found(
                    deciders=tx.disclosures.deciders(bucket, name),
                    instrument=tx.instruments.get(bucket, name) or Instrument(),
                    scope=_looked_up(tx, rows.get(name)),
                )
                for bucket, name in dict.fromkeys(names)
            }
        return [(rows.get(name), found[bucket, name]) for bucket, name in names]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Issued:
    """A token that was signed and counts when it is registered."""

    caller: Caller
    grant: DisclosureRow
    jti: str
    until: datetime
    proof: Proof | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What the rows of a grant's decisions and of its records say.

    Attributes:
        deciders: who decided, by kind of decision.
        instrument: what was said of the instrument.
        scope: with classes and customers of the records as they are; None where none is left.
    """

    deciders: Mapping[str, frozenset[str]]
    instrument: Instrument
    scope: Scope | None

    def of(self, kind: str) -> frozenset[str]:
        return self.deciders.get(kind, frozenset())


def _looked_up(tx: Transaction, row: DisclosureRow | None) -> Scope | None:
    if row is None:
        return None
    if row.tokens is None:
        return Scope(customer=row.customer, classes=row.classes or ())
    found = tx.records.masked([(tokens.bucket_of_value(token), token) for token in row.tokens])
    if not found:
        return None
    return Scope(
        tokens=tuple(found),
        classes=tuple({record.data_class for record in found.values()}),
        customers=tuple({record.customer for record in found.values()}),
    )


def _end(row: DisclosureRow, found: _Found, ground: Ground, category: Category) -> datetime:
    """When the grant ends, if its row is what the policy lets a request become.

    The state of the row is written by another process role than the one that signs. So the
    signing side counts the approvals for itself, looks for the determination and for any decision
    that ended the request, and measures life and scope, by the policy, by the records and by what
    was said of the instrument.

    Raises:
        Conflict: it is not, and somebody has written what no use case writes; an alarm is raised.
    """
    if (
        len(found.of("approve") - {row.requester}) < ground.approvals
        or not found.deciders.keys().isdisjoint(_ENDINGS)
        or not _determined(row, found, ground)
        or row.recipient_kind not in ground.recipients
        or not 1 <= row.uses <= ground.uses
        or (found.scope is not None and not set(found.scope.classes) <= set(category.classes))
        or row.activated_at is None
        or row.expires_at is None
        or row.activated_at > row.now
        or row.expires_at - row.activated_at > ground.longest
    ):
        _log.error("alarm", alarm="grant_out_of_policy", grant=row.id)
        raise Conflict(
            "this grant is not what the policy allows; an alarm was raised",
            code="grant_out_of_policy",
        )
    return row.expires_at


def _determined(row: DisclosureRow, found: _Found, ground: Ground) -> bool:
    """Whether what must be determined was, by another, and the grant keeps to it."""
    if ground.determination is None:
        return True
    last = end(found.instrument)
    within = last is None or row.expires_at is None or row.expires_at <= last
    said = not any(lacking(found.instrument, ground.determination.binds))
    covered = found.scope is None or covers(found.instrument, found.scope)
    return bool(found.of("determine") - {row.requester}) and said and within and covered
