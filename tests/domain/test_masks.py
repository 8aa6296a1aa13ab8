"""Masks: what may be shown of each class."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.cli.sample_cards import NUMBERS
from vault_service.domain import brands, masks, names


@st.composite
def card_numbers(draw: st.DrawFn) -> str:
    """Luhn-valid numbers of every brand and length that the brand issues."""
    brand = draw(st.sampled_from(sorted(set(brands.Brand) - {brands.Brand.UNKNOWN})))
    prefix = draw(st.sampled_from([p for p, b in brands.PREFIXES.items() if b is brand]))
    length = draw(st.sampled_from(sorted(brands.LENGTHS[brand])))
    fill = length - len(prefix) - 1
    body = prefix + draw(st.text("0123456789", min_size=fill, max_size=fill))
    return next(body + digit for digit in "0123456789" if brands.luhn_valid(body + digit))


@given(card_numbers())
def test_a3_mask_hides_enough_digits(number: str) -> None:
    """At most BIN and last four show; 16 digits hide 4 or more, 15 hide 5; the length is kept."""
    mask = masks.card_number(number)
    hidden = mask.count("*")
    shown = len(mask) - hidden
    bin_part, _, last = mask.partition("*" * hidden)
    assert len(mask) == len(number)
    assert hidden >= 5
    assert len(bin_part) <= 6
    assert last == number[-4:]
    assert shown <= 10
    assert number.startswith(bin_part)
    assert masks.card_number(number) == mask, "one truncation per number"


@pytest.mark.parametrize(
    ("number", "mask"),
    [
        ("4242424242424242", "424242******4242"),
        ("378282246310005", "378282*****0005"),
        ("30569309025904", "30569*****5904"),
        ("4222222222222", "4222*****2222"),
        ("67030000000000003", "670300*******0003"),
        ("586824160825533338", "586824********3338"),
        ("6205500000000000004", "620550*********0004"),
    ],
)
def test_a3_masks_of_each_length(number: str, mask: str) -> None:
    """Masks of 13 to 19 digits, written out."""
    assert masks.card_number(number) == mask


def test_a3_no_mask_of_a_published_number_shows_the_number() -> None:
    """No published number can be read from its mask."""
    for number in NUMBERS:
        mask = masks.card_number(number)
        assert number not in mask
        assert mask.replace("*", "") != number


@pytest.mark.parametrize(
    ("code", "national", "mask"),
    [
        (49, "30901820", "+49******20"),
        (1, "2015550123", "+1******23"),
        (247, "62889", "+247******9"),
        (290, "2158", "+290******"),
        (290, "22158", "+290******8"),
        (800, "12345678", "+800******78"),
    ],
)
def test_telephone_masks(code: int, national: str, mask: str) -> None:
    """Calling code and last two digits, fewer where a number has five digits or less."""
    assert masks.telephone(code, national) == mask


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("Anna Customer", "A*** C***"),
        ("A. Customer", "*** C***"),
        ("李", "***"),
        ("李 明", "*** ***"),
        ("王小明", "王***"),
        ("3M", "3***"),
        ("'t Hoen & Zonen", "*** H*** *** Z***"),
        ("One Two Three Four Five Six", "O*** T*** T*** F***"),
        ("!!!", "***"),
        ("श्री गणेश", "श*** ग***"),
        ("山田　太郎", "山*** 太***"),
    ],
)
def test_name_masks(name: str, mask: str) -> None:
    """First letters of up to four words; a word of one letter shows nothing."""
    assert masks.name(name) == mask


@given(st.text(min_size=1, max_size=80))
def test_a_name_mask_does_not_show_the_length_of_words(name: str) -> None:
    """Each word becomes at most one character and three stars, and four words are the most."""
    words = masks.name(name).split(" ") if name.split() else []
    assert len(words) <= 4
    assert all(word.endswith("***") and len(word) <= 4 for word in words)


@given(st.text(min_size=1, max_size=80))
def test_no_name_mask_holds_the_name(name: str) -> None:
    """A name without stars of its own never stands whole in its mask."""
    folded = names.folded(name)
    if any(char.isalnum() for char in folded) and "*" not in folded:
        assert folded not in names.folded(masks.name(name))


@pytest.mark.parametrize(
    ("local", "domain", "mask"),
    [
        ("anna", "example.com", "a***@example.com"),
        ("a", "example.com", "***@example.com"),
        ("ab", "example.com", "a***@example.com"),
    ],
)
def test_email_masks(local: str, domain: str, mask: str) -> None:
    """First character and domain; a local part of one character shows nothing."""
    assert masks.email(local, domain) == mask


@pytest.mark.parametrize(
    ("code", "mask"), [("10115", "10***"), ("SW1A 2AA", "SW***"), ("101", "1***"), ("12", "***")]
)
def test_postal_code_masks(code: str, mask: str) -> None:
    """Two characters, fewer of a short code."""
    assert masks.postal_code(code) == mask
