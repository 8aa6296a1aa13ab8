"""Calls on honeytokens: what reaches the use case, and what is told."""

from __future__ import annotations

import pytest

from tests.api.conftest import Post
from tests.api.recording import CUSTOMER, TOKEN, Recording


@pytest.mark.parametrize(
    ("path", "called"), [("/v1/honeytokens", "plant"), ("/v1/honeytokens/lift", "lift")]
)
def test_names_are_marked_and_lifted(
    send: Post, recording: Recording, path: str, called: str
) -> None:
    """The names reach the use case; a number comes back, and no name."""
    response = send("POST", path, {"names": [CUSTOMER, TOKEN]})
    assert (response.status_code, response.get_json()) == (200, {"count": 2})
    assert recording.asked[-1][0] == called
    assert recording.last["positional"] == ([CUSTOMER, TOKEN],)


def test_marks_are_counted(send: Post, recording: Recording) -> None:
    """How many, and nothing of what."""
    assert send("GET", "/v1/honeytokens").get_json() == {"count": 2}
    assert recording.asked[-1][0] == "count"


@pytest.mark.parametrize("names", [[], ["x" * 65], "cus_1", [1]])
def test_bad_lists_are_refused(send: Post, names: object) -> None:
    """Before anything is looked for."""
    assert send("POST", "/v1/honeytokens", {"names": names}).status_code in {400, 422}
