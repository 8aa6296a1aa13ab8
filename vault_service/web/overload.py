"""Overload: more requests at once than this process answers in time are turned away unread.

What waits unseen, in the server's queue, has no deadline that anybody keeps: callers would be
answered long after they had gone, and each answer would make the next one later. So no request
waits there. A few threads more than may be at work take every request up at once, and who finds
all places taken is told so for the price of a few microseconds: 503, with Retry-After, nothing
done, not even the credential looked at. The work of those who were admitted is thereby bounded,
and with it the longest that any of them waits.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import structlog

from vault_service.domain.tokens import new_request_id
from vault_service.web import metrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

RETRY_SECONDS: Final = 1
CODE: Final = "overloaded"
# A process that is overloaded says so, and does not fill its log with it.
_TELL_SECONDS: Final = 5.0
_BODY: Final = (
    '{"type":"/docs#error-overloaded","title":"Not available at the moment","status":503,'
    '"code":"overloaded","detail":"too many requests at once; nothing was done",'
    '"request_id":"%s"}'
)
_HEADERS: Final = (
    ("Content-Type", "application/problem+json"),
    ("Retry-After", str(RETRY_SECONDS)),
)

_log = structlog.get_logger(__name__)


class Places:
    """The places of those at work. Thread-safe.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        self._free = self._count = count
        self._lock = threading.Lock()
        self._turned_away = 0
        self._told = float("-inf")

    def take(self) -> bool:
        """Take a place, if one is free now; never waits."""
        with self._lock:
            if not self._free:
                return False
            self._free -= 1
            return True

    def give_back(self) -> None:
        """Give a taken place back."""
        with self._lock:
            self._free += 1

    def turn_away(
        self, headers: list[tuple[str, str]], start_response: StartResponse
    ) -> list[bytes]:
        """Answer a request for which there is no place.

        Args:
            headers: what every answer carries.
            start_response: of the request.
        """
        metrics.count_overload()
        self._tell()
        request_id = new_request_id()
        body = (_BODY % request_id).encode()
        start_response(
            "503 SERVICE UNAVAILABLE",
            [
                *_HEADERS,
                ("Content-Length", str(len(body))),
                *headers,
                ("Request-Id", request_id),
            ],
        )
        return [body]

    def _tell(self) -> None:
        with self._lock:
            self._turned_away += 1
            now = time.monotonic()
            if now - self._told < _TELL_SECONDS:
                return
            self._told, count, self._turned_away = now, self._turned_away, 0
        _log.warning("overloaded", code=CODE, count=count, queue=self._count)
