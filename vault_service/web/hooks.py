"""What is kept of every request: a line in the access log, and counts."""

from __future__ import annotations

import time
from typing import Final

import structlog
from flask import Flask, Response, request

from vault_service.web import context, metrics

UNMATCHED: Final = "unmatched"

# Methods that exist; any other would be a label of the caller's choice.
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
# Asked every few seconds by machines that look after machines: counted, and no line each.
_QUIET: Final = frozenset(("/healthz", "/readyz", "/metrics"))

# Asked by visitors of the company's website, of whom nothing is kept.
VISITED: Final = frozenset(("/u.gif", "/v1/usage"))

_log = structlog.get_logger("vault_service.access")


def route() -> str:
    """The template of the route under way, never its path: a path could hold anything."""
    rule = request.url_rule
    return UNMATCHED if rule is None else rule.rule


def _is_visit() -> bool:
    """Whether a visitor of the website asks; `GET /v1/usage` is for principals."""
    reads = request.method in {"GET", "HEAD"}
    return request.path in VISITED and not (reads and request.path == "/v1/usage")


def _account(response: Response) -> Response:
    ctx = context.current()
    seconds = time.monotonic() - ctx.started
    template = route()
    status = response.status_code
    method = request.method if request.method in _METHODS else "OTHER"
    metrics.observe(method=method, route=template, status=status, seconds=seconds, code=ctx.code)
    if template in _QUIET and status < 500:
        return response
    told: dict[str, object] = {"address": ctx.address}
    if _is_visit():
        # A line for each visit, with its time, would be a record of visits, and so they leave
        # none; what fails does, without saying whose it was.
        if status < 500:
            return response
        told.clear()
    if ctx.caller is not None:
        told["principal"] = ctx.caller.principal.id
        told["key"] = ctx.caller.key_id
    if ctx.code is not None:
        told["code"] = ctx.code
    _log.info(
        "request",
        method=method,
        route=template,
        status=status,
        ms=seconds * 1000,
        **told,
    )
    return response


def install(app: Flask) -> None:
    """Have every request of the application counted and told of."""
    app.after_request(_account)
