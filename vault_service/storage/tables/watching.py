"""What is watched: alarms that were raised, and names that no honest caller touches."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from vault_service.storage.tables.columns import metadata, time

alarms: Final = Table(
    "alarms",
    metadata,
    Column("name", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("times", BigInteger, nullable=False, server_default=text("1")),
    time("raised_at", nullable=False, now=True),
    # Until then the same alarm about the same subject is not raised again.
    time("quiet_until", nullable=False),
    PrimaryKeyConstraint("name", "subject"),
)

honeytokens: Final = Table(
    "honeytokens",
    metadata,
    # A keyed hash of a name: of which, only the serving processes can tell.
    Column("mark", LargeBinary, primary_key=True),
    Column("key_version", Integer, nullable=False),
    Column("planted_by", Text, nullable=False),
    time("planted_at", nullable=False, now=True),
    Column("lifted_by", Text),
    time("lifted_at"),
    CheckConstraint("octet_length(mark) = 16", name="mark_size"),
    CheckConstraint("(lifted_by IS NULL) = (lifted_at IS NULL)", name="lifted"),
)
