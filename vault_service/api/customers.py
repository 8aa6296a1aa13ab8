"""Calls on customers."""

from __future__ import annotations

from typing import Final

from vault_service.api import views
from vault_service.api.calls import Answer, Call, Group
from vault_service.api.schemas import CustomerIn, CustomerOut, ProfileOut
from vault_service.domain.actors import Action
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("customers", ProcessRole.INGEST)


@GROUP.call(
    "POST",
    "/v1/customers",
    "Make a customer, or find the one of this reference.",
    action=Action.CREATE_CUSTOMER,
    body=CustomerIn,
    optional_body=True,
    answers={201: CustomerOut, 200: CustomerOut},
    example={"external_ref": "crm-17"},
    codes=("card_number_not_allowed_here",),
)
def create_customer(call: Call[CustomerIn, None]) -> Answer:
    """Make a customer; 200 when the reference was known."""
    (result,) = present(call.served.customers).create(call.caller, [call.body.external_ref])
    if isinstance(result, Exception):
        raise result
    return Answer(
        body=CustomerOut(id=result.id, created_at=result.created_at),
        status=201 if result.created else 200,
    )


@GROUP.call(
    "GET",
    "/v1/customers/{customer}",
    "Read a customer's profile, masked, by class.",
    action=Action.READ_CUSTOMER,
    answers={200: ProfileOut},
    codes=("customer_not_found",),
)
def get_customer(call: Call[None, None]) -> Answer:
    """Read a profile."""
    profile = present(call.served.customers).profile(call.caller, call.path["customer"])
    return Answer(
        body=ProfileOut(
            id=profile.id,
            created_at=profile.created_at,
            tokens={
                name: [views.token(view) for view in found]
                for name, found in profile.tokens.items()
            },
            truncated=profile.truncated,
        )
    )
