"""Columns and constraints that several tables have alike, and the `metadata` of all of them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP, UUID
from sqlalchemy.schema import SchemaItem

from vault_service.domain.tokens import BUCKETS

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def bucket() -> Column[int]:
    """The first column of every key of what belongs to somebody."""
    return Column("bucket", SmallInteger, nullable=False)


def bucket_range() -> CheckConstraint:
    """`bucket` is one that there is."""
    return CheckConstraint(f"bucket >= 0 AND bucket < {BUCKETS}", name="bucket")


def time(name: str, *, nullable: bool = True, now: bool = False) -> Column[object]:
    """An instant; with `now`, by itself that of the transaction which inserts the row."""
    return Column(
        name,
        TIMESTAMP(timezone=True),
        nullable=nullable,
        server_default=func.now() if now else None,
    )


def of_customer() -> ForeignKeyConstraint:
    """`customer` is one of the bucket's."""
    return ForeignKeyConstraint(["bucket", "customer"], ["customers.bucket", "customers.id"])


def of_disclosure() -> ForeignKeyConstraint:
    """`disclosure` is one of the bucket's."""
    return ForeignKeyConstraint(["bucket", "disclosure"], ["disclosures.bucket", "disclosures.id"])


def sealed(name: str, *, nullable: bool = False) -> tuple[SchemaItem, ...]:
    """A document under a name, sealed, beside the wrapped key that opens it."""
    return (
        Column(f"{name}_envelope", LargeBinary, nullable=nullable),
        Column(f"{name}_wrapped_key", Text, nullable=nullable),
        Column(f"{name}_kek", Text, nullable=nullable),
        Column(f"{name}_kek_version", Integer, nullable=nullable),
    )


def bound() -> tuple[SchemaItem, ...]:
    """What binds wrapped key and envelope to a ledger entry: `services.bindings`."""
    return (
        Column("envelope_hash", LargeBinary, Computed("sha256(envelope)", persisted=True)),
        Column("bound_by", UUID(as_uuid=True)),
        Column("bound_path", LargeBinary),
        CheckConstraint("(bound_by IS NULL) = (bound_path IS NULL)", name="bound"),
    )
