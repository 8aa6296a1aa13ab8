"""Which column of an export is which: by header, or by a mapping file.

    delimiter = ";"                # where the header does not tell
    encoding = "cp1252"            # utf-8 unless said otherwise
    drop = ["Notes"]               # their columns that are neither read nor passed through

    [columns]                      # our column = theirs
    external_ref = "CustomerNo"
    number = "PAN"

    [constants]                    # our column = the same text for every record
    class = "payment_card"

    [classes]                      # their word = our class
    "credit card" = "payment_card"

A column whose name says verification code, track or PIN is never read: a record that has something
in it is refused, whatever a mapping file says.
"""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from vault_service.cli.exits import ExitCode, Failed
from vault_service.cli.import_lines import ENCODINGS
from vault_service.domain.classes import DataClass
from vault_service.domain.freetext import check_forbidden_fields
from vault_service.errors import InvalidInput

# Columns that hold parts of a value: what is in them does not come out again.
VALUE_COLUMNS: Final = (
    "number", "exp_month", "exp_year", "name", "value", "line1", "line2", "city", "region",
    "postal_code", "country",
)  # fmt: skip
OTHER_COLUMNS: Final = ("external_ref", "customer", "class", "reference", "format", "expires_at")
COLUMNS: Final = (*OTHER_COLUMNS, *VALUE_COLUMNS)
METADATA: Final = "metadata."
DELIMITERS: Final = (",", ";", "\t", "|")
_METADATA_NAME: Final = re.compile(r"metadata\.\S{1,40}")
_MAX_FILE: Final = 64 * 1024


class _File(msgspec.Struct, forbid_unknown_fields=True):
    columns: dict[str, str] = {}
    constants: dict[str, str] = {}
    classes: dict[str, str] = {}
    delimiter: str | None = None
    encoding: str | None = None
    drop: list[str] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMapping:
    """What a mapping file says; empty where there is none."""

    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    delimiter: str | None = None
    encoding: str = "utf-8"
    drop: frozenset[str] = frozenset()

    def theirs(self, column: str) -> str:
        """What the export calls our column."""
        return self.columns.get(column, column)

    def data_class(self, word: str) -> DataClass | None:
        """The class that a word of the export stands for."""
        name = self.classes.get(word.strip().casefold(), word.strip())
        return DataClass(name) if name in DataClass.__members__.values() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The columns of a CSV file.

    Attributes:
        names: the header as it stands.
        delimiter: between cells.
        places: our column -> index.
        forbidden: index -> name of columns that may hold nothing.
        dropped: indexes of columns that are not passed through.
    """

    names: tuple[str, ...]
    delimiter: str
    places: Mapping[str, int]
    forbidden: Mapping[int, str]
    dropped: frozenset[int] = frozenset()

    @property
    def hidden(self) -> frozenset[int]:
        """Indexes of columns whose content does not come out again."""
        values = {self.places[name] for name in VALUE_COLUMNS if name in self.places}
        return frozenset(values | self.dropped | self.forbidden.keys())


def load(path: Path | None, *, delimiter: str | None, encoding: str | None) -> ColumnMapping:
    """The mapping of a file; options win over it.

    Raises:
        Failed: the file cannot be read, or says something unknown.
    """
    file = _File() if path is None else _read(path)
    encoding = encoding or file.encoding or "utf-8"
    delimiter = delimiter or file.delimiter
    problems = [
        *(
            f"[columns] names {name}, which is no column"
            for name in file.columns
            if not _ours(name)
        ),
        *(
            f"[constants] names {name}, which is no column"
            for name in file.constants
            if not _ours(name)
        ),
        *(
            "[classes] names a class that there is not"
            for name in file.classes.values()
            if name not in DataClass.__members__.values()
        ),
    ]
    if encoding.lower() not in ENCODINGS:
        problems.append(f"the encoding must be one of {', '.join(ENCODINGS)}")
    if delimiter is not None and delimiter not in DELIMITERS:
        problems.append("the delimiter must be a comma, a semicolon, a tab or a bar")
    if "number" in file.constants:
        # It would be a mistake, and a card number in a file that nobody guards.
        problems.append("[constants] cannot give every record the same number")
    if problems:
        raise Failed("; ".join(problems), code="mapping_invalid", exit_code=ExitCode.USAGE)
    return ColumnMapping(
        columns=file.columns,
        constants=file.constants,
        classes={word.strip().casefold(): name for word, name in file.classes.items()},
        delimiter=delimiter,
        encoding=encoding.lower(),
        drop=frozenset(name.strip().casefold() for name in file.drop),
    )


def _read(path: Path) -> _File:
    try:
        with path.open("rb") as stream:
            return msgspec.convert(tomllib.loads(stream.read(_MAX_FILE).decode()), _File)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise Failed(
            f"{path} is not a mapping file",
            code="mapping_invalid",
            exit_code=ExitCode.USAGE,
            hint="it has the tables columns, constants and classes, and delimiter and encoding",
        ) from error


def _ours(name: str) -> bool:
    return name in COLUMNS or _METADATA_NAME.fullmatch(name) is not None


def read_header(line: str, mapping: ColumnMapping) -> Header:
    """The header of a CSV file.

    Raises:
        Failed: columns are missing or stand twice. The header is not repeated: of a file without
            one it would be a customer's data.
    """
    tried = [mapping.delimiter] if mapping.delimiter is not None else list(DELIMITERS)
    best: Header | None = None
    for delimiter in tried:
        found = _header(line, delimiter, mapping)
        if found is not None and (best is None or len(found.places) > len(best.places)):
            best = found
    known = {*(best.places if best is not None else ()), *mapping.constants}
    missing = []
    if "external_ref" not in known and "customer" not in known:
        missing.append(mapping.theirs("external_ref"))
    if "class" not in known:
        missing.append(mapping.theirs("class"))
    if not known & set(VALUE_COLUMNS):
        missing.append(f"{mapping.theirs('number')} or {mapping.theirs('value')}")
    if best is None or missing:
        raise Failed(
            f"the header lacks columns: {', '.join(missing)}",
            code="columns_missing",
            exit_code=ExitCode.USAGE,
            hint="the first line names the columns; --mapping FILE says what yours are called",
        )
    return best


def _header(line: str, delimiter: str, mapping: ColumnMapping) -> Header | None:
    try:
        rows = list(csv.reader(io.StringIO(line, newline=""), delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    if len(rows) != 1:
        return None
    names = tuple(name.strip() for name in rows[0])
    folded = [name.casefold() for name in names]
    forbidden = {place: name for place, name in enumerate(names) if is_forbidden(name)}
    places: dict[str, int] = {}
    wanted = {*COLUMNS, *mapping.columns, *(name for name in folded if name.startswith(METADATA))}
    for ours in sorted(wanted):
        theirs = mapping.theirs(ours).strip().casefold()
        if folded.count(theirs) > 1:
            raise Failed(
                f"the header has the column {mapping.theirs(ours)} twice",
                code="columns_repeated",
                exit_code=ExitCode.USAGE,
            )
        if theirs in mapping.drop:
            continue
        if theirs in folded and folded.index(theirs) not in forbidden:
            places[ours] = folded.index(theirs)
    _check_mapped(mapping, places)
    dropped = frozenset(place for place, name in enumerate(folded) if name in mapping.drop)
    return Header(
        names=names, delimiter=delimiter, places=places, forbidden=forbidden, dropped=dropped
    )


def _check_mapped(mapping: ColumnMapping, places: Mapping[str, int]) -> None:
    """Return if no two of our columns are the same one of theirs.

    Raises:
        Failed: they are.
    """
    by_place: dict[int, str] = {}
    for ours, place in places.items():
        if place in by_place:
            raise Failed(
                f"the mapping takes {ours} and {by_place[place]} from one column",
                code="mapping_invalid",
                exit_code=ExitCode.USAGE,
            )
        by_place[place] = ours
    both = [name for name in mapping.constants if name in places]
    if both:
        raise Failed(
            f"{both[0]} is a constant and a column at once",
            code="mapping_invalid",
            exit_code=ExitCode.USAGE,
        )


def is_forbidden(name: str) -> bool:
    """Whether a column's name says verification code, track or PIN."""
    try:
        check_forbidden_fields({name: ""})
    except InvalidInput:
        return True
    return False


def added_names(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Names for columns of ours that do not collide with theirs."""
    taken = {name.casefold() for name in names}
    return [name if name not in taken else f"vault_{name}" for name in wanted]
