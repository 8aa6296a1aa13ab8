"""What is kept of every request: a line in the access log, and counts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flask import Flask, Response, request

from vault_service import logs
from vault_service.web import context, metrics

UNMATCHED: Final = "unmatched"

# Methods that exist; any other would be a label of the caller's choice.
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
# Asked every few seconds by machines that look after machines: counted, and no line each.
_QUIET: Final = frozenset(("/healthz", "/readyz", "/metrics"))

# Asked by visitors of the company's website, of whom nothing is kept.
VISITED: Final = frozenset(("/u.gif", "/v1/usage"))


def route() -> str:
    """The template of the route under way, never its path: a path could hold anything."""
    rule = request.url_rule
    return UNMATCHED if rule is None else rule.rule


def _is_visit() -> bool:
    """Whether a visitor of the website asks; `GET /v1/usage` is for principals."""
    reads = request.method in {"GET", "HEAD"}
    return request.path in VISITED and not (reads and request.path == "/v1/usage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A request and how it was answered.

    Attributes:
        ctx: the request.
        method: as it was sent.
        template: of its route.
        status: of its answer.
        visit: whether a visitor of the website asked.
    """

    ctx: context.RequestContext
    method: str
    template: str
    status: int
    visit: bool = False


def account(answered: Sequence[Answered]) -> None:
    """Count answered requests and tell of them."""
    told = [line for each in answered if (line := _counted(each)) is not None]
    if told:
        logs.requests(told)


def _counted(answered: Answered) -> dict[str, object] | None:
    """Count one; what is told of it, if anything is."""
    ctx, template, status = answered.ctx, answered.template, answered.status
    ctx.accounted = True
    seconds = time.monotonic() - ctx.started
    method = answered.method if answered.method in _METHODS else "OTHER"
    metrics.observe(method=method, route=template, status=status, seconds=seconds, code=ctx.code)
    if template in _QUIET and status < 500:
        return None
    told: dict[str, object] = {
        "method": method,
        "route": template,
        "status": status,
        "ms": seconds * 1000,
        "request_id": ctx.id,
    }
    if answered.visit:
        # A line for each visit, with its time, would be a record of visits, and so they leave
        # none; what fails does, without saying whose it was.
        return told if status >= 500 else None
    told["address"] = ctx.address
    if ctx.caller is not None:
        told["principal"] = ctx.caller.principal.id
        told["key"] = ctx.caller.key_id
    if ctx.code is not None:
        told["code"] = ctx.code
    return told


def _account(response: Response) -> Response:
    ctx = context.current()
    if not ctx.accounted:
        account(
            [
                Answered(
                    ctx=ctx,
                    method=request.method,
                    template=route(),
                    status=response.status_code,
                    visit=_is_visit(),
                )
            ]
        )
    return response


def install(app: Flask) -> None:
    """Have every request of the application counted and told of."""
    app.after_request(_account)
