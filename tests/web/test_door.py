"""The door: whose credential was never good here is looked at alone, and nothing read of him."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from flask import Request

from tests.api.conftest import make_settings
from vault_service.domain.actors import Principal
from vault_service.errors import NotAuthenticated, RateLimited, ServiceError
from vault_service.services.authentication import Authentication, Shown
from vault_service.services.context import Caller
from vault_service.web import context
from vault_service.web.context import RequestContext
from vault_service.web.door import Door
from vault_service.web.rates import Rates


class _Asked(Authentication):
    """Lets in whom it is told to."""

    def __init__(self) -> None:
        self.good = True

    def authenticate(self, shown: Shown) -> Caller:
        """Answer as told."""
        if not self.good:
            raise NotAuthenticated("revoked", code="credential_revoked")
        return Caller(
            principal=Principal(id="prn_1", name="one", roles=frozenset()),
            key_id="key_1",
            request_id=shown.request_id,
            address=shown.address,
            deadline=shown.deadline,
        )

    def authenticate_many(self, shown: Sequence[Shown]) -> list[Caller | ServiceError]:
        """Answer as told."""
        outcomes: list[Caller | ServiceError] = []
        for each in shown:
            try:
                outcomes.append(self.authenticate(each))
            except NotAuthenticated as refusal:
                outcomes.append(refusal)
        return outcomes


@pytest.fixture
def comer() -> tuple[Request, RequestContext]:
    """A request with a credential."""
    environ = {"HTTP_AUTHORIZATION": "Bearer vk_x"}
    return Request(environ), context.begin(environ, address="192.0.2.1", seconds=1.0)


def test_only_a_credential_that_was_good_is_known(comer: tuple[Request, RequestContext]) -> None:
    """Not before the first time, then always, and not after it was refused."""
    asked = _Asked()
    door = Door(asked, Rates(make_settings()))
    assert not door.knows(comer[0])
    door.admit(*comer)
    assert door.knows(comer[0])
    (caller,) = door.admit_many([comer])
    assert caller is comer[1].caller
    asked.good = False
    (refusal,) = door.admit_many([comer])
    assert isinstance(refusal, NotAuthenticated)
    assert not door.knows(comer[0])
    with pytest.raises(NotAuthenticated):
        door.admit(*comer)


def test_what_is_refused_in_company_counts_against_its_address(
    comer: tuple[Request, RequestContext],
) -> None:
    """As it does alone: whoever shows refused credentials on and on is not looked at any more."""
    asked = _Asked()
    door = Door(asked, Rates(make_settings(refused_rate_limit=2)))
    asked.good = False
    door.admit_many([comer, comer])
    with pytest.raises(RateLimited):
        door.admit(*comer)
