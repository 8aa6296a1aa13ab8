"""What alarms need of the database."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol


class AlarmMarks(Protocol):
    """When each alarm was raised last, and how often."""

    def mark(self, alarm: str, subject: str, quiet: timedelta) -> bool:
        """Count an alarm about a subject; False while the one before keeps it quiet.

        Of callers at once exactly one is told True; nobody waits for a lock in a quiet time.
        """
        ...

    def lift(self, alarm: str, subject: str) -> None:
        """End the quiet time: what happens next is an alarm again."""
        ...

    def counts(self) -> dict[str, int]:
        """How often each alarm was raised, whatever it was about."""
        ...
