"""The accounting as the interface answers it."""

from __future__ import annotations

from tests.api.conftest import Post
from tests.api.recording import CUSTOMER, DISCLOSURE, ENTRY, TOKEN, Recording


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
