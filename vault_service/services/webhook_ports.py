"""Messages to the company's own systems, as the use cases see their store and their way out."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol


class DeliveryState(StrEnum):
    """How far a message is on its way to one endpoint."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message on its way into the outbox: exactly the bytes that will be signed and sent."""

    bucket: int
    id: uuid.UUID
    type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A message that is to be sent now; `attempt` counts from 1 and has been counted already.

    Attributes:
        now: the database's time.
    """

    bucket: int
    id: uuid.UUID
    endpoint: str
    type: str
    body: bytes
    attempt: int
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """A message and one endpoint, without what it says."""

    bucket: int
    id: uuid.UUID
    endpoint: str
    type: str
    state: str
    attempts: int
    created_at: datetime
    next_at: datetime
    ended_at: datetime | None
    last_status: int | None
    last_error: str | None


class WebhookOutbox(Protocol):
    """The outbox, and the deliveries that the worker makes of it."""

    def append(self, message: NewMessage) -> None:
        """Insert a message; it is promised once the unit of work commits."""
        ...

    def fan_out(self, wanted: Sequence[tuple[str, str]], limit: int) -> int:
        """Make deliveries of the oldest messages; how many messages there were.

        Args:
            wanted: (endpoint, family) pairs: the part of a message's type before the first dot
                that an endpoint wants, or "" for all.
            limit: most messages.
        """
        ...

    def claim(self, endpoint: str, lease: timedelta) -> Attempt | None:
        """Take the delivery that is due longest, for nobody else to take before `lease` is over."""
        ...

    def delivered(self, attempt: Attempt, status: int) -> None:
        """Put down that the endpoint took it."""
        ...

    def failed(
        self, attempt: Attempt, *, status: int | None, error: str, again: timedelta | None
    ) -> bool:
        """Put down that it did not; tried `again` after this time, never if None.

        False when somebody else took the delivery meanwhile, because the lease was over.
        """
        ...

    def page(self, *, state: str | None, before: uuid.UUID | None, limit: int) -> list[DeliveryRow]:
        """Deliveries, newest message first, of messages before an id.

        More than `limit` where those of the last message would be parted.
        """
        ...

    def revive(self, message: uuid.UUID) -> int:
        """Have a message's dead deliveries tried anew at once; how many there were."""
        ...

    def counts(self) -> dict[str, int]:
        """How many deliveries are in each state."""
        ...

    def abandon(self, after: timedelta) -> None:
        """End deliveries that were due so long ago and that nobody has tried."""
        ...

    def purge(self, *, delivered: timedelta, dead: timedelta, limit: int) -> int:
        """Delete deliveries that ended longer ago than this; how many."""
        ...


class Sender(Protocol):
    """The way out to one address."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send, and return the status of the answer. Follows no redirect, reads no body.

        Raises:
            SendFailed: there was no answer.
        """
        ...


class SendFailed(Exception):
    """There was no answer; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
