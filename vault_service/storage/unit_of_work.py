"""Units of work over one database role: opens them, ends them, and gives out their repositories.

Implements `services.ports.UnitOfWork` and `Transaction`. Holds no SQL but a sign of life.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Final, TypeVar

import stamina
from sqlalchemy import Engine

from vault_service.storage.accounting import SqlAccounts
from vault_service.storage.activity import SqlActivity
from vault_service.storage.alarms import SqlAlarms
from vault_service.storage.bindings import SqlBindings
from vault_service.storage.budgets import SqlBudgets
from vault_service.storage.census import SqlCensus
from vault_service.storage.communications import SqlCommunications
from vault_service.storage.customers import SqlCustomers
from vault_service.storage.disclosures import SqlDisclosures
from vault_service.storage.durability import check_durability, check_schema
from vault_service.storage.erasures import SqlErasures
from vault_service.storage.evidence import SqlEvidence
from vault_service.storage.failures import Contended
from vault_service.storage.fingerprints import SqlFingerprints
from vault_service.storage.holds import SqlHolds
from vault_service.storage.honeytokens import SqlHoneytokens
from vault_service.storage.idempotency import SqlIdempotency
from vault_service.storage.instruments import SqlInstruments
from vault_service.storage.keys import SqlKeyFloors, SqlLeases
from vault_service.storage.links import SqlLinks
from vault_service.storage.log import SqlLog
from vault_service.storage.modifications import SqlModifications
from vault_service.storage.outbox import SqlOutbox
from vault_service.storage.policies import SqlPolicies
from vault_service.storage.principals import SqlPrincipals
from vault_service.storage.proofs import SqlProofs
from vault_service.storage.recipients import SqlRecipients
from vault_service.storage.records import SqlRecords
from vault_service.storage.reencryptions import SqlReencryptions
from vault_service.storage.retention import SqlRetention
from vault_service.storage.reviews import SqlAccessReviews
from vault_service.storage.rotations import SqlRotations
from vault_service.storage.session import Session
from vault_service.storage.usage import SqlUsage
from vault_service.storage.webhooks import SqlWebhooks
from vault_service.storage.wrapped import SqlWrappedKeys

T = TypeVar("T")

# A deadlock's loser finds the way free at once; three tries within the caller's patience.
ATTEMPTS: Final = 3
FIRST_WAIT_S: Final = 0.01
LONGEST_WAIT_S: Final = 0.1
TRYING_S: Final = 2.5


class SqlClock:
    """The transaction's time, read once."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def now(self) -> datetime:
        """Read the transaction's time, in UTC."""
        return self._session.now()


class SqlTransaction:
    """The repositories of one unit of work; they share its session."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def clock(self) -> SqlClock:
        """The transaction's clock."""
        return SqlClock(self._session)

    @property
    def records(self) -> SqlRecords:
        """Sealed values."""
        return SqlRecords(self._session)

    @property
    def customers(self) -> SqlCustomers:
        """Customers."""
        return SqlCustomers(self._session)

    @property
    def floors(self) -> SqlKeyFloors:
        """The lowest KEK versions that a write may carry."""
        return SqlKeyFloors(self._session)

    @property
    def outbox(self) -> SqlOutbox:
        """The ledger's outbox."""
        return SqlOutbox(self._session)

    @property
    def idempotency(self) -> SqlIdempotency:
        """Answers given under an Idempotency-Key."""
        return SqlIdempotency(self._session)

    @property
    def principals(self) -> SqlPrincipals:
        """Principals and their API keys."""
        return SqlPrincipals(self._session)

    @property
    def disclosures(self) -> SqlDisclosures:
        """Disclosure requests, decisions and issued tokens."""
        return SqlDisclosures(self._session)

    @property
    def recipients(self) -> SqlRecipients:
        """Recipients."""
        return SqlRecipients(self._session)

    @property
    def accounts(self) -> SqlAccounts:
        """What was disclosed."""
        return SqlAccounts(self._session)

    @property
    def proofs(self) -> SqlProofs:
        """Nonces and used proofs."""
        return SqlProofs(self._session)

    @property
    def activity(self) -> SqlActivity:
        """Segments of activity."""
        return SqlActivity(self._session)

    @property
    def retention(self) -> SqlRetention:
        """What has been kept for its time."""
        return SqlRetention(self._session)

    @property
    def communications(self) -> SqlCommunications:
        """Chunks of communications."""
        return SqlCommunications(self._session)

    @property
    def evidence(self) -> SqlEvidence:
        """Evidence documents."""
        return SqlEvidence(self._session)

    @property
    def access_reviews(self) -> SqlAccessReviews:
        """Access reviews."""
        return SqlAccessReviews(self._session)

    @property
    def erasures(self) -> SqlErasures:
        """Erasures of customers."""
        return SqlErasures(self._session)

    @property
    def holds(self) -> SqlHolds:
        """Legal holds."""
        return SqlHolds(self._session)

    @property
    def instruments(self) -> SqlInstruments:
        """What is said of legal instruments."""
        return SqlInstruments(self._session)

    @property
    def modifications(self) -> SqlModifications:
        """Customers' changes."""
        return SqlModifications(self._session)

    @property
    def links(self) -> SqlLinks:
        """Customers who were found to be one."""
        return SqlLinks(self._session)

    @property
    def policies(self) -> SqlPolicies:
        """Policy versions that were in force."""
        return SqlPolicies(self._session)

    @property
    def leases(self) -> SqlLeases:
        """Rows that only one worker holds at a time."""
        return SqlLeases(self._session)

    @property
    def log(self) -> SqlLog:
        """The verifiable log."""
        return SqlLog(self._session)

    @property
    def rotations(self) -> SqlRotations:
        """Rotations of keys."""
        return SqlRotations(self._session)

    @property
    def census(self) -> SqlCensus:
        """How many keys lie under each version."""
        return SqlCensus(self._session)

    @property
    def wrapped(self) -> SqlWrappedKeys:
        """Every wrapped key, wherever it lies."""
        return SqlWrappedKeys(self._session)

    @property
    def alarms(self) -> SqlAlarms:
        """When each alarm was raised."""
        return SqlAlarms(self._session)

    @property
    def budgets(self) -> SqlBudgets:
        """How much of each disclosure budget is spent."""
        return SqlBudgets(self._session)

    @property
    def honeytokens(self) -> SqlHoneytokens:
        """Marks of honeytokens."""
        return SqlHoneytokens(self._session)

    @property
    def usage(self) -> SqlUsage:
        """Usage counts."""
        return SqlUsage(self._session)

    @property
    def webhooks(self) -> SqlWebhooks:
        """Messages to the company's own systems."""
        return SqlWebhooks(self._session)

    @property
    def fingerprints(self) -> SqlFingerprints:
        """Versions of fingerprints."""
        return SqlFingerprints(self._session)

    @property
    def reencryptions(self) -> SqlReencryptions:
        """Runs of re-encryption."""
        return SqlReencryptions(self._session)

    @property
    def bindings(self) -> SqlBindings:
        """What binds wrapped keys to the ledger."""
        return SqlBindings(self._session)

    def rollback(self) -> None:
        """Undo everything; the block's end then commits nothing."""
        self._session.rollback()


class _Block(AbstractContextManager[SqlTransaction]):
    """The `with` block of one unit of work."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def __enter__(self) -> SqlTransaction:
        return SqlTransaction(self._session)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._session.commit()
        finally:
            self._session.close()


class SqlUnitOfWork:
    """Opens transactions with the database role of its engine."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, *, read_only: bool = False) -> AbstractContextManager[SqlTransaction]:
        """Begin; commits when the block ends, rolls back when it raises.

        A read-only block has no transaction: each of its statements sees what is committed by
        then. It refuses to write.

        Raises:
            Unavailable: the database gave no answer (code `database_unavailable`), or the
                commit's outcome is unknown (code `commit_unknown`).
        """
        return _Block(Session(self._engine, read_only=read_only))

    def run(self, work: Callable[[SqlTransaction], T]) -> T:
        """Run `work` in a unit of work, again from its start when a rival made it fail.

        Only what failed before its commit is tried again (serialization failure, deadlock), so
        nothing happens twice in the database; `work` must have no other effect.

        Raises:
            Unavailable: the database gave no answer, or rivals won every time.
        """
        for attempt in stamina.retry_context(
            on=Contended,
            attempts=ATTEMPTS,
            timeout=TRYING_S,
            wait_initial=FIRST_WAIT_S,
            wait_max=LONGEST_WAIT_S,
            wait_jitter=FIRST_WAIT_S,
        ):
            with attempt, self.begin() as transaction:
                return work(transaction)
        raise AssertionError("stamina ends by returning or raising")

    def ping(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            Unavailable: it gave none.
        """
        self._ask(lambda session: session.rows(b"SELECT 1"))

    def check_durability(self) -> list[str]:
        """Return each reason why an acknowledged commit could be lost; none means it cannot.

        Raises:
            Unavailable: the database gave no answer.
        """
        return self._ask(check_durability)

    def check_schema(self) -> str | None:
        """Return the schema's revision when it is not the one that this release needs.

        Raises:
            Unavailable: the database gave no answer.
        """
        return self._ask(check_schema)

    def close(self) -> None:
        """Close the connections that nobody uses; the others close when they are given back."""
        self._engine.dispose()

    def _ask(self, question: Callable[[Session], T]) -> T:
        session = Session(self._engine, read_only=True)
        try:
            return question(session)
        finally:
            session.close()
