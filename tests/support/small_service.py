"""A small HTTP server that answers as the interface does, for tests of its callers.

It keeps what it is told in memory and does on demand what the real service never does on demand:
cut the connection, redirect, stay away, refuse a whole batch. Values are checked by the domain
itself. The real service is tested with the same callers in tests/functional.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from vault_service.domain.classes import tokenizable
from vault_service.domain.values import parse
from vault_service.errors import InvalidInput

KEY = "vk_0123456789abcdef_" + "0" * 52
NOW = "2030-01-31T12:00:00Z"


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Says:
    """An answer; a status of 0 cuts the connection."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


def problem(status: int, code: str, **more: Any) -> Says:
    """A problem document."""
    headers = more.pop("headers", {})
    body = {"type": f"/docs#error-{code}", "title": "", "status": status, "code": code}
    body |= {"detail": "told so", "request_id": "req_1", **more}
    return Says(status, body, headers)


Script = Callable[[Seen], Says | None]


class SmallService:
    """What the server knows and does. `scripts` are asked first, in turn, once each."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.scripts: list[Script] = []
        self.always: Script | None = None
        self.tokens: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.customers: dict[str, str] = {}
        self.answered: dict[str, tuple[str, Says]] = {}
        self.base_url = ""
        self._lock = threading.Lock()

    def answer(self, seen: Seen) -> Says:
        """What this request gets."""
        with self._lock:
            self.seen.append(seen)
            said = self.always(seen) if self.always is not None else None
            if said is None and self.scripts:
                said = self.scripts.pop(0)(seen)
            return said or self._serve(seen)

    def paths(self, path: str) -> list[Seen]:
        """The requests for a path."""
        return [seen for seen in self.seen if seen.path.partition("?")[0] == path]

    def _serve(self, seen: Seen) -> Says:
        if seen.headers.get("Authorization") != f"Bearer {KEY}":
            return problem(401, "credential_unknown")
        if seen.path.startswith("/v1/customers"):
            return self._customers(seen)
        if seen.path == "/v1/tokens/batch":
            return self._once(seen, lambda: self._batch(seen.body["items"]))
        if seen.path == "/v1/tokens":
            return self._once(seen, lambda: self._single(seen.body))
        if seen.path.startswith("/v1/tokens?"):
            return Says(200, {"items": list(self.tokens.values()), "next": None})
        return problem(404, "route_not_found")

    def _customers(self, seen: Seen) -> Says:
        if seen.path.endswith("/batch"):
            return Says(200, {"results": [self._found(each) for each in seen.body["items"]]})
        return self._customer(seen.body)

    def _customer(self, body: dict[str, Any]) -> Says:
        reference = body.get("external_ref", "")
        if len(reference) > 200:
            return problem(422, "text_too_long", detail="this text is longer than 200 characters")
        digest = hashlib.sha256(reference.encode()).hexdigest()
        self.customers[reference] = f"cus_{digest[:26]}"
        return Says(200, {"id": self.customers[reference], "created_at": NOW})

    def _found(self, item: dict[str, Any]) -> dict[str, Any]:
        said = self._customer(item)
        if said.status == 200:
            return {"customer": said.body, "created": True}
        return {"error": {name: said.body[name] for name in ("status", "code", "detail")}}

    def _once(self, seen: Seen, work: Callable[[], Says]) -> Says:
        key = seen.headers.get("Idempotency-Key")
        body = json.dumps(seen.body, sort_keys=True)
        if key is None:
            return work()
        if key in self.answered:
            known, said = self.answered[key]
            return said if known == body else problem(409, "idempotency_key_reused")
        said = work()
        if said.status < 300:
            self.answered[key] = body, said
        return said

    def _single(self, item: dict[str, Any]) -> Says:
        (result,) = self._batch([item]).body["results"]
        if "error" in result:
            return problem(422, result["error"]["code"])
        return Says(201, result["token"])

    def _batch(self, items: list[dict[str, Any]]) -> Says:
        results = [self._item(place, item) for place, item in enumerate(items)]
        return Says(200, {"results": results})

    def _item(self, place: int, item: dict[str, Any]) -> dict[str, Any]:
        pointer = f"/items/{place}"
        try:
            data_class = tokenizable(item["class"], pointer=f"{pointer}/class")
            value = parse(
                data_class,
                item["value"],
                today=datetime.now(UTC).date(),
                pointer=f"{pointer}/value",
            )
        except InvalidInput as error:
            told = {"status": 422, "code": error.code, "detail": error.detail}
            return {"error": {**told, "pointer": error.pointer}}
        name = (item["customer"], item["class"], value.normalised.decode() + value.variant)
        known = name in self.tokens
        if not known:
            self.tokens[name] = {
                "id": f"tok_{len(self.tokens):028d}",
                "class": item["class"],
                "customer": item["customer"],
                "mask": dict(value.mask),
                "format": "opaque",
                "version": 1,
                "created_at": NOW,
                "expires_at": None,
                "metadata": item.get("metadata"),
            }
        return {
            "token": {
                **self.tokens[name],
                "deduplicated": known,
                "reference": item.get("reference"),
            }
        }


@contextmanager
def small_service() -> Iterator[SmallService]:
    """Run one on a free port."""
    service = SmallService()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(raw) if raw else None
            said = service.answer(Seen(self.command, self.path, dict(self.headers), body))
            if said.status == 0:
                self.close_connection = True
                self.connection.close()
                return
            content = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
            content = b"" if said.body is None else content
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = do_PUT = _do  # noqa: N815 -- names of the library

        def log_message(self, *_: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            return

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    service.base_url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
