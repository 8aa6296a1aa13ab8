"""Erasures as the interface takes and answers them."""

from __future__ import annotations

from tests.api.conftest import Post
from tests.api.recording import CUSTOMER, ENTRY, PRINCIPAL, TOKEN, Recording, erasure_view
from vault_service.errors import Conflict


def test_a_customer_is_erased_in_two_steps(send: Post, recording: Recording) -> None:
    """202 for a new request, 200 for a known one; then another's confirmation."""
    assert send("DELETE", f"/v1/customers/{CUSTOMER}").status_code == 202
    assert recording.last["positional"] == (CUSTOMER,)
    recording.answers["request"] = (erasure_view(), False)
    assert send("DELETE", f"/v1/customers/{CUSTOMER}").status_code == 200
    answer = send("POST", f"/v1/customers/{CUSTOMER}/erasure/confirm").get_json()
    assert (answer["state"], answer["records"], answer["entry"]) == ("done", 17, ENTRY)


def test_the_certificate_is_read(send: Post, recording: Recording) -> None:
    """By customer, or among all."""
    one = send("GET", f"/v1/customers/{CUSTOMER}/erasure").get_json()
    assert (one["confirmed_by"], one["backup_horizon_days"]) == (PRINCIPAL, 30)
    assert one["backups_until"] is not None
    assert send("GET", f"/v1/erasures?limit=2&cursor={CUSTOMER}").get_json()["items"] == [one]
    assert (recording.last["cursor"], recording.last["limit"]) == (CUSTOMER, 2)


def test_tokens_are_erased_one_by_one(send: Post, recording: Recording) -> None:
    """Each with a result of its own, in order."""
    held = Conflict("a legal hold forbids the erasure", code="legal_hold")
    recording.answers["erase"] = [None, held]
    results = send("POST", "/v1/tokens/erase", {"tokens": [TOKEN, "tok_?"]}).get_json()["results"]
    assert [(each["token"], each["erased"]) for each in results] == [
        (TOKEN, True), ("tok_?", False),
    ]  # fmt: skip
    assert results[1]["error"]["code"] == "legal_hold"
    assert send("POST", "/v1/tokens/erase", {"tokens": []}).status_code == 422
