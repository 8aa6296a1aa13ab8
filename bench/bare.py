"""The floor of a masked read: a WSGI handler that does the SELECT and writes the JSON, and no more.

No router, no caller, no roles, no log: what a read costs on this server with this driver at least.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from bench.floors import SELECT_MASKED
from vault_service.domain.tokens import bucket_from_token
from vault_service.errors import InvalidInput

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

_local = threading.local()
_NAMES = (
    "bucket", "id", "customer", "class", "format", "version", "mask", "metadata", "reference",
    "created_at", "expires_at",
)  # fmt: skip


def _link() -> psycopg.Connection[Any]:
    if not hasattr(_local, "link"):
        _local.link = psycopg.connect(
            os.environ["BENCH_DATABASE"], autocommit=True, prepare_threshold=0
        )
    link: psycopg.Connection[Any] = _local.link
    return link


def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer one masked read."""
    name = environ["PATH_INFO"].lstrip("/")
    try:
        bucket = bucket_from_token(name)
    except InvalidInput:
        start_response("404 NOT FOUND", [("Content-Length", "0")])
        return [b""]
    cursor = _link().cursor(binary=True)
    row = cursor.execute(SELECT_MASKED, (bucket, name)).fetchone()
    body = msgspec.json.encode(dict(zip(_NAMES, row or (), strict=False)))
    start_response(
        "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    )
    return [body]
