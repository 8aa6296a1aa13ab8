"""Properties that hold for every value, however strange."""

from __future__ import annotations

import json
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain import freetext, values
from vault_service.domain.classes import DataClass, rule
from vault_service.errors import InvalidInput

TODAY = date(2026, 11, 23)
CLASSES = st.sampled_from([c for c in DataClass if rule(c).tokenizable])
NAMES = st.sampled_from(
    ["number", "exp_month", "exp_year", "name", "region", "line1", "line2", "city", "postal_code",
     "country", "value", "cvc", ""]
)  # fmt: skip
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=40),
    st.sampled_from(["4242424242424242", "+49 30 901820", "a@example.com", "DE", "Zoë"]),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.one_of(NAMES, st.text(max_size=5)), inner, max_size=6)
    ),
    max_leaves=8,
)
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Co")), min_size=1, max_size=60)


@given(CLASSES, JSON)
def test_parsing_is_total(data_class: DataClass, raw: object) -> None:
    """Whatever JSON is sent, the outcome is a value or an error with code and pointer."""
    try:
        value = values.parse(data_class, raw, today=TODAY)
    except InvalidInput as refusal:
        refused = refusal
    else:
        assert values.parse(data_class, json.loads(value.sealed), today=TODAY) == value
        return
    assert refused.code != InvalidInput.code
    assert (refused.pointer or "").startswith("/value")


@given(st.sampled_from([DataClass.BUSINESS_NAME, DataClass.CONTACT_NAME]), TEXT)
def test_a_name_is_found_under_every_spelling(data_class: DataClass, text: str) -> None:
    """Case and spaces do not change what is fingerprinted, and the sealed form is kept as given."""
    try:
        value = values.parse(data_class, text, today=TODAY)
    except InvalidInput:
        return
    spread = text.replace(" ", "   ")
    assert values.search_key(data_class, f" {spread} ") == value.normalised
    assert values.search_key(data_class, json.loads(value.sealed)) == value.normalised


@given(CLASSES, st.one_of(TEXT, JSON))
def test_a2_no_mask_holds_a_card_number(data_class: DataClass, raw: object) -> None:
    """Nothing that the card filter would find stands in a mask."""
    try:
        value = values.parse(data_class, raw, today=TODAY)
    except InvalidInput:
        return
    for shown in value.mask.values():
        assert not list(freetext.find_card_numbers(str(shown)))


@given(JSON)
def test_walking_for_forbidden_fields_is_total(body: object) -> None:
    """Any JSON is walked to its end, or refused with the one code."""
    codes = set()
    try:
        freetext.check_forbidden_fields(body)
    except InvalidInput as refusal:
        codes.add(refusal.code)
    assert codes <= {"sensitive_authentication_data"}
