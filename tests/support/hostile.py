"""Messages that nobody should have to read: those of Python's own tests, and hostile ones."""

from __future__ import annotations

import io
import zipfile
from base64 import encodebytes
from pathlib import Path

import test.test_email

CORPUS = sorted((Path(test.test_email.__file__).parent / "data").glob("msg_*.txt"))


def lines(content: bytes) -> bytes:
    """The message with the ends of lines that mail has."""
    return b"\r\n".join(content.splitlines()) + b"\r\n"


def bomb() -> bytes:
    """A message with an archive that would unpack to 64 MiB."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(64 * 1024 * 1024))
    return b"Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n" + lines(
        encodebytes(packed.getvalue())
    )


HOSTILE = {
    "nothing": b"\r\n",
    "no header": b"\r\nbody\r\n",
    "broken header": b"From\r\n: x\r\n\x80\xff: \x00\r\n\r\nbody\r\n",
    "open boundary": b'Content-Type: multipart/mixed; boundary="\r\n\r\n--\r\n',
    "ends in the middle": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Ty\r\n",
    "unknown charset": b"Content-Type: text/plain; charset=x-y\r\n\r\n\xff\xfe\r\n",
    "codec that unpacks": b"Content-Type: text/plain; charset=bz2\r\n\r\nBZh9\r\n",
    "bad base64": b"Content-Transfer-Encoding: base64\r\n\r\n=\r\n!!\r\n",
    "header injection": b"Message-ID: <a\rBcc: x@y.example>\r\n".replace(b"\r", b"%0d", 1)
    + b"Subject: =?utf-8?q?a=0D=0ABcc:_x@y.example?=\r\n\r\nbody\r\n",
    "dots": b".\r\n..\r\n.x\r\n\r\n.\r\n",
    "a long line": b"X: y\r\n\r\n" + b"z" * 300_000 + b"\r\n.end\r\n",
    "nested": b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (each, each)
        for each in range(10_000)
    ),
    "zip bomb": bomb(),
}
