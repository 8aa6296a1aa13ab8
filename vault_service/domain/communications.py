"""What may be shown of a communication without opening it, and what makes two of them the same.

From and to are masked here and go no further; contents, and what says something of them (the
subject, names of attachments), are never looked at.

A message that a mail server delivers again is the one it delivered before, whatever the servers on
its way have put on top: header fields of its transport do not count, and everything else does. The
Message-ID alone would not do, because whoever guesses one could send something else under it first,
and the real message would be taken for a repetition.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from vault_service.domain import emails, masks, telephones
from vault_service.domain.mail_trust import Trust
from vault_service.errors import InvalidInput

MESSAGE: Final = "message/rfc822"
OCTETS: Final = "application/octet-stream"
# Recipients of one message that are shown; RFC 5321, 4.5.3.1.8 has every server take so many.
MAX_RECIPIENTS: Final = 100
# What of a message is looked through for fields of its transport; a header that is longer than any
# that servers take counts as it is.
MAX_HEADER: Final = 256 * 1024

_MEDIA_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")
_END: Final = re.compile(rb"\r?\n\r?\n")
# Put on top by each server that passes a message on: RFC 5321, 4.4; RFC 8601; RFC 8617; and the
# fields that servers commonly add for themselves.
_TRANSPORT: Final = re.compile(
    rb"^(?:received|return-path|delivered-to|x-original-to|envelope-to|x-envelope-to"
    rb"|authentication-results|received-spf|arc-[a-z-]+|x-spam-[a-z-]+)[ \t]*:"
    rb".*(?:\r?\n[ \t].*)*(?:\r?\n|\Z)",
    re.IGNORECASE | re.MULTILINE,
)


class Direction(StrEnum):
    """Who wrote to whom."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Kind(StrEnum):
    """By which way a communication went."""

    EMAIL = "email"
    TEXT_MESSAGE = "text_message"
    CHAT = "chat"
    CALL = "call"
    LETTER = "letter"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What stands on the outside of a communication.

    Attributes:
        direction: who wrote to whom.
        kind: by which way.
        media_type: of the whole original; no parameters.
        sender: an e-mail address or a telephone number, in plain.
        recipients: such addresses or numbers.
        sent_at: the date that the sender gave it.
        trust: of a message that came by the mail intake, how far its sender is believed.
    """

    direction: Direction
    kind: Kind = Kind.EMAIL
    media_type: str = MESSAGE
    sender: str | None = field(default=None, repr=False)
    recipients: tuple[str, ...] = field(default=(), repr=False)
    sent_at: datetime | None = None
    trust: Trust | None = None

    def mask(self, size: int) -> Mapping[str, object]:
        """What is shown of a communication of so many bytes."""
        shown: dict[str, object] = {
            "direction": self.direction.value,
            "kind": self.kind.value,
            "media_type": self.media_type,
            "size": size,
            "to": [masked_address(each) for each in self.recipients[:MAX_RECIPIENTS]],
        }
        if len(self.recipients) > MAX_RECIPIENTS:
            shown["to_others"] = len(self.recipients) - MAX_RECIPIENTS
        if self.sender is not None:
            shown["from"] = masked_address(self.sender)
        date = None if self.sent_at is None else _utc(self.sent_at)
        if date is not None:
            shown["date"] = date
        if self.trust is not None:
            shown["trust"] = self.trust.value
        return shown


def _utc(moment: datetime) -> str | None:
    """A sender's date in UTC; None where it lies beyond all that can be written down."""
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except OverflowError:
        return None


def sender_key(sender: str | None) -> str:
    """What two spellings of one sender share; empty where there is none."""
    try:
        address = emails.parse(sender or "", pointer="")
    except InvalidInput:
        return " ".join((sender or "").split()).casefold()
    return f"{address.local}@{address.ascii_domain}"


def check_media_type(text: str) -> str:
    """The text, if it is a media type without parameters.

    Raises:
        InvalidInput: `content_type_unsupported`.
    """
    if _MEDIA_TYPE.fullmatch(text) is None:
        raise InvalidInput("this is not a media type", code="content_type_unsupported")
    return text


def masked_address(text: str) -> str:
    """The mask of an e-mail address or telephone number; of anything else nothing is shown."""
    try:
        if "@" in text:
            address = emails.parse(text, pointer="")
            return masks.email(address.local, address.domain)
        telephone = telephones.parse(text, pointer="")
        return masks.telephone(telephone.country_code, telephone.national)
    except InvalidInput:
        return masks.STARS


class Identity:
    """The digest of a communication as it comes, without the fields of its transport.

    Args:
        media_type: only messages have such fields.
    """

    def __init__(self, media_type: str) -> None:
        self._digest = hashlib.sha256()
        # Header bytes until the header has ended; None when nothing more is looked through.
        self._head: bytearray | None = bytearray() if media_type == MESSAGE else None

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        if self._head is None:
            self._digest.update(piece)
            return
        # The end may lie across two pieces.
        start = max(0, len(self._head) - 3)
        self._head += piece
        end = _END.search(self._head, start)
        if end is not None and end.start() <= MAX_HEADER:
            self._digest.update(_TRANSPORT.sub(b"", bytes(self._head[: end.start()])))
            self._digest.update(self._head[end.start() :])
            self._head = None
        elif len(self._head) > MAX_HEADER + 4:  # an end of four bytes would have been found
            self._digest.update(self._head)
            self._head = None

    def finish(self) -> bytes:
        """The digest. A message without an end of its header counts as it is."""
        if self._head is not None:
            self._digest.update(self._head)
        return self._digest.digest()
