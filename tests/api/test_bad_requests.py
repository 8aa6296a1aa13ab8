"""Every way for a request to be wrong: a 4xx with a code of its own, and nothing repeated."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import create_environ
from werkzeug.wrappers import Response

from tests.api.conftest import Post
from tests.api.recording import API_KEY, CUSTOMER, Recording
from vault_service.api.codes import CODES

CANARY = "4929420573595709"
GOOD: dict[str, Any] = {
    "class": "payment_card",
    "customer": CUSTOMER,
    "value": {"number": CANARY, "exp_month": 12, "exp_year": 2035},
}


def problem(response: Any) -> dict[str, Any]:
    """The problem document, checked for its own form."""
    assert response.content_type == "application/problem+json"
    document: dict[str, Any] = response.get_json(force=True)
    assert {"type", "title", "status", "code", "detail", "request_id"} <= document.keys()
    assert document["status"] == response.status_code
    assert document["type"] == f"/docs#error-{document['code']}"
    assert document["code"] in CODES
    assert document["request_id"] == response.headers["Request-Id"]
    assert CANARY not in response.get_data(as_text=True)
    return document


def body(**changes: Any) -> dict[str, Any]:
    """A good body with changes."""
    return GOOD | changes


BAD_BYTES = [
    pytest.param(b"{", "json_invalid", id="cut"),
    pytest.param(b"{} {}", "json_invalid", id="two"),
    pytest.param(b"{'class': 1}", "json_invalid", id="quotes"),
    pytest.param(b'{"class": NaN}', "json_invalid", id="nan"),
    pytest.param(b'{"class": "\\ud800"}', "json_invalid", id="surrogate"),
    pytest.param(b'\xef\xbb\xbf{"class": 1}', "json_invalid", id="mark"),
    pytest.param(b'{"class": "\xff"}', "encoding_invalid", id="not-utf-8"),
    pytest.param('{"class": "ü"}'.encode("latin-1"), "encoding_invalid", id="latin-1"),
    pytest.param(b'{"class": 1e999}', "number_out_of_range", id="infinite"),
    pytest.param(b"[" * 100_000, "nesting_too_deep", id="very-deep"),
    pytest.param(b"[" * 17 + b"]" * 17, "nesting_too_deep", id="deep"),
    pytest.param(b'{"class": "a", "class": "b"}', "member_repeated", id="twice"),
    pytest.param(
        b'{"class": "a", "value": {"number": "1", "number": "2"}}', "member_repeated", id="within"
    ),
    pytest.param(b'{"class": "a:b", "cl\\u0061ss": "b"}', "member_repeated", id="escaped"),
]


@pytest.mark.parametrize(("sent", "code"), BAD_BYTES)
def test_a_body_that_is_not_good_json_is_400(send: Post, sent: bytes, code: str) -> None:
    """Broken JSON, broken UTF-8, deep nesting and repeated members are each refused with a code."""
    response = send("POST", "/v1/tokens", sent)
    assert response.status_code == 400
    assert problem(response)["code"] == code


BAD_SHAPES = [
    pytest.param([], "object_expected", "", id="array"),
    pytest.param("x", "object_expected", "", id="text"),
    pytest.param(None, "object_expected", "", id="null"),
    pytest.param({}, "field_missing", "/class", id="empty"),
    pytest.param({"class": "payment_card"}, "field_missing", "/customer", id="missing"),
    pytest.param(body(**{"class": 7}), "string_expected", "/class", id="number-for-text"),
    pytest.param(body(customer=True), "string_expected", "/customer", id="bool-for-text"),
    pytest.param(body(format=None), "string_expected", "/format", id="null-for-text"),
    pytest.param(body(metadata=[]), "object_expected", "/metadata", id="array-for-object"),
    pytest.param(body(metadata={CANARY: 1}), "string_expected", "/metadata/*", id="within"),
    pytest.param(body(expires_at=5), "time_expected", "/expires_at", id="number-for-time"),
    pytest.param(body(expires_at="soon"), "time_expected", "/expires_at", id="word-for-time"),
    pytest.param(body(expires_at="2030-01-01T00:00:00"), "time_expected", "/expires_at", id="zone"),
    pytest.param(body(**{CANARY: 1}), "unknown_field", "", id="unknown"),
    pytest.param(body(Class="x"), "unknown_field", "", id="case"),
]


@pytest.mark.parametrize(("sent", "code", "pointer"), BAD_SHAPES)
def test_a_body_of_the_wrong_shape_is_422(send: Post, sent: Any, code: str, pointer: str) -> None:
    """Wrong types, missing and unknown fields are refused with their place, and not repeated."""
    response = send("POST", "/v1/tokens", json.dumps(sent).encode())
    document = problem(response)
    assert response.status_code == 422
    assert document["code"] == code
    assert document["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    "name",
    ["cvc", "CVV", "card_verification_value", "cid", "pin", "track2", "Track-1-Data", "c v c"],
)
@pytest.mark.parametrize("place", ["top", "value", "metadata", "deep"])
def test_a1_verification_codes_are_refused_first(
    send: Post, recording: Recording, name: str, place: str
) -> None:
    """A field for a code, a track or a pin is refused with 422 before anything else is said."""
    sent: dict[str, Any] = {"class": 7}
    inner: dict[str, Any] = {name: "123"}
    if place == "top":
        sent |= inner
    elif place == "deep":
        sent["value"] = {"a": [{"b": inner}]}
    else:
        sent[place] = inner
    response = send("POST", "/v1/tokens", sent)
    assert response.status_code == 422
    assert problem(response)["code"] == "sensitive_authentication_data"
    assert recording.asked == []


@pytest.mark.parametrize("path", ["/v1/tokens/batch", "/v1/tokens/search", "/v1/disclosures"])
def test_a1_no_call_takes_a_verification_code(send: Post, path: str) -> None:
    """Every call that takes a body looks for such fields."""
    response = send("POST", path, {"items": [{"value": {"cvv2": "123"}}]})
    assert response.status_code == 422
    assert problem(response)["code"] == "sensitive_authentication_data"


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 201),
        ("application/json; charset=utf-8", 201),
        ("APPLICATION/JSON; charset=UTF-8", 201),
        ("application/json; charset=utf-16", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
    ],
)
def test_only_json_in_utf_8_is_taken(send: Post, content_type: str, status: int) -> None:
    """A body must be declared as JSON in UTF-8."""
    response = send("POST", "/v1/tokens", GOOD, content_type=content_type)
    assert response.status_code == status
    if status == 415:
        assert problem(response)["code"] == "content_type_unsupported"


def test_a_compressed_body_is_415(send: Post) -> None:
    """Nothing is unpacked: a small body stays a small body."""
    response = send("POST", "/v1/tokens", GOOD, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415
    assert problem(response)["code"] == "content_encoding_unsupported"


def test_a_body_over_the_limit_is_413(send: Post) -> None:
    """A body that says that it is too large is refused unread."""
    response = send("POST", "/v1/tokens", b" " * (4 * 1024 * 1024 + 1))
    assert response.status_code == 413
    assert problem(response)["code"] == "body_too_large"


def test_a_body_of_unknown_length_is_cut_at_the_limit(client: FlaskClient) -> None:
    """A body without a declared length is read up to the limit and not further."""
    environ = create_environ(
        "/v1/tokens",
        method="POST",
        content_type="application/json",
        headers={"Authorization": f"Bearer {API_KEY}", "Transfer-Encoding": "chunked"},
    )
    environ.pop("CONTENT_LENGTH", None)
    environ["wsgi.input"] = io.BytesIO(b" " * (5 * 1024 * 1024))
    environ["wsgi.input_terminated"] = True
    response = Response.from_app(client.application, environ)
    assert response.status_code == 413
    assert json.loads(response.get_data())["code"] == "body_too_large"


def test_a_missing_body_is_400(send: Post) -> None:
    """A call that needs a body says so."""
    response = send("POST", "/v1/tokens")
    assert response.status_code == 400
    assert problem(response)["code"] == "body_missing"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "field_missing"),
        ("customer=a&limit=x", "integer_expected"),
        ("customer=a&limit=0", "value_out_of_bounds"),
        ("customer=a&limit=101", "value_out_of_bounds"),
        (f"customer=a&{CANARY}=1", "unknown_field"),
        ("customer=a&cursor=" + "a" * 200, "value_out_of_bounds"),
    ],
)
def test_a_query_is_checked_like_a_body(send: Post, query: str, code: str) -> None:
    """Parameters that are missing, unknown or out of bounds are refused with a code."""
    response = send("GET", f"/v1/tokens?{query}")
    assert response.status_code == 422
    assert problem(response)["code"] == code


def test_a_repeated_parameter_is_400(send: Post) -> None:
    """A parameter that stands twice is refused: readers differ on which one counts."""
    response = send("GET", "/v1/tokens?customer=a&customer=b")
    assert response.status_code == 400
    assert problem(response)["code"] == "parameter_repeated"


def test_a_call_without_parameters_takes_none(send: Post) -> None:
    """An unknown parameter is refused where there are none."""
    response = send("GET", f"/v1/tokens/tok_x?{CANARY}=1")
    assert response.status_code == 422
    assert problem(response)["code"] == "unknown_field"


@pytest.mark.parametrize(
    "key", ["", "a b", "ä", "a" * 256, "4929420573595709", "4929-4205-7359-5709", "\t"]
)
def test_an_idempotency_key_is_short_visible_and_no_card(send: Post, key: str) -> None:
    """An Idempotency-Key of another form is refused."""
    response = send("POST", "/v1/tokens", GOOD, headers={"Idempotency-Key": key})
    assert response.status_code == 400
    assert problem(response)["code"] == "idempotency_key_malformed"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v2/tokens"),
        ("GET", "//v1/tokens"),
        ("POST", "/v1/tokens/"),
        ("GET", "/v1/tokens/a/b"),
        ("GET", "/static/docs.css"),
        ("GET", f"/v1/{CANARY}"),
    ],
)
def test_an_unknown_route_is_404_and_not_redirected(
    client: FlaskClient, method: str, path: str
) -> None:
    """An address that is not a route's is a problem document, never a redirect."""
    response = client.open(path, method=method)
    assert response.status_code == 404
    assert problem(response)["code"] == "route_not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/reveal", {"OPTIONS", "POST"}),
        ("PATCH", "/v1/tokens", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("DELETE", "/healthz", {"GET", "HEAD", "OPTIONS"}),
        ("TRACE", "/v1/tokens", {"GET", "HEAD", "OPTIONS", "POST"}),
    ],
)
def test_an_unknown_method_is_405(
    client: FlaskClient, method: str, path: str, allowed: set[str]
) -> None:
    """A method that a route does not have is refused with those that it has."""
    response = client.open(path, method=method)
    assert response.status_code == 405
    assert problem(response)["code"] == "method_not_allowed"
    assert set(response.headers["Allow"].split(", ")) == allowed


def test_a2_no_log_line_repeats_what_was_sent(
    send: Post, client: FlaskClient, lines: io.StringIO
) -> None:
    """Whatever is wrong, the log says where and why, and holds neither value nor name nor path."""
    send("POST", "/v1/tokens", body(**{CANARY: CANARY}))
    send("POST", "/v1/tokens", body(cvc="<737>"))
    send("GET", f"/v1/tokens/{CANARY}?{CANARY}={CANARY}")
    client.get(f"/{CANARY}", headers={"Authorization": CANARY, "User-Agent": CANARY})
    logged = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [line["event"] for line in logged] == ["request"] * 4
    assert logged[1]["code"] == "sensitive_authentication_data"
    assert CANARY not in lines.getvalue()
    assert "<737>" not in lines.getvalue()
    assert [line["route"] for line in logged] == [
        "/v1/tokens",
        "/v1/tokens",
        "/v1/tokens/<token>",
        "unmatched",
    ]
