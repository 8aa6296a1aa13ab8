"""A billing system's export with made-up customers, for a first run, for trying out and for tests.

`generate` makes customers, `write` puts them into two files of the same content, which
`vault-service import` reads. Nothing here is a secret or about a real person: card numbers are the
published test numbers (`sample_cards`), telephone numbers are the examples of `phonenumbers`, names
and addresses are put together from common words (`sample_locales`), e-mail addresses are at domains
that are reserved for examples (RFC 2606, RFC 6761).

`billing-export.csv`: UTF-8, comma-separated, quoted as RFC 4180 has it, one header line, then one
line for each record of a customer. Every line has every column; those that its class does not use
are empty.

    external_ref   the billing system's own reference of the customer; equal for its records
    class          payment_card, telephone, business_name, contact_name, email_address or
                   postal_address
    number         payment_card: the number; telephone given in national form: that form
    exp_month      payment_card: 1 to 12
    exp_year       payment_card: four digits
    name           payment_card: the holder's name, or empty
    value          telephone in international form, business_name, contact_name, email_address
    line1 line2 city region postal_code country
                   postal_address; country also beside a telephone's `number`, as its region
    reference      the billing system's own reference of the record; unique in the file

`customers.jsonl`: UTF-8, one JSON object on each line, for each record of a customer:
`{"external_ref", "class", "value", "reference"}`, where `value` is what `POST /v1/tokens` takes.

The same seed and number of customers give the same bytes, on every machine and in every year: a
second load finds every record already there.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import phonenumbers

from vault_service.cli import sample_cards, sample_locales
from vault_service.cli.sample_locales import Locale
from vault_service.domain.classes import DataClass

CUSTOMERS = 1000
SEED = 1998
MOST_RECORDS = 5

CSV_NAME = "billing-export.csv"
JSONL_NAME = "customers.jsonl"

COLUMNS = (
    "external_ref",
    "class",
    "number",
    "exp_month",
    "exp_year",
    "name",
    "value",
    "line1",
    "line2",
    "city",
    "region",
    "postal_code",
    "country",
    "reference",
)

# Fixed years: were they counted from today, a start in the next year would load every card again
# as a renewed one. They are neither expired nor too far ahead from 2019 until the end of 2034.
_EXPIRY_YEARS = range(2035, 2050)

_CLASSES = (
    DataClass.PAYMENT_CARD,
    DataClass.TELEPHONE,
    DataClass.BUSINESS_NAME,
    DataClass.CONTACT_NAME,
    DataClass.EMAIL_ADDRESS,
    DataClass.POSTAL_ADDRESS,
)
_DOMAINS = (
    "example.com",
    "example.org",
    "example.net",
    "mail.example",
    "bücher.example",
    "почта.example",
    "例え.example",
)
_MAILBOXES = ("billing", "office", "hello", "accounts+invoices", "O.Brien", "first.last", "søren")

# As people type card numbers: run together, or in groups of four.
_SEPARATORS = ("", " ", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRecord:
    """One record: its class, what `POST /v1/tokens` takes as `value`, and a reference."""

    data_class: DataClass
    value: str | dict[str, str | int]
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCustomer:
    """One customer with 1 to 5 records."""

    external_ref: str
    records: tuple[SampleRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What `write` wrote."""

    csv_path: Path
    jsonl_path: Path
    customers: int
    records: int


def generate(customers: int = CUSTOMERS, seed: int = SEED) -> Iterator[SampleCustomer]:
    """That many customers; the first n of more customers are the same n."""
    chance = random.Random(f"sample/{seed}")  # noqa: S311 -- repeatable on purpose, guards nothing
    maker = _Maker(chance)
    for index in range(1, customers + 1):
        reference = f"crm-{index:06d}"
        locale = chance.choice(sample_locales.LOCALES)
        # Sorting by drawn numbers keeps its meaning in every version of Python; shuffle need not.
        order = sorted(_CLASSES, key=lambda _: chance.random())
        count = chance.randint(1, MOST_RECORDS)
        yield SampleCustomer(
            external_ref=reference,
            records=tuple(
                SampleRecord(
                    data_class=data_class,
                    value=maker.value(data_class, locale),
                    reference=f"{reference}-{place}",
                )
                for place, data_class in enumerate(order[:count], 1)
            ),
        )


class _Maker:
    """Makes values; every published number and every region comes up before one comes again."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._cards = cycle(sample_cards.NUMBERS)
        self._telephones = cycle(tuple(_telephones()))

    def value(self, data_class: DataClass, locale: Locale) -> str | dict[str, str | int]:
        if data_class is DataClass.PAYMENT_CARD:
            return self._card(locale)
        if data_class is DataClass.TELEPHONE:
            return self._telephone()
        if data_class is DataClass.BUSINESS_NAME:
            return locale.business.format(
                stem=self._word(locale.stems), trade=self._word(locale.trades)
            )
        if data_class is DataClass.CONTACT_NAME:
            return self._contact(locale)
        if data_class is DataClass.EMAIL_ADDRESS:
            mailbox = self._chance.choice(_MAILBOXES)
            number = self._chance.randint(1, 9999)
            return f"{mailbox}.{number}@{self._chance.choice(_DOMAINS)}"
        return self._address(locale)

    def _word(self, words: str) -> str:
        return self._chance.choice(words.split("|"))

    def _contact(self, locale: Locale) -> str:
        return locale.contact.format(
            given=self._word(locale.given), family=self._word(locale.family)
        )

    def _card(self, locale: Locale) -> dict[str, str | int]:
        digits = next(self._cards)
        separator = self._chance.choice(_SEPARATORS)
        card: dict[str, str | int] = {
            "number": separator.join(digits[at : at + 4] for at in range(0, len(digits), 4)),
            "exp_month": self._chance.randint(1, 12),
            "exp_year": self._chance.choice(_EXPIRY_YEARS),
        }
        if self._chance.random() < 0.7:
            card["name"] = self._contact(locale)
        return card

    def _telephone(self) -> str | dict[str, str | int]:
        number, region = next(self._telephones)
        forms = phonenumbers.PhoneNumberFormat
        # One in four as people of the country write it.
        if self._chance.random() < 0.25:
            return {"number": phonenumbers.format_number(number, forms.NATIONAL), "region": region}
        form = self._chance.choice((forms.INTERNATIONAL, forms.E164))
        return phonenumbers.format_number(number, form)

    def _address(self, locale: Locale) -> dict[str, str | int]:
        city, postal_code, region = (*self._word(locale.cities).split("/"), "")[:3]
        address: dict[str, str | int] = {
            "line1": locale.line.format(
                street=self._word(locale.streets), number=self._chance.randint(1, 250)
            ),
            "city": city,
            "postal_code": postal_code,
            "country": locale.country,
        }
        if self._chance.random() < 0.2:
            address["line2"] = f"c/o {self._contact(locale)}"
        if region:
            address["region"] = region
        return address


def _telephones() -> Iterator[tuple[phonenumbers.PhoneNumber, str]]:
    """The example number of each region, then the mobile example of each that has one."""
    regions = sorted(phonenumbers.SUPPORTED_REGIONS)
    types = phonenumbers.PhoneNumberType
    for kind in (types.FIXED_LINE, types.MOBILE):
        for region in regions:
            number = phonenumbers.example_number_for_type(region, kind)
            if number is not None:
                yield number, region


def csv_row(customer: SampleCustomer, record: SampleRecord) -> dict[str, str]:
    """One record in the columns of the export."""
    row = dict.fromkeys(COLUMNS, "")
    row["external_ref"] = customer.external_ref
    row["class"] = record.data_class.value
    row["reference"] = record.reference
    if isinstance(record.value, str):
        row["value"] = record.value
    else:
        for name, value in record.value.items():
            # A telephone's region shares the column of an address's country: both are ISO 3166.
            telephone = record.data_class is DataClass.TELEPHONE
            row["country" if telephone and name == "region" else name] = str(value)
    return row


def json_row(customer: SampleCustomer, record: SampleRecord) -> dict[str, object]:
    """One record as a line of `customers.jsonl`."""
    return {
        "external_ref": customer.external_ref,
        "class": record.data_class.value,
        "value": record.value,
        "reference": record.reference,
    }


def write(customers: Iterable[SampleCustomer], folder: Path) -> Written:
    """Write both files into the folder, which is made if need be, and say what was written.

    Raises:
        OSError: the folder or a file in it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    csv_path, jsonl_path = folder / CSV_NAME, folder / JSONL_NAME
    people = records = 0
    with (
        csv_path.open("w", encoding="utf-8", newline="") as table,
        jsonl_path.open("w", encoding="utf-8", newline="\n") as lines,
    ):
        export = csv.DictWriter(table, COLUMNS, lineterminator="\r\n")
        export.writeheader()
        for customer in customers:
            people += 1
            for record in customer.records:
                records += 1
                export.writerow(csv_row(customer, record))
                lines.write(json.dumps(json_row(customer, record), ensure_ascii=False) + "\n")
    return Written(csv_path=csv_path, jsonl_path=jsonl_path, customers=people, records=records)


def main(arguments: Sequence[str] | None = None) -> int:
    """What `scripts/sample` runs; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/sample", description="Write a billing export with made-up customers."
    )
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="folder to write into")
    parser.add_argument("--customers", type=int, default=CUSTOMERS, metavar="N")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N")
    options = parser.parse_args(arguments)
    if options.customers < 1:
        parser.error("--customers must be at least 1")
    try:
        written = write(generate(options.customers, options.seed), options.out_dir)
    except OSError as error:
        parser.error(f"cannot write to {options.out_dir}: {error.strerror}")
    sys.stdout.write(
        f"{written.customers} customers, {written.records} records\n"
        f"{written.csv_path}\n{written.jsonl_path}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
