"""The shared fixtures give what they promise."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.servers import SERVICE_ROLES, Database, VaultMount


def test_database_is_migrated_and_owned_by_no_superuser(database: Database) -> None:
    """The owner holds the schema, and is not a superuser."""
    with database.connect() as link:
        row = link.execute(
            "SELECT rolsuper, (SELECT count(*) FROM alembic_version) FROM pg_roles"
            " WHERE rolname = current_user"
        ).fetchone()
    assert row == (False, 1)


@pytest.mark.parametrize("role", SERVICE_ROLES)
def test_each_service_role_logs_in_with_its_own_password(database: Database, role: str) -> None:
    """Each process role reaches the database by itself."""
    with database.connect(role) as link:
        assert link.execute("SELECT current_user").fetchone() == (role,)


def test_a_role_without_password_is_refused(database: Database) -> None:
    """The socket alone is no credential."""
    url = database.url("vault_ingest").partition("&passfile=")[0]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url.replace("vault_ingest", "vault_reveal"), passfile="/dev/null")


def test_mount_is_a_fresh_transit(vault_mount: VaultMount) -> None:
    """A key can be made in the module's mount, and none is there before."""
    server, mount = vault_mount.server, vault_mount.mount
    assert server.request("LIST", f"{mount}/keys")[0] == 404
    assert server.request("POST", f"{mount}/keys/probe", {})[0] in {200, 204}
