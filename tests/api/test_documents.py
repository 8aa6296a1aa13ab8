"""The OpenAPI document and the readable page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from tests.api.conftest import Post, make_settings
from tests.api.recording import (
    CUSTOMER,
    DISCLOSURE,
    ENTRY,
    HOLD,
    KEY,
    MESSAGE,
    MODIFICATION,
    PRINCIPAL,
    RECIPIENT,
    REVIEW,
    ROTATION,
    TOKEN,
    Recording,
    served,
)
from vault_service.api.calls import JSON, Operation
from vault_service.api.codes import CODES
from vault_service.app import create_app, operations
from vault_service.settings import ProcessRole

NAMES = {
    "token": TOKEN,
    "customer": CUSTOMER,
    "other": "cus_" + "1" * 26,
    "modification": MODIFICATION,
    "disclosure": DISCLOSURE,
    "principal": PRINCIPAL,
    "rotation": ROTATION,
    "version": "b" * 64,
    "message": MESSAGE,
    "recipient": RECIPIENT,
    "evidence": "document",
    "hold": HOLD,
    "review": REVIEW,
    "key": KEY,
    "tile": "0/000",
    "entry": ENTRY,
}
# Headers without which a call is refused.
HEADERS = {"keep_communication": {"Communication-Direction": "inbound"}}
EVERY = operations(ProcessRole.ALL)


def by_name(operation: Operation) -> str:
    """A test's id."""
    return operation.name


def test_the_document_is_valid_openapi(client: FlaskClient) -> None:
    """The document holds to OpenAPI 3.1."""
    document = client.get("/openapi.json").get_json()
    validate(document)
    assert document["openapi"].startswith("3.1")


@pytest.mark.parametrize("role", list(ProcessRole))
def test_each_process_role_documents_what_it_serves(
    recording: Recording, role: ProcessRole
) -> None:
    """A process documents the routes that it has, and no others."""
    app = create_app(served(recording), make_settings(process_role=role))
    document = app.test_client().get("/openapi.json").get_json()
    validate(document)
    documented = {
        (method.upper(), re.sub(r"{(\w+)}", r"<\1>", path))
        for path, methods in document["paths"].items()
        for method in methods
    }
    routed = {
        (method, rule.rule.replace("<path:", "<"))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith(("/docs", "/openapi.json"))
    }
    assert documented == routed


def test_process_roles_share_the_routes_without_overlap() -> None:
    """Each call is served by one process role besides `all`; a worker serves none."""
    single = [role for role in ProcessRole if role is not ProcessRole.ALL]
    for operation in EVERY:
        assert [role for role in single if operation.served_by(role)] != []
        assert not operation.served_by(ProcessRole.WORKER)
    assert {one.path for one in operations(ProcessRole.REVEAL)} == {
        "/v1/reveal",
        "/v1/reveal/content",
        "/v1/disclosures/{disclosure}/token",
    }


@pytest.mark.parametrize("operation", [one for one in EVERY if one.body], ids=by_name)
def test_each_example_is_accepted(send: Post, operation: Operation) -> None:
    """The example of a call, sent as it stands, has the shape that the call takes."""
    assert operation.example is not None
    path = operation.path.format(**NAMES)
    response = send(operation.method, path, dict(operation.example))
    assert response.status_code in operation.answers, response.get_data(as_text=True)


@pytest.mark.parametrize("operation", EVERY, ids=by_name)
def test_each_answer_has_its_documented_shape(send: Post, operation: Operation) -> None:
    """What a call answers is what its type says, field by field."""
    path = operation.path.format(**NAMES)
    if operation.name == "list_tokens":
        path += f"?customer={CUSTOMER}"
    if operation.name == "read_transparency_report":
        path += "?year=2025"
    body: Any = None if operation.body is None else dict(operation.example or {})
    if operation.takes is not None:
        body = b"x"
    response = send(operation.method, path, body, headers=HEADERS.get(operation.name, {}))
    kind = operation.answers[response.status_code]
    if operation.media != JSON:
        assert response.get_data()
        assert response.content_type == operation.media
    elif kind is None:
        assert response.get_data() == b""
    else:
        msgspec.json.decode(response.get_data(), type=kind, strict=True)


class _Page(HTMLParser):
    """Collects what a page names."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in {"href", "src"}:
                self.links.append(value or "")


@pytest.fixture
def page(client: FlaskClient) -> _Page:
    """The readable page."""
    response = client.get("/docs")
    assert response.status_code == 200
    assert "script-src" not in response.headers["Content-Security-Policy"]
    parsed = _Page()
    parsed.feed(response.get_data(as_text=True))
    return parsed


def test_the_page_asks_no_outside_host(page: _Page, client: FlaskClient) -> None:
    """Every address of the page is its own; it has no script and no style of its own."""
    assert not [link for link in page.links if "//" in link]
    assert page.tags.isdisjoint({"script", "style", "img", "iframe", "form"})
    assert "style" not in page.attributes
    for link in page.links:
        assert link.startswith("#") or client.get(link).status_code == 200


def test_every_link_of_the_page_leads_somewhere(page: _Page) -> None:
    """Each anchor exists, once."""
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_every_call_and_code_stands_on_the_page(page: _Page) -> None:
    """The page explains each call and each error code that a problem's `type` leads to."""
    assert {one.name for one in EVERY} <= set(page.ids)
    assert {f"error-{code}" for code in CODES} <= set(page.ids)


def test_every_code_that_can_be_answered_is_explained() -> None:
    """The list of codes is complete: every code written in the source stands in it."""
    root = Path(__file__).parents[2]
    patterns = (
        re.compile(r'\bcode="([a-z_]+)"'),
        re.compile(r'^    code = "([a-z_]+)"', re.MULTILINE),
        re.compile(r'_refuse\("([a-z_]+)"'),
    )
    found: set[str] = set()
    for folder in ("domain", "services", "web", "api", "storage"):
        for file in (root / "vault_service" / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            found |= set(patterns[0].findall(text)) | set(patterns[1].findall(text))
            if file.name == "disclosure_token.py":
                found |= {f"disclosure_token_{one}" for one in patterns[2].findall(text)}
    for operation in EVERY:
        found |= set(operation.codes)
    # A part of a disclosure token's name, which is checked before it is looked for.
    inner = {"jti_malformed"}
    assert found - inner <= CODES.keys(), sorted(found - inner - CODES.keys())


def test_fields_of_queries_are_documented(client: FlaskClient) -> None:
    """A query's parameters stand in the document with their bounds."""
    document = client.get("/openapi.json").get_json()
    found: dict[str, Any] = {
        one["name"]: one for one in document["paths"]["/v1/tokens"]["get"]["parameters"]
    }
    assert found["customer"]["required"] is True
    assert found["limit"]["schema"]["maximum"] == 100
    assert found["class"]["required"] is False
