"""Child processes that do not outlive their parent, and orphans of an earlier one.

A child is started through `launch`, in a session of its own, so that a Ctrl-C at the terminal
reaches the parent alone and the parent decides the order of stopping. Who a child was is recorded
in the state folder; if the parent was killed so hard that the child lives on, the next start finds
the record and stops that process, and only that one: process id, start time and boot must agree.
May not pass a secret in arguments or environment: both are readable in /proc.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vault_service.embedded.files import EmbeddedError, open_log, write_private

_LAUNCH = Path(__file__).with_name("launch.py")
_POLL_SECONDS = 0.02
_TCP_LISTEN = "0A"
# Everything that a server's program needs to find itself and to speak plainly.
PLAIN_ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LC_ALL": "C",
    "TZ": "UTC",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """As whom a child runs; `launch` says what the fields mean."""

    uid: int | None = None
    gid: int | None = None
    capability: int | None = None
    namespace: bool = False

    @property
    def owner(self) -> tuple[int, int] | None:
        """Whom the child's files must belong to, when not to the parent."""
        if self.uid is None or self.gid is None or self.namespace:
            return None
        return self.uid, self.gid

    def instruction(self) -> dict[str, object]:
        """The part of the launcher's instruction that says who to be."""
        return {
            "uid": self.uid,
            "gid": self.gid,
            "capability": self.capability,
            "namespace": self.namespace,
        }


SAME = Identity()


@dataclass(frozen=True, slots=True)
class StopStep:
    """A signal, and how many seconds to wait for it to work."""

    signal: signal.Signals
    seconds: float


GRACEFUL: tuple[StopStep, ...] = (
    StopStep(signal.SIGTERM, 20.0),
    StopStep(signal.SIGKILL, 5.0),
)


def launcher(instruction: Mapping[str, object], *arguments: str | Path) -> list[str]:
    """The command line that starts ``arguments`` by ``instruction``."""
    return [sys.executable, "-I", "-S", str(_LAUNCH), json.dumps(instruction), *map(str, arguments)]


def run_once(
    arguments: Sequence[str | Path], *, identity: Identity = SAME, cwd: Path, log: Path
) -> None:
    """Run a program to its end, bound to this process's life.

    Raises:
        EmbeddedError: it failed; its last lines stand in the message.
    """
    instruction = {"parent": os.getpid(), "signal": signal.SIGKILL, **identity.instruction()}
    with open_log(log) as output:
        done = subprocess.run(  # noqa: S603 - our own programs, no shell
            launcher(instruction, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=dict(PLAIN_ENVIRONMENT),
            check=False,
        )
    if done.returncode != 0:
        name = Path(arguments[0]).name
        raise EmbeddedError(f"{name} ended with {done.returncode}: {tail(log, 6)}")


def can_reach(paths: Sequence[Path], identity: Identity) -> bool:
    """Whether a child with ``identity`` may execute or enter all of ``paths``."""
    instruction = {"probe": [str(path) for path in paths], **identity.instruction()}
    done = subprocess.run(  # noqa: S603 - our own launcher, no shell
        launcher(instruction),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=dict(PLAIN_ENVIRONMENT),
        check=False,
    )
    return done.returncode == 0


def tail(path: Path, lines: int) -> str:
    """The last ``lines`` lines of a log, joined by `` | ``."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return " | ".join(text.splitlines()[-lines:])


class Child:
    """One long-running child, started, watched and stopped.

    Args:
        name: what people call it.
        record: file in the state folder that remembers the process.
        log: file that takes its output.
        stopping: the signals that stop it, each with its patience.
    """

    def __init__(
        self, *, name: str, record: Path, log: Path, stopping: Sequence[StopStep] = GRACEFUL
    ) -> None:
        self.name = name
        self.log = log
        self._record = record
        self._stopping = stopping
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running child, or None."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """How it ended; negative for a signal; None while it runs or before it started."""
        return None if self._process is None else self._process.poll()

    def launch(
        self,
        arguments: Sequence[str | Path],
        *,
        cwd: Path,
        identity: Identity = SAME,
        environment: Mapping[str, str] = PLAIN_ENVIRONMENT,
    ) -> None:
        """Start it and return at once.

        The thread that calls this must live as long as the child should: Linux ties the
        parent-death signal to the thread. The supervisor calls it from its main thread.
        """
        self.stop_orphan()
        parting = self._stopping[0].signal
        instruction = {"parent": os.getpid(), "signal": parting, **identity.instruction()}
        with open_log(self.log) as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs, no shell
                launcher(instruction, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=dict(environment),
                start_new_session=True,
            )
        pid = self._process.pid
        write_private(
            self._record,
            json.dumps({"pid": pid, "started": start_time(pid), "boot": _boot_id()}),
        )

    def wait(self, seconds: float) -> bool:
        """Whether it ended within ``seconds``."""
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the child, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """Stop it, in the order of its stopping steps, and forget it."""
        for step in self._stopping:
            if not self.running:
                break
            self.send(step.signal)
            if self.wait(step.seconds):
                break
        if self._process is not None:
            _end_session(self._process.pid, since=None)
        if not self.running:
            self._record.unlink(missing_ok=True)

    def stop_orphan(self) -> None:
        """Stop the child that an earlier, killed parent left, if there is one.

        Raises:
            EmbeddedError: it is there and does not stop.
        """
        try:
            record = json.loads(self._record.read_text(encoding="ascii"))
            pid, started, boot = int(record["pid"]), int(record["started"]), record["boot"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return
        if boot == _boot_id() and started > 0:
            for step in self._stopping:
                if not alive(pid, started):
                    break
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, step.signal)
                _wait_gone(pid, started, step.seconds)
            if alive(pid, started):
                raise EmbeddedError(f"an earlier {self.name} (process {pid}) does not stop")
            _end_session(pid, since=started)
        self._record.unlink(missing_ok=True)


def start_time(pid: int) -> int:
    """When process ``pid`` started, in clock ticks since boot; 0 when it is gone or a zombie.

    With the process id and the boot it names one process for good, since ids are used again.
    """
    fields = _stat(pid)
    return 0 if fields is None or fields[0] in {"Z", "X"} else int(fields[19])


def alive(pid: int, started: int) -> bool:
    """Whether the process that started at ``started`` still runs."""
    return start_time(pid) == started


def listens_at(pid: int, port: int) -> bool:
    """Whether process ``pid``, and not another, listens on TCP ``port`` of 127.0.0.1."""
    wanted = f"0100007F:{port:04X}"  # as the kernel prints it, least significant byte first
    try:
        rows = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
        inodes = {
            f"socket:[{fields[9]}]"
            for fields in map(str.split, rows)
            if fields[1] == wanted and fields[3] == _TCP_LISTEN
        }
        links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False  # gone, or a descriptor closed while it was looked at
    return not inodes.isdisjoint(links)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third (state) on."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _wait_gone(pid: int, started: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while alive(pid, started) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _end_session(leader: int, *, since: int | None) -> None:
    """Kill what is left of the session that ``leader`` led: workers whose main process died.

    A session's number is not given to a new process while a member lives: if the number is
    another process's by now, no member is left. `since` is when the leader started.
    """
    if since is not None and start_time(leader) not in {0, since}:
        return
    for entry in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(entry.name))
        if fields is None or fields[0] in {"Z", "X"} or int(fields[3]) != leader:
            continue
        if since is not None and int(fields[19]) < since:
            continue
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(int(entry.name), signal.SIGKILL)
