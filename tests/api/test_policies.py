"""The history of the policy as the interface answers it."""

from __future__ import annotations

from tests.api.conftest import Post
from tests.api.recording import Recording

ADOPTION = {
    "number": 2,
    "version": "b" * 64,
    "name": "1998-12-17",
    "adopted_at": "2026-11-23T12:00:00.123456Z",
    "until": None,
}


def test_versions_are_listed(send: Post, recording: Recording) -> None:
    """With the page asked for."""
    response = send("GET", "/v1/policies?limit=1&cursor=3")
    assert response.status_code == 200
    assert response.get_json() == {"items": [ADOPTION], "next": "2"}
    assert (recording.last["limit"], recording.last["cursor"]) == (1, "3")


def test_a_text_is_answered(send: Post, recording: Recording) -> None:
    """And when it was in force."""
    response = send("GET", f"/v1/policies/{'b' * 64}")
    assert response.get_json() == {
        "version": "b" * 64,
        "text": "schema = 1\n",
        "adoptions": [ADOPTION],
    }
    assert recording.last["positional"] == ("b" * 64,)


def test_two_versions_are_compared(send: Post, recording: Recording) -> None:
    """In words."""
    response = send("GET", f"/v1/policies/{'b' * 64}/changes?from={'a' * 64}")
    assert response.get_json() == {
        "from": "a" * 64,
        "to": "b" * 64,
        "differences": [
            {"effect": "allowed", "where": "a for b", "says": "may serve counterparty"}
        ],
    }
    assert (recording.last["positional"], recording.last["since"]) == (("b" * 64,), "a" * 64)
