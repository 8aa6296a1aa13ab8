"""The direct way: what is asked most often goes from the server to its call without Flask.

Flask's routing, contexts and response objects cost as much as a whole masked read. Nothing else
differs: the call is run by the same `Runner`, counted and told of by the same hook. What fails is
handed to Flask, inside a request of its own, so that errors have one way out for all calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, Request

from vault_service.api.calls import JSON, Operation, Runner, encoded
from vault_service.web import context, hooks

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

# Whatever looks otherwise (encoded, empty, with a slash) is for the router to judge.
_NAME: Final = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)


class Direct:
    """Serves the operations that are declared `direct`, and passes on all other requests.

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
        self._direct: dict[str, tuple[Operation, str]] = {}
        for operation in operations:
            if operation.direct:
                base, _, parameter = operation.path.rpartition("/")
                self._direct[f"{operation.method} {base}"] = operation, parameter.strip("{}")

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        base, _, name = environ["PATH_INFO"].rpartition("/")
        found = self._direct.get(f"{environ['REQUEST_METHOD']} {base}")
        if found is None or environ.get("QUERY_STRING") or _NAME.fullmatch(name) is None:
            return self._passed_to(environ, start_response)
        operation, parameter = found
        ctx = context.of(environ)
        try:
            answer = self._runner.perform(operation, {parameter: name}, Request(environ), ctx)
            body = encoded(answer.body)
        except Exception as error:  # noqa: BLE001 -- answered as any call's
            return self._failed(error, environ, start_response)
        hooks.account(ctx, method=operation.method, template=operation.rule, status=answer.status)
        start_response("200 OK", [("Content-Type", JSON), ("Content-Length", str(len(body)))])
        return [body]

    def _failed(
        self, error: Exception, environ: dict[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        with self._app.request_context(environ):
            response = self._app.finalize_request(self._app.handle_user_exception(error))
            return response(environ, start_response)
