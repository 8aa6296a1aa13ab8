"""Calls: each declares itself once, and from that are made its route and its documentation.

A call is a function from `Call` to `Answer`, declared with method, path, types, the action that
it needs and an example. What happens around every call, and in which order, stands in `Runner`:
the caller is known before the body is read, and the body is searched for what may never be sent
before anything else about it is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import msgspec
from flask import Flask, Request, Response, request

from vault_service.domain.actors import Action
from vault_service.services.context import Caller
from vault_service.services.reading import ReadAhead
from vault_service.settings import ProcessRole, Settings
from vault_service.web import bodies, shapes
from vault_service.web.context import RequestContext, current
from vault_service.web.door import Door
from vault_service.web.rates import Rate, Rates
from vault_service.web.served import Served, present

B = TypeVar("B")
Q = TypeVar("Q")

JSON: Final = "application/json"
# Names of path parameters that may hold slashes.
_SPANNING: Final = frozenset(("tile",))
_encoder: Final = msgspec.json.Encoder(decimal_format="string")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[B, Q]):
    """One call under way: who calls, with what."""

    served: Served
    known: Caller | None
    body: B
    query: Q
    path: Mapping[str, str]
    raw: bytes = field(repr=False)
    request: Request = field(repr=False)
    ahead: ReadAhead | None = None
    pieces: Iterator[bytes] = field(default_factory=lambda: iter(()), repr=False)

    @property
    def caller(self) -> Caller:
        """Whose key was shown.

        Raises:
            RuntimeError: the call was declared as one that needs none.
        """
        if self.known is None:
            raise RuntimeError("a call without a key has no caller")
        return self.known


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A result on its way out; neither body nor data make a 204.

    Attributes:
        body: what is sent as JSON.
        data: bytes that are sent as they are, under the operation's `media`; as pieces they are
            sent as they come, and `headers` must say how many bytes, so that too few are noticed.
    """

    body: object | None = field(default=None, repr=False)
    data: bytes | Iterator[bytes] | None = field(default=None, repr=False)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def encoded(body: object) -> bytes:
    """A result as it is sent."""
    return _encoder.encode(body)


Handler = Callable[[Call[Any, Any]], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderParameter:
    """A header that a call reads."""

    name: str
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A call as declared.

    Attributes:
        method: HTTP method.
        path: template in the manner of OpenAPI, `/v1/tokens/{token}`.
        name: operation id, lower snake case, unique.
        summary: one sentence.
        tag: the group that it is shown in.
        action: what the caller must be allowed to do; None where being known is enough.
        serves: process roles that have this route, besides `all`.
        answers: status -> type of the body, None for none.
        body: type of the request's body, if it has one.
        query: type of the query, if it has one.
        headers: headers that it reads.
        codes: error codes of its own, besides those that every call can answer.
        example: a request body that works, where it has a body.
        optional_body: whether no body stands for an empty object.
        takes: most bytes of a body that is not JSON and is read in pieces; None for all others.
        media: content type of the answer.
        rate: what it counts against.
        direct: it has no body and no query, its one parameter ends the path, and it is asked so
            often that Flask is in the way (`api.direct`).
        ahead: what can be read together with the caller's credential; from use cases and path.
        signed: the body is signed by who sends it, and the handler checks that: there is no key,
            and no caller.
        handler: the function.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: str
    action: Action | None
    serves: frozenset[ProcessRole]
    answers: Mapping[int, type | None]
    handler: Handler
    body: type | None = None
    query: type | None = None
    headers: tuple[HeaderParameter, ...] = ()
    codes: tuple[str, ...] = ()
    example: Mapping[str, Any] | None = None
    optional_body: bool = False
    takes: int | None = None
    media: str = JSON
    rate: Rate = Rate.CALLS
    signed: bool = False
    direct: bool = False
    ahead: Callable[[Served, Mapping[str, str]], ReadAhead | None] | None = None

    @property
    def rule(self) -> str:
        """The path as Flask writes it."""
        path = self.path
        for name in _SPANNING:
            path = path.replace(f"{{{name}}}", f"{{path:{name}}}")
        return path.replace("{", "<").replace("}", ">")

    def served_by(self, process_role: ProcessRole) -> bool:
        """Whether a process of this role has the route."""
        return process_role is ProcessRole.ALL or process_role in self.serves


class Group:
    """Collects the calls of one module."""

    def __init__(self, tag: str, *serves: ProcessRole) -> None:
        self.tag = tag
        self.operations: list[Operation] = []
        self._serves = frozenset(serves)

    def call(
        self,
        method: str,
        path: str,
        summary: str,
        *,
        answers: Mapping[int, type | None],
        **more: Any,
    ) -> Callable[[Handler], Handler]:
        """Declare the decorated function as a call; `more` are fields of `Operation`."""
        more.setdefault("serves", self._serves)
        more.setdefault("action", None)

        def declare(handler: Handler) -> Handler:
            self.operations.append(
                Operation(
                    method=method,
                    path=path,
                    name=handler.__name__,
                    summary=summary,
                    tag=self.tag,
                    answers=answers,
                    handler=handler,
                    **more,
                )
            )
            return handler

        return declare


class Runner:
    """Runs declared calls inside a Flask application."""

    def __init__(self, served: Served, settings: Settings) -> None:
        self._served = served
        self._settings = settings
        self._rates = Rates(settings)
        self._door = Door(present(served.authentication), self._rates)

    def register(self, app: Flask, operation: Operation) -> None:
        """Give the operation its route."""

        def view(**path: str) -> Response:
            return self._run(operation, path)

        app.add_url_rule(
            operation.rule, operation.name, view, methods=[operation.method], strict_slashes=True
        )

    def perform(
        self,
        operation: Operation,
        path: Mapping[str, str],
        request: Request,
        context: RequestContext,
    ) -> Answer:
        """Do what a request asks for, once its caller is known.

        Raises:
            ServiceError, KeysError: why not.
        """
        ahead = None if operation.ahead is None else operation.ahead(self._served, path)
        if operation.signed:
            caller, who = None, context.address
        else:
            look = None if ahead is None else ahead.look
            caller = self._door.admit(request, context, look=look)
            who = caller.principal.id
        standing = self._rates.count(operation.rate, who)
        if standing is not None:
            context.headers.update(standing.headers())
        query = self._query(operation, request)
        raw, body = self._body(operation, request)
        return operation.handler(
            Call(
                served=self._served,
                known=caller,
                body=body,
                query=query,
                path=path,
                raw=raw,
                request=request,
                ahead=ahead,
                pieces=(
                    iter(()) if operation.takes is None else bodies.pieces(request, operation.takes)
                ),
            )
        )

    def _run(self, operation: Operation, path: Mapping[str, str]) -> Response:
        context = current()
        answer = self.perform(operation, path, request, context)
        if answer.data is not None:
            context.streams = not isinstance(answer.data, bytes)
            return Response(
                answer.data, answer.status, dict(answer.headers), content_type=operation.media
            )
        if answer.body is None:
            return Response(status=204 if answer.status == 200 else answer.status)
        return Response(
            encoded(answer.body), answer.status, dict(answer.headers), content_type=JSON
        )

    def _body(self, operation: Operation, request: Request) -> tuple[bytes, object]:
        if operation.body is None:
            return b"", None
        raw = bodies.read(request, self._settings.max_body_bytes, optional=operation.optional_body)
        return raw, shapes.convert(bodies.decode(raw), operation.body)

    @staticmethod
    def _query(operation: Operation, request: Request) -> object:
        values = request.args.to_dict(flat=False) if request.query_string else {}
        if operation.query is None:
            if values:
                shapes.convert_query(values, _NoQuery)
            return None
        return shapes.convert_query(values, operation.query)


class _NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call without parameters."""
