"""Exchanges a grant for disclosure tokens: short-lived, signed in Vault, each for one use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from vault_service.errors import Conflict, InvalidInput, Problem, ServiceError, outcome
from vault_service.ledger.entries import Event
from vault_service.services import possession
from vault_service.services.audit import Audit, Denials
from vault_service.services.context import Caller
from vault_service.services.disclosure_ports import DisclosureRow, NewToken
from vault_service.services.disclosure_token import DisclosureClaims, IssuedToken, TokenIssuer
from vault_service.services.disclosures.rows import state_now, told_grant, unknown
from vault_service.services.dpop import Proof, ShownProof, missing
from vault_service.services.gather import sifted
from vault_service.services.outbox_ports import OutboxEntry
from vault_service.services.ports import UnitOfWork
from vault_service.services.possession import Possession
from vault_service.services.record_ports import MaskedRecord
from vault_service.services.views import IssuedDisclosureToken

# Decisions after which there is no grant, whatever the row of the request says.
_ENDINGS: Final = frozenset(("deny", "annul", "revoke", "withdraw"))

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueRequest:
    """One call for a disclosure token.

    Attributes:
        caller: who asks; must be the grant's requester.
        disclosure: the grant.
        proof: the proof of possession shown, if one was.
    """

    caller: Caller
    disclosure: str
    proof: ShownProof | None = None


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
        asked = IssueRequest(caller=caller, disclosure=disclosure, proof=proof)
        (issued,) = self.issue_many([asked])
        if isinstance(issued, Exception):
            raise issued
        return issued

    def issue_many(self, asked: Sequence[IssueRequest]) -> list[IssuedDisclosureToken | Exception]:
        """As `issue`, for several calls together: a token or a refusal for each."""
        outcomes: list[IssuedDisclosureToken | Exception | None] = [None] * len(asked)
        names, refused = sifted(asked, self._named, self._audit)
        for place, refusal in refused.items():
            outcomes[place] = refusal
        try:
            self._issue_to(asked, names, outcomes)
        except Exception as error:  # noqa: BLE001 -- raised again by whoever asked
            # Of those who were not refused before; a token that was signed and not told is lost.
            for place in names:
                outcomes[place] = outcomes[place] or outcome(error)
        return [each for each in outcomes if each is not None]

    @staticmethod
    def _named(asked: IssueRequest, denials: Denials) -> tuple[int, str]:
        """(bucket, id) of the grant, if the caller may ask for it."""
        denials.require(asked.caller, Action.TAKE_DISCLOSURE_TOKEN)
        try:
            return tokens.bucket_from_disclosure_id(asked.disclosure), asked.disclosure
        except InvalidInput:
            raise unknown() from None

    def _issue_to(
        self,
        asked: Sequence[IssueRequest],
        names: Mapping[int, tuple[int, str]],
        outcomes: list[IssuedDisclosureToken | Exception | None],
    ) -> None:
        """Give out tokens for the grants that these calls name."""
        grants = self._read(list(dict.fromkeys(names.values()))) if names else {}
        shown = any(asked[place].proof is not None for place in names)
        nonces = self._proofs.nonces() if shown else []
        ready: dict[int, _Ready] = {}
        for place, (_, name) in names.items():
            try:
                ready[place] = self._ready(asked[place], grants.get(name), nonces)
            except Exception as refusal:  # noqa: BLE001 -- one row's fault is one call's error
                outcomes[place] = outcome(refusal)
        issued = self._signed(ready, outcomes)
        written = self._write(list(issued.values())) if issued else []
        for (place, done), fault in zip(issued.items(), written, strict=True):
            proof = done.ready.proof
            outcomes[place] = fault or IssuedDisclosureToken(
                expires_at=done.token.claims.expires_at,
                token=done.token.token,
                nonce=None if proof is None else proof.nonce,
            )

    def _ready(self, asked: IssueRequest, grant: _Grant | None, nonces: Sequence[str]) -> _Ready:
        """What a token is to say, if the caller may have one."""
        row, found = self._active(asked.caller, grant)
        ground = self._policy.grounds.get((row.ground, row.category))
        if row.policy != self._policy.version or ground is None:
            raise Conflict(
                "the policy has changed since this grant was made", code="policy_changed"
            )
        ends = _end(row, found, ground, self._policy.categories[row.category])
        proof = (
            None
            if asked.proof is None
            else self._proofs.check(asked.proof, now=row.now, nonces=nonces, token=None)
        )
        if proof is None and (row.proof_of_possession or ground.proof_of_possession):
            raise missing()
        claims = self._issuer.claims(
            told_grant(row),
            holder=asked.caller.principal.id,
            jti=tokens.new_jti(row.bucket),
            now=row.now,
            life=ground.token_life,
            grant_ends=ends,
            key_thumbprint=None if proof is None else proof.thumbprint,
        )
        return _Ready(caller=asked.caller, grant=row, claims=claims, proof=proof)

    def _signed(
        self, ready: Mapping[int, _Ready], outcomes: list[IssuedDisclosureToken | Exception | None]
    ) -> dict[int, _Issued]:
        issued: dict[int, _Issued] = {}
        signed = self._issuer.sign([each.claims for each in ready.values()]) if ready else []
        for (place, each), token in zip(ready.items(), signed, strict=True):
            if isinstance(token, Exception):
                outcomes[place] = token
            else:
                issued[place] = _Issued(ready=each, token=token)
        return issued

    def _write(self, issued: Sequence[_Issued]) -> list[ServiceError | None]:
        """Register tokens and write their entries; a proof that was used before refuses its own."""
        with self._uow.begin() as tx:
            outcomes: list[ServiceError | None] = [None] * len(issued)
            proofs = {
                place: (each.ready.grant.bucket, each.ready.proof)
                for place, each in enumerate(issued)
                if each.ready.proof is not None
            }
            spent = possession.spend(tx, list(proofs.values())) if proofs else []
            for place, refusal in zip(proofs, spent, strict=True):
                outcomes[place] = refusal
            good = [each for each, refusal in zip(issued, outcomes, strict=True) if refusal is None]
            now = tx.clock.now()
            tx.disclosures.insert_tokens(
                [
                    NewToken(
                        bucket=each.ready.grant.bucket,
                        jti=each.token.claims.jti,
                        disclosure=each.ready.grant.id,
                        holder=each.ready.caller.principal.id,
                        issued_at=each.ready.grant.now,
                        expires_at=each.token.claims.expires_at,
                    )
                    for each in good
                ]
            )
            tx.outbox.append([row for each in good for row in self._entries(each, now)])
        return outcomes

    def _entries(self, issued: _Issued, now: datetime) -> list[OutboxEntry]:
        ready, claims = issued.ready, issued.token.claims
        details: dict[str, str | int] = {
            "jti": claims.jti,
            "expires_at": int(claims.expires_at.timestamp()),
        }
        if ready.proof is not None:
            details["key_thumbprint"] = ready.proof.thumbprint
        return self._audit.entries(
            Event.DISCLOSURE_TOKEN_ISSUED,
            ready.caller,
            at=now,
            grant=ready.grant,
            customer=ready.grant.customer,
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

    def _active(self, caller: Caller, grant: _Grant | None) -> _Grant:
        """The caller's active grant, and what was decided on it."""
        if grant is None or grant[0].requester != caller.principal.id:
            raise unknown()
        row, found = grant
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

    def _read(self, names: Sequence[tuple[int, str]]) -> dict[str, _Grant]:
        """Grants as they stand, each with what was decided on it."""
        with self._uow.begin(read_only=True) as tx:
            rows = tx.disclosures.grants(names)
            deciders = tx.disclosures.deciders(names)
            instruments = tx.instruments.of(names)
            wanted = {token for row in rows.values() for token in row.tokens or ()}
            records = (
                tx.records.masked([(tokens.bucket_of_value(each), each) for each in wanted])
                if wanted
                else {}
            )
        return {
            name: (
                row,
                _Found(
                    deciders=deciders.get(name, {}),
                    instrument=instruments.get(name) or Instrument(),
                    scope=_looked_up(row, records),
                ),
            )
            for name, row in rows.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A token that may be signed."""

    caller: Caller
    grant: DisclosureRow
    claims: DisclosureClaims
    proof: Proof | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Issued:
    """A token that was signed and counts when it is registered."""

    ready: _Ready
    token: IssuedToken


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


_Grant = tuple[DisclosureRow, _Found]


def _looked_up(row: DisclosureRow, records: Mapping[str, MaskedRecord]) -> Scope | None:
    if row.tokens is None:
        return Scope(customer=row.customer, classes=row.classes or ())
    found = {token: records[token] for token in row.tokens if token in records}
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
