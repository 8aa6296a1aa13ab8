"""Whether this process can serve, with reasons: what a load balancer and an operator ask.

Each check is a real operation, because a Vault whose audit device is full calls itself healthy and
fails every request. The checks run side by side under one time limit, and their findings are kept
for a moment, so that asking often costs nothing. Nor does asking while a dependency hangs: whoever
asks waits for a moment and is told what was found last, and what is being found is for the next
one. Else a few who ask would hold the threads that a process has left when its dependencies hang.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Final

from keys.errors import KeysError
from vault_service.errors import ServiceError

# Seconds: all checks together answer within this, and findings are kept for so long.
TIME_LIMIT: Final = 2.8
KEEP: Final = 1.0
# Seconds that whoever asks waits at most, and for which the last findings stand for those that do
# not come meanwhile. Who asks a process for the first time waits for what it finds.
PATIENCE: Final = 0.25
STANDS: Final = 10.0
STOPS: Final = "the process stops"
SLOW: Final = "no answer in time"

Check = Callable[[], None]


class Finding(Exception):
    """A check's own way to say why it fails, in words for an operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One check's outcome; `reason` is None when it is well."""

    name: str
    ok: bool
    reason: str | None = None


class Health:
    """The checks of one process.

    Args:
        checks: by name; each returns when all is well and raises otherwise.
        clock: seconds, monotonic.
    """

    def __init__(
        self, checks: Mapping[str, Check], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._checks = dict(checks)
        self._clock = clock
        self._lock = threading.Lock()
        self._known: tuple[float, list[Result]] | None = None
        self._asking: Future[list[Result]] | None = None
        self._pool = ThreadPoolExecutor(max(1, len(checks)), thread_name_prefix="health")
        self._asker = ThreadPoolExecutor(1, thread_name_prefix="health")

    def ready(self) -> list[Result]:
        """Every check's outcome: found within the last second, or now, or else found last."""
        with self._lock:
            known = self._known
            if known is not None and self._clock() - known[0] <= KEEP:
                return known[1]
            if self._asking is None:
                try:
                    self._asking = self._asker.submit(self._find)
                except RuntimeError:
                    return self._all(STOPS)
            asking = self._asking
        try:
            return asking.result(PATIENCE if known is not None else None)
        except FutureTimeout:
            if known is not None and self._clock() - known[0] <= STANDS:
                return known[1]
            return self._all(SLOW)
        except CancelledError:
            return self._all(STOPS)

    def _find(self) -> list[Result]:
        try:
            found = self._ask()
            # Of now: whatever took its time was found at the end of it.
            self._known = self._clock(), found
        finally:
            with self._lock:
                self._asking = None
        return found

    def _all(self, reason: str) -> list[Result]:
        return [Result(name=name, ok=False, reason=reason) for name in self._checks]

    def _ask(self) -> list[Result]:
        until = self._clock() + TIME_LIMIT
        try:
            asked = {name: self._pool.submit(check) for name, check in self._checks.items()}
        except RuntimeError:
            return self._all(STOPS)
        return [_outcome(name, future, until - self._clock()) for name, future in asked.items()]

    def close(self) -> None:
        """Let the threads go; whoever asks from now on is told that the process stops."""
        self._asker.shutdown(wait=False, cancel_futures=True)
        self._pool.shutdown(wait=False, cancel_futures=True)


def _outcome(name: str, future: Future[None], patience: float) -> Result:
    try:
        future.result(timeout=max(0.0, patience))
    except FutureTimeout:
        return Result(name=name, ok=False, reason=SLOW)
    except CancelledError:
        return Result(name=name, ok=False, reason=STOPS)
    except (KeysError, ServiceError, Finding) as exc:
        return Result(name=name, ok=False, reason=str(exc))
    return Result(name=name, ok=True)


class Remembered:
    """A costlier check, done again only after `keep` seconds while it is well."""

    def __init__(
        self, check: Check, *, keep: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._check = check
        self._keep = keep
        self._clock = clock
        self._well_until = float("-inf")

    def __call__(self) -> None:
        """Return if all is, or a moment ago was, well; raises what the check raises."""
        if self._clock() < self._well_until:
            return
        self._check()
        self._well_until = self._clock() + self._keep
