"""Calls on principals and their API keys."""

from __future__ import annotations

from typing import Final

from vault_service.api import views
from vault_service.api.calls import Answer, Call, Group
from vault_service.api.schemas import (
    IssuedKeyOut,
    KeyIn,
    NothingIn,
    PageQuery,
    PrincipalIn,
    PrincipalOut,
    PrincipalPageOut,
    RolesIn,
)
from vault_service.domain.actors import Action
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("principals", ProcessRole.CONSOLE)

_MISSING: Final = ("principal_not_found",)


@GROUP.call(
    "POST",
    "/v1/principals",
    "Make a principal with its first key.",
    action=Action.MANAGE_PRINCIPALS,
    body=PrincipalIn,
    answers={201: IssuedKeyOut},
    example={"name": "billing-eu", "roles": ["billing"]},
    codes=("name_taken", "role_unknown", "roles_conflict"),
)
def create_principal(call: Call[PrincipalIn, None]) -> Answer:
    """Make a principal."""
    issued = present(call.served.principals).create(
        call.caller,
        name=call.body.name,
        roles=call.body.roles,
        key_expires_at=call.body.key_expires_at,
    )
    return Answer(body=views.issued_key(issued), status=201)


@GROUP.call(
    "GET",
    "/v1/principals",
    "List principals with their keys.",
    action=Action.READ_PRINCIPALS,
    query=PageQuery,
    answers={200: PrincipalPageOut},
    codes=("cursor_invalid",),
)
def list_principals(call: Call[None, PageQuery]) -> Answer:
    """List principals."""
    found, following = present(call.served.principals).page(
        call.caller, cursor=call.query.cursor, limit=call.query.limit
    )
    return Answer(
        body=PrincipalPageOut(items=[views.principal(view) for view in found], next=following)
    )


@GROUP.call(
    "GET",
    "/v1/principals/{principal}",
    "Read one principal; `me` is the caller.",
    answers={200: PrincipalOut},
    codes=_MISSING,
)
def get_principal(call: Call[None, None]) -> Answer:
    """Read one principal."""
    view = present(call.served.principals).get(call.caller, call.path["principal"])
    return Answer(body=views.principal(view))


@GROUP.call(
    "POST",
    "/v1/principals/{principal}/keys",
    "Make another key; `revoke` ends an old one with it.",
    body=KeyIn,
    optional_body=True,
    answers={201: IssuedKeyOut},
    example={},
    codes=(*_MISSING, "key_not_found", "too_many_keys", "expires_at_in_past"),
)
def issue_key(call: Call[KeyIn, None]) -> Answer:
    """Make another key."""
    issued = present(call.served.principals).issue_key(
        call.caller,
        call.path["principal"],
        expires_at=call.body.expires_at,
        revoke=call.body.revoke,
    )
    return Answer(body=views.issued_key(issued), status=201)


@GROUP.call(
    "DELETE",
    "/v1/principals/{principal}/keys/{key}",
    "Revoke a key; it fails on the next request.",
    answers={200: PrincipalOut},
    codes=(*_MISSING, "key_not_found"),
)
def revoke_key(call: Call[None, None]) -> Answer:
    """Revoke a key."""
    view = present(call.served.principals).revoke_key(
        call.caller, call.path["principal"], call.path["key"]
    )
    return Answer(body=views.principal(view))


@GROUP.call(
    "POST",
    "/v1/principals/{principal}/keys/{key}/confirm",
    "Confirm a pending key of somebody else.",
    action=Action.CONFIRM_KEY,
    body=NothingIn,
    optional_body=True,
    answers={200: PrincipalOut},
    example={},
    codes=(*_MISSING, "key_not_found", "key_not_pending", "own_key"),
)
def confirm_key(call: Call[NothingIn, None]) -> Answer:
    """Confirm a key."""
    view = present(call.served.principals).confirm_key(
        call.caller, call.path["principal"], call.path["key"]
    )
    return Answer(body=views.principal(view))


@GROUP.call(
    "POST",
    "/v1/principals/{principal}/disable",
    "Let none of a principal's keys count.",
    action=Action.MANAGE_PRINCIPALS,
    body=NothingIn,
    optional_body=True,
    answers={200: PrincipalOut},
    example={},
    codes=_MISSING,
)
def disable_principal(call: Call[NothingIn, None]) -> Answer:
    """Disable a principal."""
    view = present(call.served.principals).disable(call.caller, call.path["principal"])
    return Answer(body=views.principal(view))


@GROUP.call(
    "POST",
    "/v1/principals/{principal}/enable",
    "Let a disabled principal's keys count again.",
    action=Action.MANAGE_PRINCIPALS,
    body=NothingIn,
    optional_body=True,
    answers={200: PrincipalOut},
    example={},
    codes=_MISSING,
)
def enable_principal(call: Call[NothingIn, None]) -> Answer:
    """Enable a principal."""
    view = present(call.served.principals).enable(call.caller, call.path["principal"])
    return Answer(body=views.principal(view))


@GROUP.call(
    "PUT",
    "/v1/principals/{principal}/roles",
    "Replace a principal's roles.",
    action=Action.MANAGE_PRINCIPALS,
    body=RolesIn,
    answers={200: PrincipalOut},
    example={"roles": ["billing", "support"]},
    codes=(*_MISSING, "own_roles", "role_unknown", "roles_conflict", "role_needs_new_principal"),
)
def set_roles(call: Call[RolesIn, None]) -> Answer:
    """Replace roles."""
    view = present(call.served.principals).set_roles(
        call.caller, call.path["principal"], call.body.roles
    )
    return Answer(body=views.principal(view))
