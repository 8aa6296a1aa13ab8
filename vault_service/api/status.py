"""What infrastructure asks, without a credential: alive, ready, counters, public keys."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog
from flask import Flask, Response

from keys.errors import KeysError
from vault_service.api.calls import JSON
from vault_service.api.schemas import AliveOut, CheckOut, ReadyOut
from vault_service.errors import ServiceError
from vault_service.settings import Settings
from vault_service.web import metrics
from vault_service.web.served import Served

_log = structlog.get_logger("vault_service.api")


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, content_type=JSON)


def _measured(served: Served) -> bytes:
    """What is asked of Vault and the database; the counters are wanted most while they are away."""
    told = b""
    if served.key_status is not None:
        try:
            told += metrics.key_exposition(served.key_status.measured())
        except (ServiceError, KeysError) as error:
            _log.warning("keys not measured", code=error.code)
    if served.webhooks is not None:
        try:
            told += metrics.message_exposition(*served.webhooks.counts())
        except ServiceError as error:
            _log.warning("webhooks not counted", code=error.code)
    return told


def register(app: Flask, served: Served, settings: Settings) -> None:
    """Give the application the routes of infrastructure."""

    def healthz() -> Response:
        return _json(AliveOut(status="alive"))

    def readyz() -> Response:
        findings = served.health.ready()
        ready = all(finding.ok for finding in findings)
        if not ready:
            _log.warning(
                "not ready",
                failed=[finding.name for finding in findings if not finding.ok],
                reason=[str(finding.reason) for finding in findings if not finding.ok],
            )
        body = ReadyOut(
            status="ready" if ready else "not ready",
            checks=[
                CheckOut(name=finding.name, ok=finding.ok, reason=finding.reason)
                for finding in findings
            ],
        )
        response = _json(body, 200 if ready else 503)
        if not ready:
            response.headers["Retry-After"] = "5"
        return response

    def counters() -> Response:
        told = metrics.exposition(settings.metrics_dir) + _measured(served)
        return Response(told, content_type=metrics.CONTENT_TYPE)

    def keys() -> Response:
        response = Response(
            msgspec.json.encode(served.jwks()), content_type="application/jwk-set+json"
        )
        # Public, and asked for by every verifier; five minutes is how long a new key may go unseen.
        response.headers["Cache-Control"] = "public, max-age=300"
        return response

    routes: tuple[tuple[str, str, Callable[[], Response]], ...] = (
        ("/healthz", "healthz", healthz),
        ("/readyz", "readyz", readyz),
        ("/metrics", "metrics", counters),
        ("/.well-known/jwks.json", "jwks", keys),
    )
    for path, name, view in routes:
        app.add_url_rule(path, name, view, methods=["GET"])
