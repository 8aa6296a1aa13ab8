"""Communications: kept as they come, sealed, listed by their outside, erased with their keys."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from keys.errors import VaultUnavailable
from tests.support.communications import OUTSIDE, chunks, keep, message, uploads
from tests.support.faults import (
    CountingDataKeys,
    FaultyUnitOfWork,
    Hooked,
    NoDataKeys,
    rebuilt,
)
from tests.support.holds import placed
from tests.support.whole import NOBODY, Stage, name, refusal
from vault_service.domain.communications import Direction
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound, Unavailable
from vault_service.ledger.entries import Event
from vault_service.services.binding_check import BindingCheck
from vault_service.services.communications import (
    AT_ONCE,
    LONGEST_UPLOAD,
    MAX_COMMUNICATION,
    Delivery,
)
from vault_service.services.housekeeping import UPLOADS
from vault_service.services.views import TokenView
from vault_service.storage import engine as engines
from vault_service.storage.unit_of_work import SqlUnitOfWork

LARGE = AT_ONCE * 64 * 1024 + 1


@pytest.fixture(autouse=True)
def nothing_waits(stage: Stage) -> None:
    """No test finds uploads that another one left."""
    stage.sql("DELETE FROM communications WHERE kept_at IS NULL")


def test_a_communication_is_a_record(stage: Stage, customer: str) -> None:
    """A token in the customer's bucket, a mask, one entry; neither subject nor address in clear."""
    content = message(100)
    with stage.told() as entries:
        view = keep(stage, customer, content)
    assert (view.data_class, view.customer, view.version) == ("communication", customer, 1)
    assert view.mask == {
        "direction": "inbound",
        "kind": "email",
        "media_type": "message/rfc822",
        "size": len(content),
        "from": "a***@example.com",
        "to": ["s***@company.example"],
    }
    (entry,) = entries
    assert (entry.event, entry.tokens, entry.customer) == (
        Event.TOKENS_CREATED,
        (view.id,),
        customer,
    )
    assert entry.details["class"] == "communication"
    assert set(entry.commitments) == {"wrapped_keys"}
    (row,) = stage.sql("SELECT r::text FROM records AS r WHERE token = %s", [view.id])
    for plain in ("alice@", "support@", "secret-subject"):
        assert plain not in row[0] + str(entry)
    (sealed,) = stage.sql(
        "SELECT string_agg(sealed, '') FROM communication_chunks WHERE token = %s", [view.id]
    )
    assert b"secret" not in bytes(sealed[0])


@pytest.mark.parametrize("size", [0, 64 * 1024, LARGE, MAX_COMMUNICATION])
def test_every_size_is_kept(stage: Stage, customer: str, size: int) -> None:
    """Of nothing, of whole chunks, of several batches, of 25 MiB."""
    view = keep(stage, customer, message(max(0, size - 100)) if size else b"")
    assert chunks(stage, view.id) == (view.mask["size"] // (64 * 1024)) + 1  # type: ignore[operator]
    assert uploads(stage) == 0


@pytest.mark.parametrize("size", [0, LARGE])
def test_the_same_original_is_one_communication(stage: Stage, customer: str, size: int) -> None:
    """Of one customer; another's is his own."""
    content = message(size)
    first = keep(stage, customer, content)
    with stage.told() as entries:
        again = keep(stage, customer, b"Received: once more\r\n" + content)
    assert (again.id, again.deduplicated, first.deduplicated) == (first.id, True, False)
    assert entries[0].details["deduplicated"] == 1
    assert not entries[0].commitments
    assert keep(stage, stage.customer(), content).id != first.id
    assert keep(stage, customer, content, envelope=replace(
        OUTSIDE, direction=Direction.OUTBOUND)).id != first.id  # fmt: skip
    assert uploads(stage) == 0


def test_a_delivery_is_known_by_mailbox_message_id_and_content(stage: Stage, customer: str) -> None:
    """Nobody who guesses a Message-ID has the real message taken for a repetition."""
    content, twin = message(), message()
    delivery = Delivery(mailbox="support@company.example", message_id="<1@example.com>")
    first = keep(stage, customer, content, by="intake", delivery=delivery)
    assert keep(stage, customer, content, by="intake", delivery=delivery).id == first.id
    for other, how in (
        (twin, delivery),
        (content, replace(delivery, mailbox="sales@company.example")),
        (content, replace(delivery, message_id="<2@example.com>")),
        (content, None),
    ):
        assert keep(stage, customer, other, by="intake", delivery=how).id != first.id


def test_two_deliveries_at_once_are_one(stage: Stage, customer: str) -> None:
    """The second waits for the first, and finds it."""
    content = message(LARGE)
    start = threading.Barrier(4)

    def deliver(_: int) -> TokenView:
        start.wait()
        return keep(stage, customer, content)

    with ThreadPoolExecutor(4) as pool:
        views = list(pool.map(deliver, range(4)))
    assert len({view.id for view in views}) == 1
    assert [view.deduplicated for view in views].count(False) == 1
    assert uploads(stage) == 0


def test_unknown_senders_gather_under_customers_of_their_own(stage: Stage) -> None:
    """Each sender under his own; under a new one, when the first was erased."""
    sender = f"{name()}@example.com"
    envelope = replace(OUTSIDE, sender=sender)
    with stage.told(Event.CUSTOMER_CREATED) as entries:
        first = keep(stage, None, message(), by="intake", envelope=envelope)
    assert [entry.customer for entry in entries] == [first.customer]
    assert entries[0].actor.id == "intake"
    shouted = replace(envelope, sender=sender.replace("example", "EXAMPLE"))
    assert keep(stage, None, message(), envelope=shouted).customer == first.customer
    assert keep(stage, None, message(), by="intake").customer != first.customer
    nobody = replace(OUTSIDE, sender=None)
    assert keep(stage, None, message(), envelope=nobody).customer != first.customer
    stage.sql("UPDATE customers SET erased_at = now() WHERE id = %s", [first.customer])
    later = keep(stage, None, message(), by="intake", envelope=envelope)
    assert later.customer != first.customer
    assert keep(stage, None, message(), envelope=envelope).customer == later.customer


@pytest.mark.parametrize("who", ["requester", "officer-1", "auditor", "operator"])
def test_only_billing_and_support_bring_and_list_them(
    stage: Stage, customer: str, who: str
) -> None:
    """Whoever decides on disclosures brings nothing in."""
    refusal(lambda: keep(stage, customer, message(), by=who), Forbidden)
    refusal(
        lambda: stage.communications.page(stage.caller(who), customer, cursor=None, limit=1),
        Forbidden,
    )


@pytest.mark.parametrize("size", [0, LARGE])
def test_a_customer_who_is_gone_gets_none(stage: Stage, size: int) -> None:
    """Neither one who never was nor one who goes while the original comes."""
    assert refusal(lambda: keep(stage, NOBODY, message()), NotFound).code == "customer_not_found"
    assert refusal(lambda: keep(stage, "cus_x", message())).code == "customer_malformed"
    leaving = stage.customer()

    def content() -> Iterator[bytes]:
        yield message(size)
        stage.sql("UPDATE customers SET erased_at = now() WHERE id = %s", [leaving])
        yield b"."

    refusal(lambda: keep(stage, leaving, content()), NotFound)
    assert uploads(stage) == 0


# ---------------------------------------------------------------- failures


def broken(size: int) -> Iterator[bytes]:
    """An original whose sender goes away."""
    yield message(size)
    raise InvalidInput("the body ends too early", code="body_incomplete")


@pytest.mark.parametrize("size", [0, LARGE])
def test_what_breaks_off_leaves_nothing(stage: Stage, customer: str, size: int) -> None:
    """Neither chunks nor record nor entry."""
    with stage.told() as entries:
        assert refusal(lambda: keep(stage, customer, broken(size))).code == "body_incomplete"
    assert entries == []
    assert uploads(stage) == 0


def test_one_byte_more_than_25_mib_is_refused(stage: Stage, customer: str) -> None:
    """And nothing of it stays."""
    pieces = (bytes(1024 * 1024) for _ in range(26))
    error = refusal(lambda: keep(stage, customer, pieces), InvalidInput)
    assert error.code == "communication_too_large"
    assert uploads(stage) == 0


def test_who_sends_slowly_is_cut_off(stage: Stage, customer: str) -> None:
    """After ten minutes, wherever the original is by then."""
    times = iter([0.0, 0.0, LONGEST_UPLOAD.total_seconds() + 1])
    slow = rebuilt(stage.communications, clock=lambda: next(times))
    error = refusal(
        lambda: slow.keep(
            stage.caller("support"), customer=customer, envelope=OUTSIDE, content=[b"a", b"b"]
        )
    )
    assert error.code == "request_timeout"


def test_vault_away_keeps_nothing(stage: Stage, customer: str) -> None:
    """Without a data key nothing is read."""
    without = rebuilt(stage.communications, data_keys=NoDataKeys())
    with pytest.raises(VaultUnavailable):
        without.keep("intake", customer=customer, envelope=OUTSIDE, content=broken(0))


@pytest.mark.parametrize(
    ("at", "fails", "code"),
    [
        ("before", 1, "database_unavailable"),
        ("instead", 2, "database_unavailable"),
        ("after", 1, "commit_unknown"),
    ],
)
def test_a_database_that_fails_leaves_it_to_housekeeping(
    stage: Stage, customer: str, at: str, fails: int, code: str
) -> None:
    """Chunks that could not be deleted at once have no key, and go with the next sweep."""
    lost = rebuilt(
        stage.communications, uow=FaultyUnitOfWork(stage.communications._uow, at=at, times=fails)
    )
    error = refusal(
        lambda: lost.keep("intake", customer=customer, envelope=OUTSIDE, content=[message(LARGE)]),
        Unavailable,
    )
    assert error.code == code
    stage.sql("UPDATE communications SET started_at = now() - interval '2 hours'"
              " WHERE kept_at IS NULL")  # fmt: skip
    stage.housekeeping.sweep()
    assert uploads(stage) == 0
    assert stage.communications.page(
        stage.caller("support"), customer, cursor=None, limit=9
    ).items == ()  # fmt: skip


def test_a_commit_that_was_not_confirmed_is_found_by_the_next_try(
    stage: Stage, customer: str
) -> None:
    """Exactly once, however often it is sent."""
    content = message()
    lost = rebuilt(
        stage.communications, uow=FaultyUnitOfWork(stage.communications._uow, at="after")
    )
    error = refusal(
        lambda: lost.keep("intake", customer=customer, envelope=OUTSIDE, content=[content])
    )
    assert error.code == "commit_unknown"
    assert keep(stage, customer, content).deduplicated


@pytest.mark.parametrize("size", [0, LARGE])
def test_a_process_that_dies_leaves_nothing_to_be_seen(
    stage: Stage, customer: str, size: int
) -> None:
    """What an upload has stored is no communication, and is purged after its time."""

    class Dies(BaseException):
        """No more statement runs."""

    def content() -> Iterator[bytes]:
        yield message(size * 2)
        raise Dies

    uow = stage.communications._uow
    dead: list[bool] = []

    def before(_read_only: object) -> None:
        if dead:
            raise Unavailable("dead", code="database_unavailable")

    def dying() -> Iterator[bytes]:
        try:
            yield from content()
        except Dies:
            dead.append(True)
            raise

    process = rebuilt(stage.communications, uow=Hooked(uow, before=before))
    with pytest.raises(Dies):
        process.keep("intake", customer=customer, envelope=OUTSIDE, content=dying())
    assert uploads(stage) == bool(size)
    stage.housekeeping.sweep()
    assert uploads(stage) == bool(size)
    stage.sql("UPDATE communications SET started_at = now() - interval '61 minutes'"
              " WHERE kept_at IS NULL")  # fmt: skip
    assert stage.housekeeping.sweep().uploads == bool(size)  # type: ignore[union-attr]


@pytest.mark.parametrize("tail", [0, LARGE])
def test_an_upload_that_was_purged_meanwhile_is_refused(
    stage: Stage, customer: str, tail: int
) -> None:
    """Half of an original is never kept."""

    def content() -> Iterator[bytes]:
        yield message(2 * LARGE)
        stage.sql("DELETE FROM communications WHERE kept_at IS NULL")
        yield bytes(tail)

    assert refusal(lambda: keep(stage, customer, content())).code == "upload_ended"


def test_a_rotation_meanwhile_asks_for_another_try(stage: Stage, customer: str) -> None:
    """A data key of before a rotation seals nothing that is kept."""
    keys = CountingDataKeys(stage.communications._data_keys)
    service = rebuilt(stage.communications, data_keys=keys)
    ((floor,),) = stage.sql(
        "SELECT coalesce(max(min_version), 0) FROM key_floors WHERE key = 'records-communication'"
    )
    stage.sql(
        "INSERT INTO key_floors (key, min_version) VALUES ('records-communication', 99)"
        " ON CONFLICT (key) DO UPDATE SET min_version = 99"
    )
    try:
        error = refusal(
            lambda: service.keep(
                "intake", customer=customer, envelope=OUTSIDE, content=[message()]
            ),
            Unavailable,
        )
    finally:
        stage.sql(
            "UPDATE key_floors SET min_version = %s WHERE key = 'records-communication'", [floor]
        )
    assert error.code == "data_key_retired"
    assert keys.discarded == ["records-communication"]


# ---------------------------------------------------------------- listing


def test_a_customers_communications_are_listed_newest_first(stage: Stage, customer: str) -> None:
    """Page by page; each page is an entry."""
    support = stage.caller("support")
    kept = [keep(stage, customer, message()).id for _ in range(5)][::-1]
    keep(stage, stage.customer(), message())
    found: list[str] = []
    cursor = None
    with stage.told() as entries:
        for size in (2, 2, 1):
            page = stage.communications.page(support, customer, cursor=cursor, limit=2)
            assert len(page.items) == size
            found += [view.id for view in page.items]
            cursor = page.next
    assert (found, cursor) == (kept, None)
    assert [(entry.event, entry.count) for entry in entries] == [
        (Event.CUSTOMER_READ, 2), (Event.CUSTOMER_READ, 2), (Event.CUSTOMER_READ, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "1.x", "x.tok_" + "0" * 28, "9" * 40 + ".tok_" + "0" * 28, "tok_" + "0" * 28],
)
def test_a_cursor_is_one_that_was_given_out(stage: Stage, customer: str, cursor: str) -> None:
    """Anything else is refused; so are wrong limits and unknown customers."""
    support = stage.caller("support")
    page = stage.communications.page
    assert refusal(lambda: page(support, customer, cursor=cursor, limit=1)).code == "cursor_invalid"
    assert refusal(lambda: page(support, customer, cursor=None, limit=0)).code == "limit_invalid"
    assert refusal(lambda: page(support, "x", cursor=None, limit=1)).code == "customer_not_found"
    assert refusal(lambda: page(support, NOBODY, cursor=None, limit=1)).code == "customer_not_found"


# ---------------------------------------------------------------- the end


def test_an_erasure_destroys_key_and_chunks(stage: Stage, customer: str) -> None:
    """The key at once, the chunks with the next sweep; the listing knows it no more."""
    view = keep(stage, customer, message(LARGE))
    assert stage.erasure.erase(stage.caller("billing"), [view.id]) == [None]
    (row,) = stage.sql(
        "SELECT envelope, wrapped_key, mask::text FROM records WHERE token = %s", [view.id]
    )
    assert row == (None, None, "{}")
    page = stage.communications.page(stage.caller("support"), customer, cursor=None, limit=9)
    assert page.items == ()
    assert chunks(stage, view.id) > 0
    stage.housekeeping.sweep()
    assert chunks(stage, view.id) == 0


def test_a_hold_keeps_a_communication(stage: Stage, customer: str) -> None:
    """Neither key nor chunks go while it stands."""
    view = keep(stage, customer, message())
    hold = placed(stage, customer, tokens=[view.id])
    (result,) = stage.erasure.erase(stage.caller("billing"), [view.id])
    assert isinstance(result, Conflict)
    stage.housekeeping.sweep()
    assert chunks(stage, view.id) == 1
    stage.holds.release(stage.caller("officer-2"), hold.id, "closed")
    assert stage.erasure.erase(stage.caller("billing"), [view.id]) == [None]


def test_an_expired_communication_goes_and_makes_room(stage: Stage, customer: str) -> None:
    """By the purge, or because the same original comes again."""
    content = message()
    first = keep(stage, customer, content)
    stage.sql("UPDATE records SET expires_at = now() WHERE token = %s", [first.id])
    with stage.told() as entries:
        second = keep(stage, customer, content)
    assert second.id != first.id
    assert {entry.event for entry in entries} == {Event.TOKENS_EXPIRED, Event.TOKENS_CREATED}
    stage.sql("UPDATE records SET expires_at = now() WHERE token = %s", [second.id])
    stage.housekeeping.sweep()
    stage.housekeeping.sweep()
    assert chunks(stage, first.id) + chunks(stage, second.id) == 0


def test_a_customers_erasure_ends_when_the_chunks_are_gone(stage: Stage) -> None:
    """The certificate comes after the purge, and counts the communications."""
    leaving = stage.customer()
    kept = [keep(stage, leaving, message()) for _ in range(UPLOADS + 1)]
    stage.card(leaving)
    stage.erasures.request(stage.caller("officer-1"), leaving)
    stage.erasures.confirm(stage.caller("officer-2"), leaving)
    erasing = rebuilt(stage.erasing, settle=timedelta(0))
    with stage.told(Event.CUSTOMER_ERASED) as entries:
        erasing.run(threading.Event())
        erasing.run(threading.Event())
    # Customers of earlier stories may end meanwhile.
    assert leaving not in {entry.customer for entry in entries}
    stage.housekeeping.run(threading.Event())
    assert sum(chunks(stage, view.id) for view in kept) == 0
    with stage.told(Event.CUSTOMER_ERASED) as entries:
        for _ in range(3):
            erasing.run(threading.Event())
    assert [each.count for each in entries if each.customer == leaving] == [len(kept) + 1]


def test_the_comparison_with_the_ledger_knows_communications(stage: Stage, customer: str) -> None:
    """A header that was exchanged is found as any envelope is."""
    view = keep(stage, customer, message())
    owner = SqlUnitOfWork(
        engines.create(stage.database.owner_url, application_name="test", pool_size=1)
    )
    assert view.id not in {each.subject for each in BindingCheck(uow=owner).run().findings}
    stage.sql(
        "UPDATE records SET envelope = set_byte(envelope, 9, 255 - get_byte(envelope, 9))"
        " WHERE token = %s",
        [view.id],
    )
    assert ("wrapped_key_substituted", view.id) in {
        (each.code, each.subject) for each in BindingCheck(uow=owner).run().findings
    }
    stage.erasure.erase(stage.caller("billing"), [view.id])
    owner.close()
