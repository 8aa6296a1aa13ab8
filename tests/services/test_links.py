"""Customers who are one: shown together, nothing moves, and it can be undone; and finding them."""

from __future__ import annotations

import pytest

from tests.support.whole import NOBODY, Stage, name, refusal
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound
from vault_service.ledger.entries import Event
from vault_service.services.links import MAX_FAMILY, CustomerLinks
from vault_service.services.views import CustomerView


@pytest.fixture
def links(stage: Stage) -> CustomerLinks:
    """The use case."""
    assert stage.services.links is not None
    return stage.services.links


def test_linked_customers_are_shown_together(stage: Stage, links: CustomerLinks) -> None:
    """From either's side, however far, and each reading is told."""
    one, two, three = (stage.customer() for _ in range(3))
    tokens = {each: stage.card(each) for each in (one, two, three)}
    support = stage.caller("support")
    with stage.told(Event.CUSTOMER_LINKED) as entries:
        assert links.link(support, one, two)
        assert links.link(support, three, two)
        assert not links.link(support, two, one)
    assert [(entry.customer, entry.details["other"]) for entry in entries] == [
        (one, two),
        (two, one),
        (three, two),
        (two, three),
    ]
    for each in (one, two, three):
        with stage.told(Event.CUSTOMER_READ) as reads:
            profile = stage.customers.profile(support, each)
        assert (profile.id, set(profile.linked)) == (each, {one, two, three} - {each})
        shown = {view.customer: view.id for view in profile.tokens["payment_card"]}
        assert shown == tokens
        assert {entry.customer for entry in reads} == {one, two, three}
        assert all(entry.count == 1 for entry in reads)


def test_a_link_is_undone(stage: Stage, links: CustomerLinks) -> None:
    """Each has his own data again, where they always were."""
    one, two = stage.customer(), stage.customer()
    token = stage.card(one)
    support = stage.caller("support")
    links.link(support, one, two)
    with stage.told(Event.CUSTOMER_UNLINKED) as entries:
        links.unlink(support, two, one)
    assert len(entries) == 2
    assert stage.customers.profile(support, two).tokens == {}
    assert stage.reading.get(support, token).customer == one
    gone = refusal(lambda: links.unlink(support, one, two), NotFound)
    assert gone.code == "link_not_found"


@pytest.mark.parametrize("other", [NOBODY, "nonsense"])
def test_nobody_is_linked_to_nobody(stage: Stage, links: CustomerLinks, other: str) -> None:
    """An unknown customer and a malformed name answer alike, on either side."""
    one = stage.customer()
    support = stage.caller("support")
    for pair in ((one, other), (other, one)):
        problem = refusal(lambda pair=pair: links.link(support, *pair), NotFound)
        assert problem.code == "customer_not_found"


def test_a_customer_is_not_linked_to_himself(stage: Stage, links: CustomerLinks) -> None:
    """That would say nothing."""
    one = stage.customer()
    problem = refusal(lambda: links.link(stage.caller("support"), one, one), InvalidInput)
    assert problem.code == "link_to_itself"


def test_a_page_of_everybody_is_refused(stage: Stage, links: CustomerLinks) -> None:
    """Links add up to one customer, not to a crowd."""
    support = stage.caller("support")
    first = stage.customer()
    for _ in range(MAX_FAMILY - 1):
        links.link(support, first, stage.customer())
    problem = refusal(lambda: links.link(support, first, stage.customer()), Conflict)
    assert problem.code == "too_many_linked"


@pytest.mark.parametrize("who", ["billing", "requester", "officer-1", "auditor", "operator"])
def test_only_support_links(stage: Stage, links: CustomerLinks, who: str) -> None:
    """No other role says that two are one."""
    refusal(lambda: links.link(stage.caller(who), NOBODY, NOBODY), Forbidden)
    refusal(lambda: links.unlink(stage.caller(who), NOBODY, NOBODY), Forbidden)


def test_customers_are_found_by_reference(stage: Stage) -> None:
    """Known ones, unknown ones and bad ones, each answered alone; nobody is made."""
    reference = name("crm")
    known = stage.customer(reference)
    ((before,),) = stage.sql("SELECT count(*) FROM customers")
    found = stage.customers.find(
        stage.caller("support"), [reference, name("crm"), "4242 4242 4242 4242"]
    )
    assert isinstance(found[0], CustomerView)
    assert found[0].id == known
    assert [getattr(each, "code", None) for each in found] == [
        None,
        "customer_not_found",
        "card_number_not_allowed_here",
    ]
    assert stage.sql("SELECT count(*) FROM customers") == [(before,)]
    problem = refusal(lambda: stage.customers.find(stage.caller("support"), []), InvalidInput)
    assert problem.code == "batch_size"
    refusal(lambda: stage.customers.find(stage.caller("auditor"), [reference]), Forbidden)
