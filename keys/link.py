"""One connection pool to one Vault address. Bytes out, status and bytes in; no meaning.

What it may not do: follow a redirect, read proxies or netrc or anything else from the
environment, compress, log, or put a byte of a request or answer into an exception.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
)

from keys.errors import Outage, VaultUnavailable
from keys.retry import CONNECT_TIMEOUT, READ_TIMEOUT, Deadline

MAX_ANSWER = 4 * 1024 * 1024  # 200 wrapped keys are 30 KB; more than this is not Vault's answer
_CHUNK = 64 * 1024
_REDIRECTS = range(300, 400)


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

    Args:
        address: `http://host:port` or `https://host:port`.
        ca_file: certificates to trust instead of the system's.
        pool_size: connections kept; as many as the worker has threads (fact 13: hvac keeps 10).
    """

    def __init__(self, address: str, *, ca_file: Path | None, pool_size: int) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError("a vault address looks like https://host:port")
        self._pool: urllib3.HTTPConnectionPool
        # urllib3 by itself, without requests, knows no proxies, netrc or redirects to forget
        # to switch off, and costs half as much per call.
        if parts.scheme == "https":
            self._pool = urllib3.HTTPSConnectionPool(
                parts.hostname,
                parts.port or 443,
                maxsize=pool_size,
                ssl_context=_tls(ca_file),
            )
        else:
            self._pool = urllib3.HTTPConnectionPool(
                parts.hostname, parts.port or 80, maxsize=pool_size
            )

    def exchange(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None, until: Deadline
    ) -> Reply:
        """Send one request and return the whole answer, whatever its status below 300 or from 400.

        Raises:
            VaultUnavailable: no answer in time, a broken one, a redirect, or one too large.
        """
        left = max(0.05, until.remaining())
        timeout = urllib3.Timeout(connect=min(CONNECT_TIMEOUT, left), read=min(READ_TIMEOUT, left))
        try:
            response = self._pool.urlopen(
                method,
                path,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                timeout=timeout,
                preload_content=False,
            )
        except HTTPError as error:
            outage = _outage(error)
        else:
            return self._read(cast("urllib3.HTTPResponse", response), until)
        # Raised out here so that nothing of the library's exception is chained to ours.
        raise outage

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    def _read(self, response: urllib3.HTTPResponse, until: Deadline) -> Reply:
        if response.status in _REDIRECTS:
            # Fact 4: hvac follows a 307 to any host, token and body included. Here nobody does.
            response.close()
            raise VaultUnavailable("vault answered with a redirect", reason=Outage.REDIRECTED)
        chunks: list[bytes] = []
        size = 0
        try:
            while chunk := response.read1(_CHUNK, decode_content=False):
                chunks.append(chunk)
                size += len(chunk)
                if size > MAX_ANSWER:
                    response.close()
                    raise VaultUnavailable("vault's answer is too large", reason=Outage.UNREADABLE)
                if not until.remaining():
                    response.close()
                    raise VaultUnavailable("vault's answer came too slowly", reason=Outage.SLOW)
        except HTTPError as error:
            outage = _outage(error)
        else:
            response.release_conn()
            return Reply(status=response.status, body=b"".join(chunks))
        response.close()
        raise outage


def _outage(error: HTTPError) -> VaultUnavailable:
    if isinstance(error, NewConnectionError | ConnectTimeoutError):
        return NeverSent("vault cannot be reached")
    if isinstance(error, ReadTimeoutError):
        return VaultUnavailable("vault did not answer in time", reason=Outage.SLOW)
    return VaultUnavailable("the connection to vault broke", reason=Outage.UNREACHABLE)


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
