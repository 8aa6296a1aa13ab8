"""A message's parts and their texts, found in one pass that no message can make long.

Boundaries are searched for by one expression over the bytes; a part is a span, and nothing is
copied but a window at a time. What is nested too deep, or comes after too many parts, is one part
that nobody looks into. Archives are never unpacked.
"""

from __future__ import annotations

import binascii
import codecs
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from vault_service.domain import mail

# Deeper and more than any person's mail program writes.
MAX_DEPTH: Final = 16
MAX_PARTS: Final = 500
_PART_HEADER: Final = 8 * 1024
_WINDOW: Final = 64 * 1024
# So much of a window is seen again with the next, so that nothing hides on the edge.
_OVERLAP: Final = 256

_PARAMETER: Final = re.compile(
    r";\s*([!#-'*-.0-9A-Z^-z|~]{1,40})\s*=\s*(?:\"([^\"]{0,200})\"|([^\s;\"]{0,200}))"
)
# Text encodings; the others that Python knows unpack, and a message must not choose those.
_CHARSETS: Final = re.compile(
    r"us-ascii|ascii|latin-?1|utf-?(?:8|16|32)(?:-?[lb]e)?|iso-?8859-\d{1,2}|(?:windows-|cp)125\d"
    r"|koi8-[ru]|gb2312|gbk|gb18030|big5|shift_jis|iso-2022-(?:jp|kr)|euc-(?:jp|kr)"
)
_NO_BASE64: Final = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
)
_WORD: Final = re.compile(r"=\?([^?\s*]{1,40})(?:\*[^?\s]{0,20})?\?([bBqQ])\?([^?\s]{0,998})\?=")
_TAG: Final = re.compile(r"<[^<>]{0,500}>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part, and where its body begins. A container has a boundary and is not looked at itself."""

    kind: str
    charset: str
    encoding: str
    attached: bool
    boundary: bytes | None
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A part that is no container, and where its body ends."""

    part: Part
    end: int


def leaves(content: bytes | bytearray, header: mail.Header) -> Iterator[Leaf]:
    """The parts of a message that are no containers, in their order."""
    first = _opened(content, header)
    part: Part | None = first
    at, stack, count = header.end, _stacked([], first), 1
    while stack and count < MAX_PARTS:
        match = _delimiter(tuple(stack)).search(content, at)
        if match is None:
            break
        if part is not None and part.boundary is None:
            yield Leaf(part=part, end=match.start())
        level = stack.index(match[1])
        count += 1
        if match[2]:
            part, at, stack = None, match.end(), stack[:level]
            continue
        at = min(len(content), match.end() + 1)
        stack = stack[: level + 1]
        part = opened = _opened(content, mail.read(content, at, _PART_HEADER))
        at, stack = opened.start, _stacked(stack, opened)
    if part is not None and (part.boundary is None or part.boundary not in stack):
        yield Leaf(part=part, end=len(content))


def _stacked(stack: list[bytes], part: Part) -> list[bytes]:
    if part.boundary is None or part.boundary in stack or len(stack) >= MAX_DEPTH:
        return stack
    return [*stack, part.boundary]


@lru_cache(maxsize=64)
def _delimiter(stack: tuple[bytes, ...]) -> re.Pattern[bytes]:
    names = b"|".join(re.escape(each) for each in sorted(stack, key=len, reverse=True))
    return re.compile(rb"^--(" + names + rb")(--)?[ \t]*\r?$", re.MULTILINE)


def _opened(content: bytes | bytearray, header: mail.Header) -> Part:
    """The part that a header begins; of a message within a message, that message's."""
    for _ in range(MAX_DEPTH):
        kind, parameters = _typed(header.one("content-type") or "text/plain")
        encoding = (header.one("content-transfer-encoding") or "").strip().lower()
        if kind != "message/rfc822" or encoding in ("base64", "quoted-printable"):
            break
        header = mail.read(content, header.end, _PART_HEADER)
    boundary = parameters.get("boundary", "").rstrip()
    disposition, _ = _typed(header.one("content-disposition") or "")
    return Part(
        kind=kind,
        charset=parameters.get("charset", "us-ascii").lower(),
        encoding=encoding,
        attached=disposition == "attachment",
        # RFC 2046, 5.1.1: 1 to 70 characters, and ASCII.
        boundary=(
            boundary.encode("ascii")
            if kind.startswith("multipart/") and 0 < len(boundary) <= 70 and boundary.isascii()
            else None
        ),
        start=header.end,
    )


def _typed(text: str) -> tuple[str, dict[str, str]]:
    """A media type or a disposition, in lower case, and its parameters."""
    kind, semicolon, _ = text.partition(";")
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(text[: 4 * 1024], len(kind)) if semicolon else ():
        found.setdefault(match[1].lower(), match[2] or match[3] or "")
    return kind.strip().lower(), found


def first_text(content: bytes | bytearray, header: mail.Header, longest: int) -> str:
    """The beginning of the first plain text that is no attachment; empty where there is none."""
    for leaf in leaves(content, header):
        if leaf.part.kind == "text/plain" and not leaf.part.attached:
            # One window holds more than a form, and a second would only be read to be thrown away.
            return next(_decoded(content, leaf), "")[:longest]
    return ""


def texts(content: bytes | bytearray, header: mail.Header) -> Iterator[str]:
    """All that people could read in a message, a window at a time, each with the end of the last.

    Of parts that are no text, only those that are not encoded.
    """
    for name, text in header.fields:
        yield f"{name}: {_words(text)}"
    for leaf in leaves(content, header):
        encoded = leaf.part.encoding in ("base64", "quoted-printable")
        if encoded and not leaf.part.kind.startswith("text/"):
            continue
        before = ""
        for window in _decoded(content, leaf):
            text = before + window
            before = text[-_OVERLAP:]
            yield html.unescape(_TAG.sub(" ", text)) if leaf.part.kind == "text/html" else text


def _decoded(content: bytes | bytearray, leaf: Leaf) -> Iterator[str]:
    decoder = _decoder(leaf.part.charset)
    for window in _unwrapped(content, leaf):
        yield decoder.decode(window)


def _decoder(charset: str) -> codecs.IncrementalDecoder:
    known = charset if _CHARSETS.fullmatch(charset) else "latin-1"
    try:
        return codecs.getincrementaldecoder(known)("replace")
    except LookupError:
        return codecs.getincrementaldecoder("latin-1")("replace")


def _unwrapped(content: bytes | bytearray, leaf: Leaf) -> Iterator[bytes]:
    """A body without its transfer encoding, a window at a time."""
    rest = b""
    for at in range(leaf.part.start, leaf.end, _WINDOW):
        window = rest + bytes(content[at : min(at + _WINDOW, leaf.end)])
        if leaf.part.encoding == "base64":
            window = window.translate(None, _NO_BASE64)
            whole = len(window) & ~3
            rest = window[whole:]
            yield binascii.a2b_base64(window[:whole])
        elif leaf.part.encoding == "quoted-printable":
            # Cut behind a line, so that no escape is parted; a line without end counts as it is.
            whole = window.rfind(b"\n") + 1 or len(window)
            rest = window[whole:]
            yield binascii.a2b_qp(window[:whole])
        else:
            yield window
    if rest:
        yield _base64(rest) if leaf.part.encoding == "base64" else binascii.a2b_qp(rest)


def _base64(raw: bytes) -> bytes:
    """What base64 without anything foreign in it says, whatever its end lacks."""
    whole = raw[: len(raw) - (len(raw) % 4 == 1)]
    return binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))


def _words(text: str) -> str:
    """A field's text with its encoded words (RFC 2047) decoded."""
    return _WORD.sub(_word, text)


def _word(match: re.Match[str]) -> str:
    raw = match[3].encode("ascii", "replace")
    if match[2] in "bB":
        data = _base64(raw.translate(None, _NO_BASE64))
    else:
        data = binascii.a2b_qp(raw, header=True)
    return _decoder(match[1].lower()).decode(data)
