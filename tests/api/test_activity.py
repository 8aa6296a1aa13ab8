"""The activity log, as the interface takes and answers it."""

from __future__ import annotations

import pytest

from tests.api.conftest import Post
from tests.api.recording import CUSTOMER, NOW, SEGMENT, Recording
from vault_service.errors import Forbidden, InvalidInput
from vault_service.services.activity import Recorded

AT = f"/v1/customers/{CUSTOMER}/activity"
ENTRY = {"at": "2026-03-01T00:00:00Z", "kind": "signed_in"}


@pytest.mark.parametrize(
    ("path", "more", "customer"),
    [(AT, {}, CUSTOMER), ("/v1/activity", {"customer": CUSTOMER}, None)],
)
def test_entries_reach_the_use_case(
    send: Post, recording: Recording, path: str, more: dict[str, str], customer: str | None
) -> None:
    """Of one customer in the address, or each with its own."""
    recording.answers["record"] = Recorded(
        recorded=2, segments=(SEGMENT,), refused={}, replayed=True
    )
    items = [ENTRY | more, ENTRY | more | {"details": "from 192.0.2.7"}]
    response = send("POST", path, {"items": items}, headers={"Idempotency-Key": "k-1"})
    assert response.status_code == 200
    assert response.get_json() == {"recorded": 2, "segments": [SEGMENT], "refused": []}
    assert response.headers["Idempotency-Replayed"] == "true"
    ((plain, told),) = recording.last["positional"]
    assert (plain.customer, plain.kind, plain.details) == (CUSTOMER, "signed_in", None)
    assert told.details == "from 192.0.2.7"
    assert (recording.last["customer"], recording.last["idempotency_key"]) == (customer, "k-1")


def test_each_entry_is_answered(send: Post, recording: Recording) -> None:
    """By its place in the request, whatever was left out before the use case saw it."""
    recording.answers["record"] = Recorded(
        recorded=1,
        segments=(SEGMENT,),
        refused={
            0: InvalidInput("no", code="activity_kind_unknown", pointer="/items/0/kind"),
            1: Forbidden("no"),
        },
    )
    items = [{"at": "yesterday", "kind": "other"}, ENTRY, ENTRY, ENTRY]
    refused = send("POST", AT, {"items": items}).get_json()["refused"]
    assert [(each["place"], each["error"].get("pointer")) for each in refused] == [
        (0, "/items/0/at"),
        (1, "/items/1/kind"),
        (2, None),
    ]


def test_nothing_well_formed(send: Post, recording: Recording) -> None:
    """Every entry has its error; a refusal of the whole is one."""
    recording.answers["record"] = InvalidInput("none", code="batch_size")
    body = send("POST", AT, {"items": [{}]}).get_json()
    assert (body["recorded"], [each["place"] for each in body["refused"]]) == (0, [0])
    assert send("POST", AT, {"items": [ENTRY]}).status_code == 422


def test_entries_are_listed(send: Post, recording: Recording) -> None:
    """Times, cursor and limit reach the use case."""
    response = send("GET", f"{AT}?from=2026-03-01T00:00:00Z&to=2026-04-01T00:00:00Z&limit=1000")
    assert response.status_code == 200
    (item,) = response.get_json()["items"]
    assert item == {
        "at": NOW.isoformat().replace("+00:00", "Z"),
        "kind": "signed_in",
        "segment": SEGMENT,
    }
    assert recording.last["limit"] == 1000
    assert recording.last["begin"].year == recording.last["end"].year == 2026
    assert send("GET", f"{AT}?limit=1001").status_code == 422
