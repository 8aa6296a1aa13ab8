"""Random passwords of database roles, one private file each, and the verifiers made from them.

    secrets/database-<role>.pgpass    *:*:*:<role>:<password>

The format is libpq's password file, so that a DSN can name the file and hold no password. The
server gets SCRAM verifiers only: a password is in no statement, argument or environment.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import psycopg

from vault_service.embedded.files import write_private

_PASSWORD_BYTES = 32  # 256 bits: nothing to guess, so the iteration count carries no weight
_MECHANISM = b"scram-sha-256"


class Passwords:
    """The passwords in one folder, made on first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def file(self, role: str) -> Path:
        """The password file of ``role``, to be named in a DSN."""
        return self._folder / f"database-{role}.pgpass"

    def verifier(self, role: str) -> str:
        """The SCRAM verifier of ``role``'s password."""
        path = self.file(role)
        if not path.exists():
            write_private(path, f"*:*:*:{role}:{secrets.token_urlsafe(_PASSWORD_BYTES)}\n")
        password = path.read_text(encoding="ascii").strip().rpartition(":")[2]
        # libpq makes verifiers without a server; of the connection only the memory is used.
        unconnected = psycopg.pq.PGconn.connect_start(b"host=/nonexistent")
        try:
            return unconnected.encrypt_password(
                password.encode(), role.encode(), _MECHANISM
            ).decode()
        finally:
            unconnected.finish()
