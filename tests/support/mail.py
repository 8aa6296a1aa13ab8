"""Messages of customers, a mail server that delivers them, and a relay that takes the answers."""

from __future__ import annotations

import smtplib
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from keys import chunked
from keys.data_keys import WrappedKey
from keys.envelope import Context
from keys.secret import Secret
from tests.support.whole import Stage, name, present
from vault_service.intake import server
from vault_service.intake.protocol import Room
from vault_service.services.intake import Intake
from vault_service.services.tokenization import TokenizeItem

MAILBOX = "changes@company.example"


def letter(sender: str, text: str = "Hello", *fields: str, message_id: str | None = "") -> bytes:
    """A message as it is delivered; with a Message-ID of its own, unless None."""
    named = f"<{name()}@example.com>" if message_id == "" else message_id
    head = [f"From: {sender}", f"To: {MAILBOX}", f"Subject: {name()}", *fields]
    if named is not None:
        head.append(f"Message-ID: {named}")
    return "\r\n".join([*head, "", *text.splitlines(), ""]).encode()


def known(stage: Stage, **classes: object) -> tuple[str, str, dict[str, str]]:
    """A customer with an e-mail address: (customer, address, token by class)."""
    customer, address = stage.customer(), f"{name()}@example.com"
    found: dict[str, str] = {}
    for data_class, value in {"email_address": address, **classes}.items():
        (view,) = stage.tokenize(
            TokenizeItem(data_class=data_class, customer=customer, value=value)
        )
        found[data_class] = view.id
    return customer, address, found


def holding(stage: Stage, address: str) -> str:
    """One more customer with this address."""
    item = TokenizeItem(data_class="email_address", customer=stage.customer(), value=address)
    return stage.tokenize(item)[0].customer


def original(stage: Stage, token: str) -> bytes:
    """What a communication was, opened with the right that the reveal process has."""
    ((customer, header, text, kek),) = stage.sql(
        "SELECT customer, envelope, wrapped_key, kek FROM records WHERE token = %s", [token]
    )
    chunks = stage.sql(
        "SELECT sealed FROM communication_chunks WHERE token = %s ORDER BY number", [token]
    )
    (key,) = stage.reveals._keys._unwrapping.unwrap([WrappedKey.parse(kek, text)])
    assert isinstance(key, Secret)
    context = Context(token=token, customer=customer, data_class="communication", record_version=1)
    sealed = [bytes(header), *(bytes(chunk) for (chunk,) in chunks)]
    return b"".join(chunked.open_(key, sealed, context))


@contextmanager
def delivering(
    use: Intake, *, lmtp: bool = True, path: Path | None = None, room: Room | None = None
) -> Iterator[int]:
    """A listening intake in a thread of its own; its port."""
    opened, ports = threading.Event(), [0]
    told: list[server.Stopping] = []

    def announce(found: list[int], stopping: server.Stopping) -> None:
        ports[:1] = found or [0]
        told.append(stopping)
        opened.set()

    listen = server.Listen(lmtp=lmtp, socket=path, host="127.0.0.1")
    thread = threading.Thread(
        target=server.serve,
        args=([listen],),
        kwargs={
            "take": use.take,
            "mailboxes": frozenset((MAILBOX,)),
            "hostname": "vault.example",
            "announce": announce,
            "room": room,
            "signals": False,
        },
    )
    thread.start()
    assert opened.wait(10)
    try:
        yield ports[0]
    finally:
        told[0]()
        thread.join(30)
        assert not thread.is_alive()


def lmtp(port: int) -> smtplib.LMTP:
    """A mail server that delivers."""
    link = smtplib.LMTP("127.0.0.1", port, timeout=60)
    link.ehlo_or_helo_if_needed()
    return link


def code(link: smtplib.SMTP, content: bytes, *, sender: str = "a@example.com") -> int:
    """Deliver a message just as it is; what was answered to its end."""
    link.ehlo_or_helo_if_needed()
    assert link.mail(sender)[0] == 250
    assert link.rcpt(MAILBOX)[0] == 250
    return link.data(content)[0]


def use(stage: Stage) -> Intake:
    """The use case."""
    return present(stage.services.intake)


@dataclass(slots=True)
class Relay:
    """A mail server that takes answers. `code` is what it says to a message."""

    code: int = 250
    messages: list[bytes] = field(default_factory=list)
    port: int = 0

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Its URL, while it listens."""
        relay = self

        class Talk(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 relay\r\n")
                while line := self.rfile.readline():
                    word = line[:4].upper()
                    if word == b"DATA":
                        self.wfile.write(b"354 go\r\n")
                        body = b""
                        while (more := self.rfile.readline()) != b".\r\n":
                            body += more
                        relay.messages.append(body)
                    if word == b"MAIL":
                        relay.messages.append(line)
                    answer = relay.code if word == b"RCPT" else 221 if word == b"QUIT" else 250
                    self.wfile.write(f"{answer} said\r\n".encode())
                    if word == b"QUIT":
                        return

        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk) as listener:
            thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield f"smtp://127.0.0.1:{listener.server_address[1]}"
            finally:
                listener.shutdown()
                thread.join()
