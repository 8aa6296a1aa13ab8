"""Step 4: one unit of work that spends what a reveal costs and writes down that it happens."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from keys.errors import KeysError
from vault_service.domain.disclosures import State
from vault_service.errors import DisclosureRefused, Unavailable
from vault_service.ledger.entries import Event, Outcome
from vault_service.services import bindings
from vault_service.services.accounting_ports import NewReveal
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit
from vault_service.services.budgets import Budgets, Charge
from vault_service.services.disclosure_ports import UseClaim
from vault_service.services.disclosures.entries import told_bound
from vault_service.services.outbox_ports import OutboxEntry
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.possession import spend
from vault_service.services.record_ports import SealedRecord
from vault_service.services.reveal.work import Work, asks_for_nonce, class_of, none_there

ACTOR: Final = "reveal"


class Uses:
    """Spends the uses of calls that were not refused before. Thread-safe.

    Args:
        uow: the database, as the role that may spend.
        audit: writes the entries.
        alarms: of substituted keys.
        budgets: of callers.
    """

    def __init__(self, *, uow: UnitOfWork, audit: Audit, alarms: Alarms, budgets: Budgets) -> None:
        self._uow = uow
        self._audit = audit
        self._alarms = alarms
        self._budgets = budgets

    def spend(self, works: Sequence[Work]) -> datetime:
        """Spend the uses and write the entries of all, refused ones too.

        Returns:
            The database's time.

        Raises:
            Unavailable: nothing was spent, or with code `commit_unknown` perhaps all.
        """
        with self._uow.begin() as tx:
            there = tx.records.ask_live(_places(works))
            unbound = _unbound(tx, works)
            _drop_gone(works, there())
            now = tx.clock.now()
            self._tell_of(tx, unbound)
            _spend_proofs(tx, works)
            waiting = [work for work in works if work.refusal is None]
            charged = self._charge(tx, waiting)
            # Of two callers who show one token in the same batch the first may use it.
            first = {work.claims.jti: work for work in reversed(list(charged)) if work.claims}
            used = tx.disclosures.use([_use(work) for work in first.values()])
            for work in charged:
                jti = work.claims.jti if work.claims else ""
                work.granted = used.get(jti) if first.get(jti) is work else None
                if work.granted is None:
                    work.refusal = DisclosureRefused(
                        "this disclosure token or its grant has been used up or ended",
                        code="disclosure_spent",
                    )
            self._budgets.refund(
                tx, [charge for work, charge in charged.items() if work.granted is None]
            )
            tx.accounts.insert([row for work in works for row in _accounts(work)])
            tx.outbox.append([row for work in works for row in self._entries(work, now)])
        return now

    def _charge(self, tx: Transaction, works: Sequence[Work]) -> dict[Work, Charge]:
        """Spend the callers' budgets, before anything of their grants; those whose did suffice."""
        charges = {
            work: Charge(
                caller=work.asked.caller,
                ground=work.grant.ground,
                category=work.grant.category,
                count=work.values,
            )
            for work in works
            if work.grant is not None
        }
        for work, refusal in zip(
            charges, self._budgets.charge(tx, list(charges.values())), strict=True
        ):
            work.refusal = refusal
        return {work: charge for work, charge in charges.items() if work.refusal is None}

    def _tell_of(self, tx: Transaction, unbound: Sequence[tuple[Work, str]]) -> None:
        """Keep what was substituted from being opened, and raise the alarm."""
        found = [(work, token) for work, token in unbound if token in work.records]
        for work, token in found:
            work.substituted.add(token)
        for token in sorted({token for _, token in found}):
            self._alarms.raise_in(
                tx, bindings.SUBSTITUTED, ACTOR, subject=token, quiet=bindings.QUIET, tokens=[token]
            )

    def _entries(self, work: Work, now: datetime) -> list[OutboxEntry]:
        if asks_for_nonce(work.refusal) or isinstance(work.refusal, KeysError):
            return []
        jti = {"jti": work.claims.jti} if work.claims else {}
        if work.refusal is not None or work.granted is None:
            return self._audit.entries(
                Event.REVEAL_REFUSED,
                work.asked.caller,
                at=now,
                outcome=Outcome.REFUSED,
                entry_id=work.entry,
                grant=work.grant,
                reason=work.refusal.code if work.refusal else None,
                details=jti,
            )
        grant = work.granted
        customers = {record.customer for record in work.records.values()}
        entries = self._audit.entries(
            Event.REVEAL_ALLOWED,
            work.asked.caller,
            at=now,
            entry_id=work.entry,
            grant=grant,
            tokens=list(work.records),
            count=work.values,
            customer=customers.pop() if len(customers) == 1 else None,
            details={
                **jti,
                "category": grant.category,
                "recipient": grant.recipient_kind,
                "uses_left": grant.uses_left,
                **told_bound(grant),
            },
        )
        if grant.state == State.SPENT:
            entries += self._audit.entries(
                Event.DISCLOSURE_SPENT,
                work.asked.caller,
                at=now,
                grant=grant,
                customer=grant.customer,
                details={"uses": grant.uses},
            )
        return entries


def _places(works: Sequence[Work]) -> list[tuple[int, str]]:
    """(bucket, token) of the records that were read."""
    return list(
        {(record.bucket, token) for work in works for token, record in work.records.items()}
    )


def _unbound(tx: Transaction, works: Sequence[Work]) -> list[tuple[Work, str]]:
    """The records that are not what their ledger entries have committed to."""
    claims = {
        (place, token): work.claim(token)
        for place, work in enumerate(works)
        if work.refusal is None
        for token in work.records
    }
    return [(works[place], token) for place, token in bindings.unbound(tx.bindings, claims)]


def _drop_gone(works: Sequence[Work], there: set[str]) -> None:
    """Forget records that are gone since they were read.

    So an erasure that has committed before the use is spent is obeyed.
    """
    for work in works:
        if work.refusal is None:
            work.records = {
                token: record for token, record in work.records.items() if token in there
            }
            if not work.records:
                work.refusal = none_there()


def _spend_proofs(tx: Transaction, works: Sequence[Work]) -> None:
    """Use the proofs of what is about to be used; who shows a used one is refused."""
    shown = [
        (work, work.grant.bucket, work.proof)
        for work in works
        if work.refusal is None and work.grant is not None and work.proof is not None
    ]
    outcomes = spend(tx, [(bucket, proof) for _, bucket, proof in shown])
    for (work, _, _), refusal in zip(shown, outcomes, strict=True):
        work.refusal = refusal


def _accounts(work: Work) -> list[NewReveal]:
    """What a reveal whose use counts tells, by customer: the values of which it tells a field."""
    grant = work.granted
    if grant is None:
        return []
    of: dict[tuple[int, str], list[SealedRecord]] = {}
    for record in work.records.values():
        data_class = class_of(record)
        if data_class is not None and work.told(data_class):
            of.setdefault((record.bucket, record.customer), []).append(record)
    return [
        NewReveal(
            bucket=bucket,
            customer=customer,
            entry=uuid.UUID(work.entry),
            grant_bucket=grant.bucket,
            disclosure=grant.id,
            tokens=tuple(record.token for record in records),
            classes=tuple(record.data_class for record in records),
            fields=grant.fields if work.asked.fields is None else work.asked.fields,
        )
        for (bucket, customer), records in of.items()
    ]


def _use(work: Work) -> UseClaim:
    if work.claims is None or work.grant is None:
        raise Unavailable("a use without a grant", code="internal_error")
    return UseClaim(
        bucket=work.grant.bucket,
        jti=work.claims.jti,
        disclosure=work.grant.id,
        holder=work.asked.caller.principal.id,
        policy=work.grant.policy,
        entry=uuid.UUID(work.entry),
    )
