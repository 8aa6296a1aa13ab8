"""F7 over the wire: requests made from the service's own document, sent to its own server.

The calls in this process are tried with far more examples in tests/functional; here the whole way
is taken, through the server, with real connections, and with several people's keys in turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.process import campaign
from tests.support.running import Running

if TYPE_CHECKING:
    from schemathesis import BaseSchema, Case

PEOPLE: Final = ("billing", "requester", "officer-1")
# For each person, call and manner; about 1,200 requests in all.
EXAMPLES: Final = 2
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def described(service: Running) -> BaseSchema:
    """The running service as it describes itself."""
    return schemathesis.openapi.from_url(service.base_url + "/openapi.json")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("who", PEOPLE)
def test_f7_the_running_service_answers_as_it_documents(
    service: Running, described: BaseSchema, who: str, mode: GenerationMode
) -> None:
    """No 5xx, and every answer has a documented status, kind, head and shape."""
    sent = 0
    operations = [found.ok() for found in described.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) > 20
    for operation in operations:

        @seeded(campaign.seed(11))
        @settings(
            max_examples=campaign.rounds(EXAMPLES),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def run(case: Case[Any]) -> None:
            nonlocal sent
            sent += 1
            case.call_and_validate(
                headers={"Authorization": f"Bearer {service.keys[who]}"}, checks=CHECKS
            )

        try:
            run()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE  # a call without input has no wrong input
    campaign.report(who=who, mode=mode.value, requests=sent)
    log = service.log.read_text(encoding="utf-8")
    assert '"status":500' not in log
