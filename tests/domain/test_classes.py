"""The table of data classes."""

from __future__ import annotations

import pytest

from vault_service.domain.classes import RULES, Category, DataClass, rule, tokenizable
from vault_service.errors import InvalidInput


def test_every_class_has_its_rule() -> None:
    """The table is total, and each rule stands under its own class."""
    assert set(RULES) == set(DataClass)
    assert all(rule(data_class).data_class is data_class for data_class in DataClass)


def test_only_communications_are_contents() -> None:
    """The stricter grounds apply to contents of communications and to nothing else."""
    contents = {c for c in DataClass if rule(c).category is Category.COMMUNICATION_CONTENTS}
    assert contents == {DataClass.COMMUNICATION}


def test_cards_have_a_key_of_their_own() -> None:
    """No other class shares the key-encryption key of cards, nor that of communications."""
    assert [c for c in DataClass if rule(c).kek == "records-card"] == [DataClass.PAYMENT_CARD]
    contents = [c for c in DataClass if rule(c).kek == "records-communication"]
    assert contents == [DataClass.COMMUNICATION]


def test_the_classes_of_a_billing_record_are_tokenizable() -> None:
    """Six classes are kept by tokens; logs, choices and communications are not."""
    assert {c.value for c in DataClass if rule(c).tokenizable} == {
        "payment_card",
        "telephone",
        "business_name",
        "contact_name",
        "email_address",
        "postal_address",
    }


def test_the_table_cannot_be_changed() -> None:
    """Nobody can add a class or turn a rule at run time."""
    with pytest.raises(TypeError):
        RULES[DataClass.TELEPHONE] = rule(DataClass.PAYMENT_CARD)  # type: ignore[index]


def test_classes_by_name() -> None:
    """A tokenizable class is found by its name; every other name has one answer."""
    assert tokenizable("payment_card") is DataClass.PAYMENT_CARD
    for name in ("communication", "Payment_Card", "nothing", ""):
        with pytest.raises(InvalidInput) as caught:
            tokenizable(name)
        assert (caught.value.code, caught.value.pointer) == ("class_unknown", "/class")
