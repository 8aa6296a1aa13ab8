"""A reverse proxy before the real Vault that can be told to misbehave, for faults on demand."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

SLOW_SECONDS: Final = 5.0


class Fault(StrEnum):
    """What the proxy does with a request."""

    NONE = "none"
    SLOW = "slow"
    REDIRECT = "redirect"
    AUDIT_FULL = "audit_full"
    HANG_UP = "hang_up"


class FaultProxy:
    """Forwards to `target` as long as `fault` is NONE.

    Args:
        target: the real server's address.
        elsewhere: where a redirect points to.

    Attributes:
        slow_seconds: how long a slow answer takes.
    """

    def __init__(self, target: str, elsewhere: str) -> None:
        self.fault = Fault.NONE
        self.slow_seconds = SLOW_SECONDS
        self.elsewhere = elsewhere
        self.target = target
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                return

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.answer(self, body)

            do_GET = do_POST = do_PUT = do_DELETE = do_LIST = _any  # noqa: N815 -- http.server's

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer one request as the present fault says."""
        fault = self.fault
        if fault is Fault.HANG_UP:
            handler.close_connection = True
            return
        if fault is Fault.SLOW:
            time.sleep(self.slow_seconds)
        try:
            if fault is Fault.REDIRECT:
                _send(handler, 307, b"", Location=self.elsewhere + handler.path)
            elif fault is Fault.AUDIT_FULL:
                _send(handler, 500, b'{"errors":["internal error"]}')
            else:
                _forward(handler, body, self.target)
        except OSError:
            handler.close_connection = True

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _forward(handler: BaseHTTPRequestHandler, body: bytes, target: str) -> None:
    link = http.client.HTTPConnection(urlsplit(target).netloc, timeout=30)
    kept = {
        name: value
        for name, value in handler.headers.items()
        if name.lower() not in ("host", "connection", "content-length")
    }
    link.request(handler.command, handler.path, body=body or None, headers=kept)
    answer = link.getresponse()
    content = answer.read()
    link.close()
    _send(handler, answer.status, content, **{"Content-Type": "application/json"})


@contextmanager
def fault_proxy(target: str, elsewhere: str = "http://127.0.0.1:9") -> Iterator[FaultProxy]:
    """A proxy for a block."""
    proxy = FaultProxy(target, elsewhere)
    try:
        yield proxy
    finally:
        proxy.close()
