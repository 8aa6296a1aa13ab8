"""One of the service's own processes under `vault-service up`: started, watched, revived."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from vault_service.cli.log_view import readable
from vault_service.embedded.process import GRACEFUL, Child, tail
from vault_service.errors import ServiceError

# A process that dies again and again is broken, and reviving it hides why.
MAX_DEATHS: Final = 5
WINDOW_SECONDS: Final = 300.0
BACKOFF_SECONDS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
_LAST_WORDS: Final = 3


class ChildLost(ServiceError):
    """A server or a process of the service died and is not revived."""

    code = "child_lost"


class Supervised:
    """A child process of the service.

    Args:
        name: also the name of its log and its record.
        arguments: what follows ``vault-service``.
        state: the state folder.
        environment: says where the settings are; holds no secret.
        tell: takes what people should read.
    """

    def __init__(
        self,
        name: str,
        arguments: tuple[str, ...],
        *,
        state: Path,
        environment: Mapping[str, str],
        tell: Callable[[str], None],
    ) -> None:
        self.child = make_child(name, state)
        # -P: the state folder, where it runs, is no place to import from.
        self._arguments = [sys.executable, "-P", "-m", "vault_service", *arguments]
        self._state = state
        self._environment = environment
        self._tell = tell
        self._deaths: list[float] = []
        self._due: float | None = None

    def launch(self) -> None:
        """Start it and return at once; the calling thread must live on."""
        self._due = None
        self.child.launch(self._arguments, cwd=self._state, environment=self._environment)

    def look(self) -> None:
        """Revive it if it died, after a pause that grows with each death.

        Raises:
            ChildLost: it died too often.
        """
        if self.child.running:
            return
        now = time.monotonic()
        if self._due is None:
            self._deaths = [at for at in self._deaths if now - at < WINDOW_SECONDS] + [now]
            if len(self._deaths) > MAX_DEATHS:
                raise ChildLost(f"{parting_words(self.child)}; it died too often to go on")
            pause = BACKOFF_SECONDS[len(self._deaths) - 1]
            self._due = now + pause
            self._tell(f"{parting_words(self.child)}; starting it again in {pause} s")
        elif now >= self._due:
            self.launch()


def make_child(name: str, state: Path) -> Child:
    """The process `name` of a state folder, as this or an earlier supervisor started it."""
    return Child(
        name=name,
        record=state / f"{name}.process.json",
        log=log_file(name, state),
        stopping=GRACEFUL,
    )


def log_file(name: str, state: Path) -> Path:
    """Where a process's log lines go."""
    return state / "logs" / f"{name}.log"


def parting_words(child: Child) -> str:
    """How a child ended, with the last lines of its log."""
    code = child.returncode
    how = f"signal {-code}" if code is not None and code < 0 else f"status {code}"
    words = " | ".join(readable(line) for line in tail(child.log, _LAST_WORDS).split(" | "))
    return f"{child.name} ended unexpectedly with {how}: {words}"
