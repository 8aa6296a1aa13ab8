"""Shapes: from plain JSON values to the typed bodies of the calls.

msgspec checks; its messages are translated here, because they repeat unknown names and wrong
values, and a card number could stand in either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from vault_service.errors import InvalidInput

T = TypeVar("T")

_PLACE: Final = re.compile(r" - at `(?:key in )?\$([^`]*)`\Z")
_STEP: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]|\[\.\.\.\]")
_EXPECTED: Final = re.compile(r"\AExpected `([a-z0-9_| ]+)`(, got `[a-z]+`)?")
_MISSING: Final = re.compile(r"\AObject missing required field `([a-z_]+)`")
_KINDS: Final = {
    "str": ("string_expected", "a string is expected here"),
    "int": ("integer_expected", "a whole number is expected here"),
    "float": ("number_expected", "a number is expected here"),
    "bool": ("boolean_expected", "true or false is expected here"),
    "object": ("object_expected", "an object is expected here"),
    "array": ("array_expected", "an array is expected here"),
    "datetime": ("time_expected", "a time such as 2030-01-31T12:00:00Z is expected here"),
}


def convert(value: object, kind: type[T], *, pointer: str = "") -> T:
    """The value as `kind`; strings stay strings and numbers numbers.

    Args:
        value: plain JSON.
        kind: a msgspec type.
        pointer: JSON pointer to the value, the prefix of pointers in errors.

    Raises:
        InvalidInput: a code for each way of being wrong, and the place.
    """
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise _translated(str(error), pointer) from None


def convert_query(values: Mapping[str, list[str]], kind: type[T]) -> T:
    """The query's parameters as `kind`; text stands for numbers here.

    Raises:
        InvalidInput: as `convert`, and `parameter_repeated`.
    """
    if any(len(texts) != 1 for texts in values.values()):
        raise InvalidInput("a parameter stands twice", code="parameter_repeated")
    single = {name: texts[0] for name, texts in values.items()}
    try:
        return msgspec.convert(single, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _translated(str(error), "") from None


def _translated(message: str, prefix: str) -> InvalidInput:
    place = _PLACE.search(message)
    pointer = prefix + (_pointer(place[1]) if place else "")
    if place:
        message = message[: place.start()]
    if (missing := _MISSING.match(message)) is not None:
        return InvalidInput(
            "a required field is missing", code="field_missing", pointer=f"{pointer}/{missing[1]}"
        )
    if message.startswith("Object contains unknown field"):
        return InvalidInput(
            "this object holds a field that is not known here",
            code="unknown_field",
            pointer=pointer,
        )
    expected = _EXPECTED.match(message)
    if expected is not None and expected[2]:
        code, detail = _KINDS.get(expected[1].split(" | ")[0], _OTHER)
    elif "RFC3339" in message or "timezone" in message:
        code, detail = _KINDS["datetime"]
    elif expected is not None:
        # A length, a bound or a pattern; the message names the bound and repeats no value.
        code, detail = "value_out_of_bounds", _bounds(message)
    else:
        code, detail = _OTHER
    return InvalidInput(detail, code=code, pointer=pointer)


_OTHER: Final[tuple[str, str]] = ("value_unknown", "this value is none of those known here")
_BOUND: Final = re.compile(r"\AExpected `[a-z ]+` (of length )?([<>=]+) (\d+)\Z")
_SAYS: Final = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than"}


def _bounds(message: str) -> str:
    bound = _BOUND.match(message)
    if bound is None:
        return "this value does not have the form expected here"
    what = "this is expected to have a length of" if bound[1] else "this is expected to be"
    return f"{what} {_SAYS.get(bound[2], 'exactly')} {bound[3]}"


def _pointer(path: str) -> str:
    # The key of a free-form object is the caller's text and is not repeated.
    return "".join(f"/{step[1] or step[2] or '*'}" for step in _STEP.finditer(path))


def plain(value: Any) -> Any:
    """A msgspec value as plain JSON values, for examples and documents."""
    return msgspec.to_builtins(value)
