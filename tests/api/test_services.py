"""Choices of services, as the interface takes and answers them."""

from __future__ import annotations

from datetime import date

from tests.api.conftest import Post
from tests.api.recording import CUSTOMER, TOKEN, Recording, token_view
from vault_service.errors import Forbidden, InvalidInput
from vault_service.services.views import TokenizeAnswer

AT = f"/v1/customers/{CUSTOMER}/services"
CHOICE = {"service": "hosting.basic", "since": "2026-01-01"}


def test_choices_reach_the_use_case(send: Post, recording: Recording) -> None:
    """Details only where there are some; 200 with a token for each."""
    items = [CHOICE | {"details": "20 GB", "reference": "c-1"}, CHOICE | {"until": "2026-02-01"}]
    recording.answers["record"] = TokenizeAnswer(
        results=(token_view(), token_view(deduplicated=True)), replayed=True
    )
    response = send("POST", AT, {"items": items}, headers={"Idempotency-Key": "k-1"})
    assert response.status_code == 200
    assert response.headers["Idempotency-Replayed"] == "true"
    assert response.get_json()["results"] == [
        {"token": TOKEN, "created": True},
        {"token": TOKEN, "created": False},
    ]
    customer, (first, second) = recording.last["positional"]
    assert customer == CUSTOMER
    assert first.value == CHOICE | {"until": None, "details": "20 GB"}
    assert first.reference == "c-1"
    assert second.value == CHOICE | {"until": "2026-02-01"}
    assert recording.last["idempotency_key"] == "k-1"


def test_each_item_is_answered(send: Post, recording: Recording) -> None:
    """In order, with pointers to where it stood."""
    recording.answers["record"] = TokenizeAnswer(
        results=(
            InvalidInput("no", code="service_code_invalid", pointer="/items/0/value/service"),
            Forbidden("no"),
        )
    )
    response = send("POST", AT, {"items": [{"service": 4}, CHOICE, CHOICE]})
    shape, code, plain = (each["error"] for each in response.get_json()["results"])
    assert shape["pointer"] == "/items/0/service"
    assert (code["code"], code["pointer"]) == ("service_code_invalid", "/items/1/service")
    assert "pointer" not in plain


def test_nothing_well_formed(send: Post, recording: Recording) -> None:
    """Every item has its error, and nothing is kept."""
    recording.answers["record"] = InvalidInput("none", code="batch_size")
    response = send("POST", AT, {"items": [{}]})
    assert response.get_json()["results"][0]["error"]["code"] == "field_missing"
    assert send("POST", AT, {"items": [CHOICE]}).status_code == 422


def test_the_history(send: Post, recording: Recording) -> None:
    """Masked, by first day."""
    response = send("GET", AT)
    assert response.status_code == 200
    (item,) = response.get_json()["items"]
    assert date.fromisoformat(item["since"]) == date(2026, 1, 1)
    assert (item["token"], item["service"], item["current"]) == (TOKEN, "hosting.basic", True)
    assert recording.last["positional"] == (CUSTOMER,)
