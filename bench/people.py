"""Made-up card numbers and requests. Numbers are drawn at run time and written down nowhere."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

from bench.loader import Request
from bench.stack import Stack

_PREFIX: Final = "424242"  # of the network's published test numbers
_EXPIRY: Final = {"exp_month": 12, "exp_year": 2039, "name": "A. Customer"}


def luhn(digits: str) -> str:
    """The digits with their check digit."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return f"{digits}{-total % 10}"


def numbers(seed: int) -> Iterator[str]:
    """Card numbers, no two alike within one seed: a walk through all of them by a step."""
    place = random.Random(seed).randrange(10**9)  # noqa: S311 -- test data
    while True:
        yield luhn(f"{_PREFIX}{place:09d}")
        place = (place + 618_033_989) % 10**9


def card(number: str) -> dict[str, Any]:
    """A card's value."""
    return {"number": number, **_EXPIRY}


def item(customer: str, number: str) -> dict[str, Any]:
    """One item to tokenize."""
    return {"class": "payment_card", "customer": customer, "value": card(number)}


def tokenize(customer: str, number: str) -> Request:
    """Tokenize one card."""
    return Request(method="POST", path="/v1/tokens", body=item(customer, number))


def tokenize_batch(customer: str, batch: list[str]) -> Request:
    """Tokenize many cards."""
    body = {"items": [item(customer, number) for number in batch]}
    return Request(method="POST", path="/v1/tokens/batch", body=body)


def read(token: str) -> Request:
    """Read one token, masked."""
    return Request(method="GET", path=f"/v1/tokens/{token}")


def reveal(proof: str, tokens: list[str]) -> Request:
    """Reveal with a disclosure token."""
    return Request(
        method="POST",
        path="/v1/reveal",
        body={"tokens": tokens},
        headers={"Disclosure-Token": proof},
    )


def customers(stack: Stack, count: int) -> list[str]:
    """New customers."""
    made = (stack.expect("POST", "/v1/customers", {}, by="billing") for _ in range(count))
    return [str(each["id"]) for each in made]


def grant(stack: Stack, tokens: list[str], *, uses: int) -> str:
    """A standing grant for tokens, approved by an officer."""
    made = stack.expect(
        "POST",
        "/v1/disclosures",
        {
            "ground": "provide_service",
            "category": "personal_and_account",
            "tokens": tokens,
            "uses": uses,
            "recipient": {"kind": "internal", "name": "Bench"},
            "evidence": {"service": "measuring"},
        },
        by="requester",
    )
    stack.expect("POST", f"/v1/disclosures/{made['id']}/approve", {}, by="officer-1")
    return str(made["id"])


def take_proof(disclosure: str) -> Request:
    """Take a disclosure token."""
    return Request(method="POST", path=f"/v1/disclosures/{disclosure}/token", body={})
