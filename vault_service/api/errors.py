"""One table from error to HTTP status, and the problem documents (RFC 9457) that tell of it.

Every error of the service has a code; the status follows from the code, or else from the error's
class. A message never repeats what a caller sent.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
import structlog
from flask import Flask, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from keys.errors import CiphertextRejected, KeysError, VaultDenied, VaultUnavailable
from vault_service.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    Problem,
    ProofRefused,
    RateLimited,
    ServiceError,
    Unavailable,
)
from vault_service.ledger.faults import LogError
from vault_service.services.dpop import ALGORITHMS
from vault_service.web import metrics
from vault_service.web.context import current

PROBLEM_TYPE: Final = "application/problem+json"

_BY_CLASS: Final[tuple[tuple[type[ServiceError], int], ...]] = (
    (NotAuthenticated, 401),
    (ProofRefused, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (RateLimited, 429),
    (Unavailable, 503),
    (InvalidInput, 422),
)
# What is wrong with the message itself, before its meaning: 4xx of its own.
_BY_CODE: Final = {
    "json_invalid": 400,
    "encoding_invalid": 400,
    "member_repeated": 400,
    "number_out_of_range": 400,
    "nesting_too_deep": 400,
    "body_missing": 400,
    "body_incomplete": 400,
    "parameter_repeated": 400,
    "idempotency_key_malformed": 400,
    "request_malformed": 400,
    "request_timeout": 408,
    "length_required": 411,
    "body_too_large": 413,
    "document_too_large": 413,
    "communication_too_large": 413,
    "document_type_unknown": 415,
    "content_type_unsupported": 415,
    "content_encoding_unsupported": 415,
}
_HTTP_CODES: Final = {
    400: ("request_malformed", "the request is malformed"),
    404: ("route_not_found", "there is no such route"),
    405: ("method_not_allowed", "this route has no such method"),
    408: ("request_timeout", "the request came too slowly"),
    413: ("body_too_large", "the body is too large"),
    414: ("uri_too_long", "the address is too long"),
    415: ("content_type_unsupported", "send application/json in UTF-8"),
    417: ("expectation_failed", "this expectation cannot be met"),
    431: ("headers_too_large", "the headers are too large"),
}
_TITLES: Final = {
    400: "The request is malformed",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "No such method",
    408: "The request came too slowly",
    409: "In conflict with the present state",
    411: "The length is missing",
    413: "The body is too large",
    415: "This kind of body is not taken",
    422: "The request breaks a rule",
    429: "Too many requests",
    500: "The service failed",
    503: "Not available at the moment",
}

_ALGORITHMS: Final = " ".join(ALGORITHMS)

_log = structlog.get_logger("vault_service.api")


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong, by JSON pointer into the request body."""

    pointer: str
    code: str
    detail: str
    clause: str | None = None


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=True, rename={"kind": "type"}):
    """What is answered instead of a result (RFC 9457)."""

    kind: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    hint: str | None = None
    errors: list[FieldError] = []


class ItemError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why one item of a batch has no result."""

    status: int
    code: str
    detail: str
    pointer: str | None = None
    hint: str | None = None
    errors: list[FieldError] = []


def as_service_error(error: Exception) -> ServiceError:
    """An error of `keys` in the words of the service; what is unknown becomes `internal_error`."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, VaultUnavailable):
        return Unavailable(
            "the key service does not answer; nothing was done",
            code=error.code,
            retry_after=error.retry_after,
        )
    if isinstance(error, VaultDenied):
        return Unavailable("the key service refused this service", code=error.code, retry_after=30)
    if isinstance(error, CiphertextRejected):
        return ServiceError("the stored value could not be verified", code="value_unreadable")
    if isinstance(error, LogError):
        _log.error("alarm", alarm=error.code)
        return ServiceError("the stored ledger contradicts itself", code="ledger_inconsistent")
    return ServiceError("the service failed; the request id finds the reason in its log")


def status_of(error: ServiceError) -> int:
    """The HTTP status that an error stands for."""
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    for kind, status in _BY_CLASS:
        if isinstance(error, kind):
            return status
    return 500


def title_of(status: int) -> str:
    """What a status means here."""
    return _TITLES.get(status, "The request failed")


def _field_errors(error: ServiceError) -> list[FieldError]:
    problems = list(error.problems)
    if not problems and error.pointer is not None:
        problems = [Problem(code=error.code, pointer=error.pointer, detail=error.detail)]
    return [
        FieldError(pointer=one.pointer, code=one.code, detail=one.detail, clause=one.clause)
        for one in problems
    ]


def item_error(error: Exception) -> ItemError:
    """An item's error; one that was not foreseen is logged as well."""
    told = as_service_error(error)
    status = status_of(told)
    if told is not error and not isinstance(told, Unavailable):
        _log.error("item failed", alarm=told.code, exc_info=error)
    return ItemError(
        status=status,
        code=told.code,
        detail=told.detail,
        pointer=told.pointer,
        hint=told.hint,
        errors=_field_errors(told) if told.problems else [],
    )


def problem(error: ServiceError, *, status: int | None = None) -> Response:
    """The answer that tells of an error."""
    context = current()
    context.code = error.code
    status = status_of(error) if status is None else status
    document = ProblemDocument(
        kind=f"/docs#error-{error.code}",
        title=title_of(status),
        status=status,
        code=error.code,
        detail=error.detail,
        request_id=context.id,
        hint=error.hint,
        errors=_field_errors(error),
    )
    response = Response(msgspec.json.encode(document), status, content_type=PROBLEM_TYPE)
    if isinstance(error, NotAuthenticated):
        response.headers["WWW-Authenticate"] = 'Bearer realm="vault"'
    if isinstance(error, ProofRefused):
        response.headers["WWW-Authenticate"] = f'DPoP error="{error.error}", algs="{_ALGORITHMS}"'
        if error.nonce is not None:
            response.headers["DPoP-Nonce"] = error.nonce
    if isinstance(error, RateLimited | Unavailable):
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return response


def _on_service_error(error: ServiceError) -> Response:
    if status_of(error) >= 500 and not isinstance(error, Unavailable):
        _log.error("request failed", alarm=error.code, exc_info=error)
    return problem(error)


def _on_keys_error(error: KeysError) -> Response:
    if isinstance(error, VaultUnavailable):
        metrics.count_outage(error.reason)
        _log.warning("key service unavailable", reason=error.reason, exc_info=error)
    else:
        metrics.count_outage(error.code)
        _log.error("key service refused", alarm=error.code, exc_info=error)
    return problem(as_service_error(error))


def _on_http_error(error: HTTPException) -> Response:
    status = error.code or 500
    code, detail = _HTTP_CODES.get(status, ("request_malformed", "the request cannot be served"))
    response = problem(ServiceError(detail, code=code), status=status)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _on_anything(error: Exception) -> Response:
    # The outermost edge: whatever was not foreseen is logged without its message and told as 500.
    _log.error("request failed", alarm="internal_error", exc_info=error)
    return problem(as_service_error(error))


def install(app: Flask) -> None:
    """Have every error answered as a problem document."""
    app.register_error_handler(ServiceError, _on_service_error)
    app.register_error_handler(KeysError, _on_keys_error)
    app.register_error_handler(HTTPException, _on_http_error)
    app.register_error_handler(Exception, _on_anything)
