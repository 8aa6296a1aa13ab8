"""Reveal: plaintext once, to the holder, within the scope, and never before the commit."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from keys.envelope import seal
from keys.errors import VaultUnavailable
from tests.support.faults import FaultyUnitOfWork, Hooked, Unwraps, rebuilt, rebuilt_reveal
from tests.support.whole import NOWHERE, Stage, card, draft, refusal, soon, standing
from vault_service.errors import (
    Conflict,
    DisclosureRefused,
    Forbidden,
    InvalidInput,
    NotFound,
    Unavailable,
)
from vault_service.ledger import canonical
from vault_service.ledger.entries import Event, Outcome
from vault_service.services import tokenization
from vault_service.services.audit import Audit
from vault_service.services.disclosure_token import PublicKeys, TokenKeys, TokenVerifier
from vault_service.services.reveal.uses import _use
from vault_service.services.reveal.work import RevealRequest, ValueUnreadable, Work
from vault_service.services.tokenization import TokenizeItem
from vault_service.services.views import RevealAnswer, Revealed


@pytest.fixture(autouse=True)
def no_refusals_before(stage: Stage) -> None:
    """Refusals of other tests count for nothing: else one here could be that which is too many."""
    stage.reveals._refused._seen.clear()


@pytest.fixture
def token(stage: Stage, customer: str) -> str:
    """A card's token."""
    return stage.card(customer)


def holder(stage: Stage, *tokens: str, **changes: Any) -> str:
    """A disclosure token for these tokens."""
    return stage.token(stage.granted(draft(*tokens, **changes)).id)


def use_count(stage: Stage, grant: str) -> int:
    """Uses left of a grant."""
    ((left,),) = stage.sql("SELECT uses_left FROM disclosures WHERE id = %s", [grant])
    assert isinstance(left, int)
    return left


def test_values_come_in_order_with_a_receipt(stage: Stage, customer: str) -> None:
    """One result for each token; the receipt names the entry that tells of it."""
    (name,) = stage.tokenize(
        TokenizeItem(data_class="business_name", customer=customer, value="Nordwind AG")
    )
    token = stage.card(customer)
    grant = stage.granted(draft(token, name.id))
    with stage.told() as entries:
        answer = stage.reveal(stage.token(grant.id), name.id, token)
    assert [each.value for each in answer.results if isinstance(each, Revealed)] == [
        "Nordwind AG",
        card(),
    ]
    receipt = answer.receipt
    issued, allowed, spent = entries
    assert (spent.event, spent.grant, dict(spent.details)) == (
        Event.DISCLOSURE_SPENT,
        grant.id,
        {"uses": 1},
    )
    assert allowed.details["uses_left"] == 0
    assert issued.event is Event.DISCLOSURE_TOKEN_ISSUED
    assert (allowed.event, allowed.id) == (Event.REVEAL_ALLOWED, receipt.entry)
    assert (set(allowed.tokens), allowed.count) == ({token, name.id}, 2)
    assert (allowed.customer, allowed.grant, allowed.at) == (customer, grant.id, receipt.at)
    assert (receipt.grant, receipt.ground, receipt.clause, receipt.values) == (
        grant.id,
        "protect_from_harm",
        "D1",
        2,
    )
    assert allowed.details["jti"] == issued.details["jti"]
    assert "Nordwind" not in repr(answer)


def test_a_large_call_tells_every_value_but_the_substituted_one(
    stage: Stage, customer: str
) -> None:
    """What many records claim is worked out aside; it is compared all the same."""
    values = [f"+49309018{number:04}" for number in range(60)]
    views = stage.tokenize(
        *[TokenizeItem(data_class="telephone", customer=customer, value=each) for each in values]
    )
    names = [view.id for view in views]
    grant = stage.granted(standing(*names))
    assert stage.revealed(stage.token(grant.id), *names) == values
    ((entry, path),) = stage.sql(
        "SELECT bound_by, bound_path FROM records WHERE token = %s", [names[7]]
    )
    bind = "UPDATE records SET bound_by = %s, bound_path = %s WHERE token = %s"
    stage.sql(bind, [None, None, names[7]])
    answer = stage.reveal(stage.token(grant.id), *names)
    assert [
        getattr(each, "code", None) or getattr(each, "value", None) for each in answer.results
    ] == [*values[:7], "wrapped_key_substituted", *values[8:]]
    stage.sql(bind, [entry, path, names[7]])
    assert stage.revealed(stage.token(grant.id), *names) == values


def test_values_of_two_customers_are_told_without_a_customer(stage: Stage, token: str) -> None:
    """The entry names the tokens, which lead to both."""
    other = stage.card(stage.customer())
    with stage.told(Event.REVEAL_ALLOWED) as entries:
        stage.revealed(holder(stage, token, other), token, other)
    assert [entry.customer for entry in entries] == [None]


def test_a_customers_classes_are_a_scope(stage: Stage, customer: str, token: str) -> None:
    """Records written after the grant lie within it; another class or customer does not."""
    grant = stage.granted(standing(customer=customer, classes=("payment_card",)))
    later = stage.card(customer, "5555555555554444")
    assert len(stage.revealed(stage.token(grant.id), token, later)) == 2
    (phone,) = stage.tokenize(
        TokenizeItem(data_class="telephone", customer=customer, value="+49 30 901820")
    )
    stranger = stage.card(stage.customer())
    for beyond in (phone.id, stranger, NOWHERE):
        error = refusal(
            lambda beyond=beyond: stage.reveal(stage.token(grant.id), token, beyond),  # type: ignore[misc]
            DisclosureRefused,
        )
        assert error.code == "disclosure_scope_exceeded"


@pytest.mark.parametrize("asked", [None, ("number",), ("exp_month", "number")])
def test_fields_narrow_what_is_told(
    stage: Stage, token: str, asked: tuple[str, ...] | None
) -> None:
    """The grant's fields, and of those only what the caller wants."""
    grant = stage.granted(standing(token, fields=("number", "exp_month")))
    (value,) = stage.revealed(stage.token(grant.id), token, fields=asked)
    assert isinstance(value, dict)
    assert set(value) == set(asked or ("number", "exp_month"))


@pytest.mark.parametrize("granted", [None, ("number",)])
def test_fields_beyond_the_grant_are_refused(
    stage: Stage, token: str, granted: tuple[str, ...] | None
) -> None:
    """A field that was not granted, or that no such record has."""
    grant = stage.granted(standing(token, fields=granted))
    error = refusal(
        lambda: stage.reveal(stage.token(grant.id), token, fields=("name", "cvc")),
        DisclosureRefused,
    )
    assert error.code == "disclosure_scope_exceeded"


def test_a_record_without_the_granted_fields_tells_nothing(
    stage: Stage, customer: str, token: str
) -> None:
    """Fields of a card leave a telephone of the same grant untold, item by item."""
    (phone,) = stage.tokenize(
        TokenizeItem(data_class="telephone", customer=customer, value="+49 30 901820")
    )
    grant = stage.granted(standing(token, phone.id, fields=("number",)))
    first, second = stage.reveal(stage.token(grant.id), token, phone.id).results
    assert isinstance(first, Revealed)
    assert isinstance(second, DisclosureRefused)
    assert second.code == "fields_outside_scope"


def test_what_is_gone_is_told_and_the_rest_revealed(
    stage: Stage, customer: str, token: str
) -> None:
    """An erased record of the grant is not found; the others are."""
    gone = stage.card(customer, "5555555555554444")
    disclosure_token = holder(stage, token, gone)
    stage.erasure.erase(stage.caller("billing"), [gone])
    first, second = stage.reveal(disclosure_token, gone, token).results
    assert isinstance(first, NotFound)
    assert isinstance(second, Revealed)


def test_nothing_left_spends_nothing(stage: Stage, customer: str) -> None:
    """When none of the records is there any more, the use stays."""
    token = stage.card(customer, expires_at=soon(seconds=0.8))
    grant = stage.granted(draft(token))
    disclosure_token = stage.token(grant.id)
    time.sleep(0.9)
    with stage.told() as entries:
        error = refusal(lambda: stage.reveal(disclosure_token, token), NotFound)
    assert error.code == "token_not_found"
    assert use_count(stage, grant.id) == 1
    (entry,) = entries
    assert (entry.event, entry.outcome, entry.reason) == (
        Event.REVEAL_REFUSED,
        Outcome.REFUSED,
        "token_not_found",
    )
    assert entry.grant == grant.id


@pytest.mark.parametrize(
    ("tokens", "code"),
    [([], "batch_size"), ([NOWHERE] * 1001, "batch_size"), ([NOWHERE] * 2, "tokens_repeat")],
)
def test_a_wrong_list_is_refused(stage: Stage, tokens: list[str], code: str) -> None:
    """1 to 1,000 tokens, none twice."""
    assert refusal(lambda: stage.reveal("x", *tokens), InvalidInput).code == code


@pytest.mark.parametrize("missing", [None, ""])
def test_without_a_disclosure_token_nothing_is_revealed(
    stage: Stage, token: str, missing: str | None
) -> None:
    """The refusal is an entry."""
    with stage.told() as entries:
        error = refusal(lambda: stage.reveal(missing, token), DisclosureRefused)
    assert error.code == "disclosure_token_missing"
    assert [(entry.event, entry.reason) for entry in entries] == [
        (Event.REVEAL_REFUSED, "disclosure_token_missing")
    ]


@pytest.mark.parametrize("who", ["billing", "support", "officer-1", "auditor", "operator"])
def test_only_a_requester_reveals(stage: Stage, token: str, who: str) -> None:
    """An officer who holds a stolen token is refused by his role already."""
    stolen = holder(stage, token)
    refusal(lambda: stage.reveal(stolen, token, by=who), Forbidden)
    refusal(lambda: stage.granting.issue(stage.caller(who), "dis_x"), Forbidden)


def test_a_malformed_name_among_the_tokens_is_beyond_the_scope(stage: Stage, token: str) -> None:
    """What has no token's form names nothing."""
    disclosure_token = holder(stage, token)
    error = refusal(lambda: stage.reveal(disclosure_token, token, "tok_\x00"), DisclosureRefused)
    assert error.code == "disclosure_scope_exceeded"


# ---------------------------------------------------------------- use


def test_a_standing_grant_counts_down(stage: Stage, token: str) -> None:
    """Each use takes a token of its own; the last one ends the grant."""
    grant = stage.granted(standing(token, uses=2))
    first, second, third = (stage.token(grant.id) for _ in range(3))
    stage.revealed(first, token)
    assert refusal(lambda: stage.reveal(first, token)).code == "disclosure_spent"
    stage.revealed(second, token)
    assert refusal(lambda: stage.reveal(third, token)).code == "disclosure_spent"
    assert stage.disclosure_reading.get(stage.caller("requester"), grant.id).state == "spent"
    error = refusal(lambda: stage.token(grant.id), Conflict)
    assert error.code == "disclosure_spent"


def test_one_batch_spends_each_token_once(stage: Stage, token: str) -> None:
    """The same token and several of one grant, gathered into one batch."""
    grant = stage.granted(standing(token, uses=2))
    tokens = [stage.token(grant.id) for _ in range(3)]
    asked = [
        RevealRequest(caller=stage.caller("requester"), token=each, tokens=(token,), fields=None)
        for each in (tokens[0], tokens[0], tokens[1], tokens[2])
    ]
    with stage.told() as entries:
        results = stage.reveals._run(asked)
    assert [isinstance(each, Exception) for each in results] == [False, True, False, True]
    assert [entry.event for entry in entries].count(Event.REVEAL_ALLOWED) == 2
    assert [entry.event for entry in entries].count(Event.REVEAL_REFUSED) == 2


# ---------------------------------------------------------------- faults


def ask(stage: Stage, use_case: Any, disclosure_token: str, *tokens: str) -> Any:
    """Reveal through a use case of its own."""
    return use_case.submit(
        stage.caller("requester"), disclosure_token=disclosure_token, tokens=tokens, fields=None
    )


def test_without_vault_nothing_is_spent(stage: Stage, token: str) -> None:
    """The same token works when Vault is back."""
    disclosure_token = holder(stage, token)
    away = Unwraps(stage.reveals._keys._unwrapping, answer="away")
    broken = rebuilt_reveal(stage.reveals, unwrapping=away)
    with stage.told() as entries, pytest.raises(VaultUnavailable):
        ask(stage, broken, disclosure_token, token)
    assert entries == []
    away.answer = "real"
    assert len(ask(stage, broken, disclosure_token, token).results) == 1


@pytest.mark.parametrize("at", ["before", "instead"])
def test_a_failed_commit_reveals_and_spends_nothing(stage: Stage, token: str, at: str) -> None:
    """No commit, no plaintext; the token is still good."""
    disclosure_token = holder(stage, token)
    broken = rebuilt_reveal(stage.reveals, uow=FaultyUnitOfWork(stage.reveals._uses._uow, at=at))
    with stage.told() as entries:
        refusal(lambda: ask(stage, broken, disclosure_token, token), Unavailable)
    assert entries == []
    assert isinstance(ask(stage, broken, disclosure_token, token).results[0], Revealed)


def refusals(stage: Stage, use_case: Any, token: str) -> list[Any]:
    """What becomes of five that come together: three of them are denied, and one asks wrongly."""
    (good,) = company(stage, (token,))
    denied = replace(good, caller=stage.caller("support"))
    wrong = replace(good, tokens=())
    asked = [denied, good, replace(good, token=None), wrong, denied]
    return list(use_case.submit_many(asked))


def test_who_is_denied_together_is_written_down_in_one_transaction(
    stage: Stage, token: str
) -> None:
    """Each has his own entry, in order; who did not come to be denied has none."""
    begun: list[bool] = []
    audit = Audit(process_role="reveal", uow=Hooked(stage.reveals._uses._uow, before=begun.append))
    with stage.told(Event.ACCESS_DENIED, Event.REVEAL_REFUSED) as entries:
        answers = refusals(stage, rebuilt_reveal(stage.reveals, audit=audit), token)
    assert [getattr(each, "code", None) for each in answers] == [
        "forbidden",
        None,
        "disclosure_token_missing",
        "batch_size",
        "forbidden",
    ]
    assert begun == [False]
    assert [(each.event, each.actor.id, each.reason) for each in entries] == [
        (Event.ACCESS_DENIED, stage.cast.id("support"), "forbidden"),
        (Event.REVEAL_REFUSED, stage.cast.id("requester"), "disclosure_token_missing"),
        (Event.ACCESS_DENIED, stage.cast.id("support"), "forbidden"),
    ]


def test_denials_that_cannot_be_written_down_are_an_outage(stage: Stage, token: str) -> None:
    """For those who were denied; whoever came with them is answered as ever."""
    audit = Audit(
        process_role="reveal", uow=FaultyUnitOfWork(stage.reveals._uses._uow, at="instead", times=1)
    )
    with stage.told(Event.ACCESS_DENIED, Event.REVEAL_REFUSED) as entries:
        answers = refusals(stage, rebuilt_reveal(stage.reveals, audit=audit), token)
    assert entries == []
    assert [getattr(each, "code", None) for each in answers] == [
        "database_unavailable",
        None,
        "database_unavailable",
        "batch_size",
        "database_unavailable",
    ]


def test_an_unknown_commit_reveals_nothing_and_counts_as_spent(stage: Stage, token: str) -> None:
    """The answer is a refusal, and the token is of no more use."""
    disclosure_token = holder(stage, token)
    broken = rebuilt_reveal(
        stage.reveals, uow=FaultyUnitOfWork(stage.reveals._uses._uow, at="after")
    )
    error = refusal(lambda: ask(stage, broken, disclosure_token, token), Unavailable)
    assert error.code == "commit_unknown"
    again = refusal(lambda: ask(stage, broken, disclosure_token, token), DisclosureRefused)
    assert again.code == "disclosure_spent"


class _LooksOnce:
    """Public keys that can be read once; then whoever may read them is away."""

    def __init__(self, real: PublicKeys) -> None:
        self.real: PublicKeys | None = real

    def public_keys(self) -> Mapping[int, bytes]:
        """Read them, or not."""
        real, self.real = self.real, None
        if real is None:
            raise VaultUnavailable
        return real.public_keys()


def test_a_key_that_cannot_be_looked_up_is_one_callers(stage: Stage, token: str) -> None:
    """Who names it is told of an outage, in no entry; who came with him is told his value."""
    source = _LooksOnce(stage.reveals._checks._verifier._keys._source)
    use_case = rebuilt_reveal(stage.reveals, verifier=TokenVerifier(TokenKeys(source)))
    good, bad = company(stage, (token,), (token,))
    header = {"alg": "Ed25519", "kid": "disclosure-token:99", "typ": "disclosure+jwt"}
    head = base64.urlsafe_b64encode(canonical.serialise(header)).decode().rstrip("=")
    forged = f"{head}.{(bad.token or '').partition('.')[2]}"
    with stage.told() as entries:
        answers = use_case.submit_many(
            [replace(bad, token=forged), good, replace(bad, token=forged)]
        )
    assert [type(each) for each in answers] == [VaultUnavailable, RevealAnswer, VaultUnavailable]
    assert {entry.event for entry in entries} == {Event.REVEAL_ALLOWED, Event.DISCLOSURE_SPENT}


def test_a_key_that_does_not_unwrap_is_told_alone(stage: Stage, token: str) -> None:
    """The use is spent, the value is unreadable, and nothing of it is told."""
    broken = rebuilt_reveal(
        stage.reveals, unwrapping=Unwraps(stage.reveals._keys._unwrapping, answer="rejects")
    )
    answer = ask(stage, broken, holder(stage, token), token)
    assert [type(each) for each in answer.results] == [ValueUnreadable]
    assert answer.receipt.values == 0


def test_nothing_is_opened_without_a_committed_use(stage: Stage) -> None:
    """Whatever went wrong before, an answer without a commit is an error."""
    from datetime import UTC, datetime

    asked = RevealRequest(
        caller=stage.caller("requester"), token="t", tokens=(NOWHERE,), fields=None
    )
    result = stage.reveals._opening.answer(Work(asked, "e"), datetime.now(UTC))
    assert isinstance(result, Unavailable)
    refusal(lambda: _use(Work(asked, "e")), Unavailable)


@pytest.mark.parametrize(
    "change",
    ["class = 'shoe_size'", "kek = 'evidence'", "kek = 'no-such-key'", "version = -1"],
)
def test_a_row_out_of_joint_does_not_fail_its_neighbours(
    stage: Stage, customer: str, token: str, change: str
) -> None:
    """A changed row is unreadable alone; Vault is not asked for another key."""
    other = stage.card(customer, "5555555555554444")
    disclosure_token = holder(stage, token, other)
    stage.sql(f"UPDATE records SET {change} WHERE token = %s", [other])  # noqa: S608 -- above
    answer = stage.reveal(disclosure_token, token, other, fields=("number",))
    assert [type(each) for each in answer.results] == [Revealed, ValueUnreadable]
    stage.sql("DELETE FROM records WHERE token = %s", [other])


def company(stage: Stage, *tokens: tuple[str, ...]) -> list[RevealRequest]:
    """A call for each of these, as if they had come together."""
    caller = stage.caller("requester")
    return [
        RevealRequest(caller=caller, token=holder(stage, *each), tokens=each) for each in tokens
    ]


@pytest.fixture
def formless(stage: Stage, customer: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A token whose value has no form: whoever wrote it had every right to, and it opens."""
    with monkeypatch.context() as patch:
        patch.setattr(
            tokenization, "seal", lambda key, _plain, context: seal(key, b"no JSON", context)
        )
        token = stage.card(customer, "5555555555554444")
    yield token
    stage.sql("DELETE FROM records WHERE token = %s", [token])


def test_a_value_without_a_form_is_told_alone(stage: Stage, token: str, formless: str) -> None:
    """Its neighbours are told, in its call and in those that came with it; every use is spent."""
    asked = company(stage, (formless, token), (token,), (formless,))
    with stage.told() as entries:
        answers = [stage.reveals.submit_many(asked), stage.reveals.submit_many(asked)]
    codes = [
        [getattr(each, "code", None) for each in answer.results]
        for answer in answers[0]
        if isinstance(answer, RevealAnswer)
    ]
    assert codes == [["value_unreadable", None], [None], ["value_unreadable"]]
    assert [getattr(each, "code", None) for each in answers[1]] == ["disclosure_spent"] * 3
    assert [entry.event for entry in entries].count(Event.REVEAL_ALLOWED) == 3
    alarms = [entry.tokens for entry in entries if entry.event is Event.ALARM_RAISED]
    assert alarms == [(formless,)] * 2


class _Dies:
    """Alarms that cannot be raised, for a reason that nobody has foreseen."""

    def raise_now(self, *_: object, **__: object) -> None:
        """Die."""
        raise ZeroDivisionError


def test_an_answer_that_fails_fails_alone(stage: Stage, token: str, formless: str) -> None:
    """What goes wrong after the commit is one caller's; his use is spent."""
    asked = company(stage, (token,), (formless,))
    with stage.told(Event.REVEAL_ALLOWED) as entries:
        answers = rebuilt_reveal(stage.reveals, alarms=_Dies()).submit_many(asked)
    assert [type(each) for each in answers] == [RevealAnswer, ZeroDivisionError]
    assert len(entries) == 2


def test_a_grant_that_ends_while_it_is_used_reveals_nothing(stage: Stage, token: str) -> None:
    """Revoked between the checks and the use: the use fails."""
    grant = stage.granted(draft(token))
    disclosure_token = stage.token(grant.id)

    def before(read_only: bool) -> None:  # noqa: FBT001 -- the hook's form
        if not read_only:
            stage.decisions.revoke(stage.caller("officer-1"), grant.id)

    hooked = rebuilt_reveal(stage.reveals, uow=Hooked(stage.reveals._uses._uow, before=before))
    error = refusal(lambda: ask(stage, hooked, disclosure_token, token), DisclosureRefused)
    assert error.code == "disclosure_spent"


def test_another_requesters_row_behind_ones_own_token_is_refused(stage: Stage, token: str) -> None:
    """Holder of token and grant must be the same principal as the caller."""
    grant = stage.granted(draft(token))
    disclosure_token = stage.token(grant.id)
    stage.sql(
        "ALTER TABLE disclosure_decisions DROP CONSTRAINT"
        " fk_disclosure_decisions_bucket_disclosure_requester"
    )
    try:
        stage.sql(
            "UPDATE disclosures SET requester = %s WHERE id = %s",
            [stage.cast.id("requester-2"), grant.id],
        )
        for who in ("requester", "requester-2"):
            with pytest.raises(DisclosureRefused) as refused:
                stage.reveal(disclosure_token, token, by=who)
            assert refused.value.code == "disclosure_token_holder"
    finally:
        stage.sql(
            "UPDATE disclosure_decisions d SET requester = g.requester FROM disclosures g"
            " WHERE g.id = d.disclosure AND g.bucket = d.bucket"
        )
        stage.sql(
            "ALTER TABLE disclosure_decisions ADD CONSTRAINT"
            " fk_disclosure_decisions_bucket_disclosure_requester"
            " FOREIGN KEY (bucket, disclosure, requester)"
            " REFERENCES disclosures (bucket, id, requester)"
        )


def test_many_callers_at_once_each_get_their_own(stage: Stage, customer: str) -> None:
    """Gathered reveals never mix up whose value is whose."""
    numbers = ["4242424242424242", "5555555555554444", "378282246310005", "6011111111111117"]
    tokens = {number: stage.card(customer, number) for number in numbers}
    jobs = [(number, holder(stage, tokens[number])) for number in numbers * 4]
    seen: list[tuple[str, object]] = []

    def call(number: str, disclosure_token: str) -> None:
        (value,) = stage.revealed(disclosure_token, tokens[number])
        assert isinstance(value, dict)
        seen.append((number, value["number"]))

    threads = [threading.Thread(target=call, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == len(jobs)
    assert all(asked == told for asked, told in seen)


# ---------------------------------------------------------------- granting


def test_only_the_grants_requester_takes_a_token(stage: Stage, token: str) -> None:
    """Another requester's grant, an unknown and a malformed id answer alike."""
    grant = stage.granted(draft(token))
    for name in (grant.id, "dis_" + "0" * 28, "dis_\x00"):
        with pytest.raises(NotFound) as refused:
            stage.granting.issue(stage.caller("requester-2"), name)
        assert refused.value.code == "disclosure_not_found"


def test_what_is_no_grant_gives_no_token(stage: Stage, token: str) -> None:
    """Waiting, expired, revoked, and of another policy: each says why."""
    from dataclasses import replace

    waiting = stage.disclosures.create(stage.caller("requester"), draft(token), is_draft=False)
    assert refusal(lambda: stage.token(waiting.id), Conflict).code == "disclosure_not_active"
    grant = stage.granted(draft(token))
    changed = rebuilt(stage.granting, policy=replace(stage.services.policy, version="f" * 64))
    error = refusal(lambda: changed.issue(stage.caller("requester"), grant.id), Conflict)
    assert error.code == "policy_changed"
    stage.sql("UPDATE disclosures SET expires_at = now() WHERE id = %s", [grant.id])
    assert refusal(lambda: stage.token(grant.id), Conflict).code == "disclosure_expired"


def test_a_ground_that_the_policy_lost_gives_no_token(stage: Stage, token: str) -> None:
    """Also when the version still fits."""
    from dataclasses import replace

    grant = stage.granted(draft(token))
    changed = rebuilt(stage.granting, policy=replace(stage.services.policy, grounds={}))
    error = refusal(lambda: changed.issue(stage.caller("requester"), grant.id), Conflict)
    assert error.code == "policy_changed"


def test_a_grant_without_an_end_gives_no_token(stage: Stage, token: str) -> None:
    """The tables do not allow one; whoever lifts the rule gains nothing."""
    grant = stage.granted(draft(token))
    with stage.owned(
        "ALTER TABLE disclosures DROP CONSTRAINT ck_disclosures_active_ends",
        "ALTER TABLE disclosures ADD CONSTRAINT ck_disclosures_active_ends"
        " CHECK (state <> 'active' OR expires_at IS NOT NULL)",
    ):
        stage.sql("UPDATE disclosures SET expires_at = NULL WHERE id = %s", [grant.id])
        error = refusal(lambda: stage.token(grant.id), Conflict)
        stage.sql("DELETE FROM disclosure_decisions WHERE disclosure = %s", [grant.id])
        stage.sql("DELETE FROM disclosures WHERE id = %s", [grant.id])
    assert error.code == "grant_out_of_policy"


def test_a_token_whose_row_is_not_committed_reveals_nothing(stage: Stage, token: str) -> None:
    """A signed token that was lost on the way is worth nothing."""
    grant = stage.granted(draft(token))
    before = stage.sql("SELECT count(*) FROM disclosure_tokens")
    broken = rebuilt(stage.granting, uow=FaultyUnitOfWork(stage.granting._uow, at="instead"))
    refusal(lambda: broken.issue(stage.caller("requester"), grant.id), Unavailable)
    assert stage.sql("SELECT count(*) FROM disclosure_tokens") == before


def test_tokens_taken_at_the_same_time_are_each_ones_own(stage: Stage, token: str) -> None:
    """Of one grant and of several: every caller gets a token and an entry; one is refused alone."""
    grants = [stage.granted(draft(token)).id for _ in range(2)]

    def take(place: int) -> str:
        who = "requester-2" if place == 5 else "requester"
        return stage.granting.issue(stage.caller(who), grants[place % 2]).token

    with stage.told(Event.DISCLOSURE_TOKEN_ISSUED) as entries, ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(take, place) for place in range(12)]
        refused = asked.pop(5).exception()
        taken = {one.result() for one in asked}
    assert isinstance(refused, NotFound)
    assert len(taken) == len(entries) == 11
    assert {entry.grant for entry in entries} == set(grants)
