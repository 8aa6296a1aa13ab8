"""What the tests of keys share: a served mount with its roles, and a fake Vault for faults.

The fake exists only for what a real server will not do on demand: redirects, stalls, full audit
devices, limits, broken answers. Everything else is asked of the real one.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from keys import spool
from keys.admin import AdminTransit
from keys.declared import Inventory, load
from keys.envelope import Context
from keys.inventory import apply
from keys.secret import Secret
from keys.spool import WRAP_TTL
from keys.transit import Transit
from tests.support.servers import VaultMount

CONTEXT = Context(token="tok_0a", customer="cus_0b", data_class="payment_card", record_version=1)


@dataclass(slots=True)
class World:
    """A mount with the inventory applied, and its roles."""

    place: VaultMount
    inventory: Inventory
    admin: AdminTransit
    spool: Path
    _open: list[Transit] = field(default_factory=list)
    _roles: dict[str, Transit] = field(default_factory=dict)

    def role(self, name: str) -> Transit:
        """The module's own connection of a role."""
        if name not in self._roles:
            self._roles[name] = self.fresh(name)
        return self._roles[name]

    def fresh(self, name: str, **options: Any) -> Transit:
        """Another connection of a role, with a secret-id ready for it."""
        self.fill(name)
        options = {"address": self.place.address, **options}
        transit = Transit(
            role=name,
            spool=self.spool,
            mount=self.place.mount,
            approle_prefix=self.place.prefix,
            **options,
        )
        self._open.append(transit)
        return transit

    def fill(self, role: str, count: int = 1) -> None:
        """Have at least so many secret-ids in a role's spool."""
        spool.issue(self.admin, role, self.spool, count)

    def request(
        self, method: str, path: str, body: dict[str, object] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Ask the server as administrator, below the mount."""
        return self.place.server.request(method, f"{self.place.mount}/{path}", body)

    def close(self) -> None:
        """Close every connection."""
        for transit in self._open:
            transit.close()
        self.admin.close()


@contextmanager
def world_at(place: VaultMount, folder: Path) -> Iterator[World]:
    """Apply the inventory at a fresh mount."""
    inventory = load(mount=place.mount, prefix=place.prefix)
    admin = AdminTransit(
        address=place.address,
        token=Secret(place.token.encode()),
        mount=place.mount,
        approle_prefix=place.prefix,
    )
    apply(inventory, admin)
    world = World(place=place, inventory=inventory, admin=admin, spool=folder)
    yield world
    world.close()


@dataclass(slots=True)
class Request:
    """A request as the fake received it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


@dataclass(slots=True)
class Reply:
    """What the fake answers; `reset` breaks the connection instead, `drip` sends it slowly."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0
    reset: bool = False
    length: int | None = None

    @classmethod
    def of(cls, content: Any, status: int = 200) -> Reply:
        """A JSON answer."""
        return cls(status=status, body=json.dumps(content).encode())

    @classmethod
    def errors(cls, status: int, *words: str) -> Reply:
        """A refusal in Vault's form."""
        return cls.of({"errors": list(words)}, status)


Answer = Callable[[Request], Reply]


class FakeVault:
    """A local HTTP server that answers as it is told; it knows the login by itself."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Request] = []
        self.answer: Answer = lambda _: Reply()
        self.lease = 3600
        self.logins = 0
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, self.rfile.read(size))
                fake.seen.append(request)
                _send(self, fake.login(request) or fake.answer(request))

            do_GET = do_POST = do_PUT = do_LIST = do_DELETE = handle_any  # noqa: N815  # http.server

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                pass  # the client left, which many of these tests are about

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._scheme = "https" if tls else "http"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def asked(self, part: str) -> list[Request]:
        """The requests whose path holds `part`."""
        return [request for request in self.seen if part in request.path]

    def login(self, request: Request) -> Reply | None:
        """Answer the steps of a login."""
        path = request.path
        if path.endswith("/wrapping/lookup"):
            role = request.json["token"].partition(":")[0]
            return Reply.of({"data": {"creation_path": f"auth/approle/role/{role}/secret-id"}})
        if path.endswith("/wrapping/unwrap"):
            return Reply.of({"data": {"secret_id": "made-up"}})
        if path.endswith("/approle/login"):
            self.logins += 1
            token = f"token-{self.logins}"
            return Reply.of({"auth": {"client_token": token, "lease_duration": self.lease}})
        return None

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    time.sleep(reply.delay)
    if reply.reset:
        # Linger zero: the kernel sends a reset instead of an orderly end.
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.close_connection = True
        handler.connection.close()
        return
    handler.send_response(reply.status)
    size = len(reply.body) if reply.length is None else reply.length
    for name, value in {**reply.headers, "Content-Length": str(size)}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if not reply.drip:
        handler.wfile.write(reply.body)
        return
    for at in range(len(reply.body)):
        handler.wfile.write(reply.body[at : at + 1])
        handler.wfile.flush()
        time.sleep(reply.drip)


@contextmanager
def fake_vault(tls: ssl.SSLContext | None = None) -> Iterator[FakeVault]:
    """A fake that is stopped afterwards."""
    fake = FakeVault(tls)
    try:
        yield fake
    finally:
        fake.close()


class _Minter:
    """Makes wrapping tokens that the fake's lookup understands."""

    def __init__(self) -> None:
        self.made = 0

    def wrapped_secret_id(self, role: str, _ttl: object) -> tuple[str, Secret]:
        """A token that names its role."""
        self.made += 1
        return role, Secret(f"{role}:{self.made}".encode())


def at_fake(fake: FakeVault, folder: Path, *, spooled: int = 5, **options: Any) -> Transit:
    """A connection of a role to the fake, with made-up secret-ids in its spool."""
    spool.issue(_Minter(), "ingest", folder, spooled, wrap_ttl=WRAP_TTL)
    return Transit(
        **{
            "address": fake.address,
            "role": "ingest",
            "spool": folder,
            "approle_prefix": "",
            **options,
        }
    )


class Relay:
    """A fixed address in front of a server whose port changes when it is started again."""

    def __init__(self, target: Callable[[], str]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept)
        self._open: list[socket.socket] = []
        self._pumps: list[threading.Thread] = []

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for side in self._open:
            _end(side)
        for thread in self._pumps:
            thread.join()
        for side in self._open:
            side.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            parts = urlsplit(self._target())
            try:
                server = socket.create_connection((str(parts.hostname), parts.port or 0))
            except OSError:
                _end(client)
                continue
            self._open.append(server)
            for pair in ((client, server), (server, client)):
                pump = threading.Thread(target=_pump, args=pair)
                self._pumps.append(pump)
                pump.start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass bytes on until either side ends, then end both."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _end(source)
    _end(sink)


def _end(side: socket.socket) -> None:
    with contextlib.suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)
