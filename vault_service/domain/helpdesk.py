"""How a helpdesk's messages are read: a mapping from its JSON to changes of a customer's data.

    ticket = "/ticket/id"

    [customer]                      # one of the three
    external_ref = "/ticket/custom/crm"
    email_address = "/ticket/requester/email"
    id = "/ticket/custom/vault_customer"

    [[changes]]
    class = "telephone"
    value = "/ticket/custom/new_phone"
    token = "/ticket/custom/token"  # may be left out

    [[changes]]
    class = "payment_card"
    value = { number = "/card/number", exp_month = "/card/month", exp_year = "/card/year" }

Every right-hand side is a JSON pointer (RFC 6901). What is absent, null or empty is not asked for.
A ticket that asks for nothing that the mapping knows is read by a person. No input or output here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from vault_service.domain.classes import DataClass, tokenizable
from vault_service.errors import InvalidInput, SettingsError

MAX_CHANGES: Final = 20
WHO: Final = ("external_ref", "email_address", "id")
_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)+")

Target = str | Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedChange:
    """Where one change stands in a message; `value` is a pointer, or one for each field."""

    data_class: DataClass
    value: Target
    token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpdeskMapping:
    """Where a message says which ticket it is, whose, and what is to be changed."""

    ticket: str
    who: str
    customer: str
    changes: tuple[MappedChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedChange:
    """One change that a message asks for."""

    data_class: DataClass
    value: object = field(repr=False)
    token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a message says. `customer` is what `who` says that it is."""

    ticket: str
    who: str
    customer: str = field(repr=False)
    changes: tuple[AskedChange, ...]


def load(text: str) -> HelpdeskMapping:
    """The mapping that a TOML text holds.

    Raises:
        SettingsError: it holds none; the message says where.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError(f"the helpdesk mapping is no TOML: {exc}") from exc
    unknown = sorted(raw.keys() - {"ticket", "customer", "changes"})
    if unknown:
        raise _wrong(unknown[0], "is not known")
    customer = raw.get("customer")
    if not isinstance(customer, dict) or len(customer) != 1 or not customer.keys() <= set(WHO):
        raise _wrong("customer", f"must name one of {', '.join(WHO)}")
    ((who, where),) = customer.items()
    changes = raw.get("changes", [])
    if not isinstance(changes, list) or len(changes) > MAX_CHANGES:
        raise _wrong("changes", f"must be a list of {MAX_CHANGES} tables at most")
    return HelpdeskMapping(
        ticket=_pointer(raw.get("ticket"), "ticket"),
        who=who,
        customer=_pointer(where, f"customer.{who}"),
        changes=tuple(_change(each, f"changes[{place}]") for place, each in enumerate(changes)),
    )


def _change(raw: object, place: str) -> MappedChange:
    if not isinstance(raw, dict) or not raw.keys() <= {"class", "value", "token"}:
        raise _wrong(place, "must be a table of class, value and perhaps token")
    try:
        data_class = tokenizable(str(raw.get("class")))
    except InvalidInput as exc:
        raise _wrong(f"{place}.class", "must be a class of values") from exc
    value = raw.get("value")
    target: Target
    if isinstance(value, dict) and value:
        target = {
            str(name): _pointer(each, f"{place}.value.{name}") for name, each in value.items()
        }
    else:
        target = _pointer(value, f"{place}.value")
    token = raw.get("token")
    return MappedChange(
        data_class=data_class,
        value=target,
        token=None if token is None else _pointer(token, f"{place}.token"),
    )


def _pointer(raw: object, place: str) -> str:
    if not isinstance(raw, str) or _POINTER.fullmatch(raw) is None:
        raise _wrong(place, "must be a JSON pointer, such as /ticket/id")
    return raw


def _wrong(place: str, what: str) -> SettingsError:
    return SettingsError(f"the helpdesk mapping: {place} {what}")


def read(mapping: HelpdeskMapping, message: object) -> Asked:
    """What a message asks for.

    Raises:
        InvalidInput: it names no ticket or no customer (`helpdesk_message_unmapped`); the pointer
            says where one was looked for.
    """
    ticket = _text(message, mapping.ticket)
    customer = _text(message, mapping.customer)
    for found, where in ((ticket, mapping.ticket), (customer, mapping.customer)):
        if found is None:
            raise InvalidInput(
                "the message does not say what the mapping looks for",
                code="helpdesk_message_unmapped",
                pointer=where,
            )
    changes: list[AskedChange] = []
    for each in mapping.changes:
        value = _value(message, each.value)
        if value is not None:
            token = None if each.token is None else _text(message, each.token)
            changes.append(AskedChange(data_class=each.data_class, value=value, token=token))
    return Asked(
        ticket=str(ticket), who=mapping.who, customer=str(customer), changes=tuple(changes)
    )


def _value(message: object, target: Target) -> object:
    if isinstance(target, str):
        return _present(find(message, target))
    found = {name: _present(find(message, pointer)) for name, pointer in target.items()}
    held = {name: value for name, value in found.items() if value is not None}
    return held or None


def _present(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _text(message: object, pointer: str) -> str | None:
    value = _present(find(message, pointer))
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip()


def find(message: object, pointer: str) -> object:
    """What a JSON pointer leads to; None where it leads nowhere."""
    here = message
    for raw in pointer.split("/")[1:]:
        step = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(here, Mapping):
            here = here.get(step)
        elif isinstance(here, Sequence) and not isinstance(here, str | bytes):
            here = (
                here[int(step)]
                if step.isascii() and step.isdigit() and int(step) < len(here)
                else None
            )
        else:
            return None
    return here
