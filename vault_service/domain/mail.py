"""A message's header, as far as the intake must know it: who writes, when, and under which name.

Messages come from anybody. So nothing here recurses, every step is linear in what it reads, and
what is not plainly one thing is taken for nothing: two `From` fields, a group, an address that two
readers could read differently are no sender. The message itself is never changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from vault_service.domain import emails
from vault_service.errors import InvalidInput

# Of a header that is longer the rest is not looked at; mail servers take less (Postfix: 100 KiB).
MAX_HEADER: Final = 256 * 1024
MAX_FIELDS: Final = 1000
# An address of 254 octets, a display name, and room for folding.
_MAX_SENDER: Final = 2048
_MAX_DATE: Final = 100

_END: Final = re.compile(rb"\r?\n\r?\n|\A\r?\n")
_FIELD: Final = re.compile(rb"([!-9;-~]{1,76})[ \t]*:(.*(?:\r?\n[ \t].*)*)")
_FOLD: Final = re.compile(r"\r?\n[ \t]")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMMENT: Final = re.compile(r"\((?:[^()\\]|\\.)*\)")
_NAMED: Final = re.compile(r"[^<>,:;@()\"\\]*<\s*([^<>\s]+)\s*>")
_MESSAGE_ID: Final = re.compile(r"<[^<>\s]{1,250}>")
_BULK: Final = frozenset(("bulk", "list", "junk", "auto_reply"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The fields of a header, in their order.

    Attributes:
        fields: (name in lower case, unfolded text); bytes that are no UTF-8 are replaced.
        end: where the body begins.
    """

    fields: tuple[tuple[str, str], ...] = field(repr=False)
    end: int

    def all(self, name: str) -> list[str]:
        """The texts of every field of this name."""
        return [text for each, text in self.fields if each == name]

    def one(self, name: str) -> str | None:
        """The text of the only field of this name; None where there is none, or several."""
        found = self.all(name)
        return found[0] if len(found) == 1 else None

    @property
    def sender(self) -> str | None:
        """The one address of the one `From` field; None where that is not plain."""
        text = self.one("from")
        if text is None or len(text) > _MAX_SENDER:
            return None
        bare = _COMMENT.sub(" ", _QUOTED.sub(" ", text)).strip()
        named = _NAMED.fullmatch(bare)
        try:
            emails.parse(address := named[1] if named else bare, pointer="")
        except InvalidInput:
            return None
        return address

    @property
    def message_id(self) -> str | None:
        """The Message-ID; None where there is none that could name one message."""
        text = (self.one("message-id") or "").strip()
        return text if _MESSAGE_ID.fullmatch(text) else None

    @property
    def sent_at(self) -> datetime | None:
        """The sender's date."""
        text = self.one("date")
        if text is None or len(text) > _MAX_DATE:
            return None
        try:
            return parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None

    @property
    def automatic(self) -> bool:
        """Whether a machine wrote this, so that nothing may answer it (RFC 3834, 2)."""
        names = {name for name, _ in self.fields}
        kind = (self.one("content-type") or "").lower()
        return (
            any(text.strip().lower() != "no" for text in self.all("auto-submitted"))
            or any(text.strip().lower() in _BULK for text in self.all("precedence"))
            or any(name.startswith("list-") for name in names)
            or "x-auto-response-suppress" in names
            or kind.lstrip().startswith("multipart/report")
            or self.all("return-path")[:1] == ["<>"]
        )


def read(content: bytes | bytearray, start: int = 0, longest: int = MAX_HEADER) -> Header:
    """The header that begins at `start`.

    Where it has no end within `longest`, its fields are those of that piece, and the body follows.
    """
    piece = bytes(content[start : start + longest])
    end = _END.search(piece)
    head = piece if end is None else piece[: end.start()]
    fields: list[tuple[str, str]] = []
    for match in _FIELD.finditer(head):
        if len(fields) == MAX_FIELDS:
            break
        # Only what begins a line is a field; what follows no name and colon is skipped.
        if match.start() and head[match.start() - 1 : match.start()] != b"\n":
            continue
        text = _FOLD.sub(" ", match[2].decode("utf-8", "replace")).strip()
        fields.append((match[1].decode("ascii").lower(), text))
    return Header(fields=tuple(fields), end=start + (len(piece) if end is None else end.end()))
