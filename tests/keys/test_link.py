"""TLS to Vault: the named authority and no other, and nothing written down for an observer."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keys.errors import Outage, VaultUnavailable
from keys.link import Link, NeverSent
from keys.retry import Deadline
from tests.keys.support import FakeVault, Reply, fake_vault


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault")])
    here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([here]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[FakeVault, Path]]:
    """A fake behind TLS, and its certificate."""
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with fake_vault(context) as fake:
        fake.answer = lambda _: Reply(200, b'{"ok":1}')
        yield fake, cert


def test_the_named_authority_is_trusted(served: tuple[FakeVault, Path]) -> None:
    """With ca_file the connection stands."""
    fake, cert = served
    link = Link(fake.address, ca_file=cert, pool_size=1)
    reply = link.exchange("GET", "/v1/x", {}, None, Deadline(5))
    assert (reply.status, reply.body) == (200, b'{"ok":1}')
    link.close()


def test_no_other_authority_is_trusted(served: tuple[FakeVault, Path]) -> None:
    """Without it the system's authorities count, which do not know this one."""
    fake, _ = served
    link = Link(fake.address, ca_file=None, pool_size=1)
    with pytest.raises(VaultUnavailable):
        link.exchange("GET", "/v1/x", {}, None, Deadline(5))
    assert fake.seen == []
    link.close()


def test_session_keys_are_not_written_down(
    served: tuple[FakeVault, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SSLKEYLOGFILE is not obeyed."""
    log = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    fake, cert = served
    link = Link(fake.address, ca_file=cert, pool_size=1)
    link.exchange("GET", "/v1/x", {}, None, Deadline(5))
    link.close()
    assert not log.exists()


def test_a_refused_connection_is_known_as_never_sent() -> None:
    """Then even what must not be done twice may be tried again."""
    with fake_vault() as gone:
        address = gone.address
    with pytest.raises(NeverSent):
        Link(address, ca_file=None, pool_size=1).exchange("GET", "/v1/x", {}, None, Deadline(1))


def test_standard_ports_are_known() -> None:
    """An address without a port has the scheme's."""
    assert Link("https://vault.example", ca_file=None, pool_size=1)._port == 443
    assert Link("http://vault.example", ca_file=None, pool_size=1)._port == 80


def test_a_connection_that_the_server_closed_meanwhile_is_not_used(
    served: tuple[FakeVault, Path],
) -> None:
    """What lies idle may have ended; the next request goes on another connection at once."""
    fake, cert = served
    link = Link(fake.address, ca_file=cert, pool_size=1)
    link.exchange("POST", "/v1/once", {}, b"{}", Deadline(5))
    (idle,) = link._idle
    idle.sock.shutdown(socket.SHUT_RDWR)
    link.exchange("POST", "/v1/once", {}, b"{}", Deadline(5))
    assert link._idle != [idle]
    assert len(fake.seen) == 2
    link.close()


def test_a_closed_link_sends_nothing(served: tuple[FakeVault, Path]) -> None:
    """It keeps no connection either, and says that Vault cannot be reached."""
    fake, cert = served
    link = Link(fake.address, ca_file=cert, pool_size=1)
    link.exchange("GET", "/v1/x", {}, None, Deadline(5))
    link.close()
    with pytest.raises(VaultUnavailable) as told:
        link.exchange("GET", "/v1/x", {}, None, Deadline(5))
    assert told.value.reason is Outage.UNREACHABLE
    assert link._idle == []
    assert len(fake.seen) == 1


def test_no_more_connections_are_kept_than_told(served: tuple[FakeVault, Path]) -> None:
    """Of several at once those beyond the size of the pool are closed when they are done."""
    fake, cert = served
    together = threading.Barrier(3)

    def answer(_: object) -> Reply:
        together.wait(5)
        return Reply(200, b"{}")

    fake.answer = answer
    link = Link(fake.address, ca_file=cert, pool_size=2)
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(link.exchange, "GET", "/v1/x", {}, None, Deadline(5)) for _ in "abc"]
        assert [each.result().status for each in asked] == [200] * 3
    assert len(link._idle) == 2
    link.close()


def test_a_link_that_closes_while_it_is_used_keeps_nothing(
    served: tuple[FakeVault, Path],
) -> None:
    """The request under way is answered; its connection is closed then."""
    fake, cert = served
    link = Link(fake.address, ca_file=cert, pool_size=2)

    def answer(_: object) -> Reply:
        link.close()
        return Reply(200, b"{}")

    fake.answer = answer
    assert link.exchange("GET", "/v1/x", {}, None, Deadline(5)).status == 200
    assert link._idle == []


def test_an_answer_that_ends_early_is_none(served: tuple[FakeVault, Path]) -> None:
    """Fewer bytes than were announced are a broken connection, never a short answer."""
    fake, cert = served
    fake.answer = lambda _: Reply(200, b'{"ok":1}', length=500, headers={"Connection": "close"})
    link = Link(fake.address, ca_file=cert, pool_size=1)
    with pytest.raises(VaultUnavailable) as told:
        link.exchange("GET", "/v1/x", {}, None, Deadline(5))
    assert told.value.reason is Outage.UNREACHABLE
    assert link._idle == []


def test_a_request_that_cannot_be_sent_leaves_no_connection(
    served: tuple[FakeVault, Path],
) -> None:
    """A line break in a header would be a second header; nothing of it is sent."""
    fake, cert = served
    link = Link(fake.address, ca_file=cert, pool_size=1)
    for token in ("a\r\nb: c", "half \ud800"):
        with pytest.raises(ValueError, match="cannot be sent") as told:
            link.exchange("GET", "/v1/x", {"X-Vault-Token": token}, None, Deadline(5))
        # What the library says of it quotes the header.
        assert told.value.__context__ is None
    assert fake.seen == []
    assert link._idle == []


@contextmanager
def speaking(
    say: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """A server that reads a request and says what it wants, again and again; its port."""

    def serve() -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError), tls.wrap_socket(link, server_side=True) if tls else link as end:
                while b"\r\n\r\n" in end.recv(65536):
                    say(end)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def whole(body: bytes) -> bytes:
    """An answer."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def test_a_word_before_the_answer_is_not_taken_for_it() -> None:
    """Else each request of the connection would be told what the one before it should have been."""
    names = iter("abc")

    def say(end: socket.socket) -> None:
        end.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
        time.sleep(0.05)
        end.sendall(whole(next(names).encode()))

    with speaking(say) as port:
        link = Link(f"http://127.0.0.1:{port}", ca_file=None, pool_size=1)
        for _ in range(2):
            with pytest.raises(VaultUnavailable) as told:
                link.exchange("GET", "/v1/x", {}, None, Deadline(2))
            assert told.value.reason is Outage.UNREACHABLE
            assert link._idle == []


def test_what_stands_behind_an_answer_is_no_answer(tmp_path: Path) -> None:
    """Not even where TLS has decrypted it already, and nothing is left to read on the socket."""
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    # As much as is read at once; the rest of the record stays in the library's hands.
    head = len(whole(b"x" * 8000)) - 8000
    first = whole(b"a" * (8192 - head))
    assert len(first) == 8192
    answers = iter((first + whole(b"forged"), whole(b"b")))
    with speaking(lambda end: end.sendall(next(answers)), context) as port:
        link = Link(f"https://127.0.0.1:{port}", ca_file=cert, pool_size=1)
        assert link.exchange("GET", "/v1/x", {}, None, Deadline(2)).body[:1] == b"a"
        assert link.exchange("GET", "/v1/x", {}, None, Deadline(2)).body == b"b"
        link.close()


def _dripping(end: socket.socket) -> None:
    for piece in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 100:
        end.sendall(bytes([piece]))
        time.sleep(0.1)


def _going_on(end: socket.socket) -> None:
    for _ in range(100):
        end.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.1)


def _stalling(end: socket.socket) -> None:
    time.sleep(0.4)
    end.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na")
    time.sleep(1)


@pytest.mark.parametrize("say", [_dripping, _going_on, _stalling])
def test_no_answer_outlasts_its_deadline(say: Callable[[socket.socket], None]) -> None:
    """However it is spun out: by its head, by words before it, or by its body."""
    with speaking(say) as port:
        link = Link(f"http://127.0.0.1:{port}", ca_file=None, pool_size=1)
        began = time.monotonic()
        with pytest.raises(VaultUnavailable) as told:
            link.exchange("GET", "/v1/x", {}, None, Deadline(0.6))
        assert time.monotonic() - began < 1.2
        assert told.value.reason is Outage.SLOW


def test_a_host_that_can_have_no_address_is_not_reached() -> None:
    """It is an outage like another, and no error of ours."""
    for host in ("vault..example", "v" * 64 + ".example"):
        link = Link(f"http://{host}:8200", ca_file=None, pool_size=1)
        with pytest.raises(NeverSent):
            link.exchange("GET", "/v1/x", {}, None, Deadline(1))
