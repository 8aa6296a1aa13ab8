"""The calls: what goes in reaches the use case, what it answers goes out as documented."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from keys.errors import CiphertextRejected, Outage, VaultDenied, VaultUnavailable
from tests.api.conftest import Post
from tests.api.recording import (
    API_KEY,
    CUSTOMER,
    DISCLOSURE,
    KEY,
    NOW,
    PRINCIPAL,
    TOKEN,
    Recording,
    token_view,
)
from vault_service.errors import (
    Conflict,
    DisclosureRefused,
    Forbidden,
    InvalidInput,
    NotFound,
    Unavailable,
)
from vault_service.services.views import CustomerView, TokenizeAnswer

CARD = {"number": "4242 4242 4242 4242", "exp_month": 12, "exp_year": 2035, "name": "A. Customer"}
TOKENIZE = {
    "class": "payment_card",
    "customer": CUSTOMER,
    "value": CARD,
    "reference": "inv-17",
    "metadata": {"plan": "gold"},
    "format": "card",
    "expires_at": "2031-05-01T12:00:00+02:00",
}
ANSWER = {
    "id": TOKEN,
    "class": "payment_card",
    "customer": CUSTOMER,
    "mask": {"number": "424242******4242", "brand": "visa", "exp_month": 12, "exp_year": 2035},
    "format": "opaque",
    "version": 1,
    "deduplicated": False,
    "created_at": "2026-11-23T12:00:00.123456Z",
    "expires_at": None,
    "reference": "inv-17",
    "metadata": {"plan": "gold"},
}


def test_tokenize_hands_over_everything(send: Post, recording: Recording) -> None:
    """All fields, the key and the very bytes of the body reach the use case; 201 with the token."""
    response = send("POST", "/v1/tokens", TOKENIZE, headers={"Idempotency-Key": "7f9c"})
    assert response.status_code == 201
    assert response.get_json() == ANSWER
    request = recording.last["request"]
    (item,) = request.items
    assert item.data_class == "payment_card"
    assert item.value == CARD
    assert item.format == "card"
    assert item.metadata == {"plan": "gold"}
    assert item.expires_at.isoformat() == "2031-05-01T12:00:00+02:00"
    assert request.idempotency_key == "7f9c"
    assert b"4242 4242" in request.body
    assert not request.batch
    assert request.caller.principal.id == PRINCIPAL
    assert "Idempotency-Replayed" not in response.headers


def test_a_known_value_is_200(send: Post, recording: Recording) -> None:
    """A deduplicated value answers 200 and says so."""
    recording.answers["tokenize"] = TokenizeAnswer(results=(token_view(deduplicated=True),))
    response = send("POST", "/v1/tokens", TOKENIZE)
    assert response.status_code == 200
    assert response.get_json()["deduplicated"] is True


def test_a_replayed_answer_says_so(send: Post, recording: Recording) -> None:
    """The first answer of an Idempotency-Key comes again with a header."""
    recording.answers["tokenize"] = TokenizeAnswer(results=(token_view(),), replayed=True)
    response = send("POST", "/v1/tokens", TOKENIZE, headers={"Idempotency-Key": "7f9c"})
    assert response.status_code == 201
    assert response.headers["Idempotency-Replayed"] == "true"


def test_a_batch_answers_item_by_item(send: Post, recording: Recording) -> None:
    """Items of the wrong shape and refused items are errors at their place; neighbours succeed."""
    refused = InvalidInput("wrong", code="card_number_invalid", pointer="/items/1/value/number")
    recording.answers["tokenize"] = TokenizeAnswer(results=(token_view(), refused, token_view()))
    items: list[Any] = [
        TOKENIZE | {"reference": "one"},
        7,
        TOKENIZE | {"reference": "two"},
        {"class": "payment_card", "reference": "three"},
        TOKENIZE | {"reference": "four"},
    ]
    response = send("POST", "/v1/tokens/batch", {"items": items})
    assert response.status_code == 200
    results = response.get_json()["results"]
    assert results[0] == {"token": ANSWER, "reference": "one"}
    assert results[1]["error"]["code"] == "object_expected"
    assert results[1]["error"]["pointer"] == "/items/1"
    assert results[2]["error"] == {
        "status": 422,
        "code": "card_number_invalid",
        "detail": "wrong",
        "pointer": "/items/2/value/number",
    }
    assert results[2]["reference"] == "two"
    assert results[3]["error"]["code"] == "field_missing"
    assert results[3]["error"]["pointer"] == "/items/3/customer"
    assert results[3]["reference"] == "three"
    assert results[4]["token"]["id"] == TOKEN
    assert len(recording.last["request"].items) == 3
    assert recording.last["request"].batch


def test_a_batch_without_one_good_item_still_asks_who_may(send: Post, recording: Recording) -> None:
    """With nothing to do the use case is asked all the same, so that it can refuse the caller."""
    recording.answers["tokenize"] = InvalidInput("empty", code="batch_size", pointer="/items")
    response = send("POST", "/v1/tokens/batch", {"items": [7]})
    assert response.status_code == 200
    assert response.get_json()["results"][0]["error"]["code"] == "object_expected"
    recording.answers["tokenize"] = Forbidden("no")
    assert send("POST", "/v1/tokens/batch", {"items": [7]}).status_code == 403


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_holds_1_to_1000_items(send: Post, recording: Recording, count: int) -> None:
    """An empty and an overlong batch are refused as a whole."""
    response = send("POST", "/v1/tokens/batch", {"items": [TOKENIZE] * count})
    assert response.status_code == 422
    assert response.get_json(force=True)["code"] == "value_out_of_bounds"
    assert recording.asked == []


def test_a_reference_that_is_a_card_number_is_not_echoed(send: Post) -> None:
    """Of an item of the wrong shape no card number is echoed."""
    response = send("POST", "/v1/tokens/batch", {"items": [{"reference": "4242424242424242"}]})
    assert "4242424242424242" not in response.get_data(as_text=True)


def test_a2_a_refused_reference_is_not_echoed(send: Post, recording: Recording) -> None:
    """An item refused because its reference is a card number has that number in no answer."""
    refused = InvalidInput("no", code="card_number_not_allowed_here", pointer="/items/0/reference")
    recording.answers["tokenize"] = TokenizeAnswer(results=(refused,))
    items = [TOKENIZE | {"reference": "4242 4242 4242 4242"}]
    response = send("POST", "/v1/tokens/batch", {"items": items})
    (result,) = response.get_json()["results"]
    assert result["error"]["code"] == "card_number_not_allowed_here"
    assert "4242 4242 4242 4242" not in response.get_data(as_text=True)


def test_one_token_is_read_masked(send: Post, recording: Recording) -> None:
    """GET by name answers the masked view."""
    response = send("GET", f"/v1/tokens/{TOKEN}")
    assert response.status_code == 200
    assert response.get_json() == ANSWER
    assert recording.last["token"] == TOKEN


def test_head_answers_like_get_without_a_body(send: Post) -> None:
    """HEAD has the headers of GET."""
    response = send("HEAD", f"/v1/tokens/{TOKEN}")
    assert response.status_code == 200
    assert response.get_data() == b""


def test_tokens_come_in_pages(send: Post, recording: Recording) -> None:
    """The parameters reach the use case, the page has its cursor."""
    response = send("GET", f"/v1/tokens?customer={CUSTOMER}&class=telephone&cursor=c&limit=7")
    assert response.get_json() == {"items": [ANSWER], "next": "more"}
    asked = recording.last
    assert (asked["customer"], asked["data_class"]) == (CUSTOMER, "telephone")
    assert (asked["cursor"], asked["limit"]) == ("c", 7)


def test_search_answers_value_by_value(send: Post, recording: Recording) -> None:
    """Each value has its matches or its error."""
    refused = InvalidInput("wrong", code="card_number_invalid", pointer="/values/1")
    recording.answers["search"] = [(token_view(),), refused, ()]
    body = {"class": "payment_card", "values": ["4242424242424242", "1", "2"]}
    results = send("POST", "/v1/tokens/search", body).get_json()["results"]
    assert results[0] == {"tokens": [ANSWER]}
    assert results[1]["error"]["code"] == "card_number_invalid"
    assert results[2] == {"tokens": []}


def test_erase_answers_nothing(send: Post, recording: Recording) -> None:
    """DELETE answers 204 without a body, and what is not there 404."""
    response = send("DELETE", f"/v1/tokens/{TOKEN}")
    assert (response.status_code, response.get_data()) == (204, b"")
    recording.answers["erase"] = [NotFound("no", code="token_not_found")]
    assert send("DELETE", f"/v1/tokens/{TOKEN}").status_code == 404


def test_reveal_takes_its_token_from_the_header(send: Post, recording: Recording) -> None:
    """The disclosure token comes in its header, the values go out with a receipt."""
    response = send(
        "POST", "/v1/reveal", {"tokens": [TOKEN]}, headers={"Disclosure-Token": "e.y.J"}
    )
    assert response.status_code == 200
    assert response.get_json() == {
        "results": [
            {"id": TOKEN, "class": "payment_card", "value": {"number": "4242424242424242"}}
        ],
        "receipt": {
            "entry": "0192f0c1-7c1e-7b3a-8c55-2d1f5f3c9a10",
            "grant": DISCLOSURE,
            "ground": "protect_from_harm",
            "clause": "D1",
            "at": "2026-11-23T12:00:00.123456Z",
            "values": 1,
        },
    }
    assert recording.last["disclosure_token"] == "e.y.J"
    assert response.headers["Cache-Control"] == "no-store"


def test_a_customer_is_201_when_new_and_200_when_known(send: Post, recording: Recording) -> None:
    """The same reference gives the same customer, and the status says which it was."""
    response = send("POST", "/v1/customers", {"external_ref": "crm-17"})
    assert response.status_code == 201
    assert response.get_json() == {"id": CUSTOMER, "created_at": "2026-11-23T12:00:00.123456Z"}
    assert recording.last["positional"] == (["crm-17"],)
    recording.answers["create"] = [CustomerView(id=CUSTOMER, created_at=NOW)]
    assert send("POST", "/v1/customers", {"external_ref": "crm-17"}).status_code == 200
    assert send("POST", "/v1/customers").status_code == 200
    assert recording.last["positional"] == ([None],)


def test_a_profile_holds_tokens_by_class(send: Post) -> None:
    """A customer's profile is masked, by class."""
    profile = send("GET", f"/v1/customers/{CUSTOMER}").get_json()
    assert profile["tokens"] == {"payment_card": [ANSWER]}
    assert profile["truncated"] is False


DRAFT = {
    "ground": "protect_from_harm",
    "category": "personal_and_account",
    "tokens": [TOKEN],
    "uses": 1,
    "recipient": {"kind": "counterparty", "name": "B"},
    "evidence": {"harm": "x", "harmed": "y", "action": "identify", "case_reference": "CASE-1"},
}


def test_a_disclosure_is_requested(send: Post, recording: Recording) -> None:
    """The request reaches the use case whole; `draft` keeps it a draft."""
    response = send("POST", "/v1/disclosures", DRAFT | {"draft": True, "duration_seconds": 60})
    assert response.status_code == 201
    assert response.get_json()["recipient"] == {"kind": "counterparty", "name": "B"}
    (draft,) = recording.last["positional"]
    assert draft.tokens == (TOKEN,)
    assert draft.duration_seconds == 60
    assert draft.recipient_name == "B"
    assert recording.last["is_draft"] is True


STEPS: list[tuple[str, Any]] = [
    ("submit", None),
    ("submit", {}),
    ("approve", None),
    ("approve", {"comment": "seen"}),
    ("deny", {"comment": "seen"}),
    ("revoke", {"comment": "seen"}),
    ("withdraw", {"comment": "seen"}),
    ("determine", {"valid": True, "reasons": "in due form"}),
]


@pytest.mark.parametrize(("step", "body"), STEPS)
def test_each_step_of_a_disclosure_has_its_call(
    send: Post, recording: Recording, step: str, body: Any
) -> None:
    """A step names its request and hands over what was said."""
    response = send("POST", f"/v1/disclosures/{DISCLOSURE}/{step}", body)
    assert response.status_code == 200
    assert recording.asked[-1][0] == step
    assert recording.last["positional"] == (DISCLOSURE,)
    for name, value in (body or {}).items():
        assert recording.last[name] == value


def test_a_disclosure_token_is_given_out(send: Post) -> None:
    """A grant is exchanged for a token, 201."""
    response = send("POST", f"/v1/disclosures/{DISCLOSURE}/token", {})
    assert response.status_code == 201
    assert response.get_json()["token"] == "e.y.J"


def test_explain_names_what_is_missing(send: Post) -> None:
    """What the policy says is answered in full."""
    response = send("POST", "/v1/disclosures/explain", DRAFT)
    assert response.get_json() == {"allowed": True, "clause": "D1", "missing": []}


PRINCIPALS: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/v1/principals", {"name": "b", "roles": ["billing"]}, 201, "create"),
    ("GET", "/v1/principals", None, 200, "page"),
    ("GET", "/v1/principals/me", None, 200, "get"),
    ("POST", f"/v1/principals/{PRINCIPAL}/keys", {"revoke": KEY}, 201, "issue_key"),
    ("DELETE", f"/v1/principals/{PRINCIPAL}/keys/{KEY}", None, 200, "revoke_key"),
    ("POST", f"/v1/principals/{PRINCIPAL}/keys/{KEY}/confirm", None, 200, "confirm_key"),
    ("POST", f"/v1/principals/{PRINCIPAL}/disable", None, 200, "disable"),
    ("POST", f"/v1/principals/{PRINCIPAL}/enable", None, 200, "enable"),
    ("PUT", f"/v1/principals/{PRINCIPAL}/roles", {"roles": ["support"]}, 200, "set_roles"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "called"), PRINCIPALS)
def test_each_call_on_principals_reaches_its_use_case(  # noqa: PLR0917 -- a table's columns
    send: Post, recording: Recording, method: str, path: str, body: Any, status: int, called: str
) -> None:
    """A call reaches its use case, and no answer but an issued key's holds a key."""
    response = send(method, path, body)
    assert response.status_code == status
    assert recording.asked[-1][0] == called
    assert (API_KEY in response.get_data(as_text=True)) == (status == 201)


ERRORS: list[tuple[Exception, int, str]] = [
    (InvalidInput("no", code="class_unknown"), 422, "class_unknown"),
    (Forbidden("no"), 403, "forbidden"),
    (DisclosureRefused("no", code="disclosure_spent"), 403, "disclosure_spent"),
    (NotFound("no", code="token_not_found"), 404, "token_not_found"),
    (Conflict("no", code="idempotency_key_reused"), 409, "idempotency_key_reused"),
    (Unavailable("no", code="commit_unknown", retry_after=2.4), 503, "commit_unknown"),
    (VaultUnavailable(reason=Outage.SEALED, retry_after=5), 503, "vault_unavailable"),
    (VaultDenied("token hvs.secretsecretsecret"), 503, "vault_denied"),
    (CiphertextRejected(), 500, "value_unreadable"),
    (RuntimeError("secret 4242424242424242"), 500, "internal_error"),
]


@pytest.mark.parametrize(("error", "status", "code"), ERRORS)
def test_each_error_has_its_status(
    send: Post, recording: Recording, error: Exception, status: int, code: str
) -> None:
    """An error becomes its status and code; its message is repeated only where it is the service's.

    503 says when to come again.
    """
    recording.answers["get"] = error
    response = send("GET", f"/v1/tokens/{TOKEN}")
    document = response.get_json(force=True)
    assert (response.status_code, document["code"]) == (status, code)
    assert "secret" not in response.get_data(as_text=True)
    assert ("Retry-After" in response.headers) == (status == 503)


def test_unknown_and_forbidden_tokens_answer_alike(send: Post, recording: Recording) -> None:
    """Two answers about tokens that one may not see differ in nothing but the request's id."""
    recording.answers["get"] = NotFound("there is no such token", code="token_not_found")
    told = []
    for token in (TOKEN, "nonsense"):
        response = send("GET", f"/v1/tokens/{token}")
        document = response.get_json(force=True)
        document.pop("request_id")
        told.append((response.status_code, document))
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer x", f"Basic {API_KEY}", "Bearer \u00e4"]
)
def test_a_stranger_is_401_whatever_he_sends(
    client: FlaskClient, recording: Recording, authorization: str | None
) -> None:
    """Without a credential that counts nothing of the request is looked at."""
    headers = {} if authorization is None else {"Authorization": authorization}
    response = client.post("/v1/tokens", data=b"{", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert recording.asked == []


def test_the_deadline_reaches_the_use_case(send: Post, recording: Recording) -> None:
    """A use case is told until when its caller waits: three seconds from the request's begin."""
    import time

    before = time.monotonic()
    send("GET", f"/v1/tokens/{TOKEN}")
    caller = recording.last["caller"]
    assert before + 2.9 < caller.deadline < time.monotonic() + 3.0
    assert caller.address == "127.0.0.1"
    assert caller.request_id.startswith("req_")


def test_every_answer_has_the_common_headers(send: Post, client: FlaskClient) -> None:
    """No answer may be cached, framed or sniffed, errors included."""
    for response in (
        send("GET", f"/v1/tokens/{TOKEN}"),
        client.get("/v1/tokens"),
        client.get("/nowhere"),
        client.get("/healthz"),
        client.options("/v1/reveal"),
    ):
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert response.headers["Request-Id"].startswith("req_")
        assert "Access-Control-Allow-Origin" not in response.headers
        assert "Set-Cookie" not in response.headers
