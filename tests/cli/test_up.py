"""`vault-service up`: one command that starts everything, and that nothing can jam."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from vault_service.cli.sample_load import load_sample
from vault_service.settings import PREFIX

START_SECONDS = 60.0


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(holds: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Wait until ``holds``."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited too long: {what}"
        time.sleep(0.02)


# One process that serves is enough for what these tests ask, but for the first start, which is as
# a person has it.
ONE: Final = {f"{PREFIX}WORKERS": "1"}


class Up:
    """One run of the command, in a process of its own."""

    def __init__(self, state: Path, *options: str, env: Mapping[str, str] = ONE) -> None:
        self.state = state
        self.port = free_port()
        self.output = state.with_name(f"{state.name}.{self.port}.out")
        own = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "vault_service", "up"),
                    *("--state", str(state), "--port", str(self.port), *options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=own | dict(env),
            )

    @property
    def text(self) -> str:
        """What it has printed."""
        return self.output.read_text(encoding="utf-8")

    @property
    def credentials(self) -> dict[str, Any]:
        """What stands in the credentials file."""
        content: dict[str, Any] = json.loads((self.state / "credentials.json").read_text())
        return content

    def key(self, name: str) -> str:
        """A principal's key."""
        found = [each["key"] for each in self.credentials["principals"] if each["name"] == name]
        return str(found[0])

    def ready(self) -> bool:
        """Whether the service answers that it is ready."""
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5).ok
        return False

    def wait_ready(self) -> None:
        """Wait until the welcome was printed."""

        def welcomed() -> bool:
            assert self.process.poll() is None, self.text
            return "The log follows" in self.text

        until(welcomed, "the welcome")

    def customer(self, reference: str) -> str:
        """Ask for a customer; returns its id."""
        answer = requests.post(
            f"http://127.0.0.1:{self.port}/v1/customers",
            json={"external_ref": reference},
            headers={"Authorization": f"Bearer {self.key('billing')}"},
            timeout=10,
        )
        assert answer.ok, answer.text
        return str(answer.json()["id"])

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        self.process.send_signal(number)
        return self.process.wait(40)

    def record(self, name: str) -> int:
        """The process id of one of its children."""
        record = json.loads((self.state / name).read_text())
        return int(record["pid"])

    def left(self) -> list[str]:
        """Command lines of all processes that belong to the state folder."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                where = (entry / "cwd").readlink()
                if self.state in (where, *where.parents) and int(entry.name) != self.process.pid:
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
        return found


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short private folder."""
    folder = Path(tempfile.mkdtemp(prefix="vu-")).resolve()
    yield folder
    shutil.rmtree(folder)


class Used:
    """A state folder that has been used, and the run on it that tests hand on to each other."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._run: Up | None = None

    def running(self) -> Up:
        """The run that another test left in order, or a fresh one."""
        if self._run is None or not self._run.ready():
            self.stopped()
            self._run = Up(self._state, "--no-sample")
            self._run.wait_ready()
        return self._run

    def stopped(self) -> Path:
        """The folder, with nothing running on it."""
        run, self._run = self._run, None
        if run is not None and run.process.poll() is None:
            assert run.end() == 0, run.text
        return self._state


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """A first start that was looked at, tried by its own words, and stopped as a person stops it.

    Attributes:
        up: the run, with what it has printed.
        credentials: what stood in its credentials file.
        mode: who might read that file.
        called: what the calls that it proposes answered.
        status: how it ended.
        left: what still ran afterwards.
    """

    up: Up
    credentials: dict[str, Any]
    mode: int
    called: subprocess.CompletedProcess[str]
    status: int
    left: list[str]


@pytest.fixture(scope="module")
def first(folder: Path) -> First:
    """The first start on the folder that all others use."""
    up = Up(folder / "var", "--no-sample", env={})
    try:
        up.wait_ready()
        credentials = up.credentials
        mode = stat.S_IMODE((up.state / "credentials.json").stat().st_mode)
        calls = [line for line in up.text.splitlines() if re.match(r"U=|C=|T=|curl", line)]
        called = subprocess.run(
            ["bash", "-euc", "\n".join(calls)],  # noqa: S607 - a person's shell
            capture_output=True,
            text=True,
            check=False,
        )
        until(lambda: "POST" in up.text and "/v1/tokens" in up.text, "the readable log")
    finally:
        status = up.end(signal.SIGINT)
    return First(
        up=up, credentials=credentials, mode=mode, called=called, status=status, left=up.left()
    )


@pytest.fixture(scope="module")
def used(first: First) -> Iterator[Used]:
    """The used state of this module."""
    used = Used(first.up.state)
    yield used
    used.stopped()


@pytest.fixture
def state(used: Used) -> Path:
    """A state folder that has been used and stopped; tests that run it leave it stopped."""
    return used.stopped()


@pytest.fixture
def run(used: Used) -> Up:
    """A run on the used state."""
    return used.running()


def test_a_first_start_tells_all_that_is_needed(first: First) -> None:
    """Address, a key for each role, three calls; and a stop that leaves nothing running."""
    assert first.mode == 0o600
    assert first.credentials["base_url"] == f"http://127.0.0.1:{first.up.port}"
    principals = first.credentials["principals"]
    roles = sorted(role for each in principals for role in each["roles"])
    assert roles == [
        *("auditor", "billing", "officer", "officer", "operator", "requester", "support")
    ]
    assert "static seal" in first.up.text
    for each in principals:
        assert each["key"] in first.up.text
    assert first.called.returncode == 0, first.called.stderr
    assert json.loads(first.called.stdout)["mask"]["number"] == "424242******4242"
    assert first.status == 0
    assert first.left == []


def test_no_secret_is_in_arguments_or_environments(run: Up) -> None:
    """Keys, passwords and tokens stand in private files and nowhere else."""
    secrets = [each["key"] for each in run.credentials["principals"]]
    secrets.append((run.state / "vault" / "root-token").read_text())
    for file in (run.state / "secrets").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        secrets.append(file.read_text().strip().rpartition(":")[2])
    assert len(run.left()) >= 4
    seen = ""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            where = (entry / "cwd").readlink()
            if run.state in (where, *where.parents):
                seen += (entry / "cmdline").read_text() + (entry / "environ").read_text()
    assert not [secret for secret in secrets if secret in seen]
    assert run.state.as_posix() in seen


def test_a_second_run_on_the_same_state_says_so(run: Up) -> None:
    """It ends at once and disturbs nothing."""
    second = Up(run.state, "--fresh")
    assert second.process.wait(30) != 0
    assert "already running" in second.text
    assert str(run.process.pid) in second.text
    assert run.ready()


def test_a_taken_port_is_named(run: Up, folder: Path) -> None:
    """The error names the option that helps."""
    other = Up(folder / "other", "--port", str(run.port))
    assert other.process.wait(30) != 0
    assert f"port {run.port}" in other.text
    assert "--port" in other.text


def test_production_is_refused(folder: Path) -> None:
    """Nothing is started for customers' data."""
    run = Up(folder / "production", env={f"{PREFIX}ENV": "production"})
    assert run.process.wait(30) != 0
    assert "production" in run.text
    assert not (folder / "production" / "postgres").exists()


def test_a_killed_run_is_followed_by_a_whole_one(state: Path) -> None:
    """After kill -9 the next start has the same keys and data, at its own address."""
    first = Up(state, "--no-sample")
    first.wait_ready()
    customer = first.customer("kept")
    keys = first.credentials["principals"]
    first.process.kill()
    first.process.wait()
    second = Up(state, "--no-sample")
    try:
        second.wait_ready()
        assert second.credentials["principals"] == keys
        assert second.credentials["base_url"] == f"http://127.0.0.1:{second.port}"
        assert second.customer("kept") == customer
    finally:
        assert second.end() == 0
    assert second.left() == []


def test_a_first_start_may_be_killed_at_any_moment(folder: Path) -> None:
    """Whatever it had done so far, the next start completes it, with keys that work."""
    state = folder / "unlucky"
    marks = (
        "vault/initialising",
        "postgres/data/postmaster.pid",
        "spool/ingest",
        "credentials.json",
    )
    for mark in marks:
        run = Up(state, "--no-sample")
        with contextlib.suppress(AssertionError):
            until(lambda mark=mark: (state / mark).exists(), mark, 20)  # type: ignore[misc]
        run.process.kill()
        run.process.wait()
    last = Up(state, "--no-sample")
    try:
        last.wait_ready()
        assert last.customer("after all").startswith("cus_")
    finally:
        assert last.end() == 0


def test_a_killed_service_is_revived(run: Up) -> None:
    """It says that it died, and answers again."""
    os.kill(run.record("serve.process.json"), signal.SIGKILL)
    until(lambda: "serve ended unexpectedly with signal 9" in run.text, "the notice")
    until(run.ready, "the service")
    assert run.customer("revived").startswith("cus_")
    os.kill(run.record("worker.process.json"), signal.SIGKILL)
    until(lambda: "worker ended unexpectedly with signal 9" in run.text, "the notice")
    assert run.end() == 0
    assert run.left() == []


@pytest.mark.parametrize(
    ("record", "name"),
    [("postgres/process.json", "PostgreSQL"), ("vault/process.json", "Vault server")],
)
def test_a_lost_server_ends_the_run(run: Up, record: str, name: str) -> None:
    """It says which and why, stops the rest, and its exit status tells."""
    os.kill(run.record(record), signal.SIGKILL)
    assert run.process.wait(40) != 0
    assert f"{name} ended unexpectedly with signal 9" in run.text
    assert run.left() == []


def test_fresh_begins_anew_and_only_in_its_own_folder(folder: Path, state: Path) -> None:
    """Old keys are gone with the old data; a folder that is not ours is refused, whole."""
    old = json.loads((state / "credentials.json").read_text())["principals"]
    copy = folder / "copy"
    shutil.copytree(state, copy, symlinks=True, ignore=shutil.ignore_patterns("*.s.PGSQL*"))
    run = Up(copy, "--fresh", "--no-sample")
    try:
        run.wait_ready()
        new = run.credentials["principals"]
        assert not {each["key"] for each in new} & {each["key"] for each in old}
    finally:
        assert run.end() == 0

    foreign = folder / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    refused = Up(foreign, "--fresh")
    assert refused.process.wait(30) != 0
    assert "not this service's" in refused.text
    assert (foreign / "thesis.txt").read_text() == "years of work"


def test_the_sample_is_loaded_once(run: Up) -> None:
    """A mark remembers it, and a repeated load makes nothing twice."""
    told: list[str] = []
    loaded = load_sample(run.state, run.credentials, tell=told.append)
    assert loaded > 1000
    assert load_sample(run.state, run.credentials, tell=told.append) == 0
    assert len(told) == 2

    def records() -> int:
        answer = requests.post(
            f"http://127.0.0.1:{run.port}/v1/customers",
            json={"external_ref": "crm-000001"},
            headers={"Authorization": f"Bearer {run.key('billing')}"},
            timeout=10,
        ).json()
        page = requests.get(
            f"http://127.0.0.1:{run.port}/v1/tokens",
            params={"customer": answer["id"]},
            headers={"Authorization": f"Bearer {run.key('billing')}"},
            timeout=10,
        ).json()
        return len(page["items"])

    before = records()
    (run.state / "sample-loaded").unlink()
    assert load_sample(run.state, run.credentials, tell=told.append) == loaded
    assert records() == before > 0
