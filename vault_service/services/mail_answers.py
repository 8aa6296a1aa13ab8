"""The one answer that a customer's message gets: a reference, and no data.

It goes through the company's relay before the message is acknowledged, so that the queue of the
server that delivers is the queue of answers, too: what dies or fails in between is delivered again,
found to be here, and answered then. So an answer is sent at least once, always under the same
Message-ID, and no customer's address lies anywhere in clear, waiting.

Nothing answers machines (RFC 3834), strangers, or a sender whom the checks disown: whoever sends in
somebody else's name must not have him written to. A sender gets few answers an hour.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final, Protocol

import structlog

from vault_service.domain import emails
from vault_service.domain.mail import Header
from vault_service.domain.mail_trust import Trust

PER_SENDER: Final = 3
WINDOW_SECONDS: Final = 3600.0
# Senders whose answers are counted; beyond it, nobody is answered until the window is over.
_SENDERS: Final = 10_000
_TEXT: Final = """\
Your message has reached us. Its reference is

    {reference}

Somebody will look at it. Nothing is changed before we have made sure that it was you who asked,
so we may call you.

Please never send the security code of a card: we refuse such messages.
"""

_log = structlog.get_logger(__name__)


class RelayRefused(Exception):
    """The relay will never take this message."""


class Relay(Protocol):
    """The company's mail server, as the way out."""

    def send(self, recipient: str, message: bytes) -> None:
        """Hand over a message, with no path for reports of failure.

        Raises:
            RelayRefused: it is not taken, and will not be.
            Unavailable: it may be taken later.
        """
        ...


class MailAnswers:
    """Answers customers' messages.

    Args:
        relay: the way out.
        sender: the company's address from which answers come.
        clock: seconds, for the limit.
        now: the time that stands in an answer.
    """

    def __init__(
        self,
        *,
        relay: Relay,
        sender: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._relay = relay
        self._sender = sender
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._sent: dict[str, list[float]] = {}

    def answer(self, header: Header, reference: str, *, trust: Trust, path: str | None) -> bool:
        """Answer a customer's message, if it may be answered; whether it was.

        Args:
            header: the message's; its sender is a customer.
            reference: what the customer is told.
            trust: how far the sender is believed.
            path: the address that the message's server gave for failures; "" for none.

        Raises:
            Unavailable: the relay is; the message is to be delivered again.
        """
        if path == "" or header.automatic or trust is Trust.FAILED:
            return False
        address = emails.parse(header.sender, pointer="")
        recipient = f"{address.local}@{address.ascii_domain}"
        # An address in other letters would need a relay that takes them (RFC 6531).
        if not recipient.isascii() or not self._allowed(recipient):
            return False
        try:
            self._relay.send(recipient, self._message(header, recipient, reference))
        except RelayRefused:
            _log.warning("answer refused by the relay", token=reference)
            return False
        self._count(recipient)
        return True

    def _message(self, header: Header, recipient: str, reference: str) -> bytes:
        """The answer. What comes from the message has passed a narrow form: it ends no line."""
        domain = self._sender.rpartition("@")[2]
        lines = [
            f"From: {self._sender}",
            f"To: {recipient}",
            f"Subject: We have your message: {reference}",
            f"Date: {format_datetime(self._now())}",
            f"Message-ID: <{reference}@{domain}>",
        ]
        if header.message_id is not None and header.message_id.isascii():
            lines += [f"In-Reply-To: {header.message_id}", f"References: {header.message_id}"]
        lines += [
            "Auto-Submitted: auto-replied",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=us-ascii",
            "",
            *_TEXT.format(reference=reference).splitlines(),
            "",
        ]
        return "\r\n".join(lines).encode("ascii")

    def _allowed(self, recipient: str) -> bool:
        since = self._clock() - WINDOW_SECONDS
        with self._lock:
            if recipient not in self._sent and len(self._sent) >= _SENDERS:
                self._sent = {
                    each: times for each, times in self._sent.items() if times[-1] > since
                }
            recent = [at for at in self._sent.get(recipient, []) if at > since]
            return len(recent) < PER_SENDER and (
                recipient in self._sent or len(self._sent) < _SENDERS
            )

    def _count(self, recipient: str) -> None:
        with self._lock:
            times = self._sent.setdefault(recipient, [])
            times.append(self._clock())
            del times[:-PER_SENDER]
