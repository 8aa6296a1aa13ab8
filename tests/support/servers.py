"""The real PostgreSQL and the real Vault-API server that tests run against.

Either both are started from wheels, private to the test process, or they are servers of one's own,
named on the command line. Tests see the same two classes and cannot tell which it is.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import requests
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, make_url

from vault_service.embedded.postgres import OWNER, SUPERUSER, Postgres
from vault_service.embedded.vault import Vault

SERVICE_ROLES: Final = ("vault_ingest", "vault_reveal", "vault_console", "vault_worker")
# Two test processes on one server of one's own make roles at the same time.
_ROLE_LOCK: Final = 0x7465737473


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One database, migrated unless it was asked for bare.

    Attributes:
        name: the database's name.
        url: URL for a role (``vault_owner`` by default), usable by libpq, psycopg and SQLAlchemy.
    """

    name: str
    url: Callable[[str], str]

    @property
    def owner_url(self) -> str:
        """URL of the schema's owner, who is no superuser."""
        return self.url(OWNER)

    @property
    def admin_url(self) -> str:
        """URL of the server's administrator."""
        return self.url(SUPERUSER)

    def connect(self, role: str = OWNER) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection as ``role``."""
        return psycopg.connect(self.url(role), connect_timeout=10)


class DatabaseServer:
    """A PostgreSQL server with its administrator's URL and the passwords of the roles.

    Args:
        admin_url: URL of a superuser, or of a role with CREATEDB and CREATEROLE.
        role_url: gives the URL of a role and a database.
        let_in: gives a role its login.
    """

    def __init__(
        self,
        *,
        admin_url: Callable[[str], str],
        role_url: Callable[[str, str], str],
        let_in: Callable[[str], None],
        embedded: Postgres | None = None,
    ) -> None:
        self.admin_url = admin_url
        self.embedded = embedded
        self._role_url = role_url
        self._let_in = let_in
        self._template: str | None = None

    @classmethod
    def of(cls, server: Postgres) -> DatabaseServer:
        """The embedded server."""
        return cls(
            admin_url=lambda database: server.dsn(SUPERUSER, database),
            role_url=server.dsn,
            let_in=server.let_in,
            embedded=server,
        )

    @classmethod
    def at(cls, url: str, *, run: str) -> DatabaseServer:
        """A server of one's own; ``run`` is the same in all processes of one test run."""
        base = make_url(url).set(drivername="postgresql")

        def password(role: str) -> str:
            return hashlib.sha256(f"{run}:{role}".encode()).hexdigest()

        def admin_url(database: str) -> str:
            return _text(base.set(database=database))

        def role_url(role: str, database: str) -> str:
            return _text(base.set(username=role, password=password(role), database=database))

        def let_in(role: str) -> None:
            with psycopg.connect(admin_url(base.database or "postgres"), autocommit=True) as link:
                verifier = link.pgconn.encrypt_password(
                    password(role).encode(), role.encode(), b"scram-sha-256"
                ).decode()
                link.execute(
                    sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                        sql.Identifier(role), sql.Literal(verifier)
                    )
                )

        return cls(admin_url=admin_url, role_url=role_url, let_in=let_in)

    @contextmanager
    def empty(self) -> Iterator[Database]:
        """A fresh database without any table, owned by ``vault_owner``; dropped afterwards."""
        with self._created(None) as name:
            yield self._database(name)

    @contextmanager
    def migrated(self, upgrade: Callable[[str], None]) -> Iterator[Database]:
        """A fresh database with the whole schema, copied from a template; dropped afterwards."""
        if self._template is None:
            name = self._create(None)
            upgrade(self._role_url(OWNER, name))
            with self._admin() as link:
                _locked(link)
                for role in SERVICE_ROLES:
                    self._let_in(role)
            self._template = name
        with self._created(self._template) as name:
            yield self._database(name)

    def close(self) -> None:
        """Drop the template."""
        if self._template is not None:
            self._drop(self._template)

    def _database(self, name: str) -> Database:
        def url(role: str) -> str:
            return self.admin_url(name) if role == SUPERUSER else self._role_url(role, name)

        return Database(name=name, url=url)

    @contextmanager
    def _created(self, template: str | None) -> Iterator[str]:
        name = self._create(template)
        try:
            yield name
        finally:
            self._drop(name)

    def _create(self, template: str | None) -> str:
        name = f"test_{secrets.token_hex(6)}"
        with self._admin() as link:
            _locked(link)
            owner = sql.Identifier(OWNER)
            if (
                link.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [OWNER]).fetchone()
                is None
            ):
                link.execute(sql.SQL("CREATE ROLE {} CREATEROLE").format(owner))
            if self.embedded is None:
                link.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(owner))
            self._let_in(OWNER)
            link.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                    sql.Identifier(name), owner, sql.Identifier(template or "template0")
                )
            )
        return name

    def _drop(self, name: str) -> None:
        with self._admin() as link:
            link.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    @contextmanager
    def _admin(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        database = "postgres"
        if self.embedded is None:
            database = str(conninfo_to_dict(self.admin_url("postgres"))["dbname"])
        with psycopg.connect(self.admin_url(database), autocommit=True) as link:
            yield link


def _locked(link: psycopg.Connection[tuple[Any, ...]]) -> None:
    link.execute("SELECT pg_advisory_lock(%s)", [_ROLE_LOCK])  # goes with the connection


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultServer:
    """A server with the Vault API and an administrator's token.

    Attributes:
        embedded: the private server, None for one of one's own.
    """

    address: str
    token: str
    embedded: Vault | None = None

    def request(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Send one request as administrator; returns status and JSON answer (empty if none)."""
        answer = requests.request(
            method,
            f"{self.address}/v1/{path}",
            data=None if body is None else json.dumps(body),
            headers={"X-Vault-Token": self.token},
            allow_redirects=False,
            timeout=30,
        )
        return answer.status_code, answer.json() if answer.content else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultMount:
    """A fresh Transit mount and a name prefix for roles and policies, both of one test module."""

    server: VaultServer
    mount: str
    prefix: str

    @property
    def address(self) -> str:
        """Where the server listens."""
        return self.server.address

    @property
    def token(self) -> str:
        """An administrator's token."""
        return self.server.token


@contextmanager
def fresh_mount(server: VaultServer) -> Iterator[VaultMount]:
    """Enable a Transit mount of its own; afterwards remove it, and all roles with its prefix."""
    name = f"test-{secrets.token_hex(5)}"
    mount = VaultMount(server=server, mount=f"{name}-transit", prefix=f"{name}-")
    status, answer = server.request("POST", f"sys/mounts/{mount.mount}", {"type": "transit"})
    assert status == requests.codes.no_content, answer
    try:
        yield mount
    finally:
        server.request("DELETE", f"sys/mounts/{mount.mount}")
        for folder in ("auth/approle/role", "sys/policies/acl"):
            status, answer = server.request("LIST", folder)
            names = answer["data"]["keys"] if status == requests.codes.ok else []
            for found in names:
                if found.startswith(mount.prefix):
                    server.request("DELETE", f"{folder}/{found}")


@contextmanager
def run_postgres(folder: Path, *, url: str | None, run: str) -> Iterator[DatabaseServer]:
    """The private PostgreSQL in ``folder``, or the one at ``url``."""
    if url is not None:
        server = DatabaseServer.at(url, run=run)
        yield server
        server.close()
        return
    # Durability is tested where it matters; everywhere else it only costs time.
    with Postgres(folder, environment="development", durable=False) as postgres:
        yield DatabaseServer.of(postgres)


@contextmanager
def run_vault(
    folder: Path, *, address: str | None, token_file: Path | None
) -> Iterator[VaultServer]:
    """The private Vault-API server in ``folder``, or the one at ``address``."""
    if address is not None and token_file is not None:
        token = token_file.read_text(encoding="ascii").strip()
        yield VaultServer(address=address.rstrip("/"), token=token)
        return
    with Vault(folder, environment="development", announce=lambda _: None) as vault:
        yield VaultServer(address=vault.address, token=vault.token(), embedded=vault)
