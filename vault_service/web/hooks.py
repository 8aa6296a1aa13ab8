"""What happens around every request: its context before, its headers, line and counts after."""

from __future__ import annotations

import time
from typing import Final

import structlog
from flask import Flask, Response, request

from vault_service.settings import Settings
from vault_service.web import context, metrics

UNMATCHED: Final = "unmatched"

# Nothing that this service answers is for a cache, a frame, a script or a guess of a type.
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# Methods that exist; any other would be a label of the caller's choice.
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
# Asked every few seconds by machines that look after machines: counted, and no line each.
_QUIET: Final = frozenset(("/healthz", "/readyz", "/metrics"))

_log = structlog.get_logger("vault_service.access")


def route() -> str:
    """The template of the route under way, never its path: a path could hold anything."""
    rule = request.url_rule
    return UNMATCHED if rule is None else rule.rule


def install(app: Flask, settings: Settings) -> None:
    """Put the hooks around every request of the application."""
    headers = dict(_HEADERS)
    if settings.hsts_seconds:
        headers["Strict-Transport-Security"] = f"max-age={settings.hsts_seconds}"

    def before() -> None:
        context.begin(
            request.environ,
            seconds=settings.request_seconds,
            trusted_proxies=settings.trusted_proxies,
        )

    def after(response: Response) -> Response:
        ctx = context.current()
        response.headers.setdefault("Request-Id", ctx.id)
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        for name, value in ctx.headers.items():
            response.headers[name] = value
        _account(ctx, response.status_code)
        return response

    app.before_request(before)
    app.after_request(after)


def _account(ctx: context.RequestContext, status: int) -> None:
    seconds = time.monotonic() - ctx.started
    template = route()
    method = request.method if request.method in _METHODS else "OTHER"
    metrics.observe(method=method, route=template, status=status, seconds=seconds, code=ctx.code)
    if template in _QUIET and status < 500:
        return
    caller = ctx.caller
    _log.info(
        "request",
        method=method,
        route=template,
        status=status,
        ms=seconds * 1000,
        address=ctx.address,
        **({} if ctx.code is None else {"code": ctx.code}),
        **({} if caller is None else {"principal": caller.principal.id, "key": caller.key_id}),
    )
