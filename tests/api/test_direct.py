"""The direct way: what is asked most often is answered as Flask would answer it, only sooner."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from keys.errors import VaultUnavailable
from tests.api.conftest import make_settings
from tests.api.recording import API_KEY, TOKEN, Recording, served
from vault_service import app as application
from vault_service.errors import Forbidden, NotFound, Unavailable
from vault_service.settings import ProcessRole

GOOD = {"Authorization": f"Bearer {API_KEY}"}
_OWN = {"request_id", "timestamp", "ms"}


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch, recording: Recording) -> tuple[Flask, Flask]:
    """The application, and one of which no call is direct."""
    direct = application.create_app(served(recording), make_settings(rate_limit=3))
    plain = [
        dataclasses.replace(each, direct=False) for each in application.operations(ProcessRole.ALL)
    ]
    monkeypatch.setattr(application, "operations", lambda _role: plain)
    return direct, application.create_app(served(recording), make_settings(rate_limit=3))


def _seen(response: TestResponse, line: str) -> tuple[Any, ...]:
    """All of an answer and its line that is not of this one request alone."""
    headers = sorted((name, value) for name, value in response.headers if name != "Request-Id")
    assert response.headers["Request-Id"].startswith("req_")
    body = {name: value for name, value in response.get_json().items() if name not in _OWN}
    told = {name: value for name, value in json.loads(line).items() if name not in _OWN}
    return response.status, headers, body, told


@pytest.mark.parametrize(
    ("headers", "answer", "status"),
    [
        (GOOD, None, 200),
        ({}, None, 401),
        ({"Authorization": "Bearer vk_wrong"}, None, 401),
        (GOOD, NotFound("there is no such token", code="token_not_found"), 404),
        (GOOD, Forbidden("no role of yours allows this", code="forbidden"), 403),
        (GOOD, Unavailable("gone", code="database_unavailable", retry_after=7), 503),
        (GOOD, VaultUnavailable("away"), 503),
        (GOOD, RuntimeError("a value that must not be told"), 500),
    ],
    ids=["good", "nobody", "stranger", "absent", "forbidden", "gone", "vault", "unforeseen"],
)
def test_both_ways_answer_alike(
    both: tuple[Flask, Flask],
    recording: Recording,
    lines: io.StringIO,
    *,
    headers: dict[str, str],
    answer: Exception | None,
    status: int,
) -> None:
    """Status, headers, body, and the line in the access log."""
    found = []
    for app in both:
        if answer is not None:
            recording.answers["get"] = answer
        begin = len(lines.getvalue())
        response = app.test_client().get(f"/v1/tokens/{TOKEN}", headers=headers)
        written = lines.getvalue()[begin:].splitlines()
        assert response.status_code == status
        found.append(_seen(response, written[-1]))
    assert found[0] == found[1]
    assert "a value that must not be told" not in lines.getvalue()


def test_both_ways_count_against_one_rate(both: tuple[Flask, Flask]) -> None:
    """Whoever has used his rate up one way has used it up the other way."""
    client = both[0].test_client()
    ways = [f"/v1/tokens/{TOKEN}", f"/v1/tokens/{TOKEN}/versions"]
    assert [client.get(path, headers=GOOD).status_code for path in [*ways, ways[0]]] == [200] * 3
    refused = [client.get(path, headers=GOOD) for path in ways]
    assert [each.status_code for each in refused] == [429, 429]
    assert all("Retry-After" in each.headers for each in refused)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/v1/tokens/{TOKEN}?x=1", 422),
        ("GET", "/v1/tokens/", 404),
        ("GET", f"/v1//tokens/{TOKEN}", 404),
        ("GET", f"/v1/tokens/{TOKEN}/", 404),
        ("GET", "/v1/tokens/a%2Fb", 404),
        ("HEAD", f"/v1/tokens/{TOKEN}", 200),
        ("PUT", f"/v1/tokens/{TOKEN}", 405),
    ],
)
def test_whatever_looks_otherwise_is_for_the_router(
    both: tuple[Flask, Flask], method: str, path: str, status: int
) -> None:
    """It says what it said before there was another way."""
    answers = [app.test_client().open(path, method=method, headers=GOOD) for app in both]
    assert [each.status_code for each in answers] == [status, status]
    codes = [(each.get_json(silent=True) or {}).get("code") for each in answers]
    assert codes[0] == codes[1]


def test_what_is_direct_takes_nothing_but_its_name() -> None:
    """Neither body nor query nor a signature: the direct way looks at none of them."""
    direct = [each for each in application.operations(ProcessRole.ALL) if each.direct]
    assert [each.name for each in direct] == ["get_token"]
    for each in direct:
        assert (each.body, each.query, each.takes, each.signed) == (None, None, None, False)
        assert each.path.count("{") == 1
        assert each.path.endswith("}")
        assert set(each.answers) == {200}
