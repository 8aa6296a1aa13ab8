"""Calls on communications: originals in, and lists. Contents come by `Client.reveal_content`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from vault_service.client import models
from vault_service.client.transport import Ask, Transport, decode, segment

_UNDECLARED = "application/octet-stream"


class Unassigned(models.Answer, frozen=True, kw_only=True):
    """A message that waits for its customer, by its outside."""

    modification: str
    why: str
    received_at: datetime
    expires_at: datetime
    communication: models.Token


class _UnassignedPage(models.Answer, frozen=True, kw_only=True):
    items: list[Unassigned]
    next: str | None = None


class Communications:
    """`/v1/customers/{customer}/communications`, and `/v1/communications/unassigned`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def keep(
        self,
        customer: str,
        content: bytes,
        *,
        direction: str,
        kind: str | None = None,
        media_type: str = _UNDECLARED,
        sender: str | None = None,
        recipients: Sequence[str] = (),
        sent_at: datetime | None = None,
    ) -> models.Token:
        """Keep an original; the same again is the one that is there, and says `deduplicated`.

        Args:
            customer: whose it is.
            content: the whole original, byte for byte.
            direction: `inbound` or `outbound`.
            kind: by which way it went; by the media type, if left out.
            media_type: what the original is; `message/rfc822` for e-mail.
            sender: an e-mail address or telephone number; kept as its mask.
            recipients: such addresses or numbers.
            sent_at: the sender's date, with its offset from UTC.
        """
        told = {
            "Communication-Direction": direction,
            "Communication-Kind": kind,
            "Communication-From": sender,
            "Communication-To": ", ".join(recipients) or None,
            "Communication-Date": None if sent_at is None else sent_at.isoformat(),
        }
        reply = self._transport.send(
            Ask(
                method="POST",
                path=_path(customer),
                data=content,
                headers={"Content-Type": media_type}
                | {name: _header(text) for name, text in told.items() if text is not None},
                repeatable=True,
            )
        )
        token: models.Token = decode(reply, models.Token)
        return token

    def page(
        self, customer: str, *, cursor: str | None = None, limit: int = 100
    ) -> models.TokenPage:
        """Communications of a customer, masked, newest first."""
        reply = self._transport.send(
            Ask(
                method="GET",
                path=_path(customer),
                query={"cursor": cursor, "limit": limit},
                repeatable=True,
            )
        )
        page: models.TokenPage = decode(reply, models.TokenPage)
        return page

    def unassigned(self) -> Iterator[Unassigned]:
        """Messages that nobody's address matched, oldest first, fetched as they are taken."""
        cursor: str | None = None
        while True:
            ask = Ask(
                method="GET",
                path="/v1/communications/unassigned",
                query={"cursor": cursor, "limit": 100},
                repeatable=True,
            )
            page: _UnassignedPage = decode(self._transport.send(ask), _UnassignedPage)
            yield from page.items
            if page.next is None or page.next == cursor:
                return
            cursor = page.next


def _path(customer: str) -> str:
    return f"/v1/customers/{segment(customer)}/communications"


def _header(text: str) -> str:
    # A header's bytes are UTF-8 here; the library sends the characters of Latin-1 as bytes.
    return " ".join(text.split()).encode().decode("latin-1")
