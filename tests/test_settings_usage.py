"""The settings that say which visits are counted."""

from __future__ import annotations

import pytest

from vault_service.errors import SettingsError
from vault_service.settings import PREFIX, load

GOOD = {"ENV": "development", "USAGE_SITES": "https://www.example.com http://127.0.0.1:8000"}


def test_sites_and_pages_that_can_be_counted() -> None:
    """Origins as browsers say them; http on this host only."""
    pages = "/ /pricing /blog/*"
    found = load({PREFIX + name: text for name, text in (GOOD | {"USAGE_PAGES": pages}).items()})
    assert found.usage_pages == pages


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("USAGE_SITES", "www.example.com"),
        ("USAGE_SITES", "https://www.example.com/"),
        ("USAGE_SITES", "https://WWW.example.com"),
        ("USAGE_SITES", "https://me@www.example.com"),
        ("USAGE_SITES", "https://www.example.com:x"),
        ("USAGE_SITES", "http://www.example.com"),
        ("USAGE_SITES", "https://a.example https://a.example"),
        ("USAGE_PAGES", "/pricing/"),
        ("USAGE_PAGES", "pricing"),
        ("USAGE_PAGES", "/a /a"),
        ("USAGE_PAGES", " ".join(f"/{number}" for number in range(65))),
    ],
)
def test_what_cannot_be_counted_is_refused(name: str, text: str) -> None:
    """The message names the setting."""
    with pytest.raises(SettingsError, match=PREFIX + name):
        load({PREFIX + each: value for each, value in (GOOD | {name: text}).items()})
