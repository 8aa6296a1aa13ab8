"""Calls on webhooks: what reaches the use case, and how a delivery is shown."""

from __future__ import annotations

from tests.api.conftest import Post
from tests.api.recording import MESSAGE, Recording
from vault_service.errors import Unavailable


def test_deliveries_are_listed(send: Post, recording: Recording) -> None:
    """By state and cursor; what the message says is not shown."""
    response = send("GET", f"/v1/webhooks?state=dead&limit=7&cursor={MESSAGE}")
    asked = recording.last
    assert (asked["state"], asked["limit"], asked["cursor"]) == ("dead", 7, MESSAGE)
    shown = response.get_json()
    assert shown["next"] == MESSAGE
    (item,) = shown["items"]
    assert (item["message"], item["state"], item["last_status"]) == (MESSAGE, "dead", 500)
    assert "body" not in item


def test_a_dead_message_is_tried_anew(send: Post, recording: Recording) -> None:
    """How many of its deliveries is answered."""
    assert send("POST", f"/v1/webhooks/{MESSAGE}/retry").get_json() == {"count": 1}
    assert recording.last["message"] == MESSAGE


def test_a_message_to_test_with(send: Post) -> None:
    """Its id is answered."""
    response = send("POST", "/v1/webhooks/test")
    assert (response.status_code, response.get_json()) == (201, {"message": MESSAGE})


def test_deliveries_and_alarms_are_measured(send: Post, recording: Recording) -> None:
    """For all processes together, workers included; left out while the database is away."""
    lines = send("GET", "/metrics").get_data(as_text=True).splitlines()
    assert 'vault_webhook_deliveries{state="dead"} 2.0' in lines
    assert 'vault_alarms_recorded{alarm="ledger_behind"} 3.0' in lines
    recording.answers["counts"] = Unavailable("gone")
    response = send("GET", "/metrics")
    assert response.status_code == 200
    assert "vault_webhook_deliveries" not in response.get_data(as_text=True)
