"""More at once than there are places: told at once, unread, and nobody at work is disturbed."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import structlog
from werkzeug.test import run_wsgi_app

from vault_service.api.errors import ProblemDocument
from vault_service.settings import Environment, Settings
from vault_service.web import metrics
from vault_service.web.edge import Edge

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIApplication


class _Busy:
    """An application whose requests stay until they are let go; some raise then."""

    def __init__(self) -> None:
        self.at_work = threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if environ["PATH_INFO"] != "/healthz":
            self.at_work.release()
            assert self.go.wait(10)
        if environ["PATH_INFO"] == "/broken":
            raise KeyError("bug")
        start_response("200 OK", [])
        return [b"done"]


def _edge(app: WSGIApplication, folder: Path, places: int) -> Edge:
    return Edge(
        app,
        Settings(env=Environment.DEVELOPMENT, policy_file=folder / "none.toml", threads=places),
    )


def _ask(edge: Edge, path: str = "/v1/tokens") -> tuple[int, bytes, Any]:
    chunks, status, headers = run_wsgi_app(
        edge, {"REQUEST_METHOD": "GET", "PATH_INFO": path, "wsgi.url_scheme": "http"}
    )
    return int(status[:3]), b"".join(chunks), headers


def test_who_finds_no_place_is_told_at_once_and_the_others_are_served(tmp_path: Path) -> None:
    """503 with Retry-After in the form of every other problem; health is answered all the same."""
    app = _Busy()
    edge = _edge(app, tmp_path, 2)
    before = metrics.exposition(None).count(b"vault_overloads_total 0.0")
    with ThreadPoolExecutor(2) as pool, structlog.testing.capture_logs() as lines:
        working = [pool.submit(_ask, edge) for _ in range(2)]
        for _ in working:
            assert app.at_work.acquire(timeout=10)
        for _ in range(3):
            status, body, headers = _ask(edge)
            assert (status, headers["Retry-After"]) == (503, "1")
            told = msgspec.json.decode(body, type=ProblemDocument)
            assert (told.code, told.status) == ("overloaded", 503)
            assert told.kind == "/docs#error-overloaded"
            assert told.request_id == headers["Request-Id"]
            assert headers["Content-Length"] == str(len(body))
            assert headers["Cache-Control"] == "no-store"
            assert headers["Content-Type"] == "application/problem+json"
        assert _ask(edge, "/healthz")[0] == 200
        app.go.set()
        assert [each.result()[:2] for each in working] == [(200, b"done")] * 2
    assert b"vault_overloads_total" in metrics.exposition(None)
    assert before in (0, 1)
    # One line for the first; the others are told of with the next, seconds later.
    assert [line["event"] for line in lines if line["event"] == "overloaded"] == ["overloaded"]
    assert _ask(edge)[0] == 200


def test_a_request_that_fails_gives_its_place_back(tmp_path: Path) -> None:
    """Else faults would close the service, one place at a time."""
    app = _Busy()
    app.go.set()
    edge = _edge(app, tmp_path, 1)
    for _ in range(3):
        with pytest.raises(KeyError):
            _ask(edge, "/broken")
    assert _ask(edge)[0] == 200


class _Streaming:
    """An application whose answers are made while they are sent."""

    def __init__(self, *, fails: bool = False) -> None:
        self.closed = 0
        self._fails = fails

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        environ["vault_service.request"].streams = True
        start_response("200 OK", [])
        return self if environ["PATH_INFO"] == "/closes" else iter([b"one", b"two"])

    def __iter__(self) -> Iterator[bytes]:
        """Two pieces."""
        yield b"one"
        yield b"two"

    def close(self) -> None:
        """Count it."""
        self.closed += 1
        if self._fails:
            raise OSError("gone")


@pytest.mark.parametrize("path", ["/closes", "/plain"])
@pytest.mark.parametrize("read", [0, 1, 2])
@pytest.mark.parametrize("let_go", [False, True])
def test_an_answer_that_is_made_while_it_is_sent_keeps_its_place(
    tmp_path: Path,
    path: str,
    read: int,
    let_go: bool,  # noqa: FBT001 -- a table's column
) -> None:
    """Until it is closed, read to its end or not, or the server lets go of it; then it is free."""
    app = _Streaming()
    edge = _edge(app, tmp_path, 1)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "wsgi.url_scheme": "http"}
    answer: Any = edge(environ, lambda *_: lambda _: None)
    pieces = iter(answer)
    assert [next(pieces) for _ in range(read)] == [b"one", b"two"][:read]
    assert _ask(edge)[0] == 503
    if let_go:
        del answer, pieces
    else:
        answer.close()
        answer.close()
    assert app.closed == (path == "/closes")
    assert _ask(edge)[0] == 200


def test_a_failing_close_gives_the_place_back_too(tmp_path: Path) -> None:
    """Whatever goes wrong."""
    edge = _edge(_Streaming(fails=True), tmp_path, 1)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/closes", "wsgi.url_scheme": "http"}
    answer: Any = edge(environ, lambda *_: lambda _: None)
    with pytest.raises(OSError, match="gone"):
        answer.close()
    assert _ask(edge)[0] == 200
