"""What is told to customers of what was disclosed of them, and what is not told yet."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.accounting import day, demanded, disclosed
from tests.support.whole import (
    NOBODY,
    NOWHERE,
    Stage,
    draft,
    refusal,
    standing,
)
from vault_service.errors import Forbidden, InvalidInput, NotFound, ServiceError
from vault_service.ledger.entries import Event
from vault_service.services import accounting
from vault_service.services.accounting import DisclosedPage
from vault_service.services.tokenization import TokenizeItem


@pytest.fixture(autouse=True)
def _no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers leave at once, but where a story is about that."""
    monkeypatch.setattr(accounting, "STEP", 0.001)


def read(stage: Stage, customer: str, *, by: str = "support", **how: object) -> DisclosedPage:
    """A page."""
    assert stage.services.accounting is not None
    cursor = how.get("cursor")
    return stage.services.accounting.page(
        stage.caller(by),
        customer,
        cursor=None if cursor is None else str(cursor),
        limit=int(str(how.get("limit", 100))),
    )


def test_what_was_revealed_is_told_by_mask(stage: Stage, customer: str) -> None:
    """Tokens, classes, fields, recipient, ground, clause, time and entry; never the value."""
    token = stage.card(customer)
    (telephone,) = stage.tokenize(
        TokenizeItem(data_class="telephone", customer=customer, value="+49 30 901820")
    )
    grant = stage.granted(standing(token, telephone.id)).id
    receipt = stage.reveal(stage.token(grant), telephone.id, token).receipt
    page = read(stage, customer)
    (item,) = page.items
    assert (item.disclosure, item.entry, item.at) == (grant, receipt.entry, receipt.at)
    assert (item.ground, item.category, item.clause, item.recipient_kind) == (
        "provide_service", "personal_and_account", "P1", "internal",
    )  # fmt: skip
    assert item.policy == stage.services.policy.version
    assert (item.withheld, item.told_after, page.next) == (False, None, None)
    found = {value.token: value for value in item.values}
    assert set(found) == {token, telephone.id}
    assert found[token].fields == ("number", "exp_month", "exp_year", "name")
    assert found[token].mask is not None
    assert found[token].mask["number"] == "424242******4242"
    assert (found[telephone.id].data_class, found[telephone.id].fields) == (
        "telephone",
        ("value",),
    )
    assert "4242424242424242" not in repr(page)
    assert "901820" not in repr(page)


def test_fields_are_those_of_the_grant_or_fewer(stage: Stage, customer: str) -> None:
    """What was not asked for was not told; a class of which no field was told is left out."""
    token = stage.card(customer)
    (telephone,) = stage.tokenize(
        TokenizeItem(data_class="telephone", customer=customer, value="+49 30 901820")
    )
    grant = stage.granted(standing(token, telephone.id, fields=("number", "name"))).id
    stage.reveal(stage.token(grant), token, telephone.id)
    stage.reveal(stage.token(grant), token, fields=["name"])
    newest, oldest = read(stage, customer).items
    assert [value.fields for value in newest.values] == [("name",)]
    assert [(value.token, value.fields) for value in oldest.values] == [(token, ("number", "name"))]


def test_one_reveal_of_two_customers_is_told_to_each(stage: Stage) -> None:
    """Each learns of his own values alone."""
    first, second = stage.customer(), stage.customer()
    tokens = {first: stage.card(first), second: stage.card(second, "5555555555554444")}
    disclosed(stage, standing(*tokens.values()), *tokens.values())
    for customer, token in tokens.items():
        (item,) = read(stage, customer).items
        assert [value.token for value in item.values] == [token]


def test_only_what_was_revealed_counts(stage: Stage, customer: str) -> None:
    """No grant, no token, no refused or failed reveal is told of."""
    token = stage.card(customer)
    other = stage.card(customer, "5555555555554444")
    grant = stage.granted(draft(token)).id
    disclosure_token = stage.token(grant)
    refusal(lambda: stage.reveal(disclosure_token, other))
    refusal(lambda: stage.reveal(disclosure_token, NOWHERE))
    assert read(stage, customer, by="officer-1").items == ()
    stage.revealed(disclosure_token, token)
    refusal(lambda: stage.reveal(disclosure_token, token))
    assert len(read(stage, customer, by="officer-1").items) == 1


def test_a_reveal_that_cannot_be_accounted_for_tells_nothing(stage: Stage, customer: str) -> None:
    """The row travels with the use and the entry: all of them, or no plaintext."""
    token = stage.card(customer)
    grant = stage.granted(draft(token)).id
    disclosure_token = stage.token(grant)
    with (
        stage.owned(
            "REVOKE INSERT (customer) ON reveals FROM vault_reveal",
            "GRANT INSERT (customer) ON reveals TO vault_reveal",
        ),
        stage.told(Event.REVEAL_ALLOWED) as entries,
        pytest.raises(ServiceError),
    ):
        stage.reveal(disclosure_token, token)
    assert entries == []
    assert read(stage, customer, by="officer-1").items == ()
    stage.revealed(disclosure_token, token)


def test_a_changed_row_is_not_accounted_for(stage: Stage, customer: str) -> None:
    """A record whose class is none opens to nobody, and breaks no other's reveal."""
    token, other = stage.card(customer), stage.card(customer, "5555555555554444")
    grant = stage.granted(draft(token, other)).id
    disclosure_token = stage.token(grant)
    stage.sql("UPDATE records SET class = 'a b' WHERE token = %s", [token])
    stage.reveal(disclosure_token, token, other)
    (item,) = read(stage, customer).items
    assert [value.token for value in item.values] == [other]


# ---------------------------------------------------------------- lawful delay


def test_a_secret_disclosure_is_told_after_its_day(stage: Stage, customer: str) -> None:
    """Support knows nothing of it; an officer sees it marked, with the time."""
    token = stage.card(customer)
    until = day(30)
    grant = disclosed(stage, demanded(token, until=until), token)
    assert read(stage, customer) == DisclosedPage(items=(), next=None)
    (item,) = read(stage, customer, by="officer-1").items
    assert item.withheld
    assert item.told_after == datetime.fromisoformat(until).replace(tzinfo=UTC) + timedelta(
        days=1, hours=12
    )
    stage.sql(
        "UPDATE disclosures SET notice_after = now() - interval '1 second' WHERE id = %s", [grant]
    )
    (item,) = read(stage, customer).items
    assert (item.withheld, item.told_after, item.ground) == (False, None, "required_by_law")


def test_the_last_day_of_the_calendar_is_never_over(stage: Stage, customer: str) -> None:
    """The end of time goes through the database and back."""
    token = stage.card(customer)
    disclosed(stage, demanded(token, until="9999-12-31"), token)
    (item,) = read(stage, customer, by="officer-1").items
    assert item.told_after == datetime.max.replace(tzinfo=UTC)
    assert read(stage, customer).items == ()


def test_without_a_day_there_is_no_delay(stage: Stage, customer: str) -> None:
    """As the policy says: the day is there if there is one."""
    token = stage.card(customer)
    disclosed(stage, demanded(token), token)
    assert [item.withheld for item in read(stage, customer).items] == [False]


@pytest.mark.parametrize(
    "end",
    [
        "UPDATE disclosures SET expires_at = now() WHERE id = %s",
        "UPDATE disclosures SET state = 'revoked', ended_at = now() WHERE id = %s",
    ],
)
def test_after_its_end_a_grant_is_told(stage: Stage, customer: str, end: str) -> None:
    """Spent, revoked, or past its time though nobody has swept it up yet."""
    token = stage.card(customer)
    grant = disclosed(stage, draft(token), token)
    # A use was left, as far as this row says.
    stage.sql("UPDATE disclosures SET state = 'active', ended_at = NULL WHERE id = %s", [grant])
    assert read(stage, customer).items == ()
    (item,) = read(stage, customer, by="officer-1").items
    assert (item.withheld, item.told_after) == (True, None)
    stage.sql(end, [grant])
    assert len(read(stage, customer).items) == 1


def test_the_last_use_ends_a_grant(stage: Stage, customer: str) -> None:
    """`after_end` begins with the last use itself."""
    token = stage.card(customer)
    disclosed(stage, draft(token), token)
    assert len(read(stage, customer).items) == 1


def test_what_says_no_rule_is_never_told(stage: Stage, customer: str) -> None:
    """Requests from before the rule was kept, whatever else their rows say."""
    token = stage.card(customer)
    grant = disclosed(stage, draft(token), token)
    stage.sql("UPDATE disclosures SET notice_rule = 'unknown' WHERE id = %s", [grant])
    assert read(stage, customer).items == ()
    assert read(stage, customer, by="officer-1").items[0].withheld


def test_the_rule_is_the_one_of_the_requests_own_policy(stage: Stage, customer: str) -> None:
    """It stands in the row from the beginning, so another policy in force changes nothing."""
    token = stage.card(customer)
    grant = disclosed(stage, demanded(token, until=day(9)), token)
    stage.sql("UPDATE disclosures SET policy = %s WHERE id = %s", ["f" * 64, grant])
    (item,) = read(stage, customer, by="officer-1").items
    assert (item.policy, item.withheld) == ("f" * 64, True)
    assert read(stage, customer).items == ()


# ---------------------------------------------------------------- pages


def test_pages_hide_what_is_withheld(stage: Stage, customer: str) -> None:
    """Neither the number of items nor a cursor speaks of it."""
    token = stage.card(customer)
    grant = stage.granted(standing(token)).id
    for number in range(6):
        if number % 2:
            disclosed(stage, demanded(token, until=day(9)), token)
        stage.revealed(stage.token(grant), token)
    found, cursor, pages = [], None, 0
    while True:
        page = read(stage, customer, cursor=cursor, limit=2)
        found += page.items
        pages += 1
        if page.next is None:
            break
        assert len(page.items) == 2
        cursor = page.next
    assert (len(found), pages) == (6, 3)
    assert not any(item.withheld for item in found)
    assert [item.entry for item in found] == sorted((item.entry for item in found), reverse=True)
    everything = read(stage, customer, by="officer-1").items
    assert [item.withheld for item in everything].count(True) == 3
    assert [item for item in everything if not item.withheld] == found


def test_support_answers_leave_at_steps(
    stage: Stage, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many withheld rows were passed over; also where there is no such customer."""
    monkeypatch.setattr(accounting, "STEP", 0.1)
    slept: list[float] = []
    monkeypatch.setattr(accounting.time, "sleep", slept.append)
    began = time.monotonic()
    read(stage, customer)
    refusal(lambda: read(stage, NOBODY), NotFound)
    took = time.monotonic() - began
    assert len(slept) == 2
    assert all(0 < each <= 0.1 for each in slept)
    assert (sum(slept) + took) / 0.1 == pytest.approx(round((sum(slept) + took) / 0.1), abs=0.1)
    read(stage, customer, by="officer-1")
    assert len(slept) == 2


def test_the_reading_is_an_entry(stage: Stage, customer: str) -> None:
    """Who, of which customer, how many."""
    token = stage.card(customer)
    disclosed(stage, draft(token), token)
    with stage.told(Event.CUSTOMER_DISCLOSURES_READ) as entries:
        read(stage, customer)
    (entry,) = entries
    assert (entry.customer, entry.count) == (customer, 1)
    assert entry.actor.id == stage.cast.id("support")


def test_an_erased_record_has_no_mask(stage: Stage, customer: str) -> None:
    """That it was disclosed is told all the same."""
    token = stage.card(customer)
    disclosed(stage, draft(token), token)
    stage.erasure.erase(stage.caller("billing"), [token])
    (item,) = read(stage, customer).items
    assert [(value.token, value.mask) for value in item.values] == [(token, None)]


@pytest.mark.parametrize("customer_id", [NOBODY, "cus_", "x" * 300, "tok_" + "0" * 28])
def test_nobody_has_no_accounting(stage: Stage, customer_id: str) -> None:
    """A malformed id answers like an unknown one."""
    error = refusal(lambda: read(stage, customer_id), NotFound)
    assert error.code == "customer_not_found"


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"limit": 0}, "limit_invalid"),
        ({"limit": 101}, "limit_invalid"),
        ({"cursor": "x"}, "cursor_invalid"),
        ({"cursor": ""}, "cursor_invalid"),
        ({"cursor": str(uuid.uuid4()).upper()}, "cursor_invalid"),
        ({"cursor": "{" + str(uuid.uuid4()) + "}"}, "cursor_invalid"),
    ],
)
def test_a_wrong_page_is_refused(
    stage: Stage, customer: str, how: dict[str, object], code: str
) -> None:
    """With its code."""
    assert refusal(lambda: read(stage, customer, **how), InvalidInput).code == code


@pytest.mark.parametrize("who", ["billing", "requester", "auditor", "operator"])
def test_others_may_not_read_it(stage: Stage, customer: str, who: str) -> None:
    """Officers and support only."""
    refusal(lambda: read(stage, customer, by=who), Forbidden)
