"""What is shown of a communication, and what makes two of them the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from vault_service.domain.communications import (
    MAX_HEADER,
    MAX_RECIPIENTS,
    MESSAGE,
    OCTETS,
    Direction,
    Envelope,
    Identity,
    check_media_type,
    masked_address,
    sender_key,
)
from vault_service.errors import InvalidInput

HEAD = b"From: a@example.com\r\nMessage-ID: <1@example.com>\r\nSubject: x\r\n"
BODY = b"\r\nReceived: by the company with thanks.\r\n"


def digest(content: bytes, *, media_type: str = MESSAGE, piece: int = 7) -> bytes:
    """The identity of a communication that comes in pieces of this size."""
    identity = Identity(media_type)
    for start in range(0, len(content), piece):
        identity.feed(content[start : start + piece])
    return identity.finish()


@pytest.mark.parametrize(
    "above",
    [
        b"Received: from mx1 by mx2 id 1; today\r\n",
        b"Received: from mx1\r\n\tby mx2\r\n id 1\r\n",
        b"Return-Path: <a@example.com>\r\nDelivered-To: b@company.example\r\n",
        b"ARC-Seal: i=1\r\nAuthentication-Results: mx; dkim=pass\r\nX-Spam-Score: 0\r\n",
        b"rEcEiVeD : odd\n",
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_what_servers_put_on_top_makes_no_other_message(above: bytes, piece: int) -> None:
    """A second delivery is the same, in pieces of whatever size."""
    assert digest(above + HEAD + BODY, piece=piece) == digest(HEAD + BODY)


@pytest.mark.parametrize(
    "other",
    [
        HEAD.replace(b"Subject: x", b"Subject: y") + BODY,
        HEAD + BODY.replace(b"Received: by", b"Received: from"),
        HEAD.replace(b"a@", b"b@") + BODY,
        HEAD + b"X-Received-By: me\r\n" + BODY,
        HEAD + BODY + b"\x00",
        HEAD,
    ],
)
def test_everything_else_does(other: bytes) -> None:
    """Nobody suppresses a message by sending another under its Message-ID."""
    assert digest(other) != digest(HEAD + BODY)


def test_only_a_message_has_fields_of_transport() -> None:
    """In any other document the same bytes count."""
    above = b"Received: 1\r\n"
    assert digest(above + HEAD + BODY, media_type=OCTETS) != digest(HEAD + BODY, media_type=OCTETS)


@pytest.mark.parametrize("offset", [-3, -1, 0, 1, 5])
def test_a_header_beyond_the_limit_counts_as_it_is(offset: int) -> None:
    """Whatever the pieces are, the digest is one."""
    above = b"Received: 1\r\n"
    padding = MAX_HEADER + offset - len(above) - 3
    message = above + b"X: " + b"a" * padding + b"\r\n\r\nbody"
    digests = {digest(message, piece=size) for size in (1000, 1024, MAX_HEADER + 1, 10**6)}
    assert len(digests) == 1
    without = digest(message.removeprefix(above), piece=10**6)
    assert (without in digests) == (offset <= 0)


def test_the_mask_shows_addresses_masked_and_no_more() -> None:
    """Direction, kind, type, size, date in UTC."""
    envelope = Envelope(
        direction=Direction.INBOUND,
        sender="alice@example.com",
        recipients=("+49 30 901820", "Bob <bob@example.com>", "x" * 3000, "\x00@\x00"),
        sent_at=datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))),
    )
    assert envelope.mask(17) == {
        "direction": "inbound",
        "kind": "email",
        "media_type": "message/rfc822",
        "size": 17,
        "from": "a***@example.com",
        "to": ["+49******20", "***", "***", "***"],
        "date": "2026-01-02T01:00:00+00:00",
    }
    assert "alice" not in repr(envelope)


def test_of_many_recipients_a_hundred_are_shown() -> None:
    """And how many more there were; a date that is none in UTC is left out."""
    many = Envelope(
        direction=Direction.OUTBOUND,
        recipients=("a@example.com",) * (MAX_RECIPIENTS + 5),
        sent_at=datetime.min.replace(tzinfo=timezone(timedelta(hours=5))),
    ).mask(1)
    assert (len(many["to"]), many["to_others"]) == (MAX_RECIPIENTS, 5)  # type: ignore[arg-type]
    assert "date" not in many
    assert "from" not in many


def test_a_date_without_an_offset_is_taken_for_utc() -> None:
    """As RFC 5322 has it for -0000."""
    shown = Envelope(
        direction=Direction.OUTBOUND,
        sent_at=datetime(2026, 1, 2, tzinfo=UTC).replace(tzinfo=None),
    ).mask(1)
    assert shown["date"] == "2026-01-02T00:00:00+00:00"


def test_spellings_of_a_sender_are_one() -> None:
    """The domain in any case; what is no address in any case and spacing."""
    assert sender_key("Ann@EXAMPLE.com") == sender_key("Ann@example.com") == "Ann@example.com"
    assert sender_key(" Call  Centre ") == sender_key("call centre")
    assert sender_key(None) == ""
    assert masked_address("call centre") == "***"


@pytest.mark.parametrize("text", ["", "text", "text/plain; x=1", "text/", "a/b/c", "é/x", "A/b"])
def test_a_media_type_is_two_words(text: str) -> None:
    """Nothing else is stored in clear."""
    assert check_media_type("application/vnd.ms-outlook+x") == "application/vnd.ms-outlook+x"
    with pytest.raises(InvalidInput) as refused:
        check_media_type(text)
    assert refused.value.code == "content_type_unsupported"
