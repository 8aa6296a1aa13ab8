"""Communications as the interface takes and answers them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.api.conftest import Post
from tests.api.recording import CUSTOMER, ENTRY, TOKEN, Recording, communication_view
from vault_service.domain.communications import MAX_RECIPIENTS, Envelope, Kind
from vault_service.services.communications import MAX_COMMUNICATION

PATH = f"/v1/customers/{CUSTOMER}/communications"
INBOUND = {"Communication-Direction": "inbound"}


def told(send: Post, recording: Recording, headers: dict[str, str], **how: Any) -> Envelope:
    """The outside that reaches the use case."""
    response = send("POST", PATH, b"x", headers=INBOUND | headers, **how)
    assert response.status_code == 201, response.get_data(as_text=True)
    envelope = recording.last["envelope"]
    assert isinstance(envelope, Envelope)
    return envelope


def test_the_outside_comes_in_headers(send: Post, recording: Recording) -> None:
    """And the body is the original, whatever its bytes are."""
    envelope = told(
        send,
        recording,
        {
            "Communication-From": "jörg@example.com".encode().decode("latin-1"),
            "Communication-To": "a@example.com, +49 30 901820,",
            "Communication-Date": "2026-01-02T03:04:05+02:00",
        },
        content_type="Message/RFC822; x=1",
    )
    assert envelope.kind is Kind.EMAIL
    assert envelope.media_type == "message/rfc822"
    assert envelope.sender == "jörg@example.com"
    assert envelope.recipients == ("a@example.com", "+49 30 901820")
    assert envelope.sent_at == datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)
    assert recording.last["customer"] == CUSTOMER


def test_most_of_it_may_be_left_out(send: Post, recording: Recording) -> None:
    """A thing of no declared type is some octets, and no e-mail."""
    envelope = told(send, recording, {}, content_type="")
    assert (envelope.kind, envelope.media_type) == (Kind.OTHER, "application/octet-stream")
    assert (envelope.sender, envelope.recipients, envelope.sent_at) == (None, (), None)
    assert told(send, recording, {"Communication-Kind": "letter"}).kind is Kind.LETTER


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Communication-Direction": ""}, "header_invalid"),
        ({"Communication-Direction": "up"}, "header_invalid"),
        ({"Communication-Kind": "pigeon"}, "header_invalid"),
        ({"Communication-Date": "yesterday"}, "header_invalid"),
        ({"Communication-Date": "2026-01-02T03:04:05"}, "header_invalid"),
        ({"Communication-From": "\xff@example.com"}, "header_invalid"),
        ({"Communication-From": " "}, "text_empty"),
        ({"Communication-From": "a" * 257}, "text_too_long"),
        ({"Communication-To": "a@b.example," * (MAX_RECIPIENTS + 1)}, "header_invalid"),
    ],
)
def test_a_wrong_header_is_refused_by_name(
    send: Post, recording: Recording, headers: dict[str, str], code: str
) -> None:
    """And never by its value; nothing reaches the use case."""
    response = send("POST", PATH, b"x", headers=INBOUND | headers)
    assert (response.status_code, response.get_json(force=True)["code"]) == (422, code)
    assert "example" not in response.get_data(as_text=True)
    assert recording.asked == []


def test_a_wrong_media_type_is_refused(send: Post) -> None:
    """415, as for other bodies."""
    response = send("POST", PATH, b"x", headers=INBOUND, content_type="mail")
    assert (response.status_code, response.get_json(force=True)["code"]) == (
        415,
        "content_type_unsupported",
    )


def test_what_is_too_large_is_refused_unread(send: Post) -> None:
    """One byte more than 25 MiB, by the length that it declares."""
    response = send("POST", PATH, bytes(MAX_COMMUNICATION + 1), headers=INBOUND)
    assert (response.status_code, response.get_json(force=True)["code"]) == (413, "body_too_large")


def test_the_same_again_is_no_second_one(send: Post, recording: Recording) -> None:
    """200 in place of 201."""
    recording.answers["keep"] = communication_view(deduplicated=True)
    response = send("POST", PATH, b"x", headers=INBOUND)
    assert (response.status_code, response.get_json()["deduplicated"]) == (200, True)


def test_they_are_listed_by_page(send: Post, recording: Recording) -> None:
    """Cursor and limit reach the use case."""
    response = send("GET", f"{PATH}?cursor=1.x&limit=7")
    assert response.get_json()["items"][0]["class"] == "communication"
    assert recording.last["positional"] == (CUSTOMER,)
    assert (recording.last["cursor"], recording.last["limit"]) == ("1.x", 7)
    assert send("GET", f"{PATH}?limit=101").status_code == 422


def test_contents_come_as_a_stream_with_their_receipt(send: Post, recording: Recording) -> None:
    """For no program, with a length, and the receipt beside it."""
    response = send(
        "POST",
        "/v1/reveal/content",
        {"token": TOKEN},
        headers={"Disclosure-Token": "jws", "DPoP": "proof"},
    )
    assert (response.status_code, response.data) == (200, b"ab")
    assert response.headers["Content-Length"] == "2"
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == "attachment"
    assert response.headers["Receipt-Entry"] == ENTRY
    assert response.headers["Receipt-At"].endswith("+00:00")
    assert recording.last["disclosure_token"] == "jws"
    assert recording.last["token"] == TOKEN
    assert recording.last["proof"].path == "/v1/reveal/content"


def test_one_communication_is_named(send: Post) -> None:
    """Not several, and nothing else."""
    for body in ({}, {"tokens": [TOKEN]}, {"token": TOKEN, "fields": ["value"]}):
        assert send("POST", "/v1/reveal/content", body).status_code == 422
