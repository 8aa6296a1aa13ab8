"""One connection pool to one Vault address. Bytes out, status and bytes in; no meaning.

What it may not do: follow a redirect, read proxies or netrc or anything else from the
environment, compress, log, or put a byte of a request or answer into an exception.
"""

from __future__ import annotations

import io
import select
import socket
import ssl
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from weakref import finalize

from keys.errors import Outage, VaultUnavailable
from keys.retry import CONNECT_TIMEOUT, READ_TIMEOUT, Deadline

MAX_ANSWER = 4 * 1024 * 1024  # 200 wrapped keys are 30 KB; more than this is not Vault's answer
_CHUNK = 64 * 1024
_REDIRECTS = range(300, 400)
_FIRST_FINAL = 200
_LEAST = 0.05  # seconds; what is due this very moment is given a chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Status and body of an answer. Its repr leaves the body out, which may hold keys."""

    status: int
    body: bytes

    def __repr__(self) -> str:
        return f"Reply(status={self.status})"


class NeverSent(VaultUnavailable):
    """No connection came about, so whatever was to be done was certainly not done."""


class Link:
    """A thread-safe pool of connections to `address`.

    The standard library's client by itself: it knows no proxies, netrc, redirects or retries that
    would have to be switched off, and a request costs a third of what it does through urllib3.

    Args:
        address: `http://host:port` or `https://host:port`.
        ca_file: certificates to trust instead of the system's.
        pool_size: connections kept; as many as the worker has threads (fact 13: hvac keeps 10).
    """

    def __init__(self, address: str, *, ca_file: Path | None, pool_size: int) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError("a vault address looks like https://host:port")
        self._context = _tls(ca_file) if parts.scheme == "https" else None
        self._host = parts.hostname
        self._port = parts.port or (80 if self._context is None else 443)
        self._size = pool_size
        # The last one used first, so that those beyond the usual need grow old and are dropped.
        self._idle: list[HTTPConnection] = []
        finalize(self, _close_all, self._idle)
        self._closed = False

    def exchange(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None, until: Deadline
    ) -> Reply:
        """Send one request and return the whole answer, whatever its status below 300 or from 400.

        Raises:
            VaultUnavailable: no answer in time, a broken one, a redirect, or one too large.
        """
        connection = self._borrow(until)
        # Every byte of the answer is waited for under the deadline, those of its head too.
        connection.response_class = partial(_Answer, until=until)  # type: ignore[assignment]
        try:
            connection.sock.settimeout(_patience(until))
            connection.request(method, path, body, headers)
            with connection.getresponse() as response:
                reply = Reply(status=response.status, body=_whole(response))
        except VaultUnavailable as unreadable:
            failure: Exception = unreadable
        except TimeoutError:
            failure = VaultUnavailable("vault did not answer in time", reason=Outage.SLOW)
        except (OSError, HTTPException):
            failure = VaultUnavailable("the connection to vault broke", reason=Outage.UNREACHABLE)
        except ValueError:
            # The library quotes what it refuses.
            failure = ValueError("a path or a header that cannot be sent")
        else:
            # Only now: as long as the answer is open nobody else can use its connection.
            self._give_back(connection)
            return reply
        connection.close()
        # Raised out here so that nothing of the library's exception is chained to ours.
        raise failure

    def close(self) -> None:
        """Close the idle connections; those at work are closed when they are done."""
        self._closed = True
        _close_all(self._idle)

    def _borrow(self, until: Deadline) -> HTTPConnection:
        while not self._closed:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._connect(until)
            if _stands(connection):
                return connection
            connection.close()
        raise VaultUnavailable("this connection to vault is closed", reason=Outage.UNREACHABLE)

    def _connect(self, until: Deadline) -> HTTPConnection:
        timeout = _patience(until, CONNECT_TIMEOUT)
        connection = (
            HTTPConnection(self._host, self._port, timeout=timeout)
            if self._context is None
            else HTTPSConnection(self._host, self._port, timeout=timeout, context=self._context)
        )
        # A request on a connection that is gone fails; it opens no other by itself.
        connection.auto_open = 0
        try:
            connection.connect()
        except (OSError, UnicodeError):  # the second of a host that no name system can hold
            connection.close()
        else:
            return connection
        raise NeverSent("vault cannot be reached")

    def _give_back(self, connection: HTTPConnection) -> None:
        # The server may have asked for an end; then the connection has no socket any more.
        if connection.sock is None or len(self._idle) >= self._size:
            connection.close()
            return
        self._idle.append(connection)
        if self._closed:
            _close_all(self._idle)


def _close_all(idle: list[HTTPConnection]) -> None:
    while idle:
        idle.pop().close()


def _stands(connection: HTTPConnection) -> bool:
    """Whether an idle connection can be used: what can be read there is its end, or nonsense."""
    if isinstance(connection.sock, ssl.SSLSocket) and connection.sock.pending():
        return False
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)


def _patience(until: Deadline, at_most: float = READ_TIMEOUT) -> float:
    return min(at_most, max(_LEAST, until.remaining()))


class _Wire(io.RawIOBase):
    """What comes over a connection; each piece is waited for as long as the deadline leaves."""

    def __init__(self, sock: socket.socket, until: Deadline) -> None:
        self._sock = sock
        self._until = until
        # The library's own, which keeps the socket open until the answer is closed.
        self._inner = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there, once something is.

        Raises:
            TimeoutError: nothing came in time.
        """
        if not self._until.remaining():
            raise TimeoutError
        self._sock.settimeout(_patience(self._until))
        return self._inner.readinto(buffer)

    def close(self) -> None:
        self._inner.close()
        super().close()


class _Answer(HTTPResponse):
    """An answer of which every byte comes under the deadline."""

    def __init__(self, sock: socket.socket, *, until: Deadline, **told: Any) -> None:
        super().__init__(sock, **told)
        self.fp.close()
        self.fp = io.BufferedReader(_Wire(sock, until))


def _whole(response: HTTPResponse) -> bytes:
    """Read an answer to its end.

    Raises:
        VaultUnavailable: it is a redirect, or too large.
        TimeoutError: it did not come in time.
        OSError, HTTPException: it broke off, or is none.
    """
    if response.status in _REDIRECTS:
        # Fact 4: hvac follows a 307 to any host, token and body included. Here nobody does.
        raise VaultUnavailable("vault answered with a redirect", reason=Outage.REDIRECTED)
    if response.status < _FIRST_FINAL:
        # The library knows no word before the answer but 100, and would take the answer itself for
        # that to the next request.
        raise HTTPException
    chunks: list[bytes] = []
    size = 0
    while chunk := response.read1(_CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER:
            raise VaultUnavailable("vault's answer is too large", reason=Outage.UNREADABLE)
    if response.length:
        raise HTTPException
    return b"".join(chunks)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    # Made by hand because the convenience constructors obey SSLKEYLOGFILE, which would let the
    # environment write down the session keys that protect unwrapped data keys.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cafile=ca_file)
    return context
