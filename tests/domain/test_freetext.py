# ruff: noqa: RUF001 -- digits and dashes of other scripts are what is tested
"""Free text: what may not stand in it."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vault_service.cli.sample_cards import NUMBERS
from vault_service.domain import freetext, tokens
from vault_service.errors import InvalidInput

NUMBER = "4242424242424242"


def refused(call: Any, *args: Any, **kwargs: Any) -> InvalidInput:
    """The error that a call is refused with."""
    with pytest.raises(InvalidInput) as caught:
        call(*args, **kwargs)
    return caught.value


def found(text: str) -> list[str]:
    """The parts of a text that are taken for card numbers."""
    return [text[start:end] for start, end in freetext.find_card_numbers(text)]


def test_a_uuid_holds_no_card_number() -> None:
    """Keys and references are often UUIDs, and their digits are chance."""
    unlucky = [
        "c3f4a1b2-4242-4242-8242-424242aaaaaa",
        "C3F4A1B242424242824242424242AAAA",
        f"order {'1' * 7}a-4242-4242-8242-424242424242 of today",
    ]
    for text in unlucky:
        assert found(text) == []
    assert found("a4242424242424242b-4242-8242-424242aaaaaa") != []  # no UUID
    assert found(f"{unlucky[0]} {NUMBER}") == [NUMBER]
    assert found("42424242-4242-4242-8242-424242424242") != []  # nothing but digits
    assert found("4242-4242-4242-4242") != []


@given(st.uuids(version=4))
def test_no_random_uuid_is_refused(key: Any) -> None:
    """One in 260 was."""
    assume(not key.hex.isdecimal())
    assert found(str(key)) == []
    assert found(key.hex) == []


# --- clean_text


def test_text_is_composed_and_stripped() -> None:
    """What is kept is NFC without outer spaces; inner spaces stay as they are."""
    assert freetext.clean_text(" Zoe\u0308  x\u3000", pointer="/a", max_length=9) == "Zoë  x"


@pytest.mark.parametrize("raw", [None, 1, 1.5, True, ["a"], {"a": "b"}, b"a"])
def test_only_strings_are_text(raw: object) -> None:
    """Numbers and objects where text belongs are refused."""
    error = refused(freetext.clean_text, raw, pointer="/a", max_length=9)
    assert (error.code, error.pointer) == ("string_expected", "/a")


@pytest.mark.parametrize("raw", ["", " ", "\u3000\u00a0"])
def test_empty_text(raw: str) -> None:
    """Nothing but spaces is empty."""
    assert refused(freetext.clean_text, raw, pointer="/a", max_length=9).code == "text_empty"


def test_long_text() -> None:
    """The bound counts characters of the composed text, and itself is good."""
    assert freetext.clean_text("e\u0301" * 9, pointer="/a", max_length=9) == "é" * 9
    for raw in ("x" * 10, "x" * 1_000_000):
        error = refused(freetext.clean_text, raw, pointer="/a", max_length=9)
        assert error.code == "text_too_long"


@pytest.mark.parametrize(
    "char",
    [
        "\x00", "\x01", "\t", "\n", "\r", "\x1b", "\x1f", "\x7f", "\x80", "\x85", "\x9f",
        "\u2028", "\u2029", "\u202a", "\u202e", "\u2066", "\u2069", "\ufeff", "\ufdd0", "\ufff9",
        "\ufffe", "\uffff", "\ud800", chr(0xDFFF), "\ue000", "\uf8ff", "\U0001fffe", "\U000e0001",
        "\U000e0041", "\U000effff", "\U000f0000", "\U0010ffff",
    ],
)  # fmt: skip
def test_control_characters(char: str) -> None:
    """Controls, overrides, private use, surrogates and noncharacters are refused."""
    error = refused(freetext.clean_text, f"a{char}b", pointer="/a", max_length=9)
    assert (error.code, error.pointer) == ("control_character", "/a")


@pytest.mark.parametrize("char", ["\u200c", "\u200d", "\u200e", "\u0301", "\u3000", "\ufffd"])
def test_what_names_need_is_taken(char: str) -> None:
    """Joiners, marks of direction, accents, wide spaces and pictures may stand in text."""
    assert freetext.clean_text(f"a{char}b", pointer="/a", max_length=9)


def test_lines() -> None:
    """Where lines are allowed, all line ends become line feeds, and other controls stay refused."""
    text = freetext.clean_text("a\r\nb\rc\n\td", pointer="/a", max_length=99, multiline=True)
    assert text == "a\nb\nc\n\td"
    error = refused(freetext.clean_text, "a\x0bb", pointer="/a", max_length=99, multiline=True)
    assert error.code == "control_character"


# --- card numbers in text


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("separator", ["", " ", "-", ".", " - ", "\u00a0", "\u2013", "\u200b"])
def test_every_published_number_is_found(number: str, separator: str) -> None:
    """Whole, in fours, or digit by digit; alone or inside a sentence."""
    fours = separator.join(number[at : at + 4] for at in range(0, len(number), 4))
    ones = separator.join(number)
    for written in (fours, ones):
        assert found(written) == [written]
        assert found(f"paid with {written}, thanks") == [written]
        assert found(f"x{written}x") == [written]


@pytest.mark.parametrize(
    "written",
    [
        "４２４２４２４２４２４２４２４２",
        "٤٢٤٢ ٤٢٤٢ ٤٢٤٢ ٤٢٤٢",
        "४२४२४२४२४२४२४२४२",
        "𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐",
        "④②④②④②④②④②④②④②④②",
        "⁴²⁴²⁴²⁴²⁴²⁴²⁴²⁴²",
        "4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣4️⃣2",
        "4242\u30fb4242\u30fb4242\u30fb4242",
        "4242\u22124242\u00b74242\uff0d4242",
        "4242\n4242\n4242\n4242",
        "4242_4242_4242_4242",
    ],
)
def test_digits_of_any_script_and_width(written: str) -> None:
    """Another way to write digits or gaps does not hide a number."""
    assert found(f"card {written} end") == [written]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", []),
        ("no digits", []),
        ("4242424242424241", []),  # check digit
        ("424242424242", []),  # 12 digits
        ("0000000000000000", []),  # no network issues with a leading 0
        ("2026-11-23 10:15:30", []),
        ("+49 30 901820, +44 20 7946 0018", []),
        ("4242     4242     4242     4242", []),  # five spaces are a column, not a gap
        ("4242a4242a4242a4242", []),
        (f"1 {NUMBER}", [NUMBER]),
        (f"{NUMBER} 12/30", [NUMBER]),
        ("ref 77 4242 4242 4242 4242 12", ["4242 4242 4242 4242"]),
        (f"000000{NUMBER}", [NUMBER]),
        (f"{NUMBER};{NUMBER}", [NUMBER, NUMBER]),
        (f"{NUMBER} {NUMBER}", [f"{NUMBER} {NUMBER}"]),
        (f"{NUMBER}     {NUMBER}", [NUMBER, NUMBER]),
        ("378282246310005 " + "0" * 20 + " 378282246310005", ["378282246310005"] * 2),
        (f'{{"number":"{NUMBER}"}}', [NUMBER]),
    ],
)
def test_where_numbers_begin_and_end(text: str, numbers: list[str]) -> None:
    """Parts of longer runs are found at group boundaries, or inside by a known network."""
    assert found(text) == numbers


def test_a_card_shaped_token_is_no_card_number() -> None:
    """A token may stand in references and logs, whatever its digits look like."""
    for bucket in range(1024):
        for length in (13, 16, 19):
            token = tokens.new_card_token(bucket, length, "4242")
            assert found(f"paid with {token}") == []


def test_long_numbers_of_other_kinds_pass_mostly() -> None:
    """Inside a run without gaps only a known network counts, so most long numbers are let pass."""
    hits = sum(bool(found(f"{10**29 + n * 7919:030d}")) for n in range(1000))
    assert hits < 400


def test_the_search_is_linear() -> None:
    """Texts made to be slow take no more than a few microseconds for each character."""
    for text in ("1" * 200_000, "1 " * 100_000, "123456789012x" * 15_000, "é1    " * 30_000):
        started = time.perf_counter()
        list(freetext.find_card_numbers(text))
        assert time.perf_counter() - started < 4.0


@given(st.text(max_size=300))
def test_spans_are_ordered_and_inside(text: str) -> None:
    """Whatever the text, spans ascend without overlap, and begin and end with a digit."""
    end = 0
    for start, stop in freetext.find_card_numbers(text):
        assert end <= start < stop <= len(text)
        end = stop


@given(st.text("0123456789 -.x٤", max_size=120), st.sampled_from(NUMBERS))
def test_no_surroundings_hide_a_number(surroundings: str, number: str) -> None:
    """A published number is covered by the spans, whatever stands before and after it."""
    middle = len(surroundings) // 2
    text = surroundings[:middle] + number + surroundings[middle:]
    assume(not any(map(tokens.is_card_token, re.findall("[0-9]+", text))))
    covered: set[int] = set()
    for start, end in freetext.find_card_numbers(text):
        covered.update(range(start, end))
    assert covered.issuperset(range(middle, middle + len(number)))


def test_text_with_a_number_is_refused_without_repeating_it() -> None:
    """The error has code, place and advice, and no digit of the number."""
    error = refused(freetext.check_text, f"see {NUMBER}", pointer="/comment", max_length=99)
    assert (error.code, error.pointer) == ("card_number_not_allowed_here", "/comment")
    assert "4242" not in f"{error.detail}{error.hint}{error}"
    assert freetext.check_text("see above", pointer="/comment", max_length=99) == "see above"


# --- forbidden fields


@pytest.mark.parametrize(
    "name",
    [
        "cvc", "CVC", "cvc2", "cvv", "cvv2", "CVV-2", "cid", "csc", "cav2", "cvn", "pin", "PIN",
        "pin_block", "pinBlock", "track", "track1", "track_2", "Track-Data", "trackData",
        "magstripe", "mag_stripe", "security_code", "securityCode", "verification code",
        "card_code", "cardCvc", "card.cvv", "cvc_code", "cvv number", "encryptedSecurityCode",
        "ＣＶＣ", "card_verification_value",
    ],
)  # fmt: skip
def test_a1_sensitive_fields_are_refused_everywhere(name: str) -> None:
    """At any depth, in any case, in objects and in arrays, under any common spelling."""
    places: list[tuple[object, str]] = [
        ({name: "123"}, ""),
        ({"value": {name: None}}, "/value"),
        ({"items": [{"a": 1}, {"value": [{name: {}}]}]}, "/items/1/value/0"),
    ]
    for body, place in places:
        error = refused(freetext.check_forbidden_fields, body)
        assert error.code == "sensitive_authentication_data"
        assert error.pointer is not None
        assert error.pointer.startswith(place + "/")


@pytest.mark.parametrize(
    "body",
    [
        None,
        "cvc",
        ["cvc", "pin", ("cvv", 1)],
        {"value": "cvc", "spin": 1, "pinned": True, "tracking": "x", "opinion": "y"},
        {"a": [1, 2, {"b": [[]]}], "tracker": {"track_title": "x"}, "acid": 1, "cid_x": 2},
    ],
)
def test_names_only_count_as_a_whole(body: object) -> None:
    """Values are not names, and a longer word that holds a forbidden one is harmless."""
    freetext.check_forbidden_fields(body)


def test_a_pointer_repeats_no_value() -> None:
    """A name that is itself a card number, or no name at all, is a star in the pointer."""
    for name in (NUMBER, "4242-4242-4242-4242", "x" * 41, "mail@example.com", ""):
        error = refused(freetext.check_forbidden_fields, {name: {"cvc": 1}}, "/value")
        assert error.pointer == "/value/*/cvc"


def test_deep_nesting_does_not_exhaust_the_stack() -> None:
    """A hundred thousand levels are walked without recursion."""
    body: object = {"cvc": 1}
    for _ in range(100_000):
        body = [body]
    error = refused(freetext.check_forbidden_fields, body)
    assert error.code == "sensitive_authentication_data"
    while isinstance(body, list):  # taken apart by hand: freeing it would recurse
        body = body.pop()


def test_the_contracted_names_are_forbidden() -> None:
    """The names that the interface promises to refuse are in the set, as they are compared."""
    assert {
        "cvc", "cvc2", "cvv", "cvv2", "cid", "csc", "cav2", "cvn", "pin", "pinblock", "track",
        "track1", "track2", "trackdata", "magstripe", "securitycode", "verificationcode",
        "cardcode",
    } <= freetext.FORBIDDEN_FIELDS  # fmt: skip


# --- metadata and references


def test_metadata_is_flat_text() -> None:
    """A small map from text to text comes back clean; an empty text is allowed."""
    assert freetext.check_metadata({"plan": " gold ", "note": ""}) == {"plan": "gold", "note": ""}
    assert freetext.check_metadata({}) == {}


@pytest.mark.parametrize(
    ("metadata", "code", "pointer"),
    [
        ("x", "metadata_malformed", "/metadata"),
        ([], "metadata_malformed", "/metadata"),
        (None, "metadata_malformed", "/metadata"),
        ({f"k{n}": "v" for n in range(21)}, "metadata_too_large", "/metadata"),
        ({"k" * 41: "v"}, "text_too_long", "/metadata"),
        ({"k": "v" * 501}, "text_too_long", "/metadata/k"),
        ({"k": 1}, "string_expected", "/metadata/k"),
        ({"k": {"a": "b"}}, "string_expected", "/metadata/k"),
        ({"k": None}, "string_expected", "/metadata/k"),
        ({"k": NUMBER}, "card_number_not_allowed_here", "/metadata/k"),
        ({NUMBER: "v"}, "card_number_not_allowed_here", "/metadata"),
        ({"": "v"}, "text_empty", "/metadata"),
        ({1: "v"}, "string_expected", "/metadata"),
        ({"cvc": "123"}, "sensitive_authentication_data", "/metadata/cvc"),
        ({"é": "a", "e\u0301": "b"}, "metadata_malformed", "/metadata"),
        ({"näme": "a\x00"}, "control_character", "/metadata/*"),
    ],
)
def test_metadata_is_refused(metadata: object, code: str, pointer: str) -> None:
    """Nesting, other types, too many or too long entries and card numbers each have their code."""
    error = refused(freetext.check_metadata, metadata)
    assert (error.code, error.pointer) == (code, pointer)


def test_references() -> None:
    """A reference is short text without card numbers."""
    assert freetext.check_reference(" inv-17 ") == "inv-17"
    assert refused(freetext.check_reference, NUMBER).pointer == "/reference"
    assert refused(freetext.check_reference, "x" * 201).code == "text_too_long"


def test_a_time_in_milliseconds_is_no_card_number() -> None:
    """Thirteen digits count only with the prefix of a network that issues such numbers."""
    times = [str(1_795_434_000_000 + step) for step in range(200)]
    assert [each for each in times if list(freetext.find_card_numbers(each))] == []
    assert list(freetext.find_card_numbers("4222222222222")) == [(0, 13)]
