"""What infrastructure asks: alive, ready, counters, public keys, rates."""

from __future__ import annotations

import io
import json

import pytest
from flask.testing import FlaskClient

from tests.api.conftest import Post, make_settings
from tests.api.recording import API_KEY, TOKEN, Finding, Recording, served
from vault_service.app import create_app
from vault_service.errors import NotAuthenticated, Unavailable
from vault_service.settings import ProcessRole


def test_alive_needs_no_credential_and_nothing_else(client: FlaskClient) -> None:
    """The process answers that it runs, whatever else is broken."""
    response = client.get("/healthz")
    assert response.get_json() == {"status": "alive"}


def test_ready_gives_reasons(client: FlaskClient, recording: Recording) -> None:
    """503 with every check and its reason while something is missing, 200 otherwise."""
    assert client.get("/readyz").status_code == 200
    recording.answers["ready"] = [
        Finding("database console", ok=True),
        Finding("vault reveal", ok=False, reason="vault is sealed"),
    ]
    response = client.get("/readyz")
    assert response.status_code == 503
    assert "Retry-After" in response.headers
    assert response.get_json() == {
        "status": "not ready",
        "checks": [
            {"name": "database console", "ok": True, "reason": None},
            {"name": "vault reveal", "ok": False, "reason": "vault is sealed"},
        ],
    }


def test_the_public_keys_may_be_cached_and_may_fail(
    client: FlaskClient, recording: Recording
) -> None:
    """The key set is public; without Vault it is 503."""
    response = client.get("/.well-known/jwks.json")
    assert response.get_json() == {"keys": []}
    assert "max-age" in response.headers["Cache-Control"]
    recording.answers["jwks"] = Unavailable("no keys", code="vault_unavailable")
    assert client.get("/.well-known/jwks.json").status_code == 503


def test_requests_are_counted_by_template(client: FlaskClient, send: Post) -> None:
    """Counters know the route's template and the status, and no address that a caller wrote."""
    send("GET", f"/v1/tokens/{TOKEN}")
    client.open("/4242424242424242", method="BREW")
    text = client.get("/metrics").get_data(as_text=True)
    assert 'vault_requests_total{method="GET",route="/v1/tokens/<token>",status="200"}' in text
    assert 'vault_requests_total{method="OTHER",route="unmatched",status="404"}' in text
    assert 'vault_errors_total{code="route_not_found"}' in text
    assert "vault_request_seconds_bucket" in text
    assert "4242424242424242" not in text
    assert TOKEN not in text


def test_infrastructure_is_not_logged_while_well(client: FlaskClient, lines: io.StringIO) -> None:
    """Probes are counted and leave no line; what fails does."""
    client.get("/healthz")
    client.get("/metrics")
    assert lines.getvalue() == ""


def test_the_access_log_names_principal_and_key(send: Post, lines: io.StringIO) -> None:
    """One line per request: who, with which key, what, how it ended; a masked read included."""
    response = send("GET", f"/v1/tokens/{TOKEN}")
    (line,) = [json.loads(one) for one in lines.getvalue().splitlines()]
    assert line["event"] == "request"
    assert line["principal"].startswith("prn_")
    assert line["key"].startswith("key_")
    assert line["route"] == "/v1/tokens/<token>"
    assert line["request_id"] == response.headers["Request-Id"]
    assert line["status"] == 200
    assert TOKEN not in json.dumps(line)


@pytest.mark.parametrize(
    ("role", "there", "missing"),
    [
        (ProcessRole.INGEST, "/v1/customers", "/v1/reveal"),
        (ProcessRole.REVEAL, "/v1/reveal", "/v1/tokens"),
        (ProcessRole.CONSOLE, "/v1/principals", "/v1/reveal"),
    ],
)
def test_a_process_has_the_routes_of_its_role(
    recording: Recording, role: ProcessRole, there: str, missing: str
) -> None:
    """A route of another role is not there at all, not merely forbidden."""
    client = create_app(served(recording), make_settings(process_role=role)).test_client()
    assert client.post(there).status_code == 401
    assert client.post(missing).status_code == 404
    assert client.get("/healthz").status_code == 200


def test_a_worker_answers_for_its_health_only(recording: Recording) -> None:
    """A worker has no call."""
    settings = make_settings(process_role=ProcessRole.WORKER)
    client = create_app(served(recording), settings).test_client()
    assert client.get("/readyz").status_code == 200
    assert client.get("/v1/principals/me").status_code == 404


def test_a_caller_beyond_its_rate_waits(recording: Recording) -> None:
    """The limit is told, and beyond it every call is 429 with the seconds to wait."""
    app = create_app(served(recording), make_settings(rate_limit=2))
    client = app.test_client()
    headers = {"Authorization": f"Bearer {API_KEY}"}
    first = client.get("/v1/tokens/x", headers=headers)
    assert first.headers["RateLimit-Limit"] == "2"
    assert first.headers["RateLimit-Remaining"] == "1"
    assert 1 <= int(first.headers["RateLimit-Reset"]) <= 60
    client.get("/v1/tokens/x", headers=headers)
    third = client.get("/v1/tokens/x", headers=headers)
    assert third.status_code == 429
    assert third.get_json(force=True)["code"] == "rate_limited"
    assert 1 <= int(third.headers["Retry-After"]) <= 60
    assert client.get("/healthz").status_code == 200


def test_reveals_have_a_rate_of_their_own(recording: Recording) -> None:
    """Reveals are counted apart."""
    settings = make_settings(rate_limit=0, reveal_rate_limit=1)
    client = create_app(served(recording), settings).test_client()
    headers = {"Authorization": f"Bearer {API_KEY}", "Disclosure-Token": "e.y.J"}
    assert client.post("/v1/reveal", json={"tokens": [TOKEN]}, headers=headers).status_code == 200
    assert client.post("/v1/reveal", json={"tokens": [TOKEN]}, headers=headers).status_code == 429
    other = client.get("/v1/tokens/x", headers=headers)
    assert other.status_code == 200
    assert "RateLimit-Limit" not in other.headers


def test_refused_credentials_are_limited_by_address(recording: Recording) -> None:
    """An address that keeps failing is turned away without a look-up; who is known still enters."""
    app = create_app(served(recording), make_settings(refused_rate_limit=2))
    client = app.test_client()
    good = {"Authorization": f"Bearer {API_KEY}"}
    assert client.get("/v1/tokens/x", headers=good).status_code == 200
    bad = {"Authorization": "Bearer nonsense"}
    told = [client.get("/v1/tokens/x", headers=bad).status_code for _ in range(4)]
    assert told == [401, 401, 429, 429]
    assert client.get("/v1/tokens/x", headers=good).status_code == 200
    elsewhere = {"REMOTE_ADDR": "192.0.2.9"}
    assert client.get("/v1/tokens/x", headers=bad, environ_overrides=elsewhere).status_code == 401


def test_a_credential_that_stops_counting_is_no_longer_waved_through(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Knowing a credential from before decides who is asked, never who is let in."""
    app = create_app(served(recording), make_settings())
    client = app.test_client()
    good = {"Authorization": f"Bearer {API_KEY}"}
    assert client.get("/v1/tokens/x", headers=good).status_code == 200

    def revoked(*_: object, **__: object) -> None:
        raise NotAuthenticated("revoked", code="credential_revoked")

    monkeypatch.setattr(Recording, "authenticate", revoked)
    assert client.get("/v1/tokens/x", headers=good).status_code == 401
