"""A value: one piece of plaintext of one class, ready to be sealed, fingerprinted and masked.

`parse` is the one way in. What it returns holds plaintext, so it shows nothing of itself: it goes
to the envelope and to the fingerprint, and nowhere else. Errors name the rule and the place, never
the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Final

import msgspec

from vault_service.domain import (
    addresses,
    cards,
    classes,
    emails,
    masks,
    names,
    services,
    telephones,
)
from vault_service.domain.classes import DataClass
from vault_service.errors import DisclosureRefused, InvalidInput

Scalar = str | int | None

_encoder: Final = msgspec.json.Encoder(order="sorted")


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed value. Its repr shows the class and nothing else.

    Attributes:
        data_class: the class.
        sealed: canonical JSON in UTF-8; what is sealed, and what a reveal returns, parsed.
        normalised: what is fingerprinted; equal for values that count as the same.
        mask: the displayable remainder.
        variant: a part that is no secret and tells apart records of one fingerprint. For a card
            the expiry, "2030-12", so that a renewed card is a record of its own; for a service its
            days; else "".
        last_four: last four digits of a card's number, for card-shaped tokens; else None.
        digits_length: length of a card's number, for card-shaped tokens; else None.
    """

    data_class: DataClass
    sealed: bytes
    normalised: bytes
    mask: Mapping[str, Scalar]
    variant: str = ""
    last_four: str | None = None
    digits_length: int | None = None

    def __repr__(self) -> str:
        return f"Value(data_class={self.data_class!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("data_class", self.data_class)]


def parse(data_class: DataClass, raw: object, *, today: date, pointer: str = "/value") -> Value:
    """The value that decoded JSON holds.

    Args:
        data_class: what the value is said to be.
        raw: a string or an object, as the class has it.
        today: the date by which a card has expired or not.
        pointer: JSON pointer to `raw` in the request, the prefix of pointers in errors.

    Raises:
        InvalidInput: `class_not_tokenizable`, or as the module of the class documents.
    """
    if data_class is DataClass.PAYMENT_CARD:
        return _card(raw, today, pointer)
    return _parser(data_class)(data_class, raw, pointer)


def search_key(data_class: DataClass, raw: object, *, pointer: str = "/value") -> bytes:
    """The normalised form of a value that is looked for; equal to `parse(...).normalised`.

    For a card a number suffices, as text or as `{"number": …}`, and the expiry does not matter.

    Raises:
        InvalidInput: as `parse`, without those of a card's expiry.
    """
    if data_class is DataClass.PAYMENT_CARD:
        return cards.search_number(raw, pointer=pointer).encode()
    return _parser(data_class)(data_class, raw, pointer).normalised


def normalised(data_class: DataClass, sealed: bytes) -> bytes:
    """The normalised form of a value as it was sealed; equal to `parse(...).normalised`.

    Raises:
        InvalidInput: it would not be taken today.
    """
    return search_key(data_class, msgspec.json.decode(sealed))


def select_fields(data_class: DataClass, sealed: bytes, fields: Sequence[str] | None) -> object:
    """What a reveal that is restricted to `fields` returns of a sealed value.

    None means no restriction; an empty sequence means that nothing is told. Fields of other
    classes are passed over, because one scope may name the fields of several classes; an optional
    field that the value lacks is absent.

    Raises:
        DisclosureRefused: `fields_outside_scope`, if none of the fields belongs to the class.
    """
    value: object = msgspec.json.decode(sealed)
    if fields is None:
        return value
    wanted = [name for name in classes.rule(data_class).fields if name in fields]
    if not wanted:
        raise DisclosureRefused(
            f"the scope names no field of {data_class}", code="fields_outside_scope"
        )
    if isinstance(value, dict):
        return {name: value[name] for name in wanted if name in value}
    return value


def canonical(value: object) -> bytes:
    """The one JSON text of a value: sorted names, no spaces, UTF-8, no escapes but needed ones."""
    return _encoder.encode(value)


def _card(raw: object, today: date, pointer: str) -> Value:
    card = cards.parse(raw, today=today, pointer=pointer)
    content: dict[str, Scalar] = {
        "number": card.number,
        "exp_month": card.exp_month,
        "exp_year": card.exp_year,
    }
    if card.name is not None:
        content["name"] = card.name
    return Value(
        data_class=DataClass.PAYMENT_CARD,
        sealed=canonical(content),
        normalised=card.number.encode(),
        mask={
            "number": masks.card_number(card.number),
            "brand": card.brand.value,
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
        },
        variant=f"{card.exp_year:04d}-{card.exp_month:02d}",
        last_four=card.number[-4:],
        digits_length=len(card.number),
    )


def _telephone(data_class: DataClass, raw: object, pointer: str) -> Value:
    telephone = telephones.parse(raw, pointer=pointer)
    mask: dict[str, Scalar] = {
        "number": masks.telephone(telephone.country_code, telephone.national)
    }
    if telephone.region is not None:
        mask["country"] = telephone.region
    return Value(
        data_class=data_class,
        sealed=canonical(telephone.e164),
        normalised=telephone.e164.encode(),
        mask=mask,
    )


def _name(data_class: DataClass, raw: object, pointer: str) -> Value:
    name = names.parse(raw, pointer=pointer)
    return Value(
        data_class=data_class,
        sealed=canonical(name),
        normalised=names.folded(name).encode(),
        mask={"name": masks.name(name)},
    )


def _email(data_class: DataClass, raw: object, pointer: str) -> Value:
    email = emails.parse(raw, pointer=pointer)
    return Value(
        data_class=data_class,
        sealed=canonical(f"{email.local}@{email.domain}"),
        normalised=f"{email.local}@{email.ascii_domain}".encode(),
        mask={"address": masks.email(email.local, email.domain)},
    )


def _address(data_class: DataClass, raw: object, pointer: str) -> Value:
    address = addresses.parse(raw, pointer=pointer)
    mask: dict[str, Scalar] = {"country": address.country}
    if address.postal_code is not None:
        mask["postal_code"] = masks.postal_code(address.postal_code)
    return Value(
        data_class=data_class,
        sealed=canonical(dict(address.fields)),
        normalised=canonical(address.comparable()),
        mask=mask,
    )


def _service(data_class: DataClass, raw: object, pointer: str) -> Value:
    choice = services.parse(raw, pointer=pointer)
    since = choice.since.isoformat()
    until = None if choice.until is None else choice.until.isoformat()
    shown: dict[str, Scalar] = {"service": choice.service, "since": since, "until": until}
    content = shown if choice.details is None else {**shown, "details": choice.details}
    return Value(
        data_class=data_class,
        sealed=canonical(content),
        # The same choice, told twice, is one; told with another end or in other words, another.
        normalised=canonical([choice.service, choice.details]),
        mask=shown,
        variant=f"{since} {until or ''}".rstrip(),
    )


_Parser = Callable[[DataClass, object, str], Value]

_PARSERS: Mapping[DataClass, _Parser] = MappingProxyType(
    {
        DataClass.TELEPHONE: _telephone,
        DataClass.BUSINESS_NAME: _name,
        DataClass.CONTACT_NAME: _name,
        DataClass.EMAIL_ADDRESS: _email,
        DataClass.POSTAL_ADDRESS: _address,
        DataClass.SERVICE_CHOICE: _service,
    }
)


def _parser(data_class: DataClass) -> _Parser:
    parser = _PARSERS.get(data_class)
    if parser is None:
        raise InvalidInput(
            f"{data_class} is not kept by tokens", code="class_not_tokenizable", pointer="/class"
        )
    return parser
