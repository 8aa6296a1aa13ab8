"""A disclosure from draft to grant and to its end."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from typing import Any

import pytest

from keys.errors import VaultUnavailable
from tests.support.faults import FaultyUnitOfWork, Hooked, NoDataKeys, Unwraps, rebuilt
from tests.support.whole import (
    HARM,
    NOBODY,
    NOWHERE,
    UNKNOWN_DISCLOSURE,
    Stage,
    draft,
    refusal,
    standing,
)
from vault_service.domain.actors import Role
from vault_service.domain.grounds import Policy
from vault_service.domain.instruments import Instrument
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound, Unavailable
from vault_service.ledger.entries import Event
from vault_service.services.disclosures.drafts import PolicyRefused
from vault_service.services.documents import DocumentUnreadable
from vault_service.services.views import DisclosureView


@pytest.fixture
def token(stage: Stage, customer: str) -> str:
    """A card's token."""
    return stage.card(customer)


def make(stage: Stage, asked: Any, *, by: str = "requester", is_draft: bool = False) -> Any:
    """Make a request."""
    return stage.disclosures.create(stage.caller(by), asked, is_draft=is_draft)


def codes(error: Exception) -> set[str]:
    """The codes of all problems."""
    assert isinstance(error, PolicyRefused)
    return {problem.code for problem in error.problems}


# ---------------------------------------------------------------- asking


def test_explain_decides_without_doing_anything(stage: Stage, token: str) -> None:
    """The same answer as the request would get, and neither row nor entry."""
    with stage.told() as entries:
        good = stage.disclosures.explain(stage.caller("requester"), draft(token))
        bad = stage.disclosures.explain(stage.caller("requester"), draft(token, evidence={}))
    assert (good.allowed, good.clause) == (True, "D1")
    assert not bad.allowed
    assert {reason.code for reason in bad.missing} == {"evidence_missing"}
    assert entries == []
    refusal(lambda: stage.disclosures.explain(stage.caller("billing"), draft(token)), Forbidden)


def test_a_request_is_shown_with_its_evidence_to_its_maker(stage: Stage, token: str) -> None:
    """Evidence and recipient come back, and stand in the row only sealed."""
    view = make(stage, draft(token))
    assert (view.state, view.ground, view.clause) == ("submitted", "protect_from_harm", "D1")
    assert view.evidence == HARM
    assert view.recipient_name == "Somebody"
    assert (view.approvals_needed, view.determination_needed) == (2, False)
    assert view.submitted_at is not None
    ((row,),) = stage.sql("SELECT d::text FROM disclosures d WHERE id = %s", [view.id])
    assert "Somebody" not in row
    assert HARM["harm"] not in row
    assert b"Somebody".hex() not in row


def test_the_entry_binds_the_evidence_without_telling_it(stage: Stage, token: str) -> None:
    """A salted commitment, the category, the kind of recipient."""
    with stage.told() as entries:
        view = make(stage, draft(token))
    (entry,) = entries
    assert (entry.event, entry.grant) == (Event.DISCLOSURE_SUBMITTED, view.id)
    assert set(entry.commitments) == {"evidence"}
    assert entry.details == {
        "category": "personal_and_account",
        "recipient": "counterparty",
        "uses": 1,
    }
    with stage.told() as again:
        make(stage, draft(token))
    assert again[0].commitments != entry.commitments


@pytest.mark.parametrize("is_draft", [False, True])
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ground": "curiosity"}, "ground_unknown"),
        ({"category": "everything"}, "category_unknown"),
        ({"ground": "protect_interests"}, "ground_not_for_category"),
        ({"recipient_kind": "a friend"}, "recipient_kind_unknown"),
        ({"recipient_kind": "payment_processor"}, "recipient_kind_not_allowed"),
        ({"recipient_name": "4242424242424242"}, "card_number_not_allowed_here"),
        ({"uses": 0}, "uses_not_allowed"),
        ({"uses": -1}, "uses_not_allowed"),
        ({"uses": 2**40}, "uses_not_allowed"),
        ({"duration_seconds": 0}, "duration_not_allowed"),
        ({"duration_seconds": -5}, "duration_not_allowed"),
        ({"duration_seconds": 86_401}, "duration_not_allowed"),
        ({"customer": NOBODY, "tokens": None}, "customer_not_found"),
        ({"tokens": None}, "scope_missing"),
        ({"tokens": (NOWHERE,)}, "token_not_found"),
        ({"tokens": ("tok_?",)}, "token_malformed"),
        ({"tokens": ()}, "scope_empty"),
        ({"fields": ()}, "fields_empty"),
        ({"fields": ("cvc",)}, "field_unknown"),
        ({"evidence": {**HARM, "harm": "the cvc is 123"}}, "verification_code_not_allowed_here"),
        ({"evidence": {**HARM, "gossip": "much"}}, "evidence_unknown"),
        ({"evidence": {**HARM, "harm": "x" * 5000}}, "text_too_long"),
        ({"evidence": {**HARM, "action": "frighten"}}, "evidence_choice_unknown"),
    ],
)
def test_what_the_policy_does_not_allow_is_refused_and_not_kept(
    stage: Stage,
    token: str,
    is_draft: bool,  # noqa: FBT001 -- pytest passes it by name
    changes: dict[str, Any],
    code: str,
) -> None:
    """A draft holds nothing that a request may not hold."""
    asked = draft(token, **changes)
    with stage.told() as entries:
        error = refusal(lambda: make(stage, asked, is_draft=is_draft), InvalidInput)
    found = codes(error) if isinstance(error, PolicyRefused) else {error.code}
    assert code in found
    assert entries == []


def test_both_scopes_at_once_are_refused(stage: Stage, token: str, customer: str) -> None:
    """Tokens or a customer, not both, in a draft either."""
    both = draft(token, customer=customer, classes=("payment_card",))
    assert "scope_ambiguous" in codes(refusal(lambda: make(stage, both, is_draft=True)))


def test_a_customer_and_classes_are_a_scope(stage: Stage, customer: str) -> None:
    """The customer stands in row and entries."""
    with stage.told() as entries:
        view = make(
            stage, standing(customer=customer, classes=("payment_card", "telephone"), uses=3)
        )
    assert (view.customer, view.classes, view.tokens) == (
        customer,
        ("payment_card", "telephone"),
        None,
    )
    assert entries[0].customer == customer


@pytest.mark.parametrize("who", ["billing", "support", "officer-1", "auditor", "operator"])
def test_only_a_requester_asks(stage: Stage, token: str, who: str) -> None:
    """An officer cannot ask, nor an operator."""
    refusal(lambda: make(stage, draft(token), by=who), Forbidden)
    refusal(lambda: stage.disclosures.submit(stage.caller(who), UNKNOWN_DISCLOSURE), Forbidden)
    refusal(lambda: stage.decisions.withdraw(stage.caller(who), UNKNOWN_DISCLOSURE), Forbidden)


def test_without_vault_nothing_is_asked(stage: Stage, token: str) -> None:
    """Evidence that cannot be sealed is not stored."""
    broken = rebuilt(
        stage.disclosures, documents=rebuilt(stage.disclosures._documents, data_keys=NoDataKeys())
    )
    with stage.told() as entries, pytest.raises(VaultUnavailable):
        broken.create(stage.caller("requester"), draft(token), is_draft=False)
    assert entries == []


def test_a_failed_commit_asks_nothing(stage: Stage, token: str) -> None:
    """Neither row nor entry remain."""
    broken = rebuilt(stage.disclosures, uow=FaultyUnitOfWork(stage.disclosures._uow, at="instead"))
    before = stage.sql("SELECT count(*) FROM disclosures")
    with stage.told() as entries:
        refusal(
            lambda: broken.create(stage.caller("requester"), draft(token), is_draft=False),
            Unavailable,
        )
    assert entries == []
    assert stage.sql("SELECT count(*) FROM disclosures") == before


# ---------------------------------------------------------------- drafts


def test_a_draft_waits_until_it_is_submitted(stage: Stage, token: str) -> None:
    """Nobody decides on it before; submitting twice is harmless."""
    with stage.told() as entries:
        view = make(stage, draft(token), is_draft=True)
        assert (view.state, view.submitted_at) == ("draft", None)
        error = refusal(
            lambda: stage.decisions.approve(stage.caller("officer-1"), view.id), Conflict
        )
        assert error.code == "disclosure_not_submitted"
        first = stage.disclosures.submit(stage.caller("requester"), view.id)
        again = stage.disclosures.submit(stage.caller("requester"), view.id)
    assert first.state == again.state == "submitted"
    assert first.evidence == HARM
    assert [entry.event for entry in entries] == [
        Event.DISCLOSURE_DRAFTED,
        Event.DISCLOSURE_SUBMITTED,
    ]


def test_an_incomplete_draft_is_kept_and_not_submitted(stage: Stage, token: str) -> None:
    """What is missing is told when it is submitted."""
    view = make(stage, draft(token, evidence={}, recipient_name=" "), is_draft=True)
    error = refusal(
        lambda: stage.disclosures.submit(stage.caller("requester"), view.id), PolicyRefused
    )
    assert codes(error) == {"evidence_missing", "recipient_name_missing"}
    assert stage.disclosure_reading.get(stage.caller("requester"), view.id).state == "draft"


def test_a_draft_of_another_policy_is_not_submitted(stage: Stage, token: str) -> None:
    """A request lives and dies under the policy that it was made under."""
    view = make(stage, draft(token), is_draft=True)
    changed = rebuilt(stage.disclosures, policy=another(stage.services.policy))
    error = refusal(lambda: changed.submit(stage.caller("requester"), view.id), Conflict)
    assert error.code == "policy_changed"


def another(policy: Policy) -> Policy:
    """The same policy as another version."""
    from dataclasses import replace

    return replace(policy, version="f" * 64)


@pytest.mark.parametrize(
    ("use_case", "step"),
    [("disclosures", "submit"), ("decisions", "withdraw"), ("disclosure_reading", "get")],
)
@pytest.mark.parametrize("disclosure", [UNKNOWN_DISCLOSURE, "dis_", "dis_\x00", "other"])
def test_another_requesters_and_unknown_requests_answer_alike(
    stage: Stage, token: str, use_case: str, step: str, disclosure: str
) -> None:
    """Nobody learns of somebody else's request."""
    if disclosure == "other":
        disclosure = make(stage, draft(token), by="requester-2").id
    call = getattr(getattr(stage, use_case), step)
    error = refusal(lambda: call(stage.caller("requester"), disclosure), NotFound)
    assert (error.code, error.detail) == (
        "disclosure_not_found",
        "there is no such disclosure request",
    )


def test_a_request_that_goes_while_it_is_decided_on_is_not_found(stage: Stage, token: str) -> None:
    """A row that a superuser takes away between two reads is missing, not an error."""
    view = make(stage, draft(token))

    def gone(read_only: bool) -> None:  # noqa: FBT001 -- the hook's form
        if not read_only:
            stage.sql("DELETE FROM disclosures WHERE id = %s", [view.id])

    hooked = rebuilt(stage.decisions, uow=Hooked(stage.decisions._uow, before=gone))
    refusal(lambda: hooked.approve(stage.caller("officer-1"), view.id), NotFound)


# ---------------------------------------------------------------- deciding


def test_two_officers_make_a_grant(stage: Stage, token: str) -> None:
    """The second approval activates it; each step is an entry with ground and policy."""
    view = make(stage, draft(token))
    with stage.told() as entries:
        first = stage.decisions.approve(stage.caller("officer-1"), view.id, comment=" seen ")
        second = stage.decisions.approve(stage.caller("officer-2"), view.id)
    assert (first.state, second.state) == ("submitted", "active")
    assert second.activated_at is not None
    assert second.expires_at == second.activated_at + timedelta(hours=24)
    assert [(each.kind, each.principal, each.comment) for each in second.decisions] == [
        ("approve", stage.cast.id("officer-1"), "seen"),
        ("approve", stage.cast.id("officer-2"), None),
    ]
    assert [entry.event for entry in entries] == [
        Event.DISCLOSURE_APPROVED,
        Event.DISCLOSURE_APPROVED,
        Event.DISCLOSURE_ACTIVATED,
    ]
    assert {entry.policy for entry in entries} == {stage.services.policy.version}
    assert {entry.clause for entry in entries} == {"D1"}


def test_a_shorter_duration_counts(stage: Stage, token: str) -> None:
    """A grant lasts as long as was asked, not longer."""
    view = stage.granted(draft(token, duration_seconds=60))
    assert view.activated_at is not None
    assert view.expires_at == view.activated_at + timedelta(seconds=60)


def test_two_approvals_at_once_are_two(stage: Stage, token: str) -> None:
    """Racing officers are counted one after the other; the same one twice is one."""
    for _ in range(10):
        view = make(stage, draft(token))
        outcomes: list[str] = []

        def call(who: str, name: str = view.id, seen: list[str] = outcomes) -> None:
            try:
                seen.append(stage.decisions.approve(stage.caller(who), name).state)
            except Conflict as refused:
                seen.append(refused.code)

        threads = [
            threading.Thread(target=call, args=(who,))
            for who in ("officer-1", "officer-1", "officer-2", "officer-2")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes)[:1] == ["active"]
        assert outcomes.count("submitted") == 1
        ((approvals,),) = stage.sql(
            "SELECT count(*) FROM disclosure_decisions WHERE disclosure = %s", [view.id]
        )
        assert approvals == 2


@pytest.mark.parametrize("step", ["approve", "deny", "revoke"])
@pytest.mark.parametrize("who", ["requester", "billing", "support", "auditor", "operator"])
def test_only_officers_decide(stage: Stage, token: str, step: str, who: str) -> None:
    """The requester least of all."""
    view = make(stage, draft(token))
    refusal(lambda: getattr(stage.decisions, step)(stage.caller(who), view.id), Forbidden)
    refusal(
        lambda: stage.decisions.determine(
            stage.caller(who), view.id, valid=True, reasons="because"
        ),
        Forbidden,
    )


def test_one_denial_is_enough(stage: Stage, token: str) -> None:
    """It ends the request for good, with its reason sealed."""
    view = make(stage, draft(token))
    stage.decisions.approve(stage.caller("officer-1"), view.id)
    with stage.told() as entries:
        denied = stage.decisions.deny(stage.caller("officer-2"), view.id, comment="no harm seen")
    assert (denied.state, denied.decisions[-1].comment) == ("denied", "no harm seen")
    assert denied.ended_at is not None
    assert [entry.event for entry in entries] == [Event.DISCLOSURE_DENIED]
    for step in ("approve", "deny", "revoke"):
        with pytest.raises(Conflict) as ended:
            getattr(stage.decisions, step)(stage.caller("officer-3"), view.id)
        assert ended.value.code == "disclosure_ended"


def test_an_officer_may_change_his_mind_to_no(stage: Stage, token: str) -> None:
    """Who approved may deny; who approved may not approve again."""
    view = make(stage, draft(token))
    stage.decisions.approve(stage.caller("officer-1"), view.id)
    error = refusal(lambda: stage.decisions.approve(stage.caller("officer-1"), view.id), Conflict)
    assert error.code == "already_approved_by_you"
    assert stage.decisions.deny(stage.caller("officer-1"), view.id, comment="no").state == "denied"


def test_a_decision_that_stands_already_is_a_conflict(stage: Stage, token: str) -> None:
    """The row's key says once more what the rules say: nobody decides so twice."""
    view = make(stage, draft(token))
    stage.sql(
        "INSERT INTO disclosure_decisions (bucket, disclosure, kind, principal, requester)"
        " SELECT bucket, id, 'deny', %s, requester FROM disclosures WHERE id = %s",
        [stage.cast.id("officer-1"), view.id],
    )
    error = refusal(
        lambda: stage.decisions.deny(stage.caller("officer-1"), view.id, comment="no"), Conflict
    )
    assert error.code == "already_decided"


def test_an_approval_under_another_policy_is_refused(stage: Stage, token: str) -> None:
    """The policy that decides is the one under which it was asked."""
    view = make(stage, draft(token))
    changed = rebuilt(stage.decisions, policy=another(stage.services.policy))
    error = refusal(lambda: changed.approve(stage.caller("officer-1"), view.id), Conflict)
    assert error.code == "policy_changed"


def test_what_is_no_longer_allowed_is_not_approved(stage: Stage, token: str) -> None:
    """The policy is asked again: a record that was erased meanwhile is not disclosed."""
    view = make(stage, draft(token))
    stage.erasure.erase(stage.caller("billing"), [token])
    error = refusal(
        lambda: stage.decisions.approve(stage.caller("officer-1"), view.id), InvalidInput
    )
    assert error.code == "token_not_found"


def test_a_request_that_the_policy_no_longer_takes_is_not_approved(
    stage: Stage, token: str
) -> None:
    """Changed evidence of a row does not pass: what is missing is told."""
    view = make(stage, draft(token))
    stage.sql("UPDATE disclosures SET uses = 5, uses_left = 5 WHERE id = %s", [view.id])
    error = refusal(
        lambda: stage.decisions.approve(stage.caller("officer-1"), view.id), PolicyRefused
    )
    assert codes(error) == {"approvals_missing", "uses_not_allowed"}


def test_fewer_approvals_written_into_the_row_do_not_help(stage: Stage, token: str) -> None:
    """The policy counts, not the row: one approval of two makes no grant."""
    view = make(stage, draft(token))
    stage.sql("UPDATE disclosures SET approvals_needed = 1 WHERE id = %s", [view.id])
    error = refusal(
        lambda: stage.decisions.approve(stage.caller("officer-1"), view.id), PolicyRefused
    )
    assert codes(error) == {"approvals_missing"}


@pytest.mark.parametrize("comment", ["", "x" * 2001, "4242 4242 4242 4242", "a\x00"])
def test_a_comment_is_checked(stage: Stage, token: str, comment: str) -> None:
    """No card number, no control characters, not empty, not endless."""
    view = make(stage, draft(token))
    for step in ("approve", "deny"):
        with pytest.raises(InvalidInput):
            getattr(stage.decisions, step)(stage.caller("officer-1"), view.id, comment=comment)
    refusal(
        lambda: stage.decisions.determine(
            stage.caller("officer-1"), view.id, valid=True, reasons=comment
        ),
        InvalidInput,
    )


# ---------------------------------------------------------------- determination


WARRANT = {
    "instrument": "warrant",
    "authority": "District Court",
    "reference": "4711/26",
    "issued": "2026-01-02",
    "valid_until": "2099-01-01",
    "instrument_scope": "all messages of May",
}


@pytest.fixture
def process(stage: Stage, customer: str) -> DisclosureView:
    """A request under a ground that needs a determination."""
    view = make(
        stage,
        draft(
            ground="legal_process",
            category="communication_contents",
            recipient_kind="court",
            customer=customer,
            classes=("communication",),
            evidence=WARRANT | {"document": stage.document()},
        ),
    )
    assert isinstance(view, DisclosureView)
    return view


def covered(view: DisclosureView) -> Instrument:
    """An instrument that covers all of a request."""
    return Instrument(customer=view.customer, classes=view.classes or (), ends=date(2099, 1, 1))


def test_an_instrument_is_determined_before_it_is_approved(
    stage: Stage, process: DisclosureView
) -> None:
    """No approval counts before a named officer found it valid and enforceable."""
    use_case, view = stage.decisions, process
    assert view.determination_needed
    error = refusal(lambda: use_case.approve(stage.caller("officer-1"), view.id), Conflict)
    assert error.code == "determination_missing"
    with stage.told() as entries:
        determined = use_case.determine(
            stage.caller("officer-1"),
            view.id,
            valid=True,
            reasons="signed by a judge",
            instrument=covered(view),
        )
    assert determined.state == "determined"
    assert determined.decisions[0].comment == "signed by a judge"
    assert [(entry.event, dict(entry.details)) for entry in entries] == [
        (Event.DISCLOSURE_DETERMINED, {"valid": "yes", "ends": "2099-01-01"})
    ]
    again = refusal(
        partial(
            use_case.determine,
            stage.caller("officer-2"),
            view.id,
            valid=True,
            reasons="r",
            instrument=covered(view),
        ),
        Conflict,
    )
    assert again.code == "already_determined"
    use_case.approve(stage.caller("officer-1"), view.id)
    assert use_case.approve(stage.caller("officer-2"), view.id).state == "active"


def test_an_instrument_that_is_not_valid_ends_the_request(
    stage: Stage, process: DisclosureView
) -> None:
    """The finding and the denial are both entries."""
    use_case, view = stage.decisions, process
    with stage.told() as entries:
        denied = use_case.determine(
            stage.caller("officer-1"), view.id, valid=False, reasons="not signed"
        )
    assert denied.state == "denied"
    assert [(entry.event, dict(entry.details)) for entry in entries] == [
        (Event.DISCLOSURE_DETERMINED, {"valid": "no"}),
        (Event.DISCLOSURE_DENIED, {}),
    ]


def test_other_grounds_need_no_determination(stage: Stage, token: str) -> None:
    """It is refused where the ground does not ask for it."""
    view = make(stage, draft(token))
    error = refusal(
        lambda: stage.decisions.determine(
            stage.caller("officer-1"), view.id, valid=True, reasons="r"
        ),
        Conflict,
    )
    assert error.code == "determination_not_needed"


# ---------------------------------------------------------------- ends


def test_an_officer_ends_a_grant(stage: Stage, token: str) -> None:
    """Revocation needs no Vault when it has no comment."""
    view = stage.granted(draft(token))
    away = rebuilt(
        stage.decisions,
        documents=rebuilt(
            stage.decisions._documents,
            data_keys=NoDataKeys(),
            unwrapping=Unwraps(stage.decisions._documents._unwrapping, answer="away"),
        ),
    )
    with stage.told() as entries:
        ended = away.revoke(stage.caller("officer-3"), view.id)
    assert (ended.state, ended.evidence) == ("revoked", None)
    assert [entry.event for entry in entries] == [Event.DISCLOSURE_REVOKED]
    again = refusal(lambda: stage.decisions.revoke(stage.caller("officer-1"), view.id), Conflict)
    assert again.code == "disclosure_ended"


def test_only_a_grant_is_revoked(stage: Stage, token: str) -> None:
    """What waits for approval is denied instead."""
    view = make(stage, draft(token))
    error = refusal(lambda: stage.decisions.revoke(stage.caller("officer-1"), view.id), Conflict)
    assert error.code == "disclosure_not_active"


@pytest.mark.parametrize("active", [False, True])
def test_a_requester_withdraws_his_own(
    stage: Stage,
    token: str,
    active: bool,  # noqa: FBT001 -- pytest passes it by name
) -> None:
    """A request or a grant; with a comment, which stays sealed beside it."""
    view = stage.granted(draft(token)) if active else make(stage, draft(token))
    with stage.told() as entries:
        ended = stage.decisions.withdraw(
            stage.caller("requester"), view.id, comment="not needed any more"
        )
    assert ended.state == "withdrawn"
    assert [entry.event for entry in entries] == [Event.DISCLOSURE_WITHDRAWN]
    shown = stage.disclosure_reading.get(stage.caller("requester"), view.id)
    assert shown.decisions[-1].comment == "not needed any more"
    for call in (stage.disclosures.submit, stage.decisions.withdraw):
        with pytest.raises(Conflict):
            call(stage.caller("requester"), view.id)


def test_an_expired_grant_is_expired_before_it_is_swept(stage: Stage, token: str) -> None:
    """The state as told follows the database's clock, and it cannot be revoked any more."""
    view = stage.granted(draft(token))
    stage.sql("UPDATE disclosures SET expires_at = now() WHERE id = %s", [view.id])
    assert stage.disclosure_reading.get(stage.caller("requester"), view.id).state == "expired"
    refusal(lambda: stage.decisions.revoke(stage.caller("officer-1"), view.id), Conflict)


# ---------------------------------------------------------------- reading


def test_an_officers_reading_of_evidence_is_an_entry(stage: Stage, token: str) -> None:
    """A requester's reading of his own is not."""
    view = make(stage, draft(token))
    with stage.told() as entries:
        own = stage.disclosure_reading.get(stage.caller("requester"), view.id)
        read = stage.disclosure_reading.get(stage.caller("officer-1"), view.id)
    assert own.evidence == read.evidence == HARM
    assert [(entry.event, entry.actor.id, entry.grant) for entry in entries] == [
        (Event.DISCLOSURE_EVIDENCE_READ, stage.cast.id("officer-1"), view.id)
    ]
    refusal(lambda: stage.disclosure_reading.get(stage.caller("auditor"), view.id), Forbidden)


def test_evidence_is_shown_to_officers_while_there_is_something_to_decide(
    stage: Stage, token: str
) -> None:
    """Neither of a draft nor of what has ended; its comments and its decisions are shown."""
    officer, requester = stage.caller("officer-1"), stage.caller("requester")
    kept = make(stage, draft(token), is_draft=True)
    ended = make(stage, draft(token))
    stage.decisions.deny(officer, ended.id, comment="not shown")
    with stage.told() as entries:
        views = [stage.disclosure_reading.get(officer, view.id) for view in (kept, ended)]
    assert [(view.evidence, view.recipient_name) for view in views] == [(None, None)] * 2
    assert views[1].decisions[0].comment == "not shown"
    assert entries == []
    for view in (kept, ended):
        assert stage.disclosure_reading.get(requester, view.id).evidence == HARM


def test_only_its_requester_submits_a_draft(stage: Stage, token: str) -> None:
    """Not an officer either, whatever roles somebody wrote into his row."""
    kept = make(stage, draft(token), is_draft=True)
    officer = stage.caller("officer-1")
    both = replace(
        officer,
        principal=replace(officer.principal, roles=frozenset((Role.OFFICER, Role.REQUESTER))),
    )
    error = refusal(lambda: stage.disclosures.submit(both, kept.id), Forbidden)
    assert error.code == "not_your_request"


@pytest.mark.parametrize(
    "change",
    [
        "details_envelope = set_byte(details_envelope, 60, 255 - get_byte(details_envelope, 60))",
        "details_wrapped_key = 'vault:v1:AAAA'",
        "details_envelope = (SELECT details_envelope FROM disclosures WHERE id <> d.id LIMIT 1)",
        (
            "details_envelope = e.envelope, details_wrapped_key = e.key FROM (SELECT"
            " comment_envelope AS envelope, comment_wrapped_key AS key FROM disclosure_decisions"
            " WHERE comment_envelope IS NOT NULL LIMIT 1) AS e"
        ),
    ],
)
def test_changed_evidence_does_not_open(stage: Stage, token: str, change: str) -> None:
    """Flipped, unwrapped by nobody, another request's, or a document of another kind."""
    other = make(stage, draft(token))
    stage.decisions.approve(stage.caller("officer-1"), other.id, comment="a comment")
    view = make(stage, draft(token))
    statement = f"UPDATE disclosures AS d SET {change} "  # noqa: S608 -- written above
    stage.sql(f"{statement} WHERE d.id = %s", [view.id])
    error = refusal(
        lambda: stage.disclosure_reading.get(stage.caller("officer-1"), view.id), DocumentUnreadable
    )
    assert error.code == "document_unreadable"


def test_pages_show_a_requester_his_own_and_an_officer_all(stage: Stage, token: str) -> None:
    """Without evidence, in the order of their ids."""
    mine = {make(stage, draft(token), by="requester-2").id for _ in range(3)}
    seen: list[DisclosureView] = []
    cursor: str | None = None
    while True:
        page = stage.disclosure_reading.page(
            stage.caller("requester-2"), state="submitted", cursor=cursor, limit=2
        )
        seen += page.items
        cursor = page.next
        if cursor is None:
            break
    assert mine <= {view.id for view in seen}
    assert {view.requester for view in seen} == {stage.cast.id("requester-2")}
    assert {view.evidence for view in seen} == {None}
    theirs = make(stage, draft(token)).id
    cursor, found = None, False
    while not found:
        page = stage.disclosure_reading.page(
            stage.caller("officer-1"), state=None, cursor=cursor, limit=100
        )
        found = theirs in {view.id for view in page.items}
        cursor = page.next
        assert found or cursor is not None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"state": "nearly"}, "state_unknown"),
        ({"limit": 0}, "limit_invalid"),
        ({"limit": 101}, "limit_invalid"),
        ({"cursor": "x"}, "disclosure_malformed"),
    ],
)
def test_a_wrong_page_is_refused(stage: Stage, changes: dict[str, Any], code: str) -> None:
    """Each mistake has its code."""
    how: dict[str, Any] = {"state": None, "cursor": None, "limit": 10}
    error = refusal(
        lambda: stage.disclosure_reading.page(stage.caller("officer-1"), **(how | changes)),
        InvalidInput,
    )
    assert error.code == code
    refusal(lambda: stage.disclosure_reading.page(stage.caller("support"), **how), Forbidden)
