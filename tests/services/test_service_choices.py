"""What customers have chosen: kept as records, with a history, revealed by a grant alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.whole import NOBODY, Stage, name, refusal, standing
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound, ServiceError
from vault_service.ledger.entries import Event
from vault_service.services import service_choices
from vault_service.services.service_choices import ChoiceDraft, ServiceChoices
from vault_service.services.tokenization import TokenizeItem
from vault_service.services.views import TokenView


@pytest.fixture
def choices(stage: Stage) -> ServiceChoices:
    """The use case."""
    assert stage.services.services is not None
    return stage.services.services


def day(days: int) -> str:
    """A day so many days from now."""
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


def told(
    stage: Stage, choices: ServiceChoices, customer: str, **value: Any
) -> TokenView | ServiceError:
    """One choice that billing tells."""
    plain = {"service": "hosting.basic", "since": day(-30)}
    answer = choices.record(stage.caller("billing"), customer, [ChoiceDraft(value=plain | value)])
    return answer.results[0]


def kept(stage: Stage, choices: ServiceChoices, customer: str, **value: Any) -> str:
    """The token of a choice."""
    view = told(stage, choices, customer, **value)
    assert isinstance(view, TokenView), view
    return view.id


def test_a_choice_has_a_history(stage: Stage, choices: ServiceChoices) -> None:
    """Told again with an end, it has ended; both stand, the last one told counts."""
    customer = stage.customer()
    first = kept(stage, choices, customer)
    coming = kept(stage, choices, customer, service="mail", since=day(5))
    ended = kept(stage, choices, customer, until=day(-1))
    with stage.told() as entries:
        history = choices.history(stage.caller("support"), customer)
    shown = [(each.token.id, each.service, each.current, each.superseded) for each in history.items]
    assert shown == [
        (first, "hosting.basic", False, True),
        (ended, "hosting.basic", False, False),
        (coming, "mail", False, False),
    ]
    assert not history.truncated
    assert [(entry.event, entry.customer, entry.count) for entry in entries] == [
        (Event.CUSTOMER_READ, customer, 3)
    ]


def test_a_choice_runs_from_its_first_day_to_its_last(
    stage: Stage, choices: ServiceChoices
) -> None:
    """The end is the first day without it."""
    customer = stage.customer()
    for service, since, until in (("a", 0, None), ("b", -1, 1), ("c", -1, 0), ("d", 1, None)):
        kept(
            stage,
            choices,
            customer,
            service=service,
            since=day(since),
            until=None if until is None else day(until),
        )
    history = choices.history(stage.caller("billing"), customer)
    assert {each.service: each.current for each in history.items} == {
        "a": True,
        "b": True,
        "c": False,
        "d": False,
    }


def test_the_same_choice_is_kept_once(stage: Stage, choices: ServiceChoices) -> None:
    """Other words or another end are another; what was told is sealed, and revealed by grant."""
    customer = stage.customer()
    first = kept(stage, choices, customer, details="20 GB, agreed by telephone")
    assert kept(stage, choices, customer, details="20 GB, agreed by telephone") == first
    assert kept(stage, choices, customer, details="40 GB") != first
    ((row,),) = stage.sql("SELECT r::text FROM records AS r WHERE token = %s", [first])
    assert "20 GB" not in row
    grant = stage.granted(standing(customer=customer, classes=("service_choice",)))
    (value,) = stage.revealed(stage.token(grant.id), first)
    assert value == {
        "service": "hosting.basic",
        "since": day(-30),
        "until": None,
        "details": "20 GB, agreed by telephone",
    }


def test_a_grant_may_be_for_some_fields(stage: Stage, choices: ServiceChoices) -> None:
    """As with a card: what was agreed stays closed where only the days are needed."""
    token = kept(stage, choices, stage.customer(), details="20 GB")
    grant = stage.granted(standing(token, fields=("since", "until")))
    assert stage.revealed(stage.token(grant.id), token) == [{"since": day(-30), "until": None}]


def test_entries_tell_of_it(stage: Stage, choices: ServiceChoices) -> None:
    """As of every record that is made: the token, and a commitment to its wrapped key."""
    customer = stage.customer()
    with stage.told() as entries:
        token = kept(stage, choices, customer)
    (entry,) = entries
    assert (entry.event, entry.tokens) == (Event.TOKENS_CREATED, (token,))
    assert "wrapped_keys" in entry.commitments


def test_what_is_refused(stage: Stage, choices: ServiceChoices) -> None:
    """Each choice alone, with its place; nothing of it is kept."""
    customer = stage.customer()
    drafts = [
        ChoiceDraft(value={"service": "mail", "since": day(0)}),
        ChoiceDraft(value={"service": "Mail", "since": day(0)}),
        ChoiceDraft(value={"service": "mail", "since": day(0)}, reference="4242424242424242"),
    ]
    good, bad, card = choices.record(stage.caller("support"), customer, drafts).results
    assert isinstance(good, TokenView)
    assert isinstance(bad, InvalidInput)
    assert (bad.code, bad.pointer) == ("service_code_invalid", "/items/1/value/service")
    assert isinstance(card, InvalidInput)
    nobody = told(stage, choices, NOBODY)
    assert isinstance(nobody, NotFound)
    assert nobody.code == "customer_not_found"
    assert len(choices.history(stage.caller("support"), customer).items) == 1


def test_a_key_is_for_one_customer(stage: Stage, choices: ServiceChoices) -> None:
    """The same key and body in the address of another customer is no repetition."""
    one, other = stage.customer(), stage.customer()
    drafts = [ChoiceDraft(value={"service": "mail", "since": day(0)})]
    key = name("key")

    def send(customer: str) -> object:
        return choices.record(
            stage.caller("billing"), customer, drafts, idempotency_key=key, body=b"{}"
        )

    send(one)
    assert send(one) is not None
    assert refusal(lambda: _raised(send(other)), Conflict).code == "idempotency_key_reused"
    assert choices.history(stage.caller("support"), other).items == ()


def _raised(answer: object) -> None:
    if isinstance(answer, Exception):
        raise answer


@pytest.mark.parametrize("who", ["requester", "officer-1", "auditor", "operator"])
def test_others_neither_write_nor_read(stage: Stage, choices: ServiceChoices, who: str) -> None:
    """Billing and support only."""
    customer = stage.customer()
    caller = stage.caller(who)
    draft = ChoiceDraft(value={"service": "mail", "since": day(0)})
    assert refusal(lambda: choices.record(caller, customer, [draft]), Forbidden)
    assert refusal(lambda: choices.history(caller, customer), Forbidden)


@pytest.mark.parametrize("customer", [NOBODY, "nonsense"])
def test_nobody_has_no_history(stage: Stage, choices: ServiceChoices, customer: str) -> None:
    """An unknown customer and a malformed name answer alike."""
    problem = refusal(lambda: choices.history(stage.caller("support"), customer), NotFound)
    assert problem.code == "customer_not_found"


def test_a_long_history_says_so(
    stage: Stage, choices: ServiceChoices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one answer holds is told, not hidden."""
    customer = stage.customer()
    for service in ("a", "b", "c"):
        kept(stage, choices, customer, service=service)
    monkeypatch.setattr(service_choices, "MAX_HISTORY", 2)
    history = choices.history(stage.caller("support"), customer)
    assert (len(history.items), history.truncated) == (2, True)


def test_the_class_is_not_tokenized_by_name(stage: Stage) -> None:
    """`POST /v1/tokens` does not take it, and a choice takes no other class."""
    item = TokenizeItem(data_class="service_choice", customer=stage.customer(), value={})
    (problem,) = stage.submit(item).results
    assert isinstance(problem, InvalidInput)
    assert problem.code == "class_unknown"
