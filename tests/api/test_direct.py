"""The direct way: what is asked most often is answered as Flask would answer it, only sooner."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from keys.errors import VaultUnavailable
from tests.api.conftest import make_settings
from tests.api.recording import (
    API_KEY,
    CUSTOMER,
    DISCLOSURE,
    TOKEN,
    Recording,
    served,
    token_view,
)
from vault_service import app as application
from vault_service import logs
from vault_service.domain.actors import Principal, Role
from vault_service.errors import (
    Forbidden,
    NotAuthenticated,
    NotFound,
    ServiceError,
    Unavailable,
)
from vault_service.services.authentication import Shown
from vault_service.services.context import Caller
from vault_service.services.views import TokenView
from vault_service.settings import ProcessRole

GOOD = {"Authorization": f"Bearer {API_KEY}"}
FIRST = "tok_0"
_OWN = {"request_id", "timestamp", "ms"}


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch, recording: Recording) -> tuple[Flask, Flask]:
    """The application, and one in which all goes through Flask; both have seen the key before."""
    # Neither is asked for its documents here, and to render them is most of the work.
    monkeypatch.setattr(application.docs, "register", lambda *_given, **_named: None)
    direct = application.create_app(served(recording), make_settings(rate_limit=5))
    monkeypatch.setattr(application, "Direct", lambda _app, passed_to, *_rest: passed_to)
    plain = application.create_app(served(recording), make_settings(rate_limit=5))
    for app in (direct, plain):
        assert app.test_client().get(f"/v1/tokens/{TOKEN}", headers=GOOD).status_code == 200
    return direct, plain


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
    assert [client.get(path, headers=GOOD).status_code for path in [*ways, *ways]] == [200] * 4
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


CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2035, "name": "A. Customer"}
BODY = {"class": "payment_card", "customer": CUSTOMER, "value": CARD}
HOT = [
    ("POST", "/v1/tokens", BODY, 201),
    ("POST", "/v1/tokens", {"class": "payment_card"}, 422),
    ("POST", "/v1/tokens", None, 400),
    ("POST", "/v1/tokens", {"value": "x" * 9_000_000}, 413),
    ("POST", "/v1/tokens", BODY | {"value": CARD | {"name": "n" * 5_000}}, 201),
    ("POST", "/v1/tokens/search", {"class": "payment_card", "value": CARD["number"]}, 200),
    ("POST", "/v1/tokens/search", {"class": "payment_card"}, 422),
    ("POST", f"/v1/disclosures/{DISCLOSURE}/token", None, 201),
    ("POST", "/v1/disclosures/a%2Fb/token", None, 404),
    ("POST", "/v1/reveal", {"tokens": [TOKEN]}, 200),
    ("POST", "/v1/reveal", {"tokens": TOKEN}, 422),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), HOT)
@pytest.mark.parametrize("headers", [GOOD, {}], ids=["good", "nobody"])
def test_each_hot_call_is_answered_alike(
    both: tuple[Flask, Flask],
    lines: io.StringIO,
    *,
    method: str,
    path: str,
    body: object,
    status: int,
    headers: dict[str, str],
) -> None:
    """Whether its body is right, wrong, missing, large or too large; and unread for nobody."""
    found = []
    for app in both:
        begin = len(lines.getvalue())
        response = app.test_client().open(path, method=method, json=body, headers=headers)
        told = lines.getvalue()[begin:].splitlines()
        assert response.status_code == (status if headers or status == 404 else 401), path
        found.append(_seen(response, told[-1]))
        assert len(told) == 1
    assert found[0] == found[1]


def test_what_is_served_together_has_neither_query_nor_signature() -> None:
    """The direct way looks at none of them; and one parameter at most."""
    hot = {each.name: each for each in application.operations(ProcessRole.ALL) if each.together}
    assert set(hot) == {
        "create_token",
        "get_token",
        "search_tokens",
        "issue_disclosure_token",
        "reveal",
    }
    for each in hot.values():
        assert (each.query, each.takes, each.signed) == (None, None, False)
        assert each.path.count("{") <= 1


def test_who_comes_together_is_answered_alone(
    monkeypatch: pytest.MonkeyPatch, recording: Recording, lines: io.StringIO
) -> None:
    """Each gets his own answer and has his own line.

    Sixteen come at once; who comes while the first is looked up is looked up with all the others.
    """
    inside, go = threading.Event(), threading.Event()
    sizes: list[int] = []
    look = recording.authenticate_many

    def held(shown: Sequence[Shown]) -> list[Caller | ServiceError]:
        sizes.append(len(shown))
        inside.set()
        assert go.wait(10)
        return look(shown)

    names = [f"tok_{place:028d}" for place in range(16)]
    refused = NotFound("there is no such token", code="token_not_found")

    def one(asked: tuple[Caller, str]) -> TokenView:
        if int(asked[1][4:]) % 3 == 0:
            raise refused
        return token_view(id=asked[1])

    part = served(recording)
    monkeypatch.setattr(
        part,
        "authentication",
        SimpleNamespace(authenticate=recording.authenticate, authenticate_many=held),
    )
    monkeypatch.setattr(
        part, "reading", SimpleNamespace(get_many=lambda asked: recording.each(one, asked))
    )
    app = application.create_app(part, make_settings())
    client = app.test_client()
    assert client.get(f"/v1/tokens/{names[1]}", headers=GOOD).status_code == 200

    def ask(name: str) -> tuple[int, str]:
        response = app.test_client().get(f"/v1/tokens/{name}", headers=GOOD)
        return response.status_code, response.get_json().get("id", "")

    with ThreadPoolExecutor(16) as pool:
        first = pool.submit(ask, names[0])
        assert inside.wait(10)
        others = [pool.submit(ask, name) for name in names[1:]]
        time.sleep(0.3)
        go.set()
        answers = [each.result(10) for each in [first, *others]]
    assert answers == [
        (404, "") if place % 3 == 0 else (200, name) for place, name in enumerate(names)
    ]
    assert sizes == [1, 15]
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    ids = [each["request_id"] for each in told if each["event"] == "request"]
    assert len(ids) == len(set(ids)) == 17


@pytest.mark.parametrize(("held_at", "status"), [("work", 503), ("line", 200)])
def test_the_line_says_what_was_answered(
    monkeypatch: pytest.MonkeyPatch,
    recording: Recording,
    lines: io.StringIO,
    held_at: str,
    status: int,
) -> None:
    """Whether the time of who waits is over during the work, or while its line is written."""
    inside, go, away = threading.Event(), threading.Event(), threading.Event()
    requests = logs.requests

    def get_many(asked: Sequence[tuple[Caller, str]]) -> list[TokenView]:
        if asked[0][1] == FIRST:
            inside.set()
            assert go.wait(10)
        elif held_at == "work" and len(asked) > 1:
            assert away.wait(10)
        return [token_view(id=token) for _, token in asked]

    def told(rows: Sequence[Mapping[str, object]]) -> None:
        if held_at == "line" and len(rows) > 1:
            assert away.wait(10)
        requests(rows)

    monkeypatch.setattr(logs, "requests", told)
    part = served(recording)
    monkeypatch.setattr(part, "reading", SimpleNamespace(get_many=get_many))
    app = application.create_app(part, make_settings(request_seconds=1.0))
    assert app.test_client().get(f"/v1/tokens/{TOKEN}", headers=GOOD).status_code == 200
    began = len(lines.getvalue())

    def ask(name: str) -> TestResponse:
        response = app.test_client().get(f"/v1/tokens/{name}", headers=GOOD)
        if name == "tok_2":
            away.set()
        return response

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(ask, FIRST)
        assert inside.wait(10)
        # The second leads the next company, and the third waits in it.
        asked = [first]
        for name in ("tok_1", "tok_2"):
            asked.append(pool.submit(ask, name))
            time.sleep(0.2)
        go.set()
        answers = [each.result(10) for each in asked]
    assert [each.status_code for each in answers] == [200, 200, status]
    written = [json.loads(line) for line in lines.getvalue()[began:].splitlines()]
    assert {each["request_id"]: each["status"] for each in written} == {
        each.headers["Request-Id"]: each.status_code for each in answers
    }
    assert len(written) == len(answers)


def test_a_use_case_that_fails_fails_for_those_it_was_asked_for(recording: Recording) -> None:
    """Who was refused before that keeps his own refusal."""
    app = application.create_app(served(recording), make_settings())
    client = app.test_client()
    path = "/v1/tokens/search"
    good = {"class": "payment_card", "value": CARD["number"]}
    assert client.post(path, json=good, headers=GOOD).status_code == 200
    recording.answers["search"] = Unavailable("gone", code="database_unavailable")
    assert client.post(path, json=good, headers=GOOD).status_code == 503
    assert client.post(path, json={"class": 1}, headers=GOOD).status_code == 422


OTHER = "vk_" + "2" * 16 + "_" + "3" * 52


class _Two:
    """Lets in two principals, unless one is revoked; the first company can be held."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()
        self.inside, self.go = threading.Event(), threading.Event()
        self.looked: list[list[str]] = []

    def authenticate(self, shown: Shown) -> Caller:
        """Judge one."""
        who = {f"Bearer {API_KEY}": "prn_a", f"Bearer {OTHER}": "prn_b"}[shown.authorization or ""]
        if who in self.revoked:
            raise NotAuthenticated("revoked", code="credential_revoked")
        return Caller(
            principal=Principal(id=who, name=who, roles=frozenset(Role)),
            key_id=f"key_{who}",
            request_id=shown.request_id,
            address=shown.address,
            deadline=shown.deadline,
        )

    def authenticate_many(self, shown: Sequence[Shown]) -> list[Caller | ServiceError]:
        """Judge each; the first company waits."""
        self.inside.set()
        assert self.go.wait(10)
        found = Recording.each(self.authenticate, shown)
        self.looked.append(
            [each.key_id if isinstance(each, Caller) else each.code for each in found]
        )
        return found


@pytest.fixture
def two(recording: Recording) -> tuple[Flask, _Two, list[tuple[str, str]]]:
    """An application that knows two keys, and what it asked the use case: (who, token)."""
    people, asked = _Two(), []
    part = served(recording)

    def get_many(names: Sequence[tuple[Caller, str]]) -> list[TokenView]:
        asked.extend((caller.principal.id, token) for caller, token in names)
        return [token_view(id=token) for _, token in names]

    part.__dict__["authentication"] = people
    part.__dict__["reading"] = SimpleNamespace(get_many=get_many)
    app = application.create_app(part, make_settings(rate_limit=0, refused_rate_limit=3))
    for key in (API_KEY, OTHER):
        headers = {"Authorization": f"Bearer {key}"}
        assert app.test_client().get(f"/v1/tokens/{TOKEN}", headers=headers).status_code == 200
    asked.clear()
    return app, people, asked


@pytest.mark.parametrize(
    ("method", "behind"), [("GET", ""), ("HEAD", ""), ("GET", "?&"), ("HEAD", "?&")]
)
def test_nobody_is_taken_for_whom_he_came_with(
    two: tuple[Flask, _Two, list[tuple[str, str]]],
    lines: io.StringIO,
    method: str,
    behind: str,
) -> None:
    """Whichever way his request came in, and whichever way the others' did."""
    app, people, asked = two
    began = len(lines.getvalue())
    names = [f"tok_{place:028d}" for place in range(6)]
    ways = [("GET", "")] + [("GET", ""), (method, behind)] * 2 + [(method, behind)]

    def ask(place: int) -> int:
        key, (how, more) = (API_KEY, OTHER)[place % 2], ways[place]
        headers = {"Authorization": f"Bearer {key}"}
        path = f"/v1/tokens/{names[place]}{more}"
        return app.test_client().open(path, method=how, headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(ask, 0)
        assert people.inside.wait(10)
        others = [pool.submit(ask, place) for place in range(1, 6)]
        time.sleep(0.3)
        people.go.set()
        assert [each.result(10) for each in [first, *others]] == [200] * 6
    assert sorted(asked) == sorted(
        (("prn_a", "prn_b")[place % 2], name) for place, name in enumerate(names)
    )
    told = [json.loads(line) for line in lines.getvalue()[began:].splitlines()]
    pairs = [(each["principal"], each["key"]) for each in told if each["event"] == "request"]
    assert sorted(pairs) == [("prn_a", "key_prn_a")] * 3 + [("prn_b", "key_prn_b")] * 3


def test_who_was_revoked_is_told_so_whatever_he_sends(
    two: tuple[Flask, _Two, list[tuple[str, str]]],
) -> None:
    """A body that cannot be read is no way around being looked up, nor around the limit."""
    app, people, _ = two
    people.go.set()
    people.revoked.add("prn_a")
    answers = [
        app.test_client().post("/v1/reveal", data=b"x", content_type="text/plain", headers=GOOD)
        for _ in range(5)
    ]
    assert [each.status_code for each in answers] == [401, 401, 401, 429, 429]
    assert people.looked == [["credential_revoked"]]
