"""A failure that counts for a moment: whoever comes next does not sit through the same one.

What many callers of one process share is asked for by one of them after the other. Where it is a
time-out that they find, each would wait for his own, and with him those whom one thread serves
together.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Final

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
        self._failed: tuple[float, ServiceError] | None = None

    def note(self, error: ServiceError) -> None:
        """It failed just now."""
        self._failed = self._clock(), copy.copy(error)

    def raise_again(self) -> None:
        """Return if it has not failed a moment ago; raises the same failure else."""
        if self._failed is not None and self._clock() - self._failed[0] < KEEP:
            raise copy.copy(self._failed[1])
