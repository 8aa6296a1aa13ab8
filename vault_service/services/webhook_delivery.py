"""The worker's duties towards webhooks: deliveries are made of messages, and sent.

An attempt is counted and its delivery leased in a transaction of its own before anything is sent: a
worker that dies while it sends has the message sent again when the lease is over, and a message
that kills workers comes to its end like any other. Any number of workers may share the work.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog

from keys.secret import Secret
from vault_service.services.alarms import Alarms
from vault_service.services.ports import UnitOfWork
from vault_service.services.webhook_ports import Attempt, Sender, SendFailed
from vault_service.services.webhooks import message_id, sign

# Seconds between looks at the outbox and at what is due: an alarm leaves within two of them.
PERIOD: Final = 1.0
# Longer than the sender ever takes.
LEASE: Final = timedelta(seconds=60)
# Full jitter below 5 s, doubled each time up to 6 h: a receiver that is away for half a day
# misses nothing, and one that comes back is not run over.
FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 6 * 3600.0
ATTEMPTS: Final = 18
# An endpoint that no worker has tried for so long is one that the settings no longer name.
ABANDONED: Final = timedelta(days=2)
KEEP_DELIVERED: Final = timedelta(days=7)
KEEP_DEAD: Final = timedelta(days=90)
BATCH: Final = 500
# The endpoint says that nobody is there any more, and asks not to be called again.
_GONE: Final = 410
DEAD: Final = "webhook_dead"
ACTOR: Final = "worker"
# How long a dead endpoint is one alarm, rather than one for each message.
QUIET: Final = timedelta(hours=24)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where messages go.

    Attributes:
        name: what it is called in rows and logs; tells the host and nothing of the path.
        url: where; from the settings.
        family: the part of a message's type before its first dot that it wants, "" for all.
    """

    name: str
    url: str = field(repr=False)
    family: str = ""


def pause(attempt: int) -> timedelta | None:
    """How long to wait after a failed attempt, by full jitter; None when it was the last."""
    if attempt >= ATTEMPTS:
        return None
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (attempt - 1))
    return timedelta(seconds=random.uniform(0, longest))  # noqa: S311 -- spreads load, keeps no secret


class WebhookPost:
    """The worker's duty at the outbox: makes deliveries, and forgets those long ended."""

    def __init__(self, *, uow: UnitOfWork, endpoints: Sequence[Endpoint]) -> None:
        self._uow = uow
        self._wanted = [(each.name, each.family) for each in endpoints]

    def run(self, stop: threading.Event) -> None:
        """Empty the outbox. A message that no endpoint wants is dropped.

        Raises:
            Unavailable: the database is; what was taken before stays so.
        """
        more = True
        while more and not stop.is_set():
            with self._uow.begin() as tx:
                more = tx.webhooks.fan_out(self._wanted, BATCH) == BATCH
        with self._uow.begin() as tx:
            tx.webhooks.abandon(ABANDONED)
            tx.webhooks.purge(delivered=KEEP_DELIVERED, dead=KEEP_DEAD, limit=BATCH)


class WebhookDelivery:
    """The worker's duty towards one endpoint; a slow one keeps no other waiting."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        endpoint: Endpoint,
        secrets: Sequence[Secret],
        sender: Sender,
        alarms: Alarms,
    ) -> None:
        self._uow = uow
        self._endpoint = endpoint
        self._secrets = tuple(secrets)
        self._sender = sender
        self._alarms = alarms

    def run(self, stop: threading.Event) -> None:
        """Send what is due, until nothing is, the endpoint fails, or `stop` is set.

        Raises:
            Unavailable: the database is; what was sent and not put down is sent again.
        """
        while not stop.is_set():
            with self._uow.begin() as tx:
                attempt = tx.webhooks.claim(self._endpoint.name, LEASE)
            if attempt is None or not self._send(attempt):
                return

    def _send(self, attempt: Attempt) -> bool:
        """Send once and put down what came of it; whether the endpoint took it."""
        message = message_id(attempt.id)
        timestamp = int(attempt.now.timestamp())
        headers = {
            "content-type": "application/json",
            "user-agent": "vault-service",
            "webhook-id": message,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(
                self._secrets, message=message, timestamp=timestamp, body=attempt.body
            ),
        }
        status: int | None = None
        try:
            status = self._sender.post(self._endpoint.url, headers, attempt.body)
            error = f"status_{status}"
        except SendFailed as failure:
            error = failure.code
        if status is not None and 200 <= status < 300:
            with self._uow.begin() as tx:
                tx.webhooks.delivered(attempt, status)
            return True
        self._failed(attempt, status, error)
        return False

    def _failed(self, attempt: Attempt, status: int | None, error: str) -> None:
        again = None if status == _GONE else pause(attempt.attempt)
        with self._uow.begin() as tx:
            ours = tx.webhooks.failed(attempt, status=status, error=error, again=again)
            if ours and again is None:
                self._alarms.raise_in(
                    tx,
                    DEAD,
                    ACTOR,
                    subject=attempt.endpoint,
                    quiet=QUIET,
                    severity="medium",
                    observed=attempt.attempt,
                    limit=ATTEMPTS,
                )
        _log.warning(
            "webhook not delivered",
            name=attempt.endpoint,
            attempt=attempt.attempt,
            reason=error,
            seconds=again.total_seconds() if again else None,
        )
