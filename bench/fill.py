"""Fills the table of records, so that growth shows: by COPY, with values that nobody opens.

The wrapped keys are real ones of Vault's, a few hundred used again and again, so that a rotation
has its true work with them. The class is another than the cards that the cases write and read. Each
record is bound to an entry of the ledger: a rotation leaves alone what is not.
"""

from __future__ import annotations

import os
import secrets
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from uuid_utils import uuid7

from bench.floors import CONTACT_KEK, ENVELOPE, Reached
from keys.data_keys import WrappedKey
from keys.secret import Secret
from vault_service.domain import tokens
from vault_service.ledger.entries import Actor, ActorKind, Entry, Event, Origin, Outcome, encode
from vault_service.services import bindings

MASK: Final = '{"address":"a•••@example.com"}'
_WRAPPED: Final = 400
_PER_CUSTOMER: Final = 10
_ABOUT: Final = 50_000
# Records that one entry of the ledger binds, as when they are adopted.
_BOUND: Final = 200
_ENVELOPE_HASH: Final = bindings.envelope_hash(ENVELOPE)


def count(reached: Reached) -> int:
    """How many records there are."""
    with reached.link() as link:
        row = link.execute("SELECT count(*) FROM records").fetchone()
    return int(row[0]) if row else 0


def fill(reached: Reached, records: int) -> int:
    """Add records until there are so many; how many were added."""
    missing = max(0, records - count(reached))
    transit = reached.transit()
    keys = [Secret(os.urandom(32)) for _ in range(_WRAPPED)]
    wrapped = transit.encrypt(CONTACT_KEK, keys)
    transit.close()
    left = missing
    while left:
        part = min(left, _ABOUT)
        _add(reached, part, wrapped)
        left -= part
    with reached.link() as link:
        # What PostgreSQL would do by itself a minute later, in the middle of what is measured.
        link.execute("VACUUM (ANALYZE) customers")
        link.execute("VACUUM (ANALYZE) records")
        link.execute("CHECKPOINT") if _may_checkpoint(reached) else None
    return missing


def _may_checkpoint(reached: Reached) -> bool:
    with reached.link() as link:
        row = link.execute("SELECT pg_has_role('pg_checkpoint', 'MEMBER')").fetchone()
    return bool(row and row[0])


def _add(reached: Reached, records: int, wrapped: list[str]) -> None:
    people = [tokens.new_customer_id() for _ in range(max(1, records // _PER_CUSTOMER))]
    version = int(wrapped[0].split(":")[1].removeprefix("v"))
    with reached.link() as link:
        with link.cursor().copy("COPY customers (bucket, id) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int2", "text"])
            for person in people:
                copy.write_row((tokens.bucket_of(person), person))
        with link.cursor().copy(
            "COPY records (bucket, token, customer, class, format, variant, mask, fingerprint,"
            " fingerprint_version, envelope, wrapped_key, kek, kek_version, bound_by, bound_path)"
            " FROM STDIN (FORMAT BINARY)"
        ) as copy:
            copy.set_types(
                ["int2", "text", "text", "text", "text", "text", "jsonb", "bytea", "int4", "bytea",
                 "text", "text", "int4", "uuid", "bytea"]
            )  # fmt: skip
            entries = []
            for begin in range(0, records, _BOUND):
                part = [
                    (people[place % len(people)], wrapped[place % len(wrapped)])
                    for place in range(begin, min(begin + _BOUND, records))
                ]
                entry = uuid.UUID(str(uuid7()))
                rows, commitments = _rows(part, entry, version)
                entries.append((entry, _entry(entry, commitments, len(part))))
                for row in rows:
                    copy.write_row(row)
        link.execute(
            "INSERT INTO ledger_outbox (bucket, id, entry)"
            " SELECT * FROM unnest(%b::smallint[], %b::uuid[], %b::bytea[])",
            (
                [tokens.bucket_of(str(entry)) for entry, _ in entries],
                [entry for entry, _ in entries],
                [text for _, text in entries],
            ),
        )


def _rows(
    part: list[tuple[str, str]], entry: uuid.UUID, version: int
) -> tuple[Iterator[tuple[Any, ...]], dict[str, str]]:
    """Rows of (customer, wrapped key), and what their entry commits to."""
    named = [
        (tokens.bucket_of(person), person, tokens.new_token(tokens.bucket_of(person)), text)
        for person, text in part
    ]
    commitments, bound = bindings.bind(
        entry,
        [
            bindings.leaf(
                token, 1, WrappedKey(kek=CONTACT_KEK, kek_version=version, ciphertext=text),
                _ENVELOPE_HASH,
            )
            for _, _, token, text in named
        ],
    )  # fmt: skip
    rows = (
        (bucket, token, person, "email_address", "opaque", "opaque", MASK, secrets.token_bytes(32),
         1, ENVELOPE, text, CONTACT_KEK, version, entry, binding.path)
        for (bucket, person, token, text), binding in zip(named, bound, strict=True)
    )  # fmt: skip
    return rows, commitments


def _entry(entry: uuid.UUID, commitments: dict[str, str], count: int) -> bytes:
    return encode(
        Entry(
            id=str(entry),
            at=datetime.now(UTC),
            event=Event.VAULT_KEY_ADOPTED,
            outcome=Outcome.SUCCESS,
            actor=Actor(kind=ActorKind.SYSTEM, id="bench"),
            origin=Origin(role="cli"),
            count=count,
            commitments=commitments,
        )
    )
