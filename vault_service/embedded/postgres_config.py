"""What the embedded PostgreSQL is told at start: its whole configuration, nothing left of initdb's.

Every setting about the log serves one end: no value that a client sent may reach it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_SETTINGS: Final = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",
    "password_encryption": "'scram-sha-256'",
    "max_connections": "200",
    "shared_buffers": "'128MB'",
    "max_wal_size": "'1GB'",
    "timezone": "'UTC'",
    "lc_messages": "'C'",
    "log_timezone": "'UTC'",
    "cluster_name": "'vault-service'",
    # No value may reach the log. In this setting `log` ranks above `error`, so that an error of a
    # client is told to that client and to nobody else.
    "log_min_messages": "'log'",
    "log_statement": "'none'",
    "log_min_error_statement": "'panic'",
    "log_min_duration_statement": "-1",
    "log_error_verbosity": "'terse'",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
}
HBA: Final = "local all all scram-sha-256\nlocal replication all scram-sha-256\n"


def render(sockets: Path, *, durable: bool) -> str:
    """The text of ``postgresql.conf``.

    Args:
        sockets: the folder of the Unix socket.
        durable: False leaves out fsync; for tests that do not test durability.
    """
    folder = str(sockets).replace("'", "''")
    settings = {
        **_SETTINGS,
        "unix_socket_directories": f"'{folder}'",
        "fsync": "on" if durable else "off",
    }
    return "".join(f"{name} = {value}\n" for name, value in settings.items())
