"""The erasure of a customer: two officers, all of him or nothing, a certificate at the end."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from tests.support.faults import FaultyUnitOfWork, rebuilt
from tests.support.holds import placed
from tests.support.racing import threads
from tests.support.whole import (
    NOBODY,
    Stage,
    card,
    draft,
    name,
    numbers,
    present,
    refusal,
    standing,
)
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound, Unavailable
from vault_service.ledger.entries import Event, Outcome
from vault_service.services.customer_erasure import ErasureView
from vault_service.services.erasing import Erasing
from vault_service.services.erasure_ports import ErasureState
from vault_service.services.holds import HoldView
from vault_service.services.proposals import ModificationDraft
from vault_service.services.tokenization import TokenizeItem
from vault_service.services.views import ModificationView


def worker(stage: Stage, **changes: Any) -> Erasing:
    """The duty, without the wait between its two looks."""
    return rebuilt(stage.erasing, **({"settle": timedelta(0), "horizon_days": 30} | changes))


def confirmed(stage: Stage, customer: str) -> ErasureView:
    """An erasure that two officers agreed to."""
    stage.erasures.request(stage.caller("officer-1"), customer)
    return stage.erasures.confirm(stage.caller("officer-2"), customer)


def finish(stage: Stage, **changes: Any) -> None:
    """Let the worker come round twice."""
    for _ in range(2):
        worker(stage, **changes).run(threading.Event())


def certificate(stage: Stage, customer: str) -> ErasureView:
    """The erasure as an auditor reads it."""
    return stage.erasures.get(stage.caller("auditor"), customer)


def sealed(stage: Stage, customer: str) -> int:
    """How many of his records are whole."""
    ((count,),) = stage.sql(
        "SELECT count(*) FROM records WHERE customer = %s AND erased_at IS NULL", [customer]
    )
    return int(count)


def test_all_of_a_customer_is_destroyed(stage: Stage) -> None:
    """Sealed values, keys, fingerprints, masks, metadata, references; his neighbour keeps his."""
    customer, other = stage.customer(name("crm")), stage.customer()
    items = [
        TokenizeItem(
            data_class="payment_card", customer=customer, value=card(), reference="inv-17",
            metadata={"plan": "gold"},
        ),
        TokenizeItem(data_class="telephone", customer=customer, value="+49 30 901820"),
    ]  # fmt: skip
    tokens = [view.id for view in stage.tokenize(*items)]
    theirs = stage.card(other)
    with stage.told() as entries:
        confirmed(stage, customer)
        finish(stage)
    rows = stage.sql("SELECT row_to_json(r) FROM records r WHERE customer = %s", [customer])
    for (row,) in rows:
        # Which entry a writer left says nothing of the value.
        kept = {
            "bound_by",
            "bound_path",
            "bucket",
            "token",
            "customer",
            "class",
            "format",
            "version",
            "created_at",
        }
        assert {key for key, value in row.items() if value not in (None, {}, "")} == (
            kept | {"erased_at"}
        )
    assert stage.sql("SELECT has_reference FROM customers WHERE id = %s", [customer]) == [(0,)]
    assert stage.reading.get(stage.caller("billing"), theirs).id == theirs
    view = certificate(stage, customer)
    his = [each for each in entries if each.customer == customer]
    (entry,) = [each for each in his if each.event is Event.CUSTOMER_ERASED]
    row = view.row
    assert (row.state, row.records, str(row.entry)) == (ErasureState.DONE, 2, entry.id)
    assert row.finished_at is not None
    assert view.backups_until == row.finished_at + timedelta(days=30)
    assert (entry.customer, entry.count) == (customer, 2)
    assert entry.details["requested_by"] == stage.cast.id("officer-1")
    assert entry.details["confirmed_by"] == stage.cast.id("officer-2")
    assert entry.details["backups_until"] == view.backups_until.isoformat()
    (told,) = [each for each in his if each.event is Event.TOKENS_ERASED]
    assert set(told.tokens) == set(tokens)


def test_he_is_unknown_from_the_confirmation_on(stage: Stage) -> None:
    """Before the worker came: no profile, no new record, no hold, and no second customer."""
    reference = name("crm")
    customer = stage.customer(reference)
    stage.card(customer)
    confirmed(stage, customer)
    billing = stage.caller("billing")
    refusal(lambda: stage.customers.profile(billing, customer), NotFound)
    (result,) = stage.submit(
        TokenizeItem(data_class="payment_card", customer=customer, value=card())
    ).results
    assert isinstance(result, NotFound)
    refusal(lambda: placed(stage, customer), NotFound)
    (again,) = stage.customers.create(billing, [reference])
    assert isinstance(again, Conflict)
    assert again.code == "customer_erased"


def test_it_takes_two_officers(stage: Stage, customer: str) -> None:
    """Asking erases nothing, and whoever asked does not confirm."""
    stage.card(customer)
    officer = stage.caller("officer-1")
    view, is_new = stage.erasures.request(officer, customer)
    assert (view.row.state, is_new) == (ErasureState.REQUESTED, True)
    assert not stage.erasures.request(stage.caller("officer-2"), customer)[1]
    error = refusal(lambda: stage.erasures.confirm(officer, customer), Forbidden)
    assert error.code == "own_erasure"
    finish(stage)
    assert sealed(stage, customer) == 1


@pytest.mark.parametrize("whole", [True, False])
def test_a_hold_keeps_all_of_him(stage: Stage, customer: str, *, whole: bool) -> None:
    """A hold on one record is enough; nothing is half done; the refusal is told."""
    token = stage.card(customer)
    stage.card(customer, "5555555555554444")
    hold = placed(stage, customer, tokens=None if whole else (token,))
    with stage.told(Event.CUSTOMER_ERASURE_CONFIRMED) as entries:
        error = refusal(lambda: confirmed(stage, customer), Conflict)
    assert error.code == "legal_hold"
    (entry,) = entries
    assert (entry.outcome, entry.reason) == (Outcome.REFUSED, "legal_hold")
    finish(stage)
    assert sealed(stage, customer) == 2
    assert certificate(stage, customer).row.state is ErasureState.REQUESTED
    stage.holds.release(stage.caller("officer-2"), hold.id, "over")
    confirmed(stage, customer)
    finish(stage)
    assert sealed(stage, customer) == 0


def test_repeating_is_harmless(stage: Stage, customer: str) -> None:
    """Asking, confirming and the worker's round, once it is done."""
    confirmed(stage, customer)
    finish(stage)
    done = certificate(stage, customer)
    with stage.told() as entries:
        again = confirmed(stage, customer)
        finish(stage)
    assert (again.row.entry, again.row.finished_at) == (done.row.entry, done.row.finished_at)
    assert entries == []


def test_many_records_go_in_batches_and_after_a_death(stage: Stage, customer: str) -> None:
    """A worker that fails at a commit leaves whole batches; the next goes on; all are counted."""
    items = [
        TokenizeItem(data_class="payment_card", customer=customer, value=card(number))
        for number in numbers(700, start=9000)
    ]
    stage.tokenize(*items)
    confirmed(stage, customer)
    broken = worker(stage, uow=FaultyUnitOfWork(stage.erasing._uow, at="instead"))
    refusal(lambda: broken.run(threading.Event()), Unavailable)
    assert sealed(stage, customer) in {200, 700}
    finish(stage)
    assert sealed(stage, customer) == 0
    assert certificate(stage, customer).row.records == 700


def test_a_stopping_worker_begins_nothing(stage: Stage, customer: str) -> None:
    """The event is looked at before each batch."""
    stage.card(customer)
    confirmed(stage, customer)
    stop = threading.Event()
    stop.set()
    worker(stage).run(stop)
    assert sealed(stage, customer) == 1
    finish(stage)


def test_the_second_look_waits(stage: Stage, customer: str) -> None:
    """No certificate before the time between the looks has passed."""
    confirmed(stage, customer)
    finish(stage, settle=timedelta(minutes=1))
    row = certificate(stage, customer).row
    assert (row.state, row.clear_at is not None) == (ErasureState.RUNNING, True)
    finish(stage)
    assert certificate(stage, customer).row.state is ErasureState.DONE


def test_a_record_that_was_being_written_is_found(stage: Stage, customer: str) -> None:
    """What comes to light after the first look is destroyed, and the looks begin anew."""
    token = stage.card(customer)
    confirmed(stage, customer)
    duty = worker(stage)
    duty.run(threading.Event())
    ((bucket,),) = stage.sql("SELECT bucket FROM customers WHERE id = %s", [customer])
    stage.sql(
        "INSERT INTO records (bucket, token, customer, class, format, variant, mask, fingerprint,"
        " fingerprint_version, envelope, wrapped_key, kek, kek_version)"
        " VALUES (%s, %s, %s, 'telephone', 'opaque', 'opaque', '{}', 'f', 1, 'e', 'w',"
        " 'records-contact', 1)",
        [bucket, token[:-1] + ("1" if token[-1] == "0" else "0"), customer],
    )
    duty._conclude(bucket, customer)
    assert certificate(stage, customer).row.clear_at is None
    for _ in range(2):
        duty.run(threading.Event())
    assert certificate(stage, customer).row.records == 2


def test_rivals_leave_each_other_alone(stage: Stage, customer: str) -> None:
    """Two workers at once make one certificate."""
    stage.card(customer)
    confirmed(stage, customer)
    with stage.told(Event.CUSTOMER_ERASED) as entries:
        for _ in range(3):
            threads([lambda: worker(stage).run(threading.Event())] * 2)
    assert [entry.customer for entry in entries].count(customer) == 1


def test_a_rival_has_it(stage: Stage, customer: str) -> None:
    """A locked erasure is left to who has it."""
    stage.card(customer)
    confirmed(stage, customer)
    ((bucket,),) = stage.sql("SELECT bucket FROM customers WHERE id = %s", [customer])
    duty = worker(stage)
    with stage.erasing._uow.begin() as tx:
        assert tx.erasures.lock(bucket, customer) is not None
        duty.run(threading.Event())
    assert sealed(stage, customer) == 1
    finish(stage)


def test_a_rival_ends_it_between_two_steps(stage: Stage, customer: str) -> None:
    """Whoever finds it done does nothing more."""
    confirmed(stage, customer)
    duty = worker(stage)
    duty.run(threading.Event())
    ((bucket,),) = stage.sql("SELECT bucket FROM customers WHERE id = %s", [customer])

    class Overtaken(FaultyUnitOfWork):
        """Lets a rival end the erasure after the first unit of work."""

        def begin(self, *, read_only: bool = False) -> Any:
            nonlocal count
            count += 1
            if count == 2:
                finish(stage)
            return stage.erasing._uow.begin(read_only=read_only)

    count = 0
    rebuilt(duty, uow=Overtaken(stage.erasing._uow, at="instead"))._conclude(bucket, customer)
    assert certificate(stage, customer).row.state is ErasureState.DONE


def test_standing_grants_reveal_nothing(stage: Stage, customer: str) -> None:
    """Of tokens and of a customer; a token of his is never given again."""
    token = stage.card(customer)
    by_token = stage.granted(standing(token))
    by_class = stage.granted(
        standing(customer=customer, classes=("payment_card",), evidence={"service": "charge"})
    )
    confirmed(stage, customer)
    finish(stage)
    for grant in (by_token, by_class):
        proof = stage.token(grant.id)
        error = refusal(lambda proof=proof: stage.reveal(proof, token))
        assert error.code in {"token_not_found", "disclosure_scope_exceeded"}


def test_salts_and_kept_answers_go(stage: Stage, customer: str) -> None:
    """Commitments to texts about him are unlinked; no stored answer shows his mask."""
    other = stage.customer()
    token = stage.card(customer)
    mine = stage.disclosures.create(stage.caller("requester"), draft(token), is_draft=False)
    theirs = stage.disclosures.create(
        stage.caller("requester"), draft(stage.card(other)), is_draft=False
    )
    hold = placed(stage, customer)
    stage.holds.release(stage.caller("officer-2"), hold.id, "over")
    keys = name("key"), name("key")
    for key, whose in zip(keys, (customer, other), strict=True):
        item = TokenizeItem(data_class="telephone", customer=whose, value="+49 30 901820")
        stage.tokenize(item, key=key, body=key.encode())
    confirmed(stage, customer)
    finish(stage)
    salts = "SELECT details_salt IS NULL FROM {} WHERE id = %s"
    assert stage.sql(salts.format("disclosures"), [mine.id]) == [(True,)]
    assert stage.sql(salts.format("disclosures"), [theirs.id]) == [(False,)]
    assert stage.sql(salts.format("holds"), [hold.id]) == [(True,)]
    kept = stage.sql("SELECT key FROM idempotency WHERE key = ANY(%s)", [list(keys)])
    assert kept == [(keys[1],)]


def test_changes_and_links_go(stage: Stage, customer: str) -> None:
    """Older masks, values that were proposed, tickets, and both directions of a link."""
    other, support = stage.customer(), stage.caller("support")
    changes, links = present(stage.services.modifications), present(stage.services.links)
    stage.tokenize(TokenizeItem(data_class="business_name", customer=customer, value="Old Ltd"))
    for new, end in (("New Ltd", True), ("Newer Ltd", False), (None, False)):
        value = {} if new is None else {"data_class": "business_name", "value": new}
        (change,) = changes.open(
            support, [ModificationDraft(customer=customer, ticket="T of A. Customer", **value)]
        )
        assert isinstance(change, ModificationView)
        if end:
            changes.confirm(support, change.id, how="document")
            changes.apply(support, change.id)
    links.link(support, customer, other)
    confirmed(stage, customer)
    finish(stage)
    rows = stage.sql("SELECT m::text FROM modifications AS m WHERE customer = %s", [customer])
    assert len(rows) == 3
    assert not [row for (row,) in rows if "Ltd" in row or "A. Cust" in row or "L**" in row]
    ((left,),) = stage.sql(
        "SELECT (SELECT count(*) FROM customer_links WHERE customer = %(id)s OR other = %(id)s)"
        " + (SELECT count(*) FROM modifications WHERE customer = %(id)s"
        " AND (ended_at IS NULL OR envelope IS NOT NULL OR mask IS NOT NULL))"
        " + (SELECT count(*) FROM record_versions JOIN records USING (bucket, token)"
        " WHERE customer = %(id)s)",
        {"id": customer},
    )
    assert left == 0


def test_without_a_horizon_the_certificate_names_no_end(stage: Stage, customer: str) -> None:
    """Backups that nobody ends hold him for ever."""
    confirmed(stage, customer)
    with stage.told(Event.CUSTOMER_ERASED) as entries:
        finish(stage, horizon_days=0)
    assert certificate(stage, customer).backups_until is None
    (entry,) = [each for each in entries if each.customer == customer]
    assert "backups_until" not in entry.details
    assert entry.details["backup_horizon_days"] == 0


def test_a_race_of_hold_and_confirmation_has_one_winner(stage: Stage) -> None:
    """Either he is held and whole, or unknown and the hold was refused."""
    for _ in range(8):
        customer = stage.customer()
        token = stage.card(customer)
        stage.erasures.request(stage.caller("officer-1"), customer)
        held, gone = threads(
            [
                lambda customer=customer, token=token: placed(stage, customer, tokens=(token,)),
                lambda customer=customer: stage.erasures.confirm(
                    stage.caller("officer-2"), customer
                ),
            ]
        )
        assert isinstance(held, HoldView) is not isinstance(gone, ErasureView), (held, gone)
        finish(stage)
        assert sealed(stage, customer) == isinstance(held, HoldView)


def test_erasures_are_listed(stage: Stage) -> None:
    """By pages, for officers and auditors."""
    mine = {stage.customer() for _ in range(3)}
    for customer in mine:
        stage.erasures.request(stage.caller("officer-1"), customer)
    found: set[str] = set()
    cursor = None
    while True:
        page, cursor = stage.erasures.page(stage.caller("auditor"), cursor=cursor, limit=2)
        found |= {each.row.customer for each in page}
        if cursor is None:
            break
    assert mine <= found


@pytest.mark.parametrize(
    ("query", "code"),
    [({"limit": 0}, "limit_invalid"), ({"limit": 101}, "limit_invalid"),
     ({"cursor": "x"}, "customer_malformed")],
)  # fmt: skip
def test_a_page_is_asked_for_rightly(stage: Stage, query: dict[str, Any], code: str) -> None:
    """Or refused."""
    asked = {"cursor": None, "limit": 10} | query
    call = lambda: stage.erasures.page(stage.caller("auditor"), **asked)  # noqa: E731
    assert refusal(call, InvalidInput).code == code


@pytest.mark.parametrize("customer", [NOBODY, "cus_?"])
def test_an_unknown_customer_is_not_found(stage: Stage, customer: str) -> None:
    """Malformed names answer alike."""
    officer = stage.caller("officer-1")
    for call in (stage.erasures.request, stage.erasures.confirm, stage.erasures.get):
        refusal(lambda call=call: call(officer, customer), NotFound)


@pytest.mark.parametrize("who", ["billing", "support", "requester", "auditor", "operator"])
def test_only_officers_erase_customers(stage: Stage, customer: str, who: str) -> None:
    """Nobody else asks or confirms."""
    for call in (stage.erasures.request, stage.erasures.confirm):
        refusal(lambda call=call: call(stage.caller(who), customer), Forbidden)
