"""Steps 1 and 2: the token, its holder and the grant behind it; the records, within both scopes."""

from __future__ import annotations

from collections.abc import Sequence

from keys.errors import KeysError
from vault_service.domain import tokens as names
from vault_service.errors import DisclosureRefused, InvalidInput, ServiceError, outcome
from vault_service.services.disclosure_token import TokenVerifier, check_times
from vault_service.services.packages import sealing_keys
from vault_service.services.ports import UnitOfWork
from vault_service.services.possession import Possession
from vault_service.services.reveal import scope
from vault_service.services.reveal.work import MAX_TOKENS, RevealRequest, Work, none_there
from vault_service.services.token_claims import PACKAGE


class Checks:
    """What must hold before a key is asked for. Thread-safe.

    Args:
        uow: the database, as a role that reads.
        verifier: of disclosure tokens.
        proofs: of possession.
        issuer: of the tokens.
        audience: of the tokens.
    """

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        verifier: TokenVerifier,
        proofs: Possession,
        issuer: str,
        audience: str,
    ) -> None:
        self._uow = uow
        self._verifier = verifier
        self._proofs = proofs
        self._issuer = issuer
        self._audience = audience

    def check(self, works: Sequence[Work]) -> None:
        """Set what each work may tell of, or its refusal.

        Raises:
            Unavailable: the database is.
        """
        shown = any(work.asked.proof is not None for work in works)
        nonces = self._proofs.nonces() if shown else []
        with self._uow.begin(read_only=True) as tx:
            for work in works:
                try:
                    if work.asked.proof is not None:
                        work.proof = self._proofs.check(
                            work.asked.proof,
                            now=tx.clock.now(),
                            nonces=nonces,
                            token=work.asked.token,
                        )
                    work.claims = self._verifier.verify(
                        work.asked.token or "",
                        holder=work.asked.caller.principal.id,
                        audience=self._audience,
                        issuer=self._issuer,
                        proven_key=work.proof.thumbprint if work.proof else None,
                    )
                except (DisclosureRefused, KeysError) as refusal:
                    # Where it names a key that nobody can look up now, the others' are known.
                    work.refusal = outcome(refusal)
            live = [(work, work.claims) for work in works if work.claims is not None]
            if not live:
                return
            granted = tx.disclosures.ask_grants(
                list({(names.bucket_from_jti(claims.jti), claims.grant) for _, claims in live})
            )
            wanted = {name for work, _ in live for name in _named(work.asked)}
            records = tx.records.sealed(list(wanted)) if wanted else {}
            grants = granted()
            now = tx.clock.now()
            sealing = sealing_keys(tx, grants.values())
        for work, claims in live:
            try:
                check_times(claims, now)
                work.grant = scope.behind(grants.get(claims.grant), claims, work.asked.caller)
                scope.check_within(work.grant, work.asked, records)
                scope.check_manner(work.grant, work.asked, records)
                if work.grant.delivery == PACKAGE:
                    work.seals_for = sealing(work.grant)
            except ServiceError as refusal:
                work.refusal = outcome(refusal)
                continue
            work.records = {
                token: records[token] for token in work.asked.tokens if token in records
            }
            if not work.records:
                work.refusal = none_there()
            elif work.values > MAX_TOKENS:
                work.refusal = InvalidInput(
                    f"these hold more than {MAX_TOKENS} values",
                    code="batch_size",
                    pointer="/tokens",
                )


def _named(asked: RevealRequest) -> list[tuple[int, str]]:
    """(bucket, token) of what is asked for; what has no token's form names nothing."""
    found: list[tuple[int, str]] = []
    for token in asked.tokens:
        try:
            found.append((names.bucket_of_value(token), token))
        except InvalidInput:
            continue
    return found
