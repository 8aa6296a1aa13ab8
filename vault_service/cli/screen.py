"""What commands print: JSON for programs, lines for people; tables are `tables`'.

Nothing else writes to the terminal. Results go to standard output, everything else to standard
error, so that output can be piped.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import click
import msgspec

from vault_service.cli.session import Session

_NOTHING: Final = "-"


def encoded(value: object) -> str:
    """One JSON document, indented, with its line break."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def write_json(value: object) -> None:
    """Print one JSON document."""
    sys.stdout.write(encoded(value))
    sys.stdout.flush()


def write_line(text: str) -> None:
    """Print one line as it is."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Say something beside the result, to people."""
    if not _speaks_json():
        say(text)


def say(text: str) -> None:
    """Say something on standard error."""
    sys.stderr.write(shown(text) + "\n")
    sys.stderr.flush()


def warn(detail: str, *, code: str) -> None:
    """Say on standard error what is missing from the result."""
    if _speaks_json():
        sys.stderr.write(encoded({"warning": {"code": code, "detail": detail}}))
    else:
        say(detail)


def _speaks_json() -> bool:
    context = click.get_current_context(silent=True)
    session = None if context is None else context.find_object(Session)
    return session is not None and session.as_json


def shown(value: object) -> str:
    """A value as a terminal may show it: short, and without control characters."""
    if value is None or value == "":
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(shown(each) for each in value)
    text = str(value)
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)
