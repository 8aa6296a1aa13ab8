"""The Python SDK: a typed client of the HTTP interface.

It stands apart: it imports nothing of the rest of the service, so that it can be taken along into
another program with nothing but urllib3 and msgspec (and joserfc for `proof_key`). It never logs,
and shows its key nowhere.

    with Client("https://vault.example", key=key) as vault:
        customer = vault.customers.create("crm-17")
        token = vault.tokens.create("telephone", customer.id, "+49 30 901820")
"""

from __future__ import annotations

from vault_service.client.client import Client
from vault_service.client.errors import (
    AnswerUnexpected,
    ApiError,
    ClientError,
    FieldProblem,
    InsecureAddress,
    Unreachable,
)

__all__ = [
    "AnswerUnexpected",
    "ApiError",
    "Client",
    "ClientError",
    "FieldProblem",
    "InsecureAddress",
    "Unreachable",
]
