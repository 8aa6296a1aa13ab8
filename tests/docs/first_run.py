"""A first run for the documentation's examples, as a reader would start it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from vault_service.settings import PREFIX

START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class FirstRun:
    """A running `vault-service up`."""

    state: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """What a reader's shell has: the project's programs, and where the vault is."""
        kept = {name: os.environ[name] for name in ("LANG", "HOME") if name in os.environ}
        return {
            **kept,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "U": f"http://127.0.0.1:{self.port}",
            "CREDENTIALS": str(self.state / "credentials.json"),
            "KEYS": str(self.state / "keys"),
        }

    def shell(self, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run a script in bash, as pasted, in a folder that has the project's `.venv`."""
        link = folder / ".venv"
        if not link.exists():
            link.symlink_to(Path(sys.executable).parent.parent)
        return subprocess.run(
            ["bash", "-c", script],  # noqa: S607 -- the bash of whoever reads
            cwd=folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def first_run() -> Iterator[FirstRun]:
    """One first run without the sample, stopped as a person stops it."""
    # Short, because a Unix socket's path may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="vd-"))
    running = FirstRun(folder / "var", _free_port())
    own = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    output = folder / "output"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "vault_service", "up", "--no-sample"),
                *("--state", str(running.state), "--port", str(running.port)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=own,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while "The log follows" not in output.read_text(encoding="utf-8"):
            assert process.poll() is None, output.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, output.read_text(encoding="utf-8")
            time.sleep(0.05)
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        ended = process.wait(40)
        shutil.rmtree(folder, ignore_errors=True)
    assert ended == 0
