"""A document's kind is told by its bytes, and what has no line in the table is refused."""

from __future__ import annotations

import io
import zipfile

import pytest

from vault_service.domain.media import HEAD, Recogniser
from vault_service.errors import InvalidInput

MAIL = b"From: a@example.com\r\nDATE: Mon, 1 Jan 2026 00:00 +0000\r\nX: x\r\n y\r\n\r\n\xff"


def zipped(*names: str) -> bytes:
    """A zip with these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return file.getvalue()


def kind(content: bytes, piece: int = HEAD) -> str:
    """The media type, or the code of the refusal."""
    recogniser = Recogniser()
    for start in range(0, len(content), piece):
        recogniser.feed(content[start : start + piece])
    try:
        return recogniser.finish()
    except InvalidInput as error:
        return error.code


@pytest.mark.parametrize("piece", [1, 7, HEAD])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"%PDF-1.7\n\x00\xff", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n\x00", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"II*\x00\x08", "image/tiff"),
        (b"MM\x00*\x00", "image/tiff"),
        (zipped("[Content_Types].xml", "word/document.xml"), "application/zip"),
        (zipped("mimetype", "content.xml"), "application/zip"),
        (zipped("evil.exe"), "document_type_unknown"),
        (b"PK\x03\x04", "document_type_unknown"),
        (MAIL, "message/rfc822"),
        (MAIL.replace(b"\r\n", b"\n"), "message/rfc822"),
        (MAIL.replace(b"DATE", b"Data"), "document_type_unknown"),
        (b"From: a\nDate: b\n", "text/plain"),
        ("Gr\u00fc\u00dfe,\r\n\t\u20ac\f".encode(), "text/plain"),
        ("\ufeffwith a mark".encode(), "text/plain"),
        (b"<script>alert(1)</script>", "text/plain"),
        (b" %PDF-1.7 \x01", "document_type_unknown"),
        (b"text\x00", "document_type_unknown"),
        (b"text \x1b[31m", "document_type_unknown"),
        ("text \x85".encode(), "document_type_unknown"),
        (b"broken \xe2\x82", "document_type_unknown"),
        (b"latin \xe4 and more", "document_type_unknown"),
        (b"MZ\x90\x00", "document_type_unknown"),
        (b"\x7fELF\x02", "document_type_unknown"),
        (b"", "document_empty"),
    ],
)
def test_the_kind_is_told_by_the_bytes(content: bytes, expected: str, piece: int) -> None:
    """However the bytes are cut into pieces."""
    assert kind(content, piece) == expected


def test_text_is_text_to_its_end() -> None:
    """A control character behind what is kept of the beginning counts as well."""
    assert kind(b"x" * (2 * HEAD)) == "text/plain"
    assert kind(b"x" * (2 * HEAD) + b"\x00") == "document_type_unknown"


def test_a_header_longer_than_what_is_kept_is_no_message() -> None:
    """The beginning is bounded, whatever stands in it."""
    assert kind(b"From: a\nDate: b\nX: " + b"x" * HEAD + b"\n\n\xff") == "document_type_unknown"
