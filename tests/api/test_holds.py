"""Legal holds as the interface takes and answers them."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.api.conftest import Post
from tests.api.recording import CUSTOMER, HOLD, TOKEN, Recording

BODY = {"customer": CUSTOMER, "reason": "the court asks", "reference": "4 O 711/26"}


def test_a_hold_is_placed(send: Post, recording: Recording) -> None:
    """All of it reaches the use case."""
    response = send(
        "POST", "/v1/holds", BODY | {"tokens": [TOKEN], "until": "2035-01-01T00:00:00Z"}
    )
    assert response.status_code == 201
    assert response.get_json()["id"] == HOLD
    (draft,) = recording.last["positional"]
    assert (draft.customer, draft.tokens, draft.reason, draft.reference, draft.until) == (
        CUSTOMER, (TOKEN,), "the court asks", "4 O 711/26", datetime(2035, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def test_a_hold_on_all_names_no_token(send: Post, recording: Recording) -> None:
    """And has no end of its own."""
    assert send("POST", "/v1/holds", BODY).status_code == 201
    (draft,) = recording.last["positional"]
    assert (draft.tokens, draft.until) == (None, None)


def test_holds_are_listed_read_and_released(send: Post, recording: Recording) -> None:
    """By customer and cursor; by name; with a reason."""
    response = send("GET", f"/v1/holds?customer={CUSTOMER}&limit=2&cursor={HOLD}")
    assert [each["id"] for each in response.get_json()["items"]] == [HOLD]
    assert (recording.last["customer"], recording.last["cursor"], recording.last["limit"]) == (
        CUSTOMER, HOLD, 2,
    )  # fmt: skip
    assert send("GET", f"/v1/holds/{HOLD}").get_json()["reason"] == "the court asks for it"
    assert send("POST", f"/v1/holds/{HOLD}/release", {"reason": "over"}).status_code == 200
    assert recording.last["positional"] == (HOLD, "over")
    assert send("POST", f"/v1/holds/{HOLD}/release", {}).status_code == 422
