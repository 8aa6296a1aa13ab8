"""A failure that counts for a moment: whoever comes next does not sit through the same one.

What many callers of one process share is asked for by one of them after the other. Where it is a
time-out that they find, each would wait for his own, and with him those whom one thread serves
together.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from keys.errors import KeysError
from vault_service.errors import ServiceError

# Seconds; short, because nothing is tried meanwhile.
KEEP: Final = 0.2


class RecentFailure:
    """The last failure of something that is shared. For use under its lock.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: tuple[float, ServiceError | KeysError] | None = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Try it: a failure of the block is remembered, and forgotten when one succeeds."""
        try:
            yield
        except (ServiceError, KeysError) as error:
            self._failed = self._clock(), copy.copy(error)
            raise
        self._failed = None

    def raise_again(self, within: float = KEEP) -> None:
        """Return if it has not failed within so many seconds; raises the same failure else."""
        failed = self._failed
        if failed is not None and self._clock() - failed[0] < within:
            raise copy.copy(failed[1])
