# ruff: noqa: RUF001 -- the sample has names in many scripts
"""The sample: real public material, the same every time."""

from __future__ import annotations

import csv
import json
import subprocess
import unicodedata
from datetime import date
from pathlib import Path

import phonenumbers
import pytest

from vault_service.cli import sample_cards, sample_data
from vault_service.domain import values
from vault_service.domain.brands import brand_of
from vault_service.domain.classes import DataClass

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "sample"


@pytest.fixture(scope="module")
def customers() -> list[sample_data.SampleCustomer]:
    """The sample of a first run."""
    return list(sample_data.generate())


def records(
    customers: list[sample_data.SampleCustomer], data_class: DataClass
) -> list[sample_data.SampleRecord]:
    """All records of a class."""
    return [r for c in customers for r in c.records if r.data_class is data_class]


def test_a_thousand_customers_with_one_to_five_records(
    customers: list[sample_data.SampleCustomer],
) -> None:
    """Each customer has its own reference, and each record one of its own."""
    assert len({c.external_ref for c in customers}) == 1000
    assert {len(c.records) for c in customers} == {1, 2, 3, 4, 5}
    references = [r.reference for c in customers for r in c.records]
    assert len(references) == len(set(references))


@pytest.mark.parametrize("today", [date(2026, 11, 23), date(2034, 12, 31)])
def test_every_record_is_a_good_value(
    customers: list[sample_data.SampleCustomer], today: date
) -> None:
    """The vault takes all of it, today and for years."""
    for customer in customers:
        for record in customer.records:
            values.parse(record.data_class, record.value, today=today)


def test_every_published_number_occurs(customers: list[sample_data.SampleCustomer]) -> None:
    """Every brand and length that publishes test numbers is in the sample."""
    numbers = set()
    for record in records(customers, DataClass.PAYMENT_CARD):
        assert isinstance(record.value, dict)
        numbers.add("".join(char for char in str(record.value["number"]) if char.isdigit()))
    assert numbers == set(sample_cards.NUMBERS)
    assert len({brand_of(number) for number in numbers}) == 17
    assert {len(number) for number in numbers} == set(range(13, 20))


def test_every_regions_telephone_occurs(customers: list[sample_data.SampleCustomer]) -> None:
    """The example number of every region is in the sample, some in national form."""
    seen = set()
    national = 0
    for record in records(customers, DataClass.TELEPHONE):
        national += isinstance(record.value, dict)
        seen.add(values.search_key(DataClass.TELEPHONE, record.value).decode())
    for region in phonenumbers.SUPPORTED_REGIONS:
        example = phonenumbers.example_number(region)
        assert example is not None
        assert phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164) in seen
    assert national > 50


def test_business_names_have_many_scripts(customers: list[sample_data.SampleCustomer]) -> None:
    """At least the scripts that the vault promises to keep occur among the names."""
    scripts = {
        unicodedata.name(char, "").split()[0]
        for record in records(customers, DataClass.BUSINESS_NAME)
        for char in str(record.value)
        if char.isalpha()
    }
    assert scripts >= {
        "LATIN", "CYRILLIC", "GREEK", "ARABIC", "HEBREW", "DEVANAGARI", "BENGALI", "TAMIL", "THAI",
        "KHMER", "GEORGIAN", "ARMENIAN", "ETHIOPIC", "CJK", "HIRAGANA", "KATAKANA", "HANGUL",
    }  # fmt: skip


def test_addresses_are_at_reserved_domains(customers: list[sample_data.SampleCustomer]) -> None:
    """No e-mail address of the sample can belong to anybody."""
    for record in records(customers, DataClass.EMAIL_ADDRESS):
        domain = str(record.value).rpartition("@")[2]
        assert domain in {"example.com", "example.org", "example.net"} or domain.endswith(
            ".example"
        )


def test_the_same_seed_gives_the_same_customers(
    customers: list[sample_data.SampleCustomer],
) -> None:
    """Fewer customers are the first of more; another seed gives others."""
    assert list(sample_data.generate(50)) == customers[:50]
    assert list(sample_data.generate(50, seed=2)) != customers[:50]


def test_the_sample_never_changes(tmp_path: Path) -> None:
    """The bytes are frozen, so that a second load finds every record already there."""
    written = sample_data.write(sample_data.generate(2), tmp_path)
    assert written.csv_path.read_bytes() == (
        b"external_ref,class,number,exp_month,exp_year,name,value,line1,line2,city,region,"
        b"postal_code,country,reference\r\n"
        b"crm-000001,telephone,,,,,+247 62889,,,,,,,crm-000001-1\r\n"
        + (
            "crm-000001,business_name,,,,,کتاب\u200cفروشی خورشید,,,,,,,crm-000001-2\r\n"
            "crm-000001,email_address,,,,,accounts+invoices.5601@example.org,,,,,,,crm-000001-3\r\n"
            "crm-000002,business_name,,,,,Ελαιοτριβείο Ωκεανός Α.Ε.,,,,,,,crm-000002-1\r\n"
        ).encode()
    )


def test_both_files_hold_the_same_records(tmp_path: Path) -> None:
    """Table and lines can be turned into each other."""
    written = sample_data.write(sample_data.generate(100), tmp_path / "new" / "folder")
    with written.csv_path.open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    lines = [json.loads(line) for line in written.jsonl_path.read_text("utf-8").splitlines()]
    assert written.customers == 100
    assert written.records == len(rows) == len(lines)
    assert tuple(rows[0]) == sample_data.COLUMNS
    for row, line in zip(rows, lines, strict=True):
        assert all(row[name] == line[name] for name in ("external_ref", "class", "reference"))
        value = line["value"]
        if isinstance(value, str):
            assert row["value"] == value
        elif line["class"] == "telephone":
            assert (row["number"], row["country"]) == (value["number"], value["region"])
        else:
            assert row["value"] == ""
            assert all(row[name] == str(part) for name, part in value.items())


def test_the_script_writes_the_files(tmp_path: Path) -> None:
    """`scripts/sample OUT_DIR` runs from anywhere and says what it wrote."""
    done = subprocess.run(
        [SCRIPT, tmp_path / "out", "--customers", "3", "--seed", "4"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("3 customers, ")
    assert (tmp_path / "out" / "billing-export.csv").is_file()
    assert (tmp_path / "out" / "customers.jsonl").is_file()


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong number and an unwritable folder end with a message, not with a traceback."""
    assert sample_data.main([str(tmp_path / "a"), "--customers", "2"]) == 0
    assert "2 customers, 4 records" in capsys.readouterr().out
    (tmp_path / "file").write_text("x")
    for wrong in (["x", "--customers", "0"], [str(tmp_path / "file")]):
        with pytest.raises(SystemExit) as ended:
            sample_data.main(wrong)
        assert ended.value.code == 2
    assert "cannot write" in capsys.readouterr().err
