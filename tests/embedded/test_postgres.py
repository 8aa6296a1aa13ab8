"""The private PostgreSQL: closed to everybody, silent about values, hard to break."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from vault_service.embedded.files import EmbeddedError, EmbeddedRefused
from vault_service.embedded.identity import choose
from vault_service.embedded.postgres import OWNER, Postgres, binaries
from vault_service.embedded.process import Identity, start_time

CANARY = "4242424242424242"


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """A state folder below a folder that nobody else may enter, as a private clone is."""
    folder = Path(tempfile.mkdtemp(prefix="vp-"))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    yield folder / "var"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster(state: Path) -> Path:
    """The state folder with a database cluster in it, not running."""
    with Postgres(state, environment="development", durable=False):
        pass
    return state


@pytest.fixture
def server(cluster: Path) -> Iterator[Postgres]:
    """The running server."""
    with Postgres(cluster, environment="development", durable=False) as server:
        yield server


def value(server: Postgres, statement: str) -> object:
    """The one value that a statement gives."""
    with psycopg.connect(server.dsn()) as link:
        row = link.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def test_production_is_refused(tmp_path: Path) -> None:
    """Nothing is made, nothing is started."""
    with pytest.raises(EmbeddedRefused):
        Postgres(tmp_path / "var", environment="production")
    assert not (tmp_path / "var").exists()


def test_it_listens_on_a_private_socket_only(server: Postgres) -> None:
    """No port is open, and the socket's folder is closed to others."""
    assert value(server, "SHOW listen_addresses") == ""
    assert stat.S_IMODE(server.socket_folder.stat().st_mode) == 0o700
    assert value(server, "SELECT version()").startswith("PostgreSQL 18")  # type: ignore[attr-defined]


def test_it_runs_unprivileged(server: Postgres) -> None:
    """Started by root, it is another user with at most the one right to look past modes."""
    pid = server.child.pid
    assert pid is not None
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    if os.geteuid() != 0:
        assert set(status["Uid"].split()) == {str(os.geteuid())}
    elif server._identity.namespace:
        assert Path(f"/proc/{pid}/ns/user").readlink() != Path("/proc/self/ns/user").readlink()
    else:
        assert "0" not in status["Uid"].split()
        allowed = {0, 1 << 1, 1 << 2}
        assert int(status["CapEff"], 16) in allowed
        assert int(status["CapPrm"], 16) in allowed


def test_every_role_needs_its_password(server: Postgres) -> None:
    """SCRAM for all, the superuser included; a verifier is all that the server knows."""
    bare = server.dsn().partition("&passfile=")[0]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(bare, passfile="/dev/null")
    verifier = value(server, "SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'")
    assert str(verifier).startswith("SCRAM-SHA-256$")
    assert (
        value(server, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'")
        == 0
    )


def test_passwords_stand_in_private_files_only(server: Postgres, state: Path) -> None:
    """No password is in an argument, an environment, a DSN, or the log."""
    pid = server.child.pid
    files = list((state / "secrets").iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    seen = b"".join(
        [
            Path(f"/proc/{pid}/cmdline").read_bytes(),
            Path(f"/proc/{pid}/environ").read_bytes(),
            server.child.log.read_bytes(),
            server.dsn().encode(),
            server.dsn(OWNER).encode(),
        ]
    )
    for file in files:
        assert file.read_bytes().strip().rpartition(b":")[2] not in seen


def test_no_value_reaches_the_log(server: Postgres) -> None:
    """Failed statements, rows and parameters are told to the client and to nobody else."""
    with psycopg.connect(server.dsn(), autocommit=True) as link:
        link.execute("CREATE TABLE IF NOT EXISTS cards (number text PRIMARY KEY, n int)")
        link.execute("TRUNCATE cards")
        insert = "INSERT INTO cards (number) VALUES (%s)"
        link.execute(insert, [CANARY])
        for statement, parameters in (
            (insert, [CANARY]),
            ("SELECT %s::int", [f"x{CANARY}"]),
            ("SELECT '4242424242424242' FROM nowhere", []),
            ("INSERT INTO cards SELECT repeat(%s, 2000), 1 / (%s::int)", [CANARY, 0]),
            (f"DO $$ BEGIN RAISE WARNING '{CANARY}'; RAISE EXCEPTION '{CANARY}'; END $$", []),
        ):
            with pytest.raises(psycopg.Error):
                link.execute(statement.encode(), parameters or None)
    assert CANARY.encode() not in server.child.log.read_bytes()
    assert stat.S_IMODE(server.child.log.stat().st_mode) == 0o600


def test_data_survive_a_kill_of_the_server(cluster: Path) -> None:
    """After kill -9 the next start recovers by itself."""
    first = Postgres(cluster, environment="development")
    first.start()
    with psycopg.connect(first.dsn(), autocommit=True) as link:
        link.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        link.execute("TRUNCATE kept")
        link.execute("INSERT INTO kept VALUES (7)")
    first.child.send(signal.SIGKILL)
    assert first.child.wait(10)
    with Postgres(cluster, environment="development") as second:
        assert value(second, "SELECT n FROM kept") == 7


SUPERVISOR = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from vault_service.embedded.postgres import Postgres
    server = Postgres(Path(sys.argv[1]), environment="development")
    server.start()
    print(server.child.pid, flush=True)
    time.sleep(600)
    """
)


def test_a_killed_supervisor_leaves_nothing_in_the_way(cluster: Path) -> None:
    """The next start waits for the orphan, or ends it, and takes over."""
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(cluster)], stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    orphan = int(supervisor.stdout.readline())
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    with Postgres(cluster, environment="development") as server:
        assert start_time(orphan) == 0
        assert value(server, "SELECT 1") == 1


def test_a_server_that_no_record_knows_is_stopped_first(cluster: Path) -> None:
    """The server's own pid file is asked too."""
    first = Postgres(cluster, environment="development")
    first.start()
    (cluster / "postgres" / "process.json").unlink()
    with Postgres(cluster, environment="development") as second:
        assert value(second, "SELECT 1") == 1
        assert first.child.wait(5)


def test_a_pid_file_with_somebody_elses_number_is_no_obstacle(cluster: Path) -> None:
    """After a kill, the number in the pid file may belong to any program."""
    pid_file = cluster / "postgres" / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{pid_file.parent}\n0\n5432\n\n\n0 0\nready\n")
    with Postgres(cluster, environment="development") as server:
        assert value(server, "SELECT 1") == 1


def test_a_half_made_cluster_is_made_again(tmp_path: Path) -> None:
    """A kill during initdb costs nothing but time."""
    half = tmp_path / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    with Postgres(tmp_path, environment="development", durable=False) as server:
        assert value(server, "SELECT 1") == 1


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    """The state may stand anywhere; the socket's folder is private and is found again."""
    state = tmp_path / ("long" * 30) / "var"
    with Postgres(state, environment="development", durable=False) as server:
        chosen = server.socket_folder
        assert state not in chosen.parents
        assert stat.S_IMODE(chosen.stat().st_mode) == 0o700
        assert value(server, "SELECT 1") == 1
    with Postgres(state, environment="development", durable=False) as server:
        assert server.socket_folder == chosen
    chosen.chmod(0o755)
    with Postgres(state, environment="development", durable=False) as server:
        assert server.socket_folder != chosen
        shutil.rmtree(server.socket_folder)
    shutil.rmtree(chosen)


def test_an_unknown_role_is_named(server: Postgres) -> None:
    """A login for a role that no migration made is a clear error."""
    with pytest.raises(EmbeddedError, match="no role vault_nobody"):
        server.let_in("vault_nobody")


def test_the_least_right_that_works_is_taken(tmp_path: Path) -> None:
    """Root gives a capability only where modes are in the way; others give nothing."""
    program = Path("/bin/sh")
    chosen = choose([program])
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    behind = choose([program, closed])
    if os.geteuid() == 0:
        assert (chosen.uid, chosen.capability, chosen.namespace) == (chosen.uid, None, False)
        assert chosen.uid not in {0, None}
        assert behind.capability is not None or behind.namespace
    else:
        assert chosen == behind == Identity()


def test_programs_are_found_in_the_wheel() -> None:
    """The binaries are used directly."""
    assert {"postgres", "initdb"} <= {path.name for path in binaries().iterdir()}
