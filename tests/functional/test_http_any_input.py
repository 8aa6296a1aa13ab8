"""Whatever a caller sends, over every documented call: no 5xx, and answers as documented.

schemathesis makes requests from the service's own OpenAPI document, good ones and bad ones, and
sends them to the whole service on the real servers.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from werkzeug.test import create_environ
from werkzeug.wrappers import Response

from tests.support.whole import Stage
from vault_service.api import openapi
from vault_service.api.calls import Operation
from vault_service.app import create_app, operations
from vault_service.settings import ProcessRole

if TYPE_CHECKING:
    from schemathesis import BaseSchema, Case

# Whose key a call is made with; of a call for several roles any will do.
PERSON = {
    "billing": "billing",
    "support": "support",
    "requester": "requester",
    "officer": "officer-1",
    "operator": "operator",
    "auditor": "auditor",
}
CALLERS = {
    operation.name: PERSON[(openapi.roles_of(operation) or ["billing"])[0]]
    for operation in operations(ProcessRole.ALL)
}
# Enough to find what is easily found, on every run; a campaign takes many more.
EXAMPLES = 12
# These answer item by item: a wrong item is an error at its place, not of the call.
ITEMWISE = frozenset(
    (
        *("create_tokens", "search_tokens", "search_customers"),
        *("open_modifications", "record_services", "record_activity", "load_activity"),
    )
)
# Of a query without anything required the wrong input may be a member that is not even sent.
ALL_OPTIONAL = frozenset(("read_usage", "read_usage_chart"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]


@pytest.fixture(scope="module")
def app(stage: Stage) -> Flask:
    """The application in this process, on the real servers."""
    return create_app(stage.services, stage.settings_for(ProcessRole.ALL))


@pytest.fixture(scope="module")
def described(app: Flask) -> BaseSchema:
    """The service as it describes itself."""
    return schemathesis.openapi.from_wsgi("/openapi.json", app)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("operation", operations(ProcessRole.ALL), ids=lambda one: one.name)
def test_f7_no_input_makes_the_service_fail(
    described: BaseSchema, stage: Stage, operation: Operation, mode: GenerationMode
) -> None:
    """Any input to any call is answered as documented, and never with a 5xx."""
    documented = described[operation.path][operation.method]
    key = stage.cast.keys[CALLERS[operation.name]]
    lenient = operation.name in ITEMWISE | ALL_OPTIONAL
    checks = [one for one in CHECKS if not (lenient and one is negative_data_rejection)]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=documented.as_strategy(generation_mode=mode))
    def run(case: Case[Any]) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=checks)

    try:
        run()
    except Unsatisfiable:
        # A call without parameters and body has no wrong input.
        assert mode is GenerationMode.NEGATIVE


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=st.binary(max_size=200), data=st.data())
def test_f7_no_bytes_make_the_service_fail(
    body: bytes, data: Any, app: Flask, stage: Stage
) -> None:
    """Bytes that are no JSON, in any call with a body, are a 4xx."""
    offered = [one for one in operations(ProcessRole.ALL) if one.body]
    operation = data.draw(st.sampled_from(offered))
    key = stage.cast.keys[CALLERS[operation.name]]
    environ = create_environ(
        operation.path.replace("{", "").replace("}", ""),
        method=operation.method,
        input_stream=io.BytesIO(body),
        content_length=len(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {key}"},
    )
    response = Response.from_app(app, environ)
    assert response.status_code < 500
