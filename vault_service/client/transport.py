"""One request to the service and its answer: connections, limits, retries.

What is retried, and nothing else:
- a request that certainly never left (no connection could be made), of any kind;
- 429, which is answered before anything is done, of any kind;
- a cut connection, 502, 503 and 504 of a request that may be repeated: a GET, a POST with an
  Idempotency-Key, a POST that only looks something up.
A redirect is never followed, because the key would go where the redirect points.
"""

from __future__ import annotations

import ipaddress
import random
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    SSLError,
)

from vault_service.client.errors import (
    AnswerUnexpected,
    ApiError,
    ClientError,
    FieldProblem,
    InsecureAddress,
    Unreachable,
)

CONNECT_SECONDS: Final = 5.0
# The largest batch answers about 1 MB; more than this is not the service.
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
# The longest wait that a caller is kept in for; when the service names a longer one, the caller is
# told at once.
LONGEST_WAIT: Final = 30.0
_FIRST_WAIT: Final = 0.2
_NEVER_SENT: Final = (NewConnectionError, ConnectTimeoutError, NameResolutionError, SSLError)
_REFUSED_BEFORE_WORK: Final = 429
_STILL_UNDER_WAY: Final = "idempotency_in_progress"
_FAILED_FOR_NOW: Final = frozenset((502, 503, 504))


class _FieldProblem(msgspec.Struct, frozen=True):
    pointer: str = ""
    code: str = ""
    detail: str = ""
    clause: str | None = None


class _Problem(msgspec.Struct, frozen=True):
    code: str
    detail: str = ""
    request_id: str | None = None
    hint: str | None = None
    errors: list[_FieldProblem] = []


@dataclass(frozen=True, slots=True)
class _Credential:
    """The key, in a box that shows nothing."""

    header: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request, with a body of JSON or with `data` as they are.

    `repeatable` says that doing it twice is the same as doing it once.
    """

    method: str
    path: str
    query: Mapping[str, str | int | None] = field(default_factory=dict)
    body: object | None = field(default=None, repr=False)
    data: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    repeatable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that is no error."""

    status: int
    headers: Mapping[str, str]
    data: bytes = field(repr=False)


class Transport:
    """Keeps connections open; thread-safe.

    Args:
        base_url: `https://host[:port][/prefix]`; http only for this very machine, unless
            `insecure_http` says that somebody else protects the way.
        key: an API key.
        timeout: seconds that an answer may take.
        retries: how often a request is tried again.
        ca_file: certificates to trust instead of the system's.
        insecure_http: allow http to other machines.
        pool_size: connections kept open.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None,
        timeout: float = 30.0,
        retries: int = 3,
        ca_file: Path | None = None,
        insecure_http: bool = False,
        pool_size: int = 8,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = checked_address(base_url, insecure_http=insecure_http)
        self._credential = None if key is None else _Credential(f"Bearer {_checked_key(key)}")
        self._retries = retries
        self._sleep = sleep
        self._chance = random.SystemRandom()
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=pool_size,
            block=True,
            timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, timeout), read=timeout),
            retries=False,
            ca_certs=None if ca_file is None else str(ca_file),
        )

    def __repr__(self) -> str:
        return f"Transport({self.base_url!r})"

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def send(self, ask: Ask) -> Reply:
        """The answer to a request.

        Raises:
            ApiError: the service refused.
            Unreachable: it did not answer.
            AnswerUnexpected: what answered is not this service.
        """
        for attempt in range(self._retries + 1):
            try:
                return self._once(ask)
            except ClientError as error:
                wait = self._wait(ask, error, attempt)
                if wait is None:
                    raise
            self._sleep(wait)
        raise AssertionError  # pragma: no cover -- the last attempt returns or raises

    def send_once(self, ask: Ask, *, accept: frozenset[int]) -> Reply:
        """The answer of one attempt; a status in `accept` is no error.

        Raises:
            ApiError, Unreachable, AnswerUnexpected: as `send`.
        """
        return self._once(ask, accept=accept)

    def _wait(self, ask: Ask, error: ClientError, attempt: int) -> float | None:
        """Seconds until the next attempt; None when there must be none."""
        if attempt >= self._retries or not _may_retry(ask, error):
            return None
        told = error.retry_after if isinstance(error, ApiError) else None
        if told is not None:
            return told if told <= LONGEST_WAIT else None
        # Spread, so that callers who were cut off together do not come back together.
        return float(_FIRST_WAIT * 2**attempt * (0.5 + self._chance.random()))

    def _once(self, ask: Ask, *, accept: frozenset[int] = frozenset()) -> Reply:
        headers = {
            "Accept": "application/json",
            "User-Agent": "vault-service-client",
            **ask.headers,
        }
        if self._credential is not None:
            headers["Authorization"] = self._credential.header
        body = ask.data
        if body is not None:
            headers.setdefault("Content-Type", "application/octet-stream")
        if ask.body is not None:
            body = msgspec.json.encode(ask.body)
            headers["Content-Type"] = "application/json"
        try:
            response = self._pool.request(
                ask.method,
                self._url(ask),
                body=body,
                headers=headers,
                redirect=False,
                preload_content=False,
            )
            data = response.read(MAX_ANSWER_BYTES + 1)
            if len(data) > MAX_ANSWER_BYTES:
                response.close()
            response.release_conn()
        except HTTPError as error:
            # The library's message may quote the address; it holds no key and no body.
            raise _unreachable(error) from None
        return _reply(response, data, accept)

    def _url(self, ask: Ask) -> str:
        given = {name: value for name, value in ask.query.items() if value is not None}
        query = f"?{urllib.parse.urlencode(given)}" if given else ""
        return f"{self.base_url}{ask.path}{query}"


def segment(text: str) -> str:
    """A name as one segment of a path: nothing in it can lead elsewhere."""
    # Dots alone would be taken for a step in the path, even when escaped.
    quoted = urllib.parse.quote(text, safe="")
    return quoted.replace(".", "%2E") if quoted.strip(".") == "" else quoted


def checked_address(base_url: str, *, insecure_http: bool) -> str:
    """The address without a slash at its end.

    Raises:
        InsecureAddress: it is none, holds more than host and prefix, or leads over clear http.
    """
    try:
        parts = urllib.parse.urlsplit(base_url)
        _ = parts.port
    except ValueError:
        raise InsecureAddress("the service's address is not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InsecureAddress(
            "the service's address must be an http or https URL",
            hint="for example https://vault.example or http://127.0.0.1:8443",
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InsecureAddress("the service's address may hold no user, query or fragment")
    if parts.scheme == "http" and not insecure_http and not _is_loopback(parts.hostname):
        raise InsecureAddress(
            "the key would travel in clear to another machine",
            hint="use https, or allow http where somebody else protects the way",
        )
    return base_url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked_key(key: str) -> str:
    # A line break would end the header and begin another.
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ClientError("the key is no key: it holds spaces or characters that no key has")
    return key


def _may_retry(ask: Ask, error: ClientError) -> bool:
    if isinstance(error, Unreachable):
        return not error.sent or ask.repeatable
    if isinstance(error, ApiError):
        if error.status == _REFUSED_BEFORE_WORK:
            return True
        if error.code == _STILL_UNDER_WAY:  # our own first try, whose answer we did not wait for
            return True
        return error.status in _FAILED_FOR_NOW and ask.repeatable
    return False


def _unreachable(error: HTTPError) -> ClientError:
    if isinstance(error, SSLError):
        return Unreachable(
            "no safe connection could be made: the server's certificate or protocol is refused",
            sent=False,
            hint="name the certificates to trust, or check the address",
        )
    if isinstance(error, _NEVER_SENT):
        return Unreachable("no connection could be made to the service", sent=False)
    if isinstance(error, ProtocolError):
        return Unreachable("the connection was cut before the answer was complete", sent=True)
    return Unreachable("the service did not answer in time", sent=True)


def _reply(response: urllib3.BaseHTTPResponse, data: bytes, accept: frozenset[int]) -> Reply:
    if len(data) > MAX_ANSWER_BYTES:
        raise AnswerUnexpected("the answer is larger than any of this interface")
    if 300 <= response.status < 400:
        raise AnswerUnexpected(
            f"the address answers {response.status}, a redirect, which is not followed",
            hint="use the address where the service itself answers",
        )
    if response.status >= 400 and response.status not in accept:
        _refuse(response, data)
    return Reply(status=response.status, headers=dict(response.headers), data=data)


def _refuse(response: urllib3.BaseHTTPResponse, data: bytes) -> NoReturn:
    status = response.status
    retry_after = _seconds(response.headers.get("Retry-After"))
    try:
        problem = msgspec.json.decode(data, type=_Problem)
    except msgspec.DecodeError:
        # A proxy in front speaks for itself; its page is nobody's business.
        raise ApiError(
            f"the address answers {status} without saying why",
            code=f"http_{status}",
            status=status,
            retry_after=retry_after,
        ) from None
    raise ApiError(
        problem.detail,
        code=problem.code,
        status=status,
        request_id=problem.request_id,
        hint=problem.hint,
        errors=tuple(
            FieldProblem(pointer=one.pointer, code=one.code, detail=one.detail, clause=one.clause)
            for one in problem.errors
        ),
        retry_after=retry_after,
        nonce=response.headers.get("DPoP-Nonce"),
    )


def _seconds(text: str | None) -> float | None:
    """Seconds of a Retry-After; its other form, a date, is left to the usual waiting."""
    if text is None or not text.isascii() or not text.isdigit():
        return None
    return float(text[:9])


def decode(reply: Reply, kind: type[Any]) -> Any:
    """The answer's body as `kind`; members that it does not know are passed over.

    Raises:
        AnswerUnexpected: it has another form.
    """
    try:
        return msgspec.json.decode(reply.data, type=kind)
    except msgspec.DecodeError:
        raise AnswerUnexpected("the answer does not have the form of this interface") from None
