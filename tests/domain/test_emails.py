# ruff: noqa: RUF001 -- letters of other scripts are what is tested
"""E-mail addresses."""

from __future__ import annotations

import pytest

from vault_service.domain import emails
from vault_service.errors import InvalidInput


@pytest.mark.parametrize(
    ("raw", "local", "domain", "ascii_domain"),
    [
        ("Ann.Lee+tag@Example.COM", "Ann.Lee+tag", "example.com", "example.com"),
        ("a@b.example", "a", "b.example", "b.example"),
        ("o'brien@example.org", "o'brien", "example.org", "example.org"),
        ("søren@example.org", "søren", "example.org", "example.org"),
        ("x@BÜCHER.example", "x", "bücher.example", "xn--bcher-kva.example"),
        ("x@xn--bcher-kva.example", "x", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("x@straße.example", "x", "straße.example", "xn--strae-oqa.example"),
        ("用户@例え.example", "用户", "例え.example", "xn--r8jz45g.example"),
        (" a@example.com ", "a", "example.com", "example.com"),
        ("a@ｅxample.com", "a", "example.com", "example.com"),
        ("a@1.example", "a", "1.example", "1.example"),
    ],
)
def test_addresses(raw: str, local: str, domain: str, ascii_domain: str) -> None:
    """The local part is kept, the domain lower-cased and known in both of its forms."""
    parsed = emails.parse(raw, pointer="/value")
    assert (parsed.local, parsed.domain, parsed.ascii_domain) == (local, domain, ascii_domain)


@pytest.mark.parametrize(
    "raw",
    [
        "plain",
        "@example.com",
        "a@",
        "a@localhost",
        "a@example..com",
        "a@.example.com",
        "a@example.com.",
        "a@-x.example",
        "a@exa_mple.com",
        "a@exa mple.com",
        "a@127.0.0.1",
        "a@[127.0.0.1]",
        "a@example.123",
        ".a@example.com",
        "a.@example.com",
        "a..b@example.com",
        "a b@example.com",
        "a\u3000b@example.com",
        "a@b@example.com",
        '"a b"@example.com',
        "a(c)@example.com",
        "a<b>@example.com",
        "Ann <a@example.com>",
        "a,b@example.com",
        "x" * 65 + "@example.com",
        "é" * 33 + "@example.com",
        "a@" + "x" * 64 + ".example",
        "a@\u0378.example",
        "a@xn--a.example",
    ],
)
def test_what_is_no_address(raw: str) -> None:
    """Quoted parts, literals, bare hosts and broken dots are refused, without an echo."""
    with pytest.raises(InvalidInput) as caught:
        emails.parse(raw, pointer="/value")
    assert (caught.value.code, caught.value.pointer) == ("email_address_invalid", "/value")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_length_of_addresses() -> None:
    """254 octets are the most, counted in the form that is sent."""
    label = "x" * 50
    domain = f"{label}.{label}.{label}.{label}.example"
    local = "a" * (254 - 1 - len(domain))
    assert emails.parse(f"{local}@{domain}", pointer="/value")
    with pytest.raises(InvalidInput) as caught:
        emails.parse(f"{local}a@{domain}", pointer="/value")
    assert caught.value.code == "text_too_long"
    with pytest.raises(InvalidInput) as caught:
        emails.parse(f"{local}@{domain.replace('x', 'ö', 1)}", pointer="/value")
    assert caught.value.code == "email_address_invalid"


@pytest.mark.parametrize("raw", ["4242424242424242@example.com", "x@4242-4242-4242-4242.example"])
def test_an_address_holds_no_card_number(raw: str) -> None:
    """Neither part may hold one: the domain would stand in the mask."""
    with pytest.raises(InvalidInput) as caught:
        emails.parse(raw, pointer="/value")
    assert caught.value.code == "card_number_not_allowed_here"
