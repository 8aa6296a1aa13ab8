"""Exit codes, and what of an error is told to people and to programs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import click

from keys.errors import KeysError, VaultUnavailable
from vault_service.client import (
    ApiError,
    ClientError,
    FieldProblem,
    InsecureAddress,
    Unreachable,
)
from vault_service.errors import (
    Conflict,
    Forbidden,
    NotAuthenticated,
    NotFound,
    ServiceError,
    SettingsError,
    Unavailable,
)


class ExitCode(IntEnum):
    """How the command ended; part of its interface."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    REFUSED = 3
    NOT_FOUND = 4
    CONFLICT = 5
    UNAVAILABLE = 6
    SOME_FAILED = 7


MEANINGS: Final = {
    ExitCode.OK: "done",
    ExitCode.FAILURE: "failed",
    ExitCode.USAGE: "wrong usage: an option, an argument or a file of settings",
    ExitCode.REFUSED: "refused: no valid key (401), or a role that may not (403)",
    ExitCode.NOT_FOUND: "not found (404)",
    ExitCode.CONFLICT: "in conflict with the present state (409)",
    ExitCode.UNAVAILABLE: "not available at the moment: not running, or 503",
    ExitCode.SOME_FAILED: "some items failed; the others are done",
}

_BY_STATUS: Final = {
    401: ExitCode.REFUSED,
    403: ExitCode.REFUSED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    429: ExitCode.UNAVAILABLE,
    502: ExitCode.UNAVAILABLE,
    503: ExitCode.UNAVAILABLE,
    504: ExitCode.UNAVAILABLE,
}
_BY_CLASS: Final[tuple[tuple[type[Exception], ExitCode], ...]] = (
    (NotAuthenticated, ExitCode.REFUSED),
    (Forbidden, ExitCode.REFUSED),
    (NotFound, ExitCode.NOT_FOUND),
    (Conflict, ExitCode.CONFLICT),
    (Unavailable, ExitCode.UNAVAILABLE),
    (VaultUnavailable, ExitCode.UNAVAILABLE),
    (Unreachable, ExitCode.UNAVAILABLE),
    (InsecureAddress, ExitCode.USAGE),
    (SettingsError, ExitCode.USAGE),
    (click.UsageError, ExitCode.USAGE),
)
# What people usually need next, where the service itself has no hint.
_HINTS: Final = {
    "service_unreachable": "is it running? scripts/run (or `vault-service up`) starts one;"
    " --url says where it answers",
    "credential_missing": "choose who calls: --as NAME, or --key-file FILE",
    "credential_unknown": "the key belongs to another vault, or was made anew by a fresh start",
    "credential_revoked": "this key was revoked; an operator issues another",
    "credential_pending": "an officer must confirm this key: vault-service principals confirm-key",
    "credential_expired": "an operator issues another: vault-service principals issue-key",
    "forbidden": "choose a principal with a role for this: --as NAME",
    "vault_unavailable": "vault-service ready says what is missing",
    "database_unavailable": "vault-service ready says what is missing",
}


class Failed(Exception):
    """A command cannot go on. The message is for people and holds no value."""

    def __init__(
        self,
        detail: str,
        *,
        code: str,
        exit_code: ExitCode = ExitCode.FAILURE,
        hint: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.exit_code = exit_code
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An error in the form in which it is told."""

    exit_code: ExitCode
    code: str
    detail: str
    hint: str | None = None
    status: int | None = None
    request_id: str | None = None
    errors: tuple[FieldProblem, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For programs: on standard error, with `--json`."""
        error: dict[str, Any] = {"code": self.code, "detail": self.detail}
        for name in ("hint", "status", "request_id"):
            value = getattr(self, name)
            if value is not None:
                error[name] = value
        if self.errors:
            error["errors"] = [
                {"pointer": one.pointer, "code": one.code, "detail": one.detail}
                for one in self.errors
            ]
        return {"error": error, "exit": int(self.exit_code)}

    def as_text(self) -> str:
        """For people: what, where, what next."""
        lines = [f"Error: {self.detail} ({self.code})"]
        lines += [
            f"  {one.pointer or '/'}: {one.detail} ({one.code})"
            + (f" [clause {one.clause}]" if one.clause else "")
            for one in self.errors
            if one.detail != self.detail or one.pointer
        ]
        if self.hint:
            lines.append(f"Hint: {self.hint}")
        if self.request_id and self.exit_code is ExitCode.FAILURE:
            lines.append(f"Request: {self.request_id}")
        return "\n".join(lines)


def tell(error: Exception) -> Told:
    """An error as it is told. What is not foreseen is told by its type, never by its message."""
    if isinstance(error, Failed):
        return Told(
            exit_code=error.exit_code, code=error.code, detail=error.detail, hint=error.hint
        )
    if isinstance(error, ApiError):
        return Told(
            exit_code=_BY_STATUS.get(error.status, ExitCode.FAILURE),
            code=error.code,
            detail=error.detail,
            hint=error.hint or _HINTS.get(error.code),
            status=error.status,
            request_id=error.request_id,
            errors=error.errors,
        )
    if isinstance(error, ClientError | ServiceError | KeysError):
        return _ours(error)
    if isinstance(error, click.ClickException):
        return Told(
            exit_code=_of_class(error), code="usage", detail=_one_line(error), hint=_usage(error)
        )
    if isinstance(error, OSError):
        # The reason and the file's name; the rest of the message is the same in other words.
        name = f": {error.filename}" if isinstance(error.filename, str) else ""
        reason = (error.strerror or type(error).__name__).lower()
        return Told(exit_code=ExitCode.FAILURE, code="file_error", detail=f"{reason}{name}")
    return Told(
        exit_code=ExitCode.FAILURE,
        code="internal_error",
        detail=f"the command failed in a way that it should not: {type(error).__name__}",
        hint="please report it with the command that you gave and its version",
    )


def _ours(error: ClientError | ServiceError | KeysError) -> Told:
    problems = error.problems if isinstance(error, ServiceError) else ()
    return Told(
        exit_code=_of_class(error),
        code=error.code,
        detail=str(error),
        hint=getattr(error, "hint", None) or _HINTS.get(error.code),
        errors=tuple(
            FieldProblem(pointer=one.pointer, code=one.code, detail=one.detail, clause=one.clause)
            for one in problems
        ),
    )


def _of_class(error: Exception) -> ExitCode:
    for kind, code in _BY_CLASS:
        if isinstance(error, kind):
            return code
    return ExitCode.FAILURE


def _one_line(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    return message[:1].lower() + message[1:].removesuffix(".")


def _usage(error: click.ClickException) -> str | None:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{error.ctx.command_path} --help says what it takes"
    return None
