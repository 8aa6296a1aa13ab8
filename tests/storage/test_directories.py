"""Customers, principals and keys, answers, floors, policies and leases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.storage import build
from tests.storage.build import BUCKET, Units
from tests.support.servers import Database
from vault_service.services.ports import RowRefused
from vault_service.services.principal_ports import PrincipalRow


def _principal(units: Units, **changes: object) -> PrincipalRow:
    fields: dict[str, object] = {
        "id": build.name("prn"),
        "name": build.name("name"),
        "roles": ("billing", "support"),
        "state": "active",
        "created_by": "prn_admin",
        "created_at": datetime.now(UTC),
    }
    row = PrincipalRow(**(fields | changes))  # type: ignore[arg-type]
    with units.console.begin() as tx:
        assert tx.principals.insert(row)
    return row


def _key(units: Units, principal: str, **changes: object) -> str:
    fields: dict[str, object] = {
        "key_id": build.name("key"),
        "secret_hash": b"h" * 32,
        "state": "active",
        "created_by": "prn_admin",
        "expires_at": None,
    }
    with units.console.begin() as tx:
        return tx.principals.insert_key(principal=principal, **(fields | changes)).id  # type: ignore[arg-type]


def test_a_customer_is_inserted_once(units: Units) -> None:
    """Offered again, in the same batch or later, it is not new."""
    one, two = build.name("cus"), build.name("cus")
    with units.ingest.begin() as tx:
        assert tx.customers.insert(
            [(BUCKET, one, True), (BUCKET, two, False), (BUCKET, one, False)]
        ) == {one, two}
        assert tx.customers.insert([(BUCKET, one, False)]) == set()
    with units.console.begin(read_only=True) as tx:
        found = tx.customers.get([(BUCKET, one), (BUCKET, two), (BUCKET + 1, one)])
    assert found[one].has_reference
    assert not found[two].has_reference


def test_racing_inserts_of_one_customer_agree(units: Units) -> None:
    """Exactly one of sixteen is told that it was new."""
    fresh = build.name("cus")

    def insert(_: int) -> int:
        with units.ingest.begin() as tx:
            return len(tx.customers.insert([(BUCKET, fresh, True)]))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(insert, range(16))) == 1


def test_an_erased_customer_is_gone(units: Units, database: Database) -> None:
    """Neither found nor written to."""
    gone = build.customer(units.ingest)
    with database.connect() as connection:
        connection.execute("UPDATE customers SET erased_at = now() WHERE id = %s", (gone,))
    with units.ingest.begin() as tx:
        assert tx.customers.get([(BUCKET, gone)]) == {}
        assert tx.records.upsert([build.record(gone, "late")]) == []


def test_a_principals_name_is_unique(units: Units) -> None:
    """The second of a name is told that it is taken."""
    first = _principal(units)
    second = PrincipalRow(
        id=build.name("prn"),
        name=first.name,
        roles=("officer",),
        state="active",
        created_by="prn_admin",
        created_at=first.created_at,
    )
    with units.console.begin() as tx:
        assert not tx.principals.insert(second)
        assert tx.principals.get(second.id) is None
        found = tx.principals.by_name(first.name)
    assert found is not None
    assert (found.id, found.roles) == (first.id, ("billing", "support"))


def test_principals_change_state_and_roles(units: Units) -> None:
    """An unknown principal is told from a changed one."""
    row = _principal(units)
    with units.console.begin() as tx:
        assert tx.principals.set_state(row.id, "disabled")
        assert tx.principals.set_roles(row.id, ["auditor"])
        assert not tx.principals.set_state("prn_unknown", "disabled")
        assert not tx.principals.set_roles("prn_unknown", ["auditor"])
        found = tx.principals.get(row.id)
    assert found is not None
    assert (found.state, found.roles) == ("disabled", ("auditor",))


def test_principals_are_paged_by_id(units: Units) -> None:
    """Each comes once."""
    made = {_principal(units).id for _ in range(5)}
    seen: list[str] = []
    with units.console.begin(read_only=True) as tx:
        while page := tx.principals.page(seen[-1] if seen else None, 2):
            seen += [row.id for row in page]
    assert seen == sorted(set(seen))
    assert made <= set(seen)


def test_a_credential_joins_key_and_principal(units: Units) -> None:
    """One key or many, with what authentication decides by."""
    row = _principal(units)
    past = datetime.now(UTC) - timedelta(seconds=1)
    live, dead = _key(units, row.id), _key(units, row.id, expires_at=past)
    for unit in (units.ingest, units.reveal, units.console, units.worker):
        with unit.begin(read_only=True) as tx:
            one = tx.principals.credentials([live])
            many = tx.principals.credentials([live, dead, live, "key_unknown"])
            assert tx.principals.credentials(["key_unknown"]) == {}
        assert set(many) == {live, dead}
        assert (many[live].expired, many[dead].expired) == (False, True)
        assert one == {live: many[live]}
        assert (one[live].principal, one[live].name) == (row.id, row.name)
        assert (one[live].roles, one[live].secret_hash) == (row.roles, b"h" * 32)


def test_a_keys_last_use_is_recorded_to_the_minute(units: Units, database: Database) -> None:
    """Every role may touch; a fresh touch is not repeated, an old one is."""
    key = _key(units, _principal(units).id)

    def stale() -> bool:
        with units.ingest.begin(read_only=True) as tx:
            return tx.principals.credentials([key])[key].stale_use

    assert stale()
    with units.reveal.begin() as tx:
        tx.principals.touch([key])
    assert not stale()
    with units.console.begin(read_only=True) as tx:
        (row,) = [row for row in tx.principals.keys([_owner(units, key)]) if row.id == key]
    assert row.last_used_at is not None
    with units.worker.begin() as tx:
        tx.principals.touch([key])
    with units.console.begin() as tx:
        again = tx.principals.get_key(key)
    assert again is not None
    assert again.last_used_at == row.last_used_at
    with database.connect() as connection:
        connection.execute(
            "UPDATE api_keys SET last_used_at = now() - interval '61 seconds' WHERE id = %s", (key,)
        )
    assert stale()


def _owner(units: Units, key: str) -> str:
    with units.console.begin() as tx:
        row = tx.principals.get_key(key)
    assert row is not None
    return row.principal


def test_a_touch_does_not_wait_for_a_rival(units: Units) -> None:
    """Whoever holds the row is writing the same thing."""
    key = _key(units, _principal(units).id)
    with units.console.begin() as tx:
        assert tx.principals.get_key(key) is not None
        with units.ingest.begin() as other:
            other.principals.touch([key])


def test_a_revoked_key_is_told_to_the_next_request(units: Units) -> None:
    """A second revocation has nothing to do."""
    key = _key(units, _principal(units).id)
    with units.console.begin() as tx:
        assert tx.principals.revoke_key(key)
        assert not tx.principals.revoke_key(key)
        row = tx.principals.get_key(key)
        assert tx.principals.get_key("key_unknown") is None
    assert row is not None
    assert (row.state, row.revoked_at is not None) == ("revoked", True)
    with units.ingest.begin(read_only=True) as tx:
        assert tx.principals.credentials([key])[key].key_state == "revoked"


def test_a_pending_key_is_confirmed_by_somebody_else(units: Units) -> None:
    """Dual control: neither who made it nor who holds it; the row itself refuses."""
    holder = _principal(units).id
    key = _key(units, holder, state="pending")
    for insider in (holder, "prn_admin"):
        with pytest.raises(RowRefused), units.console.begin() as tx:
            tx.principals.confirm_key(key, insider)
    with units.console.begin() as tx:
        assert tx.principals.confirm_key(key, "prn_other")
        assert not tx.principals.confirm_key(key, "prn_other")
        row = tx.principals.get_key(key)
    assert row is not None
    assert (row.state, row.confirmed_by) == ("active", "prn_other")


def test_keys_of_some_principals_come_oldest_first(units: Units) -> None:
    """For a page of principals, in one question."""
    one, two = _principal(units).id, _principal(units).id
    made = [_key(units, one), _key(units, two), _key(units, one)]
    with units.console.begin(read_only=True) as tx:
        assert [row.id for row in tx.principals.keys([one, two])] == made
        assert [row.id for row in tx.principals.keys([two])] == made[1:2]


def test_an_idempotency_key_is_claimed_once(units: Units) -> None:
    """The first claims and answers; whoever comes later finds the answer."""
    key = build.name("idem")
    claim = (BUCKET, "prn_a", key, b"mac")
    with units.ingest.begin() as tx:
        assert tx.idempotency.claim([claim]) == {("prn_a", key)}
        assert tx.idempotency.find([claim[:3]])["prn_a", key].response is None
        tx.idempotency.answer([(BUCKET, "prn_a", key, b"answer")])
    with units.ingest.begin() as tx:
        assert tx.idempotency.claim([claim, (BUCKET, "prn_b", key, b"x")]) == {("prn_b", key)}
        found = tx.idempotency.find([claim[:3], (BUCKET, "prn_c", key)])
    assert list(found) == [("prn_a", key)]
    assert (found["prn_a", key].request_mac, found["prn_a", key].response) == (b"mac", b"answer")


def test_a_rival_claim_waits_for_the_first_to_end(units: Units) -> None:
    """After a commit the rival finds the answer; after a rollback it has the key itself."""
    for commits in (True, False):
        key = build.name("idem")
        claim = (BUCKET, "prn_a", key, b"mac")
        begun = threading.Event()

        def rival(
            claim: tuple[int, str, str, bytes] = claim, begun: threading.Event = begun
        ) -> tuple[bool, bytes | None]:
            with units.ingest.begin() as tx:
                begun.set()
                new = bool(tx.idempotency.claim([claim]))
                return new, tx.idempotency.find([claim[:3]])[claim[1:3]].response

        with ThreadPoolExecutor(1) as pool:
            with units.ingest.begin() as tx:
                tx.idempotency.claim([claim])
                tx.idempotency.answer([(BUCKET, "prn_a", key, b"first")])
                other = pool.submit(rival)
                begun.wait(5)
                with pytest.raises(TimeoutError):
                    other.result(0.2)
                if not commits:
                    tx.rollback()
            assert other.result(5) == ((False, b"first") if commits else (True, None))


def test_old_answers_are_purged(units: Units, database: Database) -> None:
    """Up to the limit, and only past their time."""
    keys = [build.name("idem") for _ in range(3)]
    with units.ingest.begin() as tx:
        tx.idempotency.claim([(BUCKET, "prn_purge", key, b"m") for key in keys])
    with database.connect() as connection:
        connection.execute(
            "UPDATE idempotency SET created_at = now() - interval '2 days'"
            " WHERE principal = 'prn_purge' AND key <> %s",
            (keys[0],),
        )
    with units.worker.begin() as tx:
        assert tx.idempotency.purge(timedelta(days=1), 1) == 1
        assert tx.idempotency.purge(timedelta(days=1), 10) == 1
        assert tx.idempotency.purge(timedelta(days=1), 10) == 0
    with units.ingest.begin(read_only=True) as tx:
        found = tx.idempotency.find([(BUCKET, "prn_purge", key) for key in keys])
    assert list(found) == [("prn_purge", keys[0])]


def test_a_floor_is_never_lowered(units: Units) -> None:
    """Whatever order two rotations write in."""
    with units.worker.begin() as tx:
        tx.floors.put("some-key", 4)
        tx.floors.put("some-key", 2)
        assert tx.floors.get()["some-key"] == 4


def test_a_policy_is_adopted_until_another_is(units: Units) -> None:
    """The next start of the same version has nothing to tell; one that comes back has."""
    one, two = build.name("sha"), build.name("sha")
    with units.console.begin() as tx:
        assert tx.policies.adopt(one, "1998-12-17", "body")
        assert not tx.policies.adopt(one, "1998-12-17", "body")
    with units.console.begin() as tx:
        assert tx.policies.adopt(two, "2001-01-01", "other")
        assert tx.policies.adopt(one, "1998-12-17", "body")
    with units.console.begin(read_only=True) as tx:
        newest, between, first = tx.policies.adoptions(limit=3)
        assert [each.version for each in (newest, between, first)] == [one, two, one]
        assert [each.name for each in (newest, between)] == ["1998-12-17", "2001-01-01"]
        assert (newest.until, first.until) == (None, between.adopted_at)
        assert [newest.number - 1, newest.number - 2] == [between.number, first.number]
        assert tx.policies.adoptions(version=one, limit=9) == [newest, first]
        assert tx.policies.adoptions(before=newest.number, limit=1) == [between]
        assert tx.policies.body(one) == "body"
        assert tx.policies.body("0" * 64) is None


def test_of_two_who_bring_a_policy_at_once_one_adopts_it(units: Units) -> None:
    """Of one version one tells the ledger; of two versions both do, one after the other."""
    same, other = build.name("sha"), build.name("sha")
    told: list[tuple[str, bool]] = []

    def bring(version: str) -> None:
        with units.console.begin() as tx:
            told.append((version, tx.policies.adopt(version, "name", "body")))

    for version in (same, other):
        with units.console.begin() as tx:
            assert tx.policies.adopt(same, "name", "body") is (version is same)
            rival = threading.Thread(target=bring, args=(version,))
            if version is other:
                assert tx.policies.adopt(build.name("sha"), "name", "body")
            rival.start()
            rival.join(0.3)
            assert rival.is_alive()
        rival.join(10)
    assert told == [(same, False), (other, True)]


def test_a_lease_is_held_by_one_until_its_unit_of_work_ends(units: Units) -> None:
    """The rival is told at once, also when the lease was never seen before."""
    name = build.name("lease")
    with units.worker.begin() as tx:
        assert tx.leases.hold(name, "one")
        assert tx.leases.hold(name, "one")
        with units.worker.begin() as rival:
            assert not rival.leases.hold(name, "two")
    with units.console.begin() as tx:
        assert tx.leases.hold(name, "two")


def test_a_lease_of_a_holder_that_died_is_free(units: Units) -> None:
    """Nothing needs to be cleaned up."""
    name = build.name("lease")
    with pytest.raises(LookupError), units.worker.begin() as tx:  # noqa: PT012 - a block's end is part of it
        assert tx.leases.hold(name, "one")
        raise LookupError
    with units.worker.begin() as tx:
        assert tx.leases.hold(name, "two")
