"""Calls on rotations: what reaches the use case, and how a rotation is shown."""

from __future__ import annotations

import pytest

from tests.api.conftest import Post
from tests.api.recording import ROTATION, Recording, rotation_view


def test_a_rotation_is_asked_for(send: Post, recording: Recording) -> None:
    """201 with the rotation as it stands."""
    response = send("POST", "/v1/rotations", {"key": "records-card"})
    assert response.status_code == 201
    assert recording.last["positional"] == ("records-card",)
    shown = response.get_json()
    assert (shown["id"], shown["state"], shown["remaining"]) == (ROTATION, "running", 6)
    assert (shown["rate"], shown["seconds_left"]) == (2.0, 3.0)


def test_one_under_way_is_200(send: Post, recording: Recording) -> None:
    """The caller can tell whether it began anything."""
    recording.answers["start"] = (rotation_view(), False)
    assert send("POST", "/v1/rotations", {"key": "records-card"}).status_code == 200


@pytest.mark.parametrize(
    ("path", "called"),
    [("/v1/rotations?limit=5", "page"), (f"/v1/rotations/{ROTATION}", "get")],
)
def test_rotations_are_read(send: Post, recording: Recording, path: str, called: str) -> None:
    """One, or a page of them."""
    response = send("GET", path)
    assert response.status_code == 200
    assert recording.asked[-1][0] == called


def test_keys_are_told_of(send: Post) -> None:
    """With the number of keys under each version."""
    (key,) = send("GET", "/v1/keys").get_json()["keys"]
    assert (key["name"], key["wrapped"]) == ("records-card", {"1": 4, "2": 6})
    assert key["rotation"] == ROTATION
