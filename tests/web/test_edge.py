"""The edge: what a request is, and where it came from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.test import run_wsgi_app

from vault_service.settings import Environment, Settings
from vault_service.web.edge import Edge, caller_address

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed.wsgi import StartResponse


def run(environ: dict[str, Any], folder: Path, **changes: Any) -> tuple[dict[str, Any], Any]:
    """What the application behind the edge sees, and the headers that go out."""
    seen: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        seen.update(environ)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Cache-Control", "public")])
        return [b""]

    settings = Settings(env=Environment.DEVELOPMENT, policy_file=folder / "none.toml", **changes)
    _, _, headers = run_wsgi_app(Edge(app, settings), environ)
    return seen, headers


def test_nothing_of_the_environment_goes_further(tmp_path: Path) -> None:
    """Of what a server mixes in, only the request's own keys reach the application."""
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "REMOTE_ADDR": "192.0.2.1",
        "HTTP_HOST": "x",
        "wsgi.url_scheme": "http",
        "VAULT_SERVICE_DATABASE_INGEST_URL": "secret",
        "PATH": "/bin",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    seen, _ = run(environ, tmp_path)
    assert seen.keys() == {
        "REQUEST_METHOD",
        "PATH_INFO",
        "REMOTE_ADDR",
        "HTTP_HOST",
        "wsgi.url_scheme",
        "vault_service.request",
    }


def test_a_route_keeps_its_own_header(tmp_path: Path) -> None:
    """A common header is put on unless the route set it."""
    _, headers = run({"REQUEST_METHOD": "GET"}, tmp_path)
    assert headers.getlist("Cache-Control") == ["public"]
    assert headers["X-Frame-Options"] == "DENY"
    assert "Strict-Transport-Security" not in headers


def test_transport_security_is_a_setting(tmp_path: Path) -> None:
    """Where TLS ends in front, browsers can be told to insist on it."""
    _, headers = run({"REQUEST_METHOD": "GET"}, tmp_path, hsts_seconds=31536000)
    assert headers["Strict-Transport-Security"] == "max-age=31536000"


ADDRESSES = [
    pytest.param("192.0.2.1", None, 0, "192.0.2.1", id="direct"),
    pytest.param("192.0.2.1", "203.0.113.5", 0, "192.0.2.1", id="nobody-is-trusted"),
    pytest.param("10.0.0.1", "203.0.113.5", 1, "203.0.113.5", id="one-proxy"),
    pytest.param("10.0.0.1", "6.6.6.6, 203.0.113.5", 1, "203.0.113.5", id="forged-before"),
    pytest.param("10.0.0.1", "6.6.6.6, 203.0.113.5, 10.0.0.2", 2, "203.0.113.5", id="two"),
    pytest.param("10.0.0.1", "203.0.113.5", 2, "203.0.113.5", id="shorter-than-trusted"),
    pytest.param("10.0.0.1", None, 1, "10.0.0.1", id="proxy-silent"),
    pytest.param("10.0.0.1", "nonsense", 1, "10.0.0.1", id="nonsense"),
    pytest.param("10.0.0.1", "203.0.113.5:4711", 1, "203.0.113.5", id="port"),
    pytest.param("10.0.0.1", "[2001:DB8::1]:4711", 1, "2001:db8::1", id="six-with-port"),
    pytest.param("::1", None, 0, "::1", id="six"),
    pytest.param("fe80::1%eth0", None, 0, "fe80::1", id="zone"),
    pytest.param("", None, 0, "unknown", id="socket"),
    pytest.param("4242424242424242", None, 0, "unknown", id="no-address"),
]


@pytest.mark.parametrize(("peer", "forwarded", "trusted", "expected"), ADDRESSES)
def test_an_address_is_believed_as_far_as_proxies_are_trusted(
    peer: str, forwarded: str | None, trusted: int, expected: str
) -> None:
    """Only what trusted proxies appended counts, and only addresses are addresses."""
    environ = {"REMOTE_ADDR": peer}
    if forwarded is not None:
        environ["HTTP_X_FORWARDED_FOR"] = forwarded
    assert caller_address(environ, trusted) == expected
