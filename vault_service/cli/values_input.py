"""Values on their way in: from standard input, a file or a prompt, never from the command line.

A command line can be read by every process of the machine, and shells keep it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import click

from vault_service.cli.exits import ExitCode, Failed
from vault_service.domain.classes import DataClass, rule, tokenizable
from vault_service.domain.freetext import check_forbidden_fields

STDIN: Final = "-"
_MAX_BYTES: Final = 256 * 1024
_OBJECTS: Final = (DataClass.PAYMENT_CARD, DataClass.POSTAL_ADDRESS)
_WHOLE_NUMBERS: Final = ("exp_month", "exp_year")
_REQUIRED: Final = ("number", "exp_month", "exp_year", "line1", "city", "country")


def read_value(data_class: str, source: str | None) -> object:
    """One value of a class.

    Args:
        data_class: the class.
        source: a file's name, `-` for standard input, or None: then a prompt without echo where
            there is a terminal, else standard input.

    Returns:
        The decoded object where the input is a JSON object, else the text without its line break.

    Raises:
        InvalidInput: there is no such class, or the input holds a field that may never be sent.
        Failed: the input cannot be read or is none.
    """
    known = tokenizable(data_class, pointer=None)
    if source is None and sys.stdin.isatty():
        return _prompt(known)
    return parse_value(read_text(source))


def read_search(data_class: str, source: str | None) -> list[object]:
    """Values to look for: one on each line, a JSON object or plain text; of a card its number.

    Raises:
        InvalidInput, Failed: as `read_value`.
    """
    known = tokenizable(data_class, pointer=None)
    if source is None and sys.stdin.isatty():
        if known is DataClass.PAYMENT_CARD:
            return [_hidden("number")]
        return [_prompt(known)]
    values = [parse_value(line) for line in read_text(source).splitlines() if line.strip()]
    if not values:
        raise _nothing()
    return values


def parse_value(text: str) -> object:
    """A JSON object if the text is one, else the text itself.

    Raises:
        InvalidInput: a field may never be sent.
        Failed: there is nothing, or broken JSON.
    """
    stripped = text.strip()
    if not stripped:
        raise _nothing()
    if not stripped.startswith("{"):
        return stripped
    value = read_json_object(stripped)
    check_forbidden_fields(value, "/value")
    return value


def read_json_object(text: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        Failed: it is none; the message repeats nothing of it.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Failed(
            "the input is not a JSON object", code="json_invalid", exit_code=ExitCode.USAGE
        )
    return value


def _prompt(data_class: DataClass) -> object:
    if data_class not in _OBJECTS:
        return _hidden(data_class.value.replace("_", " "))
    value: dict[str, object] = {}
    for name in rule(data_class).fields:
        while True:
            text = _hidden(name, required=name in _REQUIRED)
            if name not in _WHOLE_NUMBERS or text.isdigit():
                break
            click.echo("digits only, please", err=True)
        if text:
            value[name] = int(text) if name in _WHOLE_NUMBERS else text
    return value


def _hidden(name: str, *, required: bool = True) -> str:
    label = f"{name} (not shown{'' if required else ', empty to leave out'})"
    more: dict[str, Any] = {} if required else {"default": "", "show_default": False}
    return str(click.prompt(label, hide_input=True, err=True, **more)).strip()


def read_text(source: str | None) -> str:
    """The whole of a file, or of standard input where `source` is None or `-`.

    Raises:
        Failed: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        if source is None or source == STDIN:
            content = sys.stdin.buffer.read(_MAX_BYTES + 1)
        else:
            with Path(source).open("rb") as stream:
                content = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise Failed(
            f"the input cannot be read: {(error.strerror or 'unknown reason').lower()}",
            code="file_error",
            exit_code=ExitCode.USAGE,
        ) from error
    if len(content) > _MAX_BYTES:
        raise Failed("the input is too large", code="input_too_large", exit_code=ExitCode.USAGE)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Failed(
            "the input is not UTF-8", code="encoding_invalid", exit_code=ExitCode.USAGE
        ) from None


def _nothing() -> Failed:
    return Failed(
        "there is no value",
        code="value_missing",
        exit_code=ExitCode.USAGE,
        hint="pipe it in, name a file with --value-file, or type it at a terminal",
    )
