"""Access reviews as the interface takes and answers them."""

from __future__ import annotations

from tests.api.conftest import Post
from tests.api.recording import PRINCIPAL, REVIEW, Recording


def test_reviews_are_listed_and_read(send: Post) -> None:
    """With whom they are about, and whether they are overdue."""
    (one,) = send("GET", "/v1/access-reviews").get_json()["items"]
    assert (one["id"], one["overdue"]) == (REVIEW, True)
    (item,) = send("GET", f"/v1/access-reviews/{REVIEW}").get_json()["items"]
    assert (item["principal"], item["roles"], item["keys"]) == (PRINCIPAL, ["requester"], 1)


def test_decisions_reach_the_use_case(send: Post, recording: Recording) -> None:
    """All of a call together."""
    body = {"decisions": [{"principal": PRINCIPAL, "keep": False}]}
    assert send("POST", f"/v1/access-reviews/{REVIEW}/decisions", body).status_code == 200
    assert recording.last["positional"] == (REVIEW, [(PRINCIPAL, False)])
    path = f"/v1/access-reviews/{REVIEW}/decisions"
    assert send("POST", path, {"decisions": []}).status_code == 422
