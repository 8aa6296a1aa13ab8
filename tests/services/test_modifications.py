"""Customers' changes: sealed at once, confirmed, applied; the token stays."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from keys.data_keys import WrappedKey
from keys.secret import Secret
from tests.support.whole import NOBODY, NOWHERE, YEAR, Stage, card, name, refusal, standing
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound, Unavailable
from vault_service.ledger.entries import Event
from vault_service.services import bindings
from vault_service.services.binding_ports import Binding, BoundRow
from vault_service.services.modifications import Modifications
from vault_service.services.proposals import ModificationDraft
from vault_service.services.tokenization import TokenizeItem
from vault_service.services.views import ModificationView

UNKNOWN = "mod_" + "0" * 28
OLD, NEW = "+49 30 901820", "+49 30 901899"


@pytest.fixture
def changes(stage: Stage) -> Modifications:
    """The use case."""
    assert stage.services.modifications is not None
    return stage.services.modifications


def telephone(stage: Stage, customer: str, number: str = OLD) -> str:
    """The token of a telephone."""
    (view,) = stage.tokenize(TokenizeItem(data_class="telephone", customer=customer, value=number))
    return view.id


def asked(changes: Modifications, stage: Stage, **draft: Any) -> ModificationView:
    """A change that support asked for."""
    plain = {"ticket": name("T"), "data_class": "telephone", "value": NEW}
    (view,) = changes.open(stage.caller("support"), [ModificationDraft(**(plain | draft))])
    assert isinstance(view, ModificationView), view
    return view


def refused(changes: Modifications, stage: Stage, **draft: Any) -> str:
    """The code with which a draft is refused."""
    plain = {"ticket": name("T"), "data_class": "telephone", "value": NEW}
    (problem,) = changes.open(stage.caller("support"), [ModificationDraft(**(plain | draft))])
    assert isinstance(problem, Exception), problem
    return problem.code


def applied(changes: Modifications, stage: Stage, change: str) -> ModificationView:
    """A change, confirmed by one and applied by another."""
    changes.confirm(stage.caller("support"), change, how="called_back")
    return changes.apply(stage.caller("support-2"), change)


def value_of(stage: Stage, token: str) -> object:
    """What a token reveals now."""
    grant = stage.granted(standing(token))
    return stage.revealed(stage.token(grant.id), token)[0]


def test_a_change_keeps_the_token_and_raises_the_version(
    stage: Stage, changes: Modifications
) -> None:
    """From a ticket to another value under the same token, with an entry for each step."""
    customer = stage.customer()
    token = telephone(stage, customer)
    lies = "SELECT envelope, wrapped_key FROM records WHERE token = %s"
    ((envelope, wrapped),) = stage.sql(lies, [token])
    with stage.told() as entries:
        change = asked(changes, stage, customer=customer)
        assert (change.state, change.token, change.version) == ("proposed", token, 2)
        assert change.second_person
        assert change.present != change.proposed
        done = applied(changes, stage, change.id)
    assert done.state == "applied"
    assert value_of(stage, token) == "+4930901899"
    ((now, rewrapped),) = stage.sql(lies, [token])
    assert now != envelope
    before, after = (
        stage.reveals._keys._unwrapping.unwrap(
            [WrappedKey(kek="records-contact", kek_version=1, ciphertext=each)]
        )[0]
        for each in (wrapped, rewrapped)
    )
    assert isinstance(before, Secret)
    assert isinstance(after, Secret)
    assert before.expose() != after.expose()
    read = stage.reading.get(stage.caller("billing"), token)
    assert (read.version, read.mask) == (2, change.proposed)
    told = [entry for entry in entries if entry.event.startswith("modification.")]
    assert [entry.event for entry in told] == [
        Event.MODIFICATION_OPENED,
        Event.MODIFICATION_CONFIRMED,
        Event.MODIFICATION_APPLIED,
    ]
    assert told[2].tokens == (token,)
    assert told[2].details == {
        "modification": change.id,
        "class": "telephone",
        "source": "ticket",
        "version": 2,
    }


def test_versions_tell_each_mask_and_its_time(stage: Stage, changes: Modifications) -> None:
    """Newest first, without a gap between them; the older value itself is gone."""
    customer = stage.customer()
    token = telephone(stage, customer)
    for number in (NEW, "+49 30 901877"):
        applied(changes, stage, asked(changes, stage, customer=customer, value=number).id)
    versions = stage.reading.versions(stage.caller("support"), token)
    assert [each.version for each in versions] == [3, 2, 1]
    assert [each.until for each in versions] == [None, versions[0].since, versions[1].since]
    assert [each.modification is None for each in versions] == [False, False, True]
    ((envelopes,),) = stage.sql(
        "SELECT count(envelope) FROM modifications WHERE token = %s", [token]
    )
    assert envelopes == 0


@pytest.mark.parametrize("token", [NOWHERE, "nonsense"])
def test_versions_of_nothing(stage: Stage, token: str) -> None:
    """An unknown token and a malformed one answer alike."""
    problem = refusal(lambda: stage.reading.versions(stage.caller("support"), token), NotFound)
    assert problem.code == "token_not_found"


def test_the_value_is_sealed_at_once(stage: Stage, changes: Modifications) -> None:
    """No column of the change holds the value in clear."""
    customer = stage.customer()
    telephone(stage, customer)
    change = asked(changes, stage, customer=customer)
    ((row,),) = stage.sql("SELECT m::text FROM modifications AS m WHERE id = %s", [change.id])
    assert "901899" not in row
    assert "30 90" not in row


def test_a_card_is_renewed_under_its_token(stage: Stage, changes: Modifications) -> None:
    """The same number with another expiry is a change; the card-shaped token stays."""
    customer = stage.customer()
    token = stage.card(customer, format="card")
    renewed = card(exp_year=YEAR + 2)
    change = asked(changes, stage, customer=customer, data_class="payment_card", value=renewed)
    applied(changes, stage, change.id)
    assert value_of(stage, token) == renewed
    read = stage.reading.get(stage.caller("billing"), token)
    assert read.mask["exp_year"] == YEAR + 2
    # It is found, and deduplicated, by what it is now.
    (again,) = stage.tokenize(
        TokenizeItem(data_class="payment_card", customer=customer, value=renewed, format="card")
    )
    assert (again.id, again.deduplicated) == (token, True)


def test_who_confirmed_a_card_does_not_apply_it(stage: Stage, changes: Modifications) -> None:
    """Neither through the use case nor past it, by the table's own rule."""
    customer = stage.customer()
    stage.card(customer)
    change = asked(
        changes, stage, customer=customer, data_class="payment_card", value=card(exp_month=1)
    )
    caller = stage.caller("support")
    changes.confirm(caller, change.id, how="in_person")
    problem = refusal(lambda: changes.apply(caller, change.id), Forbidden)
    assert problem.code == "second_person_needed"
    with stage.database.connect("vault_ingest") as link, pytest.raises(Exception, match="second"):
        link.execute(
            "SELECT * FROM apply_modification(%s::smallint, %s, %s)",
            [bucket(stage, change.id), change.id, caller.principal.id],
        )


def bucket(stage: Stage, change: str) -> int:
    """The bucket of a change."""
    ((found,),) = stage.sql("SELECT bucket FROM modifications WHERE id = %s", [change])
    return int(found)


def test_a_name_takes_one_person(stage: Stage, changes: Modifications) -> None:
    """What no thief gains by needs no second pair of eyes."""
    customer = stage.customer()
    stage.tokenize(TokenizeItem(data_class="business_name", customer=customer, value="Old Ltd"))
    change = asked(changes, stage, customer=customer, data_class="business_name", value="New Ltd")
    assert not change.second_person
    changes.confirm(stage.caller("support"), change.id, how="document")
    assert changes.apply(stage.caller("support"), change.id).state == "applied"


def test_a_message_is_read_by_a_person(stage: Stage, changes: Modifications) -> None:
    """Without a value a change waits until somebody says what it is."""
    customer = stage.customer()
    token = telephone(stage, customer)
    change = asked(changes, stage, customer=customer, data_class=None, value=None)
    assert (change.state, change.token, change.proposed) == ("open", None, None)
    support = stage.caller("support")
    problem = refusal(lambda: changes.confirm(support, change.id, how="document"), Conflict)
    assert problem.code == "modification_without_value"
    proposed = changes.propose(support, change.id, data_class="telephone", value=NEW)
    assert (proposed.state, proposed.token) == ("proposed", token)
    twice = refusal(
        lambda: changes.propose(support, change.id, data_class="telephone", value=NEW), Conflict
    )
    assert twice.code == "modification_step_done"
    applied(changes, stage, change.id)
    assert value_of(stage, token) == "+4930901899"


def test_a_bad_proposal_changes_nothing(stage: Stage, changes: Modifications) -> None:
    """The change waits on, and a good proposal is still taken."""
    customer = stage.customer()
    telephone(stage, customer)
    change = asked(changes, stage, customer=customer, data_class=None, value=None)
    support = stage.caller("support")
    for value, code in ((OLD, "value_unchanged"), ("12", "telephone_region_missing")):
        problem = refusal(
            lambda value=value: changes.propose(
                support, change.id, data_class="telephone", value=value
            ),
            InvalidInput,
        )
        assert problem.code == code
    assert changes.get(support, change.id).state == "open"


def test_the_same_change_under_one_ticket_is_one(stage: Stage, changes: Modifications) -> None:
    """A form sent twice opens one; under another ticket it is another."""
    customer = stage.customer()
    telephone(stage, customer)
    one, two = (asked(changes, stage, customer=customer, ticket="T-9") for _ in range(2))
    assert (one.id, two.created) == (two.id, False)
    assert asked(changes, stage, customer=customer).id != one.id
    waiting = asked(changes, stage, customer=customer, ticket="T-9", data_class=None, value=None)
    problem = refusal(
        lambda: changes.propose(
            stage.caller("support"), waiting.id, data_class="telephone", value=NEW
        ),
        Conflict,
    )
    assert problem.code == "modification_pending"


def test_a_change_overtaken_is_superseded(stage: Stage, changes: Modifications) -> None:
    """Of two pending changes of one record the one applied first ends the other."""
    customer = stage.customer()
    telephone(stage, customer)
    first = asked(changes, stage, customer=customer)
    second = asked(changes, stage, customer=customer, value="+49 30 901877")
    applied(changes, stage, first.id)
    support = stage.caller("support")
    assert changes.get(support, second.id).state == "superseded"
    problem = refusal(lambda: changes.confirm(support, second.id, how="document"), Conflict)
    assert problem.code == "modification_ended"


def test_two_who_apply_at_once_apply_once(stage: Stage, changes: Modifications) -> None:
    """One of several racers makes the version; the others hear that it is done."""
    customer = stage.customer()
    token = telephone(stage, customer)
    ready = [
        asked(changes, stage, customer=customer, value=f"+49 30 9018{n:02d}").id
        for n in range(30, 36)
    ]
    for change in ready:
        changes.confirm(stage.caller("support"), change, how="called_back")
    told: list[object] = []

    def apply(change: str) -> None:
        try:
            told.append(changes.apply(stage.caller("support-2"), change).state)
        except Conflict as problem:
            told.append(problem.code)

    racers = [threading.Thread(target=apply, args=(change,)) for change in ready for _ in range(2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert told.count("applied") == 1
    assert set(told) <= {"applied", "modification_ended", "record_changed"}
    assert stage.reading.get(stage.caller("support"), token).version == 2


def test_a_value_that_another_record_holds_is_refused(stage: Stage, changes: Modifications) -> None:
    """A customer's records differ; nothing is half done."""
    customer = stage.customer()
    token = telephone(stage, customer)
    telephone(stage, customer, NEW)
    change = asked(changes, stage, customer=customer, token=token)
    changes.confirm(stage.caller("support"), change.id, how="called_back")
    problem = refusal(lambda: changes.apply(stage.caller("support-2"), change.id), Conflict)
    assert problem.code == "value_already_recorded"
    assert value_of(stage, token) == "+4930901820"
    assert changes.get(stage.caller("support"), change.id).state == "confirmed"


def test_a_record_that_ended_is_not_changed(stage: Stage, changes: Modifications) -> None:
    """An erasure takes the proposed value and every older mask along."""
    customer = stage.customer()
    token = telephone(stage, customer)
    applied(changes, stage, asked(changes, stage, customer=customer).id)
    change = asked(changes, stage, customer=customer, value="+49 30 901877")
    changes.confirm(stage.caller("support"), change.id, how="called_back")
    stage.erasure.erase(stage.caller("billing"), [token])
    problem = refusal(lambda: changes.apply(stage.caller("support-2"), change.id), Conflict)
    assert problem.code == "modification_ended"
    ((left,),) = stage.sql(
        "SELECT count(*) FROM modifications WHERE token = %s"
        " AND (envelope IS NOT NULL OR (mask IS NOT NULL AND state = 'applied'))",
        [token],
    )
    assert left == 0
    ((versions,),) = stage.sql("SELECT count(*) FROM record_versions WHERE token = %s", [token])
    assert versions == 0


def test_a_record_past_its_end_is_not_changed(stage: Stage, changes: Modifications) -> None:
    """Expiry counts at once, before the worker has erased anything."""
    customer = stage.customer()
    token = telephone(stage, customer)
    change = asked(changes, stage, customer=customer)
    changes.confirm(stage.caller("support"), change.id, how="called_back")
    stage.sql("UPDATE records SET expires_at = now() WHERE token = %s", [token])
    problem = refusal(lambda: changes.apply(stage.caller("support-2"), change.id), Conflict)
    assert problem.code == "record_ended"
    stage.housekeeping.sweep()
    assert changes.get(stage.caller("support"), change.id).state == "superseded"


def test_a_version_that_somebody_forged_is_no_step(stage: Stage, changes: Modifications) -> None:
    """A proposal fits exactly the version that it was sealed for."""
    customer = stage.customer()
    token = telephone(stage, customer)
    change = asked(changes, stage, customer=customer)
    changes.confirm(stage.caller("support"), change.id, how="called_back")
    stage.sql("UPDATE records SET version = 5 WHERE token = %s", [token])
    problem = refusal(lambda: changes.apply(stage.caller("support-2"), change.id), Conflict)
    assert problem.code == "record_changed"


@pytest.mark.parametrize("whole", [True, False])
def test_a_hold_keeps_the_record_as_it_is(
    stage: Stage, changes: Modifications, *, whole: bool
) -> None:
    """What must be kept is not written over, whether the customer is held or the token."""
    customer = stage.customer()
    token = telephone(stage, customer)
    change = asked(changes, stage, customer=customer)
    changes.confirm(stage.caller("support"), change.id, how="called_back")
    table, column, named = ("customers", "id", customer) if whole else ("records", "token", token)
    stage.sql(f"UPDATE {table} SET held_until = 'infinity' WHERE {column} = %s", [named])  # noqa: S608
    problem = refusal(lambda: changes.apply(stage.caller("support-2"), change.id), Conflict)
    assert problem.code == "legal_hold"
    assert value_of(stage, token) == "+4930901820"
    stage.sql(f"UPDATE {table} SET held_until = NULL WHERE {column} = %s", [named])  # noqa: S608
    assert changes.apply(stage.caller("support-2"), change.id).state == "applied"


@pytest.mark.parametrize("rewrapped", [False, True])
def test_a_changed_record_is_bound_to_the_ledger(
    stage: Stage, changes: Modifications, *, rewrapped: bool
) -> None:
    """By the entry that proposed its value, or by the one that rewrapped it since."""
    customer = stage.customer()
    token = telephone(stage, customer)
    open_ = asked(changes, stage, customer=customer, data_class=None, value=None)
    changes.propose(stage.caller("support"), open_.id, data_class="telephone", value=NEW)
    if rewrapped:
        stage.sql("DELETE FROM rotations")
        stage.rotations.start(stage.caller("operator"), "records-contact")
        stage.rotation_work.run(threading.Event())
        stage.tokenization._data_keys.discard()
    applied(changes, stage, open_.id)
    ((entry, path, bucket, version, kek, number, wrapped, digest),) = stage.sql(
        "SELECT bound_by, bound_path, bucket, version, kek, kek_version, wrapped_key, envelope_hash"
        " FROM records WHERE token = %s",
        [token],
    )
    bound = BoundRow(
        bucket=bucket,
        token=token,
        version=version,
        wrapped=WrappedKey(kek=kek, kek_version=number, ciphertext=wrapped),
        envelope_hash=digest,
        binding=Binding(entry=entry, path=path),
    )
    ((committed,),) = stage.sql(
        "SELECT wrapped_keys FROM ledger_commitments WHERE id = %s"
        " UNION ALL SELECT wrapped_keys FROM ledger_leaves WHERE id = %s",
        [entry, entry],
    )
    assert bindings.root(bindings.leaf_of(bound), path) == bytes(committed)
    assert value_of(stage, token) == "+4930901899"


def test_a_rotation_is_waited_for(stage: Stage, changes: Modifications) -> None:
    """What lies under a version that may write no more is not applied before it is rewrapped."""
    customer = stage.customer()
    telephone(stage, customer)
    change = asked(changes, stage, customer=customer)
    changes.confirm(stage.caller("support"), change.id, how="called_back")
    begun = stage.key_rotation.begin("worker", "records-contact")
    problem = refusal(lambda: changes.apply(stage.caller("support-2"), change.id), Unavailable)
    assert problem.code == "rotation_under_way"
    # Keys that waited in the pool are of the old version: they are drawn anew.
    fresh = asked(changes, stage, customer=customer, value="+49 30 901877")
    assert applied(changes, stage, fresh.id).state == "applied"
    open_ = asked(changes, stage, customer=customer, data_class=None, value=None)
    stage.key_rotation.begin("worker", "records-contact", known=begun.to_version)
    changes.propose(
        stage.caller("support"), open_.id, data_class="telephone", value="+49 30 901878"
    )
    assert applied(changes, stage, open_.id).state == "applied"


def test_no_value_is_sealed_under_a_key_that_writes_no_more(
    stage: Stage, changes: Modifications
) -> None:
    """Where no newer data key can be had, nothing is opened and nothing proposed."""
    customer = stage.customer()
    telephone(stage, customer)
    waits = asked(changes, stage, customer=customer, data_class=None, value=None)
    before = stage.sql("SELECT min_version FROM key_floors WHERE key = 'records-contact'")
    stage.sql(
        "INSERT INTO key_floors VALUES ('records-contact', 99)"
        " ON CONFLICT (key) DO UPDATE SET min_version = 99"
    )
    try:
        problems = [
            refusal(lambda: asked(changes, stage, customer=customer), Unavailable),
            refusal(
                lambda: changes.propose(
                    stage.caller("support"), waits.id, data_class="telephone", value=NEW
                ),
                Unavailable,
            ),
        ]
    finally:
        stage.sql("DELETE FROM key_floors WHERE key = 'records-contact'")
        for (version,) in before:
            stage.sql("INSERT INTO key_floors VALUES ('records-contact', %s)", [version])
    assert [each.code for each in problems] == ["rotation_under_way"] * 2
    page = changes.page(
        stage.caller("support"), customer=customer, state=None, cursor=None, limit=10
    )
    assert [(each.id, each.state) for each in page.items] == [(waits.id, "open")]


def test_rejected_and_withdrawn_values_are_destroyed(stage: Stage, changes: Modifications) -> None:
    """Either way the sealed value goes at once, and Vault is not asked."""
    customer = stage.customer()
    telephone(stage, customer)
    support = stage.caller("support")
    rejected = asked(changes, stage, customer=customer)
    with stage.told(Event.MODIFICATION_REJECTED) as entries:
        view = changes.reject(support, rejected.id, reason="identity_not_confirmed")
    assert (view.state, view.reason) == ("rejected", "identity_not_confirmed")
    assert entries[0].details["why"] == "identity_not_confirmed"
    withdrawn = asked(changes, stage, customer=customer)
    assert changes.withdraw(support, withdrawn.id).state == "withdrawn"
    ((left,),) = stage.sql(
        "SELECT count(envelope) FROM modifications WHERE id = ANY(%s)",
        [[rejected.id, withdrawn.id]],
    )
    assert left == 0
    problem = refusal(lambda: changes.withdraw(support, withdrawn.id), Conflict)
    assert problem.code == "modification_ended"


def test_what_nobody_came_back_to_ends(stage: Stage, changes: Modifications) -> None:
    """Past its time a change counts as expired at once, and the worker destroys its value."""
    customer = stage.customer()
    telephone(stage, customer)
    change = asked(changes, stage, customer=customer)
    assert change.expires_at - change.created_at == timedelta(days=30)
    stage.sql("UPDATE modifications SET expires_at = now() WHERE id = %s", [change.id])
    support = stage.caller("support")
    problem = refusal(lambda: changes.confirm(support, change.id, how="document"), Conflict)
    assert problem.code == "modification_ended"
    with stage.told(Event.MODIFICATION_EXPIRED) as entries:
        swept = stage.housekeeping.sweep()
    assert swept is not None
    assert swept.changes == 1
    assert [entry.details["modification"] for entry in entries] == [change.id]
    ((left,),) = stage.sql("SELECT count(envelope) FROM modifications WHERE id = %s", [change.id])
    assert left == 0


def test_each_draft_of_a_batch_is_answered_alone(stage: Stage, changes: Modifications) -> None:
    """Good and bad ones side by side, in order."""
    customer = stage.customer()
    token = telephone(stage, customer)
    mail = {"data_class": "email_address", "value": "a@example.com"}
    drafts = [
        ModificationDraft(customer=customer, ticket="B", data_class="telephone", value=NEW),
        ModificationDraft(customer=NOBODY, ticket="B"),
        ModificationDraft(customer="nonsense", ticket="B"),
        ModificationDraft(customer=customer, ticket="", data_class="telephone", value=NEW),
        ModificationDraft(customer=customer, ticket="4242 4242 4242 4242"),
        ModificationDraft(customer=customer, ticket="B", data_class="telephone"),
        ModificationDraft(customer=customer, ticket="B", value=NEW),
        ModificationDraft(customer=customer, ticket="B", data_class="communication", value="x"),
        ModificationDraft(customer=customer, ticket="B", **mail),
        ModificationDraft(customer=customer, ticket="B", token=token, **mail),
        ModificationDraft(customer=customer, ticket="B", token=NOWHERE, **mail),
        ModificationDraft(customer=stage.customer(), ticket="B", token=token, **mail),
        ModificationDraft(customer=customer, ticket="B", token="nonsense", **mail),
        ModificationDraft(customer=customer, ticket="B", data_class="telephone", value=OLD),
    ]
    results = changes.open(stage.caller("support"), drafts)
    assert [getattr(result, "code", "fine") for result in results] == [
        "fine",
        "customer_not_found",
        "customer_malformed",
        "text_empty",
        "card_number_not_allowed_here",
        "modification_incomplete",
        "modification_incomplete",
        "class_unknown",
        "record_ambiguous",
        "class_differs",
        "token_not_found",
        "token_not_found",
        "token_malformed",
        "value_unchanged",
    ]
    for count in (0, 101):
        problem = refusal(
            lambda count=count: changes.open(stage.caller("support"), drafts[:1] * count),
            InvalidInput,
        )
        assert problem.code == "batch_size"


def test_several_records_of_a_class_are_told_apart(stage: Stage, changes: Modifications) -> None:
    """With two telephones the token must be named."""
    customer = stage.customer()
    token = telephone(stage, customer)
    telephone(stage, customer, "+49 30 901855")
    assert refused(changes, stage, customer=customer) == "record_ambiguous"
    assert asked(changes, stage, customer=customer, token=token).token == token


def test_a_part_of_the_service_opens_changes_too(stage: Stage, changes: Modifications) -> None:
    """The mail intake is no principal, and its entries say so."""
    customer = stage.customer()
    with stage.told(Event.MODIFICATION_OPENED) as entries:
        (view,) = changes.open("intake", [ModificationDraft(customer=customer, ticket="M-1")])
    assert isinstance(view, ModificationView)
    assert view.opened_by == "intake"
    assert entries[0].actor.id == "intake"


def test_changes_are_listed_by_customer_and_state(stage: Stage, changes: Modifications) -> None:
    """In pages, each change once."""
    stage.sql("DELETE FROM modifications")
    customer, other = stage.customer(), stage.customer()
    telephone(stage, customer)
    made = [asked(changes, stage, customer=customer).id for _ in range(3)]
    open_ = asked(changes, stage, customer=other, data_class=None, value=None).id
    support = stage.caller("support")

    def listed(**asked_for: Any) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            page = changes.page(
                support, **({"customer": None, "state": None} | asked_for), cursor=cursor, limit=2
            )
            found += [each.id for each in page.items]
            cursor = page.next
            if cursor is None:
                return found

    assert listed() == sorted([*made, open_])
    assert listed(customer=customer) == sorted(made)
    assert listed(state="open") == [open_]


@pytest.mark.parametrize(
    ("asked_for", "code"),
    [
        ({"state": "nonsense"}, "state_unknown"),
        ({"customer": "nonsense"}, "customer_malformed"),
        ({"cursor": "nonsense"}, "modification_malformed"),
        ({"limit": 0}, "limit_invalid"),
        ({"limit": 101}, "limit_invalid"),
    ],
)
def test_a_page_out_of_form_is_refused(
    stage: Stage, changes: Modifications, asked_for: dict[str, Any], code: str
) -> None:
    """Each with the code that says why."""
    plain = {"customer": None, "state": None, "cursor": None, "limit": 10}
    problem = refusal(
        lambda: changes.page(stage.caller("support"), **(plain | asked_for)), InvalidInput
    )
    assert problem.code == code


def test_words_come_from_lists(stage: Stage, changes: Modifications) -> None:
    """Neither the way of making sure nor the reason is free text."""
    change = asked(changes, stage, customer=stage.customer(), data_class=None, value=None)
    support = stage.caller("support")
    how = refusal(lambda: changes.confirm(support, change.id, how="he sounded right"), InvalidInput)
    why = refusal(lambda: changes.reject(support, change.id, reason="A. Customer"), InvalidInput)
    assert (how.code, why.code) == ("identity_unknown", "reason_unknown")


@pytest.mark.parametrize("change", [UNKNOWN, "nonsense"])
def test_unknown_changes_answer_alike(stage: Stage, changes: Modifications, change: str) -> None:
    """Whatever is asked of them."""
    support = stage.caller("support")
    for call in (
        lambda: changes.get(support, change),
        lambda: changes.confirm(support, change, how="document"),
        lambda: changes.apply(support, change),
        lambda: changes.withdraw(support, change),
        lambda: changes.propose(support, change, data_class="telephone", value=NEW),
    ):
        assert refusal(call, NotFound).code == "modification_not_found"


@pytest.mark.parametrize("who", ["billing", "requester", "officer-1", "auditor", "operator"])
def test_only_support_changes_data(stage: Stage, changes: Modifications, who: str) -> None:
    """No other role asks, decides or reads."""
    caller = stage.caller(who)
    for call in (
        lambda: changes.open(caller, [ModificationDraft(customer=NOBODY, ticket="T")]),
        lambda: changes.propose(caller, UNKNOWN, data_class="telephone", value=NEW),
        lambda: changes.confirm(caller, UNKNOWN, how="document"),
        lambda: changes.apply(caller, UNKNOWN),
        lambda: changes.reject(caller, UNKNOWN, reason="other"),
        lambda: changes.withdraw(caller, UNKNOWN),
        lambda: changes.get(caller, UNKNOWN),
        lambda: changes.page(caller, customer=None, state=None, cursor=None, limit=1),
    ):
        refusal(call, Forbidden)
