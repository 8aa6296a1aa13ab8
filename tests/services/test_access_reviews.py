"""A7: access is reviewed every half year by somebody else, or it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.racing import threads
from tests.support.whole import Stage, draft, refusal, standing
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound, ServiceError
from vault_service.ledger.entries import Event
from vault_service.services.access_reviews import ReviewView
from vault_service.services.authentication import Shown
from vault_service.services.context import Caller

WHO = ("officer-1", "officer-2", "requester")


@pytest.fixture(autouse=True)
def alone(stage: Stage) -> Iterator[None]:
    """Two officers and a requester; nobody else's rights are in question."""
    names = [stage.cast.id(who) for who in WHO]
    others = [
        row[0]
        for row in stage.sql(
            "UPDATE principals SET state = 'disabled'"
            " WHERE state = 'active' AND id <> ALL(%s) RETURNING id",
            [names],
        )
    ]
    try:
        yield
    finally:
        stage.sql("UPDATE principals SET state = 'active' WHERE id = ANY(%s)", [others + names])
        stage.sql("UPDATE principals SET review_due = now() + interval '6 months'")
        stage.sql("DELETE FROM access_review_items")
        stage.sql("DELETE FROM access_reviews")


def pass_time(stage: Stage, *, months: int) -> None:
    """Let the database's clock go on for everybody's rights."""
    stage.sql(
        "UPDATE principals SET review_due = review_due - make_interval(months => %s)", [months]
    )
    stage.sql("UPDATE access_reviews SET due = due - make_interval(months => %s)", [months])


def round_of_worker(stage: Stage) -> None:
    """The duty comes round."""
    stage.review_duty.run(threading.Event())


def opened(stage: Stage) -> ReviewView:
    """A review that is open."""
    pass_time(stage, months=6)
    stage.sql("UPDATE principals SET review_due = review_due + interval '20 days'")
    round_of_worker(stage)
    (newest, *_) = stage.reviewing.page(stage.caller("auditor"))
    return newest


def caller(stage: Stage, who: str) -> Caller:
    """Somebody who has just shown his key."""
    return stage.services.authentication.authenticate(
        Shown(
            authorization=f"Bearer {stage.cast.keys[who]}",
            request_id="req_" + "0" * 26,
            address="127.0.0.1",
            deadline=time.monotonic() + 30,
        )
    )


def code(call: Callable[[], object]) -> str:
    """What a refused call answers."""
    return refusal(call, ServiceError).code


def keep_all(stage: Stage, review: str) -> ReviewView:
    """Each officer keeps the other, and one of them the requester."""
    one, two, requester = (stage.cast.id(who) for who in WHO)
    stage.reviewing.decide(caller(stage, "officer-1"), review, [(two, True), (requester, True)])
    return stage.reviewing.decide(caller(stage, "officer-2"), review, [(one, True)])


def test_a_fresh_vault_has_half_a_year(stage: Stage) -> None:
    """Rights last six months from the first start, and no review is opened before the fifth."""
    now = datetime.now(UTC)
    ((due,),) = stage.sql("SELECT min(review_due) FROM principals WHERE state = 'active'")
    assert now + timedelta(days=175) < due < now + timedelta(days=190)
    round_of_worker(stage)
    assert stage.reviewing.page(stage.caller("auditor")) == ()


def test_a_review_is_opened_in_time_and_once(stage: Stage) -> None:
    """A month before the first right ends, with everybody who has such rights."""
    with stage.told() as entries:
        review = opened(stage)
        round_of_worker(stage)
    (entry,) = entries
    assert entry.event is Event.ACCESS_REVIEW_OPENED
    assert entry.details["review"] == review.row.id
    view = stage.reviewing.get(stage.caller("auditor"), review.row.id)
    assert [item.name for item in view.items] == sorted(WHO)
    caller(stage, "officer-1")
    (item,) = [each for each in view.items if each.name == "officer-1"]
    assert item.roles == ("officer",)
    assert item.live_keys >= 1
    assert len(stage.reviewing.page(stage.caller("operator"))) == 1


def test_officers_keep_each_other_and_the_requesters(stage: Stage) -> None:
    """The last decision completes it; rights last for another half year."""
    review = opened(stage).row.id
    with stage.told(Event.ACCESS_REVIEW_COMPLETED) as entries:
        view = keep_all(stage, review)
    assert view.row.completed_at is not None
    assert {item.decision for item in view.items} == {"keep"}
    assert entries[0].details == {"review": review, "kept": 3, "removed": 0}
    round_of_worker(stage)
    assert len(stage.reviewing.page(stage.caller("auditor"))) == 1
    error = refusal(
        lambda: stage.reviewing.decide(
            stage.caller("officer-1"), review, [(stage.cast.id("requester"), True)]
        ),
        Conflict,
    )
    assert error.code == "access_review_completed"


def test_a_removal_acts_at_once(stage: Stage) -> None:
    """The next request of his fails, before the review is complete."""
    review = opened(stage).row.id
    requester = stage.cast.id("requester")
    caller(stage, "requester")
    with stage.told(Event.PRINCIPAL_DISABLED) as entries:
        stage.reviewing.decide(stage.caller("officer-1"), review, [(requester, False)])
    assert code(lambda: caller(stage, "requester")) == "principal_disabled"
    assert [entry.principal for entry in entries] == [requester]


def test_a7_an_overdue_review_takes_reveal_and_approve(stage: Stage) -> None:
    """At the next request, by the database's clock, until it is done; with an alarm."""
    token = stage.card(stage.customer())
    grant = stage.granted(standing(token))
    proof = stage.granting.issue(caller(stage, "requester"), grant.id).token
    waiting = stage.disclosures.create(caller(stage, "requester"), draft(token), is_draft=False)
    review = opened(stage).row.id
    stage.revealed(proof, token)
    pass_time(stage, months=1)
    with stage.told() as entries:
        round_of_worker(stage)
        round_of_worker(stage)
    late = [entry for entry in entries if entry.event is Event.ACCESS_REVIEW_OVERDUE]
    assert {entry.principal for entry in late} == {stage.cast.id(who) for who in WHO}
    assert len(late) == 3
    assert [e.reason for e in entries if e.event is Event.ALARM_RAISED] == ["access_review_overdue"]
    requester, officer = caller(stage, "requester"), caller(stage, "officer-1")
    for call in (
        lambda: stage.granting.issue(requester, grant.id),
        lambda: stage.reveals.submit(
            requester, disclosure_token=proof, tokens=[token], fields=None
        ),
        lambda: stage.decisions.approve(officer, waiting.id),
        lambda: stage.decisions.determine(officer, waiting.id, valid=True, reasons="x"),
    ):
        assert code(call) == "access_review_overdue"
    with stage.told(Event.ALARM_CLEARED) as entries:
        keep_all(stage, review)
    assert len(entries) == 1
    stage.granting.issue(caller(stage, "requester"), grant.id)
    stage.decisions.approve(caller(stage, "officer-1"), waiting.id)


def test_a7_a_reviewer_who_lets_it_pass_loses_his_rights(stage: Stage) -> None:
    """An officer who is reviewed himself and left a requester undecided approves nothing."""
    review = opened(stage).row.id
    one, two, _ = (stage.cast.id(who) for who in WHO)
    stage.reviewing.decide(caller(stage, "officer-1"), review, [(two, True)])
    stage.reviewing.decide(caller(stage, "officer-2"), review, [(one, True)])
    pass_time(stage, months=1)
    assert caller(stage, "officer-1").principal.review_overdue
    assert caller(stage, "requester").principal.review_overdue
    stage.reviewing.decide(caller(stage, "officer-1"), review, [(stage.cast.id("requester"), True)])
    assert not caller(stage, "officer-2").principal.review_overdue
    assert not caller(stage, "requester").principal.review_overdue


def test_a7_no_worker_is_needed_to_take_rights(stage: Stage) -> None:
    """Nobody keeps them by stopping the worker."""
    pass_time(stage, months=7)
    assert caller(stage, "requester").principal.review_overdue
    assert stage.reviewing.page(stage.caller("auditor")) == ()


def test_nobody_reviews_himself(stage: Stage) -> None:
    """All of the call is refused; the others are still undecided."""
    review = opened(stage).row.id
    one, two, _ = (stage.cast.id(who) for who in WHO)
    call = lambda: stage.reviewing.decide(  # noqa: E731
        stage.caller("officer-1"), review, [(two, True), (one, True)]
    )
    assert refusal(call, Forbidden).code == "own_access"
    items = stage.reviewing.get(stage.caller("auditor"), review).items
    assert {item.decision for item in items} == {None}


def test_each_is_decided_on_once(stage: Stage) -> None:
    """The second decision is refused, in a race too."""
    review = opened(stage).row.id
    requester = stage.cast.id("requester")
    outcomes = threads(
        [
            lambda who=who: stage.reviewing.decide(stage.caller(who), review, [(requester, True)])
            for who in ("officer-1", "officer-2")
        ]
    )
    (refused,) = [each for each in outcomes if isinstance(each, ServiceError)]
    assert refused.code == "access_already_decided"


def test_whoever_left_needs_no_decision(stage: Stage) -> None:
    """The worker completes a review whose last open principals were disabled meanwhile."""
    review = opened(stage).row.id
    one, two, requester = (stage.cast.id(who) for who in WHO)
    stage.reviewing.decide(stage.caller("officer-1"), review, [(two, True)])
    stage.reviewing.decide(stage.caller("officer-2"), review, [(one, True)])
    pass_time(stage, months=1)
    round_of_worker(stage)
    stage.sql("UPDATE principals SET state = 'disabled' WHERE id = %s", [requester])
    with stage.told(Event.ACCESS_REVIEW_COMPLETED, Event.ALARM_CLEARED) as entries:
        round_of_worker(stage)
    assert {entry.event for entry in entries} == {
        Event.ACCESS_REVIEW_COMPLETED, Event.ALARM_CLEARED,
    }  # fmt: skip


def test_due_and_decided_in_time_is_not_late(stage: Stage) -> None:
    """A review past its first due time, with nobody's rights ended, raises nothing."""
    opened(stage)
    stage.sql("UPDATE access_reviews SET due = now()")
    with stage.told() as entries:
        round_of_worker(stage)
    assert entries == []


def test_a_vault_without_holders_opens_none(stage: Stage) -> None:
    """There is nothing to review."""
    stage.sql("UPDATE principals SET state = 'disabled'")
    round_of_worker(stage)
    assert stage.sql("SELECT count(*) FROM access_reviews") == [(0,)]


def test_rivals_open_one(stage: Stage) -> None:
    """The lease lets one worker in."""
    pass_time(stage, months=6)
    threads([lambda: round_of_worker(stage)] * 4)
    assert stage.sql("SELECT count(*) FROM access_reviews") == [(1,)]


@pytest.mark.parametrize("review", ["rev_" + "0" * 26, "rev_?"])
def test_an_unknown_review_is_not_found(stage: Stage, review: str) -> None:
    """Malformed names answer alike."""
    officer = stage.caller("officer-1")
    refusal(lambda: stage.reviewing.get(officer, review), NotFound)
    refusal(lambda: stage.reviewing.decide(officer, review, [("prn_?", True)]), NotFound)


def test_a_wrong_decision_is_refused(stage: Stage) -> None:
    """None at all, or on somebody who is not reviewed."""
    review = opened(stage).row.id
    officer = stage.caller("officer-1")
    refusal(lambda: stage.reviewing.decide(officer, review, []), InvalidInput)
    auditor = stage.cast.id("auditor")
    refusal(lambda: stage.reviewing.decide(officer, review, [(auditor, True)]), NotFound)


@pytest.mark.parametrize("who", ["billing", "support", "requester"])
def test_reviews_are_for_officers_auditors_and_operators(stage: Stage, who: str) -> None:
    """And decided by officers alone."""
    refusal(lambda: stage.reviewing.page(stage.caller(who)), Forbidden)
    for other in (who, "auditor", "operator"):
        refusal(
            lambda other=other: stage.reviewing.decide(
                stage.caller(other), "rev_?", [("prn_?", True)]
            ),
            Forbidden,
        )
