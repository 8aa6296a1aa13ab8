"""What is known of the request under way: its id, its caller, its clock.

One per request, kept in its WSGI environ; lines that are logged meanwhile carry its id.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from flask import request

from vault_service.domain.tokens import new_request_id
from vault_service.services.context import Caller

_KEY: Final = "vault_service.request"


@dataclass(slots=True)
class RequestContext:
    """One request.

    Attributes:
        id: the request's name, in the answer, the log and the ledger.
        address: where it came from, as far as known.
        started: `time.monotonic()` at its begin, in seconds.
        deadline: `time.monotonic()` value after which nobody waits.
        caller: who makes it, once authenticated.
        headers: headers that the answer shall have besides its own.
        code: the code of the error that it ended with, if any.
        streams: whether its answer is still being made while it is sent.
        accounted: whether it was counted and told of.
    """

    id: str
    address: str
    started: float
    deadline: float
    caller: Caller | None = None
    headers: dict[str, str] = field(default_factory=dict)
    code: str | None = None
    streams: bool = False
    accounted: bool = False


def begin(environ: dict[str, Any], *, address: str, seconds: float) -> RequestContext:
    """Make the context of a request that has just arrived."""
    started = time.monotonic()
    context = RequestContext(
        # A name and no secret: nothing is let in for knowing it. Python reseeds after a fork.
        id=new_request_id(token_bytes=random.randbytes),
        address=address,
        started=started,
        deadline=started + seconds,
    )
    environ[_KEY] = context
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=context.id)
    return context


def of(environ: Mapping[str, Any]) -> RequestContext:
    """The context of a request that has begun."""
    context: RequestContext = environ[_KEY]
    return context


def current() -> RequestContext:
    """The context of the request under way."""
    return of(request.environ)


@contextmanager
def unbound() -> Iterator[None]:
    """Have lines that are logged meanwhile carry no request's id: they may be of any of several."""
    before = structlog.contextvars.get_contextvars()
    structlog.contextvars.clear_contextvars()
    try:
        yield
    finally:
        structlog.contextvars.bind_contextvars(**before)
