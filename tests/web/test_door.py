"""The door: whose credential was never good here has nothing read for him."""

from __future__ import annotations

import pytest
from flask import Request

from tests.api.conftest import make_settings
from vault_service.domain.actors import Principal
from vault_service.errors import NotAuthenticated
from vault_service.services.authentication import Authentication, Look
from vault_service.services.context import Caller
from vault_service.services.ports import Credential
from vault_service.web import context
from vault_service.web.door import Door
from vault_service.web.rates import Rates


class _Asked(Authentication):
    """Lets in whom it is told to, and keeps with which look it was asked."""

    def __init__(self) -> None:
        self.looks: list[Look | None] = []
        self.good = True

    def authenticate(
        self,
        authorization: str | None,
        *,
        request_id: str,
        address: str,
        deadline: float,
        look: Look | None = None,
    ) -> Caller:
        """Answer as told."""
        del authorization
        self.looks.append(look)
        if not self.good:
            raise NotAuthenticated("revoked", code="credential_revoked")
        return Caller(
            principal=Principal(id="prn_1", name="one", roles=frozenset()),
            key_id="key_1",
            request_id=request_id,
            address=address,
            deadline=deadline,
        )


def _look(key_id: str, deadline: float) -> Credential | None:
    raise AssertionError(key_id, deadline)


def test_only_for_a_credential_that_was_good_is_anything_read_ahead() -> None:
    """Not the first time, then always, and not after it was refused."""
    asked = _Asked()
    door = Door(asked, Rates(make_settings()))

    def come() -> None:
        environ = {"HTTP_AUTHORIZATION": "Bearer vk_x"}
        began = context.begin(environ, address="192.0.2.1", seconds=1.0)
        door.admit(Request(environ), began, look=_look)

    come()
    come()
    asked.good = False
    with pytest.raises(NotAuthenticated):
        come()
    with pytest.raises(NotAuthenticated):
        come()
    assert asked.looks == [None, _look, _look, None]
