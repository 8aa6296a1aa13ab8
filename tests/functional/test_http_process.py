"""The serving process: how it starts, stops, dies, and what it keeps to itself."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.running import Running
from tests.support.whole import card

Start = Callable[..., Running]

# As `serve`, without patience for the port.
_SERVE_AT_ONCE = """
from vault_service import serve, settings
serve._PORT_SECONDS = 0.2
serve.serve(settings.load())
"""
_COUNTER = re.compile(
    r'vault_requests_total\{method="GET",route="/v1/principals/<principal>",status="200"\} (\S+)'
)


def connect(service: Running) -> socket.socket:
    """A bare connection."""
    parts = urlsplit(service.base_url)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port or 80), timeout=10)


def head(service: Running, path: str, *, length: int | None, by: str = "billing") -> bytes:
    """The head of a POST in bytes; without a length its body is chunked."""
    told = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return (
        f"POST {path} HTTP/1.1\r\nHost: vault\r\nAuthorization: Bearer {service.keys[by]}\r\n"
        f"Content-Type: application/json\r\n{told}\r\n\r\n"
    ).encode()


def answer(link: socket.socket) -> tuple[int, bytes]:
    """Status and all bytes of what comes back until the other side closes or falls silent."""
    got = b""
    link.settimeout(5)
    while b"\r\n\r\n" not in got:
        piece = link.recv(65536)
        if not piece:
            break
        got += piece
    top, _, body = got.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", top)
    while length and len(body) < int(length[1]):
        body += link.recv(65536)
    return int(top.split()[1]), body


def workers_of(service: Running) -> list[int]:
    """The process ids of a service's workers."""
    assert service.process is not None
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
    return [int(pid) for pid in children.read_text(encoding="ascii").split()]


def lines(service: Running) -> list[dict[str, object]]:
    """The service's log."""
    return [json.loads(line) for line in service.log.read_text(encoding="utf-8").splitlines()]


def takes_requests(service: Running) -> bool:
    """Whether a new connection is answered."""
    try:
        with connect(service) as link:
            link.sendall(b"GET /healthz HTTP/1.1\r\nHost: vault\r\n\r\n")
            return link.recv(1) != b""
    except OSError:
        return False


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return True
    return stat.rsplit(")", 1)[1].split()[0] == "Z"


def test_a_stop_finishes_requests_under_way(start_service: Start) -> None:
    """A request that is being sent when the stop comes is served; a new one is not taken."""
    service = start_service(workers=1)
    customer = service.customer("crm-stop")
    body = json.dumps({"class": "payment_card", "customer": customer, "value": card()}).encode()
    assert service.process is not None
    with connect(service) as link:
        link.sendall(head(service, "/v1/tokens", length=len(body)) + body[:20])
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert service.process.poll() is None
        assert not takes_requests(service)
        link.sendall(body[20:])
        assert answer(link)[0] == 201
    assert service.process.wait(20) == 0
    events = [line["event"] for line in lines(service)]
    assert events[-1] == "stopped"
    kinds = {bytes(row[0]) for row in service.sql("SELECT entry FROM ledger_outbox")}
    assert any(b'"log.stopped"' in kind for kind in kinds)


def test_an_idle_connection_does_not_hold_up_a_stop(start_service: Start) -> None:
    """A kept-alive connection that says nothing is closed by a stop."""
    service = start_service(workers=1)
    with connect(service) as link:
        link.sendall(b"GET /healthz HTTP/1.1\r\nHost: vault\r\n\r\n")
        assert answer(link)[0] == 200
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 5


def test_workers_of_a_killed_parent_end_and_free_the_port(start_service: Start) -> None:
    """A kill -9 of the parent leaves no worker behind, and the next start has the port."""
    service = start_service(workers=2)
    assert service.process is not None
    workers = workers_of(service)
    assert len(workers) >= 2
    service.process.kill()
    service.process.wait(10)
    until = time.monotonic() + 10
    while not all(gone(pid) for pid in workers):
        assert time.monotonic() < until
        time.sleep(0.05)
    service.start()
    assert service.call("GET", "/healthz").status == 200


def test_a_killed_worker_is_replaced(start_service: Start) -> None:
    """A worker that dies is started anew, and the service goes on."""
    service = start_service(workers=2)
    time.sleep(6)  # Granian takes two deaths within 5.5 s of a start for a loop of crashes
    victim = workers_of(service)[-1]
    os.kill(victim, signal.SIGKILL)
    until = time.monotonic() + 20
    while True:
        if gone(victim) and sum(not gone(pid) for pid in workers_of(service)) >= 2:
            break
        assert time.monotonic() < until
        time.sleep(0.1)
    assert service.call("GET", "/healthz").status == 200


def test_a_second_service_on_the_port_is_refused(service: Running) -> None:
    """A port that is taken is an error with a name, not a shared port."""
    done = subprocess.run(
        [sys.executable, "-c", _SERVE_AT_ONCE],
        env={**service.environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode != 0
    assert "SettingsError" in done.stderr
    assert service.call("GET", "/healthz").status == 200


def test_f4_workers_are_shielded(service: Running) -> None:
    """Neither the parent nor a worker may leave a core file."""
    assert service.process is not None
    for pid in [service.process.pid, *workers_of(service)]:
        limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
        (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert core.split()[4:6] == ["0", "0"]


def test_a_stranger_cannot_make_the_service_read(service: Running) -> None:
    """Without a credential no body is read: the answer comes before the body does."""
    with connect(service) as link:
        link.sendall(
            b"POST /v1/tokens HTTP/1.1\r\nHost: vault\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000000\r\n\r\n{"
        )
        assert answer(link)[0] == 401


def test_a_chunked_body_is_read_and_limited(service: Running) -> None:
    """A body without a length is taken, and refused once it is over the limit."""
    customer = service.customer("crm-chunked")
    body = json.dumps({"class": "business_name", "customer": customer, "value": "Müller"}).encode()
    with connect(service) as link:
        link.sendall(head(service, "/v1/tokens", length=None))
        link.sendall(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
        assert answer(link)[0] == 201
    with connect(service) as link:
        link.sendall(head(service, "/v1/tokens", length=None))
        piece = b"10000\r\n" + b" " * 65536 + b"\r\n"

        def flood() -> None:
            try:
                for _ in range(80):
                    link.sendall(piece)
                link.sendall(b"0\r\n\r\n")
            except OSError:
                pass  # it stopped listening, which is its right

        sender = threading.Thread(target=flood)
        sender.start()
        status, told = answer(link)
        sender.join(10)
    assert status == 413
    assert json.loads(told)["code"] == "body_too_large"


def test_length_and_chunks_together_are_refused(service: Running) -> None:
    """A request that says its length in two ways is read in one way only, or not at all."""
    smuggled = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: vault\r\n\r\n"
    with connect(service) as link:
        link.sendall(
            head(service, "/v1/tokens", length=len(smuggled)).replace(
                b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            + smuggled
        )
        status, _ = answer(link)
        assert status in {400, 401}
        link.settimeout(2)
        try:
            rest = link.recv(65536)
        except TimeoutError:
            rest = b""
        assert b'"alive"' not in rest


def test_idle_connections_shut_nobody_out(service: Running) -> None:
    """Many callers may keep their connections open without another one having to wait."""
    links = [connect(service) for _ in range(200)]
    try:
        for link in links:
            link.sendall(b"GET /healthz HTTP/1.1\r\nHost: vault\r\n\r\n")
        assert {answer(link)[0] for link in links} == {200}
        began = time.monotonic()
        with connect(service) as late:
            late.sendall(b"GET /healthz HTTP/1.1\r\nHost: vault\r\nConnection: close\r\n\r\n")
            assert answer(late)[0] == 200
        assert time.monotonic() - began < 1
    finally:
        for link in links:
            link.close()


def test_a_disconnected_caller_harms_nobody(service: Running) -> None:
    """A caller that goes away in the middle of a body is forgotten."""
    for _ in range(20):
        with connect(service) as link:
            link.sendall(head(service, "/v1/tokens", length=1000) + b"{")
    assert service.call("GET", "/readyz").status == 200
    before = service.call("GET", "/v1/principals/me", by="billing")
    assert before.status == 200


def test_the_process_tells_nobody_its_server_or_settings(service: Running) -> None:
    """Answers name no product and no version, and the log holds no secret."""
    found = service.call("GET", "/healthz")
    assert found.headers["Server"] == "vault"
    text = service.log.read_text(encoding="utf-8")
    for name, value in service.environment.items():
        if name.endswith("_URL"):
            password = urlsplit(value).password
            assert password is None or password not in text
    assert all(key not in text for key in service.keys.values())
    assert all(isinstance(line, dict) for line in lines(service))


def test_counters_of_all_workers_are_one(service: Running) -> None:
    """`/metrics` adds up what every worker counted, whichever answers."""

    def counted() -> float:
        text = service.call("GET", "/metrics").raw.decode()
        found = _COUNTER.search(text)
        return float(found[1]) if found else 0.0

    before = counted()
    for _ in range(20):
        assert service.call("GET", "/v1/principals/me", by="support").status == 200
    assert counted() == before + 20


def test_ready_says_what_was_looked_at(service: Running) -> None:
    """Readiness names the database and each Vault login of this process."""
    body = service.call("GET", "/readyz").body
    assert body["status"] == "ready"
    names = {check["name"] for check in body["checks"]}
    assert {"database ingest", "database reveal", "vault ingest", "vault reveal"} <= names
