"""Values: the one way in, and what comes out of it."""

from __future__ import annotations

import json
from datetime import date

import pytest

from vault_service.cli import sample_data
from vault_service.domain import values
from vault_service.domain.classes import DataClass, rule
from vault_service.errors import DisclosureRefused, InvalidInput

TODAY = date(2026, 11, 23)
CARD = {"number": "4242 4242 4242 4242", "exp_month": 2, "exp_year": 2030, "name": "A. Customer"}
ADDRESS = {"line1": "Lindenstr. 1", "city": "Köln", "postal_code": "50667", "country": "de"}

EXAMPLES: list[tuple[DataClass, object]] = [
    (DataClass.PAYMENT_CARD, CARD),
    (DataClass.TELEPHONE, "+49 30 901820"),
    (DataClass.TELEPHONE, {"number": "030 901820", "region": "DE"}),
    (DataClass.BUSINESS_NAME, "Köhler & Söhne GmbH"),
    (DataClass.CONTACT_NAME, "Zoë Ångström"),
    (DataClass.EMAIL_ADDRESS, "Zoe@BÜCHER.example"),
    (DataClass.POSTAL_ADDRESS, ADDRESS),
]

SERVICES: list[tuple[DataClass, object]] = [
    (DataClass.SERVICE_CHOICE, {"service": "hosting.basic", "since": "2026-11-25"}),
    (
        DataClass.SERVICE_CHOICE,
        {"service": "dsl", "since": "2026-11-25", "until": "2026-12-25", "details": "Ärger"},
    ),
]


def parse(data_class: DataClass, raw: object) -> values.Value:
    """A parsed value."""
    return values.parse(data_class, raw, today=TODAY)


def test_canonical_json_is_spelt_as_it_always_was() -> None:
    """Fingerprints of addresses are made of it: each character as Python's own encoder has it."""
    for start in range(0, 0x110000, 0x1000):
        points = (point for point in range(start, start + 0x1000) if point >> 11 != 0x1B)
        text = "".join(map(chr, points))  # without surrogates
        value = {"b": text, "a": [1, None, {"ü": "", text[:2]: -5}]}
        expected = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        assert values.canonical(value) == expected.encode()


@pytest.mark.parametrize(
    ("data_class", "raw", "revealed", "normalised", "mask"),
    [
        (
            DataClass.PAYMENT_CARD,
            CARD,
            {
                "number": "4242424242424242",
                "exp_month": 2,
                "exp_year": 2030,
                "name": "A. Customer",
            },
            "4242424242424242",
            {"number": "424242******4242", "brand": "visa", "exp_month": 2, "exp_year": 2030},
        ),
        (
            DataClass.TELEPHONE,
            "+49 30 901820",
            "+4930901820",
            "+4930901820",
            {"number": "+49******20", "country": "DE"},
        ),
        (
            DataClass.TELEPHONE,
            "+800 1234 5678",
            "+80012345678",
            "+80012345678",
            {"number": "+800******78"},
        ),
        (
            DataClass.BUSINESS_NAME,
            "Köhler & Söhne GmbH",
            "Köhler & Söhne GmbH",
            "köhler & söhne gmbh",
            {"name": "K*** *** S*** G***"},
        ),
        (
            DataClass.CONTACT_NAME,
            " Zoe\u0308  Ångström ",
            "Zoë  Ångström",
            "zoë ångström",
            {"name": "Z*** Å***"},
        ),
        (
            DataClass.EMAIL_ADDRESS,
            "Zoe@BÜCHER.example",
            "Zoe@bücher.example",
            "Zoe@xn--bcher-kva.example",
            {"address": "Z***@bücher.example"},
        ),
        (
            DataClass.POSTAL_ADDRESS,
            ADDRESS,
            {"line1": "Lindenstr. 1", "city": "Köln", "postal_code": "50667", "country": "DE"},
            '["lindenstr. 1","","köln","","50667","de"]',
            {"country": "DE", "postal_code": "50***"},
        ),
        (
            DataClass.POSTAL_ADDRESS,
            {"line1": "1 Sheikh Zayed Rd", "city": "Dubai", "country": "AE"},
            {"line1": "1 Sheikh Zayed Rd", "city": "Dubai", "country": "AE"},
            '["1 sheikh zayed rd","","dubai","","","ae"]',
            {"country": "AE"},
        ),
    ],
)
def test_what_becomes_of_a_value(
    data_class: DataClass,
    raw: object,
    revealed: object,
    normalised: str,
    mask: dict[str, object],
) -> None:
    """Sealed form, fingerprinted form and mask of each class, written out."""
    value = parse(data_class, raw)
    assert value.data_class is data_class
    assert json.loads(value.sealed) == revealed
    assert value.normalised == normalised.encode()
    assert value.mask == mask


def test_the_variant_of_a_card_is_its_expiry() -> None:
    """A renewed card keeps its fingerprint and gets a record of its own."""
    old, new = (
        parse(DataClass.PAYMENT_CARD, CARD),
        parse(DataClass.PAYMENT_CARD, {**CARD, "exp_year": 2033}),
    )
    assert old.normalised == new.normalised
    assert (old.variant, new.variant) == ("2030-02", "2033-02")
    assert (old.last_four, old.digits_length) == ("4242", 16)


@pytest.mark.parametrize(("data_class", "raw"), EXAMPLES[1:])
def test_other_classes_have_no_variant(data_class: DataClass, raw: object) -> None:
    """Only cards have a variant, last four digits and a length."""
    value = parse(data_class, raw)
    assert (value.variant, value.last_four, value.digits_length) == ("", None, None)


@pytest.mark.parametrize(("data_class", "raw"), EXAMPLES)
def test_a_value_shows_nothing_of_itself(data_class: DataClass, raw: object) -> None:
    """The repr names the class and holds nothing else."""
    assert repr(parse(data_class, raw)) == f"Value(data_class={data_class!r})"


@pytest.mark.parametrize(("data_class", "raw"), EXAMPLES)
def test_a_search_finds_what_was_stored(data_class: DataClass, raw: object) -> None:
    """The search key of a value is its normalised form."""
    assert values.search_key(data_class, raw) == parse(data_class, raw).normalised


@pytest.mark.parametrize(("data_class", "raw"), [*EXAMPLES, *SERVICES])
def test_what_was_sealed_has_the_same_normalised_form(data_class: DataClass, raw: object) -> None:
    """So that a class can be indexed anew from what is kept of it."""
    value = parse(data_class, raw)
    assert values.normalised(data_class, value.sealed) == value.normalised


def test_a_search_for_a_card_needs_no_expiry() -> None:
    """The number alone, as text or in an object, will do."""
    for raw in ("4242-4242-4242-4242", {"number": "4242424242424242"}, {**CARD, "exp_year": 1999}):
        assert values.search_key(DataClass.PAYMENT_CARD, raw) == b"4242424242424242"


@pytest.mark.parametrize(("data_class", "raw"), EXAMPLES)
def test_the_sealed_form_is_canonical(data_class: DataClass, raw: object) -> None:
    """Parsing what a reveal returns seals the same bytes again."""
    sealed = parse(data_class, raw).sealed
    assert values.canonical(json.loads(sealed)) == sealed
    assert parse(data_class, json.loads(sealed)).sealed == sealed


@pytest.mark.parametrize(
    "data_class",
    [c for c in DataClass if not rule(c).tokenizable and c is not DataClass.SERVICE_CHOICE],
    ids=lambda c: c.value,
)
def test_other_classes_are_not_kept_by_tokens(data_class: DataClass) -> None:
    """Logs and communications are refused here, for writing and for searching."""
    for call in (lambda: parse(data_class, "x"), lambda: values.search_key(data_class, "x")):
        with pytest.raises(InvalidInput) as caught:
            call()
        assert (caught.value.code, caught.value.pointer) == ("class_not_tokenizable", "/class")


@pytest.mark.parametrize(
    ("data_class", "raw"),
    [
        (DataClass.PAYMENT_CARD, {**CARD, "number": "4242 4242 4242 4241"}),
        (DataClass.TELEPHONE, "+49 30 1"),
        (DataClass.BUSINESS_NAME, "secret name\x00"),
        (DataClass.CONTACT_NAME, "secret name" * 100),
        (DataClass.EMAIL_ADDRESS, "secret name"),
        (DataClass.POSTAL_ADDRESS, {**ADDRESS, "country": "QQ"}),
    ],
)
def test_errors_point_at_the_place_and_repeat_nothing(data_class: DataClass, raw: object) -> None:
    """The pointer begins where the caller said; the text holds no part of the value."""
    with pytest.raises(InvalidInput) as caught:
        values.parse(data_class, raw, today=TODAY, pointer="/items/3/value")
    assert caught.value.pointer is not None
    assert caught.value.pointer.startswith("/items/3/value")
    for part in ("4242", "30 1", "secret", "QQ"):
        assert part not in f"{caught.value.detail} {caught.value.hint}"


# --- fields


SEALED = parse(DataClass.PAYMENT_CARD, CARD).sealed


@pytest.mark.parametrize(
    ("fields", "revealed"),
    [
        (("name", "number"), {"number": "4242424242424242", "name": "A. Customer"}),
        (("exp_year", "exp_month"), {"exp_month": 2, "exp_year": 2030}),
        (("number", "value", "city"), {"number": "4242424242424242"}),
    ],
)  # fmt: skip
def test_fields_of_a_card(fields: tuple[str, ...], revealed: object) -> None:
    """Only what the scope names comes out; fields of other classes are passed over."""
    assert values.select_fields(DataClass.PAYMENT_CARD, SEALED, fields) == revealed


def test_no_restriction() -> None:
    """None means everything that the value holds."""
    assert values.select_fields(DataClass.PAYMENT_CARD, SEALED, None) == json.loads(SEALED)


def test_an_optional_field_may_be_absent() -> None:
    """A card without a name reveals nothing where only the name is in scope."""
    sealed = parse(DataClass.PAYMENT_CARD, {**CARD, "name": None}).sealed
    assert values.select_fields(DataClass.PAYMENT_CARD, sealed, ["name"]) == {}


def test_fields_of_plain_text() -> None:
    """A class of plain strings has the one field `value`."""
    sealed = parse(DataClass.CONTACT_NAME, "Zoë").sealed
    assert values.select_fields(DataClass.CONTACT_NAME, sealed, ["value", "city"]) == "Zoë"
    assert values.select_fields(DataClass.CONTACT_NAME, sealed, None) == "Zoë"


@pytest.mark.parametrize(("data_class", "raw"), EXAMPLES)
def test_a_scope_without_a_field_of_the_class_reveals_nothing(
    data_class: DataClass, raw: object
) -> None:
    """Nothing is returned where the scope names no field of the class."""
    for fields in ([], ["something"]):
        with pytest.raises(DisclosureRefused) as caught:
            values.select_fields(data_class, parse(data_class, raw).sealed, fields)
        assert caught.value.code == "fields_outside_scope"


@pytest.mark.parametrize(("data_class", "raw"), EXAMPLES)
def test_every_sealed_field_can_be_scoped(data_class: DataClass, raw: object) -> None:
    """Naming all fields of the class is the same as no restriction."""
    sealed = parse(data_class, raw).sealed
    everything = values.select_fields(data_class, sealed, None)
    assert values.select_fields(data_class, sealed, rule(data_class).fields) == everything


def test_the_whole_sample_parses() -> None:
    """Every record of the sample is a good value with a mask."""
    for customer in sample_data.generate(200):
        for record in customer.records:
            assert parse(record.data_class, record.value).mask
