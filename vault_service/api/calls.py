"""Calls: each declares itself once, and from that are made its route and its documentation.

A call is a function from `Call` to `Answer`, declared with method, path, types, the action that
it needs and an example. What happens around every call, and in which order, stands in `Runner`:
the caller is known before anything of the body is looked at (and, unless his credential was good
when it was last shown, before it is read), and the body is searched for what may never be sent
before anything else about it is said.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Generic, TypeVar

import msgspec
from flask import Flask, Request, Response, request

from vault_service.domain.actors import Action
from vault_service.errors import ServiceError, Unavailable, outcome
from vault_service.services.context import Caller
from vault_service.services.gather import MAX_BATCH, Gather
from vault_service.settings import ProcessRole, Settings
from vault_service.web import bodies, hooks, shapes
from vault_service.web.context import RequestContext, current, unbound
from vault_service.web.door import Door
from vault_service.web.rates import Rate, Rates
from vault_service.web.served import Served, present

B = TypeVar("B")
Q = TypeVar("Q")

JSON: Final = "application/json"
# Names of path parameters that may hold slashes.
_SPANNING: Final = frozenset(("tile",))
# A larger body is served alone: it gains little from company, and would make the others wait. So
# many bytes name 29 records at most, fewer than what waits for a lane (`services.lanes`).
_SHARED_BYTES: Final = 1024
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


Handler = Callable[[Call[Any, Any]], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """How calls that come at the same time are served by one thread.

    Their callers are looked up together, and the use case is called once.

    Attributes:
        do: from what is served to what does it: takes what the handler made of the calls, and
            returns a result or an exception for each.
        tell: the answer to a call with such a result.
        most: calls that are served at once.
    """

    do: Callable[[Served], Callable[[Sequence[Any]], Sequence[Any]]]
    tell: Callable[[Call[Any, Any], Any], Answer]
    most: int = MAX_BATCH


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comer:
    """A request whose caller is still to be asked for; `fault` is why its body was not read.

    Who serves it and who waits for it settle between them, once, how it is answered: else its line
    could tell of an answer that came too late to be given.
    """

    request: Request
    context: RequestContext
    path: Mapping[str, str]
    raw: bytes = field(repr=False)
    fault: ServiceError | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _answers: list[Answer] = field(default_factory=list, init=False, repr=False)

    def settle(self, answer: Answer) -> bool:
        """Have it answered so from now on; False if whoever waited has left."""
        # Before the turn is taken: whoever leaves and finds it taken finds the answer.
        self._answers.append(answer)
        return self._turn.acquire(blocking=False)

    def leave(self) -> Answer | None:
        """The answer that was settled on; None if there is none, and then there will be none."""
        if self._turn.acquire(blocking=False):
            return None
        # Who settled it counts it and writes its line, if he has not yet.
        self.context.accounted = True
        return self._answers[0]

    def whole(self) -> bytes:
        """The bytes of its body.

        Raises:
            InvalidInput: they could not be read.
        """
        if self.fault is not None:
            raise self.fault
        return self.raw


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
        together: how calls of it that come at the same time are served; None where each is served
            alone. It takes no query, and it is asked so often that Flask is in the way
            (`api.direct`).
        signed: the body is signed by who sends it, and the handler checks that: there is no key,
            and no caller.
        handler: the function. Of a call that is served `together` with others it makes what the use
            case is asked for; of all others it makes the answer.
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
    together: Together | None = None

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
        self._companies: dict[str, Gather[_Comer, Answer]] = {}

    def register(self, app: Flask, operation: Operation) -> None:
        """Give the operation its route."""

        def view(**path: str) -> Response:
            return self._run(operation, path)

        app.add_url_rule(
            operation.rule, operation.name, view, methods=[operation.method], strict_slashes=True
        )
        if operation.together is not None:
            self._companies[operation.name] = Gather(
                partial(self._serve, operation, operation.together),
                max_batch=operation.together.most,
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
        if operation.together is not None and self._door.knows(request):
            return self._perform_in_company(operation, operation.together, path, request, context)
        caller = None if operation.signed else self._door.admit(request, context)
        self._count(operation, caller, context)
        query = self._query(operation, request)
        raw = self._raw(operation, request)
        comer = _Comer(request=request, context=context, path=path, raw=raw)
        call = self._call(operation, comer, caller, query)
        if operation.together is None:
            answer: Answer = operation.handler(call)
            return answer
        (result,) = operation.together.do(self._served)([operation.handler(call)])
        if isinstance(result, Exception):
            raise result
        return operation.together.tell(call, result)

    def _perform_in_company(
        self,
        operation: Operation,
        together: Together,
        path: Mapping[str, str],
        request: Request,
        context: RequestContext,
    ) -> Answer:
        raw, fault = b"", None
        try:
            raw = self._raw(operation, request)
        except ServiceError as error:
            # Who sends it is asked first all the same, and it counts.
            fault = outcome(error)
        comer = _Comer(request=request, context=context, path=path, raw=raw, fault=fault)
        if len(raw) <= _SHARED_BYTES:
            try:
                return self._companies[operation.name].submit(comer, deadline=context.deadline)
            except Unavailable:
                # His time was over in the moment in which the line of his answer was written.
                settled = comer.leave()
                if settled is None:
                    raise
                return settled
        (answer,) = self._serve(operation, together, [comer])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _serve(
        self, operation: Operation, together: Together, comers: Sequence[_Comer]
    ) -> list[Answer | Exception]:
        """Serve requests of one operation: the caller of each is looked up before it is read.

        Lines that are logged meanwhile are nobody's: they carry no request's id.
        """
        with unbound():
            outcomes: list[Answer | Exception | None] = [None] * len(comers)
            calls: dict[int, Call[Any, Any]] = {}
            asked: list[object] = []
            admitted = self._door.admit_many([(each.request, each.context) for each in comers])
            for place, (comer, caller) in enumerate(zip(comers, admitted, strict=True)):
                if isinstance(caller, Exception):
                    outcomes[place] = caller
                    continue
                try:
                    self._count(operation, caller, comer.context)
                    query = self._query(operation, comer.request)
                    call = self._call(operation, comer, caller, query)
                    asked.append(operation.handler(call))
                    calls[place] = call
                except Exception as error:  # noqa: BLE001 -- raised again in whose call it is
                    outcomes[place] = outcome(error)
            try:
                results = together.do(self._served)(asked) if asked else ()
            except Exception as error:  # noqa: BLE001 -- raised again in each call that was asked
                results = [error] * len(asked)
            for (place, call), result in zip(calls.items(), results, strict=True):
                try:
                    outcomes[place] = (
                        result
                        if isinstance(result, Exception)
                        else _made(together.tell(call, result))
                    )
                except Exception as error:  # noqa: BLE001 -- raised again in whose call it is
                    outcomes[place] = outcome(error)
            hooks.account(
                [
                    hooks.Answered(
                        ctx=comer.context,
                        method=comer.request.method,
                        template=operation.rule,
                        status=found.status,
                    )
                    for comer, found in zip(comers, outcomes, strict=True)
                    # Who has gone was told so, and is counted, where he waited.
                    if isinstance(found, Answer) and comer.settle(found)
                ]
            )
            return [each for each in outcomes if each is not None]

    def _count(self, operation: Operation, caller: Caller | None, context: RequestContext) -> None:
        who = context.address if caller is None else caller.principal.id
        standing = self._rates.count(operation.rate, who)
        if standing is not None:
            context.headers.update(standing.headers())

    def _call(
        self, operation: Operation, comer: _Comer, caller: Caller | None, query: object
    ) -> Call[Any, Any]:
        body: object = None
        if operation.body is not None:
            body = shapes.convert(bodies.decode(comer.whole()), operation.body)
        return Call(
            served=self._served,
            known=caller,
            body=body,
            query=query,
            path=comer.path,
            raw=comer.raw,
            request=comer.request,
            pieces=(
                iter(())
                if operation.takes is None
                else bodies.pieces(comer.request, operation.takes)
            ),
        )

    def _run(self, operation: Operation, path: Mapping[str, str]) -> Response:
        context = current()
        # Not Flask's stand-in for it: that is another request in the thread that serves several.
        answer = self.perform(operation, path, Request(request.environ), context)
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

    def _raw(self, operation: Operation, request: Request) -> bytes:
        if operation.body is None:
            return b""
        return bodies.read(request, self._settings.max_body_bytes, optional=operation.optional_body)

    @staticmethod
    def _query(operation: Operation, request: Request) -> object:
        values = request.args.to_dict(flat=False) if request.query_string else {}
        if operation.query is None:
            if values:
                shapes.convert_query(values, _NoQuery)
            return None
        return shapes.convert_query(values, operation.query)


def _made(answer: Answer) -> Answer:
    """The same answer, its body as it is sent."""
    return replace(answer, body=None, data=encoded(answer.body))


class _NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call without parameters."""
