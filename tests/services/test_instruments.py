"""A grant is held to the instrument that an officer found valid, and ends with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tests.services.test_disclosures import WARRANT, covered, make
from tests.support.faults import rebuilt
from tests.support.whole import Stage, draft, refusal
from vault_service.domain.grounds import Policy
from vault_service.domain.instruments import Instrument
from vault_service.errors import Conflict, Forbidden, NotFound
from vault_service.ledger.entries import Event
from vault_service.services.disclosures.drafts import PolicyRefused
from vault_service.services.disclosures.instruments import DeterminationIncomplete
from vault_service.services.views import DisclosureView

TODAY = datetime.now(UTC).date()


def request(stage: Stage, customer: str, **changes: Any) -> Any:
    """A request on legal process."""
    made = draft(
        ground="legal_process",
        category="communication_contents",
        recipient_kind="court",
        customer=customer,
        classes=("communication",),
        evidence=WARRANT | {"document": stage.document()},
    )
    return make(stage, replace(made, **changes))


@pytest.fixture
def process(stage: Stage, customer: str) -> DisclosureView:
    """A submitted request."""
    view = request(stage, customer)
    assert isinstance(view, DisclosureView)
    return view


def determine(stage: Stage, view: DisclosureView, said: Instrument | None, **how: Any) -> Any:
    """Find the instrument valid."""
    return stage.decisions.determine(
        stage.caller(how.get("by", "officer-1")),
        view.id,
        valid=how.get("valid", True),
        reasons="signed by a judge",
        instrument=said,
    )


def grant(stage: Stage, view: DisclosureView, said: Instrument | None = None) -> Any:
    """A grant on legal process."""
    determine(stage, view, said or covered(view))
    stage.decisions.approve(stage.caller("officer-1"), view.id)
    return stage.decisions.approve(stage.caller("officer-2"), view.id)


@pytest.mark.parametrize(
    ("said", "codes"),
    [
        (None, {"instrument_scope_missing", "instrument_end_missing"}),
        (Instrument(), {"instrument_scope_missing", "instrument_end_missing"}),
        (Instrument(ends=date(2099, 1, 1)), {"instrument_scope_missing"}),
        (Instrument(tokens=("tok_x",)), {"instrument_end_missing"}),
    ],
)
def test_a_determination_says_what_the_policy_holds_grants_to(
    stage: Stage, process: DisclosureView, said: Instrument | None, codes: set[str]
) -> None:
    """All that is missing at once, by clause; nothing is written."""
    with stage.told() as entries:
        error = refusal(lambda: determine(stage, process, said), DeterminationIncomplete)
    assert {each.code for each in error.problems} == codes
    assert {each.clause for each in error.problems} == {"C3"}
    assert entries == []
    assert stage.disclosure_reading.get(stage.caller("requester"), process.id).state == "submitted"
    # Who finds it not valid need say nothing of what it covers.
    assert determine(stage, process, said, valid=False).state == "denied"


@pytest.mark.parametrize(
    ("said", "code", "pointer"),
    [
        ({"customer": "cus_" + "0" * 26}, "scope_exceeds_instrument", "/classes"),
        ({"classes": ("activity_log",)}, "scope_exceeds_instrument", "/classes"),
        ({"customer": None, "tokens": ("tok_x",)}, "scope_exceeds_instrument", "/classes"),
        ({"begins": TODAY + timedelta(days=2)}, "instrument_not_begun", ""),
        ({"ends": TODAY - timedelta(days=1)}, "instrument_expired", ""),
    ],
)
def test_what_the_instrument_does_not_cover_is_not_approved(
    stage: Stage, process: DisclosureView, said: dict[str, Any], code: str, pointer: str
) -> None:
    """Approving names the piece and its clause; so does asking what is lacking."""
    determine(stage, process, replace(covered(process), **said))
    error = refusal(
        lambda: stage.decisions.approve(stage.caller("officer-1"), process.id), PolicyRefused
    )
    problems = {(each.code, each.pointer, each.clause) for each in error.problems}
    assert (code, pointer, "C3") in problems
    decision = stage.disclosure_reading.lacking(stage.caller("requester"), process.id)
    assert {each.code for each in decision.missing} == {code, "approvals_missing"}


def test_tokens_are_held_to_an_instrument_over_a_customer(stage: Stage, customer: str) -> None:
    """Whose the records are is looked up, not claimed."""
    policy = stage.disclosures._policy
    ground = policy.grounds["legal_process", "communication_contents"]
    account = replace(ground, category="personal_and_account")
    wider = Policy(
        **{
            **{name: getattr(policy, name) for name in Policy.__slots__},
            "grounds": {**policy.grounds, ("legal_process", "personal_and_account"): account},
        }
    )
    requests = rebuilt(stage.disclosures, policy=wider)
    decisions = rebuilt(stage.decisions, policy=wider)
    granting = rebuilt(stage.granting, policy=wider)
    own, other = stage.card(customer), stage.card(stage.customer())
    officer = stage.caller("officer-1")
    said = Instrument(customer=customer, classes=("payment_card",), ends=date(2099, 1, 1))
    states = []
    for tokens in ((own,), (own, other)):
        asked = draft(
            *tokens,
            ground="legal_process",
            recipient_kind="court",
            evidence=WARRANT | {"document": stage.document()},
        )
        view = requests.create(stage.caller("requester"), asked, is_draft=False)
        decisions.determine(officer, view.id, valid=True, reasons="r", instrument=said)
        try:
            decisions.approve(officer, view.id)
            states.append(decisions.approve(stage.caller("officer-2"), view.id).state)
            assert granting.issue(stage.caller("requester"), view.id).token
            stage.sql("UPDATE disclosures SET tokens = %s WHERE id = %s", [[own, other], view.id])
            forged = refusal(lambda v=view: granting.issue(stage.caller("requester"), v.id))
            assert forged.code == "grant_out_of_policy"
        except PolicyRefused as error:
            states += [each.code for each in error.problems if each.code != "approvals_missing"]
    assert states == ["active", "scope_exceeds_instrument"]


def test_a_grant_never_outlives_what_was_determined(stage: Stage, process: DisclosureView) -> None:
    """Its end is the instrument's last day, though evidence and ground would allow more."""
    view = grant(stage, process, replace(covered(process), ends=TODAY, begins=TODAY))
    midnight = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC) + timedelta(days=1)
    assert midnight - timedelta(seconds=2) < view.expires_at <= midnight
    shown = stage.disclosure_reading.get(stage.caller("officer-2"), process.id)
    assert shown.instrument == replace(covered(process), ends=TODAY, begins=TODAY)


def test_lacking_tells_every_step(stage: Stage, process: DisclosureView) -> None:
    """From the determination to the last approval, by clause, and without doing anything."""
    seen = []

    def look() -> None:
        with stage.told() as entries:
            decision = stage.disclosure_reading.lacking(stage.caller("officer-3"), process.id)
        assert entries == []
        seen.append([each.code for each in decision.missing])
        assert {each.clause for each in decision.missing} <= {"C3"}

    look()
    determine(stage, process, covered(process))
    look()
    stage.decisions.approve(stage.caller("officer-1"), process.id)
    look()
    stage.decisions.approve(stage.caller("officer-2"), process.id)
    look()
    stage.decisions.annul(stage.caller("officer-2"), process.id, reasons="lifted")
    look()
    assert seen == [
        ["determination_missing", "approvals_missing"],
        ["approvals_missing"],
        ["approvals_missing"],
        [],
        ["determination_negative"],
    ]
    refusal(
        lambda: stage.disclosure_reading.lacking(stage.caller("requester-2"), process.id), NotFound
    )
    refusal(
        lambda: stage.disclosure_reading.lacking(stage.caller("auditor"), process.id), Forbidden
    )


def test_lacking_tells_a_negative_finding(stage: Stage, customer: str) -> None:
    """A request denied for its instrument lacks it; one denied otherwise lacks approvals."""
    first, second = request(stage, customer), request(stage, customer)
    determine(stage, first, None, valid=False)
    determine(stage, second, covered(second))
    stage.decisions.deny(stage.caller("officer-1"), second.id, comment="not needed")
    codes = [
        [e.code for e in stage.disclosure_reading.lacking(stage.caller("requester"), v.id).missing]
        for v in (first, second)
    ]
    assert codes == [["determination_negative", "approvals_missing"], ["approvals_missing"]]


# ---------------------------------------------------------------- annulled


def test_a_revoked_instrument_ends_the_grant_at_once(stage: Stage, process: DisclosureView) -> None:
    """The next token is refused; the finding and the end are both entries, with sealed reasons."""
    view = grant(stage, process)
    assert stage.token(view.id)
    with stage.told() as entries:
        ended = stage.decisions.annul(
            stage.caller("officer-3"), view.id, reasons="lifted on appeal"
        )
    assert (ended.state, ended.decisions[-1].comment) == ("revoked", "lifted on appeal")
    assert [entry.event for entry in entries] == [
        Event.DISCLOSURE_ANNULLED,
        Event.DISCLOSURE_REVOKED,
    ]
    assert refusal(lambda: stage.token(view.id), Conflict).code == "disclosure_revoked"
    again = refusal(
        lambda: stage.decisions.annul(stage.caller("officer-1"), view.id, reasons="r"), Conflict
    )
    assert again.code == "disclosure_ended"


def test_an_instrument_annulled_before_the_grant_denies_it(
    stage: Stage, process: DisclosureView
) -> None:
    """Between determination and approval as well."""
    determine(stage, process, covered(process))
    with stage.told() as entries:
        ended = stage.decisions.annul(stage.caller("officer-2"), process.id, reasons="withdrawn")
    assert ended.state == "denied"
    assert [entry.event for entry in entries] == [
        Event.DISCLOSURE_ANNULLED,
        Event.DISCLOSURE_DENIED,
    ]


def test_only_what_was_determined_is_annulled_and_only_by_officers(
    stage: Stage, process: DisclosureView, customer: str
) -> None:
    """Not before a determination, nor where none is needed."""
    officer = stage.caller("officer-1")
    early = refusal(lambda: stage.decisions.annul(officer, process.id, reasons="r"), Conflict)
    assert early.code == "determination_missing"
    other = stage.granted(draft(stage.card(customer)))
    none = refusal(lambda: stage.decisions.annul(officer, other.id, reasons="r"), Conflict)
    assert none.code == "determination_not_needed"
    for who in ("requester", "auditor", "operator"):
        refusal(
            lambda w=who: stage.decisions.annul(stage.caller(w), process.id, reasons="r"),
            Forbidden,
        )


# ---------------------------------------------------------------- the signing side


@pytest.mark.parametrize(
    "forgery",
    [
        "DELETE FROM disclosure_instruments WHERE disclosure = %s",
        "DELETE FROM disclosure_decisions WHERE kind = 'determine' AND disclosure = %s",
        "UPDATE disclosure_instruments SET ends = current_date WHERE disclosure = %s",
        "UPDATE disclosure_instruments SET customer = 'cus_x' WHERE disclosure = %s",
        "UPDATE disclosure_instruments SET classes = '{activity_log}' WHERE disclosure = %s",
        "UPDATE disclosures SET recipient_kind = 'counterparty' WHERE id = %s",
        "UPDATE disclosures SET classes = '{payment_card}' WHERE id = %s",
        (
            "UPDATE disclosures SET activated_at = now() + interval '1 year',"
            " expires_at = now() + interval '1 year 1 hour' WHERE id = %s"
        ),
    ],
)
def test_the_signing_side_looks_for_the_determination_itself(
    stage: Stage, process: DisclosureView, forgery: str
) -> None:
    """A grant whose rows do not say what the policy asks for gets no token."""
    view = grant(stage, process)
    assert stage.token(view.id)
    stage.sql(forgery, [view.id])
    assert refusal(lambda: stage.token(view.id), Conflict).code == "grant_out_of_policy"


@pytest.mark.parametrize("ending", ["annul", "revoke", "withdraw"])
def test_an_ended_grant_written_back_to_active_gets_no_token(
    stage: Stage, process: DisclosureView, ending: str
) -> None:
    """The decision that ended it stands, and no role may delete one."""
    view = grant(stage, process)
    officer = stage.caller("officer-2")
    {
        "annul": lambda: stage.decisions.annul(officer, view.id, reasons="quashed"),
        "revoke": lambda: stage.decisions.revoke(officer, view.id),
        "withdraw": lambda: stage.decisions.withdraw(stage.caller("requester"), view.id),
    }[ending]()
    stage.sql("UPDATE disclosures SET state = 'active', ended_at = NULL WHERE id = %s", [view.id])
    assert refusal(lambda: stage.token(view.id), Conflict).code == "grant_out_of_policy"


def test_the_signing_side_looks_up_what_the_tokens_are(stage: Stage, customer: str) -> None:
    """A grant over records that its category does not hold gets no token."""
    own = stage.card(customer)
    view = stage.granted(draft(own))
    policy = stage.granting._policy
    less = {
        **policy.categories,
        "personal_and_account": replace(
            policy.categories["personal_and_account"], classes=("telephone",)
        ),
    }
    narrow = rebuilt(stage.granting, policy=replace(policy, categories=less))
    requester = stage.caller("requester")
    error = refusal(lambda: narrow.issue(requester, view.id), Conflict)
    assert error.code == "grant_out_of_policy"
    # What is erased has no class, and nothing of it is told.
    stage.erasure.erase(stage.caller("billing"), [own])
    assert narrow.issue(requester, view.id).token


def test_a_token_too_early_is_refused_by_what_is_lacking(
    stage: Stage, process: DisclosureView
) -> None:
    """Each step that is missing, by clause; nothing of a ground that is no longer there."""
    error = refusal(lambda: stage.token(process.id), Conflict)
    assert error.code == "disclosure_not_active"
    assert [(each.code, each.clause) for each in error.problems] == [
        ("determination_missing", "C3"),
        ("approvals_missing", "C3"),
    ]
    policy = stage.granting._policy
    bare = Policy(**{**{name: getattr(policy, name) for name in Policy.__slots__}, "grounds": {}})
    later = rebuilt(stage.granting, policy=bare)
    gone = refusal(lambda: later.issue(stage.caller("requester"), process.id), Conflict)
    assert (gone.code, gone.problems) == ("disclosure_not_active", ())


def test_an_approval_of_a_request_under_another_policy_is_refused_at_its_determination(
    stage: Stage, process: DisclosureView
) -> None:
    """What the officer must say is what the request's own policy asks for."""
    stage.sql("UPDATE disclosures SET policy = %s WHERE id = %s", ["0" * 64, process.id])
    error = refusal(lambda: determine(stage, process, covered(process)), Conflict)
    assert error.code == "policy_changed"
