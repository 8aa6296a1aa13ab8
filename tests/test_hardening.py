"""Processes whose memory nobody can read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Both run as one unprivileged user. Changing the user shields a process too, so that is undone
# first: only what the service does itself is looked at.
_DROP = """
import ctypes, os, sys, time
from vault_service import hardening
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""
_TARGET = (
    _DROP
    + """
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
if sys.argv[1] == "shielded":
    hardening.forbid_dumps()
print("ready", flush=True)
time.sleep(10)
"""
)
_READER = (
    _DROP
    + """
for name in sys.argv[2:]:
    try:
        with open(f"/proc/{sys.argv[1]}/{name}", "rb") as file:
            print(name, "open")
    except PermissionError:
        print(name, "denied")
"""
)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize(("manner", "outcome"), [("shielded", "denied"), ("bare", "open")])
def test_f4_memory_is_denied_to_the_same_user(manner: str, outcome: str) -> None:
    """A process of the same user reads neither memory nor environment; unshielded it could."""
    command = [sys.executable, "-c", _TARGET, manner]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as target:
        assert target.stdout is not None
        assert target.stdout.readline() == b"ready\n"
        # Yama may deny `mem` to a stranger anyway, so only the shielded process is asked for it.
        names = ["environ", "mem"] if manner == "shielded" else ["environ"]
        told = subprocess.run(
            [sys.executable, "-c", _READER, str(target.pid), *names],
            check=True,
            capture_output=True,
            text=True,
        )
        limits = Path(f"/proc/{target.pid}/limits").read_text(encoding="ascii")
        target.kill()
    assert told.stdout.splitlines() == [f"{name} {outcome}" for name in names]
    if manner == "shielded":
        (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert core.split()[4:6] == ["0", "0"]


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_f4_a_crash_leaves_no_core(tmp_path: Path) -> None:
    """A shielded process that crashes leaves no file behind."""
    script = "from vault_service import hardening; hardening.forbid_dumps(); import os; os.abort()"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, cwd=tmp_path, env=environment
    )
    assert done.returncode == -signal.SIGABRT
    assert list(tmp_path.iterdir()) == []


_PARENT = """
import os, sys, time
from vault_service import hardening
child = os.fork()
if child == 0:
    hardening.end_with_parent(os.getppid())
    time.sleep(10)
print(child, flush=True)
time.sleep(10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_worker_ends_with_its_parent() -> None:
    """When a parent is killed outright, its worker ends too."""
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        time.sleep(0.3)
        process.kill()
    until = time.monotonic() + 5
    while _running(child):
        assert time.monotonic() < until
        time.sleep(0.05)


def _running(pid: int) -> bool:
    """Whether a process exists and is not merely waiting to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123 -- proc
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_whose_parent_is_gone_already_ends_at_once() -> None:
    """A parent that died before the worker could ask is noticed."""
    script = (
        "from vault_service import hardening; import time;"
        "hardening.end_with_parent(1_000_000_000); time.sleep(10)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=20)
    assert done.returncode == -signal.SIGTERM
