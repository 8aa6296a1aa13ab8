"""Records: deduplication, expiry, erasure, look-ups."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from keys.data_keys import WrappedKey
from tests.storage import build
from tests.storage.build import BUCKET, Units
from tests.support.servers import Database
from vault_service.services.ports import RowRefused
from vault_service.services.record_ports import MaskedRecord, NewRecord, TokenTaken

SOON = timedelta(seconds=0.05)


def _put(units: Units, *offered: NewRecord) -> dict[int, MaskedRecord]:
    with units.ingest.begin() as tx:
        return {found.index: found.record for found in tx.records.upsert(offered)}


def _get(units: Units, token: str) -> MaskedRecord | None:
    with units.ingest.begin(read_only=True) as tx:
        return tx.records.masked([(BUCKET, token)]).get(token)


def _expire(database: Database, token: str) -> None:
    with database.connect() as connection:
        connection.execute(
            "UPDATE records SET expires_at = now() - interval '1 second' WHERE token = %s", (token,)
        )


def test_an_offered_record_is_read_back_as_it_was_written(units: Units) -> None:
    """Every masked column survives, and the index tells which offer it answers."""
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    offered = build.record(
        build.customer(units.ingest),
        "whole",
        metadata={"plan": "gold", "note": "Zoë ☃"},
        reference="inv-17",
        expires_at=until,
        format="card",
    )
    (stored,) = _put(units, offered).values()
    assert stored.token == offered.token
    assert (stored.metadata, stored.reference) == ({"plan": "gold", "note": "Zoë ☃"}, "inv-17")
    assert (stored.mask, stored.format, stored.version) == (offered.mask, "card", 1)
    assert stored.expires_at == until
    assert stored.created_at.tzinfo is not None
    assert _get(units, offered.token) == stored


def test_live_names_are_those_that_can_be_read(database: Database, units: Units) -> None:
    """One name or many: what is expired, unknown or a segment that is not there is left out."""
    customer = build.customer(units.ingest)
    kept, gone = build.record(customer, "kept"), build.record(customer, "gone")
    _put(units, kept, gone)
    _expire(database, gone.token)
    segment = "act_" + "0" * 30
    with units.ingest.begin(read_only=True) as tx:
        names = [(BUCKET, name) for name in (kept.token, gone.token, "tok_none", segment)]
        assert tx.records.ask_live(names)() == {kept.token} == tx.records.masked(names).keys()
        assert tx.records.ask_live(names[:1])() == {kept.token}
        assert tx.records.ask_live(names[1:2])() == tx.records.ask_live([])() == set()


def test_an_equal_value_is_found_and_not_stored_again(units: Units) -> None:
    """The second offer answers with the first one's token."""
    customer = build.customer(units.ingest)
    first, second = build.record(customer, "same"), build.record(customer, "same")
    other_variant = build.record(customer, "same", variant="card:2031-01")
    other_class = build.record(customer, "same", data_class="telephone")
    _put(units, first)
    found = _put(units, build.record(customer, "fresh"), second, other_variant, other_class)
    assert found[1].token == first.token
    assert found[2].token == other_variant.token
    assert found[3].token == other_class.token
    assert _get(units, second.token) is None


def test_customers_do_not_share_records(units: Units) -> None:
    """The same value of two customers is two records."""
    one, two = (build.record(build.customer(units.ingest), "shared") for _ in range(2))
    found = _put(units, one, two)
    assert (found[0].token, found[1].token) == (one.token, two.token)


def test_deduplication_survives_a_race(units: Units) -> None:
    """Sixteen writers of one value, in batches of opposite order, agree on one token."""
    customer = build.customer(units.ingest)
    values = [f"race-{number}" for number in range(20)]
    barrier = threading.Barrier(16)

    def write(writer: int) -> dict[str, str]:
        mine = values if writer % 2 else values[::-1]
        offered = [build.record(customer, value) for value in mine]
        barrier.wait()
        return {mine[index]: found.token for index, found in _put(units, *offered).items()}

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(write, range(16)))
    assert all(answer == answers[0] for answer in answers)
    assert len(set(answers[0].values())) == 20


def test_a_repeated_key_in_one_batch_is_a_fault_of_the_caller(units: Units) -> None:
    """Merging equal items is the use case's part."""
    customer = build.customer(units.ingest)
    with pytest.raises(ValueError, match="twice"):
        _put(units, build.record(customer, "x"), build.record(customer, "x"))


def test_an_unknown_customer_drops_only_its_item(units: Units) -> None:
    """The others of the batch are stored."""
    found = _put(
        units,
        build.record("cus_unknown", "a"),
        build.record(build.customer(units.ingest), "a"),
    )
    assert list(found) == [1]


def test_a_lower_key_version_than_the_floor_is_not_stored(units: Units) -> None:
    """A data key that waited in a pool through a rotation seals nothing any more."""
    customer = build.customer(units.ingest)
    with units.worker.begin() as tx:
        tx.floors.put("records-floored", 3)
        tx.floors.put("records-floored", 2)
    old, new = (
        WrappedKey(kek="records-floored", kek_version=version, ciphertext=f"vault:v{version}:x")
        for version in (2, 3)
    )
    found = _put(
        units,
        build.record(customer, "low", wrapped_key=old),
        build.record(customer, "high", wrapped_key=new),
    )
    assert list(found) == [1]
    with units.ingest.begin(read_only=True) as tx:
        assert tx.floors.get()["records-floored"] == 3


def test_a_token_in_use_is_told_and_nothing_is_written(units: Units) -> None:
    """A card-shaped token that collides is drawn again by the caller."""
    customer = build.customer(units.ingest)
    taken = build.record(customer, "holder")
    _put(units, taken)
    bystander = build.record(customer, "bystander")
    with pytest.raises(TokenTaken):
        _put(units, bystander, build.record(customer, "late", token=taken.token))
    assert _get(units, bystander.token) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"reference": "nul \x00 inside"},
        {"metadata": {"k": "nul \x00"}},
        {"reference": "lone \ud800"},
        {"bucket": 70_000},
    ],
)
def test_a_row_that_does_not_fit_is_refused(units: Units, changes: dict[str, object]) -> None:
    """Data that a column will not take are told from an outage, and nothing is written."""
    customer = build.customer(units.ingest)
    bystander = build.record(customer, "bystander of the odd")
    with pytest.raises(RowRefused):
        _put(units, bystander, build.record(customer, "odd", **changes))
    assert _get(units, bystander.token) is None


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [(1, 5, 5), (5, 1, 5), (None, 1, None), (1, None, None)],
)
def test_a_shared_record_lives_as_long_as_its_longest_caller_asked(
    units: Units, first: int | None, second: int | None, left: int | None
) -> None:
    """Deduplication never shortens a life; without an end beats any end."""
    now = datetime.now(UTC).replace(microsecond=0)

    def until(days: int | None) -> datetime | None:
        return None if days is None else now + timedelta(days=days)

    customer = build.customer(units.ingest)
    _put(units, build.record(customer, "life", expires_at=until(first)))
    (found,) = _put(units, build.record(customer, "life", expires_at=until(second))).values()
    assert found.expires_at == until(left)


def test_an_expired_record_is_invisible_to_every_reading(units: Units, database: Database) -> None:
    """Expiry acts at once, long before the purge."""
    customer = build.customer(units.ingest)
    gone = build.record(customer, "gone")
    _put(units, gone)
    _expire(database, gone.token)
    name = (BUCKET, gone.token)
    with units.ingest.begin(read_only=True) as tx:
        assert tx.records.masked([name]) == {}
        assert tx.records.masked([name, (BUCKET, "tok_other")]) == {}
        assert tx.records.page(BUCKET, customer, None, None, 10) == []
        assert tx.records.by_fingerprint([("payment_card", gone.fingerprint)], 10) == {}
    with units.reveal.begin(read_only=True) as tx:
        assert tx.records.sealed([name]) == {}
        assert tx.records.sealed([name, (BUCKET, "tok_other")]) == {}
        assert tx.records.sealed_of_customer(BUCKET, customer, ["payment_card"], 10) == []


def test_an_expired_duplicate_gives_way_to_a_new_record(units: Units, database: Database) -> None:
    """The old token stays dead, and the value is stored under the new one."""
    customer = build.customer(units.ingest)
    old, living = build.record(customer, "reborn"), build.record(customer, "living")
    _put(units, old, living)
    _expire(database, old.token)
    new = build.record(customer, "reborn")
    with units.ingest.begin() as tx:
        assert tx.records.upsert([new]) == []
        erased = tx.records.erase_expired_duplicates([new, build.record(customer, "living")])
        assert erased == [(customer, old.token)]
        (stored,) = tx.records.upsert([new])
        assert stored.record.token == new.token
    assert _get(units, old.token) is None
    assert _get(units, living.token) is not None


def test_erasure_leaves_the_name_and_nothing_that_came_from_the_value(
    units: Units, database: Database
) -> None:
    """Sealed columns, fingerprint, mask, variant, metadata and reference are gone."""
    customer = build.customer(units.ingest)
    record = build.record(customer, "erase", metadata={"a": "b"}, reference="r", variant="2030-12")
    _put(units, record)
    with units.ingest.begin() as tx:
        assert tx.records.erase([(BUCKET, record.token), (BUCKET, "tok_unknown")]) == {
            record.token: (customer, "payment_card")
        }
        assert tx.records.erase([(BUCKET, record.token)]) == {}
    with database.connect() as connection:
        row = connection.execute(
            "SELECT envelope, wrapped_key, kek, kek_version, fingerprint, fingerprint_version,"
            " metadata, reference, expires_at, mask, variant, customer, erased_at IS NOT NULL"
            " FROM records WHERE token = %s",
            (record.token,),
        ).fetchone()
    assert row == (*[None] * 9, {}, "", customer, True)
    assert _get(units, record.token) is None
    with pytest.raises(TokenTaken):
        _put(units, build.record(customer, "another", token=record.token))
    again = build.record(customer, "erase", variant="2030-12")
    assert _put(units, again)[0].token == again.token


def test_the_purge_takes_expired_records_only(units: Units, database: Database) -> None:
    """Oldest first, up to the limit."""
    customer = build.customer(units.ingest)
    dead = [build.record(customer, f"dead-{number}") for number in range(3)]
    alive = build.record(customer, "alive", expires_at=datetime.now(UTC) + timedelta(days=1))
    _put(units, *dead, alive)
    for record in dead:
        _expire(database, record.token)
    purged: set[str] = set()
    with units.worker.begin() as tx:
        first = tx.records.erase_expired(2)
        assert len(first) == 2
        purged |= {token for _, token, _, _ in first}
    with units.worker.begin() as tx:
        purged |= {token for _, token, _, _ in tx.records.erase_expired(1_000)}
        assert tx.records.erase_expired(1_000) == []
    assert {record.token for record in dead} <= purged
    assert _get(units, alive.token) is not None


def test_sealed_readings_return_what_was_sealed(units: Units) -> None:
    """By name, one or many, and by customer and class."""
    customer = build.customer(units.ingest)
    cards = [build.record(customer, f"card-{number}") for number in range(3)]
    phone = build.record(customer, "phone", data_class="telephone")
    _put(units, *cards, phone)
    with units.reveal.begin(read_only=True) as tx:
        one = tx.records.sealed([(BUCKET, cards[0].token)])
        many = tx.records.sealed([(BUCKET, record.token) for record in [*cards, phone, cards[0]]])
        of_class = tx.records.sealed_of_customer(BUCKET, customer, ["payment_card"], 10)
        assert len(tx.records.sealed_of_customer(BUCKET, customer, ["payment_card"], 2)) == 2
    sealed = one[cards[0].token]
    assert sealed.envelope == cards[0].envelope
    assert sealed.wrapped_key == cards[0].wrapped_key
    assert set(many) == {record.token for record in [*cards, phone]}
    assert [record.token for record in of_class] == sorted(record.token for record in cards)


def test_pages_walk_all_records_of_a_customer_once(units: Units) -> None:
    """The cursor is the last token of the page before."""
    customer = build.customer(units.ingest)
    _put(units, *(build.record(customer, f"page-{number}") for number in range(7)))
    _put(units, build.record(customer, "tel", data_class="telephone"))
    seen: list[str] = []
    after = None
    with units.console.begin(read_only=True) as tx:
        while page := tx.records.page(BUCKET, customer, "payment_card", after, 3):
            seen += [record.token for record in page]
            after = seen[-1]
        assert len(tx.records.page(BUCKET, customer, None, None, 100)) == 8
    assert seen == sorted(set(seen))
    assert len(seen) == 7


def test_search_finds_a_value_of_all_customers_up_to_a_limit(units: Units) -> None:
    """Equal fingerprints are gathered per fingerprint; the class must agree."""
    customers = [build.customer(units.ingest) for _ in range(3)]
    wanted = [build.record(customer, "wanted-by-many") for customer in customers]
    other = build.record(customers[0], "wanted-by-one")
    _put(units, *wanted, other)
    digest = wanted[0].fingerprint
    with units.ingest.begin(read_only=True) as tx:
        found = tx.records.by_fingerprint(
            [
                ("payment_card", digest),
                ("payment_card", other.fingerprint),
                ("payment_card", digest),
                ("payment_card", b"none"),
            ],
            2,
        )
        assert tx.records.by_fingerprint([("telephone", digest)], 2) == {}
    assert len(found[digest]) == 2
    assert [record.token for record in found[other.fingerprint]] == [other.token]
    assert set(found) == {digest, other.fingerprint}


def test_nothing_asked_is_nothing_done(units: Units) -> None:
    """Empty batches do not even borrow a connection."""
    with units.ingest.begin() as tx:
        assert tx.records.upsert([]) == []
        assert tx.records.masked([]) == {}
        assert tx.records.sealed([]) == {}
        assert tx.records.by_fingerprint([], 1) == {}
        assert tx.records.erase([]) == {}
        assert tx.records.erase_expired_duplicates([]) == []
        assert tx.customers.insert([]) == set()
        assert tx.customers.get([]) == {}
        tx.outbox.append([])
        assert tx.idempotency.claim([]) == set()
        assert tx.idempotency.find([]) == {}
        tx.idempotency.answer([])
        assert tx.principals.credentials([]) == {}
        tx.principals.touch([])
        assert tx.principals.keys([]) == []
        assert tx.disclosures.grants([]) == {}
        assert tx.disclosures.use([]) == {}


def test_writers_and_erasers_of_the_same_rows_do_not_deadlock(units: Units) -> None:
    """Both lock in the order of the deduplication key, whatever order they were asked in."""
    customer = build.customer(units.ingest)
    values = [f"contended-{number}" for number in range(30)]
    tokens = [
        found.token
        for found in _put(units, *(build.record(customer, value) for value in values)).values()
    ]
    stop = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            while not stop.is_set():
                _put(units, *(build.record(customer, value) for value in values[::-1]))
        except BaseException as error:  # noqa: BLE001 - carried to the test's own thread
            failures.append(error)

    def erase() -> None:
        try:
            for _ in range(15):
                with units.ingest.begin(read_only=True) as tx:
                    live = tx.records.page(BUCKET, customer, None, None, 100)
                with units.ingest.begin() as tx:
                    tx.records.erase([(BUCKET, record.token) for record in reversed(live)])
        except BaseException as error:  # noqa: BLE001 - carried to the test's own thread
            failures.append(error)
        finally:
            stop.set()

    threads = [threading.Thread(target=work) for work in (write, write, erase)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert tokens
