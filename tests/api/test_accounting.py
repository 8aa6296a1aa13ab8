"""The accounting as the interface answers it."""

from __future__ import annotations

import pytest

from tests.api.conftest import Post
from tests.api.recording import CUSTOMER, DISCLOSURE, ENTRY, TOKEN, Recording, customer_notice


def test_a_customers_disclosures_are_answered(send: Post, recording: Recording) -> None:
    """All of it, with the page asked for."""
    response = send("GET", f"/v1/customers/{CUSTOMER}/disclosures?limit=2&cursor={ENTRY}")
    assert response.status_code == 200
    assert response.get_json() == {
        "items": [
            {
                "entry": ENTRY,
                "at": "2026-11-23T12:00:00.123456Z",
                "disclosure": DISCLOSURE,
                "ground": "protect_from_harm",
                "category": "personal_and_account",
                "clause": "D1",
                "policy": "0" * 64,
                "recipient_kind": "counterparty",
                "values": [
                    {
                        "token": TOKEN,
                        "class": "payment_card",
                        "fields": ["number"],
                        "mask": {"number": "424242******4242"},
                    }
                ],
                "withheld": False,
                "told_after": None,
            }
        ],
        "next": ENTRY,
    }
    assert recording.last["positional"] == (CUSTOMER,)
    assert (recording.last["limit"], recording.last["cursor"]) == (2, ENTRY)


NOTICE = f"/v1/customers/{CUSTOMER}/disclosures/notice"


def test_a_notice_is_a_page_that_does_nothing(send: Post, recording: Recording) -> None:
    """Escaped, its own style, no script, nothing loaded, not kept by anybody."""
    response = send("GET", NOTICE + ".html")
    page = response.get_data(as_text=True)
    assert response.content_type == "text/html; charset=utf-8"
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src")
    assert response.headers["Cache-Control"] == "no-store"
    assert recording.last["positional"] == (CUSTOMER,)
    assert "Because &lt;b&gt;so&lt;/b&gt; &amp; so." in page
    assert "<b>" not in page
    assert "23 November 2026 to 2 January 2027, 3 times" in page
    assert "payment card: number, month of expiry" in page
    assert "law enforcement: An agency." in page
    assert "D1 of our privacy policy: It may go out." in page
    assert "<dd>telephone</dd>" in page
    assert "23 November 2026, once" in page
    assert CUSTOMER in page
    for never in ("<script", "http:", "https:", "src=", "@import", "url("):
        assert never not in page


def test_a_notice_is_plain_text(send: Post) -> None:
    """The same, unescaped."""
    response = send("GET", NOTICE + ".txt")
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.get_data(as_text=True).splitlines()[9:] == [
        "",
        "1. 23 November 2026 to 2 January 2027, 3 times",
        "   What:    payment card: number, month of expiry",
        "   To whom: law enforcement: An agency.",
        "   Why:     Because <b>so</b> & so.",
        "   Clause:  D1 of our privacy policy: It may go out.",
        "",
        "2. 23 November 2026, once",
        "   What:    telephone",
        "   To whom: law enforcement",
        "   Clause:  D1 of our privacy policy",
        "",
        "Days are those of UTC. The data themselves do not stand in this notice.",
    ]


@pytest.mark.parametrize("ending", [".html", ".txt"])
def test_an_empty_notice_does_not_say_that_nothing_was(
    send: Post, recording: Recording, ending: str
) -> None:
    """Only that there is nothing to tell of."""
    recording.answers["make"] = customer_notice(lines=())
    page = send("GET", NOTICE + ending).get_data(as_text=True)
    assert "There is no disclosure that we may tell you of today." in page
    assert "There are more" not in page
    recording.answers["make"] = customer_notice(more=True)
    assert "There are more" in send("GET", NOTICE + ending).get_data(as_text=True)


def test_the_transparency_report_is_answered(send: Post, recording: Recording) -> None:
    """A hidden count is null."""
    response = send("GET", "/v1/reports/transparency?year=2025")
    assert recording.last["positional"] == (2025,)
    report = response.get_json()
    assert (report["year"], report["threshold"]) == (2025, 5)
    total, ground = report["rows"]
    numbers = {"requests": 12, "denied": 0, "granted": 12, "reveals": None, "values": None}
    nowhere = dict.fromkeys(("category", "ground", "clause", "recipient_kind", "class"))
    assert total == {"level": "total", **nowhere, **numbers}
    assert (ground["category"], ground["ground"], ground["clause"], ground["class"]) == (
        "personal_and_account",
        "protect_from_harm",
        "D1",
        None,
    )


@pytest.mark.parametrize("query", ["", "?year=", "?year=x", "?year=2025&year=2024", "?years=1"])
def test_a_report_is_of_one_year(send: Post, query: str) -> None:
    """Anything else is the caller's mistake."""
    assert send("GET", f"/v1/reports/transparency{query}").status_code in {400, 422}
