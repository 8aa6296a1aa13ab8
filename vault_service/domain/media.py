"""What kind of document some bytes are: told by the bytes, never by a name or a declared type.

    PDF             %PDF-                                     application/pdf
    PNG             89 50 4E 47 0D 0A 1A 0A                   image/png
    JPEG            FF D8 FF                                  image/jpeg
    TIFF            49 49 2A 00  or  4D 4D 00 2A              image/tiff
    office, zipped  PK 03 04, whose first member is one that  application/zip
                    OOXML or OpenDocument begins with
    message         RFC 5322 header with From and Date        message/rfc822
    text            UTF-8 without control characters          text/plain

Whoever sends a file chooses its name and what he says of it, and a program that believes him opens
a script as a picture. So the table is closed, and what stands in none of its lines is refused: an
officer shall not have to open something of which not even its kind is known. It says what a file
begins as, not that it is harmless; that is why documents are only ever handed out as attachments
of no type (`application/octet-stream`), which no browser shows.

Pure: looks at pieces as they pass, and keeps the beginning only.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Final

from vault_service.errors import InvalidInput

# What is looked at as the beginning; a message's header longer than this is taken for none.
HEAD: Final = 64 * 1024

_MAGIC: Final[Mapping[bytes, str]] = {
    b"%PDF-": "application/pdf",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"II*\x00": "image/tiff",
    b"MM\x00*": "image/tiff",
}
# A local file header of a zip: its signature, and where the member's name and its length stand.
_ZIP: Final = b"PK\x03\x04"
_NAME_LENGTH: Final = slice(26, 28)
_NAME_AT: Final = 30
_OFFICE_MEMBERS: Final = (
    b"[Content_Types].xml", b"_rels/", b"docProps/", b"word/", b"xl/", b"ppt/", b"mimetype",
)  # fmt: skip
# RFC 5322, 2.2: printable names, a colon, lines that may be folded; then an empty line.
_HEADER: Final = re.compile(
    rb"(?:[!-9;-~]{1,100}:[^\r\n\x00]*\r?\n(?:[ \t][^\r\n\x00]*\r?\n)*)+\r?\n"
)
_FIELD: Final = re.compile(rb"^([!-9;-~]+):", re.MULTILINE)
# Both are required of every message (RFC 5322, 3.6).
_NEEDED: Final = frozenset((b"from", b"date"))
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\x80-\x9f]")


class Recogniser:
    """Looks at a document as it passes."""

    __slots__ = ("_decoder", "_head", "_is_text")

    def __init__(self) -> None:
        self._head = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_text = True

    def feed(self, piece: bytes) -> None:
        """Look at the next piece."""
        self._head += piece[: HEAD - len(self._head)]
        self._look(piece, final=False)

    def _look(self, piece: bytes, *, final: bool) -> None:
        if not self._is_text:
            return
        try:
            text = self._decoder.decode(piece, final)
        except UnicodeDecodeError:
            self._is_text = False
        else:
            self._is_text = _CONTROL.search(text) is None

    def finish(self) -> str:
        """The media type of what has passed.

        Raises:
            InvalidInput: `document_empty`, or `document_type_unknown`.
        """
        head = bytes(self._head)
        if not head:
            raise InvalidInput("the document is empty", code="document_empty")
        for magic, media in _MAGIC.items():
            if head.startswith(magic):
                return media
        if _is_office(head):
            return "application/zip"
        if _is_message(head):
            return "message/rfc822"
        self._look(b"", final=True)
        if self._is_text:
            return "text/plain"
        raise InvalidInput(
            "by its content the document is of no kind that is taken",
            code="document_type_unknown",
            hint="PDF, PNG, JPEG, TIFF, office documents, mail messages and plain text in UTF-8",
        )


def _is_office(head: bytes) -> bool:
    if not head.startswith(_ZIP):
        return False
    length = int.from_bytes(head[_NAME_LENGTH], "little")
    return head[_NAME_AT : _NAME_AT + length].startswith(_OFFICE_MEMBERS)


def _is_message(head: bytes) -> bool:
    header = _HEADER.match(head)
    if header is None:
        return False
    return {name.lower() for name in _FIELD.findall(header[0])} >= _NEEDED
