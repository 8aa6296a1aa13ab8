"""Calls on rotations: what reaches the use case, and how a rotation is shown."""

from __future__ import annotations

import pytest

from keys.errors import Outage, VaultUnavailable
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


def test_keys_are_measured(send: Post) -> None:
    """Monitoring sees versions, ages, what is wrapped and what a rotation has before it."""
    lines = send("GET", "/metrics").get_data(as_text=True).splitlines()
    for line in (
        'vault_key_version{key="records-card"} 2.0',
        'vault_key_age_days{key="records-card"} 3.0',
        'vault_key_overdue{key="records-card"} 0.0',
        'vault_key_wrapped{key="records-card",version="1"} 4.0',
        'vault_rotation_remaining{key="records-card"} 4.0',
    ):
        assert line in lines


def test_without_vault_the_counters_are_told_all_the_same(send: Post, recording: Recording) -> None:
    """What cannot be measured is left out."""
    recording.answers["measured"] = VaultUnavailable(reason=Outage.SEALED)
    response = send("GET", "/metrics")
    assert response.status_code == 200
    assert "vault_key_version" not in response.get_data(as_text=True)
