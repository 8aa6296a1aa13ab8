"""What the shipped policy decides: a table generated from the clauses, and each missing piece."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from vault_service.domain.classes import DataClass
from vault_service.domain.disclosures import DisclosureRequest, Recipient, Scope
from vault_service.domain.grounds import NoticeRule, Policy
from vault_service.domain.instruments import Binds, Instrument
from vault_service.domain.policy import MAX_TOKENS, Progress, Stage, decide
from vault_service.policy import loader

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SHIPPED = Path(loader.__file__).with_name("shoma-1998-12-17.toml")
POLICY = loader.load(SHIPPED)
OTHER = loader.load(Path(__file__).with_name("other-policy.toml"))

ACCOUNT = "personal_and_account"
CONTENTS = "communication_contents"
RECIPIENTS = (
    "internal", "payment_processor", "counterparty", "court", "law_enforcement", "third_party",
)  # fmt: skip
CLASSES = {
    ACCOUNT: {
        "payment_card", "telephone", "business_name", "contact_name", "email_address",
        "postal_address", "service_choice", "activity_log",
    },
    CONTENTS: {"communication"},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One ground as the clauses have it, written down apart from the policy file."""

    clause: str
    recipients: set[str]
    evidence: dict[str, str]
    optional: dict[str, str] = field(default_factory=dict)
    approvals: int = 2
    longest: timedelta = timedelta(hours=24)
    uses: int = 1
    determination: bool = False
    notice: NoticeRule = NoticeRule.AFTER_END


RULES = {
    ("provide_service", ACCOUNT): Rule(
        clause="P1",
        recipients={"internal", "payment_processor"},
        evidence={"service": "monthly charge"},
        optional={"reference": "inv-17"},
        approvals=1,
        longest=timedelta(days=90),
        uses=10_000,
        notice=NoticeRule.AT_ONCE,
    ),
    ("protect_from_harm", ACCOUNT): Rule(
        clause="D1",
        recipients={"internal", "counterparty", "court", "law_enforcement", "third_party"},
        evidence={
            "harm": "spam from this account",
            "harmed": "other customers",
            "action": "identify",
            "case_reference": "CASE-1",
        },
    ),
    ("required_by_law", ACCOUNT): Rule(
        clause="D2",
        recipients={"court", "law_enforcement", "third_party"},
        evidence={
            "law": "tax code",
            "authority": "tax office",
            "reference": "T-9",
            "received": "2026-11-20",
            "basis": "the demand cites the law",
        },
        optional={"secret_until": "2027-01-01"},
        longest=timedelta(hours=72),
        notice=NoticeRule.AFTER_DATE,
    ),
    ("provide_service", CONTENTS): Rule(
        clause="C1",
        recipients={"internal", "third_party"},
        evidence={"ticket_reference": "HELP-4"},
        optional={"service": "restore a mailbox"},
        notice=NoticeRule.AT_ONCE,
    ),
    ("protect_interests", CONTENTS): Rule(
        clause="C2",
        recipients={"internal", "court", "law_enforcement", "third_party"},
        evidence={"company_interest": "stop fraud", "customer_interest": "not be defrauded"},
    ),
    ("legal_process", CONTENTS): Rule(
        clause="C3",
        recipients={"court", "law_enforcement", "third_party"},
        evidence={
            "instrument": "warrant",
            "authority": "district court",
            "reference": "W-77",
            "issued": "2026-11-01",
            "valid_until": "2027-02-01",
            "instrument_scope": "one mailbox, October",
            "document": "sha256:" + "a" * 64,
        },
        optional={"secret_until": "2027-01-01"},
        longest=timedelta(days=30),
        uses=100,
        determination=True,
        notice=NoticeRule.AFTER_DATE,
    ),
    ("inadvertent_crime_evidence", CONTENTS): Rule(
        clause="C4",
        recipients={"law_enforcement"},
        evidence={"how_obtained": "while repairing a disk", "suspected_crime": "fraud"},
        optional={"secret_until": "2027-01-01"},
        notice=NoticeRule.AFTER_DATE,
    ),
}
# What covers every request of these tests.
WIDE = Instrument(tokens=("tok_1",), ends=date(2027, 2, 1))
DOCUMENTS = frozenset(("sha256:" + "a" * 64,))
NAMES = [*sorted({name for name, _ in RULES}), "customer_agrees"]


def _request(
    name: str = "protect_from_harm", category: str = ACCOUNT, **changes: Any
) -> DisclosureRequest:
    rule = RULES[name, category]
    base = DisclosureRequest(
        ground=name,
        category=category,
        scope=Scope(tokens=("tok_1",), classes=(min(CLASSES[category]),)),
        recipient=Recipient(kind=min(rule.recipients), name="Somebody"),
        evidence=rule.evidence,
        documents=DOCUMENTS,
    )
    return replace(base, **changes)


def _codes(request: DisclosureRequest, policy: Policy = POLICY) -> set[tuple[str, str]]:
    decision = decide(policy, request, now=NOW)
    assert decision.allowed is (not decision.missing)
    assert (decision.duration is not None) is decision.allowed
    return {(reason.code, reason.pointer) for reason in decision.missing}


def _evidences(evidence: Mapping[str, str]) -> Iterator[tuple[dict[str, str], set[str]]]:
    """The whole evidence, and it without each piece, and without all; with what is missing."""
    yield dict(evidence), set()
    for name in evidence:
        yield {other: evidence[other] for other in evidence if other != name}, {name}
    yield {}, set(evidence)


def table_rows() -> Iterator[tuple[DisclosureRequest, bool | None, set[tuple[str, str]]]]:
    """Requests with a determination's outcome, and what must be missing from each."""
    anything = {"service": "x"}
    for name, category, data_class, kind, determined in itertools.product(
        NAMES, CLASSES, DataClass, RECIPIENTS, (None, False, True)
    ):
        rule = RULES.get((name, category))
        for evidence, gone in _evidences(rule.evidence if rule else anything):
            missing = set()
            if rule is None:
                known = any(name == other for other, _ in RULES)
                code = "ground_not_for_category" if known else "ground_unknown"
                missing.add((code, "/ground"))
            else:
                if kind not in rule.recipients:
                    missing.add(("recipient_kind_not_allowed", "/recipient/kind"))
                missing |= {("evidence_missing", f"/evidence/{each}") for each in gone}
                if rule.determination and determined is not True:
                    made = "missing" if determined is None else "negative"
                    missing.add((f"determination_{made}", ""))
            if data_class not in CLASSES[category]:
                missing.add(("class_not_in_category", "/tokens"))
            request = DisclosureRequest(
                ground=name,
                category=category,
                scope=Scope(tokens=("tok_1",), classes=(data_class.value,)),
                recipient=Recipient(kind=kind, name="Somebody"),
                evidence=evidence,
                documents=DOCUMENTS,
            )
            yield request, determined, missing


def test_the_decision_equals_the_table_of_the_clauses() -> None:
    """For each ground, category, class, recipient, evidence and determination: as the clauses."""
    rows = allowed = 0
    for request, determined, missing in table_rows():
        progress = Progress(approvals=2, determined=determined, instrument=WIDE)
        decision = decide(POLICY, request, now=NOW, progress=progress)
        assert {(each.code, each.pointer) for each in decision.missing} == missing, request
        assert decision.allowed is (not missing)
        rule = RULES.get((request.ground, request.category))
        assert decision.clause == (rule.clause if rule else None)
        assert all(each.clause == decision.clause for each in decision.missing)
        rows += 1
        allowed += decision.allowed
    assert rows >= 2000
    # By hand: classes x recipients x determinations, over the grounds.
    assert allowed == 8 * (2 + 5 + 3) * 3 + (2 + 4 + 1) * 3 + 3


def test_the_shipped_policy_is_the_table() -> None:
    """Approvals, durations, uses, notice and optional evidence are those of the clauses."""
    assert set(POLICY.grounds) == set(RULES)
    assert {name: set(held.classes) for name, held in POLICY.categories.items()} == CLASSES
    assert set(POLICY.recipients) == set(RECIPIENTS)
    for key, rule in RULES.items():
        ground = POLICY.grounds[key]
        assert (ground.clause, ground.approvals, ground.longest, ground.uses) == (
            rule.clause,
            rule.approvals,
            rule.longest,
            rule.uses,
        )
        assert ground.stands is (rule.uses > 1)
        assert ground.token_life == timedelta(seconds=300)
        assert (ground.determination is not None) is rule.determination
        assert ground.notice.rule is rule.notice
        assert {each.name for each in ground.evidence if not each.required} == set(rule.optional)
        assert _codes(_request(*key, evidence=rule.evidence | rule.optional)) == set()


@pytest.mark.parametrize("approvals", [0, 1, 2, 3])
@pytest.mark.parametrize("key", RULES)
def test_d3_too_few_approvals_hold_up_the_grant_only(key: tuple[str, str], approvals: int) -> None:
    """Without enough approvals a request may be submitted and may not start."""
    progress = Progress(approvals=approvals, determined=True, instrument=WIDE)
    decision = decide(POLICY, _request(*key), now=NOW, progress=progress)
    assert decide(POLICY, _request(*key), now=NOW).allowed
    assert decision.allowed is (approvals >= RULES[key].approvals)
    assert [each.code for each in decision.missing_at(Stage.APPROVAL)] == (
        [] if decision.allowed else ["approvals_missing"]
    )
    assert decision.missing_at(Stage.REQUEST) == ()


def test_no_decision_yet_is_no_approval() -> None:
    """Progress that tells nothing counts as nothing decided."""
    decision = decide(POLICY, _request("provide_service"), now=NOW, progress=Progress())
    assert [each.code for each in decision.missing] == ["approvals_missing"]
    decision = decide(
        POLICY, _request("legal_process", CONTENTS), now=NOW, progress=Progress(approvals=2)
    )
    assert [each.code for each in decision.missing] == ["determination_missing"]


def test_the_same_question_has_the_same_answer() -> None:
    """Reasons come in one order, so that two answers can be compared."""
    scope = Scope(customer="c", classes=("z", "communication", "a"))
    details = [each.detail for each in decide(POLICY, _request(scope=scope), now=NOW).missing]
    assert details[1].startswith("communication")
    assert details[0] == details[2]


def test_the_limits_of_the_code_are_those_of_one_reveal() -> None:
    """A scope is at most what one reveal can carry, and one use is asked unless told."""
    assert MAX_TOKENS == 1000
    assert _request().uses == 1
    assert "spam" not in repr(_request())


def test_all_missing_pieces_are_told_at_once() -> None:
    """One answer names everything that is wrong, each by pointer and clause."""
    request = _request(
        "legal_process",
        CONTENTS,
        scope=Scope(tokens=("a", "a"), classes=("payment_card",), fields=("soul",)),
        recipient=Recipient(kind="internal", name=""),
        evidence={"instrument": "letter", "issued": "2027-01-01", "extra": "x"},
        uses=0,
        duration=timedelta(days=31),
    )
    decision = decide(POLICY, request, now=NOW, progress=Progress())
    assert {(each.code, each.pointer) for each in decision.missing} == {
        ("scope_repeats", "/tokens"),
        ("class_not_in_category", "/tokens"),
        ("field_unknown", "/fields/0"),
        ("recipient_kind_not_allowed", "/recipient/kind"),
        ("recipient_name_missing", "/recipient/name"),
        ("evidence_choice_unknown", "/evidence/instrument"),
        ("evidence_missing", "/evidence/authority"),
        ("evidence_missing", "/evidence/reference"),
        ("evidence_date_future", "/evidence/issued"),
        ("evidence_missing", "/evidence/valid_until"),
        ("evidence_missing", "/evidence/instrument_scope"),
        ("evidence_missing", "/evidence/document"),
        ("evidence_unknown", "/evidence"),
        ("uses_not_allowed", "/uses"),
        ("duration_not_allowed", "/duration"),
        ("determination_missing", ""),
        ("approvals_missing", ""),
    }
    assert {each.clause for each in decision.missing} == {"C3"}
    assert decision.ground is POLICY.grounds["legal_process", CONTENTS]
    assert decision.duration is None


def test_an_unknown_category_and_ground_are_told() -> None:
    """What the policy does not have is refused, without a clause to cite."""
    request = replace(_request(), category="gossip", ground="curiosity")
    assert {("category_unknown", "/category"), ("ground_unknown", "/ground")} <= _codes(request)
    assert ("category_unknown", "/category") in _codes(replace(_request(), category="gossip"))
    assert decide(POLICY, request, now=NOW).clause is None
    unheard = Recipient(kind="neighbour", name="N")
    assert ("recipient_kind_unknown", "/recipient/kind") in _codes(_request(recipient=unheard))


@pytest.mark.parametrize(
    ("scope", "missing"),
    [
        (Scope(), {("scope_missing", "/tokens")}),
        (
            Scope(tokens=("t",), customer="c", classes=("telephone",)),
            {("scope_ambiguous", "/customer")},
        ),
        (Scope(tokens=()), {("scope_empty", "/tokens")}),
        (Scope(tokens=("t",)), {("scope_empty", "/tokens")}),
        (Scope(customer="c"), {("scope_empty", "/classes")}),
        (Scope(tokens=("t", "t"), classes=("telephone",)), {("scope_repeats", "/tokens")}),
        (
            Scope(tokens=tuple(map(str, range(MAX_TOKENS + 1))), classes=("telephone",)),
            {("scope_too_large", "/tokens")},
        ),
        (Scope(tokens=tuple(map(str, range(MAX_TOKENS))), classes=("telephone",)), set()),
        (Scope(customer="c", classes=("telephone", "payment_card")), set()),
        (
            Scope(customer="c", classes=("telephone", "communication")),
            {("class_not_in_category", "/classes")},
        ),
        (Scope(customer="c", classes=("souls",)), {("class_not_in_category", "/classes")}),
        (Scope(customer="c", classes=("telephone",), fields=("value",)), set()),
        (
            Scope(customer="c", classes=("payment_card",), fields=("exp_month", "name")),
            set(),
        ),
        (
            Scope(customer="c", classes=("telephone",), fields=("number", "value")),
            {("field_unknown", "/fields/0")},
        ),
        (Scope(customer="c", classes=("telephone",), fields=()), {("fields_empty", "/fields")}),
        (
            Scope(customer="c", classes=("telephone",), fields=("value", "value")),
            {("fields_repeat", "/fields")},
        ),
    ],
)
def test_a_scope_is_exact(scope: Scope, missing: set[tuple[str, str]]) -> None:
    """Tokens or a customer with classes, never both, none twice, and all of the category."""
    assert _codes(_request(scope=scope)) == missing


def test_an_unknown_class_is_not_repeated() -> None:
    """What a caller wrote in place of a class does not come back in the answer."""
    scope = Scope(customer="c", classes=("4242424242424242",))
    decision = decide(POLICY, _request(scope=scope), now=NOW)
    assert "4242" not in str(decision)


SECRET = "4242424242424242"  # a published test number


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("harm", f"he used {SECRET} twice", "card_number_not_allowed_here"),
        ("harm", "his cvv is 123", "verification_code_not_allowed_here"),
        ("harm", "Security code: 1234", "verification_code_not_allowed_here"),
        ("harm", "PIN 1234", "verification_code_not_allowed_here"),
        ("harm", "x" * 4001, "text_too_long"),
        ("harm", "a\x00b", "control_character"),
        ("harm", " \n ", "evidence_missing"),
        ("case_reference", "line\nbreak", "control_character"),
        ("case_reference", SECRET, "card_number_not_allowed_here"),
        ("case_reference", "x" * 201, "text_too_long"),
        ("action", "stare", "evidence_choice_unknown"),
        ("action", "", "evidence_missing"),
    ],
)
def test_evidence_must_have_its_form_and_hold_no_card_data(
    name: str, value: str, code: str
) -> None:
    """Evidence of the wrong form is refused by its pointer; nothing of it is repeated."""
    evidence = RULES["protect_from_harm", ACCOUNT].evidence | {name: value}
    decision = decide(POLICY, _request(evidence=evidence), now=NOW)
    assert [(each.code, each.pointer) for each in decision.missing] == [(code, f"/evidence/{name}")]
    assert SECRET not in str(decision)


@pytest.mark.parametrize("text", ["first line\nsecond", "case CID-1234", "in 2026 he spun 3 pins"])
def test_ordinary_prose_is_evidence(text: str) -> None:
    """Line breaks and years do not make a text a secret."""
    evidence = RULES["protect_from_harm", ACCOUNT].evidence | {"harm": text}
    assert _codes(_request(evidence=evidence)) == set()


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("issued", "2026-11-23", None),
        # A day that has begun somewhere on earth.
        ("issued", "2026-11-24", None),
        ("issued", "2026-11-25", "evidence_date_future"),
        ("issued", "20261101", "evidence_date_malformed"),
        ("issued", "2026-W47-1", "evidence_date_malformed"),
        ("issued", "2026-02-30", "evidence_date_malformed"),
        ("issued", "yesterday", "evidence_date_malformed"),
        ("valid_until", "2026-11-22", "evidence_date_past"),
        ("valid_until", "2026-11-23", None),
        ("valid_until", "9999-12-31", None),
        ("valid_until", "9999-12-30", None),
        ("document", "sha256:" + "A" * 64, "evidence_document_malformed"),
        ("document", "a" * 64, "evidence_document_malformed"),
        ("document", "sha256:" + "b" * 64, "evidence_document_unknown"),
        ("secret_until", "2026-01-01", None),
        ("secret_until", "", None),
        ("secret_until", "never", "evidence_date_malformed"),
    ],
)
def test_dates_and_documents_have_their_form(name: str, value: str, code: str | None) -> None:
    """A date is a real day, on its side of now; a document is a digest."""
    evidence = RULES["legal_process", CONTENTS].evidence | {name: value}
    found = _codes(_request("legal_process", CONTENTS, evidence=evidence))
    assert found == ({(code, f"/evidence/{name}")} if code else set())


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "recipient_name_missing"),
        ("  ", "recipient_name_missing"),
        ("x" * 201, "text_too_long"),
        (SECRET, "card_number_not_allowed_here"),
        ("two\nlines", "control_character"),
    ],
)
def test_a_recipient_has_a_name(name: str, code: str) -> None:
    """Who receives must be said, in one line, without card data."""
    request = _request(recipient=Recipient(kind="court", name=name))
    assert _codes(request) == {(code, "/recipient/name")}


@pytest.mark.parametrize(
    ("key", "uses", "fits"),
    [
        (("protect_from_harm", ACCOUNT), 1, True),
        (("protect_from_harm", ACCOUNT), 2, False),
        (("protect_from_harm", ACCOUNT), -1, False),
        (("provide_service", ACCOUNT), 10_000, True),
        (("provide_service", ACCOUNT), 10_001, False),
    ],
)
def test_uses_are_bounded(key: tuple[str, str], uses: int, fits: bool) -> None:  # noqa: FBT001
    """Only a ground that stands allows more than one use, and not without limit."""
    assert _codes(_request(*key, uses=uses)) == (set() if fits else {("uses_not_allowed", "/uses")})


@pytest.mark.parametrize(
    ("asked", "lasts"),
    [
        (None, timedelta(hours=24)),
        (timedelta(minutes=5), timedelta(minutes=5)),
        (timedelta(hours=24), timedelta(hours=24)),
        (timedelta(hours=24, seconds=1), None),
        (timedelta(0), None),
        (timedelta(seconds=-1), None),
    ],
)
def test_a_grant_lasts_as_asked_within_the_grounds_limit(
    asked: timedelta | None, lasts: timedelta | None
) -> None:
    """Without a wish it is the longest; a longer wish is refused, not cut."""
    assert decide(POLICY, _request(duration=asked), now=NOW).duration == lasts


@pytest.mark.parametrize(
    ("until", "asked", "lasts"),
    [
        ("2027-02-01", None, timedelta(days=30)),
        ("2026-11-23", None, timedelta(hours=12)),
        ("2026-11-24", None, timedelta(hours=36)),
        ("2026-11-24", timedelta(days=2), timedelta(hours=36)),
        ("2026-11-24", timedelta(hours=1), timedelta(hours=1)),
    ],
)
def test_a_grant_never_outlives_its_instrument(
    until: str, asked: timedelta | None, lasts: timedelta
) -> None:
    """However long is asked and allowed, the instrument's last day ends the grant."""
    evidence = RULES["legal_process", CONTENTS].evidence | {"valid_until": until}
    request = _request("legal_process", CONTENTS, evidence=evidence, duration=asked)
    assert decide(POLICY, request, now=NOW).duration == lasts


COVERED = Instrument(tokens=("tok_1", "tok_2"), ends=date(2026, 11, 24))
OF_CUSTOMER = Instrument(
    customer="c", classes=("communication", "telephone"), ends=date(2027, 1, 1)
)


@pytest.mark.parametrize(
    ("instrument", "scope", "missing"),
    [
        (COVERED, Scope(tokens=("tok_1",)), {}),
        (COVERED, Scope(tokens=("tok_2", "tok_1")), {}),
        (COVERED, Scope(tokens=("tok_1", "tok_3")), {("scope_exceeds_instrument", "/tokens")}),
        (COVERED, Scope(customer="c"), {("scope_exceeds_instrument", "/classes")}),
        (OF_CUSTOMER, Scope(customer="c"), {}),
        (replace(OF_CUSTOMER, classes=("communication",)), Scope(customer="c"), {}),
        (OF_CUSTOMER, Scope(customer="d"), {("scope_exceeds_instrument", "/classes")}),
        (OF_CUSTOMER, Scope(tokens=("tok_9",), customers=("c",)), {}),
        (
            OF_CUSTOMER,
            Scope(tokens=("tok_9",), customers=("c", "d")),
            {("scope_exceeds_instrument", "/tokens")},
        ),
        (OF_CUSTOMER, Scope(tokens=("tok_9",)), {("scope_exceeds_instrument", "/tokens")}),
        (
            replace(OF_CUSTOMER, classes=("telephone",)),
            Scope(customer="c"),
            {("scope_exceeds_instrument", "/classes")},
        ),
        (
            replace(OF_CUSTOMER, classes=("telephone",)),
            Scope(tokens=("tok_9",), customers=("c",)),
            {("scope_exceeds_instrument", "/tokens")},
        ),
        # Said badly: both scopes, none, half of one; whatever is said binds all the same.
        (
            replace(OF_CUSTOMER, tokens=("tok_1",)),
            Scope(tokens=("tok_1",)),
            {("instrument_scope_missing", "/instrument/tokens")},
        ),
        (
            Instrument(ends=date(2027, 1, 1)),
            Scope(tokens=("tok_1",)),
            {("instrument_scope_missing", "/instrument/tokens")},
        ),
        (
            Instrument(tokens=(), ends=date(2027, 1, 1)),
            Scope(tokens=("tok_1",)),
            {
                ("instrument_scope_missing", "/instrument/tokens"),
                ("scope_exceeds_instrument", "/tokens"),
            },
        ),
        (
            Instrument(customer="c", ends=date(2027, 1, 1)),
            Scope(customer="c"),
            {
                ("instrument_scope_missing", "/instrument/tokens"),
                ("scope_exceeds_instrument", "/classes"),
            },
        ),
        (
            Instrument(tokens=("tok_1",)),
            Scope(tokens=("tok_1",)),
            {("instrument_end_missing", "/instrument/ends")},
        ),
        (
            None,
            Scope(tokens=("tok_1",)),
            {
                ("instrument_scope_missing", "/instrument/tokens"),
                ("instrument_end_missing", "/instrument/ends"),
            },
        ),
        (
            replace(COVERED, ends=date(2026, 11, 22)),
            Scope(tokens=("tok_1",)),
            {("instrument_expired", "")},
        ),
        (replace(COVERED, ends=date(2026, 11, 23)), Scope(tokens=("tok_1",)), {}),
        (
            replace(COVERED, begins=date(2026, 11, 24)),
            Scope(tokens=("tok_1",)),
            {("instrument_not_begun", "")},
        ),
        (replace(COVERED, begins=date(2026, 11, 23)), Scope(tokens=("tok_1",)), {}),
    ],
)
def test_a_grant_is_held_to_the_instrument(
    instrument: Instrument | None, scope: Scope, missing: set[tuple[str, str]]
) -> None:
    """It never exceeds what the officer read of it: whose, which classes, from when, until when."""
    request = _request("legal_process", CONTENTS, scope=replace(scope, classes=("communication",)))
    progress = Progress(approvals=2, determined=True, instrument=instrument)
    decision = decide(POLICY, request, now=NOW, progress=progress)
    assert {(each.code, each.pointer) for each in decision.missing} == set(missing)
    assert {each.clause for each in decision.missing} <= {"C3"}
    assert decision.missing == decision.missing_at(Stage.DETERMINATION)
    # Without a determination nothing is said of it, and without a need nobody asks.
    undone = decide(POLICY, request, now=NOW, progress=replace(progress, determined=None))
    assert [each.code for each in undone.missing] == ["determination_missing"]
    other = decide(POLICY, _request(), now=NOW, progress=progress)
    assert other.allowed


@pytest.mark.parametrize(
    ("ends", "asked", "lasts"),
    [
        (date(2026, 11, 23), None, timedelta(hours=12)),
        (date(2026, 11, 24), None, timedelta(hours=36)),
        (date(2026, 11, 24), timedelta(hours=1), timedelta(hours=1)),
        (date(2027, 1, 1), None, timedelta(days=30)),
    ],
)
def test_a_grant_ends_with_what_the_officer_read(
    ends: date, asked: timedelta | None, lasts: timedelta
) -> None:
    """Whatever the evidence says, the last day that was determined ends the grant."""
    progress = Progress(
        approvals=2, determined=True, instrument=Instrument(tokens=("tok_1",), ends=ends)
    )
    request = _request("legal_process", CONTENTS, duration=asked)
    assert decide(POLICY, request, now=NOW, progress=progress).duration == lasts


def test_an_instrument_begins_and_ends_at_midnight() -> None:
    """To the instant, in UTC."""
    instrument = Instrument(tokens=("tok_1",), begins=date(2026, 11, 24), ends=date(2026, 11, 24))
    progress = Progress(approvals=2, determined=True, instrument=instrument)
    request = _request("legal_process", CONTENTS)
    first, after = datetime(2026, 11, 24, tzinfo=UTC), datetime(2026, 11, 25, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    for now, codes in (
        (first - tick, ["instrument_not_begun"]),
        (first, []),
        (after - tick, []),
        (after, ["instrument_expired"]),
    ):
        decision = decide(POLICY, request, now=now, progress=progress)
        assert [each.code for each in decision.missing] == codes


def test_a_policy_may_ask_for_less_and_what_is_said_binds_all_the_same() -> None:
    """The other policy's determination must say nothing of an instrument."""
    ground = OTHER.grounds["remind", "letters"]
    assert ground.determination is not None
    assert ground.determination.binds == ()
    shipped = POLICY.grounds["legal_process", CONTENTS].determination
    assert shipped is not None
    assert shipped.binds == (Binds.SCOPE, Binds.DATES)
    request = DisclosureRequest(
        ground="remind",
        category="letters",
        scope=Scope(customer="c", classes=("communication",)),
        recipient=Recipient(kind="guild", name="Guild"),
        evidence={"fair_closes": "2026-11-25"},
    )
    for instrument, codes in (
        (None, []),
        (Instrument(), []),
        (Instrument(customer="d"), ["scope_exceeds_instrument"]),
        (Instrument(ends=date(2026, 11, 22)), ["instrument_expired"]),
    ):
        progress = Progress(approvals=1, determined=True, instrument=instrument)
        decision = decide(OTHER, request, now=NOW, progress=progress)
        assert [each.code for each in decision.missing] == codes


def test_a_day_is_over_when_the_next_begins() -> None:
    """A last day ends at midnight UTC, to the instant; a day begins where it begins first."""
    request = _request("legal_process", CONTENTS)
    evidence = dict(request.evidence) | {"valid_until": "2026-11-23", "issued": "2026-11-24"}
    request = replace(request, evidence=evidence)
    midnight = datetime(2026, 11, 24, tzinfo=UTC)
    at_ten = datetime(2026, 11, 23, 10, tzinfo=UTC)
    just_before = decide(POLICY, request, now=midnight - timedelta(microseconds=1))
    assert just_before.duration == timedelta(microseconds=1)
    assert [each.code for each in decide(POLICY, request, now=midnight).missing] == [
        "evidence_date_past"
    ]
    assert decide(POLICY, request, now=at_ten).allowed
    early = decide(POLICY, request, now=at_ten - timedelta(microseconds=1))
    assert [each.code for each in early.missing] == ["evidence_date_future"]


def test_another_policy_needs_no_other_code() -> None:
    """Other grounds, categories, recipients and evidence decide as their file says."""
    request = DisclosureRequest(
        ground="remind",
        category="letters",
        scope=Scope(customer="c", classes=("communication",)),
        recipient=Recipient(kind="guild", name="Guild"),
        evidence={"fair_closes": "2026-11-25", "mood": "cross"},
        uses=3,
    )
    decision = decide(OTHER, request, now=NOW, progress=Progress(approvals=1, determined=True))
    assert decision.allowed
    assert decision.clause == "4.3-b"
    assert decision.duration == timedelta(days=2, hours=12)
    elsewhere = replace(request, category="readers")
    assert _codes(elsewhere, OTHER) == {
        ("class_not_in_category", "/classes"),
        ("recipient_kind_not_allowed", "/recipient/kind"),
        ("evidence_missing", "/evidence/book"),
        ("evidence_unknown", "/evidence"),
        ("uses_not_allowed", "/uses"),
    }
    foreign = _codes(_request(), OTHER)
    assert {("ground_unknown", "/ground"), ("category_unknown", "/category")} <= foreign


def test_no_word_of_a_policy_stands_in_the_code() -> None:
    """Neither a ground nor a recipient nor evidence has its name in the deciding modules."""
    import ast

    words = {name for name, _ in POLICY.grounds} | set(POLICY.recipients) | set(POLICY.clauses)
    words |= {each.name for ground in POLICY.grounds.values() for each in ground.evidence}
    words -= {"reference", "document"}  # also names of types of evidence
    root = Path(loader.__file__).parents[1]
    modules = [root / f"{name}.py" for name in
               ("domain/policy", "domain/grounds", "domain/evidence", "domain/disclosures",
                "domain/instruments", "services/granting", "services/evidence",
                "policy/loader", "policy/toml_lines")]  # fmt: skip
    modules += (root / "services" / "disclosures").glob("*.py")
    assert len(modules) > 9
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in words, (module, node.value)
