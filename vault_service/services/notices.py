"""A notice to a customer: what was disclosed of him, as far as he may be told today.

Made for printing and for everybody who may read it to the customer, so it leaves out what is
withheld whoever asks, and says the same words whether or not something is. It holds no value and
no mask, only kinds: a letter goes through many hands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from vault_service.domain.actors import Action
from vault_service.domain.grounds import Policy
from vault_service.ledger.entries import Event
from vault_service.policy import loader
from vault_service.services import accounting
from vault_service.services.accounting_ports import ToldRow
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.ports import Transaction, UnitOfWork

_log = structlog.get_logger(__name__)

# Lines of one notice. A line stands for all reveals of one kind, so a letter has few.
MAX_LINES: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeLine:
    """All reveals of one kind.

    Attributes:
        clause: the clause's number, and `clause_says` what it says, by the policy of the request.
        data_class: what kind of value, and `fields` which parts of it.
        first: the time of the first such reveal, and `last` of the last; `times` how many.
    """

    ground_says: str | None
    clause: str
    clause_says: str | None
    recipient_kind: str
    recipient_says: str | None
    data_class: str
    fields: tuple[str, ...]
    first: datetime
    last: datetime
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerNotice:
    """A notice; `more` where there are more lines than one notice holds."""

    customer: str
    at: datetime
    lines: tuple[NoticeLine, ...]
    more: bool


class Notices:
    """The use case.

    Args:
        policy: the version in force, which need not be read anew.
    """

    def __init__(
        self, *, uow: UnitOfWork, policy: Policy, audit: Audit, honeytokens: Honeytokens
    ) -> None:
        self._uow = uow
        self._policy = policy
        self._audit = audit
        self._honeytokens = honeytokens

    def make(self, caller: Caller, customer: str) -> CustomerNotice:
        """A customer's notice. Making it is a ledger entry.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such customer; a malformed id answers alike.
        """
        self._audit.require(caller, Action.READ_CUSTOMER_DISCLOSURES)
        bucket = accounting.bucket_of(customer)
        with accounting.at_steps(active=True), self._uow.begin() as tx:
            rows = tx.accounts.told(bucket, customer, limit=MAX_LINES + 1)
            if not rows:
                accounting.require_customer(tx, bucket, customer)
            shown = rows[:MAX_LINES]
            policies = self._policies(tx, {row.policy for row in shown})
            now = tx.clock.now()
            tx.outbox.append(
                self._audit.entries(
                    Event.CUSTOMER_DISCLOSURES_READ,
                    caller,
                    at=now,
                    customer=customer,
                    count=len(shown),
                    details={"form": "notice"},
                )
            )
        self._honeytokens.look(caller, (customer,))
        return CustomerNotice(
            customer=customer,
            at=now,
            lines=tuple(_line(row, policies.get(row.policy)) for row in shown),
            more=len(rows) > MAX_LINES,
        )

    def _policies(self, tx: Transaction, versions: Iterable[str]) -> dict[str, Policy]:
        """The policies under which the disclosures were made, as far as they can be read."""
        found = {self._policy.version: self._policy}
        for version in versions:
            if version in found:
                continue
            body = tx.policies.body(version)
            try:
                policy = None if body is None else loader.parse(body.encode())
            except loader.PolicyInvalid:
                policy = None
            # What does not have the version's digest says nothing of it.
            if policy is None or policy.version != version:
                _log.warning("policy_not_read", policy=version)
            else:
                found[version] = policy
        return found


def _line(row: ToldRow, policy: Policy | None) -> NoticeLine:
    ground = None if policy is None else policy.grounds.get((row.ground, row.category))
    return NoticeLine(
        ground_says=None if ground is None else ground.says,
        clause=row.clause,
        clause_says=None if policy is None else policy.clauses.get(row.clause),
        recipient_kind=row.recipient_kind,
        recipient_says=None if policy is None else policy.recipients.get(row.recipient_kind),
        data_class=row.data_class,
        fields=accounting.fields_told(row.data_class, row.fields),
        first=row.first,
        last=row.last,
        times=row.times,
    )
