"""Children die with their parent, and orphans are known exactly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vault_service.embedded.files import EmbeddedError
from vault_service.embedded.process import (
    Child,
    StopStep,
    alive,
    can_reach,
    run_once,
    start_time,
    tail,
)

SLEEP = ("/bin/sleep", "600")
DEAF = ("/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
QUICK = (StopStep(signal.SIGTERM, 0.5), StopStep(signal.SIGKILL, 5.0))


def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until ``holds``."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    """A child that has not been started."""
    child = make(tmp_path)
    yield child
    child.stop()


def make(folder: Path) -> Child:
    """A child of a folder."""
    return Child(name="it", record=folder / "record", log=folder / "log", stopping=QUICK)


def test_child_starts_and_stops(child: Child, tmp_path: Path) -> None:
    """It runs in a session of its own, without core dumps, and leaves no record behind."""
    child.launch(SLEEP, cwd=tmp_path)
    pid = child.pid
    assert pid is not None
    until(lambda: Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"/bin/sleep"))
    assert os.getsid(pid) == pid
    limits = Path(f"/proc/{pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
    child.stop()
    assert not child.running
    assert child.returncode == -signal.SIGTERM
    assert not (tmp_path / "record").exists()


def test_a_deaf_child_is_killed_with_its_whole_session(child: Child, tmp_path: Path) -> None:
    """Who does not listen to SIGTERM meets SIGKILL, and its helpers too."""
    child.launch(DEAF, cwd=tmp_path)
    until(lambda: "ready" in tail(child.log, 1))
    child.stop()
    assert child.returncode == -signal.SIGKILL


def test_how_a_child_ended_is_known(child: Child, tmp_path: Path) -> None:
    """Its status and its last words are there to be told."""
    child.launch(("/bin/sh", "-c", "echo one; echo two; exit 3"), cwd=tmp_path)
    assert child.wait(10)
    assert (child.running, child.returncode, child.pid) == (False, 3, None)
    assert tail(child.log, 1) == "two"


def test_a_missing_program_says_so(child: Child, tmp_path: Path) -> None:
    """The launcher's own failure stands in the log."""
    child.launch(("/nonexistent",), cwd=tmp_path)
    assert child.wait(10)
    assert child.returncode == 126
    assert "No such file" in tail(child.log, 1)


PARENT = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from vault_service.embedded.process import Child
    folder = Path(sys.argv[1])
    child = Child(name="it", record=folder / "record", log=folder / "log")
    child.launch(sys.argv[2:], cwd=folder)
    print(child.pid, flush=True)
    time.sleep(600)
    """
)


def start_parent(folder: Path, *arguments: str) -> tuple[subprocess.Popen[str], int]:
    """Another process that starts a child; returns it and the child's id."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder), *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


def kill(parent: subprocess.Popen[str]) -> None:
    """Kill a parent so that it can do nothing more."""
    parent.kill()
    parent.wait()
    assert parent.stdout is not None
    parent.stdout.close()


def test_child_dies_with_a_killed_parent(tmp_path: Path) -> None:
    """Kill -9 of the parent reaches the child without anybody's help."""
    parent, pid = start_parent(tmp_path, *SLEEP)
    until(lambda: Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"/bin/sleep"))
    kill(parent)
    until(lambda: start_time(pid) == 0)


def test_an_orphan_is_stopped_by_the_next_start(tmp_path: Path) -> None:
    """A child that outlived its parent is found by its record and ended."""
    parent, pid = start_parent(tmp_path, *DEAF)
    until(lambda: "ready" in tail(tmp_path / "log", 1))
    kill(parent)
    started = start_time(pid)
    assert alive(pid, started)
    make(tmp_path).stop_orphan()
    assert not alive(pid, started)
    assert not (tmp_path / "record").exists()


def test_workers_of_a_dead_main_process_are_ended(tmp_path: Path) -> None:
    """What is left of the recorded session is killed, although its leader is gone."""
    script = "sleep 600 & echo $! > worker; trap 'exit 0' TERM; wait"
    parent, leader = start_parent(tmp_path, "/bin/sh", "-c", script)
    until(lambda: (tmp_path / "worker").exists() and (tmp_path / "worker").read_text() != "")
    worker = int((tmp_path / "worker").read_text())
    kill(parent)
    until(lambda: start_time(leader) == 0)
    assert start_time(worker) != 0
    make(tmp_path).stop_orphan()
    until(lambda: start_time(worker) == 0)


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another"}])
def test_another_process_with_the_same_number_is_left_alone(
    tmp_path: Path, change: dict[str, object]
) -> None:
    """Number, start time and boot must all agree."""
    innocent = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    try:
        record = {
            "pid": innocent.pid,
            "started": start_time(innocent.pid),
            "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        }
        (tmp_path / "record").write_text(json.dumps(record | change))
        make(tmp_path).stop_orphan()
        with pytest.raises(subprocess.TimeoutExpired):
            innocent.wait(0.2)
    finally:
        innocent.kill()
        innocent.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}'])
def test_a_broken_record_is_no_obstacle(tmp_path: Path, text: str) -> None:
    """A record that was cut short by a crash stops nobody and nothing."""
    (tmp_path / "record").write_text(text)
    make(tmp_path).stop_orphan()


def test_a_failed_program_quotes_its_last_words(tmp_path: Path) -> None:
    """The error says which program, how, and why."""
    with pytest.raises(EmbeddedError, match="sh ended with 4: no luck"):
        run_once(("/bin/sh", "-c", "echo no luck; exit 4"), cwd=tmp_path, log=tmp_path / "log")


def test_reachability_is_asked_of_the_kernel(tmp_path: Path) -> None:
    """A folder that is there is reached, one that is not is not."""
    from vault_service.embedded.process import SAME

    assert can_reach([tmp_path], SAME)
    assert not can_reach([tmp_path / "none"], SAME)
