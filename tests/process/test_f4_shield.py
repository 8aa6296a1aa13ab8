"""F4: the memory of the running service is closed to other processes of its own user."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest

from keys import spool
from tests.process.processes import children_of
from tests.support.running import Running
from tests.support.sources import ROOT
from tests.support.whole import ROLES, Stage, admin_of
from vault_service.embedded.identity import choose
from vault_service.embedded.process import Identity, launcher

_READER: Final = """
import sys
for pid in sys.argv[1:]:
    for name in ("environ", "mem", "maps", "auxv"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                file.read(1)
            print(pid, name, "open")
        except PermissionError:
            print(pid, name, "denied")
        except OSError:
            print(pid, name, "open")  # address 0 of mem is not mapped; it was let in
"""
_BARE: Final = "import time; print('ready', flush=True); time.sleep(60)"
_NAMES: Final = ("environ", "mem", "maps", "auxv")


@pytest.fixture(scope="module")
def user() -> Identity:
    """Whoever runs the tests, or the unprivileged user whom root takes for its servers."""
    return choose([Path(sys.executable), ROOT])


@pytest.fixture(scope="module")
def home(user: Identity) -> Iterator[Path]:
    """A folder of that user's own."""
    folder = Path(tempfile.mkdtemp(prefix="vf-"))
    give(user, folder)
    yield folder
    shutil.rmtree(folder)


def give(user: Identity, path: Path) -> None:
    """Have a path belong to the user."""
    if user.owner is not None:
        os.chown(path, *user.owner)


def prefix(user: Identity) -> list[str]:
    """What has a command run as the user."""
    instruction = {"parent": os.getpid(), "signal": signal.SIGTERM, **user.instruction()}
    return launcher(instruction)


@pytest.fixture(scope="module")
def shielded(
    start_service: Callable[..., Running], stage: Stage, user: Identity, home: Path
) -> Running:
    """The service as that user, with logins that are its own."""
    folder = home / "spool"
    admin = admin_of(stage.mount)
    for role in ROLES:
        (folder / role).mkdir(mode=0o700, parents=True)
        give(user, folder / role)
        spool.issue(admin, role, folder, 4)
    admin.close()
    folder.chmod(0o700)
    give(user, folder)
    urls = {}
    for role in ("ingest", "reveal", "console", "worker"):
        url = stage.database.url(f"vault_{role}")
        (passwords,) = parse_qs(urlsplit(url).query)["passfile"]
        own = home / f"{role}.pgpass"
        own.write_bytes(Path(passwords).read_bytes())
        own.chmod(0o600)
        give(user, own)
        query = urlsplit(url).query.split("passfile=")[0] + f"passfile={own}"
        urls[f"VAULT_SERVICE_DATABASE_{role.upper()}_URL"] = url.split("?", 1)[0] + "?" + query
    return start_service(
        workers=2, prefix=prefix(user), VAULT_SERVICE_VAULT_SPOOL=str(folder), **urls
    )


def read_by(user: Identity, *pids: int) -> list[str]:
    """What a process of the same user, with the same rights, gets to read of others."""
    told = subprocess.run(
        [*prefix(user), sys.executable, "-c", _READER, *map(str, pids)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
    )
    return told.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_f4_memory_of_the_running_service_is_denied_to_its_user(
    shielded: Running, user: Identity
) -> None:
    """Neither the parent nor a worker that has served can be read."""
    customer = shielded.customer()
    token = shielded.card(customer)
    assert shielded.reveal(shielded.token(shielded.grant(token)), token).status == 200
    assert shielded.process is not None
    pids = [shielded.process.pid, *children_of(shielded.process.pid)]
    assert len(pids) >= 3
    if user.uid is not None:
        status = Path(f"/proc/{pids[-1]}/status").read_text(encoding="ascii")
        assert f"\nUid:\t{user.uid}\t" in status
    expected = [f"{pid} {name} denied" for pid in pids for name in _NAMES]
    assert read_by(user, *pids) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_f4_an_ordinary_process_of_that_user_could_be_read(user: Identity) -> None:
    """It is the service's own doing: whoever does not shield himself is an open book."""
    with subprocess.Popen(
        [*prefix(user), sys.executable, "-c", _BARE], stdout=subprocess.PIPE, cwd=ROOT
    ) as bare:
        assert bare.stdout is not None
        assert bare.stdout.readline() == b"ready\n"
        time.sleep(0.05)
        told = read_by(user, bare.pid)
        bare.kill()
    assert f"{bare.pid} environ open" in told
