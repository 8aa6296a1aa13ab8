"""Changes, versions, links and finding of customers, as the interface takes and answers them."""

from __future__ import annotations

import pytest

from tests.api.conftest import Post
from tests.api.recording import CUSTOMER, MODIFICATION, TOKEN, Recording, modification_view
from vault_service.errors import InvalidInput, NotFound

ASKED = {"customer": CUSTOMER, "ticket": "T-1", "class": "telephone", "value": "+49 30 901899"}
AT = f"/v1/modifications/{MODIFICATION}"


def test_a_change_is_asked_for(send: Post, recording: Recording) -> None:
    """Everything reaches the use case; 201 with masks."""
    response = send("POST", "/v1/modifications", ASKED | {"token": TOKEN})
    assert response.status_code == 201
    body = response.get_json()
    assert (body["id"], body["class"]) == (MODIFICATION, "telephone")
    assert body["proposed"] == {"number": "+49 *******99"}
    (((draft,),)) = recording.last["positional"]
    assert (draft.customer, draft.ticket, draft.token) == (CUSTOMER, "T-1", TOKEN)
    assert (draft.data_class, draft.value) == ("telephone", "+49 30 901899")


def test_a_pending_change_is_200(send: Post, recording: Recording) -> None:
    """The same change asked for twice is one."""
    recording.answers["open"] = [modification_view(created=False)]
    assert send("POST", "/v1/modifications", ASKED).status_code == 200


def test_a_change_without_value(send: Post, recording: Recording) -> None:
    """What a person must read has neither class nor value."""
    send("POST", "/v1/modifications", {"customer": CUSTOMER, "ticket": "T-1"})
    (((draft,),)) = recording.last["positional"]
    assert (draft.data_class, draft.value, draft.token) == (None, None, None)


def test_a_refused_change(send: Post, recording: Recording) -> None:
    """A problem of the one draft is the answer."""
    recording.answers["open"] = [NotFound("there is no such customer", code="customer_not_found")]
    response = send("POST", "/v1/modifications", ASKED)
    assert (response.status_code, response.get_json()["code"]) == (404, "customer_not_found")


def test_each_item_of_a_batch_is_answered(send: Post, recording: Recording) -> None:
    """Malformed ones, refused ones and good ones, in order, each with its own pointer."""
    recording.answers["open"] = [
        modification_view(),
        InvalidInput("this is the present value", code="value_unchanged", pointer="/value"),
    ]
    items = [ASKED, {"customer": 4}, ASKED]
    response = send("POST", "/v1/modifications/batch", {"items": items})
    first, second, third = response.get_json()["results"]
    assert (first["modification"]["id"], first["created"]) == (MODIFICATION, True)
    assert second["error"]["pointer"].startswith("/items/1")
    assert third["error"]["code"] == "value_unchanged"
    assert third["error"]["pointer"] == "/items/2/value"
    (drafts,) = recording.last["positional"]
    assert len(drafts) == 2


@pytest.mark.parametrize(
    ("step", "body", "told"),
    [
        (
            "propose",
            {"class": "telephone", "value": "1"},
            {"data_class": "telephone", "value": "1"},
        ),
        ("confirm", {"how": "called_back"}, {"how": "called_back"}),
        ("apply", None, {}),
        ("reject", {"reason": "other"}, {"reason": "other"}),
        ("withdraw", None, {}),
    ],
)
def test_each_step(
    send: Post, recording: Recording, step: str, body: dict[str, str] | None, told: dict[str, str]
) -> None:
    """Each reaches its use case with what it says."""
    response = send("POST", f"{AT}/{step}", body)
    assert response.status_code == 200
    assert response.get_json()["id"] == MODIFICATION
    assert recording.last["positional"] == (MODIFICATION,)
    assert {name: recording.last[name] for name in told} == told


def test_changes_are_read(send: Post, recording: Recording) -> None:
    """One by its name, several by customer and state."""
    assert send("GET", AT).get_json()["ticket"] == "T-4711"
    response = send("GET", f"/v1/modifications?customer={CUSTOMER}&state=open&limit=2")
    assert [each["id"] for each in response.get_json()["items"]] == [MODIFICATION]
    assert (recording.last["customer"], recording.last["state"]) == (CUSTOMER, "open")


def test_versions_are_read(send: Post, recording: Recording) -> None:
    """Each with its mask and its time."""
    (version,) = send("GET", f"/v1/tokens/{TOKEN}/versions").get_json()["items"]
    assert (version["version"], version["until"]) == (1, None)
    assert recording.last["token"] == TOKEN


def test_customers_are_linked(send: Post, recording: Recording) -> None:
    """201 when new, 200 when they were; undone with 204."""
    other = "cus_" + "1" * 26
    at = f"/v1/customers/{CUSTOMER}/links"
    assert send("POST", at, {"other": other}).status_code == 201
    assert recording.last["positional"] == (CUSTOMER, other)
    recording.answers["link"] = False
    assert send("POST", at, {"other": other}).status_code == 200
    assert send("DELETE", f"{at}/{other}").status_code == 204


def test_customers_are_found_by_reference(send: Post, recording: Recording) -> None:
    """One result for each reference; nobody is an empty list, a bad one an error."""
    response = send("POST", "/v1/customers/search", {"external_refs": ["crm-17"]})
    assert response.get_json()["results"] == [{"customers": [{"id": CUSTOMER, "tokens": []}]}]
    recording.answers["find"] = [
        NotFound("there is no such customer", code="customer_not_found"),
        InvalidInput("no card number", code="card_number_not_allowed_here", pointer="/x"),
    ]
    response = send("POST", "/v1/customers/search", {"external_refs": ["crm-18", "4242"]})
    nobody, bad = response.get_json()["results"]
    assert nobody == {"customers": []}
    assert bad["error"]["pointer"] == "/external_refs/1"


def test_customers_are_found_by_value(send: Post) -> None:
    """Grouped by who holds the value."""
    response = send(
        "POST", "/v1/customers/search", {"class": "telephone", "values": ["+49 30 901820"]}
    )
    (found,) = response.get_json()["results"][0]["customers"]
    assert found["id"] == CUSTOMER
    assert [token["id"] for token in found["tokens"]] == [TOKEN]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"class": "telephone"},
        {"values": ["x"]},
        {"external_refs": ["a"], "class": "telephone", "values": ["x"]},
    ],
)
def test_a_search_says_what_it_searches(send: Post, body: dict[str, object]) -> None:
    """References, or class and values, and nothing between."""
    response = send("POST", "/v1/customers/search", body)
    assert (response.status_code, response.get_json()["code"]) == (422, "search_ambiguous")


def test_a_helpdesks_message_needs_no_key(send: Post, recording: Recording) -> None:
    """Its headers, its very bytes and what they say reach the use case; nobody is the caller."""
    headers = {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
    body = {"ticket": 4711, "anything": [{"goes": None}]}
    response = send(
        "POST", "/v1/modifications/inbound", body, headers=headers | {"Authorization": ""}
    )
    assert response.get_json() == {"modifications": [MODIFICATION], "repeated": False}
    (message,) = recording.last["positional"]
    assert (message.id, message.timestamp, message.signature) == ("msg_1", "1", "v1,x")
    assert message.body == body
    assert b"4711" in message.raw


def test_a_helpdesks_message_holds_no_code(send: Post) -> None:
    """What may never be sent may not be sent by a helpdesk either."""
    response = send("POST", "/v1/modifications/inbound", {"card": {"cvc": "123"}})
    assert response.get_json()["code"] == "sensitive_authentication_data"


def test_a_message_is_given_to_its_customer(send: Post, recording: Recording) -> None:
    """201 with the change that waits for him; 200 where it waited already."""
    response = send("POST", f"{AT}/assign", {"customer": CUSTOMER})
    assert (response.status_code, response.get_json()["id"]) == (201, MODIFICATION)
    assert recording.last["positional"] == (MODIFICATION, CUSTOMER)
    recording.answers["assign"] = modification_view(created=False)
    assert send("POST", f"{AT}/assign", {"customer": CUSTOMER}).status_code == 200


def test_messages_that_wait_are_listed(send: Post, recording: Recording) -> None:
    """By their outside, with the change and the reason."""
    response = send("GET", "/v1/communications/unassigned?limit=7&cursor=c")
    (item,) = response.get_json()["items"]
    assert (item["modification"], item["why"]) == (MODIFICATION, "unknown_sender")
    assert item["communication"]["mask"]["kind"] == "email"
    assert (recording.last["limit"], recording.last["cursor"]) == (7, "c")
