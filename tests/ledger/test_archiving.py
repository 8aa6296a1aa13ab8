"""Old entries move to files that still verify, and every proof stays (retention)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keys.signature import verify_ed25519
from tests.support.log_stage import LogStage, verified
from tests.support.whole import refusal
from vault_service.errors import Conflict, InvalidInput, NotFound
from vault_service.ledger.entries import Entry, Event
from vault_service.ledger.export import Export, Layered
from vault_service.ledger.faults import LogError
from vault_service.ledger.verify import TamperingFound, verify
from vault_service.services.archiving import Archived, Archiving
from vault_service.services.audit import Audit
from vault_service.services.log_reading import Question
from vault_service.storage import engine as engines
from vault_service.storage.unit_of_work import SqlUnitOfWork

NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=200)
BEFORE = NOW - timedelta(days=100)


@pytest.fixture(scope="module")
def archiving(log: LogStage) -> Iterator[Archiving]:
    """The use case, as the schema's owner."""
    uow = SqlUnitOfWork(
        engines.create(log.database.owner_url, application_name="test", pool_size=1)
    )
    yield Archiving(uow=uow, audit=Audit(process_role="cli", uow=uow))
    uow.close()


@pytest.fixture(scope="module")
def old(log: LogStage) -> list[Entry]:
    """Entries of more than half a year ago, in three bundles."""
    made = log.fill(600, at=OLD)
    log.fill(300)
    return made


def test_the_last_three_months_stay_at_hand(
    log: LogStage, archiving: Archiving, old: list[Entry], tmp_path: Path
) -> None:
    """A younger day is refused, and a day before everything finds nothing to do."""
    assert old
    keys = log.keys()
    young = NOW - timedelta(days=89)
    assert refusal(lambda: archiving.archive(tmp_path / "a", before=young, keys=keys), InvalidInput)
    long_ago = NOW - timedelta(days=900)
    assert refusal(lambda: archiving.archive(tmp_path / "a", before=long_ago, keys=keys), Conflict)
    assert not (tmp_path / "a").exists()


def _try_with_a_spoilt_bundle(log: LogStage, archiving: Archiving, file: Path) -> None:
    """A bundle that was tampered with is found before anything is deleted."""
    ((packed,),) = log.sql("SELECT packed FROM ledger_bundles WHERE number = 1")
    plain = gzip.decompress(packed)
    spoilt = gzip.compress(plain.replace(b'"success"', b'"refused"', 1))
    log.sql("UPDATE ledger_bundles SET packed = %s WHERE number = 1", (spoilt,))
    try:
        with pytest.raises(LogError):
            archiving.archive(file, before=BEFORE, keys=log.keys())
        assert log.sql("SELECT first_leaf FROM ledger_tree") == [(0,)]
        assert log.sql("SELECT count(*) FROM ledger_bundles WHERE number < 2") == [(2,)]
    finally:
        log.sql("UPDATE ledger_bundles SET packed = %s WHERE number = 1", (packed,))


def test_archived_entries_verify_and_every_proof_stays(
    log: LogStage, archiving: Archiving, old: list[Entry], tmp_path: Path
) -> None:
    """The archive alone, the rest alone, and both together: each says what it proves."""
    _try_with_a_spoilt_bundle(log, archiving, tmp_path / "spoilt.tar")
    kept = log.checkpoint()
    keys = log.keys()
    file = tmp_path / "archive.tar"
    seen: list[int] = []
    done = archiving.archive(
        file, before=BEFORE, keys=keys, progress=lambda step, _: seen.append(step)
    )
    assert (done.first, done.end, seen) == (0, 512, [2])
    log.keeper.finish()
    # Twelve months after the youngest entry that it can hold; the ledger says so too.
    assert done.keep_until == (BEFORE + timedelta(days=366)).date()
    (told,) = log.reading.search(log.auditor, Question(names={"event": Event.LOG_ARCHIVED})).entries
    assert told.members["details"] == {
        "first": 0,
        "end": 512,
        "sha256": done.digest,
        "keep_until": done.keep_until.isoformat(),
    }

    alone = verified(file, keys, complete=False)
    assert alone.entries == 512
    assert alone.missing == ((512, alone.head.size),)

    rest = log.export(tmp_path / "rest.tar")
    with pytest.raises(TamperingFound) as found:
        verified(rest, keys, kept)
    assert found.value.code == "ledger_entries_missing"
    partly = verified(rest, keys, kept, complete=False)
    assert partly.missing == ((0, 512),)
    assert partly.events[Event.LOG_ARCHIVED] == 1

    sources = [Export(rest), Export(file)]
    whole = verify(Layered(sources), keys=keys, check=verify_ed25519, kept=[kept])
    for source in sources:
        source.close()
    assert whole.missing == ()
    assert whole.entries == whole.head.size

    proof = log.reading.inclusion(log.auditor, old[10].id)
    assert proof.entry is None
    assert log.reading.consistency(log.auditor, old=100, new=None).proof
    gone = refusal(lambda: log.reading.tile(log.auditor, "entries/000"), NotFound)
    assert gone.code == "ledger_archived"
    question = Question(names={"token": old[10].tokens[0]})
    assert log.reading.search(log.auditor, question).entries == ()
    assert refusal(lambda: archiving.archive(tmp_path / "b", before=BEFORE, keys=keys), Conflict)


def test_two_archives_do_not_both_delete(archiving: Archiving) -> None:
    """Whoever began where the log no longer begins is refused."""
    wrong = Archived(first=256, end=512, digest="0" * 64, keep_until=NOW.date())
    assert refusal(lambda: archiving._forget(wrong), Conflict)
