"""Legal holds: what is held is erased by nobody, and only another officer lets it go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.holds import hold_draft, placed
from tests.support.racing import threads
from tests.support.whole import NOBODY, NOWHERE, Stage, card, refusal
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound, ServiceError
from vault_service.ledger.entries import Event, Outcome, commit
from vault_service.services.holds import HoldView
from vault_service.services.tokenization import TokenizeItem

UNKNOWN = "hld_" + "0" * 28


def erased(stage: Stage, *tokens: str, by: str = "billing") -> list[str | None]:
    """The code of each refusal of an erasure."""
    results = stage.erasure.erase(stage.caller(by), tokens)
    return [None if each is None else each.code for each in results]


def expire(stage: Stage, token: str) -> None:
    """Let a record's time pass."""
    stage.sql("UPDATE records SET expires_at = now() - interval '1 s' WHERE token = %s", [token])


def is_sealed(stage: Stage, token: str) -> bool:
    """Whether the record still has all that it needs to be opened."""
    ((whole,),) = stage.sql(
        "SELECT envelope IS NOT NULL AND wrapped_key IS NOT NULL FROM records WHERE token = %s",
        [token],
    )
    return bool(whole)


def test_a_held_customers_records_are_erased_by_nobody(stage: Stage, customer: str) -> None:
    """409 for the held one, and the others of the batch go; both are told."""
    token, other = stage.card(customer), stage.card(stage.customer())
    placed(stage, customer)
    later = stage.card(customer, "5555555555554444")
    with stage.told(Event.TOKENS_ERASED) as entries:
        assert erased(stage, token, other, NOWHERE, later) == [
            "legal_hold", None, "token_not_found", "legal_hold",
        ]  # fmt: skip
    assert erased(stage, token, by="officer-1") == ["legal_hold"]
    told = {(entry.customer, entry.outcome, entry.reason) for entry in entries}
    assert (customer, Outcome.REFUSED, "legal_hold") in told
    assert len(entries) == 2
    assert stage.reading.get(stage.caller("billing"), token).id == token


def test_a_hold_on_some_records_holds_those(stage: Stage, customer: str) -> None:
    """The customer's others can go."""
    held, free = stage.card(customer), stage.card(customer, "5555555555554444")
    view = placed(stage, customer, tokens=(held,))
    assert view.tokens == (held,)
    assert erased(stage, held, free) == ["legal_hold", None]


def test_another_officer_releases(stage: Stage, customer: str) -> None:
    """Not the one who placed it, and only once."""
    token = stage.card(customer)
    hold = placed(stage, customer, by="officer-1")
    error = refusal(
        lambda: stage.holds.release(stage.caller("officer-1"), hold.id, "over"), Forbidden
    )
    assert error.code == "own_hold"
    assert erased(stage, token) == ["legal_hold"]
    with stage.told() as entries:
        view = stage.holds.release(stage.caller("officer-2"), hold.id, "the case is closed")
    assert (view.state, view.released_by) == ("released", stage.cast.id("officer-2"))
    (entry,) = entries
    assert (entry.event, entry.customer, entry.details) == (
        Event.HOLD_RELEASED, customer, {"hold": hold.id},
    )  # fmt: skip
    assert erased(stage, token) == [None]
    again = lambda: stage.holds.release(stage.caller("officer-3"), hold.id, "again")  # noqa: E731
    assert refusal(again, Conflict).code == "hold_released"
    shown = stage.holds.get(stage.caller("officer-3"), hold.id)
    assert (shown.reason, shown.release_reason) == ("kept for the court", "the case is closed")


def test_each_of_several_holds_counts(stage: Stage, customer: str) -> None:
    """The record is free when none is left; a hold with an end does not cut one without short."""
    token = stage.card(customer)
    ending = placed(stage, customer, until=datetime.now(UTC) + timedelta(days=1))
    endless = placed(stage, customer)
    part = placed(stage, customer, tokens=(token,))
    for hold in (endless, part):
        assert erased(stage, token) == ["legal_hold"]
        stage.holds.release(stage.caller("officer-2"), hold.id, "over")
    assert erased(stage, token) == ["legal_hold"]
    stage.holds.release(stage.caller("officer-2"), ending.id, "over")
    assert erased(stage, token) == [None]


def test_a_hold_ends_by_the_databases_clock(stage: Stage, customer: str) -> None:
    """Nobody need do anything."""
    token = stage.card(customer)
    hold = placed(stage, customer, until=datetime.now(UTC) + timedelta(days=1))
    stage.sql(
        "UPDATE holds SET placed_at = now() - interval '2 days', until = now() WHERE id = %s",
        [hold.id],
    )
    stage.sql("SELECT settle_holds(bucket, id) FROM customers WHERE id = %s", [customer])
    assert stage.holds.get(stage.caller("officer-1"), hold.id).state == "ended"
    assert erased(stage, token) == [None]


def test_an_expired_record_is_kept_and_not_shown(stage: Stage, customer: str) -> None:
    """Retention waits for the hold, and goes on after it."""
    token = stage.card(customer)
    hold = placed(stage, customer)
    expire(stage, token)
    stage.housekeeping.sweep()
    assert is_sealed(stage, token)
    refusal(lambda: stage.reading.get(stage.caller("billing"), token), NotFound)
    assert erased(stage, token) == ["legal_hold"]
    stage.holds.release(stage.caller("officer-2"), hold.id, "over")
    stage.housekeeping.sweep()
    assert not is_sealed(stage, token)


def test_a_held_expired_record_steps_aside(stage: Stage, customer: str) -> None:
    """The same value is stored anew, and the old one is whole under its own token."""
    token = stage.card(customer)
    hold = placed(stage, customer, tokens=(token,))
    expire(stage, token)
    fresh = stage.card(customer)
    assert fresh != token
    assert is_sealed(stage, token)
    assert stage.card(customer) == fresh
    stage.holds.release(stage.caller("officer-2"), hold.id, "over")
    stage.housekeeping.sweep()
    assert not is_sealed(stage, token)
    assert is_sealed(stage, fresh)


def test_a_free_expired_record_makes_room_beside_a_held_one(stage: Stage, customer: str) -> None:
    """In one batch each is treated by itself."""
    held, free = stage.card(customer), stage.card(customer, "5555555555554444")
    placed(stage, customer, tokens=(held,))
    expire(stage, held)
    expire(stage, free)
    views = stage.tokenize(
        *[
            TokenizeItem(data_class="payment_card", customer=customer, value=card(number))
            for number in ("4242424242424242", "5555555555554444")
        ]
    )
    assert {held, free}.isdisjoint(view.id for view in views)
    assert (is_sealed(stage, held), is_sealed(stage, free)) == (True, False)


def test_a_hold_is_told_without_its_texts(stage: Stage, customer: str) -> None:
    """The entry has the customer, the hold, its end, the records, and a commitment."""
    token = stage.card(customer)
    until = datetime.now(UTC) + timedelta(days=1)
    with stage.told(Event.HOLD_PLACED) as entries:
        view = placed(stage, customer, tokens=(token,), until=until)
    (entry,) = entries
    assert (entry.customer, entry.tokens) == (customer, (token,))
    assert entry.details == {"hold": view.id, "until": until.isoformat()}
    ((salt, envelope),) = stage.sql(
        "SELECT details_salt, details_envelope FROM holds WHERE id = %s", [view.id]
    )
    assert b"court" not in envelope
    body = b'{"reason":"kept for the court","reference":"4 O 711/26"}'
    assert entry.commitments == {"hold": commit(body, salt)}


@pytest.mark.parametrize(
    ("changes", "kind", "code"),
    [
        ({"customer": NOBODY}, NotFound, "customer_not_found"),
        ({"customer": "cus_?"}, NotFound, "customer_not_found"),
        ({"tokens": ()}, InvalidInput, "batch_size"),
        ({"tokens": (NOWHERE, NOWHERE)}, InvalidInput, "tokens_repeat"),
        ({"tokens": (NOWHERE,)}, InvalidInput, "hold_token_unknown"),
        ({"tokens": ("4242424242424242",)}, InvalidInput, "token_malformed"),
        ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, InvalidInput, "expires_at_in_past"),
        ({"reason": " "}, InvalidInput, "text_empty"),
        ({"reference": "4242 4242 4242 4242"}, InvalidInput, "card_number_not_allowed_here"),
    ],
)
def test_a_wrong_hold_is_not_placed(
    stage: Stage, customer: str, changes: dict[str, object], kind: type[ServiceError], code: str
) -> None:
    """Nothing is written."""
    draft = replace(hold_draft(customer), **changes)  # type: ignore[arg-type]
    with stage.told() as entries:
        error = refusal(lambda: stage.holds.place(stage.caller("officer-1"), draft), kind)
    assert error.code == code
    assert entries == []
    assert stage.sql("SELECT count(*) FROM holds WHERE customer = %s", [customer]) == [(0,)]


def test_another_customers_record_is_not_held(stage: Stage, customer: str) -> None:
    """A hold names whose records it holds."""
    token = stage.card(stage.customer())
    call = lambda: placed(stage, customer, tokens=(token,))  # noqa: E731
    assert refusal(call, InvalidInput).code == "hold_token_unknown"


def test_holds_are_listed_without_their_texts(stage: Stage, customer: str) -> None:
    """By pages, of one customer or of all; auditors too."""
    made = sorted(placed(stage, customer).id for _ in range(3))
    auditor = stage.caller("auditor")
    first, cursor = stage.holds.page(auditor, customer=customer, cursor=None, limit=2)
    second, end = stage.holds.page(auditor, customer=customer, cursor=cursor, limit=2)
    assert [each.id for each in first + second] == made
    assert end is None
    assert {each.reason for each in first} == {None}
    found: list[HoldView] = []
    cursor = None
    while True:
        page, cursor = stage.holds.page(auditor, customer=None, cursor=cursor, limit=100)
        found += page
        if cursor is None:
            break
    assert set(made) <= {each.id for each in found}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"limit": 0}, "limit_invalid"),
        ({"limit": 101}, "limit_invalid"),
        ({"cursor": "x"}, "cursor_invalid"),
        ({"customer": "x"}, "customer_malformed"),
    ],
)
def test_a_page_is_asked_for_rightly(stage: Stage, query: dict[str, object], code: str) -> None:
    """Or refused."""
    asked = {"customer": None, "cursor": None, "limit": 10} | query
    error = refusal(lambda: stage.holds.page(stage.caller("officer-1"), **asked), InvalidInput)  # type: ignore[arg-type]
    assert error.code == code


@pytest.mark.parametrize("hold", [UNKNOWN, "hld_?"])
def test_an_unknown_hold_is_not_found(stage: Stage, hold: str) -> None:
    """Malformed names answer alike."""
    officer = stage.caller("officer-1")
    assert refusal(lambda: stage.holds.get(officer, hold), NotFound).code == "hold_not_found"
    call = lambda: stage.holds.release(officer, hold, "over")  # noqa: E731
    assert refusal(call, NotFound).code == "hold_not_found"


@pytest.mark.parametrize("who", ["billing", "support", "requester", "auditor", "operator"])
def test_only_officers_hold_and_release(stage: Stage, customer: str, who: str) -> None:
    """Nobody else, and nobody else reads why."""
    hold = placed(stage, customer).id
    for call in (
        lambda: stage.holds.place(stage.caller(who), hold_draft(customer)),
        lambda: stage.holds.release(stage.caller(who), hold, "over"),
        lambda: stage.holds.get(stage.caller(who), hold),
    ):
        refusal(call, Forbidden)


def test_a_race_of_hold_and_erasure_has_one_winner(stage: Stage, customer: str) -> None:
    """Either the record is held and whole, or it is gone and the hold was refused."""
    from tests.support.whole import numbers

    for number in numbers(20, start=7000):
        token = stage.card(customer, number)
        held, gone = threads(
            [
                lambda token=token: placed(stage, customer, tokens=(token,)),
                lambda token=token: erased(stage, token),
            ]
        )
        if isinstance(held, HoldView):
            assert gone == ["legal_hold"]
        else:
            assert isinstance(held, InvalidInput)
            assert gone == [None]
        assert is_sealed(stage, token) is isinstance(held, HoldView)
