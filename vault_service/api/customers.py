"""Calls on customers."""

from __future__ import annotations

from typing import Final

from vault_service.api import views
from vault_service.api.calls import Answer, Call, Group
from vault_service.api.errors import item_error
from vault_service.api.schemas import (
    CustomerBatchIn,
    CustomerBatchOut,
    CustomerIn,
    CustomerOut,
    CustomerResult,
    ProfileOut,
)
from vault_service.domain.actors import Action
from vault_service.errors import ServiceError
from vault_service.services.views import CustomerView
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
    "POST",
    "/v1/customers/batch",
    "Make or find up to 1,000 customers; each succeeds or fails alone.",
    action=Action.CREATE_CUSTOMER,
    body=CustomerBatchIn,
    answers={200: CustomerBatchOut},
    example={"items": [{"external_ref": "crm-17"}, {"external_ref": "crm-18"}]},
)
def create_customers(call: Call[CustomerBatchIn, None]) -> Answer:
    """Make or find customers."""
    found = present(call.served.customers).create(
        call.caller, [item.external_ref for item in call.body.items]
    )
    results = [_result(each, f"/items/{place}") for place, each in enumerate(found)]
    return Answer(body=CustomerBatchOut(results=results))


def _result(found: CustomerView | ServiceError, place: str) -> CustomerResult:
    if isinstance(found, ServiceError):
        found.pointer = None if found.pointer is None else place + found.pointer
        return CustomerResult(error=item_error(found))
    return CustomerResult(
        customer=CustomerOut(id=found.id, created_at=found.created_at), created=found.created
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
