"""A6: every event of an end-to-end run is an entry with who, what, when, outcome, origin, data."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from tests.support.communications import contents, keep, message
from tests.support.faults import rebuilt
from tests.support.holds import placed
from tests.support.mail import letter, use
from tests.support.recipients import record
from tests.support.whole import (
    HARM,
    NOWHERE,
    Stage,
    caller_of,
    card,
    draft,
    name,
    present,
    soon,
    standing,
)
from vault_service.domain.instruments import Instrument
from vault_service.errors import ServiceError
from vault_service.ledger.entries import ActorKind, Entry, Event, Outcome, encode
from vault_service.ledger.events import SHAPES
from vault_service.services.activity import EntryDraft
from vault_service.services.authentication import Shown
from vault_service.services.intake import Incoming
from vault_service.services.proposals import ModificationDraft
from vault_service.services.tokenization import TokenizeItem
from vault_service.services.views import ModificationView

# What cannot happen yet: its use cases come with later steps of the design.
LATER = frozenset(
    (
        Event.VAULT_KEY_CREATED,
        Event.VAULT_KEY_CONFIGURED,
        Event.VAULT_KEY_REWRAPPED,
        Event.VAULT_KEY_RETIRED,
        Event.VAULT_KEY_ADOPTED,
        Event.VAULT_KEY_TRIMMED,
        Event.ROTATION_STARTED,
        Event.ROTATION_CERTIFICATE,
        Event.RECORDS_REENCRYPTED,
        Event.RECORDS_REINDEXED,
        Event.REENCRYPTION_CERTIFICATE,
    )
)
# Told of by tests of their own, because they need a log, or rights, of a certain age.
ELSEWHERE = frozenset(
    (
        Event.LOG_ARCHIVED,
        Event.ACCESS_REVIEW_OPENED,
        Event.ACCESS_REVIEW_COMPLETED,
        Event.ACCESS_REVIEW_OVERDUE,
    )
)
PLAIN = (
    "4242424242424242", "+4930901820", "901820", "Somebody", HARM["harm"], "A. Customer",
    "alice@example.com", "secret-subject",
)  # fmt: skip


def live(stage: Stage) -> None:
    """A day in the life of a vault, with everything that can happen in it."""
    billing, officer, boss = (stage.caller(who) for who in ("billing", "officer-1", "operator"))
    requester = stage.caller("requester")
    stage.sql("TRUNCATE policies CASCADE")
    stage.services.lifecycle.started()
    customer = stage.customer(name("crm"))
    token = stage.card(customer)
    stage.tokenize(
        TokenizeItem(data_class="telephone", customer=customer, value="+49 30 901820"),
        TokenizeItem(data_class="payment_card", customer=customer, value=card()),
    )
    stage.card(customer, "5555555555554444", expires_at=soon(seconds=0.3))
    stage.reading.search(billing, data_class="payment_card", values=["4242424242424242"])
    stage.customers.profile(billing, customer)
    with pytest.raises(ServiceError):
        stage.reading.get(stage.caller("auditor"), token)
    # Disclosures, in each way that they can go.
    stage.recipients.get(officer, record(stage, by="requester").id)
    kept = stage.disclosures.create(requester, draft(token), is_draft=True)
    stage.disclosures.submit(requester, kept.id)
    stage.disclosure_reading.get(officer, kept.id)
    stage.decisions.withdraw(requester, kept.id)
    denied = stage.disclosures.create(requester, draft(token), is_draft=False)
    stage.decisions.deny(officer, denied.id, comment="no harm seen")
    legal = draft(
        ground="legal_process",
        category="communication_contents",
        recipient_kind="court",
        customer=customer,
        classes=("communication",),
        evidence={
            "instrument": "warrant",
            "authority": "District Court",
            "reference": "4711/26",
            "issued": "2026-01-02",
            "valid_until": "2099-01-01",
            "instrument_scope": "all",
            "document": stage.document(),
        },
    )
    process = stage.disclosures.create(requester, legal, is_draft=False)
    covered = Instrument(customer=customer, classes=("communication",), ends=date(2099, 1, 1))
    stage.decisions.determine(officer, process.id, valid=True, reasons="signed", instrument=covered)
    stage.evidence.read(officer, process.id, "document")
    auditor = stage.caller("auditor")
    life = timedelta(hours=1)
    stage.evidence.open_to(officer, process.id, auditor=auditor.principal.id, life=life)
    stage.evidence.close_to(officer, process.id, auditor=auditor.principal.id)
    stage.document(b"nobody refers to this")
    stage.sql(
        "UPDATE evidence_documents SET created_at = now() - interval '8 days'"
        " WHERE referred_at IS NULL"
    )
    stage.decisions.annul(officer, process.id, reasons="lifted on appeal")
    narrower = replace(standing(token), amends=stage.granted(standing(token)).id)
    stage.granted(narrower)
    revoked = stage.granted(standing(token))
    stage.decisions.revoke(officer, revoked.id)
    ending = stage.granted(draft(token))
    stage.sql("UPDATE disclosures SET expires_at = now() WHERE id = %s", [ending.id])
    disclosure_token = stage.token(stage.granted(draft(token)).id)
    stage.revealed(disclosure_token, token)
    with pytest.raises(ServiceError):
        stage.reveal(disclosure_token, token)
    # A message is kept, and its contents are read to their end.
    letter = keep(stage, customer, message()).id
    read = stage.token(stage.granted(contents(letter)).id)
    list(stage.reveals.content(requester, disclosure_token=read, token=letter).pieces)
    present(stage.services.accounting).page(officer, customer, cursor=None, limit=100)
    # Legal holds: one that keeps the record, and is released.
    hold = placed(stage, customer)
    stage.erasure.erase(billing, [token])
    stage.holds.release(stage.caller("officer-2"), hold.id, "the case is closed")
    # A customer's erasure takes two officers, the worker, and a second look.
    leaving = stage.customer()
    stage.card(leaving)
    stage.erasures.request(officer, leaving)
    stage.erasures.confirm(stage.caller("officer-2"), leaving)
    rebuilt(stage.erasing, settle=timedelta(0)).run(threading.Event())
    rebuilt(stage.erasing, settle=timedelta(0)).run(threading.Event())
    # Principals and keys.
    made = stage.principals.create(boss, name=name("p"), roles=["officer"])
    stage.principals.confirm_key(officer, made.principal.id, made.id)
    fresh = stage.principals.issue_key(caller_of(made), "me", revoke=made.id)
    stage.principals.disable(boss, made.principal.id)
    stage.principals.enable(boss, made.principal.id)
    stage.principals.revoke_key(boss, made.principal.id, fresh.id)
    stage.principals.set_roles(boss, made.principal.id, ["support"])
    with pytest.raises(ServiceError):
        stage.services.authentication.authenticate(
            Shown(
                authorization=f"Bearer {fresh.key}",
                request_id="req_" + "0" * 26,
                address="192.0.2.1",
                deadline=billing.deadline,
            )
        )
    # Guards: a honeytoken is touched with a key that was taken, and an alarm passes.
    trap = stage.customer()
    stage.honeytokens.plant(officer, [trap])
    stage.customers._honeytokens._read = None
    thief = stage.principals.create(boss, name=name("t"), roles=["support"])
    stage.customers.profile(caller_of(thief), trap)
    stage.honeytokens.lift(officer, [trap])
    alarms = present(stage.worker.alarms)
    with alarms._uow.begin() as tx:
        alarms.raise_in(tx, "key_overdue", "worker", key="records-card")
        alarms.clear_in(tx, "key_overdue", "worker", key="records-card")
    stage.key_rotation.begin("worker", "records-card")
    time.sleep(0.4)
    change_data(stage, customer)
    keep_account_data(stage, customer)
    stage.erasure.erase(billing, [token, NOWHERE])
    stage.housekeeping.sweep()
    stage.services.lifecycle.stopped()


def keep_account_data(stage: Stage, customer: str) -> None:
    """What is created while a customer is served."""
    draft = EntryDraft(customer=customer, at=datetime(2026, 3, 1, tzinfo=UTC), kind="signed_in")
    present(stage.services.activity).record(stage.caller("billing"), [draft], customer=customer)
    rebuilt(stage.worker.retention, periods={"activity_log": timedelta(days=1)}).run(
        threading.Event()
    )


def change_data(stage: Stage, customer: str) -> None:
    """Changes of the customer's data, in each way that they can go; and a link of two customers."""
    support, other = stage.caller("support"), stage.customer()
    changes, links = present(stage.services.modifications), present(stage.services.links)
    named = {"customer": customer, "ticket": name("T")}

    def asked(**value: object) -> str:
        (view,) = changes.open(support, [ModificationDraft(**(named | value))])
        assert isinstance(view, ModificationView)
        return view.id

    done = asked()
    changes.propose(support, done, data_class="telephone", value="+49 30 901822")
    changes.confirm(support, done, how="called_back")
    changes.apply(stage.caller("support-2"), done)
    changes.reject(support, asked(), reason="other")
    changes.withdraw(support, asked())
    late = asked()
    stage.sql("UPDATE modifications SET expires_at = now() WHERE id = %s", [late])
    taken = use(stage).take(Incoming(content=letter("nobody", "Please help")))
    waiting = present(stage.services.unassigned)
    waits = {each.message.id: each for each in waiting.page(support, cursor=None, limit=100).items}
    waiting.assign(support, waits[taken.reference].modification, customer)
    links.link(support, customer, other)
    links.unlink(support, customer, other)


@pytest.fixture(scope="module")
def day(stage: Stage) -> list[Entry]:
    """The entries of the day."""
    with stage.told() as entries:
        live(stage)
    return entries


def test_a6_everything_that_can_happen_is_told(day: list[Entry]) -> None:
    """No event of the list is missing, but for those whose use cases do not exist yet."""
    assert {event for event in Event if event not in LATER | ELSEWHERE} <= {
        entry.event for entry in day
    }
    assert LATER.isdisjoint(entry.event for entry in day)


def test_a6_every_entry_has_who_what_when_outcome_and_origin(
    stage: Stage, day: list[Entry]
) -> None:
    """PCI DSS 10.2.2, for each entry."""
    now = datetime.now(UTC)
    people = {stage.cast.id(each) for each in stage.cast.principals}
    for entry in day:
        assert entry.outcome in set(Outcome)
        assert now - timedelta(minutes=10) < entry.at <= now + timedelta(seconds=5)
        assert entry.origin.role in {"all", "worker"}
        if entry.actor.kind is ActorKind.PRINCIPAL:
            assert entry.actor.id in people or entry.event in {
                Event.CREDENTIAL_ROTATED,
                # What the holder of the taken key did.
                Event.CUSTOMER_READ,
                Event.CREDENTIAL_REVOKED,
                Event.ALARM_RAISED,
            }
            assert entry.actor.key is not None
            assert entry.request is not None
            assert entry.origin.address == "127.0.0.1"
        elif entry.actor.kind is ActorKind.SYSTEM:
            assert entry.origin.address == "local"
        else:
            assert (entry.event, entry.origin.address) == (
                Event.AUTHENTICATION_FAILED,
                "192.0.2.1",
            )
            assert entry.key is not None


def test_a6_every_entry_names_the_data_that_it_is_about(day: list[Entry]) -> None:
    """Tokens, customer, grant, principal or key, as its event's shape asks for."""
    about_data = ("tokens.", "customer.", "reveal.allowed", "disclosure.")
    for entry in day:
        for needed in SHAPES[entry.event].needs:
            assert getattr(entry, needed) not in (None, (), "")
        if entry.event.value.startswith(about_data):
            assert entry.tokens or entry.customer or entry.grant, entry.event
        if entry.event.value.startswith("principal."):
            assert entry.principal
        if entry.event.value.startswith("credential."):
            assert entry.principal
            assert entry.key


def test_a6_the_outcome_of_a_refusal_is_refused(day: list[Entry]) -> None:
    """And it has its reason."""
    refused = [entry for entry in day if entry.outcome is not Outcome.SUCCESS]
    assert {entry.event for entry in refused} == {
        Event.ACCESS_DENIED,
        Event.AUTHENTICATION_FAILED,
        Event.REVEAL_REFUSED,
        Event.TOKENS_ERASED,  # what a legal hold kept
    }
    assert all(entry.reason for entry in refused)


def test_a6_no_entry_holds_a_value(day: list[Entry]) -> None:
    """Neither number nor telephone nor name nor evidence."""
    text = b"\n".join(encode(entry) for entry in day).decode()
    for plain in PLAIN:
        assert plain not in text


def test_a6_all_that_any_test_has_left_is_readable(stage: Stage, day: list[Entry]) -> None:
    """The newest 5,000 rows decode, read by the worker's own login, in their one spelling."""
    from vault_service.ledger.entries import decode

    with stage.database.connect("vault_worker") as link:
        rows = link.execute(
            "SELECT id, bucket, entry FROM ledger_outbox ORDER BY id DESC LIMIT 5000"
        ).fetchall()
    assert len(rows) >= len(day)
    for entry_id, bucket, body in rows:
        entry = decode(bytes(body))
        assert encode(entry) == bytes(body)
        assert entry.id == str(entry_id)
        assert 0 <= bucket < 1024
