"""Calls on communications: originals go in, and are listed by what stands on their outside.

What stands there comes in headers, because the body is the original itself and addresses belong in
no URL. Contents come back by `POST /v1/reveal/content` alone.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

from msgspec import Meta

from vault_service.api import views
from vault_service.api.calls import Answer, Call, Group, HeaderParameter
from vault_service.api.schemas import Accepted, TokenOut, TokenPageOut
from vault_service.domain.actors import Action
from vault_service.domain.communications import (
    MAX_RECIPIENTS,
    MESSAGE,
    OCTETS,
    Direction,
    Envelope,
    Kind,
    check_media_type,
)
from vault_service.domain.freetext import clean_text
from vault_service.errors import InvalidInput
from vault_service.services.communications import MAX_COMMUNICATION, MAX_PAGE
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("communications", ProcessRole.INGEST)

# RFC 5321, 4.5.3.1.3.
_ADDRESS_LENGTH: Final = 256
_DIRECTION: Final = "Communication-Direction"
_KIND: Final = "Communication-Kind"
_FROM: Final = "Communication-From"
_TO: Final = "Communication-To"
_DATE: Final = "Communication-Date"

E = TypeVar("E", bound=StrEnum)


class CommunicationsQuery(Accepted, frozen=True):
    """Which page."""

    cursor: Annotated[str, Meta(description="`next` of the page before.", max_length=64)] | None = (
        None
    )
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = MAX_PAGE


@GROUP.call(
    "POST",
    "/v1/customers/{customer}/communications",
    "Keep a communication: its original, byte for byte, as it comes.",
    action=Action.RECORD_ACCOUNT_DATA,
    takes=MAX_COMMUNICATION,
    answers={201: TokenOut, 200: TokenOut},
    headers=(
        HeaderParameter(
            name=_DIRECTION,
            description="`inbound` or `outbound`.",
            required=True,
        ),
        HeaderParameter(
            name=_KIND,
            description="`email`, `text_message`, `chat`, `call`, `letter` or `other`; by the"
            " content type, if left out.",
        ),
        HeaderParameter(
            name=_FROM, description="The sender's address or telephone number; kept as its mask."
        ),
        HeaderParameter(
            name=_TO, description="The recipients', parted by commas; kept as their masks."
        ),
        HeaderParameter(name=_DATE, description="The sender's date: ISO 8601, with its offset."),
    ),
    codes=(
        "customer_not_found",
        "customer_malformed",
        "header_invalid",
        "communication_too_large",
        "body_too_large",
        "request_timeout",
        "data_key_retired",
        "upload_ended",
    ),
)
def keep_communication(call: Call[None, None]) -> Answer:
    """Keep a communication; 200 when the same was here before."""
    view = present(call.served.communications).keep(
        call.caller,
        customer=call.path["customer"],
        envelope=_envelope(call),
        content=call.pieces,
    )
    return Answer(body=views.token(view), status=200 if view.deduplicated else 201)


@GROUP.call(
    "GET",
    "/v1/customers/{customer}/communications",
    "List a customer's communications, newest first: masked addresses, date, size; no contents.",
    action=Action.READ_ACCOUNT_DATA,
    query=CommunicationsQuery,
    answers={200: TokenPageOut},
    codes=("customer_not_found", "cursor_invalid"),
)
def list_communications(call: Call[None, CommunicationsQuery]) -> Answer:
    """List communications."""
    page = present(call.served.communications).page(
        call.caller,
        call.path["customer"],
        cursor=call.query.cursor,
        limit=call.query.limit,
    )
    return Answer(
        body=TokenPageOut(items=[views.token(view) for view in page.items], next=page.next)
    )


def _envelope(call: Call[Any, Any]) -> Envelope:
    headers = call.request.headers
    media_type = check_media_type(call.request.mimetype or OCTETS)
    kind = Kind.EMAIL if media_type == MESSAGE else Kind.OTHER
    recipients = [each.strip() for each in headers.get(_TO, "").split(",") if each.strip()]
    if len(recipients) > MAX_RECIPIENTS:
        raise _invalid(_TO)
    return Envelope(
        direction=_one_of(Direction, headers.get(_DIRECTION), _DIRECTION),
        kind=_one_of(Kind, headers.get(_KIND, kind.value), _KIND),
        media_type=media_type,
        sender=None if _FROM not in headers else _address(headers[_FROM], _FROM),
        recipients=tuple(_address(each, _TO) for each in recipients),
        sent_at=None if _DATE not in headers else _date(headers[_DATE]),
    )


def _one_of(kind: type[E], text: str | None, header: str) -> E:
    try:
        return kind(text or "")
    except ValueError:
        raise _invalid(header) from None


def _address(text: str, header: str) -> str:
    # A header comes as Latin-1, whatever it was sent as.
    try:
        told = text.encode("latin-1").decode()
    except UnicodeError:
        raise _invalid(header) from None
    return clean_text(told, pointer=None, max_length=_ADDRESS_LENGTH)


def _date(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _invalid(_DATE) from None
    if moment.tzinfo is None:
        raise _invalid(_DATE)
    return moment


def _invalid(header: str) -> InvalidInput:
    return InvalidInput(f"the header {header} is missing or wrong", code="header_invalid")
