"""TLS to Vault: the named authority and no other, and nothing written down for an observer."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keys.errors import VaultUnavailable
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
    assert Link("https://vault.example", ca_file=None, pool_size=1)._pool.port == 443
    assert Link("http://vault.example", ca_file=None, pool_size=1)._pool.port == 80
