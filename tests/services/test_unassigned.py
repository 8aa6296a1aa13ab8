"""Messages of people whom nobody knows: listed by their outside, given to who wrote them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.mail import MAILBOX, holding, known, letter, use
from tests.support.whole import Stage, name, present, refusal
from vault_service.domain.tokens import new_customer_id, new_modification_id
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound, ServiceError
from vault_service.ledger.entries import Event
from vault_service.services.intake import Incoming
from vault_service.services.proposals import ModificationDraft
from vault_service.services.unassigned import UnassignedMessages
from vault_service.services.views import ModificationView, UnassignedView


@pytest.fixture
def waiting(stage: Stage) -> Iterator[UnassignedMessages]:
    """The use case, with nothing that waits."""
    stage.sql("UPDATE modifications SET unassigned = NULL")
    return present(stage.services.unassigned)


def taken(stage: Stage, sender: str, text: str = "Please help") -> str:
    """A message that came; its token."""
    incoming = Incoming(content=letter(sender, text), recipients=(MAILBOX,), path=None)
    return use(stage).take(incoming).reference


def listed(waiting: UnassignedMessages, stage: Stage) -> list[UnassignedView]:
    """What waits, in pages of two."""
    found: list[UnassignedView] = []
    cursor: str | None = None
    while True:
        page = waiting.page(stage.caller("support"), cursor=cursor, limit=2)
        found += page.items
        if page.next is None:
            return found
        cursor = page.next


def opened(stage: Stage, customer: str) -> list[ModificationView]:
    """A customer's changes."""
    page = present(stage.services.modifications).page(
        stage.caller("support"), customer=customer, state=None, cursor=None, limit=100
    )
    return list(page.items)


def test_they_are_listed_oldest_first(stage: Stage, waiting: UnassignedMessages) -> None:
    """With the reason, and what stands on their outside; those of customers are not among them."""
    customer, address, _ = known(stage)
    twice = f"{name()}@example.com"
    for _ in range(2):
        holding(stage, twice)
    tokens = [taken(stage, sender) for sender in ("nobody", "stranger@example.com", twice, address)]
    with stage.told(Event.TOKENS_READ) as entries:
        found = listed(waiting, stage)
    assert [each.message.id for each in found] == tokens[:3]
    assert [each.why for each in found] == ["no_sender", "unknown_sender", "several_customers"]
    assert found[1].message.mask["from"] == "s***@example.com"
    assert found[1].message.mask["to"] == ["c***@company.example"]
    assert found[1].expires_at > found[1].received_at
    assert [entry.tokens for entry in entries] == [tuple(tokens[:2]), (tokens[2],)]
    assert [each.unassigned for each in opened(stage, customer)] == [None]


def test_nothing_waits(stage: Stage, waiting: UnassignedMessages) -> None:
    """An empty list tells of nothing."""
    with stage.told(Event.TOKENS_READ) as entries:
        assert listed(waiting, stage) == []
    assert entries == []


def test_one_is_given_to_its_customer(stage: Stage, waiting: UnassignedMessages) -> None:
    """A change waits for him, as if he had been known; the message stays where it is."""
    customer, _, tokens = known(stage, telephone="+49 30 901820")
    sender = f"{name()}@example.com"
    message = taken(stage, sender, "Change: telephone\nNew: +49 30 227 0\n")
    (found,) = listed(waiting, stage)
    with stage.told(Event.MODIFICATION_ASSIGNED, Event.MODIFICATION_OPENED) as entries:
        change = waiting.assign(stage.caller("support"), found.modification, customer)
    assert (change.customer, change.ticket, change.source, change.state, change.created) == (
        customer,
        message,
        "mail",
        "open",
        True,
    )
    assert change.unassigned is None
    assert change.opened_by == stage.cast.id("support")
    assigned, told = entries
    assert (assigned.customer, assigned.details) == (
        found.message.customer,
        {
            "modification": found.modification,
            "source": "mail",
            "other": customer,
            "successor": change.id,
        },
    )
    assert (told.customer, told.details["modification"]) == (customer, change.id)
    assert listed(waiting, stage) == []
    (ended,) = opened(stage, found.message.customer)
    assert (ended.state, ended.ended_by) == ("superseded", stage.cast.id("support"))
    # Now it is a change like any other.
    modifications = present(stage.services.modifications)
    support = stage.caller("support")
    modifications.propose(support, change.id, data_class="telephone", value="+49 30 227 0")
    modifications.confirm(support, change.id, how="called_back")
    applied = modifications.apply(stage.caller("support-2"), change.id)
    assert (applied.state, applied.token) == ("applied", tokens["telephone"])
    assert stage.reading.get(support, message).customer == found.message.customer


def test_it_is_given_once(stage: Stage, waiting: UnassignedMessages) -> None:
    """Of two people at once one succeeds, and one customer has a change."""
    taken(stage, "stranger@example.com")
    (found,) = listed(waiting, stage)
    customers = [stage.customer(), stage.customer()]

    def give(customer: str) -> object:
        try:
            return waiting.assign(stage.caller("support"), found.modification, customer)
        except ServiceError as error:
            return error.code

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(give, customers))
    assert [each for each in results if isinstance(each, str)] == ["modification_ended"]
    assert sum(len(opened(stage, customer)) for customer in customers) == 1


def test_what_is_pending_is_not_opened_twice(stage: Stage, waiting: UnassignedMessages) -> None:
    """Somebody had opened the customer's change under this message by hand."""
    message = taken(stage, "stranger@example.com")
    (found,) = listed(waiting, stage)
    customer = stage.customer()
    (before,) = present(stage.services.modifications).open(
        stage.caller("support"), [ModificationDraft(customer=customer, ticket=message)]
    )
    assert isinstance(before, ModificationView)
    with stage.told(Event.MODIFICATION_OPENED) as entries:
        change = waiting.assign(stage.caller("support"), found.modification, customer)
    assert (change.id, change.created, entries) == (before.id, False, [])


def test_it_is_not_given(stage: Stage, waiting: UnassignedMessages) -> None:
    """To nobody, to itself, when it has ended, or when its sender was known."""
    customer, address, _ = known(stage)
    taken(stage, "stranger@example.com")
    (found,) = listed(waiting, stage)
    support, change = stage.caller("support"), found.modification

    def refused(modification: str, to: str, kind: type[ServiceError]) -> str:
        return refusal(lambda: waiting.assign(support, modification, to), kind).code

    assert refused(change, new_customer_id(), NotFound) == "customer_not_found"
    assert refused(change, "somebody", NotFound) == "customer_not_found"
    assert refused(change, found.message.customer, InvalidInput) == "customer_unchanged"
    assert refused("mod_x", customer, NotFound) == "modification_not_found"
    assert refused(new_modification_id(5), customer, NotFound) == "modification_not_found"
    assert [each.modification for each in listed(waiting, stage)] == [change]
    taken(stage, address)
    (own,) = opened(stage, customer)
    assert refused(own.id, stage.customer(), Conflict) == "modification_has_customer"
    present(stage.services.modifications).reject(support, change, reason="other")
    assert listed(waiting, stage) == []
    assert refused(change, customer, Conflict) == "modification_ended"


def test_what_has_ended_waits_no_more(stage: Stage, waiting: UnassignedMessages) -> None:
    """A message that was erased, and one that nobody came back to in its time."""
    erased, late = (taken(stage, f"{name()}@example.com") for _ in range(2))
    stage.erasure.erase(stage.caller("billing"), [erased])
    assert [each.message.id for each in listed(waiting, stage)] == [late]
    stage.sql("UPDATE modifications SET expires_at = now() WHERE ticket = %s", [late])
    assert listed(waiting, stage) == []
    assert stage.housekeeping.sweep().changes == 1


@pytest.mark.parametrize(
    "cursor",
    ["x", "2026-01-01~mod_1", "2026-01-01T00:00:00~{name}", "never~{name}", "~", "\x00~{name}"],
)
def test_a_cursor_is_one(stage: Stage, waiting: UnassignedMessages, cursor: str) -> None:
    """What is none is refused."""
    text = cursor.replace("{name}", new_modification_id(7))
    problem = refusal(
        lambda: waiting.page(stage.caller("support"), cursor=text, limit=2), InvalidInput
    )
    assert problem.code == "cursor_invalid"


@pytest.mark.parametrize("limit", [0, 101])
def test_a_page_has_its_limit(stage: Stage, waiting: UnassignedMessages, limit: int) -> None:
    """1 to 100."""
    problem = refusal(
        lambda: waiting.page(stage.caller("support"), cursor=None, limit=limit), InvalidInput
    )
    assert problem.code == "limit_invalid"


@pytest.mark.parametrize("who", ["billing", "officer-1", "requester", "operator"])
def test_only_support(stage: Stage, waiting: UnassignedMessages, who: str) -> None:
    """Lists them and gives them away."""
    caller = stage.caller(who)
    refusal(lambda: waiting.page(caller, cursor=None, limit=1), Forbidden)
    refusal(lambda: waiting.assign(caller, new_modification_id(1), new_customer_id()), Forbidden)
