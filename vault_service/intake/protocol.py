"""LMTP (RFC 2033) and SMTP (RFC 5321) for one mail server beside this process.

The library speaks the protocol; this module receives the message itself, because a message must be
kept byte for byte and may not fill the memory. It stands on a loopback address or a Unix socket: so
it takes no TLS, no login, and nothing but messages for the company's mailboxes. What comes in is
held in memory alone, never in a file, and all of it together within `Room`.

A line ends with CR and LF. A message in which one of them stands alone is refused: mail servers
differ in what they take for its end, and a second message could be smuggled in behind the first.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Final

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session, syntax

from vault_service.intake.replies import BARE, FULL, LATER, TOO_LARGE, Reply, deliver
from vault_service.services.communications import MAX_COMMUNICATION
from vault_service.services.intake import Incoming, Taken

# Bytes of all messages that are on their way in; two of the largest, and some.
MAX_HELD: Final = 56 * 1024 * 1024
MAX_CONNECTIONS: Final = 50
# RFC 5321, 4.5.3.1.8: at least so many must be taken.
MAX_RECIPIENTS: Final = 100
# RFC 5321, 4.5.3.2 has clients wait at least 5 minutes for a command, 10 for the end of a message.
COMMAND_SECONDS: Final = 300.0
MESSAGE_SECONDS: Final = 600.0
# A piece of a line that is longer; twice as much waits in the connection before it is slowed down.
_PIECE: Final = 64 * 1024
# What a path and its parameters take: RFC 5321, 4.5.3.1.4, and SIZE, BODY, SMTPUTF8.
_COMMAND: Final = 1024


class Room:
    """How many bytes may be held at once. Used by the one thread of the event loop."""

    def __init__(self, size: int = MAX_HELD) -> None:
        self._free = size

    def take(self, count: int) -> bool:
        """Whether so many more may be held; if so, they count from now on."""
        if count > self._free:
            return False
        self._free -= count
        return True

    def give(self, count: int) -> None:
        """Count them no more."""
        self._free += count


class Handler:
    """What is answered to commands.

    Args:
        take: the use case.
        mailboxes: addresses for which messages are taken, in lower case.
        pool: where the use case runs, which waits for database and Vault.
        room: what may be held at once.
    """

    def __init__(
        self,
        *,
        take: Callable[[Incoming], Taken],
        mailboxes: frozenset[str],
        pool: Executor,
        room: Room,
    ) -> None:
        self._take = take
        self._mailboxes = mailboxes
        self._pool = pool
        self.room = room
        self.connections = 0
        # Messages that are being read or taken in; set while there are none.
        self._busy = 0
        self.idle = asyncio.Event()
        self.idle.set()

    async def handle_EHLO(  # noqa: N802 -- the library's name
        self, _server: SMTP, session: Session, _envelope: Envelope, name: str, replies: list[str]
    ) -> list[str]:
        """Say what more is spoken."""
        session.host_name = name
        return [*replies[:-1], "250-PIPELINING", "250-ENHANCEDSTATUSCODES", replies[-1]]

    async def handle_RCPT(  # noqa: N802
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Take messages for the company's mailboxes, and no others."""
        if address.lower() not in self._mailboxes:
            return "550 5.1.1 there is no such mailbox here"
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return "452 4.5.3 too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_exception(self, _error: Exception) -> str:
        """Say nothing of a fault of ours; the other side tries again."""
        return LATER.line

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While a message is on its way in."""
        self._busy += 1
        self.idle.clear()
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self.idle.set()

    async def received(self, envelope: Envelope, content: bytearray) -> Reply:
        """Have a whole message taken in."""
        path = envelope.mail_from or ""
        incoming = Incoming(
            content=content,
            recipients=tuple(envelope.rcpt_tos),
            path="" if path == "<>" else path,
        )
        work = asyncio.get_running_loop().run_in_executor(self._pool, deliver, self._take, incoming)
        # Whoever hangs up ends this wait, and not the work, which goes on with the content.
        size = len(content)
        work.add_done_callback(lambda _: self.room.give(size))
        return await asyncio.shield(work)


class SmtpProtocol(SMTP):
    """SMTP: one reply for a message."""

    line_length_limit = _PIECE
    replies_for_each = False

    def __init__(self, handler: Handler, *, hostname: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            handler,
            data_size_limit=MAX_COMMUNICATION,
            enable_SMTPUTF8=True,
            hostname=hostname,
            ident="vault-service intake",
            timeout=COMMAND_SECONDS,
            auth_exclude_mechanism=("LOGIN", "PLAIN"),
            loop=loop,
        )
        self._handler = handler
        # The library counts these up in its class, for all connections.
        self.command_size_limits = defaultdict(lambda: _COMMAND)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless too many others have."""
        self._handler.connections += 1
        super().connection_made(transport)
        if self._handler.connections > MAX_CONNECTIONS:
            self._writer.write(b"421 4.3.2 too many connections\r\n")
            self._writer.close()

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        self._handler.connections -= 1
        super().connection_lost(error)

    @syntax("DATA")
    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802 -- the library's name
        """Receive a message, and answer when it is here for good."""
        if await self.check_helo_needed():
            return
        if arg:
            await self.push("501 5.5.4 Syntax: DATA")
            return
        envelope = self.envelope
        if envelope is None or not envelope.rcpt_tos:
            await self.push("503 5.5.1 Error: need RCPT command")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        self._reset_timeout(MESSAGE_SECONDS)
        with self._handler.at_work():
            reply = await self._message(envelope)
            self.envelope = self._create_envelope()
            for _ in range(len(envelope.rcpt_tos) if self.replies_for_each else 1):
                await self.push(reply.line)

    async def _message(self, envelope: Envelope) -> Reply:
        content = bytearray()
        try:
            problem = await self._receive(content)
        except BaseException:
            self._forget(content)
            raise
        return problem or await self._handler.received(envelope, content)

    async def _receive(self, content: bytearray) -> Reply | None:
        """Read a message to its end; why it is not taken, or None.

        `content` holds it then, and has been given room for. What is not taken is read all the
        same, and forgotten piece by piece, because the reply may only come after the end.
        """
        problem: Reply | None = None
        begins = True
        while True:
            try:
                line = await self._reader.readuntil(b"\r\n")
                ends = True
            except asyncio.LimitOverrunError as error:
                line = await self._reader.readexactly(error.consumed)
                ends = False
            if begins and line == b".\r\n":
                return problem
            if begins and line.startswith(b"."):
                line = line[1:]
            begins = ends
            if problem is None:
                problem = self._problem(content, line, ends=ends)
            if problem is None:
                content += line
            else:
                self._forget(content)

    def _forget(self, content: bytearray) -> None:
        self._handler.room.give(len(content))
        content.clear()

    def _problem(self, content: bytearray, line: bytes, *, ends: bool) -> Reply | None:
        text = line[:-2] if ends else line
        if b"\n" in text or b"\r" in text:
            return BARE
        if len(content) + len(line) > MAX_COMMUNICATION:
            return TOO_LARGE
        return None if self._handler.room.take(len(line)) else FULL


class LmtpProtocol(SmtpProtocol, LMTP):
    """LMTP: a reply for each recipient."""

    replies_for_each = True


def quiet() -> None:
    """Have the library log nothing: its lines hold addresses."""
    logging.getLogger("mail.log").disabled = True
