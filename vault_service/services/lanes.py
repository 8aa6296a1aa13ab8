"""Large batches: a few at once in one process, the others wait for their turn.

One thread at a time runs Python, so that more of them at once are not done sooner: two keep it busy
while Vault and the database work for the other. But each holds some 2.5 MiB of values on their
way, and what Python has once taken for itself it seldom gives back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from vault_service.errors import Unavailable

AT_ONCE: Final = 2
# From so many items on a batch is large; smaller ones go as they come.
LARGE: Final = 50


class Lanes:
    """So many large batches may be under way. Thread-safe.

    Args:
        count: how many.
    """

    def __init__(self, count: int = AT_ONCE) -> None:
        self._free = threading.Semaphore(count)

    @contextmanager
    def one(self, items: int, *, deadline: float) -> Iterator[None]:
        """Hold a lane for a batch of so many items; a small one needs none.

        Args:
            items: how many there are.
            deadline: `time.monotonic()` value after which the caller no longer waits.

        Raises:
            Unavailable: the deadline passed first, and nothing was done (code `overloaded`).
        """
        if items < LARGE:
            yield
            return
        if not self._free.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise Unavailable("too many large batches at once", code="overloaded")
        try:
            yield
        finally:
            self._free.release()
