"""C6 at the service's door: each way in which Vault can fail has its answer, and passes.

In every case: writes and reveals answer 503 within 3 s and have no effect, masked reads go on,
readiness says why, and all is well again soon after Vault is, without a restart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.running import Answer, Running
from tests.support.servers import VaultServer
from tests.support.whole import card, numbers
from vault_service.embedded.vault import Vault

# Seconds: the design's limit for an answer, and for the way back.
WITHIN = 3.0
BACK_WITHIN = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A record and a disclosure token that must outlive the fault."""

    customer: str
    token: str
    grant: str


@pytest.fixture
def scene(service: Running) -> Scene:
    """A record, and an active grant for it."""
    customer = service.customer()
    token = service.card(customer, "4242424242424242")
    return Scene(customer=customer, token=token, grant=service.grant(token))


def timed(call: Callable[[], Answer]) -> Answer:
    """The answer, if it came in time."""
    began = time.monotonic()
    answer = call()
    assert time.monotonic() - began < WITHIN
    return answer


def write(service: Running, customer: str, number: str) -> Answer:
    """Tokenize one card."""
    body = {"class": "payment_card", "customer": customer, "value": card(number)}
    return service.call("POST", "/v1/tokens", body, by="billing")


def records(service: Running, customer: str) -> int:
    """How many records a customer has, as the database knows."""
    return int(service.sql("SELECT count(*) FROM records WHERE customer = %s", [customer])[0][0])


@contextmanager
def through(service: Running, scene: Scene) -> Iterator[None]:
    """What must hold while the block's fault lasts, and after it has passed."""
    jws = service.token(scene.grant)
    yield
    for number in numbers(3, start=7):
        answer = timed(lambda number=number: write(service, scene.customer, number))  # type: ignore[misc]
        assert answer.status == 503, answer.raw
        assert answer.code in ("vault_unavailable", "vault_denied", "secret_id_missing")
        assert "retry-after" in answer.headers
    answer = timed(lambda: service.reveal(jws, scene.token))
    assert answer.status == 503, answer.raw
    assert b"4242424242424242" not in answer.raw
    assert service.call("GET", f"/v1/tokens/{scene.token}", by="billing").status == 200
    until = time.monotonic() + WITHIN
    while timed(lambda: service.call("GET", "/readyz")).status != 503:
        assert time.monotonic() < until, "readiness does not tell of the fault"
        time.sleep(0.1)
    assert records(service, scene.customer) == 1


def recovers(service: Running, scene: Scene) -> None:
    """The same service writes and reveals again; the use was not spent."""
    until = time.monotonic() + BACK_WITHIN
    while write(service, scene.customer, "5555555555554444").status not in (200, 201):
        assert time.monotonic() < until, "the service did not come back"
        time.sleep(0.1)
    while service.call("GET", "/readyz").status != 200:
        assert time.monotonic() < until, service.call("GET", "/readyz").raw
        time.sleep(0.1)
    jws = service.token(scene.grant)
    answer = service.reveal(jws, scene.token)
    assert answer.status == 200, answer.raw
    assert answer.body["results"][0]["value"]["number"] == "4242424242424242"


@pytest.mark.parametrize("fault", [Fault.SLOW, Fault.REDIRECT, Fault.AUDIT_FULL, Fault.HANG_UP])
def test_c6_vault_misbehaves(
    service: Running, scene: Scene, proxy: FaultProxy, fault: Fault
) -> None:
    """Slow by 5 s, answering 307, failing for its audit device, or hanging up."""
    with through(service, scene):
        proxy.fault = fault
    proxy.fault = Fault.NONE
    recovers(service, scene)


def revive(own_vault: Vault, proxy: FaultProxy) -> None:
    """Start Vault again; it opens itself, at another port."""
    own_vault.stop()
    own_vault.start()
    proxy.target = own_vault.address


def request(own_vault: Vault, method: str, path: str) -> int:
    """The status of a request as administrator."""
    server = VaultServer(address=own_vault.address, token=own_vault.token())
    return server.request(method, path)[0]


def test_c6_vault_sealed(
    service: Running, scene: Scene, proxy: FaultProxy, own_vault: Vault
) -> None:
    """Sealed for real; the static seal needs a restart of Vault, and the service none."""
    with through(service, scene):
        assert request(own_vault, "PUT", "sys/seal") == 204
    revive(own_vault, proxy)
    recovers(service, scene)


def test_c6_vault_stopped(
    service: Running, scene: Scene, proxy: FaultProxy, own_vault: Vault
) -> None:
    """Stopped for real."""
    with through(service, scene):
        own_vault.stop()
    revive(own_vault, proxy)
    recovers(service, scene)


def test_c6_tokens_of_the_service_die(service: Running, scene: Scene, own_vault: Vault) -> None:
    """Every login revoked: the service logs in again by itself, and nobody notices."""
    jws = service.token(scene.grant)
    assert request(own_vault, "PUT", "sys/leases/revoke-force/auth/approle/login") == 204
    assert timed(lambda: write(service, scene.customer, "378282246310005")).status == 201
    assert timed(lambda: service.reveal(jws, scene.token)).status == 200
