"""From a record of an export to an item for the service, and to a line of the output.

The output is the record with the token in place of the value: every column that holds a part of a
value is emptied, the main one gets the token, and columns `token`, `customer` and, if asked for,
`mask` are added. What is passed through unread may hold no card number.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from vault_service.cli.import_lines import Reason, Record
from vault_service.cli.import_mapping import (
    METADATA,
    VALUE_COLUMNS,
    ColumnMapping,
    Header,
    added_names,
)
from vault_service.client.models import Token
from vault_service.domain.classes import RULES, DataClass
from vault_service.domain.freetext import check_forbidden_fields, find_card_numbers
from vault_service.errors import InvalidInput

_Named = Callable[[str], str]
_WHOLE_NUMBERS: Final = ("exp_month", "exp_year")
_MAX_DIGITS: Final = 9
_MAX_INTEGER: Final = 2**63
_PASSED_ON: Final = ("reference", "format", "expires_at")
_FIELDS: Final[Mapping[DataClass, tuple[str, ...]]] = {
    **dict.fromkeys(RULES, ("value",)),
    DataClass.PAYMENT_CARD: RULES[DataClass.PAYMENT_CARD].fields,
    DataClass.POSTAL_ADDRESS: RULES[DataClass.POSTAL_ADDRESS].fields,
    DataClass.TELEPHONE: ("number", "country", "value"),
}
_MAIN: Final[Mapping[DataClass, tuple[str, ...]]] = {
    **dict.fromkeys(RULES, ("value",)),
    DataClass.PAYMENT_CARD: ("number", "value"),
    DataClass.POSTAL_ADDRESS: ("line1", "value"),
    DataClass.TELEPHONE: ("number", "value"),
}


class Refused(Exception):
    """A record is refused; holds the reason and nothing of the record."""

    def __init__(self, code: str, detail: str, column: str = "") -> None:
        super().__init__(code)
        self.reason = Reason(code=code, detail=detail, column=column)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A record that can be sent. `item` lacks only the customer's id."""

    line: int
    end: int
    next_line: int
    external_ref: str | None = field(repr=False)
    customer: str | None
    item: Mapping[str, Any] = field(repr=False)
    main: str | None
    rest: Any = field(repr=False)


class Form(Protocol):
    """One format of export."""

    def head(self) -> str:
        """What the output begins with."""
        ...

    def row(self, record: Record) -> Row:
        """The row that a record is.

        Raises:
            Refused: it is none.
        """
        ...

    def line(self, row: Row, token: Token) -> str:
        """The row's line of the output."""
        ...

    def column(self, pointer: str, data_class: str = "") -> str:
        """What one of our names, or a pointer into an item, is in the export."""
        ...


class CsvForm:
    """CSV by header."""

    def __init__(self, header: Header, mapping: ColumnMapping, *, masks: bool) -> None:
        self._header = header
        self._mapping = mapping
        self._masks = masks
        self._own = ["token", *(() if "customer" in header.places else ("customer",))]
        self._own += ["mask"] if masks else []

    def head(self) -> str:
        """The header, with our columns at its end."""
        return self._write([*self._header.names, *added_names(self._header.names, self._own)])

    def row(self, record: Record) -> Row:
        """The row that a record is.

        Raises:
            Refused: it is none.
        """
        cells = record.cells
        if len(cells) != len(self._header.names):
            raise Refused(
                "columns_differ",
                f"this record has {len(cells)} columns, the header {len(self._header.names)}",
            )
        for place, name in self._header.forbidden.items():
            if cells[place].strip():
                raise _sensitive(name)
        hidden = self._header.hidden
        for place, cell in enumerate(cells):
            if place not in hidden and any(find_card_numbers(cell)):
                raise _card_number(self._safe_name(place))
        given = {name: cells[place] for name, place in self._header.places.items()}
        present = {name: text for name, text in given.items() if text.strip()}
        made = _made(present, self._mapping, self.column)
        rest = ["" if place in hidden else cell for place, cell in enumerate(cells)]
        return Row(line=record.line, end=record.end, next_line=record.next_line, rest=rest, **made)

    def line(self, row: Row, token: Token) -> str:
        """The row's line of the output."""
        cells = list(row.rest)
        if row.main is not None and row.main in self._header.places:
            cells[self._header.places[row.main]] = token.id
        own = {"token": token.id, "customer": token.customer, "mask": json.dumps(token.mask)}
        return self._write([*cells, *(own[name] for name in self._own)])

    def column(self, pointer: str, data_class: str = "") -> str:
        """The name of the column that one of our names, or a pointer into an item, means."""
        places = self._header.places
        for part in reversed(pointer.split("/")):
            name = part
            if name == "region" and data_class == DataClass.TELEPHONE:
                name = "country"
            if name == "customer" and name not in places:
                name = "external_ref"
            if name in places:
                return self._header.names[places[name]]
        return pointer

    def _safe_name(self, place: int) -> str:
        return self._header.names[place] or str(place + 1)

    def _write(self, cells: list[str]) -> str:
        buffer = io.StringIO(newline="")
        csv.writer(buffer, delimiter=self._header.delimiter, lineterminator="\r\n").writerow(cells)
        return buffer.getvalue()


class JsonForm:
    """One JSON object on each line; members are named as the columns, `value` as the API has it."""

    def __init__(self, mapping: ColumnMapping, *, masks: bool) -> None:
        self._mapping = mapping
        self._masks = masks

    def head(self) -> str:
        """Nothing: JSONL has no header."""
        return ""

    def row(self, record: Record) -> Row:
        """The row that a line is.

        Raises:
            Refused: it is none.
        """
        content = _json_object(record.cells[0])
        try:
            check_forbidden_fields(content)
        except InvalidInput as error:
            raise Refused(error.code, error.detail, error.pointer or "") from None
        hidden = {self._mapping.theirs(name) for name in VALUE_COLUMNS}
        rest = {
            name: value
            for name, value in content.items()
            if name not in hidden and name.casefold() not in self._mapping.drop
        }
        for name, value in rest.items():
            if any(find_card_numbers(json.dumps(value, ensure_ascii=False))):
                raise _card_number(f"/{name}")
        given = {
            name: content[self._mapping.theirs(name)]
            for name in (*VALUE_COLUMNS, "external_ref", "customer", "class", *_PASSED_ON)
            if content.get(self._mapping.theirs(name)) not in (None, "")
        }
        metadata = content.get(self._mapping.theirs("metadata"))
        made = _made(given, self._mapping, self.column, metadata=metadata)
        return Row(line=record.line, end=record.end, next_line=record.next_line, rest=rest, **made)

    def line(self, row: Row, token: Token) -> str:
        """The row's line of the output."""
        main = self._mapping.theirs(row.main or "value")
        content = {**row.rest, main: token.id, "token": token.id, "customer": token.customer}
        if self._masks:
            content["mask"] = token.mask
        return json.dumps(content, ensure_ascii=False) + "\n"

    def column(self, pointer: str, data_class: str = "") -> str:  # noqa: ARG002 -- the form's shape
        """A pointer into the line, also of one of our names."""
        return pointer if pointer.startswith("/") else f"/{self._mapping.theirs(pointer)}"


def _made(
    given: Mapping[str, Any], mapping: ColumnMapping, named: _Named, metadata: object = None
) -> dict[str, Any]:
    """What a row is made of, from our columns that hold something."""
    known = {**mapping.constants, **given}
    reference, customer = known.get("external_ref"), known.get("customer")
    if customer is None and reference is None:
        raise Refused("external_ref_missing", "the customer is not named", named("external_ref"))
    if not isinstance(customer or reference, str):
        raise Refused("string_expected", "a string is expected here", named("external_ref"))
    word = known.get("class")
    data_class = mapping.data_class(word) if isinstance(word, str) else None
    if data_class is None or not RULES[data_class].tokenizable:
        raise Refused("class_unknown", "there is no such class of values", named("class"))
    wanted = _FIELDS[data_class]
    whole = not isinstance(given.get("value", ""), str)  # JSONL: an object as the service takes it
    for name in VALUE_COLUMNS:
        # What is not sent is lost, because it does not come out again either.
        if name in given and name not in wanted and not (whole and name == "value"):
            raise Refused(
                "column_not_of_class",
                f"{data_class} has no {name}; it would be lost",
                named(name),
            )
    value, main = _value(data_class, known, given, named, whole=whole)
    item: dict[str, Any] = {"class": data_class.value, "value": value}
    item |= {name: known[name] for name in _PASSED_ON if name in known}
    texts = {
        name.removeprefix(METADATA): text
        for name, text in known.items()
        if name.startswith(METADATA)
    }
    if texts or metadata is not None:
        item["metadata"] = texts or metadata
    return {
        "external_ref": None if customer is not None else reference,
        "customer": customer,
        "item": item,
        "main": main,
    }


def _value(
    data_class: DataClass,
    known: Mapping[str, Any],
    given: Mapping[str, Any],
    named: _Named,
    *,
    whole: bool,
) -> tuple[Any, str]:
    """The value as the service takes it, and the column that its token goes to."""
    main = next((name for name in _MAIN[data_class] if name in given), _MAIN[data_class][0])
    if main not in given and "value" not in given:
        raise Refused("value_missing", "this record has no value", named(main))
    if whole or (main == "value" and "value" in given):
        if any(name in given for name in VALUE_COLUMNS if name != "value"):
            raise Refused("value_ambiguous", "this record has two values", named("value"))
        return given["value"], "value"
    if "value" in given:
        raise Refused("value_ambiguous", "this record has two values", named("value"))
    parts = {name: known[name] for name in _FIELDS[data_class] if name in known}
    if data_class is DataClass.TELEPHONE:
        if "country" not in parts:
            return parts["number"], main
        return {"number": parts["number"], "region": parts["country"]}, main
    for name in _WHOLE_NUMBERS:
        if name in parts:
            parts[name] = _whole_number(parts[name], named(name))
    return parts, main


def _whole_number(value: object, column: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = value.strip() if isinstance(value, str) else ""
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS:
        raise Refused("integer_expected", "a whole number is expected here", column)
    return int(text)


def _json_object(text: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Refused("member_repeated", "an object names a member twice")
        return found

    def integer(digits: str) -> int:
        if len(digits) > len(str(_MAX_INTEGER)) or abs(int(digits)) >= _MAX_INTEGER:
            raise Refused("number_out_of_range", "a number is out of range")
        return int(digits)

    def no_number(_name: str) -> Any:
        raise Refused("json_invalid", "this line is not JSON")

    try:
        content = json.loads(
            text, object_pairs_hook=once, parse_int=integer, parse_constant=no_number
        )
        # Half a surrogate pair is JSON for some and UTF-8 for nobody.
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Refused("json_invalid", "this line is not JSON") from None
    if not isinstance(content, dict):
        raise Refused("object_expected", "this line is not a JSON object")
    return content


def _sensitive(name: str) -> Refused:
    return Refused(
        "sensitive_authentication_data",
        "verification codes, track data and pins are never accepted; remove the column",
        name,
    )


def _card_number(column: str) -> Refused:
    return Refused(
        "card_number_not_allowed_here",
        "a card number stands in a column that is passed through",
        column,
    )
