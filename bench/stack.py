"""The real stack, started as a first run starts it.

PostgreSQL with fsync, Vault with two audit
devices, the service and its worker, each a process of its own.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

START_SECONDS: Final = 180.0
STOP_SECONDS: Final = 60.0
_RECORDS: Final = {
    "postgres": "postgres/process.json",
    "vault": "vault/process.json",
    "serve": "serve.process.json",
    "worker": "worker.process.json",
}
_JSON: Final = {"Content-Type": "application/json"}


class BenchError(Exception):
    """Something that the bench needs is not as it must be; nothing measured counts."""


@dataclass(slots=True, kw_only=True)
class Stack:
    """A running vault and what is needed to call it.

    Attributes:
        started_seconds: from the command to a ready service.
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    started_seconds: float = 0.0
    keys: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        by: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """One request; its status and JSON body."""
        sent = {**_JSON, **(headers or {})}
        if by is not None:
            sent["Authorization"] = f"Bearer {self.keys[by]}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            raw = None if body is None else json.dumps(body)
            connection.request(method, path, body=raw, headers=sent)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        return response.status, json.loads(text) if text[:1] in {b"{", b"["} else text.decode()

    def expect(self, method: str, path: str, body: object = None, **more: Any) -> Any:
        """One request that must succeed; its JSON body.

        Raises:
            BenchError: it did not.
        """
        status, answer = self.call(method, path, body, **more)
        if not 200 <= status < 300:
            code = answer.get("code") if isinstance(answer, dict) else ""
            raise BenchError(f"{method} {path} answered {status} {code}")
        return answer

    def settings(self) -> dict[str, Any]:
        """The settings file of the service's processes."""
        import tomllib  # noqa: PLC0415

        return tomllib.loads((self.folder / "service.toml").read_text(encoding="utf-8"))

    def database(self, role: str = "owner") -> str:
        """The database URL of a role."""
        return str(self.settings()[f"database_{role}_url"])

    def vault(self) -> tuple[str, str]:
        """Vault's address, and the root token of this throw-away server."""
        from vault_service.embedded.vault import Vault  # noqa: PLC0415

        server = Vault(self.folder, environment="development", announce=lambda _: None)
        return str(self.settings()["vault_address"]), server.token()

    def pid_of(self, name: str) -> int:
        """The process id of a part: postgres, vault, serve or worker."""
        record = json.loads((self.folder / _RECORDS[name]).read_text(encoding="utf-8"))
        return int(record["pid"])

    def workers(self) -> list[int]:
        """The process ids of the service's workers."""
        return descendants(self.pid_of("serve"))


def descendants(pid: int) -> list[int]:
    """The living processes below one, without itself."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    found = [int(word) for word in text.split()]
    return found + [below for child in found for below in descendants(child)]


def memory_mib(pid: int, what: str = "VmRSS") -> float:
    """A process's resident memory in MiB; `VmHWM` for its peak, 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{what}:")), 0.0)


def cpu_seconds(pid: int) -> float:
    """How long a process has computed, user and system."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(folder: Path, *, extra: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """The whole vault in a folder; stopped when the block ends.

    Args:
        folder: keeps everything; may be of an earlier run.
        extra: settings, by their environment names.

    Raises:
        BenchError: it does not start.
    """
    port = free_port()
    began = time.monotonic()
    log = folder.parent / f"{folder.name}.up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 -- the project's own command
            [
                *(sys.executable, "-m", "vault_service", "up", "--no-sample"),
                *("--state", str(folder), "--port", str(port)),
            ],
            env={**os.environ, "VAULT_SERVICE_LOG_LEVEL": "info", **(extra or {})},
            stdout=out,
            stderr=out,
        )
    stack = Stack(folder=folder, port=port, process=process)
    try:
        _wait(stack, log, began)
        yield stack
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait(stack: Stack, log: Path, began: float) -> None:
    until = began + START_SECONDS
    credentials = stack.folder / "credentials.json"
    while True:
        try:
            ready = stack.call("GET", "/readyz")[0] == http.client.OK
        except (OSError, http.client.HTTPException):
            ready = False
        if ready and credentials.exists():
            break
        if stack.process.poll() is not None or time.monotonic() > until:
            raise BenchError(f"the vault did not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)
    stack.started_seconds = time.monotonic() - began
    people = json.loads(credentials.read_text(encoding="utf-8"))["principals"]
    stack.keys = {each["name"]: each["key"] for each in people}
