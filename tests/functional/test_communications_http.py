"""Communications over HTTP: streamed in and out, cut off at either end, many at once."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

from tests.support.running import Running
from vault_service.services.communications import MAX_COMMUNICATION

MIB = 1024 * 1024
# What the worker may grow by while four originals of 25 MiB are under way at once, each way: far
# less than two of them.
GROWTH = 48 * MIB
AT_ONCE = 4
INBOUND = {
    "Content-Type": "message/rfc822",
    "Communication-Direction": "inbound",
    "Communication-From": "alice@example.com",
}


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Running]) -> Running:
    """One worker with as many threads as are needed here."""
    return start_service(workers=1, THREADS=str(AT_ONCE))


def original(seed: str, size: int) -> bytes:
    """Some bytes that look like nothing."""
    return hashlib.shake_256(seed.encode()).digest(size)


def pieces(content: bytes) -> Iterator[bytes]:
    """The same, in pieces that fit nowhere."""
    for start in range(0, len(content), 100_003):
        yield content[start : start + 100_003]


def upload(service: Running, customer: str, content: bytes) -> str:
    """Keep it."""
    answer = service.pool.request(
        "POST",
        f"{service.base_url}/v1/customers/{customer}/communications",
        body=pieces(content),
        headers={
            "Authorization": f"Bearer {service.keys['support']}",
            "Content-Length": str(len(content)),
            **INBOUND,
        },
        timeout=60,
    )
    assert answer.status == 201, answer.data
    return str(answer.json()["id"])


def granted(service: Running, token: str) -> str:
    """A disclosure token for contents."""
    asked = {
        "ground": "provide_service",
        "category": "communication_contents",
        "tokens": [token],
        "uses": 1,
        "recipient": {"kind": "internal", "name": "Support"},
        "evidence": {"ticket_reference": "T-17"},
    }
    made = service.call("POST", "/v1/disclosures", asked, by="requester")
    assert made.status == 201, made.raw
    for officer in ("officer-1", "officer-2"):
        service.call("POST", f"/v1/disclosures/{made.body['id']}/approve", {}, by=officer)
    return service.token(made.body["id"])


def download(service: Running, token: str, proof: str) -> urllib3.BaseHTTPResponse:
    """The beginning of the contents' answer."""
    return service.pool.request(
        "POST",
        f"{service.base_url}/v1/reveal/content",
        json={"token": token},
        headers={
            "Authorization": f"Bearer {service.keys['requester']}",
            "Disclosure-Token": proof,
        },
        timeout=60,
        preload_content=False,
    )


def worker_of(service: Running) -> Path:
    """The worker's folder in /proc."""
    assert service.process is not None
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
    (pid,) = children.read_text(encoding="ascii").split()
    return Path(f"/proc/{pid}")


def memory(worker: Path, which: str) -> int:
    """Bytes of memory: `VmRSS` now, `VmHWM` at most since it was reset."""
    for line in (worker / "status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(which)


def test_many_large_ones_at_once_take_no_memory(service: Running) -> None:
    """25 MiB each, in and out: byte for byte, with a receipt, and the worker stays as it is."""
    customer = service.customer()
    warm = upload(service, customer, original("warm", MIB))
    download(service, warm, granted(service, warm)).read()
    worker = worker_of(service)
    before = memory(worker, "VmRSS")
    (worker / "clear_refs").write_text("5", encoding="ascii")
    originals = [original(f"large {number}", MAX_COMMUNICATION) for number in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tokens = list(pool.map(lambda each: upload(service, customer, each), originals))
        up = memory(worker, "VmHWM") - before
        proofs = [granted(service, token) for token in tokens]
        (worker / "clear_refs").write_text("5", encoding="ascii")
        answers = list(
            pool.map(lambda at: download(service, tokens[at], proofs[at]), range(AT_ONCE))
        )
        time.sleep(1.0)  # slow receivers: what is made meanwhile would pile up
        bodies = list(pool.map(lambda each: each.read(), answers))
    down = memory(worker, "VmHWM") - before
    assert bodies == originals
    for answer in answers:
        assert answer.headers["Content-Length"] == str(MAX_COMMUNICATION)
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Receipt-Clause"] == "C1"
        assert len(answer.headers["Receipt-Entry"]) == 36
    assert max(up, down) < GROWTH, (up, down)


def test_a_sender_who_goes_away_leaves_nothing(service: Running) -> None:
    """Who does not say how much will come is not heard, for he could not be told from it."""
    customer = service.customer()
    parts = urlsplit(service.base_url)
    for length in (f"Content-Length: {20 * MIB}", "Transfer-Encoding: chunked"):
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as link:
            link.sendall(
                f"POST /v1/customers/{customer}/communications HTTP/1.1\r\nHost: vault\r\n"
                f"Authorization: Bearer {service.keys['support']}\r\n"
                f"Communication-Direction: inbound\r\n{length}\r\n\r\n".encode()
            )
            if "chunked" in length:
                answered = b""
                while b"length_required" not in answered and (piece := link.recv(4096)):
                    answered += piece
                continue
            link.sendall(bytes(5 * MIB))
            time.sleep(0.3)
    until = time.monotonic() + 10
    while service.sql("SELECT token FROM communications WHERE customer = %s", [customer]):
        assert time.monotonic() < until
        time.sleep(0.1)
    listed = service.call("GET", f"/v1/customers/{customer}/communications", by="support")
    assert listed.body == {"items": [], "next": None}
    assert b"length_required" in answered


def test_a_receiver_who_goes_away_has_had_his_use(service: Running) -> None:
    """And the place of his answer is free again, as often as he does it."""
    customer = service.customer()
    token = upload(service, customer, original("leaves", MAX_COMMUNICATION))
    for _ in range(AT_ONCE + 1):
        proof = granted(service, token)
        answer = download(service, token, proof)
        assert answer.read(10) != b""
        answer.close()
        time.sleep(0.3)
    refused = service.call(
        "POST",
        "/v1/reveal/content",
        {"token": token},
        by="requester",
        headers={"Disclosure-Token": proof},
    )
    assert (refused.status, refused.code) == (403, "disclosure_spent")


@pytest.mark.parametrize("number", [0, 20, 32])
def test_what_does_not_open_is_broken_off(service: Running, number: int) -> None:
    """Told as an error as long as nothing was sent; then by fewer bytes than were announced."""
    customer = service.customer()
    token = upload(service, customer, original(f"broken {number}", 2 * MIB))
    proof = granted(service, token)
    service.sql(
        "UPDATE communication_chunks SET sealed = set_byte(sealed, 9, 255 - get_byte(sealed, 9))"
        " WHERE token = %s AND number = %s",
        [token, number],
    )
    answer = download(service, token, proof)
    if number == 0:
        assert (answer.status, answer.json()["code"]) == (500, "value_unreadable")
        return
    got: list[bytes] = []
    with pytest.raises(urllib3.exceptions.ProtocolError):
        got.extend(answer.stream(65536))
    assert sum(map(len, got)) < 2 * MIB
    assert service.call("GET", "/healthz").status == 200


def test_account_data_and_contents_have_their_own_grounds(service: Running) -> None:
    """Each refused by the clause of the ground that was named."""
    customer = service.customer()
    card = service.card(customer)
    token = upload(service, customer, original("grounds", 100))
    contents = {
        "ground": "provide_service",
        "category": "communication_contents",
        "recipient": {"kind": "internal", "name": "Support"},
        "evidence": {"ticket_reference": "T-17"},
    }
    account = {
        "ground": "provide_service",
        "category": "personal_and_account",
        "recipient": {"kind": "internal", "name": "Billing"},
        "evidence": {"service": "monthly charge"},
    }
    for asked, tokens, clause in (
        (contents, [card], "C1"),
        (contents, [card, token], "C1"),
        (account, [token], "P1"),
        (account, [token, card], "P1"),
    ):
        answer = service.call(
            "POST", "/v1/disclosures", {**asked, "tokens": tokens}, by="requester"
        )
        assert answer.status == 422, answer.raw
        assert [(each["code"], each["clause"]) for each in answer.body["errors"]] == [
            ("class_not_in_category", clause)
        ]
