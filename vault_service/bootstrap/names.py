"""What a process and its log are called."""

from __future__ import annotations

import socket
import uuid

from vault_service.settings import Settings


def instance() -> str:
    """A name for this process that no other has."""
    return f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"


def issuer_of(settings: Settings) -> str:
    """Who signs disclosure tokens: the address under which the service is known."""
    return settings.issuer or f"http://{settings.host}:{settings.port}"


def log_origin(settings: Settings) -> str:
    """The name of a log that has none yet: where it is served, as C2SP tlog-tiles advises."""
    return f"{issuer_of(settings).partition('://')[2].rstrip('/')}/v1/ledger"
