"""Demands proof of possession: gives out nonces, reads proofs, and takes each proof once.

A proof counts as used when the use that it came with is committed, in the same transaction: so it
serves once over all processes and after a restart, and what was refused has used nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from vault_service.errors import ProofRefused
from vault_service.services import dpop
from vault_service.services.dpop import Proof, ShownProof
from vault_service.services.dpop_ports import UsedProof
from vault_service.services.ports import Transaction, UnitOfWork

# A proof is judged in one transaction and used in another; no request lasts longer than this.
_UNDER_WAY: Final = timedelta(minutes=10)


class Possession:
    """What reveal and granting ask of proofs.

    Args:
        uow: units of work that may make nonces.
        base: the address of this service, by its settings.
    """

    def __init__(self, *, uow: UnitOfWork, base: str) -> None:
        self._uow = uow
        self._base = base.rstrip("/")

    def nonces(self) -> list[str]:
        """The nonces that are taken now, the newest first; in a unit of work of their own.

        Raises:
            Unavailable: the database is.
        """
        with self._uow.begin() as tx:
            return tx.proofs.nonces(secrets.token_urlsafe(16))

    def check(
        self, shown: ShownProof, *, now: datetime, nonces: Sequence[str], token: str | None
    ) -> Proof:
        """The proof that a caller shows; `dpop.verify` says of what.

        Raises:
            ProofRefused: it is not right.
        """
        return dpop.verify(shown, base=self._base, now=now, nonces=nonces, token=token)


def spend(tx: Transaction, proofs: Sequence[tuple[int, Proof]]) -> list[ProofRefused | None]:
    """Use proofs, each beside the bucket of its grant; for each, in order, why it cannot be.

    Of the same proof twice in one batch the first counts.
    """
    fresh = tx.proofs.spend(
        [
            UsedProof(
                bucket=bucket,
                digest=proof.digest,
                until=proof.issued_at + dpop.MAX_AGE + _UNDER_WAY,
            )
            for bucket, proof in proofs
        ]
    )
    outcomes: list[ProofRefused | None] = []
    for _, proof in proofs:
        if proof.digest in fresh:
            fresh.discard(proof.digest)
            outcomes.append(None)
        else:
            outcomes.append(ProofRefused("this proof was used before", code="dpop_proof_replayed"))
    return outcomes
