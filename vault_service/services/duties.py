"""What a worker does by itself, as a list: one line for each duty, made in `bootstrap`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """Something that comes round again.

    Attributes:
        name: for thread and log, lower snake case.
        period: seconds from the beginning of a round to that of the next.
        run: one round; does what is due, stops early when the event is set, and sees to it by
            itself that other workers do not do the same. What it raises is told and tried again.
    """

    name: str
    period: float
    run: Callable[[threading.Event], None]
