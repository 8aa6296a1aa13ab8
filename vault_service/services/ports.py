"""What the use cases need from outside: a unit of work, which joins what each subject needs.

Each subject has a module `*_ports` with the Protocol of its repository and the plain rows that pass
through; they know each other and not this one. Storage implements the repositories; `keys`
implements the cryptographic ports; `bootstrap` joins them. Nothing here does anything. A repository
method is one query (or one statement); the use case puts them together into a unit of work.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol, TypeVar

from vault_service.services.accounting_ports import Accounts
from vault_service.services.activity_ports import ActivityLog
from vault_service.services.alarm_ports import AlarmMarks
from vault_service.services.binding_ports import Bindings
from vault_service.services.budget_ports import BudgetBook
from vault_service.services.communication_ports import Communications
from vault_service.services.customer_ports import Customers
from vault_service.services.disclosure_ports import Disclosures
from vault_service.services.dpop_ports import Proofs
from vault_service.services.erasure_ports import Erasures
from vault_service.services.evidence_ports import Evidence
from vault_service.services.hold_ports import Holds
from vault_service.services.honeytoken_ports import HoneytokenMarks
from vault_service.services.idempotency_ports import Idempotency
from vault_service.services.instrument_ports import Instruments
from vault_service.services.log_ports import Log
from vault_service.services.modification_ports import Links, Modifications
from vault_service.services.outbox_ports import Outbox
from vault_service.services.policy_ports import Policies
from vault_service.services.principal_ports import Principals
from vault_service.services.recipient_ports import Recipients
from vault_service.services.record_ports import Records
from vault_service.services.reencryption_ports import Reencryptions
from vault_service.services.reindex_ports import FingerprintVersions
from vault_service.services.retention_ports import Retention
from vault_service.services.review_ports import AccessReviews
from vault_service.services.rotation_ports import Census, KeyFloors, Rotations, WrappedKeys
from vault_service.services.usage_ports import UsageBook
from vault_service.services.webhook_ports import WebhookOutbox

_T = TypeVar("_T")


class Clock(Protocol):
    """The database's clock."""

    def now(self) -> datetime:
        """Read the transaction's time, in UTC."""
        ...


class Leases(Protocol):
    """Rows that only one worker holds at a time."""

    def hold(self, name: str, holder: str) -> bool:
        """Lock the row until the unit of work ends; False when somebody else has it."""
        ...


class Transaction(Protocol):
    """One unit of work: all of it commits, or none. Its parts share one connection."""

    @property
    def clock(self) -> Clock:
        """The transaction's clock."""
        ...

    @property
    def records(self) -> Records:
        """The repository of records."""
        ...

    @property
    def customers(self) -> Customers:
        """The repository of customers."""
        ...

    @property
    def floors(self) -> KeyFloors:
        """The repository of floors."""
        ...

    @property
    def outbox(self) -> Outbox:
        """The repository of outbox."""
        ...

    @property
    def idempotency(self) -> Idempotency:
        """The repository of idempotency."""
        ...

    @property
    def principals(self) -> Principals:
        """The repository of principals."""
        ...

    @property
    def recipients(self) -> Recipients:
        """The repository of recipients."""
        ...

    @property
    def disclosures(self) -> Disclosures:
        """The repository of disclosures."""
        ...

    @property
    def accounts(self) -> Accounts:
        """The repository of what was disclosed."""

    @property
    def access_reviews(self) -> AccessReviews:
        """The repository of access reviews."""
        ...

    @property
    def erasures(self) -> Erasures:
        """The repository of erasures of customers."""
        ...

    @property
    def holds(self) -> Holds:
        """The repository of legal holds."""
        ...

    @property
    def proofs(self) -> Proofs:
        """The repository of nonces and used proofs."""
        ...

    @property
    def activity(self) -> ActivityLog:
        """Segments of activity."""
        ...

    @property
    def retention(self) -> Retention:
        """What has been kept for its time."""
        ...

    @property
    def communications(self) -> Communications:
        """Chunks of communications."""
        ...

    @property
    def evidence(self) -> Evidence:
        """The repository of evidence documents."""
        ...

    @property
    def instruments(self) -> Instruments:
        """The repository of what is said of legal instruments."""
        ...

    @property
    def modifications(self) -> Modifications:
        """The repository of customers' changes."""
        ...

    @property
    def links(self) -> Links:
        """The repository of links between customers."""
        ...

    @property
    def policies(self) -> Policies:
        """The repository of policies."""
        ...

    @property
    def leases(self) -> Leases:
        """The repository of leases."""
        ...

    @property
    def log(self) -> Log:
        """The repository of the verifiable log."""
        ...

    @property
    def rotations(self) -> Rotations:
        """The repository of rotations."""
        ...

    @property
    def census(self) -> Census:
        """The repository of the census of keys."""
        ...

    @property
    def wrapped(self) -> WrappedKeys:
        """The repository of all wrapped keys."""
        ...

    @property
    def alarms(self) -> AlarmMarks:
        """The repository of alarms."""
        ...

    @property
    def budgets(self) -> BudgetBook:
        """The repository of disclosure budgets."""
        ...

    @property
    def honeytokens(self) -> HoneytokenMarks:
        """The repository of honeytokens' marks."""
        ...

    @property
    def usage(self) -> UsageBook:
        """The repository of usage counts."""
        ...

    @property
    def webhooks(self) -> WebhookOutbox:
        """The repository of webhooks."""
        ...

    @property
    def fingerprints(self) -> FingerprintVersions:
        """Versions of fingerprints."""
        ...

    @property
    def reencryptions(self) -> Reencryptions:
        """The repository of re-encryptions."""
        ...

    @property
    def bindings(self) -> Bindings:
        """The repository of what binds wrapped keys to the ledger."""
        ...

    def rollback(self) -> None:
        """Undo everything; the block's end then commits nothing."""
        ...


class UnitOfWork(Protocol):
    """Opens transactions with one database role."""

    def begin(self, *, read_only: bool = False) -> AbstractContextManager[Transaction]:
        """Begin; commits when the block ends, rolls back when it raises.

        Raises:
            Unavailable: the database gave no answer (code `database_unavailable`), or the
                commit's outcome is unknown (code `commit_unknown`).
        """
        ...

    def run(self, work: Callable[[Transaction], _T]) -> _T:
        """Run `work` in a unit of work, again from its start when a rival made it fail.

        Only what failed before its commit is tried again, so nothing is written twice; `work`
        must have no other effect.

        Raises:
            Unavailable: as `begin`, or rivals won every time.
        """
        ...

    def ping(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            Unavailable: it gave none.
        """
        ...


class RowRefused(Exception):
    """The database will not take a row's data; the transaction is lost and nothing was written."""
