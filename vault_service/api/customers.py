"""Calls on customers."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from vault_service.api import views
from vault_service.api.calls import Answer, Call, Group
from vault_service.api.errors import item_error
from vault_service.api.schemas import (
    CustomerBatchIn,
    CustomerBatchOut,
    CustomerIn,
    CustomerMatchOut,
    CustomerOut,
    CustomerResult,
    CustomerSearchIn,
    CustomerSearchOut,
    CustomerSearchResult,
    LinkIn,
    LinkOut,
    ProfileOut,
    TokenOut,
)
from vault_service.api.tokens import EXAMPLE_CUSTOMER
from vault_service.domain.actors import Action
from vault_service.errors import InvalidInput, NotFound, ServiceError
from vault_service.services.views import CustomerView, TokenView
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
            linked=list(profile.linked),
            tokens={
                name: [views.token(view) for view in found]
                for name, found in profile.tokens.items()
            },
            truncated=profile.truncated,
        )
    )


@GROUP.call(
    "POST",
    "/v1/customers/search",
    "Find customers by their exact reference, or by a value that is kept of them.",
    action=Action.READ_CUSTOMER,
    body=CustomerSearchIn,
    answers={200: CustomerSearchOut},
    example={"external_refs": ["crm-17"]},
    codes=("batch_size", "class_unknown", "search_ambiguous"),
)
def search_customers(call: Call[CustomerSearchIn, None]) -> Answer:
    """Find customers; one result for each reference or value."""
    body = call.body
    if (body.external_refs is UNSET) == (body.values is UNSET) or (
        (body.values is UNSET) != (body.data_class is UNSET)
    ):
        raise InvalidInput(
            "name external_refs, or class and values", code="search_ambiguous", pointer="/values"
        )
    if body.external_refs is not UNSET:
        known = present(call.served.customers).find(call.caller, body.external_refs)
        return Answer(
            body=CustomerSearchOut(
                results=[
                    _one(found, f"/external_refs/{place}") for place, found in enumerate(known)
                ]
            )
        )
    matches = present(call.served.reading).search(
        call.caller,
        data_class=str(body.data_class),
        values=[] if body.values is UNSET else body.values,
    )
    return Answer(body=CustomerSearchOut(results=[_holders(found) for found in matches]))


def _one(found: CustomerView | ServiceError, place: str) -> CustomerSearchResult:
    """The customer of one reference; nobody is an empty list, as with a value."""
    if isinstance(found, NotFound):
        return CustomerSearchResult(customers=[])
    if isinstance(found, ServiceError):
        found.pointer = None if found.pointer is None else place
        return CustomerSearchResult(error=item_error(found))
    return CustomerSearchResult(customers=[CustomerMatchOut(id=found.id, tokens=[])])


def _holders(found: tuple[TokenView, ...] | ServiceError) -> CustomerSearchResult:
    """Who holds a value, each with the records that hold it."""
    if isinstance(found, ServiceError):
        return CustomerSearchResult(error=item_error(found))
    held: dict[str, list[TokenOut]] = {}
    for view in found:
        held.setdefault(view.customer, []).append(views.token(view))
    return CustomerSearchResult(
        customers=[CustomerMatchOut(id=name, tokens=some) for name, some in held.items()]
    )


@GROUP.call(
    "POST",
    "/v1/customers/{customer}/links",
    "Link two customers who are one: they are shown together, and nothing moves.",
    action=Action.LINK_CUSTOMERS,
    body=LinkIn,
    answers={201: LinkOut, 200: LinkOut},
    example={"other": EXAMPLE_CUSTOMER},
    codes=("customer_not_found", "link_to_itself", "too_many_linked"),
)
def link_customers(call: Call[LinkIn, None]) -> Answer:
    """Link two customers; 200 when they were."""
    customer = call.path["customer"]
    new = present(call.served.links).link(call.caller, customer, call.body.other)
    return Answer(
        body=LinkOut(customer=customer, other=call.body.other), status=201 if new else 200
    )


@GROUP.call(
    "DELETE",
    "/v1/customers/{customer}/links/{other}",
    "Undo the link of two customers.",
    action=Action.LINK_CUSTOMERS,
    answers={204: None},
    codes=("customer_not_found", "link_not_found"),
)
def unlink_customers(call: Call[None, None]) -> Answer:
    """Undo a link."""
    present(call.served.links).unlink(call.caller, call.path["customer"], call.path["other"])
    return Answer(status=204)
