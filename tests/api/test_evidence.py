"""Documents of evidence as the interface takes and answers them."""

from __future__ import annotations

import io
from typing import Any

import pytest

from tests.api.conftest import Post
from tests.api.recording import DISCLOSURE, PRINCIPAL, Recording, evidence_answers
from vault_service.services.evidence import MAX_DOCUMENT


@pytest.fixture
def taken(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the use case read of the body, piece by piece."""
    read: list[bytes] = []
    assert recording.asked == []
    real = Recording._answer

    def answer(self: Recording, called: str, default: Any, /, **arguments: Any) -> Any:
        if called == "upload":
            read.extend(arguments["positional"][0])
        return real(self, called, default, **arguments)

    monkeypatch.setattr(Recording, "_answer", answer)
    return read


def test_a_document_goes_in_as_it_is(send: Post, taken: list[bytes]) -> None:
    """Its bytes reach the use case in pieces, whatever the header says that it is."""
    content = bytes(range(256)) * 1000
    response = send("POST", "/v1/documents", content, content_type="text/html; name=x.exe")
    assert response.status_code == 201
    assert response.get_json()["digest"] == evidence_answers()["upload"].digest
    assert b"".join(taken) == content
    assert len(taken) > 1


def test_the_largest_document_fits_and_one_byte_more_does_not(
    send: Post, taken: list[bytes]
) -> None:
    """The limit is its own, and larger than that of other bodies."""
    assert send("POST", "/v1/documents", bytes(MAX_DOCUMENT)).status_code == 201
    taken.clear()
    response = send("POST", "/v1/documents", bytes(MAX_DOCUMENT + 1))
    assert (response.status_code, response.get_json(force=True)["code"]) == (413, "body_too_large")
    assert taken == []


def test_a_body_without_a_length_is_refused_unread(send: Post, taken: list[bytes]) -> None:
    """If it broke off, it could not be told from one that has ended."""

    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            raise AssertionError(len(buffer))

    response = send(
        "POST",
        "/v1/documents",
        environ_overrides={"wsgi.input": Endless(), "wsgi.input_terminated": True},
    )
    assert (response.status_code, response.get_json(force=True)["code"]) == (411, "length_required")
    assert taken == []


@pytest.mark.parametrize(
    ("body", "environment", "expected"),
    [
        (b"", {"CONTENT_LENGTH": "0"}, (400, "body_missing")),
        (b"x", {"HTTP_CONTENT_ENCODING": "gzip"}, (415, "content_encoding_unsupported")),
    ],
)
def test_a_body_is_whole_and_plain(
    send: Post,
    taken: list[bytes],
    body: bytes,
    environment: dict[str, str],
    expected: tuple[int, str],
) -> None:
    """Nothing, or something compressed, is no document."""
    response = send("POST", "/v1/documents", body, environ_overrides=environment)
    assert (response.status_code, response.get_json(force=True)["code"]) == expected
    assert taken == []


def test_a_body_that_ends_early_is_refused(send: Post, taken: list[bytes]) -> None:
    """Fewer bytes than were declared are not a document."""

    class Short(io.RawIOBase):
        left = b"half"

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            size = len(self.left)
            buffer[:size] = self.left
            self.left = b""
            return size

    response = send(
        "POST",
        "/v1/documents",
        environ_overrides={"wsgi.input": Short(), "CONTENT_LENGTH": "8"},
    )
    assert response.status_code == 400
    assert b"".join(taken) in {b"", b"half"}


def test_a_document_comes_back_for_no_program(send: Post) -> None:
    """An attachment of no type; what it is and its digest stand beside it."""
    response = send("GET", f"/v1/disclosures/{DISCLOSURE}/documents/document")
    assert response.data == b"x"
    assert response.content_type == "application/octet-stream"
    assert response.headers["Content-Disposition"] == "attachment"
    assert response.headers["Document-Type"] == "text/plain"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_evidence_is_opened_and_closed(send: Post, recording: Recording) -> None:
    """Auditor and time reach the use case; a week is the longest."""
    path = f"/v1/disclosures/{DISCLOSURE}/evidence"
    assert send("POST", f"{path}/open", {"auditor": PRINCIPAL, "seconds": 60}).status_code == 200
    assert recording.last["auditor"] == PRINCIPAL
    assert recording.last["life"].total_seconds() == 60
    assert (
        send("POST", f"{path}/open", {"auditor": PRINCIPAL, "seconds": 604_801}).status_code == 422
    )
    assert send("POST", f"{path}/close", {"auditor": PRINCIPAL}).status_code == 204
