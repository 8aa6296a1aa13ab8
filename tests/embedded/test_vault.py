"""The private Vault-API server: keeps what it holds, opens itself, records every request twice."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import VaultServer
from vault_service.embedded import vault as embedded_vault
from vault_service.embedded.files import EmbeddedError, EmbeddedRefused
from vault_service.embedded.process import start_time
from vault_service.embedded.vault import STATIC_SEAL_WARNING, Vault


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder whose server has been initialised and holds one mount; not running."""
    state = tmp_path_factory.mktemp("state")
    with quiet(state) as server:
        assert ask(server).request("POST", "sys/mounts/transit", {"type": "transit"})[0] == 204
    return state


def quiet(state: Path) -> Vault:
    """A server that announces nothing."""
    return Vault(state, environment="development", announce=lambda _: None)


def ask(server: Vault) -> VaultServer:
    """A door to the server as administrator."""
    return VaultServer(address=server.address, token=server.token())


@pytest.fixture
def server(initialised: Path) -> Iterator[Vault]:
    """The running server."""
    with quiet(initialised) as server:
        yield server


def holds_mount(server: Vault) -> bool:
    """Whether what was put in is still there."""
    status, answer = ask(server).request("GET", "sys/mounts")
    return status == 200 and "transit/" in answer["data"]


def test_production_is_refused(tmp_path: Path) -> None:
    """Nothing is made, nothing is started."""
    with pytest.raises(EmbeddedRefused):
        Vault(tmp_path / "var", environment="production")
    assert not (tmp_path / "var").exists()


def test_every_start_warns_of_the_static_seal(
    initialised: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said loudly, not once for ever but each time."""
    for _ in range(2):
        with Vault(initialised, environment="development"):
            pass
        assert STATIC_SEAL_WARNING in capsys.readouterr().err


def test_it_listens_on_the_loopback_interface_only(server: Vault) -> None:
    """Both ports stand on 127.0.0.1, and the address is written down."""
    assert server.address.startswith("http://127.0.0.1:")
    written = server.token_file.with_name("address").read_text()
    assert written == server.address
    sockets = set()
    for fd in Path(f"/proc/{server.child.pid}/fd").iterdir():
        target = str(fd.readlink())
        if target.startswith("socket:["):
            sockets.add(target[8:-1])
    listening = [
        fields[1].partition(":")[0]
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[3] == "0A" and fields[9] in sockets
    ]
    assert set(listening) == {"0100007F"}


def test_its_secrets_are_private_files(server: Vault, initialised: Path) -> None:
    """Seal key, root token, recovery key and audit logs open for their owner only."""
    folder = initialised / "vault"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("seal.key", "root-token", "recovery-key", "server.json"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
    for file in server.audit_files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    seen = b"".join(
        Path(f"/proc/{server.child.pid}/{name}").read_bytes() for name in ("cmdline", "environ")
    )
    assert server.token().encode() not in seen


def test_it_is_configured_as_the_design_says(server: Vault) -> None:
    """Raft, no reads from standbys, no UI, a static seal, two devices from the configuration."""
    door = ask(server)
    state = door.request("GET", "sys/config/state/sanitized")[1]["data"]
    assert state["storage"]["type"] == "raft"
    assert state["disable_standby_reads"] is True
    assert not state.get("ui", False)
    assert door.request("GET", "sys/seal-status")[1]["type"] == "static"
    assert len(door.request("GET", "sys/audit")[1]["data"]) == 2


def test_every_request_is_recorded_by_both_devices(server: Vault) -> None:
    """A text in a request is recorded as a hash, in both files."""
    ask(server).request("POST", "transit/keys/audited", {})
    plaintext = "Y2FuYXJ5LWluLWF1ZGl0"
    status, _ = ask(server).request("POST", "transit/encrypt/audited", {"plaintext": plaintext})
    assert status == 200
    for file in server.audit_files:
        text = file.read_text()
        assert "transit/encrypt/audited" in text
        assert plaintext not in text


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_it_holds_survives_its_end(initialised: Path, number: signal.Signals) -> None:
    """After a kill as after a stop it opens itself, at another port, with everything."""
    first = quiet(initialised)
    first.start()
    first.child.send(number)
    assert first.child.wait(15)
    with quiet(initialised) as second:
        assert second.address != first.address
        assert holds_mount(second)


SUPERVISOR = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from vault_service.embedded.vault import Vault
    server = Vault(Path(sys.argv[1]), environment="development", announce=lambda _: None)
    server.start()
    print(server.child.pid, flush=True)
    time.sleep(600)
    """
)


def test_a_killed_supervisor_leaves_nothing_in_the_way(initialised: Path) -> None:
    """The next start waits for the orphan, or ends it, and takes over."""
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(initialised)], stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    orphan = int(supervisor.stdout.readline())
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    with quiet(initialised) as server:
        assert start_time(orphan) == 0
        assert holds_mount(server)


def test_a_first_start_that_died_before_the_token_was_kept_begins_again(tmp_path: Path) -> None:
    """Data to which nobody has a token hold nothing, and are thrown away."""
    with quiet(tmp_path):
        pass
    (tmp_path / "vault" / "root-token").unlink()
    (tmp_path / "vault" / "initialising").touch()
    with quiet(tmp_path) as server:
        assert ask(server).request("GET", "sys/mounts")[0] == 200
    assert not (tmp_path / "vault" / "initialising").exists()


def test_a_start_that_died_after_the_token_was_kept_goes_on(initialised: Path) -> None:
    """The mark alone throws nothing away."""
    (initialised / "vault" / "initialising").touch()
    with quiet(initialised) as server:
        assert holds_mount(server)


def test_a_lost_root_token_is_named(initialised: Path) -> None:
    """It says what is gone and what to do, and destroys nothing."""
    kept = initialised / "vault" / "root-token"
    token = kept.read_bytes()
    kept.unlink()
    server = quiet(initialised)
    try:
        with pytest.raises(EmbeddedError, match="root token"):
            server.start()
    finally:
        server.stop()
        kept.write_bytes(token)
        kept.chmod(0o600)


def test_a_lost_seal_key_is_named(initialised: Path) -> None:
    """No new key is made for data that it cannot open."""
    key = initialised / "vault" / "seal.key"
    kept = key.read_bytes()
    key.unlink()
    try:
        with pytest.raises(EmbeddedError, match="seal key"):
            quiet(initialised).start()
        assert not key.exists()
    finally:
        key.write_bytes(kept)
        key.chmod(0o600)


def test_a_port_that_was_taken_meanwhile_is_no_obstacle(
    server: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tries other ports."""
    taken = int(server.address.rpartition(":")[2])
    free = embedded_vault._free_ports
    offers = iter([(taken, taken + 1), *(free() for _ in range(2))])
    monkeypatch.setattr(embedded_vault, "_free_ports", lambda: next(offers))
    with quiet(tmp_path) as other:
        assert other.address != server.address
    assert holds_mount(server)


def test_audit_logs_are_moved_aside_while_it_runs(server: Vault) -> None:
    """Requests go on into new files, and the old ones are kept."""
    server.tidy(limit=10**9)
    assert not server.audit_files[0].with_name("audit-first.log.1").exists()
    server.tidy(limit=1)
    for file in server.audit_files:
        assert file.with_name(f"{file.name}.1").stat().st_size > 0
    for _ in range(200):
        assert ask(server).request("GET", "sys/mounts")[0] == 200
        if all(file.exists() and "sys/mounts" in file.read_text() for file in server.audit_files):
            break
    for file in server.audit_files:
        assert json.loads(file.read_text().splitlines()[-1])["type"] in {"request", "response"}
