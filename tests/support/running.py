"""The running service: `serve` in processes of its own, on the module's real servers, over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import urllib3

from keys import spool
from tests.support.servers import Database
from tests.support.whole import ROLES, Stage, admin_of, card
from vault_service.settings import ProcessRole, Settings

# What the command `serve` does, without the loading of all commands.
_SERVE: Final = """
from vault_service import memory, settings
memory.give_back_what_is_free()
memory.do_without("rich")
from vault_service import serve
serve.serve(settings.load())
"""
START_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer, read whole."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        """The JSON that it holds, or None."""
        return json.loads(self.raw) if self.raw else None

    @property
    def code(self) -> str | None:
        """The error code, if it is a problem."""
        body = self.body
        return body.get("code") if isinstance(body, dict) else None


@dataclass(slots=True, kw_only=True)
class Running:
    """One `serve` with its workers.

    Attributes:
        prefix: what stands before its command, for a process of another user.
        heard: takes every answer, head and body, while it is a list.
    """

    base_url: str
    keys: Mapping[str, str]
    environment: Mapping[str, str]
    log: Path
    database: Database
    process: subprocess.Popen[bytes] | None = None
    prefix: Sequence[str] = ()
    heard: list[bytes] | None = None
    pool: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(maxsize=64, retries=False)
    )

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-c", _SERVE],
                env={**self.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                if self.call("GET", "/healthz").status == 200:
                    return
            except urllib3.exceptions.HTTPError:
                pass
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() < until, self.log.read_text()[-2000:]
            time.sleep(0.05)

    def stop(self) -> int:
        """Ask it to stop and wait; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """Kill it and its workers at once, by the process group that this test made."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        by: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> Answer:
        """One request as a principal, or as nobody."""
        sent = dict(headers or {})
        if by is not None:
            sent["Authorization"] = f"Bearer {self.keys[by]}"
        raw = None
        if body is not None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        answer = self.pool.request(
            method, self.base_url + path, body=raw, headers=sent, timeout=timeout
        )
        if self.heard is not None:
            self.heard.append(f"{answer.status} {dict(answer.headers)}\n".encode() + answer.data)
        return Answer(status=answer.status, headers=answer.headers, raw=answer.data)

    # ------------------------------------------------------------ sentences

    def customer(self, reference: str | None = None) -> str:
        """A customer."""
        body = {} if reference is None else {"external_ref": reference}
        answer = self.call("POST", "/v1/customers", body, by="billing")
        assert answer.status in (200, 201), answer.raw
        return str(answer.body["id"])

    def card(self, customer: str, number: str = "4242424242424242", **more: object) -> str:
        """The token of a card."""
        body = {"class": "payment_card", "customer": customer, "value": card(number), **more}
        answer = self.call("POST", "/v1/tokens", body, by="billing")
        assert answer.status in (200, 201), answer.raw
        return str(answer.body["id"])

    def grant(self, *tokens: str, uses: int = 1, officers: Sequence[str] | None = None) -> str:
        """A grant for these tokens, approved."""
        standing = uses > 1
        body: dict[str, object] = {
            "ground": "provide_service" if standing else "protect_from_harm",
            "category": "personal_and_account",
            "tokens": list(tokens),
            "uses": uses,
            "recipient": {"kind": "internal" if standing else "counterparty", "name": "Somebody"},
            "evidence": {"service": "monthly charge"}
            if standing
            else {
                "harm": "threats by telephone",
                "harmed": "a customer",
                "action": "identify",
                "case_reference": "CASE-1",
            },
        }
        made = self.call("POST", "/v1/disclosures", body, by="requester")
        assert made.status == 201, made.raw
        for officer in officers or (["officer-1"] if standing else ["officer-1", "officer-2"]):
            answer = self.call("POST", f"/v1/disclosures/{made.body['id']}/approve", {}, by=officer)
            assert answer.status == 200, answer.raw
        return str(made.body["id"])

    def token(self, grant: str) -> str:
        """A disclosure token of a grant."""
        answer = self.call("POST", f"/v1/disclosures/{grant}/token", {}, by="requester")
        assert answer.status == 201, answer.raw
        return str(answer.body["token"])

    def reveal(self, token: str, *tokens: str, by: str = "requester") -> Answer:
        """Reveal with a disclosure token."""
        return self.call(
            "POST",
            "/v1/reveal",
            {"tokens": list(tokens)},
            by=by,
            headers={"Disclosure-Token": token},
        )

    def sql(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows of a statement run by the administrator."""
        with psycopg.connect(self.database.admin_url, autocommit=True) as link:
            cursor = link.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


def environment_of(settings: Settings, *, port: int, workers: int) -> dict[str, str]:
    """The settings as the environment of a process."""
    given = {
        "ENV": "development",
        "STAND_IN": "true",
        "PROCESS_ROLE": settings.process_role.value,
        "PORT": str(port),
        "WORKERS": str(workers),
        "DATABASE_INGEST_URL": settings.database_ingest_url,
        "DATABASE_REVEAL_URL": settings.database_reveal_url,
        "DATABASE_CONSOLE_URL": settings.database_console_url,
        "DATABASE_WORKER_URL": settings.database_worker_url,
        "VAULT_ADDRESS": settings.vault_address,
        "VAULT_MOUNT": settings.vault_mount,
        "VAULT_PREFIX": settings.vault_prefix,
        "VAULT_SPOOL": str(settings.vault_spool),
        "ISSUER": settings.issuer,
        "LEDGER_STOP_SECONDS": str(settings.ledger_stop_seconds),
    }
    own = {f"VAULT_SERVICE_{name}": value for name, value in given.items() if value is not None}
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    return {**kept, **own}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def starting(
    stage: Stage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Running]]:
    """Starts services of any process role on the stage's servers; stops what still runs."""
    started: list[Running] = []

    def start(
        role: ProcessRole = ProcessRole.ALL,
        *,
        workers: int = 2,
        without: Sequence[str] = (),
        prefix: Sequence[str] = (),
        **extra: str,
    ) -> Running:
        settings = stage.settings_for(role)
        assert settings.vault_spool is not None
        admin = admin_of(stage.mount)
        for vault_role in ROLES:
            spool.issue(admin, vault_role, settings.vault_spool, 4 * workers)
        admin.close()
        port = free_port()
        environment = {**environment_of(settings, port=port, workers=workers), **extra}
        for left_out in without:
            del environment[left_out]
        running = Running(
            base_url=f"http://127.0.0.1:{port}",
            keys=stage.cast.keys,
            environment=environment,
            prefix=prefix,
            log=tmp_path_factory.mktemp("service") / "serve.log",
            database=stage.database,
        )
        started.append(running)
        running.start()
        return running

    yield start
    for running in started:
        if running.process is not None and running.process.poll() is None:
            running.stop()


@pytest.fixture(scope="module")
def start_service(
    stage: Stage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Running]]:
    """Starts services for this module."""
    with starting(stage, tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def service(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service of all process roles, two workers, for all who leave it as they found it."""
    with starting(stage, tmp_path_factory) as start:
        yield start()


__all__ = ["Answer", "Running", "free_port", "service", "start_service"]
