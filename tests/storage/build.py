"""Makes rows to offer; every value is made up."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from keys.data_keys import WrappedKey
from vault_service.domain.tokens import bucket_text, new_disclosure_id
from vault_service.services.crypto_ports import Sealed
from vault_service.services.disclosure_ports import NewDisclosure, NewToken, UseClaim
from vault_service.services.outbox_ports import OutboxEntry
from vault_service.services.record_ports import NewRecord
from vault_service.storage.unit_of_work import SqlUnitOfWork

BUCKET = 7
KEK = "records-card"
POLICY = "policy-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """A unit of work for each database role."""

    ingest: SqlUnitOfWork
    reveal: SqlUnitOfWork
    console: SqlUnitOfWork
    worker: SqlUnitOfWork


def name(prefix: str) -> str:
    """Make a fresh id."""
    return f"{prefix}_{secrets.token_hex(13)}"


def record(customer: str, value: str, **changes: object) -> NewRecord:
    """Make a record of a made-up value; equal values deduplicate."""
    fields: dict[str, object] = {
        "bucket": BUCKET,
        "token": name("tok"),
        "customer": customer,
        "data_class": "payment_card",
        "format": "opaque",
        "variant": "opaque",
        "mask": {"number": "424242******4242", "exp_month": 12},
        "fingerprint": hashlib.sha256(value.encode()).digest(),
        "fingerprint_version": 1,
        "envelope": b"CV\x01\x01" + secrets.token_bytes(96),
        "wrapped_key": WrappedKey(
            kek=KEK, kek_version=1, ciphertext=f"vault:v1:{secrets.token_urlsafe(60)}"
        ),
        "metadata": None,
        "reference": None,
        "expires_at": None,
    }
    return NewRecord(**(fields | changes))  # type: ignore[arg-type]


def customer(unit: SqlUnitOfWork, bucket: int = BUCKET) -> str:
    """Insert a customer."""
    fresh = name("cus")
    with unit.begin() as tx:
        assert tx.customers.insert([(bucket, fresh, False)]) == {fresh}
    return fresh


def disclosure(**changes: object) -> NewDisclosure:
    """Make a request for one token."""
    fields: dict[str, object] = {
        "bucket": BUCKET,
        "id": f"dis_{bucket_text(BUCKET)}{new_disclosure_id()[6:]}",
        "state": "submitted",
        "requester": "prn_requester",
        "ground": "protect_from_harm",
        "category": "personal_and_account",
        "clause": "D1",
        "policy": POLICY,
        "recipient_kind": "counterparty",
        "tokens": ("tok_a",),
        "customer": None,
        "classes": None,
        "fields": None,
        "uses": 1,
        "duration": timedelta(hours=1),
        "approvals_needed": 2,
        "determination_needed": False,
        "details": sealed(),
        "details_salt": b"salt",
    }
    return NewDisclosure(**(fields | changes))  # type: ignore[arg-type]


def sealed() -> Sealed:
    """Make a sealed document."""
    return Sealed(
        envelope=secrets.token_bytes(80),
        wrapped_key=WrappedKey(kek="evidence", kek_version=2, ciphertext="vault:v2:made-up"),
    )


def active(unit: SqlUnitOfWork, **changes: object) -> NewDisclosure:
    """Insert a request and make it an active grant."""
    new = disclosure(**changes)
    with unit.begin() as tx:
        tx.disclosures.insert(new)
        tx.disclosures.set_state(new.bucket, new.id, "active")
    return new


def token(unit: SqlUnitOfWork, grant: NewDisclosure, *, life: float = 300) -> str:
    """Issue a token for a grant; returns its jti."""
    jti = name("jti")
    now = datetime.now(UTC)
    with unit.begin() as tx:
        tx.disclosures.insert_tokens(
            [
                NewToken(
                    bucket=grant.bucket,
                    jti=jti,
                    disclosure=grant.id,
                    holder=grant.requester,
                    issued_at=now,
                    expires_at=now + timedelta(seconds=life),
                )
            ]
        )
    return jti


def claim(grant: NewDisclosure, jti: str, **changes: object) -> UseClaim:
    """Make a claim on a token."""
    fields: dict[str, object] = {
        "bucket": grant.bucket,
        "jti": jti,
        "disclosure": grant.id,
        "holder": grant.requester,
        "policy": grant.policy,
        "entry": uuid4(),
    }
    return UseClaim(**(fields | changes))  # type: ignore[arg-type]


def entry(body: bytes = b"{}") -> OutboxEntry:
    """Make an outbox entry."""
    return OutboxEntry(bucket=BUCKET, id=uuid4(), entry=body)
