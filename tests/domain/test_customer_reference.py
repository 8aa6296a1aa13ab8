"""External references of customers."""

from __future__ import annotations

import pytest

from vault_service.domain import customers
from vault_service.errors import InvalidInput


def test_a_reference_is_an_identifier() -> None:
    """Case and inner spaces count; composition and outer spaces do not."""
    assert customers.reference_key(" crm-17 ") == b"crm-17"
    assert customers.reference_key("Zoe\u0308") == customers.reference_key("Zoë")
    assert customers.reference_key("CRM-17") != customers.reference_key("crm-17")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (17, "string_expected"),
        ("", "text_empty"),
        ("x" * 201, "text_too_long"),
        ("4242424242424242", "card_number_not_allowed_here"),
        ("a\x00", "control_character"),
    ],
)
def test_wrong_references(raw: object, code: str) -> None:
    """A reference that is no short text, or is a card number, is refused."""
    with pytest.raises(InvalidInput) as caught:
        customers.reference_key(raw)
    assert (caught.value.code, caught.value.pointer) == (code, "/external_ref")
