"""Customers: one for each reference, however often and at once it is named."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.support.faults import rebuilt
from tests.support.whole import NOBODY, Stage, card, name, present, refusal
from vault_service.errors import Forbidden, InvalidInput, NotFound
from vault_service.ledger.entries import Event
from vault_service.services import customers as use_case
from vault_service.services.tokenization import TokenizeItem
from vault_service.services.views import CustomerView
from vault_service.storage.session import Session


def made(results: object) -> list[CustomerView]:
    """Expect nothing but customers."""
    assert isinstance(results, list)
    assert all(isinstance(each, CustomerView) for each in results), results
    return results


def test_the_same_reference_is_the_same_customer(stage: Stage) -> None:
    """Whoever asks, in whatever composition of Unicode; created once, told once."""
    reference = name("Caf\u00e9")
    with stage.told(Event.CUSTOMER_CREATED) as entries:
        (first,) = made(stage.customers.create(stage.caller("billing"), [reference]))
        (second,) = made(
            stage.customers.create(
                stage.caller("support"), [f" {reference.replace(chr(0xE9), 'e' + chr(0x301))} "]
            )
        )
    assert first.id == second.id
    assert (first.created, second.created) == (True, False)
    assert [entry.customer for entry in entries] == [first.id]


@pytest.mark.parametrize(
    "lookalike", ["CRM-1", "\u0441rm-1", "crm\u200d-1", "crm -1", "crm-1\u0301"]
)
def test_a_lookalike_is_another_customer(stage: Stage, lookalike: str) -> None:
    """References are identifiers: case, script and joiners count."""
    one, other = made(stage.customers.create(stage.caller("billing"), ["crm-1", lookalike]))
    assert one.id != other.id


def test_a_batch_takes_good_bad_and_repeated_references(stage: Stage) -> None:
    """Each has a result of its own; None makes a customer without a reference."""
    reference = name("crm")
    results = stage.customers.create(
        stage.caller("billing"),
        [reference, None, reference, "", "4242424242424242", "r\u2028", None],
    )
    views = [each for each in results if isinstance(each, CustomerView)]
    assert [each.code for each in results if not isinstance(each, CustomerView)] == [
        "text_empty",
        "card_number_not_allowed_here",
        "control_character",
    ]
    assert [view.created for view in views] == [True, True, False, True]
    assert len({view.id for view in views}) == 3
    assert stage.sql(
        "SELECT count(*), sum(has_reference) FROM customers WHERE id = ANY(%s)",
        [[view.id for view in views]],
    ) == [(3, 1)]


def test_nothing_but_errors_writes_nothing(stage: Stage) -> None:
    """A batch of bad references is answered without the database."""
    with stage.told() as entries:
        (error,) = stage.customers.create(stage.caller("billing"), [" "])
    assert isinstance(error, InvalidInput)
    assert entries == []


@pytest.mark.parametrize("count", [0, 1001])
def test_the_number_is_bounded(stage: Stage, count: int) -> None:
    """1 to 1,000."""
    error = refusal(
        lambda: stage.customers.create(stage.caller("billing"), [None] * count), InvalidInput
    )
    assert error.code == "batch_size"


def test_only_billing_and_support_make_customers(stage: Stage) -> None:
    """An officer is refused."""
    refusal(lambda: stage.customers.create(stage.caller("officer-1"), [None]), Forbidden)


def test_opposite_orders_at_once_do_not_fail(stage: Stage) -> None:
    """Two callers with the same references in opposite order get the same customers."""
    references = [name("crm") for _ in range(50)]
    found: list[list[str]] = []

    def call(order: list[str]) -> None:
        found.append(
            [view.id for view in made(stage.customers.create(stage.caller("billing"), order))]
        )

    threads = [
        threading.Thread(target=call, args=(order,)) for order in (references, references[::-1]) * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({frozenset(each) for each in found}) == 1


def test_a_customer_keeps_its_name_when_the_reference_key_is_rotated(stage: Stage) -> None:
    """The known id counts before the new key's; an unknown reference gets the new one."""
    old, new = name("crm"), name("crm")
    (before,) = made(stage.customers.create(stage.caller("billing"), [old]))
    with stage.admin() as admin:
        admin.rotate("fingerprint-customer-ref")
    after, other, none = made(stage.customers.create(stage.caller("billing"), [old, new, None]))
    assert (after.id, after.created) == (before.id, False)
    assert (other.created, none.created) == (True, True)


def test_a_profile_has_masked_records_by_class(stage: Stage, customer: str) -> None:
    """The reading of a profile is an entry; no value stands in it."""
    token = stage.card(customer)
    with stage.told() as entries:
        profile = stage.customers.profile(stage.caller("support"), customer)
    assert {name: [view.id for view in views] for name, views in profile.tokens.items()} == {
        "payment_card": [token]
    }
    assert not profile.truncated
    assert "4242424242424242" not in str(profile)
    (entry,) = entries
    assert (entry.event, entry.customer, entry.count) == (Event.CUSTOMER_READ, customer, 1)


def test_a_profile_is_one_query(
    stage: Stage, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records of every class and of linked customers; beside it the time for the entry is asked."""
    other = stage.customer()
    for owner in (customer, other):
        stage.tokenize(
            TokenizeItem(data_class="payment_card", customer=owner, value=card()),
            TokenizeItem(data_class="telephone", customer=owner, value="+49 30 901820"),
            TokenizeItem(data_class="contact_name", customer=owner, value="Ada Lovelace"),
        )
    present(stage.services.links).link(stage.caller("support"), customer, other)
    stage.customers.profile(stage.caller("support"), customer)  # the guard has read its marks
    asked: list[bytes] = []
    real = Session.rows

    def rows(session: Session, statement: bytes, *given: Any, **more: Any) -> Any:
        asked.append(statement)
        return real(session, statement, *given, **more)

    monkeypatch.setattr(Session, "rows", rows)
    profile = stage.customers.profile(stage.caller("support"), customer)
    monkeypatch.undo()
    assert {name: len(views) for name, views in profile.tokens.items()} == dict.fromkeys(
        ("payment_card", "telephone", "contact_name"), 2
    )
    assert [b"records" in each for each in asked] == [True, False]
    assert asked[1] == b"SELECT now()"


def test_a_large_profile_is_cut_and_says_so(
    stage: Stage, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More records than a profile shows are left to the pages."""
    monkeypatch.setattr(use_case, "MAX_PROFILE", 2)
    for number in ("4242424242424242", "5555555555554444", "378282246310005"):
        stage.card(customer, number)
    with stage.told() as entries:
        profile = stage.customers.profile(stage.caller("billing"), customer)
    assert profile.truncated
    assert sum(map(len, profile.tokens.values())) == 2
    assert [entry.count for entry in entries] == [2]


@pytest.mark.parametrize("who", [NOBODY, "cus_", "' --", "cus_\x00"])
def test_unknown_and_malformed_customers_answer_alike(stage: Stage, who: str) -> None:
    """Nobody learns more than that there is none."""
    error = refusal(lambda: stage.customers.profile(stage.caller("billing"), who), NotFound)
    assert (error.code, error.detail) == ("customer_not_found", "there is no such customer")


def test_an_officer_reads_no_profile(stage: Stage, customer: str) -> None:
    """Profiles are billing's and support's."""
    refusal(lambda: stage.customers.profile(stage.caller("officer-1"), customer), Forbidden)


def test_the_use_case_can_be_made_anew(stage: Stage) -> None:
    """Nothing is kept between calls: another instance finds the same customer."""
    reference = name("crm")
    (first,) = made(stage.customers.create(stage.caller("billing"), [reference]))
    (again,) = made(rebuilt(stage.customers).create(stage.caller("billing"), [reference]))
    assert again.id == first.id
