"""Columns, mapping files, and what becomes of a record before it is sent."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from vault_service.cli import import_mapping
from vault_service.cli.exits import Failed
from vault_service.cli.import_lines import Record
from vault_service.cli.import_mapping import ColumnMapping, read_header
from vault_service.cli.import_rows import CsvForm, Form, JsonForm, Refused, Row
from vault_service.cli.sample_data import COLUMNS, csv_row, generate
from vault_service.client.models import Token

CARD = "4242424242424242"
HEAD = ",".join(COLUMNS)


def record(*cells: str) -> Record:
    """A record with these cells."""
    return Record(line=2, end=1, next_line=3, cells=list(cells))


def csv_form(head: str = HEAD, mapping: ColumnMapping | None = None, **more: Any) -> CsvForm:
    """A CSV form with this header."""
    mapping = mapping or ColumnMapping()
    return CsvForm(read_header(head, mapping), mapping, masks=more.get("masks", False))


def json_form(**more: Any) -> JsonForm:
    """A JSONL form."""
    return JsonForm(ColumnMapping(**more), masks=False)


def cells(**given: str) -> list[str]:
    """A record's cells in the order of the sample's header."""
    return [given.get(name.rstrip("_"), given.get(f"{name}_", "")) for name in COLUMNS]


def token(data_class: str = "payment_card") -> Token:
    """A token as the service answers."""
    return Token(
        id="tok_1",
        data_class=data_class,
        customer="cus_1",
        mask={"number": "4242********4242"},
        format="opaque",
        version=1,
        deduplicated=False,
        created_at="2030-01-01T00:00:00Z",  # type: ignore[arg-type]
    )


def refusal(form: Form, *given: str) -> tuple[str, str]:
    """Code and column of a refusal."""
    with pytest.raises(Refused) as caught:
        form.row(record(*given))
    assert CARD not in repr(caught.value.reason)
    return caught.value.reason.code, caught.value.reason.column


def out(form: CsvForm, row: Row, made: Token) -> dict[str, str]:
    """A line of the output by column."""
    text = form.head() + form.line(row, made)
    (line,) = csv.DictReader(io.StringIO(text, newline=""))
    return line


def test_a_card_becomes_an_object_and_comes_out_as_a_token() -> None:
    """Number, expiry and name are sent; the output has the token and none of them."""
    form = csv_form(masks=True)
    given = cells(
        external_ref="crm-1",
        class_="payment_card",
        number=CARD,
        exp_month="07",
        exp_year="2035",
        name="A. Customer",
        reference="r-1",
    )
    row = form.row(record(*given))
    assert row.item == {
        "class": "payment_card",
        "value": {"number": CARD, "exp_month": 7, "exp_year": 2035, "name": "A. Customer"},
        "reference": "r-1",
    }
    line = out(form, row, token())
    assert line["number"] == line["token"] == "tok_1"
    assert line["customer"] == "cus_1"
    assert line["reference"] == "r-1"
    assert json.loads(line["mask"]) == token().mask
    assert (line["exp_month"], line["exp_year"], line["name"]) == ("", "", "")
    assert CARD not in repr(row)


def test_every_record_of_the_sample_is_sent_as_it_was_made() -> None:
    """The sample's CSV reads back to the values that it was written from."""
    form = csv_form()
    for customer in generate(200):
        for made in customer.records:
            row = form.row(record(*csv_row(customer, made).values()))
            assert row.item["value"] == made.value
            assert row.external_ref == customer.external_ref
            line = out(form, row, token(made.data_class))
            assert line["token"] == "tok_1"
            parts = [made.value] if isinstance(made.value, str) else made.value.values()
            assert not {str(part) for part in parts} & set(line.values())


@pytest.mark.parametrize("name", ["cvc", "CVV2", "Card Security Code", "track2", "pin", "c.v.c"])
def test_a1_a_verification_code_column_is_refused_by_name(name: str) -> None:
    """A record with something in such a column is refused; an empty cell is no code."""
    form = csv_form(f"external_ref,class,value,{name}")
    assert refusal(form, "crm-1", "business_name", "Shop", "123") == (
        "sensitive_authentication_data",
        name,
    )
    row = form.row(record("crm-1", "business_name", "Shop", ""))
    assert out(form, row, token())[name] == ""


def test_a1_no_mapping_makes_a_verification_code_a_number() -> None:
    """A mapping file cannot have such a column read."""
    mapping = ColumnMapping(columns={"value": "cvc"})
    with pytest.raises(Failed) as caught:
        read_header("external_ref,class,cvc", mapping)
    assert caught.value.code == "columns_missing"
    form = JsonForm(mapping, masks=False)
    line = json.dumps({"external_ref": "a", "class": "business_name", "cvc": "123"})
    assert refusal(form, line) == ("sensitive_authentication_data", "/cvc")


def test_a2_a_card_number_does_not_pass_through() -> None:
    """A card number in a column that is not read is refused, and the column is named."""
    form = csv_form("external_ref,class,value,Notes")
    given = ("crm-1", "business_name", "Shop", f"paid with {CARD}")
    assert refusal(form, *given) == ("card_number_not_allowed_here", "Notes")
    line = {"external_ref": "a", "class": "business_name", "value": "S", "notes": [int(CARD)]}
    assert refusal(json_form(), json.dumps(line)) == ("card_number_not_allowed_here", "/notes")


def test_dropped_columns_come_out_empty() -> None:
    """What the mapping drops is neither looked at nor written."""
    form = csv_form("external_ref,class,value,Notes", ColumnMapping(drop=frozenset({"notes"})))
    row = form.row(record("crm-1", "business_name", "Shop", CARD))
    assert out(form, row, token())["Notes"] == ""
    line = {"external_ref": "a", "class": "business_name", "value": "S", "Notes": CARD}
    kept = JsonForm(ColumnMapping(drop=frozenset({"notes"})), masks=False)
    assert CARD not in kept.line(kept.row(record(json.dumps(line))), token())


@pytest.mark.parametrize(
    ("given", "code", "column"),
    [
        (cells(class_="telephone", value="+49"), "external_ref_missing", "external_ref"),
        (cells(external_ref="a", class_="phone", value="+49"), "class_unknown", "class"),
        (cells(external_ref="a", class_="activity_log", value="x"), "class_unknown", "class"),
        (cells(external_ref="a", class_="telephone"), "value_missing", "number"),
        (cells(external_ref="a", class_="payment_card"), "value_missing", "number"),
        (
            cells(external_ref="a", class_="telephone", value="1", number="2"),
            "value_ambiguous",
            "value",
        ),
        (
            cells(external_ref="a", class_="business_name", value="S", line1="Street 1"),
            "column_not_of_class",
            "line1",
        ),
        (
            cells(external_ref="a", class_="payment_card", number=CARD, exp_month="July"),
            "integer_expected",
            "exp_month",
        ),
        (["a", "b"], "columns_differ", ""),
        ([*cells(), "more"], "columns_differ", ""),
    ],
)
def test_a_record_that_cannot_be_sent_names_its_column(
    given: list[str], code: str, column: str
) -> None:
    """What is wrong is told by code and column, never by content."""
    assert refusal(csv_form(), *given) == (code, column)


def test_a_mapping_renames_translates_and_fills_in(tmp_path: Path) -> None:
    """Their columns, their words, and what is the same for all records."""
    file = tmp_path / "map.toml"
    file.write_text(
        'delimiter = ";"\n[columns]\nexternal_ref = "Kundennr"\nnumber = "Nummer"\nclass = "Art"\n'
        '[constants]\ncountry = "DE"\n[classes]\nTelefon = "telephone"\n',
        encoding="utf-8",
    )
    mapping = import_mapping.load(file, delimiter=None, encoding=None)
    form = csv_form("Kundennr;Art;Nummer", mapping)
    row = form.row(record("17", "TELEFON", "030 901820"))
    assert row.external_ref == "17"
    assert row.item["value"] == {"number": "030 901820", "region": "DE"}
    assert form.column("/value/region", "telephone") == "/value/region"
    assert form.column("/value/number", "telephone") == "Nummer"
    assert form.column("/customer") == "Kundennr"


@pytest.mark.parametrize(
    "text",
    [
        "columns = 1",
        "[columns]\nnonsense = 'x'",
        "[constants]\nnumber = '4242424242424242'",
        "[constants]\nnonsense = 'x'",
        "[classes]\ncard = 'card'",
        "delimiter = 'x'",
        "encoding = 'utf-16'",
        "[unknown]",
        "not toml",
    ],
)
def test_a_wrong_mapping_is_refused_whole(tmp_path: Path, text: str) -> None:
    """A mapping that says something unknown is not followed in part."""
    file = tmp_path / "map.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Failed) as caught:
        import_mapping.load(file, delimiter=None, encoding=None)
    assert caught.value.code == "mapping_invalid"
    assert CARD not in caught.value.detail


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_header_tells_the_delimiter(delimiter: str) -> None:
    """The delimiter with which the header makes sense is taken."""
    header = read_header(delimiter.join(COLUMNS), ColumnMapping())
    assert header.delimiter == delimiter
    assert set(header.places) == set(COLUMNS)


def test_a_header_is_read_in_any_case() -> None:
    """`External_Ref ` is external_ref."""
    assert read_header(" External_Ref,CLASS,Value ", ColumnMapping()).places == {
        "external_ref": 0,
        "class": 1,
        "value": 2,
    }


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (f"crm-1,payment_card,{CARD}", "columns_missing"),
        ("external_ref,value", "columns_missing"),
        ("external_ref,class", "columns_missing"),
        ("external_ref,class,value,Value", "columns_repeated"),
        ('"open', "columns_missing"),
    ],
)
def test_a_header_that_is_none_is_not_repeated(head: str, code: str) -> None:
    """A file without a header is refused, and its first customer is not shown."""
    with pytest.raises(Failed) as caught:
        read_header(head, ColumnMapping())
    assert caught.value.code == code
    assert CARD not in caught.value.detail


def test_columns_of_ours_do_not_collide_with_theirs() -> None:
    """An export that has a column `token` keeps it."""
    form = csv_form("external_ref,class,value,token")
    row = form.row(record("a", "business_name", "Shop", "their own"))
    line = out(form, row, token())
    assert (line["token"], line["vault_token"]) == ("their own", "tok_1")


def test_metadata_columns_are_collected() -> None:
    """`metadata.plan` becomes metadata."""
    form = csv_form("external_ref,class,value,metadata.plan")
    row = form.row(record("a", "business_name", "Shop", "gold"))
    assert row.item["metadata"] == {"plan": "gold"}


def test_a_json_line_is_sent_as_the_interface_has_it() -> None:
    """`value` may be a text, an object, or spread over members like columns."""
    form = json_form()
    whole = {"number": CARD, "exp_month": 12, "exp_year": 2035}
    line = {"external_ref": "a", "class": "payment_card", "value": whole, "reference": "r"}
    row = form.row(record(json.dumps(line)))
    assert row.item == {"class": "payment_card", "value": whole, "reference": "r"}
    assert json.loads(form.line(row, token())) == {
        "external_ref": "a",
        "class": "payment_card",
        "reference": "r",
        "value": "tok_1",
        "token": "tok_1",
        "customer": "cus_1",
    }
    spread = {"external_ref": "a", "class": "payment_card", **whole, "metadata": {"plan": "g"}}
    row = form.row(record(json.dumps(spread)))
    assert row.item == {"class": "payment_card", "value": whole, "metadata": {"plan": "g"}}
    assert CARD not in form.line(row, token())


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{", "json_invalid"),
        ("[]", "object_expected"),
        ('"x"', "object_expected"),
        ('{"value":1,"value":2}', "member_repeated"),
        ('{"value":{"number":1,"number":2}}', "member_repeated"),
        ('{"value":NaN}', "json_invalid"),
        ('{"value":99999999999999999999}', "number_out_of_range"),
        ('{"value":"\\ud800"}', "json_invalid"),
        ("[" * 100_000, "json_invalid"),
        ('{"class":"telephone","value":"x"}', "external_ref_missing"),
        ('{"external_ref":7,"class":"telephone","value":"x"}', "string_expected"),
        ('{"external_ref":"a","class":7,"value":"x"}', "class_unknown"),
        ('{"external_ref":"a","class":"telephone"}', "value_missing"),
        ('{"external_ref":"a","class":"payment_card","value":{"CVC":"1"}}',
         "sensitive_authentication_data"),
        ('{"external_ref":"a","class":"payment_card","value":{},"number":"1"}',
         "value_ambiguous"),
    ],
)  # fmt: skip
def test_a_json_line_that_cannot_be_sent_is_refused(line: str, code: str) -> None:
    """What two readers would read differently is refused before it is sent."""
    assert refusal(json_form(), line)[0] == code
