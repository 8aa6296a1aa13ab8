"""What may be put down of a visit, and how counts may be told."""

from __future__ import annotations

from itertools import product

import pytest

from vault_service.domain.usage import FEW, INTERNAL, LEAST, NONE, OTHER, Site, is_visitor, told

SITE = Site(
    ("https://www.example.com", "https://shop.example.com:8443"),
    ("/", "/blog/*", "/blog/2026/*", "/pricing"),
)


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("/", "/"),
        ("", "/"),
        ("https://www.example.com", "/"),
        ("https://www.example.com/pricing?customer=jane@example.com#x", "/pricing"),
        ("/pricing/", "/pricing"),
        ("/pricing/jane", OTHER),
        ("/blog", "/blog/*"),
        ("/blog/jane@example.com", "/blog/*"),
        ("/blog/2026/11", "/blog/2026/*"),
        ("/blogger", OTHER),
        ("//[bad", OTHER),
        ("/" + "a" * 2048, OTHER),
        ("/\x00", OTHER),
    ],
)
def test_a_page_has_a_name_of_the_settings(text: str, page: str) -> None:
    """Nothing of an address is kept but which of the declared names it falls under."""
    assert SITE.page(text) == page


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("", NONE),
        ("https://www.example.com/x?y", INTERNAL),
        ("https://shop.example.com:8443/", INTERNAL),
        ("https://shop.example.com/", "example.com"),
        ("https://jane-doe.blog.example.org/me", "example.org"),
        ("https://News.Example.co.uk./x", "example.co.uk"),
        ("https://co.uk/", "co.uk"),
        ("https://user:secret@example.org:444/", "example.org"),
        ("https://a.xn--bcher-kva.example/", "xn--bcher-kva.example"),
        ("https://127.0.0.1/", OTHER),
        ("https://[2001:db8::1]/", OTHER),
        ("https://[bad/", OTHER),
        ("https://localhost/", OTHER),
        ("https://4242424242424242.com/", OTHER),
        ("https://b\u00fccher.example/", OTHER),
        ("https://-a.example/", OTHER),
        ("https://" + "a" * 33 + ".example/", OTHER),
        ("android-app://com.example.reader/", OTHER),
        ("javascript:alert(1)", OTHER),
        ("https://example.org/" + "a" * 2048, OTHER),
    ],
)
def test_a_referrer_is_cut_down_to_a_registered_domain(text: str, domain: str) -> None:
    """What somebody puts before his domain, or behind it, is nobody's business."""
    assert SITE.referrer(text) == domain


def test_an_address_that_cannot_be_read_is_none_of_the_site() -> None:
    """Nor does it fail."""
    assert not SITE.holds("https://[bad")


@pytest.mark.parametrize(
    ("text", "good"),
    [("A" * 22, True), ("A" * 21 + "B", False), ("A" * 21, False), ("A" * 23, False), ("", False)],
)
def test_an_id_has_128_bits(text: str, good: bool) -> None:  # noqa: FBT001 -- a table
    """What is no id of this service's is not taken for one."""
    assert is_visitor(text) is good


def test_small_counts_are_hidden_and_others_rounded() -> None:
    """`<10` below ten; tens from there on."""
    assert [told(count) for count in (1, 9, 10, 19, 20, 123_456)] == [
        FEW, FEW, 10, 10, 20, 123_450,
    ]  # fmt: skip


def test_no_small_count_follows_from_a_total_and_its_other_parts() -> None:
    """Every table of a hidden part beside up to two shown ones leaves several answers."""
    for shown in (1, 2):
        answers: dict[tuple[object, ...], set[int]] = {}
        for parts in product(range(LEAST, 3 * LEAST), repeat=shown):
            for small in range(1, LEAST):
                seen = (told(sum(parts) + small), *map(told, parts))
                answers.setdefault(seen, set()).add(small)
        assert min(map(len, answers.values())) >= LEAST - shown - 1
