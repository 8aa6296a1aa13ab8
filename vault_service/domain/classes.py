"""Which classes of data the vault knows, and what follows from the class alone.

One table decides the category, the key-encryption key and the fields of each class. This module
holds no value and knows no key material; `kek` is only the name under which Vault keeps a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from vault_service.errors import InvalidInput


class DataClass(StrEnum):
    """What a value is about: clauses P2 and P3 of the privacy policy, and its clause C0."""

    PAYMENT_CARD = "payment_card"
    TELEPHONE = "telephone"
    BUSINESS_NAME = "business_name"
    CONTACT_NAME = "contact_name"
    EMAIL_ADDRESS = "email_address"
    POSTAL_ADDRESS = "postal_address"
    SERVICE_CHOICE = "service_choice"
    ACTIVITY_LOG = "activity_log"
    COMMUNICATION = "communication"


class Category(StrEnum):
    """What the privacy policy distinguishes: contents have stricter grounds than account data."""

    PERSONAL_AND_ACCOUNT = "personal_and_account"
    COMMUNICATION_CONTENTS = "communication_contents"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRule:
    """What follows from a class.

    Attributes:
        data_class: the class that the rule is about.
        category: whose grounds for disclosure apply.
        kek: name of the Transit key that wraps the data keys of such values.
        fields: what a disclosure can be restricted to; a class whose values are plain strings has
            the one field `value`.
        tokenizable: whether `POST /v1/tokens` takes such values.
        streamed: whether such values are sealed in chunks and only ever streamed.
    """

    data_class: DataClass
    category: Category
    kek: str
    fields: tuple[str, ...]
    tokenizable: bool
    streamed: bool = False


CARD_KEK = "records-card"
CONTACT_KEK = "records-contact"
ACCOUNT_KEK = "records-account"
COMMUNICATION_KEK = "records-communication"

# The field of every class whose values are plain strings.
WHOLE = "value"


def _rule(
    data_class: DataClass,
    kek: str,
    *fields: str,
    category: Category = Category.PERSONAL_AND_ACCOUNT,
    tokenizable: bool = True,
    streamed: bool = False,
) -> tuple[DataClass, ClassRule]:
    rule_ = ClassRule(
        data_class=data_class,
        category=category,
        kek=kek,
        fields=fields,
        tokenizable=tokenizable,
        streamed=streamed,
    )
    return data_class, rule_


# The last three classes are kept by other calls than `/v1/tokens`: they are logs and contents, not
# single values with a mask.
RULES: Mapping[DataClass, ClassRule] = MappingProxyType(
    dict(
        (
            _rule(DataClass.PAYMENT_CARD, CARD_KEK, "number", "exp_month", "exp_year", "name"),
            _rule(DataClass.TELEPHONE, CONTACT_KEK, WHOLE),
            _rule(DataClass.BUSINESS_NAME, CONTACT_KEK, WHOLE),
            _rule(DataClass.CONTACT_NAME, CONTACT_KEK, WHOLE),
            _rule(DataClass.EMAIL_ADDRESS, CONTACT_KEK, WHOLE),
            _rule(
                DataClass.POSTAL_ADDRESS,
                CONTACT_KEK,
                "line1",
                "line2",
                "city",
                "region",
                "postal_code",
                "country",
            ),
            _rule(
                DataClass.SERVICE_CHOICE,
                ACCOUNT_KEK,
                "service",
                "since",
                "until",
                "details",
                tokenizable=False,
            ),
            _rule(DataClass.ACTIVITY_LOG, ACCOUNT_KEK, WHOLE, tokenizable=False),
            _rule(
                DataClass.COMMUNICATION,
                COMMUNICATION_KEK,
                WHOLE,
                category=Category.COMMUNICATION_CONTENTS,
                tokenizable=False,
                streamed=True,
            ),
        )
    )
)


def rule(data_class: DataClass) -> ClassRule:
    """The rule of a class; every class has one."""
    return RULES[data_class]


_TOKENIZABLE: Mapping[str, DataClass] = MappingProxyType(
    {name.value: name for name, rule_ in RULES.items() if rule_.tokenizable}
)


def tokenizable(name: str, *, pointer: str | None = "/class") -> DataClass:
    """The class of this name, if its values are tokenized.

    Raises:
        InvalidInput: `class_unknown`.
    """
    found = _TOKENIZABLE.get(name)
    if found is None:
        raise InvalidInput(
            "there is no such class of values", code="class_unknown", pointer=pointer
        )
    return found
