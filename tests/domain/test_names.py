# ruff: noqa: RUF001 -- letters of other scripts are what is tested
"""Names, and the form in which text is compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain import names
from vault_service.errors import InvalidInput


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Acme GmbH", "  ACME   gmbh "),
        ("Ａｃｍｅ", "acme"),
        ("Straße", "STRASSE"),
        ("Zoë", "ZOE\u0308"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("ﾃｷｽﾀｲﾙ", "テキスタイル"),
        ("山田\u3000太郎", "山田 太郎"),
        ("می\u200cخک", "میخک"),
        ("葛\U000e0100城", "葛城"),
        ("soft\u00adware", "software"),
        ("ﬁne", "FINE"),
        ("Å", "å"),
    ],
)
def test_what_counts_as_the_same(one: str, other: str) -> None:
    """Case, width, composition, spaces and characters that show nothing do not matter."""
    assert names.folded(one) == names.folded(other)


@pytest.mark.parametrize(
    ("one", "other"), [("Müller", "Mueller"), ("Иван", "Ivan"), ("陳", "陈"), ("A B", "AB")]
)
def test_what_counts_as_different(one: str, other: str) -> None:
    """Other spellings are other names; nothing is transliterated."""
    assert names.folded(one) != names.folded(other)


@given(st.text(max_size=60))
def test_folding_twice_changes_nothing(text: str) -> None:
    """The folded form is stable, so a fingerprint of it is."""
    once = names.folded(text)
    assert names.folded(once) == once


@given(st.text(max_size=60))
def test_folding_ignores_case(text: str) -> None:
    """Folding the casefolded text is folding the text."""
    assert names.folded(text.casefold()) == names.folded(text)


def test_a_name_is_kept_as_written() -> None:
    """Only outer spaces and composition change."""
    assert names.parse("  Zoe\u0308's  Café ", pointer="/value") == "Zoë's  Café"


@pytest.mark.parametrize("text", ["\u200d\u200c", "\u00ad", "\u3164\u115f"])
def test_a_name_must_show_something(text: str) -> None:
    """A name of invisible characters is empty."""
    with pytest.raises(InvalidInput) as caught:
        names.parse(text, pointer="/value")
    assert (caught.value.code, caught.value.pointer) == ("text_empty", "/value")


def test_a_name_is_no_card_number() -> None:
    """A card number in the wrong field is refused."""
    with pytest.raises(InvalidInput) as caught:
        names.parse("4242 4242 4242 4242", pointer="/value")
    assert caught.value.code == "card_number_not_allowed_here"


def test_the_length_of_names() -> None:
    """Two hundred characters are the most."""
    assert len(names.parse("x" * 200, pointer="/value")) == 200
    with pytest.raises(InvalidInput):
        names.parse("x" * 201, pointer="/value")
