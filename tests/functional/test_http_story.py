"""The whole story over HTTP, as a billing system, a requester and two officers live it."""

from __future__ import annotations

import pytest

from tests.support.running import Running
from tests.support.whole import card
from vault_service.cli.sample_cards import NUMBERS


@pytest.fixture(scope="module")
def customer(service: Running) -> str:
    """A customer."""
    return service.customer("crm-17")


def test_the_same_reference_is_the_same_customer(service: Running, customer: str) -> None:
    """A repeated reference answers 200 with the same id."""
    answer = service.call("POST", "/v1/customers", {"external_ref": "crm-17"}, by="support")
    assert (answer.status, answer.body["id"]) == (200, customer)


def test_twenty_published_numbers_singly_and_in_a_batch(service: Running) -> None:
    """Each number gets a token and a mask; a second time, in a batch, the same tokens."""
    customer = service.customer()
    numbers = list(dict.fromkeys(NUMBERS))[:20]
    tokens = []
    for number in numbers:
        body = {"class": "payment_card", "customer": customer, "value": card(number)}
        answer = service.call("POST", "/v1/tokens", body, by="billing")
        assert answer.status == 201, answer.raw
        assert number.encode() not in answer.raw
        tokens.append(answer.body["id"])
    items = [
        {
            "class": "payment_card",
            "customer": customer,
            "value": card(number),
            "reference": f"inv-{index}",
        }
        for index, number in enumerate(numbers)
    ]
    answer = service.call("POST", "/v1/tokens/batch", {"items": items}, by="billing")
    assert answer.status == 200
    results = answer.body["results"]
    assert [each["token"]["id"] for each in results] == tokens
    assert all(each["token"]["deduplicated"] for each in results)
    assert [each["reference"] for each in results] == [f"inv-{i}" for i in range(20)]


def test_masks_are_read_and_values_are_found(service: Running) -> None:
    """A masked read, a listing and a search answer alike, and never with the number."""
    customer = service.customer()
    token = service.card(customer, "378282246310005")
    read = service.call("GET", f"/v1/tokens/{token}", by="support")
    assert read.status == 200
    assert read.body["mask"]["number"] == "378282*****0005"
    body = {"class": "payment_card", "value": "3782 822463 10005"}
    found = service.call("POST", "/v1/tokens/search", body, by="support")
    assert found.status == 200, found.raw
    assert token in [each["id"] for each in found.body["items"]]
    listed = service.call(
        "GET", f"/v1/tokens?customer={customer}&class=payment_card&limit=100", by="support"
    )
    assert token in [each["id"] for each in listed.body["items"]]
    assert b"378282246310005" not in read.raw + found.raw + listed.raw


def test_reveal_is_refused_in_every_wrong_way_and_then_works_once(
    service: Running, customer: str
) -> None:
    """Nobody reveals without a token, with another's, beyond its scope, or twice."""
    token = service.card(customer, "5555555555554444")
    other = service.card(customer, "4111111111111111")
    assert service.call("POST", "/v1/reveal", {"tokens": [token]}).status == 401
    for name in ("billing", "support", "officer-1", "auditor", "operator"):
        assert service.reveal("x", token, by=name).status == 403
    assert (
        service.call("POST", "/v1/reveal", {"tokens": [token]}, by="requester").code
        == "disclosure_token_missing"
    )
    assert service.reveal("not.a.token", token).code == "disclosure_token_malformed"
    grant = service.grant(token)
    jws = service.token(grant)
    assert service.reveal(jws[:-2] + ("AA" if jws[-2:] != "AA" else "BA"), token).status == 403
    assert service.reveal(jws, other).code == "disclosure_scope_exceeded"
    answer = service.reveal(jws, token)
    assert answer.status == 200, answer.raw
    (result,) = answer.body["results"]
    assert result["id"] == token
    assert result["value"]["number"] == "5555555555554444"
    assert answer.body["receipt"]["grant"] == grant
    assert service.reveal(jws, token).status == 403


def test_a_requester_cannot_approve_and_one_officer_is_not_enough(
    service: Running, customer: str
) -> None:
    """The request stays submitted until two different officers agree."""
    token = service.card(customer, "6011111111111117")
    grant = service.grant(token, officers=["officer-1"])
    path = f"/v1/disclosures/{grant}"
    assert service.call("POST", path + "/approve", {}, by="requester").status == 403
    again = service.call("POST", path + "/approve", {}, by="officer-1")
    assert (again.status, again.code) == (409, "already_approved_by_you")
    assert service.call("POST", path + "/token", {}, by="requester").status == 409
    assert service.call("GET", path, by="requester").body["state"] == "submitted"


def test_an_erased_token_is_gone(service: Running, customer: str) -> None:
    """Erasing answers 204, then the token is unknown to everybody."""
    token = service.card(customer, "30569309025904")
    assert service.call("DELETE", f"/v1/tokens/{token}", by="billing").status == 204
    assert service.call("GET", f"/v1/tokens/{token}", by="billing").status == 404
    assert service.call("DELETE", f"/v1/tokens/{token}", by="billing").status == 404
