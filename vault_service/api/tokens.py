"""Calls on tokens: tokenize, read masked, search, erase."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flask import Request
from msgspec import UNSET

from vault_service.api import views
from vault_service.api.calls import Answer, Call, Group, HeaderParameter, Together
from vault_service.api.errors import item_error
from vault_service.api.schemas import (
    SearchIn,
    SearchOut,
    SearchResult,
    TokenBatchIn,
    TokenBatchOut,
    TokenIn,
    TokenOut,
    TokenPageOut,
    TokenResult,
    TokensQuery,
    VersionOut,
    VersionsOut,
)
from vault_service.domain.actors import Action
from vault_service.domain.freetext import find_card_numbers
from vault_service.errors import InvalidInput, ServiceError
from vault_service.services.context import Caller
from vault_service.services.reading import SEARCHES, SearchRequest
from vault_service.services.tokenization import TokenizeItem, TokenizeRequest
from vault_service.services.views import TokenizeAnswer, TokenView
from vault_service.settings import ProcessRole
from vault_service.web import shapes
from vault_service.web.served import present

GROUP: Final = Group("tokens", ProcessRole.INGEST)

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
IDEMPOTENCY: Final = HeaderParameter(
    name="Idempotency-Key",
    description="1 to 255 visible ASCII characters; a repeated request gets the first answer.",
)
EXAMPLE_CUSTOMER: Final = "cus_00000000000000000000000000"
EXAMPLE_TOKEN: Final = "tok_0000000000000000000000000000"  # noqa: S105 -- a name, and nobody's
_EXAMPLE: Final[dict[str, Any]] = {
    "class": "payment_card",
    "customer": EXAMPLE_CUSTOMER,
    "value": {
        "number": "4242 4242 4242 4242",
        "exp_month": 12,
        "exp_year": 2035,
        "name": "A. Customer",
    },
    "reference": "inv-17",
    "metadata": {"plan": "gold"},
    "format": "opaque",
}


def idempotency_key(request: Request) -> str | None:
    """The request's Idempotency-Key.

    Raises:
        InvalidInput: `idempotency_key_malformed`.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if _KEY.fullmatch(key) is None or any(find_card_numbers(key)):
        raise InvalidInput(
            "an Idempotency-Key is 1 to 255 visible ASCII characters and no card number",
            code="idempotency_key_malformed",
        )
    return key


def _item(body: TokenIn) -> TokenizeItem:
    return TokenizeItem(
        data_class=body.data_class,
        customer=body.customer,
        value=body.value,
        format=body.format,
        reference=body.reference,
        metadata=body.metadata,
        expires_at=body.expires_at,
    )


def _created(_: Call[TokenIn, None], answer: TokenizeAnswer) -> Answer:
    (result,) = answer.results
    if isinstance(result, Exception):
        raise result
    return Answer(
        body=views.token(result),
        status=200 if result.deduplicated else 201,
        headers={"Idempotency-Replayed": "true"} if answer.replayed else {},
    )


@GROUP.call(
    "POST",
    "/v1/tokens",
    "Tokenize one value: value in, token and mask out.",
    action=Action.TOKENIZE,
    body=TokenIn,
    answers={201: TokenOut, 200: TokenOut},
    headers=(IDEMPOTENCY,),
    example=_EXAMPLE,
    codes=(
        "card_number_invalid",
        "card_expired",
        "class_unknown",
        "customer_not_found",
        "format_not_available",
        "idempotency_key_reused",
        "idempotency_in_progress",
        "sensitive_authentication_data",
    ),
    together=Together(do=lambda served: present(served.tokenization).submit_many, tell=_created),
)
def create_token(call: Call[TokenIn, None]) -> TokenizeRequest:
    """Tokenize one value; 200 when it was there already."""
    return TokenizeRequest(
        caller=call.caller,
        items=(_item(call.body),),
        batch=False,
        idempotency_key=idempotency_key(call.request),
        body=call.raw,
    )


@GROUP.call(
    "POST",
    "/v1/tokens/batch",
    "Tokenize up to 1,000 values; each succeeds or fails alone.",
    action=Action.TOKENIZE_BATCH,
    body=TokenBatchIn,
    answers={200: TokenBatchOut},
    headers=(IDEMPOTENCY,),
    example={"items": [_EXAMPLE]},
    codes=("batch_size", "idempotency_key_reused", "idempotency_in_progress"),
)
def create_tokens(call: Call[TokenBatchIn, None]) -> Answer:
    """Tokenize a batch."""
    items: list[TokenizeItem] = []
    places: list[int] = []
    results: list[TokenResult | None] = [None] * len(call.body.items)
    for place, raw in enumerate(call.body.items):
        try:
            items.append(_item(shapes.convert(raw, TokenIn, pointer=f"/items/{place}")))
            places.append(place)
        except InvalidInput as error:
            reference = raw.get("reference") if isinstance(raw, Mapping) else None
            results[place] = TokenResult(error=item_error(error), reference=_echoed(reference))
    request = TokenizeRequest(
        caller=call.caller,
        items=tuple(items),
        batch=True,
        idempotency_key=idempotency_key(call.request),
        body=call.raw,
    )
    replayed = False
    try:
        answer = present(call.served.tokenization).submit(request)
    except InvalidInput:
        # Without one well-formed item there is nothing to do; whether the caller may has been
        # asked by now.
        if items:
            raise
    else:
        replayed = answer.replayed
        for slot, (place, result) in enumerate(zip(places, answer.results, strict=True)):
            moved = _moved(result, slot, place)
            results[place] = views.token_result(moved, _echoed(items[slot].reference))
    return Answer(
        body=TokenBatchOut(results=[result for result in results if result is not None]),
        headers={"Idempotency-Replayed": "true"} if replayed else {},
    )


def _echoed(reference: object) -> str | None:
    """An item's reference as its result repeats it: nothing that might be a value sent astray."""
    if not isinstance(reference, str) or len(reference) > 200 or any(find_card_numbers(reference)):
        return None
    return reference


def _moved(result: TokenView | ServiceError, slot: int, place: int) -> TokenView | ServiceError:
    """An item's error with its pointer moved to where the item stood in the request."""
    if isinstance(result, ServiceError) and result.pointer is not None and slot != place:
        head = f"/items/{slot}"
        if result.pointer == head or result.pointer.startswith(head + "/"):
            result.pointer = f"/items/{place}" + result.pointer.removeprefix(head)
    return result


def _read(_: Call[None, None], view: TokenView) -> Answer:
    return Answer(body=views.token(view))


@GROUP.call(
    "GET",
    "/v1/tokens/{token}",
    "Read one token, masked.",
    action=Action.READ_MASKED,
    answers={200: TokenOut},
    codes=("token_not_found",),
    together=Together(do=lambda served: present(served.reading).get_many, tell=_read),
)
def get_token(call: Call[None, None]) -> tuple[Caller, str]:
    """Read one token."""
    return call.caller, call.path["token"]


@GROUP.call(
    "GET",
    "/v1/tokens/{token}/versions",
    "List the versions of one token's value, masked, newest first.",
    action=Action.READ_MASKED,
    answers={200: VersionsOut},
    codes=("token_not_found",),
)
def list_versions(call: Call[None, None]) -> Answer:
    """List a record's versions."""
    found = present(call.served.reading).versions(call.caller, call.path["token"])
    return Answer(
        body=VersionsOut(
            items=[
                VersionOut(
                    version=each.version,
                    mask=dict(each.mask),
                    since=each.since,
                    until=each.until,
                    modification=each.modification,
                )
                for each in found
            ]
        )
    )


@GROUP.call(
    "GET",
    "/v1/tokens",
    "List a customer's tokens, masked.",
    action=Action.READ_MASKED,
    query=TokensQuery,
    answers={200: TokenPageOut},
    codes=("customer_not_found", "class_unknown", "cursor_invalid"),
)
def list_tokens(call: Call[None, TokensQuery]) -> Answer:
    """List a customer's tokens."""
    page = present(call.served.reading).page(
        call.caller,
        customer=call.query.customer,
        data_class=call.query.data_class,
        cursor=call.query.cursor,
        limit=call.query.limit,
    )
    return Answer(
        body=TokenPageOut(items=[views.token(item) for item in page.items], next=page.next)
    )


def _searched(
    call: Call[SearchIn, None], found: Sequence[tuple[TokenView, ...] | ServiceError]
) -> Answer:
    if call.body.values is not UNSET:
        return Answer(body=SearchOut(results=[_found(each) for each in found]))
    (matches,) = found
    if isinstance(matches, ServiceError):
        matches.pointer = _of_one(matches.pointer)
        raise matches
    return Answer(body=SearchOut(items=[views.token(match) for match in matches]))


@GROUP.call(
    "POST",
    "/v1/tokens/search",
    "Find tokens by exact values; answers are masked.",
    action=Action.SEARCH,
    body=SearchIn,
    answers={200: SearchOut},
    example={"class": "payment_card", "value": "4242 4242 4242 4242"},
    codes=("class_unknown", "card_number_invalid", "search_ambiguous"),
    together=Together(
        do=lambda served: present(served.reading).search_many, tell=_searched, most=SEARCHES
    ),
)
def search_tokens(call: Call[SearchIn, None]) -> SearchRequest:
    """Search by value."""
    one, several = call.body.value, call.body.values
    if (one is UNSET) == (several is UNSET):
        raise InvalidInput(
            "name one value, or values, and not both", code="search_ambiguous", pointer="/value"
        )
    return SearchRequest(
        caller=call.caller,
        data_class=call.body.data_class,
        values=(one,) if several is UNSET else tuple(several),
    )


def _found(matches: tuple[TokenView, ...] | ServiceError) -> SearchResult:
    if isinstance(matches, ServiceError):
        return SearchResult(error=item_error(matches))
    return SearchResult(tokens=[views.token(match) for match in matches])


def _of_one(pointer: str | None) -> str | None:
    """A pointer into `values/0` where the caller sent `value`."""
    return None if pointer is None else pointer.replace("/values/0", "/value", 1)


@GROUP.call(
    "DELETE",
    "/v1/tokens/{token}",
    "Erase a value: its key is destroyed, its token ends.",
    action=Action.ERASE,
    answers={204: None},
    codes=("token_not_found", "legal_hold"),
)
def delete_token(call: Call[None, None]) -> Answer:
    """Erase one value."""
    (outcome,) = present(call.served.erasure).erase(call.caller, [call.path["token"]])
    if outcome is not None:
        raise outcome
    return Answer(status=204)
