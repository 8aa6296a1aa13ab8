"""The service's one tree of errors. Each has a stable code; none knows HTTP.

A message never repeats a value that a caller sent, because messages travel into answers and logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from keys.errors import KeysError

E = TypeVar("E", bound=Exception)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One of several things that are wrong with a request, by JSON pointer.

    `clause` is the clause of the privacy policy that asks for the missing piece, where one does.
    """

    code: str
    pointer: str
    detail: str
    clause: str | None = None


class ServiceError(Exception):
    """Something that a caller is told about.

    Attributes:
        code: stable, machine-readable, lower snake case; part of the interface.
        detail: one lower-case sentence for people, without personal data or secrets.
        pointer: JSON pointer into the request body, where one place is at fault.
        hint: what to do next, where there is something to do.
        problems: each single thing that is wrong, where there are several.
    """

    code = "internal_error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        pointer: str | None = None,
        hint: str | None = None,
        problems: tuple[Problem, ...] = (),
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer
        self.hint = hint
        self.problems = problems
        if code is not None:
            self.code = code


class InvalidInput(ServiceError):
    """The request is malformed or a value breaks a rule of its class."""

    code = "invalid_input"


class NotAuthenticated(ServiceError):
    """No credential, or one that is unknown, expired or revoked."""

    code = "not_authenticated"


class Forbidden(ServiceError):
    """The caller is known and may not do this."""

    code = "forbidden"


class DisclosureRefused(Forbidden):
    """A reveal was refused; the code says which check failed."""

    code = "disclosure_refused"


class ProofRefused(DisclosureRefused):
    """A proof of possession is missing or wrong; the code says which check failed.

    Attributes:
        error: the same in the few words of RFC 9449.
        nonce: what a new proof is to carry, where that is what was missing.
    """

    code = "dpop_proof_missing"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        error: str = "invalid_dpop_proof",
        nonce: str | None = None,
    ) -> None:
        super().__init__(detail, code=code)
        self.error = error
        self.nonce = nonce


class NotFound(ServiceError):
    """There is no such thing, or the caller may not know that there is."""

    code = "not_found"


class Conflict(ServiceError):
    """The request contradicts the present state."""

    code = "conflict"


class RateLimited(ServiceError):
    """The caller exceeded its rate; `retry_after` is in seconds."""

    code = "rate_limited"

    def __init__(self, detail: str, *, retry_after: float) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Unavailable(ServiceError):
    """A dependency failed or is overloaded; nothing was done. `retry_after` is in seconds."""

    code = "unavailable"

    def __init__(self, detail: str, *, code: str | None = None, retry_after: float = 1.0) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class SettingsError(ServiceError):
    """A setting is missing or wrong; the message names it and never its value."""

    code = "settings_invalid"


def outcome(error: E) -> E:
    """An expected error as one item's outcome: without the frames that it came through.

    They hold the other items of its batch, values and keys among them, and an error that lies in
    a list of one of its own frames is a circle that only the collector of cycles would undo.
    """
    if isinstance(error, ServiceError | KeysError):
        error.__traceback__ = None
    return error
