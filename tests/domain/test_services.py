"""Choices of services: which codes and days are taken, and what shows."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from vault_service.domain import services
from vault_service.domain.classes import DataClass
from vault_service.domain.values import parse
from vault_service.errors import InvalidInput

TODAY = date(2026, 11, 25)


def value(**more: Any) -> dict[str, Any]:
    """A choice as a caller tells it."""
    return {"service": "hosting.basic", "since": "2026-01-01", **more}


def test_the_code_and_the_days_show_and_the_words_do_not() -> None:
    """The mask holds what has a closed form."""
    parsed = parse(
        DataClass.SERVICE_CHOICE, value(until="2026-06-30", details="20 GB"), today=TODAY
    )
    assert parsed.mask == {
        "service": "hosting.basic",
        "since": "2026-01-01",
        "until": "2026-06-30",
    }
    assert b"20 GB" in parsed.sealed
    assert parsed.variant == "2026-01-01 2026-06-30"
    assert "20 GB" not in repr(services.parse(value(details="20 GB"), pointer=""))


def test_an_open_choice() -> None:
    """Without an end there is none, in words and in form."""
    parsed = parse(DataClass.SERVICE_CHOICE, value(), today=TODAY)
    assert parsed.mask["until"] is None
    assert parsed.variant == "2026-01-01"
    assert b"details" not in parsed.sealed


@pytest.mark.parametrize(
    ("raw", "code", "pointer"),
    [
        ("hosting", "object_expected", "/v"),
        ({"since": "2026-01-01"}, "service_code_invalid", "/v/service"),
        ({"service": "hosting"}, "date_invalid", "/v/since"),
        (value(price="1"), "unknown_field", "/v"),
        (value(cvc="123"), "sensitive_authentication_data", "/v/cvc"),
        (value(service="Hosting"), "service_code_invalid", "/v/service"),
        (value(service="hosting for Ada"), "service_code_invalid", "/v/service"),
        (value(service="hosting..basic"), "service_code_invalid", "/v/service"),
        (value(service="a" * 65), "service_code_invalid", "/v/service"),
        (value(service="c4242424242424242"), "service_code_invalid", "/v/service"),
        (value(service="h\u00f6sting"), "service_code_invalid", "/v/service"),
        (value(service=7), "service_code_invalid", "/v/service"),
        (value(since="2026-02-30"), "date_invalid", "/v/since"),
        (value(since="2026-W01-1"), "date_invalid", "/v/since"),
        (value(since="20260101"), "date_invalid", "/v/since"),
        (value(since=20260101), "date_invalid", "/v/since"),
        (value(until="2025-12-31"), "period_invalid", "/v/until"),
        (value(until=""), "date_invalid", "/v/until"),
        (value(details="4242 4242 4242 4242"), "card_number_not_allowed_here", "/v/details"),
        (value(details="x" * 2001), "text_too_long", "/v/details"),
    ],
)
def test_what_is_no_choice(raw: object, code: str, pointer: str) -> None:
    """Each with its code and its place."""
    with pytest.raises(InvalidInput) as refused:
        services.parse(raw, pointer="/v")
    assert (refused.value.code, refused.value.pointer) == (code, pointer)
