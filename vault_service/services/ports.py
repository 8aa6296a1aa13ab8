"""What the use cases need from outside, as Protocols, and the plain rows that pass through.

Storage implements the repositories; `keys` implements the cryptographic ports; `bootstrap` joins
them. Nothing here does anything. A repository method is one query (or one statement); the use
case puts them together into a unit of work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec

from keys.data_keys import DataKey, WrappedKey
from keys.errors import CiphertextRejected
from keys.fingerprint import Fingerprint
from keys.secret import Secret
from vault_service.services.accounting_ports import Accounts
from vault_service.services.activity_ports import ActivityLog
from vault_service.services.alarm_ports import AlarmMarks
from vault_service.services.binding_ports import Binding, Bindings
from vault_service.services.budget_ports import BudgetBook
from vault_service.services.communication_ports import Communications
from vault_service.services.dpop_ports import Proofs
from vault_service.services.erasure_ports import Erasures
from vault_service.services.evidence_ports import Evidence
from vault_service.services.hold_ports import Holds
from vault_service.services.honeytoken_ports import HoneytokenMarks
from vault_service.services.instrument_ports import Instruments
from vault_service.services.log_ports import Log
from vault_service.services.modification_ports import Links, Modifications
from vault_service.services.policy_ports import AdoptionRow
from vault_service.services.recipient_ports import Recipients
from vault_service.services.reencryption_ports import Reencryptions
from vault_service.services.reindex_ports import FingerprintVersions
from vault_service.services.retention_ports import Retention
from vault_service.services.review_ports import AccessReviews
from vault_service.services.rotation_ports import Census, Rotations, WrappedKeys
from vault_service.services.usage_ports import UsageBook
from vault_service.services.webhook_ports import WebhookOutbox

_T = TypeVar("_T")

# ---------------------------------------------------------------- cryptography


class DataKeys(Protocol):
    """Single-use data keys, ready wrapped."""

    def take(self, kek: str, count: int) -> list[DataKey]:
        """Hand out `count` fresh data keys of `kek`.

        Raises:
            VaultUnavailable: none could be made.
        """
        ...

    def prepare(self, kek: str, count: int) -> None:
        """Make what a `take` of so many will lack, aside; returns at once."""
        ...

    def discard(self, kek: str | None = None) -> None:
        """Forget what waits in the pool, of one KEK or of all."""
        ...


class Unwrapping(Protocol):
    """Opens wrapped data keys; needs the reveal role (or review, for evidence)."""

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> list[Secret | CiphertextRejected]:
        """One result for each, in order.

        Raises:
            VaultUnavailable: Vault gave no answer in time; nothing was opened.
        """
        ...


class Fingerprinting(Protocol):
    """Keyed fingerprints, made in Vault."""

    def compute(
        self, items: Sequence[tuple[str, bytes]], *, versions: Mapping[str, int] | None = None
    ) -> list[Fingerprint]:
        """Fingerprint each (class, normalised value) under the newest key version, or a given."""
        ...

    def older(
        self, items: Sequence[tuple[str, bytes]], made: Sequence[Fingerprint]
    ) -> list[list[Fingerprint]]:
        """Each item's fingerprints under the older key versions in force, newest first."""
        ...

    def candidates(self, items: Sequence[tuple[str, bytes]]) -> list[list[Fingerprint]]:
        """Each item's fingerprints under every key version in force, newest first."""
        ...


# ---------------------------------------------------------------- rows


class NewRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed value on its way into the table."""

    bucket: int
    token: str
    customer: str
    data_class: str
    format: str
    variant: str
    mask: Mapping[str, object]
    fingerprint: bytes
    fingerprint_version: int
    envelope: bytes
    wrapped_key: WrappedKey
    metadata: Mapping[str, str] | None
    reference: str | None
    expires_at: datetime | None
    binding: Binding | None = None


class MaskedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What may be known of a record without a key. Expired and erased ones are never returned."""

    bucket: int
    token: str
    customer: str
    data_class: str
    format: str
    version: int
    mask: Mapping[str, object]
    metadata: Mapping[str, str] | None
    reference: str | None
    created_at: datetime
    expires_at: datetime | None


class UpsertedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The record that now stands for an offered one: itself, or the one that was there.

    `record.token` differs from the offered token when the value was deduplicated.
    """

    index: int
    record: MaskedRecord


class SealedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record with its sealed columns, for the reveal role only.

    `values` is how many values it counts for: a segment of activity holds several entries.
    """

    bucket: int
    token: str
    customer: str
    data_class: str
    version: int
    envelope: bytes
    wrapped_key: WrappedKey
    binding: Binding | None = None
    values: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A sealed document beside its wrapped key (evidence, comments)."""

    envelope: bytes
    wrapped_key: WrappedKey


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRow:
    """A customer, without any personal data."""

    bucket: int
    id: str
    has_reference: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalRow:
    """A principal as stored."""

    id: str
    name: str
    roles: tuple[str, ...]
    state: str
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRow:
    """An API key as stored; never its secret."""

    id: str
    principal: str
    state: str
    created_by: str
    confirmed_by: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What authentication compares with: one row for one key id."""

    key_id: str
    secret_hash: bytes
    key_state: str
    expired: bool
    stale_use: bool
    principal: str
    name: str
    roles: tuple[str, ...]
    principal_state: str
    review_overdue: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDisclosure:
    """A disclosure request on its way into the table."""

    bucket: int
    id: str
    state: str
    requester: str
    ground: str
    category: str
    clause: str
    policy: str
    recipient_kind: str
    tokens: tuple[str, ...] | None
    customer: str | None
    classes: tuple[str, ...] | None
    fields: tuple[str, ...] | None
    uses: int
    duration: timedelta
    approvals_needed: int
    determination_needed: bool
    details: Sealed
    details_salt: bytes
    recipient: str | None = None
    recipient_key: str | None = None
    delivery: str = "holder"
    amends: str | None = None
    notice_rule: str = "unknown"
    notice_after: datetime | None = None
    scope_classes: tuple[str, ...] = ()
    proof_of_possession: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureRow:
    """A disclosure request or grant as stored. `now` is the database's clock at the reading."""

    bucket: int
    id: str
    state: str
    requester: str
    ground: str
    category: str
    clause: str
    policy: str
    recipient_kind: str
    tokens: tuple[str, ...] | None
    customer: str | None
    classes: tuple[str, ...] | None
    fields: tuple[str, ...] | None
    uses: int
    uses_left: int
    duration: timedelta
    approvals_needed: int
    determination_needed: bool
    details: Sealed
    details_salt: bytes | None
    created_at: datetime
    submitted_at: datetime | None
    activated_at: datetime | None
    expires_at: datetime | None
    ended_at: datetime | None
    now: datetime
    recipient: str | None = None
    recipient_key: str | None = None
    delivery: str = "holder"
    amends: str | None = None
    proof_of_possession: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """One officer's decision on a request."""

    kind: str
    principal: str
    at: datetime
    comment: Sealed | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """A ledger entry in its canonical form, with the bucket that it is stored under."""

    bucket: int
    id: UUID
    entry: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A disclosure token that was signed, on its way into the database."""

    bucket: int
    jti: str
    disclosure: str
    holder: str
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UseClaim:
    """A disclosure token about to be used, with the entry that will tell of it."""

    bucket: int
    jti: str
    disclosure: str
    holder: str
    policy: str
    entry: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What an Idempotency-Key stands for; `response` is None while the first is under way."""

    key: str
    request_mac: bytes
    response: bytes | None


# ---------------------------------------------------------------- repositories


class Clock(Protocol):
    """The database's clock."""

    def now(self) -> datetime:
        """Read the transaction's time, in UTC."""
        ...


class Records(Protocol):
    """Sealed values. Every method takes a batch."""

    def upsert(self, offered: Sequence[NewRecord]) -> list[UpsertedRecord]:
        """Insert, or find the live record of the same deduplication key.

        The offered must not repeat a deduplication key. Missing from the answer is an item whose
        customer is unknown, whose KEK version lies below the floor, whose fingerprint is of
        another version than its class is written under, or whose deduplication key is held by an
        expired record. A deduplicated record lives as long as its longest-lived
        caller asked.

        Raises:
            TokenTaken: a card-shaped token is in use; nothing was written.
        """
        ...

    def erase_expired_duplicates(self, offered: Sequence[NewRecord]) -> list[tuple[str, str]]:
        """Erase expired records that hold the deduplication keys; (customer, token) of each.

        One under a legal hold is not erased: it gives the deduplication key up and stays.
        """
        ...

    def masked(self, names: Sequence[tuple[int, str]]) -> dict[str, MaskedRecord]:
        """Live records by (bucket, token)."""
        ...

    def sealed(self, names: Sequence[tuple[int, str]]) -> dict[str, SealedRecord]:
        """Live records by (bucket, token), sealed columns included."""
        ...

    def sealed_of_customer(
        self, bucket: int, customer: str, classes: Sequence[str], limit: int
    ) -> list[SealedRecord]:
        """Live records of one customer in some classes, by token."""
        ...

    def page(
        self, bucket: int, customer: str, data_class: str | None, after: str | None, limit: int
    ) -> list[MaskedRecord]:
        """Live records of one customer, ordered by token, after a token."""
        ...

    def by_fingerprint(
        self,
        fingerprints: Sequence[tuple[str, bytes]],
        limit: int,
        *,
        newest: Mapping[str, int] | None = None,
    ) -> dict[bytes, list[MaskedRecord]]:
        """Live records by (class, fingerprint), at most `limit` for each.

        Raises:
            FingerprintOutdated: a class is written under a later version than the newest of these.
        """
        ...

    def erase(self, names: Sequence[tuple[int, str]]) -> dict[str, tuple[str, str]]:
        """Destroy sealed columns, fingerprint and mask; token -> (customer, class) of each.

        What a legal hold keeps is left as it is.
        """
        ...

    def live(self, names: Sequence[tuple[int, str]]) -> set[str]:
        """Of these (bucket, token), those that `masked` would return."""
        ...

    def standing(self, names: Sequence[tuple[int, str]]) -> dict[str, str]:
        """Of these, the records that are not erased, expired ones too; token -> customer."""
        ...

    def erase_expired(self, limit: int) -> list[tuple[int, str, str, str]]:
        """Erase up to `limit` records past their expiry: (bucket, token, customer, class).

        What a legal hold keeps is left as it is.
        """
        ...


class Customers(Protocol):
    """Customers."""

    def insert(self, rows: Sequence[tuple[int, str, bool]]) -> set[str]:
        """Insert (bucket, id, has_reference); the ids that were new."""
        ...

    def get(self, names: Sequence[tuple[int, str]]) -> dict[str, CustomerRow]:
        """Customers by (bucket, id)."""
        ...


class KeyFloors(Protocol):
    """The lowest KEK version that a write may carry."""

    def get(self) -> dict[str, int]:
        """All floors by key."""
        ...

    def put(self, key: str, min_version: int) -> None:
        """Set a floor; never lowers one."""
        ...


class Outbox(Protocol):
    """The ledger's outbox."""

    def append(self, entries: Sequence[OutboxEntry]) -> None:
        """Insert the entries; they are promised once the unit of work commits."""
        ...


class Idempotency(Protocol):
    """Answers given under an Idempotency-Key."""

    def claim(self, rows: Sequence[tuple[int, str, str, bytes]]) -> set[tuple[str, str]]:
        """Insert (bucket, principal, key, request_mac); the (principal, key) that were new.

        Waits for a rival transaction that holds the same key, in a fixed order.
        """
        ...

    def find(self, names: Sequence[tuple[int, str, str]]) -> dict[tuple[str, str], StoredAnswer]:
        """Stored answers by (bucket, principal, key)."""
        ...

    def answer(self, rows: Sequence[tuple[int, str, str, bytes]]) -> None:
        """Store the response of (bucket, principal, key)."""
        ...

    def purge(self, older_than: timedelta, limit: int) -> int:
        """Delete old answers; how many."""
        ...


class Principals(Protocol):
    """Principals and their API keys."""

    def credentials(self, key_ids: Sequence[str]) -> dict[str, Credential]:
        """Credentials by key id."""
        ...

    def touch(self, key_ids: Sequence[str]) -> None:
        """Record that the keys were used now."""
        ...

    def insert(self, row: PrincipalRow) -> bool:
        """Insert a principal; False when the name is taken."""
        ...

    def get(self, principal: str, *, lock: bool = False) -> PrincipalRow | None:
        """One principal, locked for the rest of the unit of work when asked."""
        ...

    def by_name(self, name: str) -> PrincipalRow | None:
        """One principal by its name."""
        ...

    def page(self, after: str | None, limit: int) -> list[PrincipalRow]:
        """Principals ordered by id."""
        ...

    def set_state(self, principal: str, state: str) -> bool:
        """Enable or disable a principal; False when there is none."""
        ...

    def set_roles(self, principal: str, roles: Sequence[str]) -> bool:
        """Replace a principal's roles; False when there is none."""
        ...

    def insert_key(
        self,
        *,
        key_id: str,
        principal: str,
        secret_hash: bytes,
        state: str,
        created_by: str,
        expires_at: datetime | None,
    ) -> ApiKeyRow:
        """Insert an API key."""
        ...

    def keys(self, principals: Sequence[str]) -> list[ApiKeyRow]:
        """All keys of some principals, oldest first."""
        ...

    def get_key(self, key_id: str) -> ApiKeyRow | None:
        """One key, locked for the rest of the unit of work."""
        ...

    def revoke_key(self, key_id: str) -> bool:
        """Revoke; False when it was not live."""
        ...

    def confirm_key(self, key_id: str, by: str) -> bool:
        """Turn a pending key active; False when it was not pending."""
        ...


class Disclosures(Protocol):
    """Disclosure requests, decisions and issued tokens."""

    def insert(self, row: NewDisclosure) -> DisclosureRow:
        """Insert a request."""
        ...

    def get(self, bucket: int, disclosure: str, *, lock: bool = False) -> DisclosureRow | None:
        """One request, locked for the rest of the unit of work when asked."""
        ...

    def page(
        self, *, requester: str | None, state: str | None, after: str | None, limit: int
    ) -> list[DisclosureRow]:
        """Requests, newest id order is not promised; ordered by id, after an id."""
        ...

    def set_state(
        self, bucket: int, disclosure: str, state: str, *, lasts: timedelta | None = None
    ) -> DisclosureRow:
        """Move to a state; stamps submitted_at, activated_at and expires_at, or ended_at.

        `lasts` is how long a grant that becomes active lasts; without it, the row's duration.
        """
        ...

    def decide(
        self,
        bucket: int,
        disclosure: str,
        *,
        kind: str,
        principal: str,
        requester: str,
        comment: Sealed | None,
    ) -> bool:
        """Insert a decision; False when this principal already decided so."""
        ...

    def decisions(self, bucket: int, disclosure: str) -> list[DecisionRow]:
        """Decisions on one request, oldest first."""
        ...

    def deciders(self, names: Sequence[tuple[int, str]]) -> dict[str, dict[str, frozenset[str]]]:
        """Who decided on requests, by request and kind; for the role that gives out tokens."""
        ...

    def insert_tokens(self, tokens: Sequence[NewToken]) -> None:
        """Register issued disclosure tokens."""
        ...

    def grants(self, names: Sequence[tuple[int, str]]) -> dict[str, DisclosureRow]:
        """Requests by (bucket, id), unlocked."""
        ...

    def use(self, claims: Sequence[UseClaim]) -> dict[str, DisclosureRow]:
        """Consume one use of each claim's token and grant, or neither; by jti what succeeded.

        One conditional statement: the token unused, unexpired, of this holder and grant; the
        grant active, unexpired, of the claimed policy and with a use left. Claims on one grant
        count down, in the order of their entries. Each token may stand once in a call.
        """
        ...

    def expire_due(self, limit: int) -> list[DisclosureRow]:
        """Move active grants past their end to expired; the rows, without their evidence."""
        ...


class Policies(Protocol):
    """Policy versions that were in force."""

    def adopt(self, version: str, name: str, body: str) -> bool:
        """Keep a version, which is in force from now on; False when it was in force already."""
        ...

    def body(self, version: str) -> str | None:
        """The text of a version."""
        ...

    def adoptions(
        self, *, version: str | None = None, before: int | None = None, limit: int
    ) -> list[AdoptionRow]:
        """Versions as they came into force, newest first: of one version, and before a number."""
        ...

    def bodies(self, *, before: datetime) -> list[str]:
        """The texts of the versions that were in force before an instant, oldest first."""
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


class TokenTaken(Exception):
    """A card-shaped token on offer is already in use."""


class RowRefused(Exception):
    """The database will not take a row's data; the transaction is lost and nothing was written."""
