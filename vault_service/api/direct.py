"""The direct way: what is asked most often goes from the server to its call without Flask.

Flask's routing, contexts and response objects cost as much as a whole masked read. Nothing else
differs: the call is run by the same `Runner`, counted and told of by the same hook. What fails is
handed to Flask, inside a request of its own, so that errors have one way out for all calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, Request

from vault_service.api.calls import JSON, Operation, Runner, encoded
from vault_service.web import context, hooks

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

# Whatever looks otherwise (encoded, empty, with a slash) is for the router to judge.
_NAME: Final = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
_STATUS: Final = {status.value: f"{status.value} {status.phrase.upper()}" for status in HTTPStatus}


class Direct:
    """Serves the operations that are served together, and passes on all other requests.

    Args:
        app: the application, for what fails.
        passed_to: what serves all others.
        runner: runs the calls.
        operations: those that this process serves.
    """

    def __init__(
        self,
        app: Flask,
        passed_to: WSGIApplication,
        runner: Runner,
        operations: Sequence[Operation],
    ) -> None:
        self._app = app
        self._passed_to = passed_to
        self._runner = runner
        # By method, what stands before the parameter, and what behind it; or by the whole path.
        self._direct: dict[tuple[str, str, str], tuple[Operation, str]] = {}
        for operation in operations:
            if operation.together is not None:
                before, _, rest = operation.path.partition("{")
                parameter, _, behind = rest.partition("}")
                self._direct[operation.method, before, behind] = operation, parameter

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        found = None if environ.get("QUERY_STRING") else self._find(environ)
        if found is None:
            return self._passed_to(environ, start_response)
        operation, path = found
        ctx = context.of(environ)
        try:
            answer = self._runner.perform(operation, path, Request(environ), ctx)
            body = answer.data if isinstance(answer.data, bytes) else encoded(answer.body)
        except Exception as error:  # noqa: BLE001 -- answered as any call's
            return self._failed(error, environ, start_response)
        if not ctx.accounted:
            told = hooks.Answered(
                ctx=ctx, method=operation.method, template=operation.rule, status=answer.status
            )
            hooks.account([told])
        start_response(
            _STATUS[answer.status],
            [
                ("Content-Type", JSON),
                ("Content-Length", str(len(body))),
                *answer.headers.items(),
            ],
        )
        return [body]

    def _find(self, environ: dict[str, Any]) -> tuple[Operation, dict[str, str]] | None:
        """The operation that a request names, and its parameters."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        found = self._direct.get((method, path, ""))
        if found is not None and not found[1]:
            return found[0], {}
        before, _, name = path.rpartition("/")
        found, behind = self._direct.get((method, f"{before}/", "")), ""
        if found is None:
            behind = f"/{name}"
            before, _, name = before.rpartition("/")
            found = self._direct.get((method, f"{before}/", behind))
        if found is None or not found[1] or _NAME.fullmatch(name) is None:
            return None
        return found[0], {found[1]: name}

    def _failed(
        self, error: Exception, environ: dict[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        with self._app.request_context(environ):
            response = self._app.finalize_request(self._app.handle_user_exception(error))
            return response(environ, start_response)
