"""Peers: what a team would use instead, in the same run, on the same servers.

Each is called as a library in processes of its own, without any HTTP server, caller or policy in
front, which favours it. Each stores what it makes with one commit a value, and writes as large an
audit row into a table beside it in the same transaction. What it does less than the service, or
otherwise, is told with its figures. None of them computes a fingerprint, so none finds equal
values or searches by one.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import floors
from bench.floors import ENTRY, KEK, Reached

PROCESSES: Final = 8
_VALUE: Final = b'{"exp_month":12,"exp_year":2039,"name":"A. Customer","number":"%016d"}'
_KEPT: Final = 200
_WRITE: Final = (
    "WITH told AS (INSERT INTO bench.ledger_outbox (bucket, id, entry) VALUES (0, %b, %b))"
    " INSERT INTO bench.peers (id, sealed) VALUES (%b, %b)"
)
_READ: Final = (
    "WITH told AS (INSERT INTO bench.ledger_outbox (bucket, id, entry) VALUES (0, %b, %b))"
    " SELECT sealed FROM bench.peers WHERE id = %b"
)

Seal = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One of them.

    Attributes:
        module: what must be importable.
        make: gives (seal, open) for the servers.
        differs: what it does otherwise than the service.
    """

    name: str
    module: str
    make: Callable[[Reached], tuple[Seal, Seal]]
    differs: str


def _transit(reached: Reached) -> tuple[Seal, Seal]:
    import base64  # noqa: PLC0415

    import hvac  # noqa: PLC0415

    client = hvac.Client(url=reached.vault, token=reached.token)
    transit = client.secrets.transit

    def seal(value: bytes) -> bytes:
        text = base64.b64encode(value).decode()
        answer = transit.encrypt_data(name=KEK, plaintext=text)
        return str(answer["data"]["ciphertext"]).encode()

    def open_(sealed: bytes) -> bytes:
        answer = transit.decrypt_data(name=KEK, ciphertext=sealed.decode())
        return base64.b64decode(answer["data"]["plaintext"])

    return seal, open_


def _asherah(_: Reached) -> tuple[Seal, Seal]:
    import asherah  # type: ignore[import-not-found]  # noqa: PLC0415

    factory = asherah.SessionFactory(
        {
            "ServiceName": "bench",
            "ProductID": "vault",
            "Metastore": "memory",
            "KMS": "static",
            "StaticMasterKeyHex": os.urandom(32).hex(),
            "EnableSessionCaching": True,
        }
    )
    session = factory.get_session("customer")
    return (
        lambda value: str(session.encrypt_bytes(value)).encode(),
        lambda sealed: bytes(session.decrypt_bytes(sealed.decode())),
    )


def _tink(_: Reached) -> tuple[Seal, Seal]:
    import tink  # type: ignore[import-not-found]  # noqa: PLC0415
    from tink import aead  # noqa: PLC0415

    aead.register()
    template = aead.aead_key_templates.AES256_GCM
    kek = tink.new_keyset_handle(template).primitive(aead.Aead)
    envelope = aead.KmsEnvelopeAead(template, kek)
    return lambda value: envelope.encrypt(value, b"customer"), lambda sealed: envelope.decrypt(
        sealed, b"customer"
    )


PEERS: Final = (
    Peer(
        name="Transit for each value",
        module="hvac",
        make=_transit,
        differs="no data key of a value's own; one request to Vault for each, audited as ours are",
    ),
    Peer(
        name="asherah",
        module="asherah",
        make=_asherah,
        differs="key-encryption key in its own memory; no request to Vault, so no audit there",
    ),
    Peer(
        name="tink, envelope with a local KEK",
        module="tink",
        make=_tink,
        differs="key-encryption key in its own memory; no request to Vault, so no audit there",
    ),
)


def present(peer: Peer, folder: Path) -> bool:
    """Whether it is installed, in the environment or in the folder of the peers."""
    _look_in(folder)
    return importlib.util.find_spec(peer.module) is not None


def _look_in(folder: Path) -> None:
    if folder.is_dir() and str(folder) not in sys.path:
        sys.path.append(str(folder))


def prepare(reached: Reached) -> None:
    """Make the table that the peers write to."""
    with reached.link() as link:
        link.execute("DROP TABLE IF EXISTS bench.peers")
        link.execute("CREATE TABLE bench.peers (id uuid PRIMARY KEY, sealed bytea NOT NULL)")


def writing(reached: Reached, name: str, folder: Path) -> Iterator[int]:
    """Seal and store, one value for each commit."""
    seal, _ = _made(name, reached, folder)
    link = reached.link()
    for number in itertools.count():
        sealed = seal(_VALUE % number)
        link.execute(_WRITE, (uuid.uuid4(), ENTRY, uuid.uuid4(), sealed), binary=True)
        yield 1


def reading(reached: Reached, name: str, folder: Path) -> Iterator[int]:
    """Read and open, one value for each commit of its audit row.

    Raises:
        ValueError: a value came back otherwise.
    """
    seal, open_ = _made(name, reached, folder)
    link = reached.link()
    kept: dict[uuid.UUID, bytes] = {}
    for number in range(_KEPT):
        value, place = _VALUE % number, uuid.uuid4()
        link.execute(_WRITE, (uuid.uuid4(), ENTRY, place, seal(value)), binary=True)
        kept[place] = value
    for place, value in itertools.cycle(kept.items()):
        row: Any = link.execute(_READ, (uuid.uuid4(), ENTRY, place), binary=True).fetchone()
        if open_(bytes(row[0])) != value:
            raise ValueError("a peer's value did not read back")
        yield 1


def _made(name: str, reached: Reached, folder: Path) -> tuple[Seal, Seal]:
    _look_in(folder)
    peer = next(each for each in PEERS if each.name == name)
    return peer.make(reached)


def measure(reached: Reached, peer: Peer, folder: Path, seconds: float) -> tuple[float, float]:
    """Values a second written, and read."""
    return (
        floors.loops(writing, reached, peer.name, folder, processes=PROCESSES, seconds=seconds),
        floors.loops(reading, reached, peer.name, folder, processes=PROCESSES, seconds=seconds),
    )
