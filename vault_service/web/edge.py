"""The outermost layer: what a server hands over, reduced to what a request is, and what goes back.

Granian copies the process's whole environment into every WSGI environ. Whatever walks an environ
(an error page, a debugger, a library) would then walk the environment too, so only the keys of
CGI and WSGI go further. The headers that every answer has are put on here, as plain pairs, where
that costs a tenth of what it costs inside Flask.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from vault_service.settings import Settings
from vault_service.web import context
from vault_service.web.overload import Places

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

_CGI: Final = frozenset(
    {
        "CONTENT_LENGTH", "CONTENT_TYPE", "PATH_INFO", "QUERY_STRING", "REMOTE_ADDR", "REMOTE_PORT",
        "REQUEST_METHOD", "SCRIPT_NAME", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL",
        "SERVER_SOFTWARE",
    }
)  # fmt: skip
_PREFIXES: Final = ("HTTP_", "wsgi.", "werkzeug.", "flask.")
# Who asks whether the process is alive must be answered above all while it has much to do.
_ALWAYS: Final = frozenset(("/healthz", "/readyz", "/metrics"))

# Nothing that this service answers is for a cache, a frame, a script or a guess of a type. A route
# that sets one of these itself (the documentation's page) keeps its own.
_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("Server", "vault"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
)

_Error = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class Edge:
    """Wraps a WSGI application so that it sees the request and nothing of the process."""

    def __init__(self, app: WSGIApplication, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._places = Places(settings.threads)
        self._headers = list(_HEADERS)
        if settings.hsts_seconds:
            self._headers.append(("Strict-Transport-Security", f"max-age={settings.hsts_seconds}"))

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request, or turn it away."""
        if environ.get("PATH_INFO") in _ALWAYS:
            return self._serve(environ, start_response)[0]
        if not self._places.take():
            return self._places.turn_away(self._headers, start_response)
        streams = False
        try:
            answer, streams = self._serve(environ, start_response)
        finally:
            # What is answered in one piece is whole by now; what is left is for the server to send.
            if not streams:
                self._places.give_back()
        return _Held(answer, self._places.give_back) if streams else answer

    def _serve(
        self, environ: dict[str, Any], start_response: StartResponse
    ) -> tuple[Iterable[bytes], bool]:
        """The answer, and whether it is still being made while it is sent."""
        kept = {
            name: value
            for name, value in environ.items()
            if name in _CGI or name.startswith(_PREFIXES)
        }
        request = context.begin(
            kept,
            address=caller_address(kept, self._settings.trusted_proxies),
            seconds=self._settings.request_seconds,
        )

        def start(
            status: str, headers: list[tuple[str, str]], exc_info: _Error | None = None, /
        ) -> Callable[[bytes], object]:
            own = {name for name, _ in headers}
            headers += [pair for pair in self._headers if pair[0] not in own]
            headers += request.headers.items()
            headers.append(("Request-Id", request.id))
            return start_response(status, headers, exc_info)

        answer = self._app(kept, start)
        return answer, request.streams


class _Held:
    """An answer that is made while it is sent, with the place of whoever makes it."""

    def __init__(self, answer: Iterable[bytes], give_back: Callable[[], None]) -> None:
        self._answer = answer
        self._pieces = iter(answer)
        self._give_back: Callable[[], None] | None = give_back

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Give the place back; called by the server whether or not all was sent."""
        give_back, self._give_back = self._give_back, None
        if give_back is None:
            return
        try:
            close: Callable[[], None] | None = getattr(self._answer, "close", None)
            if close is not None:
                close()
        finally:
            give_back()

    # A server that lets go of an answer without closing it would shut this process for all others.
    __del__ = close


def caller_address(environ: Mapping[str, Any], trusted_proxies: int) -> str:
    """Where a request came from, as far as it can be believed.

    Each trusted proxy appends the address that it saw, so the last `trusted_proxies` entries of
    X-Forwarded-For can be believed and nothing before them. The proxies must drop header names
    with underscores, which this header would otherwise be confused with (nginx does so unasked).
    """
    peer = str(environ.get("REMOTE_ADDR") or "")
    if trusted_proxies:
        hops = [hop.strip() for hop in str(environ.get("HTTP_X_FORWARDED_FOR", "")).split(",")]
        told = hops[-min(trusted_proxies, len(hops))]
        if (address := _address(told)) is not None:
            return address
    return _address(peer) or "unknown"


@lru_cache(maxsize=1024)
def _address(text: str) -> str | None:
    """The canonical form of an address, or None; a port or a zone goes away."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return ipaddress.ip_address(text.partition("%")[0]).compressed
    except ValueError:
        return None
