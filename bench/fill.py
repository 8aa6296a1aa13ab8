"""Fills the table of records, so that growth shows: by COPY, with values that nobody opens.

The wrapped keys are real ones of Vault's, a few hundred used again and again, so that a rotation
has its true work with them. The class is another than the cards that the cases write and read.
"""

from __future__ import annotations

import os
import secrets
from typing import Final

from bench.floors import CONTACT_KEK, ENVELOPE, Reached
from keys.secret import Secret
from vault_service.domain import tokens

MASK: Final = '{"address":"a•••@example.com"}'
_WRAPPED: Final = 400
_PER_CUSTOMER: Final = 10
_ABOUT: Final = 50_000


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
        link.execute("ANALYZE customers")
        link.execute("ANALYZE records")
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
            " fingerprint_version, envelope, wrapped_key, kek, kek_version)"
            " FROM STDIN (FORMAT BINARY)"
        ) as copy:
            copy.set_types(
                ["int2", "text", "text", "text", "text", "text", "jsonb", "bytea", "int4", "bytea",
                 "text", "text", "int4"]
            )  # fmt: skip
            for place in range(records):
                person = people[place % len(people)]
                bucket = tokens.bucket_of(person)
                copy.write_row(
                    (bucket, tokens.new_token(bucket), person, "email_address", "opaque", "opaque",
                     MASK, secrets.token_bytes(32), 1, ENVELOPE, wrapped[place % len(wrapped)],
                     CONTACT_KEK, version)
                )  # fmt: skip
