"""Erasure: what is sealed is destroyed, the name is kept."""

from __future__ import annotations

import pytest

from tests.support.faults import FaultyUnitOfWork, rebuilt
from tests.support.whole import NOWHERE, Stage, numbers, refusal
from vault_service.errors import Forbidden, InvalidInput, NotFound, Unavailable
from vault_service.ledger.entries import Event


def test_an_erased_record_keeps_nothing_of_its_value(stage: Stage, customer: str) -> None:
    """Envelope, wrapped key, fingerprint and mask are gone; the entry names the token."""
    token = stage.card(customer)
    with stage.told() as entries:
        assert stage.erasure.erase(stage.caller("officer-1"), [token]) == [None]
    ((row,),) = stage.sql("SELECT row_to_json(r) FROM records r WHERE token = %s", [token])
    assert row["mask"] == {}
    assert {row[c] for c in ("envelope", "wrapped_key", "fingerprint", "kek", "expires_at")} == {
        None
    }
    (entry,) = entries
    assert (entry.event, entry.tokens, entry.customer) == (
        Event.TOKENS_ERASED,
        (token,),
        customer,
    )


def test_a_batch_erases_what_is_there(stage: Stage, customer: str) -> None:
    """One result for each token, in order; twice is once; one entry for each customer."""
    other = stage.customer()
    mine, theirs = stage.card(customer), stage.card(other)
    with stage.told(Event.TOKENS_ERASED) as entries:
        results = stage.erasure.erase(
            stage.caller("billing"), [mine, NOWHERE, "tok_?", theirs, mine]
        )
    assert [None if result is None else result.code for result in results] == [
        None,
        "token_not_found",
        "token_not_found",
        None,
        None,
    ]
    assert {entry.customer for entry in entries} == {customer, other}
    (again,) = stage.erasure.erase(stage.caller("billing"), [mine])
    assert isinstance(again, NotFound)


def test_the_value_may_come_again_under_another_name(stage: Stage, customer: str) -> None:
    """An erased token is never given out again."""
    token = stage.card(customer)
    stage.erasure.erase(stage.caller("billing"), [token])
    assert stage.card(customer) != token


def test_1000_at_once_are_told_in_entries_that_fit(stage: Stage, customer: str) -> None:
    """A large batch is one event in several parts, each token in one of them."""
    from tests.support.whole import card
    from vault_service.services.tokenization import TokenizeItem

    views = stage.tokenize(
        *[
            TokenizeItem(data_class="payment_card", customer=customer, value=card(number))
            for number in numbers(1000, start=5000)
        ]
    )
    tokens = [view.id for view in views]
    with stage.told(Event.TOKENS_ERASED) as entries:
        assert stage.erasure.erase(stage.caller("billing"), tokens) == [None] * 1000
    assert sorted(token for entry in entries for token in entry.tokens) == sorted(tokens)
    assert {entry.count for entry in entries} == {1000}
    assert {entry.part.batch for entry in entries if entry.part} == {
        next(entry.id for entry in entries if entry.part and entry.part.number == 1)
    }


@pytest.mark.parametrize("count", [0, 1001])
def test_the_number_is_bounded(stage: Stage, count: int) -> None:
    """1 to 1,000."""
    error = refusal(
        lambda: stage.erasure.erase(stage.caller("billing"), [NOWHERE] * count), InvalidInput
    )
    assert error.code == "batch_size"


def test_only_billing_and_officers_erase(stage: Stage) -> None:
    """Support is refused."""
    refusal(lambda: stage.erasure.erase(stage.caller("support"), [NOWHERE]), Forbidden)


def test_a_failed_commit_erases_nothing(stage: Stage, customer: str) -> None:
    """All of a batch or none, its entry included."""
    token = stage.card(customer)
    broken = rebuilt(stage.erasure, uow=FaultyUnitOfWork(stage.erasure._uow, at="instead"))
    with stage.told() as entries:
        refusal(lambda: broken.erase(stage.caller("billing"), [token]), Unavailable)
    assert entries == []
    assert stage.reading.get(stage.caller("billing"), token).id == token
