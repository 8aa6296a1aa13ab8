"""Versions of the disclosure policy, and when each came into force."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, ForeignKey, Integer, Table, Text

from vault_service.storage.tables.columns import metadata, time

policies: Final = Table(
    "policies",
    metadata,
    Column("version", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("body", Text, nullable=False),
    time("first_seen_at", nullable=False, now=True),
)

policy_adoptions: Final = Table(
    "policy_adoptions",
    metadata,
    # Without gaps: it orders what came into force at one moment, and makes rivals meet.
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("version", Text, ForeignKey("policies.version"), nullable=False),
    time("adopted_at", nullable=False, now=True),
)
