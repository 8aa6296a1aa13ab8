"""What can go wrong between a caller and the service. No message holds a key or a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProblem:
    """One thing that is wrong with a request, by JSON pointer into its body."""

    pointer: str
    code: str
    detail: str
    clause: str | None = None


class ClientError(Exception):
    """Whatever stops a call.

    Attributes:
        code: stable, lower snake case.
        hint: what to do next, where there is something to do.
    """

    code = "client_error"

    def __init__(self, detail: str, *, hint: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint


class InsecureAddress(ClientError):
    """The key would travel in clear over a network, or the address is none."""

    code = "base_url_invalid"


class Unreachable(ClientError):
    """The service did not answer.

    `sent` tells whether the request may have arrived: if so, it may have been carried out.
    """

    code = "service_unreachable"

    def __init__(self, detail: str, *, sent: bool, hint: str | None = None) -> None:
        super().__init__(detail, hint=hint)
        self.sent = sent


class AnswerUnexpected(ClientError):
    """Something answered that does not speak this interface, or wanted to send us elsewhere."""

    code = "answer_unexpected"


class ApiError(ClientError):
    """The service refused, in its own words (RFC 9457).

    Attributes:
        code: the service's stable code, such as `card_number_invalid`.
        status: HTTP status.
        request_id: finds the request in the service's log.
        errors: each single thing that is wrong.
        retry_after: seconds after which another try makes sense, where the service said so.
        nonce: what a new proof of possession is to carry, where that is what was missing.
    """

    def __init__(
        self,
        detail: str,
        *,
        code: str,
        status: int,
        request_id: str | None = None,
        hint: str | None = None,
        errors: tuple[FieldProblem, ...] = (),
        retry_after: float | None = None,
        nonce: str | None = None,
    ) -> None:
        super().__init__(detail, hint=hint)
        self.code = code
        self.status = status
        self.request_id = request_id
        self.errors = errors
        self.retry_after = retry_after
        self.nonce = nonce
