"""A witness cosigns what continues what it signed before, and nothing else (C2SP tlog-witness)."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keys.signature import verify_ed25519
from tests.support.log_stage import LogStage
from vault_service.cli.exits import Failed
from vault_service.cli.ledger_cosign import _cosigned
from vault_service.client import AnswerUnexpected, Unreachable
from vault_service.client.ledger import Growth
from vault_service.client.witness import Witness
from vault_service.ledger import checkpoint as checkpoints
from vault_service.ledger import merkle, note
from vault_service.ledger.note import VerifierKey

NAME = "witness.example/w1"
TIME = 1_800_000_000


class WitnessServer:
    """A witness for one log, as the specification has it."""

    def __init__(self, log_keys: list[VerifierKey]) -> None:
        self.log_keys = log_keys
        self.size, self.root = 0, merkle.EMPTY_ROOT
        self.answer: tuple[int, bytes] | None = None
        self.secret = Ed25519PrivateKey.generate()
        self.key = VerifierKey(
            name=NAME, public_key=self.secret.public_key().public_bytes_raw(), kind=0x04
        )

    def add_checkpoint(self, body: bytes) -> tuple[int, bytes]:
        """Status and body."""
        if self.answer is not None:
            return self.answer
        head, _, signed = body.partition(b"\n\n")
        first, *steps = head.decode().split("\n")
        old = int(first.removeprefix("old "))
        found = checkpoints.verify(signed, self.log_keys, verify_ed25519)
        if old != self.size:
            return 409, f"{self.size}\n".encode()
        merkle.verify_consistency(
            old=old,
            old_root=self.root,
            new=found.size,
            new_root=found.root,
            proof=[base64.b64decode(step) for step in steps],
        )
        self.size, self.root = found.size, found.root
        signature = self.secret.sign(checkpoints.cosigned_message(found.text(), TIME))
        line = note.Signature(
            name=NAME, key_id=self.key.id, value=TIME.to_bytes(8, "big") + signature
        )
        return 200, line.line().encode()


@pytest.fixture
def server(log: LogStage) -> Iterator[tuple[WitnessServer, str]]:
    """A witness that listens."""
    log.fill(10)
    witness = WitnessServer(log.keys())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = witness.add_checkpoint(
                self.rfile.read(int(self.headers["Content-Length"]))
            )
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield witness, f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()
    thread.join()
    listening.server_close()


class Served:
    """The service, as the client shows it, over the use case itself."""

    def __init__(self, log: LogStage) -> None:
        self._log = log
        self.ledger = self

    def checkpoint(self) -> bytes:
        """The newest checkpoint."""
        return self._log.checkpoint()

    def consistency(self, old: int, new: int) -> Growth:
        """A proof."""
        found = self._log.reading.consistency(self._log.auditor, old=old, new=new)
        return Growth(
            old=old,
            new=new,
            from_root="",
            to_root="",
            proof=[base64.b64encode(step).decode() for step in found.proof],
        )


def test_a_witness_cosigns_a_log_that_grows(
    log: LogStage, server: tuple[WitnessServer, str]
) -> None:
    """From nothing, from what it knows, from a size that we guessed wrong, and the same again."""
    witness, address = server
    client: Any = Served(log)
    asked = Witness(address)
    for known, more in ((0, 5), (None, 300), (3, 7), (None, 0)):
        if more:
            log.fill(more)
        guess = witness.size if known is None else known
        cosigned = _cosigned(client, asked, [witness.key], guess)
        (found,) = checkpoints.cosigned(cosigned, [witness.key], verify_ed25519)
        assert (found.key, found.timestamp) == (witness.key, TIME)
        assert checkpoints.verify(cosigned.encode(), log.keys(), verify_ed25519) == log.head()
        assert witness.size == log.head().size


def test_a_log_that_shrank_is_told(log: LogStage, server: tuple[WitnessServer, str]) -> None:
    """The witness has seen more than the log shows."""
    witness, address = server
    witness.size = 10**6
    client: Any = Served(log)
    with pytest.raises(Failed) as told:
        _cosigned(client, Witness(address), [witness.key], 0)
    assert told.value.code == "ledger_truncated"


def test_a_log_that_was_rewritten_is_told(log: LogStage, server: tuple[WitnessServer, str]) -> None:
    """The same size with another root: the witness repeats its size, and there is no way on."""
    witness, address = server
    witness.answer = (409, f"{log.head().size}\n".encode())
    client: Any = Served(log)
    with pytest.raises(Failed) as told:
        _cosigned(client, Witness(address), [witness.key], log.head().size)
    assert told.value.code == "ledger_forked"


@pytest.mark.parametrize(
    "answer",
    [(403, b""), (404, b""), (409, b"x\n"), (409, b"9" * 30), (302, b""), (200, b"x" * 300_000)],
    ids=lambda answer: f"{answer[0]}-{len(answer[1])}",
)
def test_what_no_witness_answers_is_refused(
    server: tuple[WitnessServer, str], answer: tuple[int, bytes]
) -> None:
    """Refusals, sizes that are none, redirects, floods."""
    witness, address = server
    witness.answer = answer
    with pytest.raises(AnswerUnexpected):
        Witness(address).add_checkpoint(b"old 0\n\n")


def test_a_witness_that_is_away_is_told() -> None:
    """No connection, no cosignature."""
    with pytest.raises(Unreachable):
        Witness("http://127.0.0.1:9").add_checkpoint(b"")
