"""Re-indexing: the key of a class's fingerprints is rotated, and nothing is lost or doubled."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from msgspec import structs

from keys import rotation
from keys.errors import CiphertextRejected, VaultRefused
from keys.fingerprint import Fingerprinter, key_of
from keys.transit import Transit
from tests.support.faults import Hooked, rebuilt
from tests.support.servers import DatabaseServer, VaultServer
from tests.support.whole import Stage, present, refusal, stage_of_its_own
from vault_service.domain.classes import DataClass
from vault_service.domain.modifications import Identity
from vault_service.domain.values import normalised
from vault_service.errors import Conflict, InvalidInput, NotFound, Unavailable
from vault_service.ledger.entries import Event
from vault_service.services import bindings, reindexing
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit
from vault_service.services.indexing import Indexing
from vault_service.services.proposals import ModificationDraft
from vault_service.services.reindex_ports import Renewal
from vault_service.services.reindexing import Reindexer, Reindexing
from vault_service.services.rotation_ports import RotationState
from vault_service.services.tokenization import TokenizeItem, TokenizeRequest
from vault_service.storage import engine as engines
from vault_service.storage.unit_of_work import SqlUnitOfWork

CLASS = "email_address"
KEY = key_of(CLASS)
MAILS = 450
PAUSE = 0.05


@pytest.fixture(scope="module")
def own(
    postgres_server: DatabaseServer,
    vault_server: VaultServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    """A vault of its own, with some hundred values of one class."""
    folder = tmp_path_factory.mktemp("spool")
    with stage_of_its_own(postgres_server, vault_server, folder) as stage:
        customers = [stage.customer() for _ in range(3)]
        stage.tokenize(*(mail(customers[n % 3], f"a{n}") for n in range(MAILS)))
        stage.card(customers[0])
        yield stage


class Keys:
    """`IndexKeys` over Vault's role `rotate`."""

    def __init__(self, transit: Transit) -> None:
        self.transit = transit

    def read(self, key: str) -> Any:
        """Read."""
        return self.transit.read_key(key)

    def renew(self, key: str, *, known: int) -> Any:
        """Rotate."""
        return rotation.renew(self.transit, key, known=known)

    def outdate(self, key: str, version: int) -> None:
        """Retire."""
        rotation.outdate(self.transit, key, version)


@pytest.fixture(scope="module")
def work(own: Stage) -> Iterator[Reindexer]:
    """The use case, as a command has it: the owner's login, and Vault's roles."""
    uow = SqlUnitOfWork(
        engines.create(own.database.owner_url, application_name="test", pool_size=8)
    )
    audit = Audit(process_role="cli", uow=uow)
    yield Reindexer(
        uow=uow,
        keys=Keys(own.rotation_work._rotator.transit),  # type: ignore[attr-defined]
        unwrapping=own.reveals._keys._unwrapping,
        fingerprints=own.tokenization._fingerprints,
        audit=audit,
        alarms=Alarms(uow=uow, audit=audit),
        pause=PAUSE,
    )
    uow.close()


@pytest.fixture(autouse=True)
def tidy(own: Stage, work: Reindexer) -> Iterator[None]:
    """Leave the values that were there at first, under one version."""
    kept = [row[0] for row in own.sql("SELECT token FROM records WHERE erased_at IS NULL")]
    yield
    own.sql(
        "SELECT erase_records(array_agg(bucket), array_agg(token)) FROM records"
        " WHERE erased_at IS NULL AND NOT token = ANY (%s)",
        [kept],
    )
    if len(versions(own)) > 1 or own.sql("SELECT 1 FROM rotations WHERE state <> 'done'"):
        work.run(CLASS)


@pytest.fixture
def rotated(own: Stage, work: Reindexer) -> int:
    """The version in force, to which a rotation has led."""
    # Before the first one the database names no version, and Vault has retired none.
    if set(versions(own)) == {1}:
        work.run(CLASS)
    (version,) = versions(own)
    return version


def mail(customer: str, name: str) -> TokenizeItem:
    """An address."""
    return TokenizeItem(data_class=CLASS, customer=customer, value=f"{name}@example.com")


def versions(stage: Stage, data_class: str = CLASS) -> dict[int, int]:
    """How many records of a class lie under each version."""
    return dict(
        stage.sql(
            "SELECT fingerprint_version, count(*) FROM records"
            " WHERE class = %s AND erased_at IS NULL GROUP BY 1",
            [data_class],
        )
    )


def found(stage: Stage, *names: str) -> list[int]:
    """How many records each address has, as a search finds them."""
    results = stage.reading.search(
        stage.caller("support"), data_class=CLASS, values=[f"{name}@example.com" for name in names]
    )
    return [len(each) for each in results]  # type: ignore[arg-type]


def writer_of(stage: Stage) -> Any:
    """Another process that writes: its own memory of which versions are retired."""
    vault = stage.tokenization._fingerprints._transit  # type: ignore[attr-defined]
    return rebuilt(stage.tokenization, fingerprints=Fingerprinter(vault))


def submit(stage: Stage, tokenization: Any, *items: TokenizeItem) -> list[Any]:
    """Tokenize as billing."""
    request = TokenizeRequest(caller=stage.caller("billing"), items=items, batch=True)
    return list(tokenization.submit(request).results)


def test_every_value_is_indexed_anew(own: Stage, work: Reindexer) -> None:
    """Under one new version, found as before, the same when it comes again; with a certificate."""
    (before,) = versions(own)
    old = own.tokenization._fingerprints.compute([(CLASS, b"x@example.com")])[0]
    seen: list[int] = []
    with own.told() as entries:
        result = work.run(CLASS, progress=lambda done, _: seen.append(done))
    assert (result.done, result.left, seen[-1]) == (MAILS, (), MAILS)
    assert result.rotation.state is RotationState.DONE
    assert versions(own) == {before + 1: MAILS}
    assert found(own, "a0", "a1", f"a{MAILS - 1}", "nobody") == [1, 1, 1, 0]
    (row,) = [each for each in entries if each.event is Event.ROTATION_CERTIFICATE]
    assert (row.key, row.details["remaining"], row.details["rewrapped"]) == (KEY, 0, MAILS)
    assert row.details["to_version"] == before + 1
    batches = [each for each in entries if each.event is Event.RECORDS_REINDEXED]
    assert sum(each.count or 0 for each in batches) == MAILS
    assert {each.event for each in entries} >= {
        Event.ROTATION_STARTED,
        Event.VAULT_KEY_ROTATED,
        Event.VAULT_KEY_RETIRED,
    }
    (customer,) = own.sql(
        "SELECT customer FROM records WHERE class = %s AND erased_at IS NULL LIMIT 1", [CLASS]
    )[0]
    again = own.tokenize(*(mail(customer, f"a{n}") for n in range(9)), batch=True)
    assert sum(each.deduplicated for each in again) == 3
    own.erasure.erase(own.caller("billing"), [each.id for each in again if not each.deduplicated])
    # Writers cannot compute under the old version any more.
    vault = own.tokenization._fingerprints._transit  # type: ignore[attr-defined]
    with pytest.raises(VaultRefused):
        vault.hmac(KEY, [b"x"], key_version=old.key_version)
    status = {each.name: each for each in own.key_status.overview(own.caller("auditor"))}
    assert status[KEY].wrapped == {before + 1: MAILS}
    assert status[KEY].min_encryption_version == before + 1


def test_the_census_counts_what_is_indexed(own: Stage) -> None:
    """Each fingerprint key shows how many records lie under each of its versions."""
    own.key_census.run(threading.Event())
    status = {each.name: each for each in own.key_status.overview(own.caller("auditor"))}
    assert status[KEY].wrapped == versions(own)
    assert status["fingerprint-telephone"].wrapped == versions(own, "telephone")


@pytest.mark.parametrize(
    "name", ["customer_ref", "fingerprint-request", "communication", "honeytoken"]
)
def test_what_cannot_be_computed_anew_is_refused(work: Reindexer, name: str) -> None:
    """By name, with the reason, before anything is done."""
    error = refusal(lambda: work.run(name), Conflict)
    assert error.code == "key_not_reindexed"


@pytest.mark.parametrize("name", ["records-card", "nothing", "disclosure-token"])
def test_there_is_no_other_key(work: Reindexer, name: str) -> None:
    """KEKs, signing keys and what does not exist."""
    assert refusal(lambda: work.run(name), NotFound).code == "vault_key_not_found"


@pytest.mark.parametrize("after", [1, 2, 3, 6, 40])
def test_a_run_that_died_goes_on(own: Stage, work: Reindexer, after: int) -> None:
    """At whatever commit it dies: one more version, every record, one certificate."""
    (before,) = versions(own)
    commits = iter(range(1000))

    def ending(_tx: object) -> None:
        if next(commits) == after:
            raise KeyboardInterrupt

    dying = rebuilt(work, uow=Hooked(work._uow, ending=ending))
    with own.told(Event.ROTATION_CERTIFICATE) as certificates:
        if after < 10:
            with pytest.raises(KeyboardInterrupt):
                dying.run(KEY)
            assert found(own, "a0", "a9", "a99") == [1, 1, 1]
            (view,) = own.tokenize(mail(own.customer(), f"died{after}"))
            own.erasure.erase(own.caller("billing"), [view.id])
        result = work.run(KEY)
    assert result.rotation.state is RotationState.DONE
    assert versions(own) == {before + 1: MAILS}
    assert len(certificates) == 1


def test_a_writer_from_before_the_rotation_writes_after_it(own: Stage, work: Reindexer) -> None:
    """His statement comes late, is refused, and what he writes is one with what others wrote."""
    (before,) = versions(own)
    late, prompt = writer_of(own), writer_of(own)
    customer = own.customer()
    computed, go = threading.Event(), threading.Event()
    results: list[Any] = []

    def wait(read_only: bool) -> None:  # noqa: FBT001 -- the hook's form
        if not read_only and not computed.is_set():
            computed.set()
            assert go.wait(60)

    held = rebuilt(late, uow=Hooked(late._uow, before=wait))
    thread = threading.Thread(
        target=lambda: results.extend(submit(own, held, mail(customer, "late")))
    )
    thread.start()
    assert computed.wait(60)
    stuck = rebuilt(work, unwrapping=_Stops())
    with pytest.raises(InterruptedError):
        stuck.run(CLASS)
    (first,) = submit(own, prompt, mail(customer, "late"))
    assert (first.deduplicated, versions(own)[before + 1]) == (False, 1)
    go.set()
    thread.join()
    assert [(each.id, each.deduplicated) for each in results] == [(first.id, True)]
    assert found(own, "late", "a7") == [1, 1]
    work.run(CLASS)
    assert versions(own) == {before + 1: MAILS + 1}
    own.erasure.erase(own.caller("billing"), [first.id])


class _Stops:
    """Unwrapping at which a process dies."""

    def unwrap(self, wrapped: Any) -> Any:  # noqa: ARG002 -- the port's form
        """Die."""
        raise InterruptedError


def test_what_is_written_meanwhile_brings_its_record_along(own: Stage, work: Reindexer) -> None:
    """Half-way: an equal value is the record that was; one that expired makes room, as ever."""
    (before,) = versions(own)
    customer = own.customer()
    soon = datetime.now(UTC) + timedelta(seconds=1)
    live, ends = own.tokenize(
        mail(customer, "live"), replace(mail(customer, "ends"), expires_at=soon), batch=True
    )
    time.sleep(1.1)
    with pytest.raises(InterruptedError):
        rebuilt(work, unwrapping=_Stops()).run(CLASS)
    same, fresh = own.tokenize(mail(customer, "live"), mail(customer, "ends"), batch=True)
    assert (same.id, same.deduplicated, fresh.deduplicated) == (live.id, True, False)
    assert fresh.id != ends.id
    assert versions(own)[before + 1] == 2
    # Nobody brings anything back, or on to a version that is not in force.
    ingest = own.tokenization._uow
    old, new = (
        own.tokenization._fingerprints.compute(
            [(CLASS, b"a1@example.com")], versions={CLASS: version}
        )[0]
        for version in (before, before + 1)
    )
    (row,) = own.sql(
        "SELECT bucket, customer, variant FROM records WHERE fingerprint = %s", [old.digest]
    )
    renewal = Renewal(
        bucket=row[0],
        customer=row[1],
        data_class=CLASS,
        variant=row[2],
        old=old.digest,
        new=new.digest,
        version=before + 7,
    )
    for each in (renewal, replace(renewal, version=before)):
        ingest.run(lambda tx, each=each: tx.fingerprints.renew([each]))  # type: ignore[misc]
    assert versions(own)[before + 1] == 2
    work.run(CLASS)
    assert versions(own) == {before + 1: MAILS + 2}
    own.erasure.erase(own.caller("billing"), [live.id, fresh.id])


def test_nobody_writes_under_a_new_version_before_the_switch(own: Stage, work: Reindexer) -> None:
    """Vault has it already, the database does not take it: everybody goes on under the old one."""
    (before,) = versions(own)
    customer = own.customer()

    class Stuck(Keys):
        def renew(self, key: str, *, known: int) -> Any:
            super().renew(key, known=known)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        rebuilt(work, keys=Stuck(work._keys.transit)).run(CLASS)  # type: ignore[attr-defined]
    assert own.tokenization._fingerprints.compute([(CLASS, b"x")])[0].key_version == before + 1
    (one,) = own.tokenize(mail(customer, "early"))
    (two,) = submit(own, writer_of(own), mail(customer, "early"))
    assert (two.id, two.deduplicated) == (one.id, True)
    assert versions(own) == {before: MAILS + 1}
    assert found(own, "early") == [1]
    work.run(CLASS)
    assert versions(own) == {before + 1: MAILS + 1}
    own.erasure.erase(own.caller("billing"), [one.id])


def test_a_search_that_asked_before_and_looks_after(own: Stage, work: Reindexer) -> None:
    """Its fingerprints are of before the rotation, the records of after: it asks again."""
    ran: list[Reindexing] = []

    def before(read_only: bool) -> None:  # noqa: FBT001 -- the hook's form
        if not read_only and not ran:
            ran.append(work.run(CLASS))

    reading = rebuilt(own.reading, uow=Hooked(own.reading._uow, before=before))
    results = reading.search(
        own.caller("support"), data_class=CLASS, values=["a3@example.com", "none@example.com"]
    )
    assert len(ran) == 1
    assert [len(each) for each in results] == [1, 0]


@pytest.mark.usefixtures("rotated")
def test_a_search_does_not_ask_for_ever(own: Stage) -> None:
    """Where Vault does not know the version that is in force, it says so."""
    turn = f"UPDATE fingerprint_versions SET version = version %s 1 WHERE class = '{CLASS}'"  # noqa: S608
    with own.owned(turn % "+", turn % "-"):
        error = refusal(lambda: found(own, "a3"), Unavailable)
    assert error.code == "rotation_under_way"


def test_a_proposal_of_before_is_not_applied(own: Stage, work: Reindexer) -> None:
    """It would not be found, and might double a value: it is to be proposed again."""
    (before,) = versions(own)
    customer = own.customer()
    first, second = own.tokenize(mail(customer, "m1"), mail(customer, "m2"), batch=True)
    support, other = own.caller("support"), own.caller("support-2")

    def proposed(ticket: str, name: str) -> str:
        (view,) = present(own.services.modifications).open(
            support,
            [
                ModificationDraft(
                    customer=customer,
                    ticket=ticket,
                    data_class=CLASS,
                    value=f"{name}@example.com",
                    token=first.id,
                )
            ],
        )
        if isinstance(view, Exception):
            raise view
        present(own.services.modifications).confirm(support, view.id, how=Identity.CALLED_BACK)
        return view.id

    old = proposed("t1", "m3")
    with pytest.raises(InterruptedError):
        rebuilt(work, unwrapping=_Stops()).run(CLASS)
    error = refusal(lambda: present(own.services.modifications).apply(other, old), Conflict)
    assert error.code == "proposal_outdated"
    present(own.services.modifications).withdraw(support, old)
    # What another record holds, under whichever version, is not made twice.
    taken = proposed("t2", "m2")
    error = refusal(lambda: present(own.services.modifications).apply(other, taken), Conflict)
    assert error.code == "value_already_recorded"
    assert refusal(lambda: proposed("t3", "m1"), InvalidInput).code == "value_unchanged"
    present(own.services.modifications).apply(other, proposed("t4", "m3"))
    work.run(CLASS)
    assert versions(own) == {before + 1: MAILS + 2}
    assert found(own, "m1", "m2", "m3") == [0, 1, 1]
    own.erasure.erase(own.caller("billing"), [first.id, second.id])


@pytest.mark.parametrize("why", ["substituted", "unopened", "untaken", "doubled"])
def test_what_cannot_be_indexed_keeps_the_old_version(
    own: Stage, work: Reindexer, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left, named and told of; the old version stays in force until it is repaired."""
    (before,) = versions(own)
    customer = own.customer()
    good, bad = own.tokenize(mail(customer, f"{why}1"), mail(customer, f"{why}2"), batch=True)
    good_key, bad_key = (
        own.sql("SELECT wrapped_key FROM records WHERE token = %s", [each.id])[0][0]
        for each in (good, bad)
    )

    def changed(data_class: DataClass, sealed: bytes) -> bytes:
        if why == "untaken" and b"untaken2" in sealed:
            raise InvalidInput("it is not taken any more", code="email_invalid")
        # As after a rotation past the service: one value, found under two versions.
        return normalised(data_class, sealed.replace(b"doubled2", b"doubled1"))

    monkeypatch.setattr(reindexing, "normalised", changed)
    hurt = rebuilt(work, unwrapping=_Rejects(work._unwrapping, bad_key, active=why == "unopened"))
    if why == "substituted":
        own.sql("UPDATE records SET wrapped_key = %s WHERE token = %s", [good_key, bad.id])
    with own.told(Event.ALARM_RAISED) as alarms:
        result = hurt.run(CLASS)
    assert (result.rotation.state, result.rotation.failed) == (RotationState.FAILED, 1)
    assert len(result.left) == 1
    assert set(result.left) <= {good.id, bad.id}
    raised = [each.details["alarm"] for each in alarms]
    assert raised.count("rotation_halted") == 1
    assert (bindings.SUBSTITUTED in raised) == (why == "substituted")
    assert versions(own) == {before: 1, before + 1: MAILS + 1}
    assert all(found(own, "a5", f"{why}1"))
    monkeypatch.undo()
    own.sql("UPDATE records SET wrapped_key = %s WHERE token = %s", [bad_key, bad.id])
    if why == "doubled":  # one of two is one too many
        own.erasure.erase(own.caller("billing"), result.left)
    with own.told(Event.ALARM_CLEARED) as cleared:
        assert work.run(CLASS).rotation.state is RotationState.DONE
    assert [each.details["alarm"] for each in cleared] == ["rotation_halted"]
    assert versions(own) == {before + 1: MAILS + (1 if why == "doubled" else 2)}
    assert found(own, f"{why}1", f"{why}2") == [1, 0 if why == "doubled" else 1]
    own.erasure.erase(own.caller("billing"), [good.id, bad.id])


class _Rejects:
    """Unwrapping that does not open one key."""

    def __init__(self, real: Any, wrapped: str, *, active: bool) -> None:
        self._real = real
        self._wrapped = wrapped
        self._active = active

    def unwrap(self, wrapped: Any) -> Any:
        """Open the others."""
        return [
            CiphertextRejected() if self._active and each.ciphertext == self._wrapped else opened
            for each, opened in zip(wrapped, self._real.unwrap(wrapped), strict=True)
        ]


def test_the_second_count_finds_what_came_back(own: Stage, work: Reindexer) -> None:
    """Then it is indexed, and counted twice again."""
    (before,) = versions(own)
    with pytest.raises(InterruptedError):
        rebuilt(work, unwrapping=_Stops()).run(CLASS)
    own.sql("UPDATE rotations SET state = 'verifying', clear_at = now() WHERE state = 'running'")
    result = work.run(CLASS)
    assert (result.rotation.state, result.done) == (RotationState.DONE, MAILS)
    assert versions(own) == {before + 1: MAILS}


def test_a_halt_is_told_once(own: Stage, work: Reindexer) -> None:
    """Of two that find that nothing leads on, one says so."""
    with pytest.raises(InterruptedError):
        rebuilt(work, unwrapping=_Stops()).run(CLASS)
    ((rotation,),) = own.sql("SELECT id FROM rotations WHERE state = 'running'")
    row = own.rotations.get(own.caller("auditor"), rotation).row
    with own.told(Event.ALARM_RAISED) as alarms:
        for _ in range(2):
            after = work._look(row, DataClass(CLASS), idle=reindexing.IDLE)
            assert (after.state, after.failed) == (RotationState.FAILED, MAILS)
    assert len(alarms) == 1


def test_a_vault_that_does_not_go_back_to_the_version_in_force(own: Stage) -> None:
    """It is asked a few times, and then the caller is told."""
    made = own.tokenization._fingerprints.compute([(CLASS, b"x@example.com")])
    ahead = [structs.replace(each, key_version=each.key_version + 1) for each in made]
    own.sql(
        "INSERT INTO fingerprint_versions VALUES (%s, %s) ON CONFLICT DO NOTHING",
        [CLASS, made[0].key_version],
    )

    class Deaf:
        def compute(self, _items: Any, *, versions: Any) -> Any:  # noqa: ARG002 -- it is deaf
            return ahead

        def older(self, _items: Any, _made: Any) -> Any:
            return [made]

    indexing = Indexing(uow=own.tokenization._uow, fingerprints=Deaf())  # type: ignore[arg-type]
    error = refusal(
        lambda: indexing.make([(CLASS, b"x@example.com")], lambda: [(0, "cus_x", "opaque")]),
        Unavailable,
    )
    assert error.code == "rotation_under_way"


def test_several_share_a_run(own: Stage, work: Reindexer) -> None:
    """Each record is indexed once, and one certificate tells of it."""
    (before,) = versions(own)
    done: list[Reindexing] = []
    threads = [threading.Thread(target=lambda: done.append(work.run(CLASS))) for _ in range(3)]
    with own.told(Event.ROTATION_CERTIFICATE) as certificates:
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert len(certificates) == len({each.rotation.id for each in done})
    assert sum(each.done for each in done) == MAILS * len(certificates)
    assert versions(own) == {before + len(certificates): MAILS}


def test_the_switch_waits_for_whoever_writes(own: Stage, work: Reindexer) -> None:
    """Others are kept waiting for a moment each time, and nothing is switched until he ends."""
    (before,) = versions(own)
    customer = own.customer()
    writing, go = threading.Event(), threading.Event()

    def ending(_tx: object) -> None:
        writing.set()
        assert go.wait(60)

    slow = rebuilt(own.tokenization, uow=Hooked(own.tokenization._uow, ending=ending))
    results: list[Any] = []
    writer = threading.Thread(
        target=lambda: results.extend(submit(own, slow, mail(customer, "slow")))
    )
    writer.start()
    assert writing.wait(60)
    running = threading.Thread(target=lambda: work.run(CLASS))
    running.start()
    time.sleep(1)
    began = time.monotonic()
    (other,) = own.tokenize(mail(customer, "quick"))
    waited = time.monotonic() - began
    pinned = own.sql("SELECT version FROM fingerprint_versions WHERE class = %s", [CLASS])
    go.set()
    writer.join()
    running.join()
    assert pinned == [(before,)]
    assert waited < 2
    assert versions(own) == {before + 1: MAILS + 2}
    assert found(own, "slow", "quick") == [1, 1]
    own.erasure.erase(own.caller("billing"), [results[0].id, other.id])


def test_a_switch_that_never_comes_is_given_up(
    own: Stage, work: Reindexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing has changed for anybody."""
    (before,) = versions(own)
    monkeypatch.setattr(reindexing, "SWITCHES", 2)
    with psycopg.connect(own.database.owner_url) as rival:
        rival.execute("LOCK TABLE records IN ROW EXCLUSIVE MODE")
        error = refusal(lambda: work.run(CLASS), Unavailable)
    assert error.code == "rotation_under_way"
    assert versions(own) == {before: MAILS}
    work.run(CLASS)
    assert versions(own) == {before + 1: MAILS}


def test_the_worker_leaves_it_alone_and_trims_it_later(own: Stage, work: Reindexer) -> None:
    """A live one is the command's; what an ended one retired is deleted after the horizon."""
    with pytest.raises(InterruptedError):
        rebuilt(work, unwrapping=_Stops()).run(CLASS)
    own.rotation_work.run(threading.Event())
    row = work.run(CLASS).rotation
    own.sql("UPDATE rotations SET finished_at = now() - interval '99 days' WHERE id = %s", [row.id])
    rebuilt(own.rotation_work, horizon=timedelta(days=30)).trim()
    with own.admin() as admin:
        info = admin.read_key(KEY)
    assert info.latest_version == row.to_version
    assert info.min_available_version == row.to_version
    assert found(own, "a11") == [1]


def test_the_interface_says_what_rotates_a_fingerprint_key(own: Stage) -> None:
    """It is refused there, with a hint."""
    error = refusal(lambda: own.rotations.start(own.caller("operator"), KEY), NotFound)
    assert "keys reindex" in (error.hint or "")


def test_a_backup_from_before_a_rotation_is_indexed_again(
    own: Stage, work: Reindexer, rotated: int
) -> None:
    """Its records are under a version that Vault computes no more; nothing but them is needed."""
    before = rotated
    own.sql("UPDATE fingerprint_versions SET version = %s WHERE class = %s", [before - 1, CLASS])
    own.sql(
        "UPDATE records SET fingerprint = sha256(token::bytea), fingerprint_version = %s"
        " WHERE class = %s AND erased_at IS NULL",
        [before - 1, CLASS],
    )
    refusal(lambda: own.tokenize(mail(own.customer(), "early")), VaultRefused)
    assert work.run(CLASS).rotation.to_version == before
    assert versions(own) == {before: MAILS}
    assert found(own, "a0", "a1") == [1, 1]
