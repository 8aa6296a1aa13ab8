"""Tables of the vault, as SQLAlchemy Core knows them: one module for each subject.

`bucket` stands first in every key of a table whose rows belong to a customer, a disclosure or a
request, so that a cluster can distribute by it and a write touches one shard. Directories of the
service itself (principals, API keys, key floors, policies, leases) are small and have none.

They declare; they run nothing. Grants and roles live in the migrations. Whoever imports one
gets them all, so that `metadata` never lacks a table.
"""

from vault_service.storage.tables import (
    customers,
    disclosures,
    evidence,
    keys,
    ledger,
    modifications,
    policies,
    principals,
    processes,
    records,
    reveals,
    usage,
    watching,
    webhooks,
)
from vault_service.storage.tables.columns import metadata

__all__ = [
    "customers",
    "disclosures",
    "evidence",
    "keys",
    "ledger",
    "metadata",
    "modifications",
    "policies",
    "principals",
    "processes",
    "records",
    "reveals",
    "usage",
    "watching",
    "webhooks",
]
