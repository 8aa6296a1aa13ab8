"""What the ledger can tell of: one line for each event, with what its entry must and may hold.

PCI DSS 10.2.1 and 10.2.2 say which events and which particulars. An event's extra particulars have
names from a closed list, because an open one would sooner or later hold somebody's address.

A new event is a new line here; a line is never changed into another meaning, because old entries
stay as they were written. This module uses the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Outcome(StrEnum):
    """How it ended: done, refused by a rule, or failed for a technical reason."""

    SUCCESS = "success"
    REFUSED = "refused"
    FAILED = "failed"


class Event(StrEnum):
    """What happened."""

    TOKENS_CREATED = "tokens.created"
    TOKENS_SEARCHED = "tokens.searched"
    TOKENS_READ = "tokens.read"
    TOKENS_ERASED = "tokens.erased"
    TOKENS_EXPIRED = "tokens.expired"

    CUSTOMER_CREATED = "customer.created"
    CUSTOMER_READ = "customer.read"
    CUSTOMER_DISCLOSURES_READ = "customer.disclosures_read"
    CUSTOMER_ERASURE_REQUESTED = "customer.erasure_requested"
    CUSTOMER_ERASURE_CONFIRMED = "customer.erasure_confirmed"
    CUSTOMER_ERASED = "customer.erased"

    ACTIVITY_RECORDED = "activity.recorded"
    RETENTION_ENDED = "retention.ended"

    CUSTOMER_LINKED = "customer.linked"
    CUSTOMER_UNLINKED = "customer.unlinked"

    MODIFICATION_OPENED = "modification.opened"
    MODIFICATION_PROPOSED = "modification.proposed"
    MODIFICATION_CONFIRMED = "modification.confirmed"
    MODIFICATION_APPLIED = "modification.applied"
    MODIFICATION_REJECTED = "modification.rejected"
    MODIFICATION_WITHDRAWN = "modification.withdrawn"
    MODIFICATION_EXPIRED = "modification.expired"
    MODIFICATION_ASSIGNED = "modification.assigned"

    DISCLOSURE_DRAFTED = "disclosure.drafted"
    DISCLOSURE_SUBMITTED = "disclosure.submitted"
    DISCLOSURE_DETERMINED = "disclosure.determined"
    DISCLOSURE_APPROVED = "disclosure.approved"
    DISCLOSURE_DENIED = "disclosure.denied"
    DISCLOSURE_ACTIVATED = "disclosure.activated"
    DISCLOSURE_WITHDRAWN = "disclosure.withdrawn"
    DISCLOSURE_REVOKED = "disclosure.revoked"
    DISCLOSURE_ANNULLED = "disclosure.annulled"
    DISCLOSURE_SUPERSEDED = "disclosure.superseded"
    DISCLOSURE_EXPIRED = "disclosure.expired"
    DISCLOSURE_SPENT = "disclosure.spent"
    DISCLOSURE_EVIDENCE_READ = "disclosure.evidence_read"
    DISCLOSURE_TOKEN_ISSUED = "disclosure.token_issued"  # noqa: S105 -- the name of an event

    EVIDENCE_UPLOADED = "evidence.uploaded"
    EVIDENCE_PURGED = "evidence.purged"
    EVIDENCE_OPENED = "evidence.opened"
    EVIDENCE_CLOSED = "evidence.closed"

    RECIPIENT_CREATED = "recipient.created"
    RECIPIENT_READ = "recipient.read"

    REVEAL_ALLOWED = "reveal.allowed"
    REVEAL_REFUSED = "reveal.refused"

    PRINCIPAL_CREATED = "principal.created"
    PRINCIPAL_ROLES_CHANGED = "principal.roles_changed"
    PRINCIPAL_DISABLED = "principal.disabled"
    PRINCIPAL_ENABLED = "principal.enabled"
    CREDENTIAL_ISSUED = "credential.issued"
    CREDENTIAL_CONFIRMED = "credential.confirmed"
    CREDENTIAL_ROTATED = "credential.rotated"
    CREDENTIAL_REVOKED = "credential.revoked"

    VAULT_KEY_CREATED = "vault_key.created"
    VAULT_KEY_CONFIGURED = "vault_key.configured"
    VAULT_KEY_ROTATED = "vault_key.rotated"
    VAULT_KEY_REWRAPPED = "vault_key.rewrapped"
    VAULT_KEY_ADOPTED = "vault_key.adopted"
    VAULT_KEY_RETIRED = "vault_key.retired"
    VAULT_KEY_TRIMMED = "vault_key.trimmed"
    ROTATION_STARTED = "rotation.started"
    ROTATION_CERTIFICATE = "rotation.certificate"
    RECORDS_REENCRYPTED = "records.reencrypted"
    RECORDS_REINDEXED = "records.reindexed"
    REENCRYPTION_CERTIFICATE = "reencryption.certificate"

    LOG_STARTED = "log.started"
    LOG_STOPPED = "log.stopped"
    LOG_ARCHIVED = "log.archived"
    POLICY_ADOPTED = "policy.adopted"

    ACCESS_DENIED = "access.denied"
    AUTHENTICATION_FAILED = "authentication.failed"
    ACCESS_REVIEW_OPENED = "access_review.opened"
    ACCESS_REVIEW_COMPLETED = "access_review.completed"
    ACCESS_REVIEW_OVERDUE = "access_review.overdue"

    HOLD_PLACED = "hold.placed"
    HOLD_RELEASED = "hold.released"

    HONEYTOKENS_PLANTED = "honeytokens.planted"
    HONEYTOKENS_LIFTED = "honeytokens.lifted"

    ALARM_RAISED = "alarm.raised"
    ALARM_CLEARED = "alarm.cleared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What an entry of one event holds beyond who, when, outcome and origin, which all have.

    Attributes:
        needs: fields of `Entry` that must be there.
        details: names that `Entry.details` may hold.
        outcome: the only outcome that the event can have, if it has only one.
    """

    needs: frozenset[str]
    details: frozenset[str] = frozenset()
    outcome: Outcome | None = None


def _shape(needs: str = "", details: str = "", outcome: Outcome | None = None) -> Shape:
    return Shape(
        needs=frozenset(needs.split()), details=frozenset(details.split()), outcome=outcome
    )


_GRANT = "grant ground clause policy"
_BOUND = " recipient_id recipient_key delivery proof"
_GRANT_DETAILS = "category recipient uses amends" + _BOUND
_CHANGE = "modification class source"
_KEY_DETAILS = "version from_version to_version min_encryption min_decryption"

# Details that hold several words, parted by single spaces; every other text is one word.
LISTS = frozenset(("roles", "roles_before", "classes"))

SHAPES: Mapping[Event, Shape] = MappingProxyType(
    {
        Event.TOKENS_CREATED: _shape("count", "class created deduplicated refused format"),
        # What was searched for is never told; the tokens found are, and how many.
        Event.TOKENS_SEARCHED: _shape("count", "class"),
        Event.TOKENS_READ: _shape("tokens"),
        Event.TOKENS_ERASED: _shape("tokens", "class backup_horizon_days"),
        Event.TOKENS_EXPIRED: _shape("tokens", "class"),
        Event.CUSTOMER_CREATED: _shape("customer", "has_reference"),
        Event.CUSTOMER_READ: _shape("customer"),
        Event.CUSTOMER_DISCLOSURES_READ: _shape("customer", "form"),
        Event.CUSTOMER_ERASURE_REQUESTED: _shape("customer"),
        Event.CUSTOMER_ERASURE_CONFIRMED: _shape("customer"),
        # The certificate; `count` is the number of records.
        Event.CUSTOMER_ERASED: _shape(
            "customer count",
            "backup_horizon_days backups_until requested_by confirmed_by started_at finished_at"
            " salts",
            Outcome.SUCCESS,
        ),
        # Entries of one customer, or of many; how many, and in how many values.
        Event.ACTIVITY_RECORDED: _shape("count", "segments refused"),
        # What the policy keeps for a time: records of one customer, or segments of a month.
        Event.RETENTION_ENDED: _shape("count", "class days month held"),
        Event.CUSTOMER_LINKED: _shape("customer", "other"),
        Event.CUSTOMER_UNLINKED: _shape("customer", "other"),
        Event.MODIFICATION_OPENED: _shape("customer", _CHANGE),
        Event.MODIFICATION_PROPOSED: _shape("customer tokens", _CHANGE),
        Event.MODIFICATION_CONFIRMED: _shape("customer tokens", _CHANGE + " how"),
        Event.MODIFICATION_APPLIED: _shape("customer tokens", _CHANGE + " version"),
        Event.MODIFICATION_REJECTED: _shape("customer", _CHANGE + " why"),
        Event.MODIFICATION_WITHDRAWN: _shape("customer", _CHANGE),
        Event.MODIFICATION_EXPIRED: _shape("customer", _CHANGE),
        # Of an unknown sender's: `other` is the customer who was found to have written.
        Event.MODIFICATION_ASSIGNED: _shape("customer", _CHANGE + " other successor"),
        Event.DISCLOSURE_DRAFTED: _shape(_GRANT, _GRANT_DETAILS),
        Event.DISCLOSURE_SUBMITTED: _shape(_GRANT, _GRANT_DETAILS + " classes duration_seconds"),
        Event.DISCLOSURE_DETERMINED: _shape(_GRANT, "valid begins ends"),
        Event.DISCLOSURE_APPROVED: _shape(_GRANT, "approval approvals_needed" + _BOUND),
        Event.DISCLOSURE_DENIED: _shape(_GRANT),
        Event.DISCLOSURE_ACTIVATED: _shape(_GRANT, "expires_at uses"),
        Event.DISCLOSURE_WITHDRAWN: _shape(_GRANT),
        Event.DISCLOSURE_REVOKED: _shape(_GRANT, "uses_left"),
        # The instrument is not, or no longer, valid; what follows of it is an entry of its own.
        Event.DISCLOSURE_ANNULLED: _shape(_GRANT),
        Event.DISCLOSURE_SUPERSEDED: _shape(_GRANT, "successor"),
        Event.DISCLOSURE_EXPIRED: _shape(_GRANT, "uses_left"),
        Event.DISCLOSURE_SPENT: _shape(_GRANT, "uses"),
        Event.DISCLOSURE_TOKEN_ISSUED: _shape(_GRANT, "jti expires_at key_thumbprint"),
        Event.DISCLOSURE_EVIDENCE_READ: _shape("grant", "document"),
        Event.EVIDENCE_UPLOADED: _shape("", "document media_type size"),
        Event.EVIDENCE_PURGED: _shape("", "document"),
        # To whom, by `principal`: an auditor, who may hold no other role.
        Event.EVIDENCE_OPENED: _shape(_GRANT + " principal", "expires_at"),
        Event.EVIDENCE_CLOSED: _shape(_GRANT + " principal"),
        Event.RECIPIENT_CREATED: _shape("", "recipient recipient_id recipient_key"),
        Event.RECIPIENT_READ: _shape("", "recipient recipient_id"),
        Event.REVEAL_ALLOWED: _shape(
            _GRANT + " tokens count",
            "category recipient jti uses_left" + _BOUND,
            Outcome.SUCCESS,
        ),
        Event.REVEAL_REFUSED: _shape("reason", "jti", Outcome.REFUSED),
        Event.PRINCIPAL_CREATED: _shape("principal", "roles"),
        Event.PRINCIPAL_ROLES_CHANGED: _shape("principal", "roles roles_before"),
        Event.PRINCIPAL_DISABLED: _shape("principal"),
        Event.PRINCIPAL_ENABLED: _shape("principal"),
        Event.CREDENTIAL_ISSUED: _shape("key principal", "state expires_at"),
        Event.CREDENTIAL_CONFIRMED: _shape("key principal"),
        Event.CREDENTIAL_ROTATED: _shape("key principal", "replaces"),
        Event.CREDENTIAL_REVOKED: _shape("key principal"),
        Event.VAULT_KEY_CREATED: _shape("key", _KEY_DETAILS + " type"),
        Event.VAULT_KEY_CONFIGURED: _shape("key", _KEY_DETAILS),
        Event.VAULT_KEY_ROTATED: _shape("key", _KEY_DETAILS),
        Event.VAULT_KEY_REWRAPPED: _shape("key count", _KEY_DETAILS + " remaining rotation"),
        # Wrapped keys of before bindings, taken for genuine as they were found.
        Event.VAULT_KEY_ADOPTED: _shape("count", "remaining"),
        Event.VAULT_KEY_RETIRED: _shape("key", _KEY_DETAILS + " rotation"),
        Event.VAULT_KEY_TRIMMED: _shape("key", _KEY_DETAILS),
        Event.ROTATION_STARTED: _shape("key", _KEY_DETAILS + " total rotation reason"),
        Event.ROTATION_CERTIFICATE: _shape(
            "key",
            _KEY_DETAILS + " total rewrapped remaining rotation started_at finished_at by",
        ),
        # Values sealed anew under data keys that nobody has seen.
        Event.RECORDS_REENCRYPTED: _shape("key count", "run"),
        # Under a new version of a fingerprint key; the rotation's certificate tells the end.
        Event.RECORDS_REINDEXED: _shape("key count", "rotation to_version"),
        Event.REENCRYPTION_CERTIFICATE: _shape("key count", "run refused started_at finished_at"),
        Event.LOG_STARTED: _shape("", "version origin instance"),
        Event.LOG_STOPPED: _shape("", "version origin instance"),
        Event.LOG_ARCHIVED: _shape("count", "first end sha256 keep_until"),
        Event.POLICY_ADOPTED: _shape("policy", "name dated replaces"),
        Event.ACCESS_DENIED: _shape("reason", "action", Outcome.REFUSED),
        Event.AUTHENTICATION_FAILED: _shape("reason", "method", Outcome.REFUSED),
        Event.ACCESS_REVIEW_OPENED: _shape("", "review due"),
        Event.ACCESS_REVIEW_COMPLETED: _shape("", "review kept removed"),
        Event.ACCESS_REVIEW_OVERDUE: _shape("principal", "review due"),
        Event.HOLD_PLACED: _shape("customer", "hold until"),
        Event.HOLD_RELEASED: _shape("customer", "hold"),
        # How many, and never which.
        Event.HONEYTOKENS_PLANTED: _shape("count"),
        Event.HONEYTOKENS_LIFTED: _shape("count"),
        Event.ALARM_RAISED: _shape("reason", "alarm severity observed limit"),
        Event.ALARM_CLEARED: _shape("reason", "alarm"),
    }
)
