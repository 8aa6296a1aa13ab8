"""B9: every wrapped key is bound to the ledger, and a substituted one is found."""

from __future__ import annotations

import gzip
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid_utils import uuid7

from keys.data_keys import WrappedKey
from keys.envelope import Context, seal
from tests.support.faults import Hooked, rebuilt
from tests.support.servers import DatabaseServer, VaultServer
from tests.support.whole import Stage, present, soon, stage_of_its_own, standing
from vault_service.domain.classes import DataClass
from vault_service.domain.values import parse
from vault_service.ledger import merkle, tiles
from vault_service.ledger.entries import Actor, ActorKind, Entry, Event, Origin, Outcome, encode
from vault_service.services import binding_check, bindings
from vault_service.services.activity import EntryDraft
from vault_service.services.adoption import Adoption
from vault_service.services.audit import Audit
from vault_service.services.binding_check import BindingCheck, Checked, Finding
from vault_service.services.reveal.work import KeySubstituted
from vault_service.services.tokenization import TokenizeItem
from vault_service.services.views import Revealed
from vault_service.storage import engine as engines
from vault_service.storage.unit_of_work import SqlUnitOfWork

KEY = "records-contact"
STOP = threading.Event()
TABLES = ("records", "activity_segments", "ledger_leaves", "ledger_bundles", "ledger_outbox")


def mail(stage: Stage, *names: str, customer: str | None = None, **more: Any) -> list[str]:
    """Tokens of e-mail addresses."""
    customer = customer or stage.customer()
    items = [
        TokenizeItem(
            data_class="email_address", customer=customer, value=f"{each}@example.com", **more
        )
        for each in names
    ]
    return [view.id for view in stage.tokenize(*items)]


def substitute(stage: Stage, token: str, value: bytes) -> None:
    """What an attacker does who writes in the database and may wrap with Vault's own key."""
    ((customer, version),) = stage.sql(
        "SELECT customer, version FROM records WHERE token = %s", [token]
    )
    (key,) = stage.tokenization._data_keys.take(KEY, 1)
    context = Context(
        token=token, customer=customer, data_class="email_address", record_version=version
    )
    stage.sql(
        "UPDATE records SET envelope = %s, wrapped_key = %s, kek_version = %s WHERE token = %s",
        [seal(key, value, context), key.wrapped.ciphertext, key.wrapped.kek_version, token],
    )


# ---------------------------------------------------------------- the bytes


@pytest.mark.parametrize("count", [*range(1, 20), 200, 1000])
def test_a_commitment_is_the_root_of_rfc_6962(count: int) -> None:
    """However many leaves, each path leads to the root that the log's own code computes."""
    leaves = [merkle.leaf_hash(str(number).encode()) for number in range(count)]
    entry = UUID(str(uuid7()))
    commitments, made = bindings.bind(entry, leaves)
    root = tiles.grow(tiles.Edge(size=0, levels=()), leaves).edge.root().hex()
    assert commitments == {"wrapped_keys": root}
    assert {bindings.root(*pair) for pair in zip(leaves, (b.path for b in made), strict=True)} == {
        root.encode()
    }
    assert {len(each.path) for each in made} <= {4 + 32 * steps for steps in range(11)}


def test_of_nothing_there_is_no_commitment() -> None:
    """An entry without records commits to none."""
    assert bindings.bind(UUID(str(uuid7())), []) == ({}, [])


@given(st.integers(1, 70), st.randoms(use_true_random=False))
def test_neighbours_share_what_was_shown(size: int, rng: Random) -> None:
    """In whatever order rows are compared: each true one is believed, and no other ever is."""
    leaves = [sha256(bytes([number])).digest() for number in range(size)]
    commitments, made = bindings.bind(UUID(int=1), leaves)
    expected = commitments[bindings.COMMITMENT].encode()
    proven: dict[tuple[int, int], bytes] = {}
    for number in rng.sample(range(size), size):
        path = made[number].path
        assert bindings._leads(leaves[number], path, expected, proven)
        assert not bindings._leads(leaves[number][::-1], path, expected, proven)
        for wrong in (
            path[:-1],
            path[:-32],
            path[:3],
            struct.pack(">HH", size, size) + path[4:],
            struct.pack(">HH", number, size) + b"\7" * (len(path) - 4),
            path + b"\7" * 32,
        ):
            alone = bindings.root(leaves[number], wrong) == expected
            assert bindings._leads(leaves[number], wrong, expected, {}) is alone
            assert not bindings._leads(b"\6" * 32, wrong, expected, proven)


@pytest.mark.parametrize(
    "path", [b"", b"\0", b"\0\0\0\1\0", b"\0\1\0\1", b"\0\0\0\2", b"\0\0\0\1" + b"a" * 32]
)
def test_what_is_no_path_leads_nowhere(path: bytes) -> None:
    """Too short, too long, of no such place: no root, and no other error."""
    assert bindings.root(b"a" * 32, path) is None


def test_a_leaf_depends_on_each_of_its_parts() -> None:
    """Token, version, KEK, wrapped key and envelope."""
    key = WrappedKey(kek="k", kek_version=1, ciphertext="vault:v1:a")
    others = [
        bindings.leaf("u", 1, key, b"e"),
        bindings.leaf("t", 2, key, b"e"),
        bindings.leaf("t", 1, WrappedKey(kek="l", kek_version=1, ciphertext="vault:v1:a"), b"e"),
        bindings.leaf("t", 1, WrappedKey(kek="k", kek_version=1, ciphertext="vault:v1:b"), b"e"),
        bindings.leaf("t", 1, key, b"f"),
    ]
    assert len({bindings.leaf("t", 1, key, b"e"), *others}) == 6


# ---------------------------------------------------------------- a vault of its own


def activity(stage: Stage, months: int) -> tuple[str, ...]:
    """Segments of a customer's activity, one for each month."""
    customer, caller = stage.customer(), stage.caller("billing")
    entries = [
        EntryDraft(customer=customer, at=datetime(2025, month, 1, tzinfo=UTC), kind="signed_in")
        for month in range(1, months + 1)
    ]
    return present(stage.services.activity).record(caller, entries).segments


@pytest.fixture(scope="module")
def own(
    postgres_server: DatabaseServer,
    vault_server: VaultServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    """A vault with some history: batches, duplicates, an erasure, an expiry, a rotation."""
    folder = tmp_path_factory.mktemp("spool")
    with stage_of_its_own(postgres_server, vault_server, folder) as stage:
        customer = stage.customer()
        gone, *_ = mail(stage, *(f"a{number}" for number in range(300)), customer=customer)
        mail(stage, "a1", "a2", "new", customer=customer)
        mail(stage, "a1", customer=customer)
        stage.erasure.erase(stage.caller("billing"), [gone])
        (short,) = mail(stage, "short", expires_at=soon(hours=1))
        stage.sql("UPDATE records SET expires_at = now() WHERE token = %s", [short])
        stage.housekeeping.sweep()
        rotation, _ = stage.rotations.start(stage.caller("operator"), KEY)
        rebuilt(stage.rotation_work, settle=timedelta(0)).run(STOP)
        assert stage.rotations.get(stage.caller("auditor"), rotation.row.id).row.rewrapped == 300
        for number in range(260):  # as many entries as fill a bundle
            mail(stage, f"b{number}", customer=customer)
        present(stage.worker.log_keeper).finish()
        mail(stage, "waits")
        activity(stage, 2)
        yield stage


@pytest.fixture(scope="module")
def owner(own: Stage) -> Iterator[SqlUnitOfWork]:
    """The schema's owner."""
    uow = SqlUnitOfWork(
        engines.create(own.database.owner_url, application_name="test", pool_size=1)
    )
    yield uow
    uow.close()


@contextmanager
def undone(stage: Stage) -> Iterator[None]:
    """Whatever a block does to records and log is undone at its end."""
    with stage.superuser() as link:
        columns = {
            table: ", ".join(
                row[0]
                for row in link.execute(
                    "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass"
                    " AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
                    [table],
                )
            )
            for table in TABLES
        }
        for table in TABLES:
            link.execute(f"CREATE TEMP TABLE kept_{table} AS TABLE {table}")
        try:
            yield
        finally:
            for table, names in columns.items():
                link.execute(f"DELETE FROM {table}")  # noqa: S608 -- tables of this file
                link.execute(
                    f"INSERT INTO {table} ({names})"  # noqa: S608 -- tables of this file
                    f" SELECT {names} FROM kept_{table}"
                )


def codes(checked: Checked) -> set[str]:
    """What was found."""
    return {each.code for each in checked.findings}


def told(stage: Stage, event: Event, **members: Any) -> UUID:
    """An entry that somebody writes into the outbox by himself."""
    entry = Entry(
        id=str(uuid7()),
        at=datetime.now(UTC),
        event=event,
        outcome=Outcome.SUCCESS,
        actor=Actor(kind=ActorKind.SYSTEM, id="worker"),
        origin=Origin(role="worker"),
        **members,
    )
    stage.sql(
        "INSERT INTO ledger_outbox (bucket, id, entry) VALUES (1, %s, %s)",
        [UUID(entry.id), encode(entry)],
    )
    return UUID(entry.id)


def test_all_is_as_the_ledger_says(own: Stage, owner: SqlUnitOfWork) -> None:
    """Of a vault that nobody tampered with, nothing is reported; what waits is read as well."""
    seen: list[str] = []
    found = BindingCheck(uow=owner).run(progress=lambda what, *_: seen.append(what))
    assert found.findings == ()
    ((records, erased),) = own.sql(
        "SELECT count(*) FILTER (WHERE erased_at IS NULL), count(erased_at) FROM records"
    )
    assert (found.records, found.erased, found.archived) == (records, erased, 0)
    assert found.segments == 2
    assert found.entries == len(own.outbox())
    assert found.seconds > 0
    assert set(seen) == {"entries", "records", "segments"}


def test_what_happens_meanwhile_is_not_reported(
    own: Stage, owner: SqlUnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records are made, erased, rewrapped and sequenced between any two statements of the check."""
    monkeypatch.setattr(binding_check, "PAGE", 100)
    customer = own.customer()
    number = iter(range(1000))
    worker = rebuilt(own.rotation_work, settle=timedelta(0))
    own.rotations.start(own.caller("operator"), KEY)

    def live(_read_only: bool) -> None:  # noqa: FBT001 -- the hook's form
        turn = next(number)
        # What was written at the turn before: read from the outbox, it is in the log a turn later.
        present(own.worker.log_keeper).finish()
        tokens = mail(own, f"c{turn}", f"d{turn}", customer=customer)
        own.erasure.erase(own.caller("billing"), tokens[:1])
        if turn == 3:
            worker.run(STOP)

    found = BindingCheck(uow=Hooked(owner, before=live)).run()
    assert found.findings == ()
    assert next(number) > 6


def _token(stage: Stage) -> str:
    ((token,),) = stage.sql(
        "SELECT token FROM records JOIN ledger_leaves ON id = bound_by"
        " WHERE erased_at IS NULL ORDER BY token LIMIT 1"
    )
    return str(token)


def _sql(statement: str) -> Callable[[Stage, str], object]:
    return lambda stage, token: stage.sql(statement, {"token": token})


def _spoil(stage: Stage, _token: str) -> None:
    ((number, packed),) = stage.sql("SELECT number, packed FROM ledger_bundles ORDER BY 1 LIMIT 1")
    plain = gzip.decompress(packed).replace(b'"billing"', b'"support"')
    plain = plain.replace(b'"created":1', b'"created":0', 1)
    stage.sql(
        "UPDATE ledger_bundles SET packed = %s WHERE number = %s", [gzip.compress(plain), number]
    )


def _forged_creation(stage: Stage, token: str) -> None:
    (bound,) = stage.sql(
        "SELECT bucket, token, version, kek, kek_version, wrapped_key, envelope_hash"
        " FROM records WHERE token = %s",
        [token],
    )
    leaf = bindings.leaf(
        token,
        bound[2],
        WrappedKey(kek=bound[3], kek_version=bound[4], ciphertext=bound[5]),
        bound[6],
    )
    commitments, _ = bindings.bind(UUID(str(uuid7())), [leaf])
    told(
        stage,
        Event.TOKENS_CREATED,
        tokens=(token,),
        count=1,
        commitments=commitments,
        details={"created": 1, "deduplicated": 0, "refused": 0},
    )


def _readopted(stage: Stage, token: str) -> None:
    stage.sql("UPDATE records SET bound_by = NULL, bound_path = NULL WHERE token = %s", [token])
    adopt(stage)


def _rewrap(stage: Stage, rotation: str) -> UUID:
    return told(
        stage,
        Event.VAULT_KEY_REWRAPPED,
        key=KEY,
        count=1,
        commitments={"wrapped_keys": "0" * 64},
        details={"rotation": rotation, "to_version": 1},
    )


def _rewrap_of_another_key(stage: Stage, token: str) -> None:
    rotation, _ = stage.rotations.start(stage.caller("operator"), "records-card")
    stage.sql("DELETE FROM rotations WHERE id = %s", [rotation.row.id])
    row = stage.sql(
        "SELECT version, kek, kek_version, wrapped_key, envelope_hash FROM records"
        " WHERE token = %s",
        [token],
    )[0]
    key = WrappedKey(kek=row[1], kek_version=row[2], ciphertext=row[3])
    entry = UUID(str(uuid7()))
    commitments, (binding,) = bindings.bind(entry, [bindings.leaf(token, row[0], key, row[4])])
    entry = told(
        stage,
        Event.VAULT_KEY_REWRAPPED,
        key="records-card",
        count=1,
        commitments=commitments,
        details={"rotation": rotation.row.id, "to_version": 9},
    )
    stage.sql(
        "UPDATE records SET bound_by = %s, bound_path = %s WHERE token = %s",
        [entry, binding.path, token],
    )


def _outside(stage: Stage, _token: str) -> None:
    _rewrap(stage, "rot_" + "0" * 26)


def _after_the_certificate(stage: Stage, _token: str) -> None:
    ((rotation,),) = stage.sql("SELECT id FROM rotations WHERE state = 'done' LIMIT 1")
    _rewrap(stage, rotation)


def _miscounted(stage: Stage, _token: str) -> None:
    rotation = "rot_" + "1" * 26
    told(stage, Event.ROTATION_STARTED, key=KEY, details={"rotation": rotation})
    _rewrap(stage, rotation)
    told(
        stage,
        Event.ROTATION_CERTIFICATE,
        key=KEY,
        details={"rotation": rotation, "rewrapped": 2, "to_version": 1},
    )


def _malformed(stage: Stage, _token: str) -> None:
    stage.sql("INSERT INTO ledger_outbox (bucket, id, entry) VALUES (1, gen_random_uuid(), 'x')")


def _back(stage: Stage, _token: str) -> None:
    ((token,),) = stage.sql("SELECT token FROM records WHERE erased_at IS NOT NULL LIMIT 1")
    _bring_back(stage, token)


def _bring_back(stage: Stage, token: str) -> None:
    stage.sql(
        "UPDATE records AS r SET envelope = k.envelope, wrapped_key = k.wrapped_key, kek = k.kek,"
        " kek_version = k.kek_version, fingerprint = '1', erased_at = NULL"
        " FROM (SELECT * FROM records WHERE erased_at IS NULL LIMIT 1) AS k WHERE r.token = %s",
        [token],
    )


INSERTED = """
INSERT INTO records (bucket, token, customer, class, format, variant, mask, fingerprint,
    fingerprint_version, envelope, wrapped_key, kek, kek_version, bound_by, bound_path)
SELECT bucket, left(token, -4) || '0000', customer, class, format, variant, mask, '1',
    fingerprint_version, envelope, wrapped_key, kek, kek_version, bound_by, bound_path
FROM records WHERE token = %(token)s
"""
ERASED = """
UPDATE records SET envelope = NULL, wrapped_key = NULL, kek = NULL, kek_version = NULL,
    fingerprint = NULL, erased_at = now() WHERE token = %(token)s
"""
SET = "UPDATE records SET {} WHERE token = %(token)s"
TAMPERINGS: dict[str, tuple[str, Callable[[Stage, str], object]]] = {
    "his own key": (
        "wrapped_key_substituted",
        lambda stage, token: substitute(stage, token, b"attacker"),
    ),
    "no binding": ("binding_missing", _sql(SET.format("bound_by = NULL, bound_path = NULL"))),
    "no entry": ("binding_without_entry", _sql(SET.format("bound_by = gen_random_uuid()"))),
    "another path": ("wrapped_key_substituted", _sql(SET.format(r"bound_path = '\x00'"))),
    "another version": ("wrapped_key_version", _sql(SET.format("kek_version = 77"))),
    "deleted": ("record_missing", _sql("DELETE FROM records WHERE token = %(token)s")),
    "inserted": ("record_unknown", _sql(INSERTED)),
    "erased in secret": ("record_erased_untold", _sql(ERASED)),
    "brought back": ("record_came_back", _back),
    "index": (
        "ledger_index_differs",
        _sql(
            "UPDATE ledger_leaves SET wrapped_keys = '1' WHERE id ="
            " (SELECT bound_by FROM records WHERE token = %(token)s)"
        ),
    ),
    "entries deleted": ("ledger_entries_missing", _sql("DELETE FROM ledger_bundles")),
    "entries changed": ("ledger_entries_changed", _spoil),
    "made twice": ("record_created_twice", _forged_creation),
    "adopted later": ("adopted_though_bound", _readopted),
    "rewrapped by nobody": ("rewrap_outside_a_rotation", _outside),
    "rewrapped too late": ("rewrap_outside_a_rotation", _after_the_certificate),
    "rewrapped by another": ("rewrap_of_another_key", _rewrap_of_another_key),
    "miscounted": ("rotation_miscounted", _miscounted),
    "no entry at all": ("ledger_entry_malformed", _malformed),
}


@pytest.mark.parametrize("what", sorted(TAMPERINGS))
def test_each_tampering_is_found(own: Stage, owner: SqlUnitOfWork, what: str) -> None:
    """By a database superuser who may wrap as well."""
    code, tamper = TAMPERINGS[what]
    with undone(own):
        tamper(own, _token(own))
        found = BindingCheck(uow=owner).run()
    assert code in codes(found), found.findings


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("wrapped_key = (SELECT max(wrapped_key) FROM records)", "wrapped_key_substituted"),
        (r"envelope = '\x00'", "wrapped_key_substituted"),
        (r"bound_path = '\x00'", "wrapped_key_substituted"),
        ("bound_by = NULL, bound_path = NULL", "binding_missing"),
        ("bound_by = gen_random_uuid()", "binding_without_entry"),
        ("kek_version = 77", "wrapped_key_version"),
    ],
)
def test_a_segment_is_compared_as_well(
    own: Stage,
    owner: SqlUnitOfWork,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    code: str,
) -> None:
    """Each of them, in pages, in every month."""
    monkeypatch.setattr(binding_check, "PAGE", 1)
    segments = sorted(name for (name,) in own.sql("SELECT id FROM activity_segments"))
    with undone(own):
        own.sql(f"UPDATE activity_segments SET {change}")  # noqa: S608 -- above
        found = BindingCheck(uow=owner).run()
    assert [each for each in found.findings if each.code == code] == [
        Finding(code, segment) for segment in segments
    ]
    assert found.segments == len(segments)


def test_what_waits_to_be_told_as_erased_cannot_come_back(own: Stage, owner: SqlUnitOfWork) -> None:
    """The entry has no place in the log yet, and counts for the record all the same."""
    with undone(own):
        token = _token(own)
        assert own.erasure.erase(own.caller("billing"), [token]) == [None]
        _bring_back(own, token)
        found = BindingCheck(uow=owner).run()
    assert ("record_came_back", token) in {(each.code, each.subject) for each in found.findings}


def test_an_erased_customer_accounts_for_his_records(own: Stage, owner: SqlUnitOfWork) -> None:
    """The entry of a customer's erasure need not name each token."""
    with undone(own):
        token = _token(own)
        ((customer,),) = own.sql("SELECT customer FROM records WHERE token = %s", [token])
        _sql(ERASED)(own, token)
        told(own, Event.CUSTOMER_ERASED, customer=customer, count=1)
        assert BindingCheck(uow=owner).run().findings == ()


def test_rewraps_of_evidence_commit_to_nothing(own: Stage, owner: SqlUnitOfWork) -> None:
    """Evidence is bound in another way: its rewraps are counted and no more, in their order."""
    with undone(own):
        rotation = "rot_" + "2" * 26
        told(own, Event.ROTATION_STARTED, key="evidence", details={"rotation": rotation})
        rewrapped = told(
            own,
            Event.VAULT_KEY_REWRAPPED,
            key="evidence",
            count=3,
            details={"rotation": rotation, "to_version": 2},
        )
        told(
            own,
            Event.ROTATION_CERTIFICATE,
            key="evidence",
            details={"rotation": rotation, "rewrapped": 3, "to_version": 2},
        )
        # Wherever the row lies: behind that of the certificate, here.
        own.sql("UPDATE ledger_outbox SET entry = entry WHERE id = %s", [rewrapped])
        assert BindingCheck(uow=owner).run().findings == ()


def adopt(stage: Stage, seen: list[int] | None = None) -> int:
    """Bind what has no binding."""
    uow = stage.rotation_work._uow
    adoption = Adoption(uow=uow, audit=Audit(process_role="cli", uow=uow))
    return adoption.run() if seen is None else adoption.run(progress=seen.append)


@contextmanager
def archived(stage: Stage) -> Iterator[None]:
    """A log whose bundles are in archives."""
    stage.sql("DELETE FROM ledger_bundles")
    stage.sql("UPDATE ledger_tree SET first_leaf = size - size %% 256", ())
    try:
        yield
    finally:
        stage.sql("UPDATE ledger_tree SET first_leaf = 0")


def test_records_of_before_are_adopted_once(own: Stage, owner: SqlUnitOfWork) -> None:
    """They were made without a commitment; an adoption after the first is a finding."""
    # What still waits would be gone with its archive.
    present(own.worker.log_keeper).finish()
    with undone(own), archived(own):
        own.sql("UPDATE records SET bound_by = NULL, bound_path = NULL")
        own.sql("DELETE FROM activity_segments")  # of then there are none
        seen: list[int] = []
        assert adopt(own, seen) == seen[-1] > 200
        assert adopt(own) == 0
        assert codes(BindingCheck(uow=owner).run()) <= {"adopted_though_bound", "record_missing"}
        (token,) = mail(own, "late")
        _readopted(own, token)
        assert {"adopted_again", "adopted_though_bound"} <= codes(BindingCheck(uow=owner).run())


def test_a_substituted_key_is_refused_on_use(own: Stage) -> None:
    """B9: it opens, for Vault wrapped it, and its value is given to nobody; an alarm tells."""
    good, bad = mail(own, "good", "bad")
    grant = own.granted(standing(good, bad))
    assert own.revealed(own.token(grant.id), good, bad) == [
        "good@example.com",
        "bad@example.com",
    ]
    with undone(own):
        substitute(own, bad, _sealed_like("attacker@example.com"))
        with own.told(Event.ALARM_RAISED) as alarms:
            answer = own.reveal(own.token(grant.id), good, bad)
    revealed, refused = answer.results
    assert isinstance(revealed, Revealed)
    assert isinstance(refused, KeySubstituted)
    assert refused.code == "wrapped_key_substituted"
    assert answer.receipt.values == 1
    assert [(each.reason, each.tokens) for each in alarms] == [("wrapped_key_substituted", (bad,))]


def test_an_entry_in_the_log_is_not_said_anew(own: Stage) -> None:
    """A row in the outbox under the id of an entry that has its place counts for nothing."""
    token = _token(own)
    ((bucket, entry),) = own.sql("SELECT bucket, bound_by FROM records WHERE token = %s", [token])
    with own.rotation_work._uow.begin(read_only=True) as tx:
        before = tx.bindings.committed([(bucket, entry)])
    forged = encode(
        Entry(
            id=str(entry),
            at=datetime.now(UTC),
            event=Event.VAULT_KEY_ADOPTED,
            outcome=Outcome.SUCCESS,
            actor=Actor(kind=ActorKind.SYSTEM, id="worker"),
            origin=Origin(role="worker"),
            count=1,
            commitments={"wrapped_keys": "0" * 64},
        )
    )
    with undone(own):
        own.sql(
            "INSERT INTO ledger_outbox (bucket, id, entry) VALUES (%s, %s, %s)",
            [bucket, entry, forged],
        )
        with own.rotation_work._uow.begin(read_only=True) as tx:
            assert tx.bindings.committed([(bucket, entry)]) == before


def _sealed_like(address: str) -> bytes:
    """A value in the form in which it is sealed."""
    return parse(DataClass.EMAIL_ADDRESS, address, today=date(2026, 1, 1)).sealed


@pytest.mark.parametrize("what", ["his own key", "no binding"])
def test_a_substituted_key_is_not_rewrapped(own: Stage, what: str) -> None:
    """A rotation would make it pass for a genuine one; it halts instead, with an alarm."""
    with undone(own):
        TAMPERINGS[what][1](own, _token(own))
        rotation, _ = own.rotations.start(own.caller("operator"), KEY)
        with own.told(Event.ALARM_RAISED) as alarms:
            rebuilt(own.rotation_work, settle=timedelta(0)).run(STOP)
        row = own.rotations.get(own.caller("auditor"), rotation.row.id).row
    assert (row.state, row.failed) == ("failed", 1)
    # The one about the row is told once a day.
    assert "rotation_halted" in {each.reason for each in alarms}
    own.sql("DELETE FROM rotations WHERE id = %s", [rotation.row.id])
