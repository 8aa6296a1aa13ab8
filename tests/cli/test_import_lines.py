"""Records of an export: every byte sequence has its places, and spoils at most its own record."""

from __future__ import annotations

import csv
import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vault_service.cli.import_lines import (
    MAX_RECORD,
    Lines,
    Record,
    Spoiled,
    csv_records,
    is_wide,
    json_lines,
)


def read(data: bytes, *, encoding: str = "utf-8") -> list[Record | Spoiled]:
    """The records of a CSV file."""
    return list(csv_records(Lines(io.BytesIO(data)), delimiter=",", encoding=encoding))


def told(data: bytes, *, encoding: str = "utf-8") -> list[object]:
    """Cells of good records, code of bad ones, with their lines."""
    return [
        (each.line, each.cells if isinstance(each, Record) else each.reason.code)
        for each in read(data, encoding=encoding)
    ]


def test_plain_records_have_lines_and_places() -> None:
    """Each record knows the line where it begins and the byte and line after it."""
    records = read(b"a,b\r\nc,d\n\ne,f")
    assert [(each.line, each.end, each.next_line) for each in records] == [
        (1, 5, 2),
        (2, 9, 3),
        (4, 13, 5),
    ]


def test_a_byte_order_mark_is_no_text() -> None:
    """The mark that Excel writes does not belong to the first column's name."""
    assert told(b"\xef\xbb\xbfa,b\n") == [(1, ["a", "b"])]


def test_quoted_cells_hold_commas_quotes_and_line_breaks() -> None:
    """RFC 4180: what stands in quotes is one cell, over several lines too."""
    assert told(b'"a,1","say ""hi""","x\r\ny"\nb,c,d\n') == [
        (1, ["a,1", 'say "hi"', "x\r\ny"]),
        (3, ["b", "c", "d"]),
    ]


def test_a_quote_inside_of_a_cell_is_a_character() -> None:
    """Inches and nicknames do not open a quoted cell."""
    assert told(b'5" pipe,b\nc,d\n') == [(1, ['5" pipe', "b"]), (2, ["c", "d"])]


def test_an_open_quote_spoils_its_line_only() -> None:
    """A quote that is never closed does not swallow the rest of the file."""
    assert told(b'a,"b\nc,d\ne,f\n') == [(1, "quote_unclosed"), (2, ["c", "d"]), (3, ["e", "f"])]


def test_two_stray_quotes_spoil_their_lines_only() -> None:
    """Where a stray quote is closed by another one, reading begins again after the first line."""
    assert told(b'a,"b\nc,"d"\ne,f\n') == [(1, "csv_malformed"), (2, ["c", "d"]), (3, ["e", "f"])]


def test_broken_utf8_spoils_its_record() -> None:
    """Other records are read; the bad one is not guessed at."""
    assert told(b"a,\xff\nb,c\n") == [(1, "encoding_invalid"), (2, ["b", "c"])]


def test_other_encodings_are_read_when_named() -> None:
    """An export of Windows is read as what it is."""
    assert told(b"a,\x80\xfc\n", encoding="cp1252") == [(1, ["a", "€ü"])]


def test_a_nul_spoils_its_record() -> None:
    """NULs are no text."""
    assert told(b"a,\x00\nb,c\n") == [(1, "nul_byte"), (2, ["b", "c"])]


def test_a_carriage_return_alone_is_no_line_break() -> None:
    """Readers differ on it, so it is refused outside of quotes."""
    assert told(b"a,b\rc,d\ne,f\n") == [(1, "csv_malformed"), (2, ["e", "f"])]


def test_an_endless_line_spoils_itself_only() -> None:
    """A line beyond the limit is skipped without being held."""
    data = b"x" * (MAX_RECORD + 200_000) + b"\nb,c\n"
    assert told(data) == [(1, "line_too_long"), (2, ["b", "c"])]
    assert told(b"x" * (MAX_RECORD + 1)) == [(1, "line_too_long")]
    assert told(b'"' + b"x\n" * MAX_RECORD)[0] == (1, "quote_unclosed")


def test_utf16_is_known_by_its_mark() -> None:
    """A file of two-byte characters is told apart before it is read as rubbish."""
    assert is_wide("a".encode("utf-16"))
    assert not is_wide(b"\xef\xbb\xbfa")


def test_json_lines_are_one_cell_each() -> None:
    """Lines of JSON are records; blank ones are passed over."""
    lines = list(json_lines(Lines(io.BytesIO(b'{"a":1}\n\n  \n{"b":2}\n\xff\n')), encoding="utf-8"))
    assert [(each.line, each.end) for each in lines] == [(1, 8), (4, 20), (5, 22)]
    assert isinstance(lines[2], Spoiled)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A hundred thousand lines take as much memory as a hundred."""
    file = tmp_path / "big.csv"
    with file.open("wb") as stream:
        for number in range(100_000):
            stream.write(b"crm-%d,business_name,,Shop\r\n" % number)
    tracemalloc.start()
    with file.open("rb") as stream:
        count = sum(1 for _ in csv_records(Lines(stream), delimiter=",", encoding="utf-8"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 100_000
    assert peak < 2_000_000


_cells = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=12)


@given(st.lists(st.lists(_cells, min_size=2, max_size=4), max_size=8), st.booleans())
def test_what_a_writer_wrote_is_read(rows: list[list[str]], crlf: bool) -> None:  # noqa: FBT001
    """Any table that was written by the rules is read back, record by record."""
    buffer = io.StringIO(newline="")
    end = "\r\n" if crlf else "\n"
    csv.writer(buffer, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    found = read(buffer.getvalue().encode())
    assert [each.cells for each in found if isinstance(each, Record)] == rows
    assert len(found) == len(rows)


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.text('a,"\n\r', max_size=60).map(str.encode))
def test_any_bytes_are_read_to_their_end(data: bytes) -> None:
    """Whatever the bytes are: no crash, places ascend, and reading again from any place agrees."""
    found = read(data)
    ends = [each.end for each in found]
    assert ends == sorted(set(ends))
    assert all(end <= len(data) for end in ends)
    for index, each in enumerate(found):
        if each.next_line == 1:
            continue
        lines = Lines(io.BytesIO(data), offset=each.end, line=each.next_line)
        rest = list(csv_records(lines, delimiter=",", encoding="utf-8"))
        assert rest == found[index + 1 :]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters(delimiter: str) -> None:
    """Semicolons, tabs and bars part cells, also beside quotes."""
    data = delimiter.join(("a", '"b\nc"', "d")).encode() + b"\n"
    (record,) = csv_records(Lines(io.BytesIO(data)), delimiter=delimiter, encoding="utf-8")
    assert isinstance(record, Record)
    assert record.cells == ["a", "b\nc", "d"]
