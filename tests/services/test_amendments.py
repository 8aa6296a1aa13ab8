"""A scope changes by a successor that is approved anew and ends what it amends when it starts."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from tests.services.test_disclosures import make
from tests.support.whole import UNKNOWN_DISCLOSURE, Stage, draft, refusal, standing
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound
from vault_service.ledger.entries import Event


@pytest.fixture
def token(stage: Stage, customer: str) -> str:
    """A card's token."""
    return stage.card(customer)


@pytest.fixture
def another(stage: Stage, customer: str) -> str:
    """Another card's token."""
    return stage.card(customer, "5555555555554444")


def amend(stage: Stage, view: Any, *tokens: str, **changes: Any) -> Any:
    """Ask for another scope in a request's place."""
    return make(stage, replace(draft(*tokens, amends=view.id), **changes))


def state(stage: Stage, view: Any) -> str:
    """Where a request stands."""
    return stage.disclosure_reading.get(stage.caller("requester"), view.id).state


def approve(stage: Stage, view: Any, number: int) -> Any:
    """An officer agrees."""
    return stage.decisions.approve(stage.caller(f"officer-{number}"), view.id)


def test_approvals_given_so_far_count_no_more(stage: Stage, token: str, another: str) -> None:
    """The successor needs all its approvals; the older one stands until it starts."""
    first = make(stage, draft(token))
    approve(stage, first, 1)
    with stage.told() as entries:
        second = amend(stage, first, token, another)
    assert (second.state, second.amends) == ("submitted", first.id)
    assert entries[0].details["amends"] == first.id
    assert approve(stage, second, 1).state == "submitted"
    assert state(stage, first) == "submitted"
    with stage.told() as entries:
        assert approve(stage, second, 2).state == "active"
    assert [(entry.event, entry.grant) for entry in entries] == [
        (Event.DISCLOSURE_APPROVED, second.id),
        (Event.DISCLOSURE_SUPERSEDED, first.id),
        (Event.DISCLOSURE_ACTIVATED, second.id),
    ]
    assert entries[1].details == {"successor": second.id}
    assert state(stage, first) == "superseded"
    assert refusal(lambda: approve(stage, first, 2), Conflict).code == "disclosure_ended"


def test_a_grant_ends_when_its_amendment_starts(stage: Stage, token: str, another: str) -> None:
    """Tokens given out under it reveal nothing from then on."""
    first = stage.granted(standing(token))
    proof = stage.token(first.id)
    second = make(stage, standing(another, amends=first.id))
    assert stage.revealed(proof, token)
    waiting = stage.token(first.id)
    approve(stage, second, 1)
    error = refusal(lambda: stage.reveal(waiting, token), Forbidden)
    assert error.code == "disclosure_superseded"
    assert refusal(lambda: stage.token(first.id), Conflict).code == "disclosure_superseded"
    assert stage.revealed(stage.token(second.id), another)


def test_of_two_amendments_one_starts(stage: Stage, token: str, another: str) -> None:
    """Whoever is approved first; the other is told so, by rivals in a race too."""
    for _ in range(6):
        first = stage.granted(standing(token))
        rivals = [make(stage, standing(each, amends=first.id)) for each in (token, another)]
        ended: list[str] = []
        ready = threading.Barrier(2)

        def start(view: Any, ended: list[str] = ended, ready: Any = ready) -> None:
            ready.wait()
            try:
                ended.append(approve(stage, view, 1).state)
            except Conflict as error:
                ended.append(error.code)

        threads = [threading.Thread(target=start, args=(view,)) for view in rivals]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(ended) == ["active", "disclosure_superseded"]
        assert state(stage, first) == "superseded"
        assert sorted(state(stage, view) for view in rivals) == ["active", "submitted"]


def test_an_amendment_of_what_has_ended_meanwhile_starts_all_the_same(
    stage: Stage, token: str
) -> None:
    """Its officers decide on it alone; nothing else is there to be ended."""
    first = stage.granted(standing(token))
    second = make(stage, standing(token, amends=first.id))
    stage.decisions.revoke(stage.caller("officer-2"), first.id)
    assert approve(stage, second, 1).state == "active"
    assert state(stage, first) == "revoked"


def test_amendments_form_a_chain(stage: Stage, token: str) -> None:
    """An amendment can be amended in its turn."""
    chain = [stage.granted(standing(token))]
    for _ in range(3):
        chain.append(make(stage, standing(token, amends=chain[-1].id)))
        assert approve(stage, chain[-1], 1).state == "active"
    assert [state(stage, view) for view in chain] == ["superseded"] * 3 + ["active"]


def test_only_ones_own_living_request_on_the_same_ground_is_amended(
    stage: Stage, token: str
) -> None:
    """Not another's, not a draft, not what has ended, not by another ground."""
    first = make(stage, draft(token))
    for amended in (UNKNOWN_DISCLOSURE, "dis_?"):
        refusal(lambda a=amended: make(stage, draft(token, amends=a)), NotFound)
    refusal(lambda: make(stage, draft(token, amends=first.id), by="requester-2"), NotFound)
    kept = make(stage, draft(token), is_draft=True)
    error = refusal(lambda: make(stage, draft(token, amends=kept.id)), Conflict)
    assert error.code == "disclosure_not_submitted"
    other = refusal(lambda: make(stage, standing(token, amends=first.id)), InvalidInput)
    assert other.code == "amendment_on_another_ground"
    stage.decisions.withdraw(stage.caller("requester"), first.id)
    ended = refusal(lambda: make(stage, draft(token, amends=first.id)), Conflict)
    assert ended.code == "disclosure_ended"


def test_an_amendment_may_be_a_draft_first(stage: Stage, token: str) -> None:
    """What it amends is remembered, and told when it is submitted."""
    first = make(stage, draft(token))
    kept = make(stage, draft(token, amends=first.id), is_draft=True)
    with stage.told() as entries:
        shown = stage.disclosures.submit(stage.caller("requester"), kept.id)
    assert shown.amends == first.id
    assert entries[0].details["amends"] == first.id


def test_a_denial_says_why(stage: Stage, token: str) -> None:
    """Without reasons nothing is denied."""
    view = make(stage, draft(token))
    error = refusal(lambda: stage.decisions.deny(stage.caller("officer-1"), view.id))
    assert (error.code, error.pointer) == ("reasons_missing", "/comment")
    assert state(stage, view) == "submitted"
