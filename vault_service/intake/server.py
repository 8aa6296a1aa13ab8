"""Listens until it is told to stop; messages that are on their way in then are finished."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import signal
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from vault_service.errors import SettingsError
from vault_service.intake import protocol
from vault_service.intake.protocol import Handler, LmtpProtocol, Room, SmtpProtocol
from vault_service.services.intake import Incoming, Taken

# Messages at work at once; more would wait for the same database and the same Vault.
WORKERS: Final = 4
_STOP_SECONDS: Final = 30.0
_ADDRESS: Final = re.compile(r"(\[[0-9a-f:]+\]|[0-9.]+|localhost):([0-9]{1,5})", re.ASCII)
Stopping = Callable[[], object]

_log = structlog.get_logger("vault_service.intake")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where to listen, and for what: a Unix socket, or a port of a loopback address."""

    lmtp: bool
    socket: Path | None = None
    host: str = ""
    port: int = 0


def parse_listen(text: str, *, lmtp: bool) -> Listen:
    """`127.0.0.1:2424`, `[::1]:2424`, `localhost:2424`, or the path of a Unix socket.

    Raises:
        SettingsError: it is none of these, or not of this host alone: what is spoken here is not
            encrypted, and takes messages from whoever connects.
    """
    if text.startswith("/"):
        return Listen(lmtp=lmtp, socket=Path(text))
    match = _ADDRESS.fullmatch(text)
    host = match[1].strip("[]") if match else ""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if match is None or not loopback or int(match[2]) > 65535:
        raise SettingsError(
            "--lmtp and --smtp take a loopback address with a port, or a Unix socket's path",
            hint="let a mail server on this host deliver here",
        )
    return Listen(lmtp=lmtp, host=host, port=int(match[2]))


def serve(
    listens: Sequence[Listen],
    *,
    take: Callable[[Incoming], Taken],
    mailboxes: frozenset[str],
    hostname: str,
    announce: Callable[[list[int], Stopping], None],
    room: Room | None = None,
    signals: bool = True,
) -> None:
    """Serve until SIGTERM or SIGINT, or until the function that `announce` is given is called.

    Args:
        listens: where.
        take: the use case.
        mailboxes: addresses for which messages are taken.
        hostname: how this host greets.
        announce: told the ports once all are open, and how to stop, from any thread.
        room: how much may be held at once.
        signals: whether signals stop it; only in a process's first thread.

    Raises:
        SettingsError: an address is taken.
    """
    protocol.quiet()
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="intake") as pool:
        handler = Handler(take=take, mailboxes=mailboxes, pool=pool, room=room or Room())
        asyncio.run(_serve(listens, handler, hostname, announce, signals=signals))


async def _serve(
    listens: Sequence[Listen],
    handler: Handler,
    hostname: str,
    announce: Callable[[list[int], Stopping], None],
    *,
    signals: bool,
) -> None:
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT) if signals else ():
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as opened:
        ports: list[int] = []
        for each in listens:
            ports += await _open(each, handler, hostname, opened)
        announce(ports, partial(loop.call_soon_threadsafe, stopping.set))
        await stopping.wait()
    try:
        await asyncio.wait_for(handler.idle.wait(), _STOP_SECONDS)
    except TimeoutError:
        _log.warning("messages left to their sender")


async def _open(
    listen: Listen, handler: Handler, hostname: str, opened: AsyncExitStack
) -> list[int]:
    """Listen until `opened` is closed; the port, if it is one."""
    loop = asyncio.get_running_loop()
    kind = LmtpProtocol if listen.lmtp else SmtpProtocol

    def begin() -> SmtpProtocol:
        return kind(handler, hostname=hostname, loop=loop)

    try:
        if listen.socket is None:
            server = await loop.create_server(begin, listen.host, listen.port)
            opened.callback(server.close)
            return [int(each.getsockname()[1]) for each in server.sockets]
        # What a killed process left; never a file of another kind.
        if listen.socket.exists() and stat.S_ISSOCK(listen.socket.stat().st_mode):
            listen.socket.unlink()
        server = await loop.create_unix_server(begin, str(listen.socket))
    except OSError as error:
        raise SettingsError(
            "an address of --lmtp or --smtp is taken, or not of this host"
        ) from error
    opened.callback(listen.socket.unlink, missing_ok=True)
    opened.callback(server.close)
    return []
