"""Messages from anybody: read in bounded steps, and nothing is taken for what it only may be."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import test.test_email

from vault_service.domain import mail, mail_form, mail_parts
from vault_service.domain.classes import DataClass
from vault_service.domain.mail_codes import refuse_codes
from vault_service.domain.mail_form import WrittenChange
from vault_service.domain.mail_trust import Trust, aligned, domain_of, judge
from vault_service.errors import InvalidInput

CORPUS = sorted((Path(test.test_email.__file__).parent / "data").glob("msg_*.txt"))
# Seconds of work for the worst of 2 MiB; measured are at most 0.4 without coverage.
PATIENCE = 5.0


def header(*fields: str) -> mail.Header:
    """A header of these fields."""
    return mail.read("\r\n".join([*fields, "", "body"]).encode("utf-8", "surrogateescape"))


# ---------------------------------------------------------------- header


@pytest.mark.parametrize(
    ("text", "sender"),
    [
        ("alice@example.com", "alice@example.com"),
        ("Alice <alice@example.com>", "alice@example.com"),
        ('"Alice, of <x@y.example>" <alice@example.com>', "alice@example.com"),
        ("=?utf-8?q?Al=C3=AEce?= <alice@example.com> (at work)", "alice@example.com"),
        ("Alîce\r\n <alice@example.com>", "alice@example.com"),
        ("alice@example.com, bob@example.com", None),
        ("Friends: alice@example.com;", None),
        ("<alice@example.com> <bob@example.com>", None),
        ("alice@example.com (a (nested) comment)", None),
        ("alice@example.com bob@example.com", None),
        ("<@relay.example:alice@example.com>", None),
        ("alice@localhost", None),
        ("", None),
        ("a" * 3000 + "@example.com", None),
    ],
)
def test_a_sender_is_one_plain_address(text: str, sender: str | None) -> None:
    """What two readers could read differently is nobody."""
    assert header(f"From: {text}").sender == sender


def test_two_senders_are_none() -> None:
    """Whichever of them the mail server has looked at."""
    assert header("From: a@example.com", "From: a@example.com").sender is None
    assert header("Subject: x").sender is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<1@example.com>", "<1@example.com>"),
        ("<1@example.com> trailing", None),
        ("<a b>", None),
        ("<>", None),
        (f"<{'x' * 251}>", None),
    ],
)
def test_a_message_id_names_one_message(text: str, told: str | None) -> None:
    """Anything else is no name."""
    assert header(f"Message-ID: {text}").message_id == told
    assert header("Message-ID: <1@x>", "message-id: <2@x>").message_id is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Wed, 25 Nov 2026 10:00:00 +0000", datetime(2026, 11, 25, 10, tzinfo=UTC)),
        ("yesterday", None),
        ("Wed, 25 Nov 99999 10:00:00 +0000", None),
        ("x" * 200, None),
    ],
)
def test_a_date_is_a_date(text: str, told: datetime | None) -> None:
    """Or none."""
    assert header(f"Date: {text}").sent_at == told
    assert header("Subject: x").sent_at is None


@pytest.mark.parametrize(
    ("field", "automatic"),
    [
        ("Subject: x", False),
        ("Auto-Submitted: no", False),
        ("Auto-Submitted: auto-replied", True),
        ("Precedence: bulk", True),
        ("Precedence: first-class", False),
        ("List-Id: <x.example>", True),
        ("X-Auto-Response-Suppress: All", True),
        ("Content-Type: Multipart/Report; report-type=delivery-status", True),
        ("Return-Path: <>", True),
        ("Return-Path: <a@example.com>", False),
    ],
)
def test_machines_are_known(field: str, automatic: bool) -> None:  # noqa: FBT001
    """By the fields of RFC 3834 and RFC 3464, and by what mailing lists write."""
    assert header(field).automatic is automatic


def test_what_is_no_field_is_skipped() -> None:
    """A line without a colon, a colon without a name; fields after it count."""
    found = mail.read(b"no field\r\n: x\r\nmid dle: y\r\nSubject: a\r\n\tb\r\n\r\nBody: c")
    assert found.fields == (("subject", "a b"),)
    assert mail.read(b"\r\nbody").fields == ()
    assert mail.read(b"\r\nbody").end == 2
    assert mail.read(b"A: b").end == 4


def test_a_header_has_bounds() -> None:
    """In bytes, and in fields."""
    assert len(mail.read(b"A: b\r\n" * 5000 + b"\r\n").fields) == mail.MAX_FIELDS
    endless = mail.read(b"A: " + b"b" * 2 * mail.MAX_HEADER)
    assert endless.end == mail.MAX_HEADER


# ---------------------------------------------------------------- parts


def texts(content: bytes) -> list[str]:
    """All that could be read in a message's body."""
    found = mail.read(content)
    return list(mail_parts.texts(content, found))[len(found.fields) :]


def first(content: bytes) -> str:
    """Its first text."""
    return mail_parts.first_text(content, mail.read(content), 1000)


def part(kind: str, body: bytes, *more: str) -> bytes:
    """A part with its header."""
    return "\r\n".join([f"Content-Type: {kind}", *more, "", ""]).encode() + body + b"\r\n"


def several(*parts: bytes, end: bytes = b"--b--\r\n") -> bytes:
    """A message of several parts."""
    return (
        part("multipart/mixed; boundary=b", b"preamble")
        + b"".join(b"--b\r\n" + each for each in parts)
        + end
    )


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"Subject: x\r\n\r\nplain", ["plain"]),
        (several(part("text/plain", b"one"), b"\r\ntwo\r\n"), ["one\r\n", "two\r\n"]),
        (several(part("text/plain", b"one"), end=b""), ["one\r\n"]),
        (several(part("text/html", b"<p>a&amp;b</p>")), [" a&b \r\n"]),
        (
            several(
                part('multipart/mixed; boundary="c"', b"\r\n--c\r\n\r\ndeep\r\n--c--"), b"\r\nx\r\n"
            ),
            ["deep\r\n", "x\r\n"],
        ),
        # An inner boundary that is not closed is closed by the outer one.
        (
            several(part("multipart/mixed; boundary=c", b"\r\n--c\r\n\r\ndeep"), b"\r\nx\r\n"),
            ["deep\r\n", "x\r\n"],
        ),
        (several(part("message/rfc822", b"Subject: y\r\n\r\ninner")), ["inner\r\n"]),
        (
            several(
                part(
                    "text/plain; charset=utf-16",
                    base64.b64encode("hé".encode("utf-16")),
                    "Content-Transfer-Encoding: base64",
                )
            ),
            ["hé"],
        ),
        (
            several(
                part(
                    "text/plain; charset=UTF-8",
                    b"h=C3=A9=\r\n!",
                    "Content-Transfer-Encoding: quoted-printable",
                )
            ),
            ["hé!\r\n"],
        ),
        (several(part("image/png", b"aGk=", "Content-Transfer-Encoding: base64")), []),
        (several(part("application/json", b"{}")), ["{}\r\n"]),
        # A codec that unpacks is none, nor one that nobody knows.
        (several(part("text/plain; charset=zlib", b"x")), ["x\r\n"]),
        (several(part("text/plain; charset=iso-8859-99", b"x")), ["x\r\n"]),
        (part('multipart/mixed; boundary=""', b"x"), ["x\r\n"]),
        (part("multipart/mixed", b"x"), ["x\r\n"]),
        # One boundary twice: the inner container is opaque.
        (several(part("multipart/mixed; boundary=b", b"x")), []),
    ],
)
def test_texts_of_a_message(content: bytes, found: list[str]) -> None:
    """Whatever the encoding, the nesting, or the fault in it."""
    assert texts(content) == found


def test_the_end_of_base64_may_be_missing() -> None:
    """Then what is there counts."""
    for cut in range(4):
        raw = base64.b64encode(b"abcdef")[: 8 - cut]
        *_, told = texts(part("text/plain", raw, "Content-Transfer-Encoding: base64"))
        assert told == "abcdef"[: len(raw) * 6 // 8]


def test_quoted_printable_may_have_one_line() -> None:
    """The last piece of it has no end."""
    content = part("text/plain", b"", "Content-Transfer-Encoding: quoted-printable") + b"a=41"
    assert "".join(texts(content)).endswith("aA")


def test_fields_are_read_with_their_words_decoded() -> None:
    """In both encodings of RFC 2047."""
    found = header("Subject: =?utf-8?b?Q1ZD?= =?x?q?a=5Fb?= =?utf-8*de?Q?=C3=A9?=")
    (told,) = list(mail_parts.texts(b"", found))[:1]
    assert told == "subject: CVC a_b é"


def test_the_first_text_is_no_attachment() -> None:
    """And no other kind."""
    attached = part("text/plain", b"no", "Content-Disposition: attachment; filename=x")
    assert (
        first(several(attached, part("text/html", b"no"), part("text/plain", b"yes"))) == "yes\r\n"
    )
    assert first(several(attached)) == ""
    assert first(part("text/plain", b"")[:-2]) == ""


def hostile() -> Iterator[tuple[str, bytes]]:
    """Messages made to make a reader slow, deep or large."""
    size = 2 * 1024 * 1024
    start = b"From: a@example.com\r\n"
    mixed = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    yield (
        "nested",
        start
        + b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (each, each)
            for each in range(10_000)
        ),
    )
    yield "messages in messages", start + b"Content-Type: message/rfc822\r\n\r\n" * 10_000
    yield "empty parts", start + mixed + b"--b\r\n" * (size // 5)
    yield "other lines", start + mixed + b"--c\r\n" * (size // 5)
    yield "tags", start + b"Content-Type: text/html\r\n\r\n" + b"<" * size
    yield "folds", b"From:" + b"\r\n a" * 100_000
    yield "words", b"Subject: " + b"=?a?q?" * 100_000
    yield "parameters", b"Content-Type: text/plain" + b';a="' * 100_000
    yield "quotes", b"From: " + b'"\\' * 1000
    yield "comments", b"From: " + b"(" * 2000
    yield "digits", start + b"\r\n" + b"cvc : " * (size // 6)
    yield "spaces", start + b"\r\n" + b" \t*_" * (size // 4)


@pytest.mark.parametrize(
    ("name", "content"), [pytest.param(*each, id=each[0]) for each in hostile()]
)
def test_no_message_takes_long(name: str, content: bytes) -> None:
    """Linear in its size, whatever it nests."""
    began = time.process_time()
    found = mail.read(content)
    assert found.sender in (None, "a@example.com"), name
    assert judge(found, "mx.example") is Trust.UNKNOWN
    refuse_codes(mail_parts.texts(content, found))
    mail_parts.first_text(content, found, mail_form.LONGEST)
    assert time.process_time() - began < PATIENCE


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_pythons_own_messages(file: Path) -> None:
    """Each is read without a fault."""
    content = file.read_bytes()
    found = mail.read(content)
    assert isinstance("".join(mail_parts.texts(content, found)), str)
    _ = found.sender, found.message_id, found.sent_at, found.automatic


def test_pythons_own_messages_are_here() -> None:
    """So many came with this Python."""
    assert len(CORPUS) >= 47


# ---------------------------------------------------------------- codes

CODES = [
    "CVC: 123", "my cvv is 1234", "CVC\n123", "*CVV2:* 123", "Security code: 123", "PIN 1234",
    "security code on the card: 123", "security code (on the back): 1234", "verification value 123",
    "Prüfnummer: 123", "Kartenprüfnummer ist 123", "Sicherheitscode 123", "cryptogramme: 123",
    "code de sécurité : 123", "código de seguridad: 123", "cvc-123",
    "%B4242424242424242^CUSTOMER/A^35121010000000000?", ";4242424242424242=35121010000?",
]  # fmt: skip
INNOCENT = [
    "My card is 4242 4242 4242 4242, 12/2035", "CVC is on the back", "code 12345", "pin 123456",
    '<img src="cid:1234@example.com">', "see https://example.com/?cid=1234&x=1",
    "security code: 12",
    ";1111111111111111=35121010000?", "call 030 901820", "invoice 2026-1234", "opinion 1234",
]  # fmt: skip


@pytest.mark.parametrize("text", CODES)
def test_codes_are_found(text: str) -> None:
    """Named in the languages of customers, with whatever marks."""
    with pytest.raises(InvalidInput) as refused:
        refuse_codes(["", f"Hello, {text} thanks"])
    assert refused.value.code == "sensitive_authentication_data"
    assert "123" not in str(refused.value)


@pytest.mark.parametrize("text", INNOCENT)
def test_other_numbers_are_none(text: str) -> None:
    """Nor are card numbers: they are what a message is sealed for."""
    refuse_codes([text])


@pytest.mark.parametrize(
    "content",
    [
        b"Subject: =?utf-8?b?Q1ZDOiAxMjM=?=\r\n\r\n",
        several(
            part("text/plain", base64.b64encode(b"CVC: 123"), "Content-Transfer-Encoding: base64")
        ),
        several(part("text/plain", b"C=56C=3A 123", "Content-Transfer-Encoding: quoted-printable")),
        several(part("text/html", b"<b>CVC</b>&nbsp;<i>123</i>")),
        several(part("application/json", b'{"a": "cvc 123"}')),
        b"\r\n" + b"x" * (64 * 1024 - 5) + b" CVC: 123",
    ],
)
def test_codes_are_found_wherever_they_stand(content: bytes) -> None:
    """In a field, encoded, marked up, or across two windows."""
    with pytest.raises(InvalidInput):
        refuse_codes(mail_parts.texts(content, mail.read(content)))


# ---------------------------------------------------------------- form


def change(data_class: DataClass, value: object, **more: str) -> WrittenChange:
    """What is asked for."""
    return WrittenChange(
        data_class=data_class, value=value, token=more.get("token"), old=more.get("old")
    )


CARD = {"number": "4242 4242 4242 4242", "exp_month": 1, "exp_year": 2035}


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("Hello\n\nCHANGE : Telephone Number\nnew:  +49 30 1 \n",
         [change(DataClass.TELEPHONE, "+49 30 1")]),
        ("Change: e-mail\nNew: b@example.com\nOld: a@example.com",
         [change(DataClass.EMAIL_ADDRESS, "b@example.com", old="a@example.com")]),
        ("Change: phone\nNew: 1\nToken: tok_1", [change(DataClass.TELEPHONE, "1", token="tok_1")]),
        ("Change: card\nNew: 4242 4242 4242 4242\nExpires: 1/35",
         [change(DataClass.PAYMENT_CARD, CARD)]),
        ("Change: card\nNew: 4242 4242 4242 4242\nExpires: 01-2035\nName: A",
         [change(DataClass.PAYMENT_CARD, CARD | {"name": "A"})]),
        ("Change: card\nNew: 4242", [None]),
        ("Change: card\nNew: 4242\nExpires: 13/35", [None]),
        ("Change: phone", [None]),
        ("Change: address\nNew: somewhere else", [None]),
        ("Change: phone\nNew: 1\nNew: 2\nOld: 3", [None]),
        ("Change: phone\nNew: 1\nChange: name\nNew: A",
         [change(DataClass.TELEPHONE, "1"), change(DataClass.CONTACT_NAME, "A")]),
        ("New: 1", []),
        ("> Change: phone\n> New: 1", []),
        ("Please change my phone", []),
        ("-- \nChange: phone\nNew: 1", []),
    ],
)  # fmt: skip
def test_a_form_is_read(text: str, changes: list[WrittenChange | None]) -> None:
    """What is not plain is left to a person."""
    assert mail_form.read(text) == changes


def test_a_form_has_an_end() -> None:
    """More than anybody asks for at once is left to a person."""
    found = mail_form.read("Change: name\nNew: A\n" * 50)
    assert len(found) == mail_form.MAX_CHANGES + 1
    assert found[-1] is None


# ---------------------------------------------------------------- trust

MX = "mx.company.example"


@pytest.mark.parametrize(
    ("results", "trust"),
    [
        (f"{MX}; dmarc=pass header.from=example.com", Trust.ALIGNED),
        (f"{MX} 1; DMARC=Pass (p=none) header.from=example.com", Trust.ALIGNED),
        (f"{MX}; dmarc=fail header.from=example.com; dkim=pass header.d=example.com", Trust.FAILED),
        (f"{MX}; dkim=pass header.d=example.com", Trust.ALIGNED),
        (f"{MX}; dkim=pass header.i=@example.com", Trust.ALIGNED),
        (f"{MX}; spf=pass smtp.mailfrom=alice@example.com", Trust.ALIGNED),
        (f"{MX}; dkim=pass header.d=sender.example; spf=fail", Trust.UNALIGNED),
        (f"{MX}; dmarc=pass", Trust.UNALIGNED),
        (f"{MX}; spf=softfail smtp.mailfrom=example.com; dkim=none", Trust.FAILED),
        (f"{MX}; spf=neutral; dkim=temperror; iprev=pass", Trust.UNKNOWN),
        (f"{MX}; none", Trust.UNKNOWN),
        ("other.example; dmarc=pass header.from=example.com", Trust.UNKNOWN),
        ("; dmarc=pass header.from=example.com", Trust.UNKNOWN),
        # What a sender may choose says nothing.
        (f'{MX}; dkim=fail reason="; dmarc=pass header.from=example.com"', Trust.FAILED),
        (f"{MX}; spf=fail (; dmarc=pass header.from=example.com)", Trust.FAILED),
        (f"{MX}; spf=pass smtp.mailfrom=a@example.com@evil.example", Trust.UNALIGNED),
        (f"{MX}; dkim=pass header.d=notexample.com", Trust.UNALIGNED),
        (f"{MX}; " + "x" * 9000, Trust.UNKNOWN),
    ],
)
def test_trust_is_what_the_companys_server_says(results: str, trust: Trust) -> None:
    """And nobody else."""
    found = header(f"Authentication-Results: {results}", "From: alice@example.com")
    assert judge(found, MX) is trust
    assert judge(found, None) is Trust.UNKNOWN


def test_only_the_topmost_results_count() -> None:
    """What stands below may have come with the message."""
    good = f"Authentication-Results: {MX}; dmarc=pass header.from=example.com"
    found = header("Authentication-Results: other; none", good, "From: alice@example.com")
    assert judge(found, MX) is Trust.UNKNOWN
    assert judge(header("From: alice@example.com"), MX) is Trust.UNKNOWN
    assert judge(header(good, "From: a@example.com, b@example.com"), MX) is Trust.UNKNOWN


@pytest.mark.parametrize(
    ("signer", "domain", "holds"),
    [
        ("Example.com.", "example.com", True),
        ("example.com", "mail.example.com", True),
        ("mail.example.com", "example.com", False),
        ("com", "example.com", False),
        ("", "example.com", False),
    ],
)
def test_who_stands_for_a_domain(signer: str, domain: str, holds: bool) -> None:  # noqa: FBT001
    """The same, or one above it that somebody can own."""
    assert aligned(signer, domain) is holds
    assert domain_of(f"a@{domain}") == domain
    assert domain_of("nobody") is None
