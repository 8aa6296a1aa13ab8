"""The activity log: added to, listed without a key, revealed by a grant alone, erased whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support.faults import rebuilt
from tests.support.whole import NOBODY, Stage, name, refusal, standing
from vault_service.errors import (
    Conflict,
    DisclosureRefused,
    Forbidden,
    InvalidInput,
    NotFound,
    Unavailable,
)
from vault_service.ledger.entries import Event
from vault_service.services import activity as module
from vault_service.services.activity import Activity, ActivityPage, EntryDraft, Recorded
from vault_service.services.holds import HoldDraft
from vault_service.services.reveal.work import ValueUnreadable

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
END = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
def log(stage: Stage) -> Activity:
    """The use case."""
    assert stage.services.activity is not None
    return stage.services.activity


def entries(customer: str, count: int, *, start: datetime = BEGIN, **more: Any) -> list[EntryDraft]:
    """Entries a minute apart."""
    plain: dict[str, Any] = {"kind": "signed_in", "details": "from 192.0.2.7"}
    return [
        EntryDraft(customer=customer, at=start + timedelta(minutes=number), **(plain | more))
        for number in range(count)
    ]


def kept(stage: Stage, log: Activity, customer: str, drafts: list[EntryDraft]) -> Recorded:
    """Entries that billing sends."""
    return log.record(stage.caller("billing"), drafts, customer=customer)


def listed(stage: Stage, log: Activity, customer: str, **how: Any) -> ActivityPage:
    """A page that support asks for."""
    plain: dict[str, Any] = {"begin": BEGIN, "end": END, "cursor": None, "limit": 1000}
    return log.page(stage.caller("support"), customer, **(plain | how))


def pages(stage: Stage, log: Activity, customer: str, limit: int) -> Iterator[ActivityPage]:
    """All pages of the month."""
    cursor = None
    while True:
        page = listed(stage, log, customer, limit=limit, cursor=cursor)
        yield page
        if page.next is None:
            return
        cursor = page.next


def test_entries_are_listed_and_their_words_are_not(stage: Stage, log: Activity) -> None:
    """Time and kind; nothing in the row but the envelope holds the words."""
    customer = stage.customer()
    with stage.told() as told:
        answer = kept(stage, log, customer, entries(customer, 3))
    assert (answer.recorded, len(answer.segments), answer.refused) == (3, 1, {})
    (entry,) = told
    assert (entry.event, entry.customer, entry.count) == (Event.ACTIVITY_RECORDED, customer, 3)
    assert entry.details == {"segments": 1, "refused": 0}
    assert "wrapped_keys" in entry.commitments
    with stage.told() as told:
        page = listed(stage, log, customer)
    assert [(each.at, each.kind) for each in page.items] == [
        (BEGIN + timedelta(minutes=number), "signed_in") for number in range(3)
    ]
    assert {each.segment for each in page.items} == set(answer.segments)
    assert [(each.event, each.count) for each in told] == [(Event.CUSTOMER_READ, 3)]
    ((row,),) = stage.sql(
        "SELECT s::text FROM activity_segments AS s WHERE id = %s", answer.segments
    )
    assert "192.0.2.7" not in row


def test_segments_are_cut_by_month_number_and_size(
    stage: Stage, log: Activity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is one value of one month that fits its format."""
    customer = stage.customer()
    monkeypatch.setattr(module, "SEGMENT_ENTRIES", 4)
    drafts = entries(customer, 6) + entries(customer, 2, start=END)
    assert len(kept(stage, log, customer, drafts).segments) == 3
    monkeypatch.setattr(module, "SEGMENT_ENTRIES", 256)
    long = entries(customer, 100, details="\u00e9" * 2000)
    answer = kept(stage, log, customer, long)
    assert answer.recorded == 100
    assert len(answer.segments) == 8
    assert len(listed(stage, log, customer).items) == 106


def test_pages_follow_each_other_without_gap_or_double(stage: Stage, log: Activity) -> None:
    """Whatever order entries came in, and however segments overlap; equal times too."""
    customer = stage.customer()
    day = timedelta(days=1)
    for drafts in (
        entries(customer, 30, start=BEGIN + 2 * day),
        entries(customer, 30),
        entries(customer, 30),  # the same times once more
        entries(customer, 1) + entries(customer, 1, start=END - day),  # reaches over all
        entries(customer, 30, start=BEGIN + day),
        entries(customer, 30, start=BEGIN + day + timedelta(minutes=15)),
    ):
        kept(stage, log, customer, drafts)
    whole = listed(stage, log, customer)
    assert whole.next is None
    times = [each.at for each in whole.items]
    assert len(times) == 152
    assert times == sorted(times)
    for limit in (1, 7, 50):
        found = list(pages(stage, log, customer, limit))
        assert [each for page in found for each in page.items] == list(whole.items)
        assert all(len(page.items) == limit for page in found[:-1])
    part = listed(stage, log, customer, begin=BEGIN + day, end=BEGIN + 2 * day)
    assert len(part.items) == 60


def test_a_page_reads_no_more_segments_than_it_needs(stage: Stage, log: Activity) -> None:
    """Of a long month only the beginning is unpacked."""
    customer = stage.customer()
    for number in range(20):
        drafts = entries(customer, 10, start=BEGIN + timedelta(hours=number))
        kept(stage, log, customer, drafts)
    with stage.services.activity._uow.begin(read_only=True) as tx:
        bucket = module.tokens.bucket_of(customer)
        heads = tx.activity.heads(bucket, customer, BEGIN, END, 16)
    assert len(heads) == 17
    # The first reaches over the start, so that nobody knows what is left of it.
    assert len(module._needed(heads, BEGIN, 16)) == 3


def test_the_last_month_is_listed_by_default(stage: Stage, log: Activity) -> None:
    """Without times it is what happened lately; times beyond the log are cut off."""
    customer = stage.customer()
    now = datetime.now(UTC)
    kept(stage, log, customer, entries(customer, 1, start=now - timedelta(days=40)))
    kept(stage, log, customer, entries(customer, 1, start=now - timedelta(days=3)))
    assert len(listed(stage, log, customer, begin=None, end=None).items) == 1
    least, most = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert len(listed(stage, log, customer, begin=least, end=most).items) == 2
    assert listed(stage, log, customer, begin=END, end=BEGIN).items == ()


def test_a_grant_reveals_a_segment(stage: Stage, log: Activity) -> None:
    """By its name, or by customer and class; each entry with its words."""
    customer = stage.customer()
    (segment,) = kept(
        stage, log, customer, [*entries(customer, 1), *entries(customer, 1, details=None)]
    ).segments
    value = [
        {"at": "2026-03-01T00:00:00Z", "kind": "signed_in", "details": "from 192.0.2.7"},
        {"at": "2026-03-01T00:00:00Z", "kind": "signed_in"},
    ]
    named = stage.token(stage.granted(standing(segment)).id)
    with stage.told(Event.REVEAL_ALLOWED) as told:
        assert stage.revealed(named, segment) == [value]
    assert [(entry.tokens, entry.count) for entry in told] == [((segment,), 2)]
    wide = stage.granted(standing(customer=customer, classes=("activity_log",)))
    assert stage.revealed(stage.token(wide.id), segment) == [value]


def test_a_grant_for_another_thing_reveals_none(stage: Stage, log: Activity) -> None:
    """Another class of the customer, another customer's segment, and no such segment."""
    customer, other = stage.customer(), stage.customer()
    (segment,) = kept(stage, log, customer, entries(customer, 1)).segments
    (foreign,) = kept(stage, log, other, entries(other, 1)).segments
    class_ = stage.token(stage.granted(standing(customer=customer, classes=("payment_card",))).id)
    problem = refusal(lambda: stage.reveal(class_, segment), DisclosureRefused)
    assert problem.code == "disclosure_scope_exceeded"
    mine = stage.token(stage.granted(standing(customer=customer, classes=("activity_log",))).id)
    for wrong in (foreign, "act_" + "0" * 30):
        problem = refusal(lambda wrong=wrong: stage.reveal(mine, wrong), DisclosureRefused)
        assert problem.code == "disclosure_scope_exceeded"
    unknown = standing("act_" + "0" * 30)
    problem = refusal(lambda: stage.granted(unknown), InvalidInput)
    assert problem.code == "token_not_found"


def test_a_reveal_counts_entries(stage: Stage, log: Activity) -> None:
    """At most 1,000 values are told at once, however few segments hold them."""
    customer = stage.customer()
    segments = [
        segment
        for _ in range(5)
        for segment in kept(stage, log, customer, entries(customer, 220)).segments
    ]
    grant = stage.granted(standing(customer=customer, classes=("activity_log",)))
    problem = refusal(lambda: stage.reveal(stage.token(grant.id), *segments), InvalidInput)
    assert problem.code == "batch_size"
    values = stage.revealed(stage.token(grant.id), *segments[:4])
    assert [len(value) for value in values if isinstance(value, list)] == [220] * 4


def test_a_row_that_says_less_than_it_holds_is_not_told(stage: Stage, log: Activity) -> None:
    """Whoever shortens the marks, so that less is counted, gets nothing."""
    customer = stage.customer()
    (segment,) = kept(stage, log, customer, entries(customer, 5)).segments
    stage.sql(
        "UPDATE activity_segments SET marks = substring(marks FOR 10) WHERE id = %s", [segment]
    )
    grant = stage.granted(standing(segment))
    (result,) = stage.reveal(stage.token(grant.id), segment).results
    assert isinstance(result, ValueUnreadable)


@pytest.mark.parametrize("column", ["customer", "month", "id"])
def test_a_segment_opens_in_its_place_only(stage: Stage, log: Activity, column: str) -> None:
    """Moved to another customer, month or name, the envelope does not open."""
    customer = stage.customer()
    one, other = (kept(stage, log, customer, entries(customer, 5)).segments[0] for _ in range(2))
    if column == "id":
        stage.sql(
            "UPDATE activity_segments AS s SET envelope = o.envelope, wrapped_key = o.wrapped_key"
            " FROM activity_segments AS o WHERE s.id = %s AND o.id = %s",
            [one, other],
        )
        grant = stage.granted(standing(one))
        (result,) = stage.reveal(stage.token(grant.id), one).results
        assert isinstance(result, ValueUnreadable)
        return
    change = {"customer": stage.customer(), "month": END.date()}[column]
    if column == "month":
        kept(stage, log, customer, entries(customer, 1, start=END))
    stage.sql(
        f"UPDATE activity_segments SET {column} = %s WHERE id = %s",  # noqa: S608
        [change, one],
    )
    grant = stage.granted(standing(other))
    problem = refusal(lambda: stage.reveal(stage.token(grant.id), one), DisclosureRefused)
    assert problem.code == "disclosure_scope_exceeded"


def test_items_are_refused_alone(stage: Stage, log: Activity) -> None:
    """By their places; what is good is kept, what is all bad writes an entry all the same."""
    customer = stage.customer()
    drafts = [
        *entries(customer, 1, kind="bought"),
        *entries(customer, 1),
        *entries(NOBODY, 1),
        *entries("nonsense", 1),
    ]
    answer = log.record(stage.caller("support"), drafts)
    assert answer.recorded == 1
    assert {place: error.code for place, error in answer.refused.items()} == {
        0: "activity_kind_unknown",
        2: "customer_not_found",
        3: "customer_malformed",
    }
    nothing = log.record(stage.caller("support"), drafts[:1])
    assert (nothing.recorded, nothing.segments) == (0, ())


def test_a_request_is_repeated_once(stage: Stage, log: Activity) -> None:
    """The same key and body give the first answer, refusals included; another body is told."""
    customer, other = stage.customer(), stage.customer()
    drafts = [*entries(customer, 2), *entries(NOBODY, 1), *entries(customer, 1, kind="no")]
    key = name("load")

    def send(body: bytes, whose: str | None = None) -> Recorded:
        return log.record(
            stage.caller("billing"), drafts, customer=whose, idempotency_key=key, body=body
        )

    first = send(b"{}")
    again = send(b"{}")
    assert (again.recorded, again.segments, again.replayed) == (2, first.segments, True)
    assert {place: (error.code, error.pointer) for place, error in again.refused.items()} == {
        place: (error.code, error.pointer) for place, error in first.refused.items()
    }
    assert len(listed(stage, log, customer).items) == 2
    for body, whose in ((b"[]", None), (b"{}", other)):
        problem = refusal(lambda body=body, whose=whose: send(body, whose), Conflict)
        assert problem.code == "idempotency_key_reused"


def test_two_at_once_with_one_key_write_once(stage: Stage, log: Activity) -> None:
    """The second waits for the first, and gets its answer."""
    customer, key = stage.customer(), name("load")
    found: list[Recorded] = []

    def send() -> None:
        found.append(log.record(stage.caller("billing"), entries(customer, 3), idempotency_key=key))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.replayed for each in found) == [False, True, True, True]
    assert len(listed(stage, log, customer).items) == 3


@pytest.mark.parametrize("count", [0, 1001])
def test_the_number_of_entries(stage: Stage, log: Activity, count: int) -> None:
    """None, or too many for one customer."""
    customer = stage.customer()
    drafts = entries(customer, count)
    assert refusal(lambda: kept(stage, log, customer, drafts), InvalidInput).code == "batch_size"


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"limit": 0}, "limit_invalid"),
        ({"limit": 1001}, "limit_invalid"),
        ({"cursor": "x"}, "cursor_invalid"),
        ({"cursor": "2026-03-01T00:00:00~act_" + "0" * 30 + "~1"}, "cursor_invalid"),
        ({"cursor": "2026-03-01T00:00:00+00:00~tok_" + "0" * 28 + "~1"}, "cursor_invalid"),
        ({"cursor": "2026-03-01T00:00:00+00:00~act_" + "0" * 30 + "~x"}, "cursor_invalid"),
        ({"cursor": "0001-01-01T00:00:00+14:00~act_" + "0" * 30 + "~1"}, "cursor_invalid"),
    ],
)
def test_a_page_that_cannot_be(stage: Stage, log: Activity, how: dict[str, Any], code: str) -> None:
    """Each with its code."""
    assert refusal(lambda: listed(stage, log, NOBODY, **how), InvalidInput).code == code


@pytest.mark.parametrize("customer", [NOBODY, "nonsense"])
def test_nobody_has_no_log(stage: Stage, log: Activity, customer: str) -> None:
    """An unknown customer and a malformed name answer alike; a silent one has an empty log."""
    problem = refusal(lambda: listed(stage, log, customer), NotFound)
    assert problem.code == "customer_not_found"
    assert listed(stage, log, stage.customer()).items == ()


@pytest.mark.parametrize("who", ["requester", "officer-1", "auditor", "operator"])
def test_others_neither_write_nor_read(stage: Stage, log: Activity, who: str) -> None:
    """Billing and support only."""
    customer = stage.customer()
    caller = stage.caller(who)
    assert refusal(lambda: log.record(caller, entries(customer, 1)), Forbidden)
    assert refusal(
        lambda: log.page(caller, customer, begin=None, end=None, cursor=None, limit=1), Forbidden
    )


def test_a_month_that_was_dropped_is_made_again(stage: Stage, log: Activity) -> None:
    """What a process remembers of the partitions may be old."""
    customer, start = stage.customer(), datetime(2003, 5, 1, tzinfo=UTC)
    kept(stage, log, customer, entries(customer, 1, start=start))
    stage.sql("DROP TABLE activity_segments_200305")
    assert kept(stage, log, customer, entries(customer, 1, start=start)).recorded == 1


def test_what_never_fits_ends(stage: Stage, log: Activity, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some tries it is the service's fault, and nothing was written."""
    customer = stage.customer()
    monkeypatch.setattr(log, "_make_room", lambda _months: None)
    drafts = entries(customer, 1, start=datetime(2004, 6, 1, tzinfo=UTC))
    assert refusal(lambda: kept(stage, log, customer, drafts), Unavailable)


def test_months_are_made_by_several_at_once(stage: Stage, log: Activity) -> None:
    """One makes it, the others find it made."""
    customer, start = stage.customer(), datetime(2005, 7, 1, tzinfo=UTC)
    problems: list[Exception] = []

    def send() -> None:
        try:
            log._open.clear()
            kept(stage, log, customer, entries(customer, 5, start=start))
        except Exception as error:  # noqa: BLE001 -- told by the assertion
            problems.append(error)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    page = listed(stage, log, customer, begin=start, end=start + timedelta(days=1))
    assert len(page.items) == 20


@pytest.mark.parametrize("month", ["1999-12-01", "2026-03-02", "2999-01-01"])
def test_no_room_is_made_for_what_is_no_month(stage: Stage, month: str) -> None:
    """The function itself refuses, whoever calls it."""
    with stage.database.connect("vault_ingest") as link, pytest.raises(psycopg.Error):
        link.execute("SELECT open_activity_month(%s)", [month])


def test_a_rotation_reaches_every_segment(stage: Stage, log: Activity) -> None:
    """Rewrapped and bound anew; writers follow the floor, and everything opens."""
    stage.sql("DELETE FROM activity_segments")  # what other stories have altered would halt it
    customer = stage.customer()
    drafts = entries(customer, 2) + entries(customer, 2, start=END)
    before = kept(stage, log, customer, drafts).segments
    stage.rotations.start(stage.caller("operator"), "records-account")
    rebuilt(stage.rotation_work, settle=timedelta(0)).run(threading.Event())
    # The pool still holds keys of the old version; the writer draws others.
    after = kept(stage, log, customer, entries(customer, 1)).segments
    wrapped = stage.sql(
        "SELECT kek_version, split_part(wrapped_key, ':', 2) FROM activity_segments"
    )
    assert len(wrapped) == 3
    assert {f"v{version}" == text for version, text in wrapped} == {True}
    assert len({version for version, _ in wrapped}) == 1
    grant = stage.granted(standing(customer=customer, classes=("activity_log",)))
    values = stage.revealed(stage.token(grant.id), *before, *after)
    assert [len(value) for value in values if isinstance(value, list)] == [2, 2, 1]


def test_an_erased_customer_leaves_no_activity(stage: Stage, log: Activity) -> None:
    """All months; a hold keeps them while it stands; the certificate counts the segments."""
    customer, other = stage.customer(), stage.customer()
    drafts = entries(customer, 2) + entries(customer, 2, start=END)
    kept(stage, log, customer, drafts)
    kept(stage, log, other, entries(other, 1))
    draft = HoldDraft(customer=customer, tokens=None, reason="a claim", reference="C-1", until=None)
    hold = stage.holds.place(stage.caller("officer-1"), draft)
    stage.erasures.request(stage.caller("officer-1"), customer)
    held = refusal(lambda: stage.erasures.confirm(stage.caller("officer-2"), customer), Conflict)
    assert held.code == "legal_hold"
    stage.holds.release(stage.caller("officer-2"), hold.id, reason="settled")
    stage.erasures.confirm(stage.caller("officer-2"), customer)
    late = kept(stage, log, customer, entries(customer, 1))
    assert [error.code for error in late.refused.values()] == ["customer_not_found"]
    worker = rebuilt(stage.erasing, settle=timedelta(0))
    with stage.told(Event.TOKENS_ERASED) as told:
        for _ in range(2):
            worker.run(threading.Event())
    assert {name[:4] for entry in told for name in entry.tokens} == {"act_"}
    done = stage.erasures.get(stage.caller("auditor"), customer)
    assert (done.row.state, done.row.records) == ("done", 2)
    ((left,),) = stage.sql("SELECT count(*) FROM activity_segments WHERE customer = %s", [customer])
    assert left == 0
    assert len(listed(stage, log, other).items) == 1


def test_an_erasure_waits_for_what_is_left(stage: Stage, log: Activity) -> None:
    """Activity that came while it ran is found by the last look."""
    customer = stage.customer()
    kept(stage, log, customer, entries(customer, 2))
    stage.erasures.request(stage.caller("officer-1"), customer)
    stage.erasures.confirm(stage.caller("officer-2"), customer)
    worker = rebuilt(stage.erasing, settle=timedelta(0))
    worker.run(threading.Event())
    bucket = module.tokens.bucket_of(customer)
    stage.sql(
        "INSERT INTO activity_segments (bucket, month, id, customer, first_at, last_at, marks,"
        " envelope, wrapped_key, kek, kek_version) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'w',"
        " 'records-account', 1)",
        [
            bucket, BEGIN.date(), module.tokens.new_segment_id(bucket, BEGIN.date()), customer,
            BEGIN, BEGIN, bytes(10), b"x",
        ],
    )  # fmt: skip
    worker._conclude(module.tokens.bucket_of(customer), customer)
    row = stage.erasures.get(stage.caller("auditor"), customer).row
    assert row.state == "running"
    for _ in range(2):
        worker.run(threading.Event())
    assert stage.erasures.get(stage.caller("auditor"), customer).row.state == "done"
