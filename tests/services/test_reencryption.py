"""Re-encryption: every value under a new data key, with every way to stop in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keys.data_keys import DataKeyPool, Unwrapper
from tests.support.communications import contents, keep, message
from tests.support.faults import Hooked, rebuilt
from tests.support.servers import DatabaseServer, VaultServer
from tests.support.whole import Stage, present, refusal, stage_of_its_own, standing
from vault_service.errors import NotFound, Unavailable
from vault_service.ledger.entries import Event
from vault_service.services import reencryption
from vault_service.services.activity import EntryDraft
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit
from vault_service.services.binding_check import BindingCheck
from vault_service.services.reencryption import Reencrypted, Reencryption
from vault_service.services.service_choices import ChoiceDraft
from vault_service.services.tokenization import TokenizeItem
from vault_service.storage import engine as engines
from vault_service.storage.unit_of_work import SqlUnitOfWork

KEY = "records-contact"
ACCOUNT = "records-account"
MAILS = 450


@pytest.fixture(scope="module")
def own(
    postgres_server: DatabaseServer,
    vault_server: VaultServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    """A vault of its own, with some hundred values of one KEK and a card."""
    folder = tmp_path_factory.mktemp("spool")
    with stage_of_its_own(postgres_server, vault_server, folder) as stage:
        customers = [stage.customer() for _ in range(3)]
        items = [
            TokenizeItem(
                data_class="email_address",
                customer=customers[number % 3],
                value=f"a{number}@example.com",
            )
            for number in range(MAILS)
        ]
        stage.tokenize(*items)
        stage.card(customers[0])
        yield stage


@pytest.fixture(scope="module")
def work(own: Stage) -> Iterator[Reencryption]:
    """The use case, as a command has it: the owner's login, and Vault's two roles."""
    uow = SqlUnitOfWork(
        engines.create(own.database.owner_url, application_name="test", pool_size=8)
    )
    audit = Audit(process_role="cli", uow=uow)
    unwrapping, pool = own.reveals._keys._unwrapping, own.tokenization._data_keys
    assert isinstance(unwrapping, Unwrapper)
    assert isinstance(pool, DataKeyPool)
    yield Reencryption(
        uow=uow,
        unwrapping=unwrapping,
        data_keys=pool,
        keks=frozenset((KEY, "records-card")),
        audit=audit,
        alarms=Alarms(uow=uow, audit=audit),
    )
    uow.close()


def sealed(stage: Stage, key: str = KEY) -> dict[str, tuple[bytes, str]]:
    """Envelope and wrapped key of each record."""
    rows = stage.sql("SELECT token, envelope, wrapped_key FROM records WHERE kek = %s", [key])
    return {row[0]: (bytes(row[1]), row[2]) for row in rows}


def all_new(before: dict[str, tuple[bytes, str]], after: dict[str, tuple[bytes, str]]) -> bool:
    """Whether every record has another envelope and another wrapped key."""
    assert before.keys() == after.keys()
    return all(
        before[token][0] != after[token][0] and before[token][1] != after[token][1]
        for token in before
    )


def values(stage: Stage, tokens: list[str]) -> list[object]:
    """What a grant reveals."""
    return stage.revealed(stage.token(stage.granted(standing(*tokens)).id), *tokens)


def intact(stage: Stage, work: Reencryption) -> bool:
    """Whether every record is as the ledger says."""
    present(stage.worker.log_keeper).finish()
    return BindingCheck(uow=work._uow).run().findings == ()


def test_every_value_is_sealed_anew(own: Stage, work: Reencryption) -> None:
    """Other envelopes and keys, the same values, a certificate; records of other KEKs stay."""
    before, cards = sealed(own), sealed(own, "records-card")
    some = list(before)[:20]
    plain = values(own, some)
    seen: list[int] = []
    with own.told() as entries:
        found = work.run(KEY, progress=seen.append)
    assert (found.done, found.refused, seen[-1]) == (MAILS, 0, MAILS)
    assert all_new(before, sealed(own))
    assert sealed(own, "records-card") == cards
    assert values(own, some) == plain
    batches = [each for each in entries if each.event is Event.RECORDS_REENCRYPTED]
    assert sum(each.count or 0 for each in batches) == MAILS
    assert all(each.commitments for each in batches)
    (certificate,) = [each for each in entries if each.event is Event.REENCRYPTION_CERTIFICATE]
    assert (certificate.key, certificate.count) == (KEY, MAILS)
    assert certificate.details["run"] == found.run
    assert certificate.details["refused"] == 0
    assert intact(own, work)


def test_there_is_no_other_key(work: Reencryption) -> None:
    """Evidence, signing keys and what does not exist are refused before anything is done."""
    error = refusal(lambda: work.run("evidence"), NotFound)
    assert error.code == "vault_key_not_found"


@pytest.mark.parametrize("after", [1, 5, 12, 17])
def test_a_run_that_died_goes_on(own: Stage, work: Reencryption, after: int) -> None:
    """Nothing of the last batch is done, nothing before it is done again, and one tells the end."""
    before = sealed(own)
    commits = iter(range(1000))

    def ending(_tx: object) -> None:
        if next(commits) == after:
            raise Unavailable("died")

    dying = rebuilt(work, uow=Hooked(work._uow, ending=ending))
    refusal(lambda: dying.run(KEY), Unavailable)
    with own.told(Event.REENCRYPTION_CERTIFICATE) as certificates:
        found = work.run(KEY)
    assert found.ended is not None
    assert found.ended.done == MAILS
    assert certificates[0].count == MAILS
    assert all_new(before, sealed(own))


def test_several_share_a_run_while_values_are_revealed(own: Stage, work: Reencryption) -> None:
    """Each record is sealed anew once, one certificate tells of it, and no reveal fails."""
    before = sealed(own)
    some = list(before)[::9]
    plain = values(own, some)
    done: list[Reencrypted] = []
    stop = threading.Event()
    wrong: list[object] = []

    def reveal() -> None:
        while not stop.is_set():
            try:
                if values(own, some) != plain:
                    wrong.append("another value")
            except BaseException as failure:  # noqa: BLE001 -- every failure is a finding
                wrong.append(failure)

    reading = threading.Thread(target=reveal)
    reading.start()
    workers = [threading.Thread(target=lambda: done.append(work.run(KEY))) for _ in range(3)]
    with own.told(Event.REENCRYPTION_CERTIFICATE) as certificates:
        for each in workers:
            each.start()
        for each in workers:
            each.join()
    stop.set()
    reading.join()
    assert wrong == []
    assert sum(each.done for each in done) % MAILS == 0
    assert len(certificates) == sum(each.done for each in done) // MAILS
    assert all_new(before, sealed(own))
    assert intact(own, work)


@pytest.mark.parametrize(
    "change",
    ["wrapped_key = left(wrapped_key, -8) || 'AAAAAAA='", "envelope = '\\x00'", "version = 2"],
)
def test_what_was_changed_is_refused(own: Stage, work: Reencryption, change: str) -> None:
    """It is left as it is and counted, with an alarm; the others are sealed anew."""
    before = sealed(own)
    token = next(iter(before))
    (kept,) = own.sql(
        "SELECT envelope, wrapped_key, version FROM records WHERE token = %s", [token]
    )
    own.sql(f"UPDATE records SET {change} WHERE token = %s", [token])  # noqa: S608 -- above
    own.sql("DELETE FROM alarms")
    with own.told(Event.ALARM_RAISED) as alarms:
        found = work.run(KEY)
    own.sql(
        "UPDATE records SET envelope = %s, wrapped_key = %s, version = %s WHERE token = %s",
        [*kept, token],
    )
    assert (found.done, found.refused) == (MAILS - 1, 1)
    assert [each.tokens for each in alarms] == [(token,)]
    assert intact(own, work)


def test_a_bound_value_that_does_not_open_is_refused(own: Stage, work: Reencryption) -> None:
    """Where Vault refuses the key, or the envelope does not open, the value is left alone."""
    from keys.errors import CiphertextRejected
    from keys.secret import Secret

    before = sealed(own)

    class Unwraps:
        def unwrap(self, wrapped: Any) -> Any:
            real = work._unwrapping.unwrap(wrapped)
            return [CiphertextRejected(), Secret(b"x" * 32), *real[2:]][: len(real)]

    found = rebuilt(work, unwrapping=Unwraps()).run(KEY)
    after = sealed(own)
    assert found.refused > 0
    assert found.done + found.refused == MAILS
    assert sum(before[token] == after[token] for token in before) == found.refused
    assert intact(own, work)


def test_no_key_of_an_old_version_is_written(own: Stage, work: Reencryption) -> None:
    """A floor that rose empties the pool; where no newer key can be had, nothing is written."""
    before = sealed(own)
    own.sql("INSERT INTO key_floors (key, min_version) VALUES (%s, 99)", [KEY])
    error = refusal(lambda: work.run(KEY), Unavailable)
    assert error.code == "key_not_ready"
    assert sealed(own) == before
    own.sql("DELETE FROM key_floors")
    assert work.run(KEY).done == MAILS


def test_a_finished_run_is_told_once(own: Stage, work: Reencryption) -> None:
    """Whoever comes second finds it closed."""
    found = work.run("records-card")
    assert found.ended is not None
    with own.told() as nothing:
        assert work._end(found.run) is None
    assert nothing == []


def test_activity_is_sealed_anew(
    own: Stage, work: Reencryption, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Choices of services and segments lie under one key: all of both, in batches of three."""
    monkeypatch.setattr(reencryption, "MAX_BATCH", 3)
    billing = own.caller("billing")
    customers = [own.customer() for _ in range(4)]
    segments: list[str] = []
    for customer in customers:
        choices = [
            ChoiceDraft(value={"service": f"hosting.{each}", "since": "2026-01-01"})
            for each in (("a", "b", "c", "d") if customer == customers[0] else ("a",))
        ]
        present(own.services.services).record(billing, customer, choices)
        entries = [
            EntryDraft(
                customer=customer,
                at=datetime(2025, month, 1, tzinfo=UTC),
                kind="signed_in",
                details=f"month {month}",
            )
            for month in (1, 2)
        ]
        segments += present(own.services.activity).record(billing, entries).segments
    own.rotations.start(own.caller("operator"), ACCOUNT)
    rebuilt(own.rotation_work, settle=timedelta(0)).run(threading.Event())
    assert intact(own, work)

    def lying() -> dict[str, tuple[bytes, str]]:
        rows = own.sql("SELECT id, envelope, wrapped_key FROM activity_segments")
        return sealed(own, ACCOUNT) | {row[0]: (bytes(row[1]), row[2]) for row in rows}

    before, plain = lying(), values(own, segments)
    with own.told(Event.REENCRYPTION_CERTIFICATE) as certificates:
        found = rebuilt(work, keks=frozenset((ACCOUNT,))).run(ACCOUNT)
    assert (len(before), found.done, found.refused) == (15, 15, 0)
    assert certificates[0].count == 15
    assert all_new(before, lying())
    assert values(own, segments) == plain
    assert intact(own, work)


def test_a_communication_is_refused_and_stays_as_it_is(own: Stage, work: Reencryption) -> None:
    """Its format is another one; it is counted, and its contents are had as before."""
    content = message()
    kept = keep(own, own.customer(), content).id
    every = rebuilt(work, keks=frozenset(("records-communication",)))
    found = every.run("records-communication")
    assert (found.done, found.refused) == (0, 1)
    proof = own.token(own.granted(contents(kept)).id)
    answer = own.reveals.content(own.caller("requester"), disclosure_token=proof, token=kept)
    assert b"".join(answer.pieces) == content
