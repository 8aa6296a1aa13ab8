"""A real delivery by LMTP and SMTP: each message kept as it is, or refused with the right code."""

from __future__ import annotations

import os
import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faults import rebuilt
from tests.support.hostile import CORPUS, HOSTILE, lines
from tests.support.mail import MAILBOX, code, delivering, known, letter, lmtp, original, use
from tests.support.whole import Stage, name, refusal
from vault_service.errors import SettingsError, Unavailable
from vault_service.intake import server
from vault_service.intake.maildir import Maildir
from vault_service.intake.protocol import MAX_RECIPIENTS, Room
from vault_service.services.communications import MAX_COMMUNICATION
from vault_service.services.intake import Incoming, Intake, Taken
from vault_service.storage import engine as engines
from vault_service.storage.unit_of_work import SqlUnitOfWork


class Heard:
    """An intake, and what came of each message."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.taken: list[Taken] = []
        self.problem: Exception | None = None

    def take(self, incoming: Incoming) -> Taken:
        """Take a message in."""
        if self.problem is not None:
            raise self.problem
        taken = self.intake.take(incoming)
        self.taken.append(taken)
        return taken


@pytest.fixture(scope="module")
def heard(stage: Stage) -> Heard:
    """The intake of this module."""
    return Heard(use(stage))


@pytest.fixture(scope="module")
def port(heard: Heard) -> Iterator[int]:
    """Where it speaks LMTP."""
    with delivering(heard) as port:  # type: ignore[arg-type]
        yield port


@pytest.fixture
def link(port: int) -> Iterator[smtplib.LMTP]:
    """A mail server that delivers."""
    with lmtp(port) as link:
        yield link


def test_pythons_own_messages_are_kept_byte_for_byte(
    stage: Stage, heard: Heard, link: smtplib.LMTP
) -> None:
    """Each, whatever is wrong with it; and delivered again, it is the one that was there."""
    assert len(CORPUS) >= 47
    for file in CORPUS:
        content = lines(file.read_bytes())
        assert code(link, content) == 250, file.name
        first = heard.taken[-1]
        assert original(stage, first.reference) == content, file.name
        assert code(link, content) == 250
        assert (heard.taken[-1].reference, heard.taken[-1].repeated) == (first.reference, True)


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_messages_are_kept(
    stage: Stage, heard: Heard, link: smtplib.LMTP, kind: str
) -> None:
    """Byte for byte: they are evidence, and nobody unpacks them."""
    content = f"X-Test: {name()}\r\n".encode() * (kind != "nothing") + HOSTILE[kind]
    assert code(link, content) == 250
    assert original(stage, heard.taken[-1].reference) == content


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"From: a@example.com\r\n\r\nCVC: 123\r\n", 554),
        (b"a: b\r\n\r\nx\n.\r\nMAIL FROM:<evil@example.com>\r\n", 554),
        (b"a: b\r\n\r\nx\r.\r\n", 554),
        (b"a: b\r\n\r\n" + b"y" * 100_000 + b"\n.\r\n", 554),
    ],
)
def test_what_is_refused(link: smtplib.LMTP, heard: Heard, content: bytes, answer: int) -> None:
    """For good; the connection goes on."""
    count = len(heard.taken)
    link.mail("a@example.com")
    link.rcpt(MAILBOX)
    link.putcmd("data")
    assert link.getreply()[0] == 354
    link.send(content + b".\r\n")  # just as it is: smtplib would mend the ends of lines
    assert link.getreply()[0] == answer
    assert len(heard.taken) == count
    assert code(link, letter("a@example.com")) == 250


def test_too_large_is_552(link: smtplib.LMTP, heard: Heard) -> None:
    """By what the other side announces, and by what it sends."""
    count = len(heard.taken)
    assert link.esmtp_features["size"] == str(MAX_COMMUNICATION)
    assert link.mail("a@example.com", [f"size={MAX_COMMUNICATION + 1}"])[0] == 552
    assert code(link, b"x" * 76_000 + b"\r\n" + (b"y" * 998 + b"\r\n") * 27_000) == 552
    assert len(heard.taken) == count
    assert code(link, letter("a@example.com")) == 250


def test_what_does_not_fit_beside_others_comes_later(heard: Heard) -> None:
    """452, and what was held is given back."""
    room = Room(10_000)
    with delivering(heard, room=room) as port, lmtp(port) as link:  # type: ignore[arg-type]
        for _ in range(3):
            assert code(link, letter("a@example.com", "x" * 20_000)) == 452
            assert code(link, letter("a@example.com", "x" * 5_000)) == 250
        assert room.take(10_000)


@pytest.mark.parametrize("problem", [Unavailable("gone"), RuntimeError("a fault of ours")])
def test_what_fails_is_451(heard: Heard, link: smtplib.LMTP, problem: Exception) -> None:
    """So that the sender's server keeps the message."""
    heard.problem = problem
    try:
        content = letter("a@example.com")
        assert code(link, content) == 451
    finally:
        heard.problem = None
    assert code(link, content) == 250
    assert not heard.taken[-1].repeated


def test_a_database_that_is_away_has_the_sender_keep_it(stage: Stage) -> None:
    """451 to a known sender, a stranger and nobody; once it is back each is taken, and once."""
    away = SqlUnitOfWork(
        engines.create("postgresql://x@127.0.0.1:1/x", application_name="test", pool_size=1)
    )
    real = use(stage)
    cut_off = rebuilt(
        real,
        uow=away,
        communications=rebuilt(real._communications, uow=away),
        modifications=rebuilt(real._modifications, uow=away, fingerprints=real._fingerprints),
    )
    _, address, _ = known(stage)
    messages = [letter(sender) for sender in (address, f"{name()}@example.com", "nobody")]
    with delivering(cut_off) as port, lmtp(port) as link:
        assert [code(link, each) for each in messages] == [451, 451, 451]
    away.close()
    back = Heard(real)
    with delivering(back) as port, lmtp(port) as link:  # type: ignore[arg-type]
        assert [code(link, each) for each in messages * 2] == [250] * 6
    assert [each.repeated for each in back.taken] == [False] * 3 + [True] * 3


def test_only_own_mailboxes(link: smtplib.LMTP) -> None:
    """No relay for anybody, and so many recipients at most."""
    link.mail("a@example.com")
    assert link.rcpt("somebody@elsewhere.example")[0] == 550
    for _ in range(MAX_RECIPIENTS):
        assert link.rcpt(MAILBOX.upper())[0] == 250
    assert link.rcpt(MAILBOX)[0] == 452


def test_lmtp_answers_for_each_recipient(link: smtplib.LMTP, heard: Heard) -> None:
    """RFC 2033, 4.2; and it is one message."""
    count = len(heard.taken)
    link.mail("<>")
    link.rcpt(MAILBOX)
    link.rcpt(MAILBOX)
    assert link.data(letter("a@example.com"))[0] == 250
    assert link.getreply()[0] == 250
    assert len(heard.taken) == count + 1


def test_commands_in_a_wrong_order(port: int) -> None:
    """Are told so."""
    link = smtplib.LMTP("127.0.0.1", port, timeout=60)
    assert link.docmd("data")[0] == 503
    link.ehlo()
    assert link.docmd("data", "now")[0] == 501
    assert link.docmd("data")[0] == 503
    assert link.docmd("auth", "plain eA==")[0] >= 500
    assert "pipelining" in link.esmtp_features
    assert link.docmd("mail", "FROM:" + "<" + "(" * 900)[0] in (451, 500, 553)
    link.close()


def test_commands_may_come_at_once(port: int, heard: Heard) -> None:
    """RFC 2920."""
    count = len(heard.taken)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
        body = letter("a@example.com")
        talk = b"LHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<%s>\r\nDATA\r\n" % MAILBOX.encode()
        link.sendall(talk + body + b".\r\nQUIT\r\n")
        told = b""
        while piece := link.recv(4096):
            told += piece
    assert told.rstrip().endswith(b"221 Bye")
    assert len(heard.taken) == count + 1


def test_who_hangs_up_in_a_message_has_delivered_none(port: int, heard: Heard) -> None:
    """Nothing of it is kept."""
    count = len(heard.taken)
    with lmtp(port) as link:
        link.mail("a@example.com")
        link.rcpt(MAILBOX)
        link.putcmd("data")
        link.getreply()
        link.send(b"From: a@example.com\r\n\r\nhalf")
        link.sock.shutdown(socket.SHUT_RDWR)
        link.close()
    with lmtp(port) as link:
        assert code(link, letter("a@example.com")) == 250
    assert len(heard.taken) == count + 1


def test_too_many_connections(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Are told to come later."""
    monkeypatch.setattr("vault_service.intake.protocol.MAX_CONNECTIONS", 1)
    with delivering(heard) as port, lmtp(port) as link:  # type: ignore[arg-type]
        with socket.create_connection(("127.0.0.1", port), timeout=30) as other:
            told = b""
            while piece := other.recv(4096):
                told += piece
        assert b"421 4.3.2" in told
        assert code(link, letter("a@example.com")) == 250


def test_smtp_and_a_unix_socket(heard: Heard) -> None:
    """SMTP has one answer for all; a socket that a killed process left is replaced."""
    with delivering(heard, lmtp=False) as port, smtplib.SMTP("127.0.0.1", port) as link:  # type: ignore[arg-type]
        link.sendmail("a@example.com", [MAILBOX, MAILBOX], letter("a@example.com"))
        assert link.noop()[0] == 250
    path = Path(f"/tmp/intake-{os.getpid()}.sock")  # noqa: S108 -- a socket's path must be short
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with delivering(heard, path=path), smtplib.LMTP(str(path)) as link:  # type: ignore[arg-type]
        assert code(link, letter("a@example.com")) == 250
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("127.0.0.1:2424", True),
        ("[::1]:2424", True),
        ("localhost:2424", True),
        ("/run/intake.sock", True),
        ("0.0.0.0:2424", False),
        ("192.0.2.1:25", False),
        ("127.0.0.1:99999", False),
        ("127.0.0.1", False),
        ("1.2:25", False),
    ],
)
def test_it_listens_on_this_host_alone(text: str, good: bool) -> None:  # noqa: FBT001
    """Because what is spoken is not encrypted, and takes messages from whoever connects."""
    if good:
        assert server.parse_listen(text, lmtp=True).lmtp
    else:
        refusal(lambda: server.parse_listen(text, lmtp=False), SettingsError)


def test_an_address_that_is_taken_is_told(heard: Heard, port: int) -> None:
    """At once."""
    listen = server.Listen(lmtp=True, host="127.0.0.1", port=port)
    with pytest.raises(SettingsError):
        server.serve(
            [listen],
            take=heard.take,
            mailboxes=frozenset(),
            hostname="x",
            announce=lambda *_: None,
            signals=False,
        )


# ---------------------------------------------------------------- maildir


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Maildir."""
    for name_ in ("new", "cur", "tmp"):
        (tmp_path / name_).mkdir()
    return tmp_path


def test_a_maildir_is_emptied(stage: Stage, heard: Heard, folder: Path) -> None:
    """Each message once; what is refused is flagged, and what fails stays."""
    mails = Maildir(folder, heard.take, (MAILBOX,))
    content = letter("a@example.com").replace(b"\r\n", b"\n")
    (folder / "new/1.x").write_bytes(content)
    (folder / "new/2.x").write_bytes(b"\n\nCVC: 123\n")
    (folder / "new/3.x").write_bytes(bytes(MAX_COMMUNICATION + 1))
    (folder / "new/.hidden").write_bytes(b"x")
    (folder / "new/4.x").symlink_to("/etc/hostname")
    os.mkfifo(folder / "new/5.x")
    assert mails.round(lambda: False) == 3
    assert original(stage, heard.taken[-1].reference) == content
    assert sorted(each.name for each in (folder / "cur").iterdir()) == [
        "1.x:2,S",
        "2.x:2,F",
        "3.x:2,F",
    ]
    heard.problem = Unavailable("gone")
    try:
        (folder / "new/6.x").write_bytes(content)
        assert mails.round(lambda: False) == 0
    finally:
        heard.problem = None
    assert mails.round(lambda: True) == 0
    assert mails.round(lambda: False) == 1
    assert heard.taken[-1].repeated


def test_a_return_path_is_read_from_the_file(heard: Heard, folder: Path) -> None:
    """As the mail server has written it on top."""
    seen: list[str | None] = []

    class Seen(Heard):
        def take(self, incoming: Incoming) -> Taken:
            seen.append(incoming.path)
            return super().take(incoming)

    for number, text in enumerate((b"Return-Path: <>\n", b"Return-Path: <a@b.example>\n", b"")):
        (folder / f"new/{number}").write_bytes(text + letter("a@example.com"))
    assert Maildir(folder, Seen(heard.intake).take, ()).round(lambda: False) == 3
    assert seen == ["", "a@b.example", None]


def test_no_maildir_is_no_maildir(heard: Heard, tmp_path: Path) -> None:
    """At once."""
    refusal(lambda: Maildir(tmp_path, heard.take, ()), SettingsError)
