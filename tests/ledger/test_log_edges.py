"""The log at its edges: nothing yet, rubbish in it, parts that are missing, work that fails."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from keys.errors import KeyNotReady
from tests.support.log_stage import ORIGIN, LogStage, entry, verified
from tests.support.whole import refusal
from vault_service.errors import NotFound, Unavailable
from vault_service.ledger import merkle, note
from vault_service.ledger.checkpoint import Checkpoint
from vault_service.ledger.entries import encode
from vault_service.ledger.faults import EntriesMissing, LogError, TileMissing
from vault_service.ledger.verify import Verified
from vault_service.services import archiving as archives
from vault_service.services.archiving import _require_whole
from vault_service.services.log_keeper import LogKeeper
from vault_service.services.log_ports import LogSigner
from vault_service.services.log_reading import SCAN, Question
from vault_service.services.outbox_ports import OutboxEntry
from vault_service.services.sequencing import Sequenced, Sequencer


@pytest.fixture(scope="module", autouse=True)
def beginning(log: LogStage) -> None:
    """Before anything was signed there is no head, no key under a name, no tile."""
    assert refusal(lambda: log.reading.checkpoint(log.auditor), NotFound)
    assert refusal(lambda: log.reading.verifier_keys(log.auditor), NotFound)
    assert refusal(lambda: log.reading.tile(log.auditor, "0/000"), NotFound)
    page = log.reading.search(log.auditor, Question(newest_first=True))
    assert (page.entries, page.next) == ((), None)
    assert log.sequencer.sign() is None
    (first,) = log.write(entry(log.rng))
    log.sequencer.sequence()
    unproven = refusal(lambda: log.reading.inclusion(log.auditor, first.id), NotFound)
    assert unproven.code == "ledger_checkpoint_not_found"


@contextmanager
def without(log: LogStage, table: str, condition: str) -> Iterator[None]:
    """Rows are gone for a block."""
    log.sql(f"CREATE TABLE kept AS SELECT * FROM {table} WHERE {condition}")  # noqa: S608
    log.sql(f"DELETE FROM {table} WHERE {condition}")  # noqa: S608
    try:
        yield
    finally:
        log.sql(f"INSERT INTO {table} SELECT * FROM kept")  # noqa: S608
        log.sql("DROP TABLE kept")


def _fill_to(log: LogStage, beyond: int) -> None:
    """A log whose size leaves that remainder by 256."""
    log.keeper.finish()
    log.fill((beyond - log.size()) % 256 or 256)


def test_a_log_of_whole_tiles_verifies(log: LogStage, tmp_path: Path) -> None:
    """Nothing is partial at level 0, and nothing is missing."""
    _fill_to(log, 0)
    _fill_to(log, 0)
    found: Verified = verified(log.export(tmp_path / "log.tar"), log.keys())
    assert found.entries == log.size()
    assert log.size() % 256 == 0


RUBBISH = (
    b"",
    b"{}",
    b"\xff",
    b"[1]",
    b'{"at":1}',
    b'{"actor":{"id":"x"},"at":"2026-01-01T00:00:00","event":"x"}',
)


def test_rubbish_is_logged_and_found_by_nothing(log: LogStage, tmp_path: Path) -> None:
    """Whatever stood in the outbox is in the log; it has no name, and stops nothing."""
    _fill_to(log, 0)
    with log.ingest.begin() as tx:
        tx.outbox.append([OutboxEntry(bucket=0, id=uuid.uuid4(), entry=each) for each in RUBBISH])
    log.keeper.finish()
    everything = [one.members for one in _all(log, Question())]
    assert everything.count({}) >= 4
    named = _all(log, Question(names={"event": "log.started"}))
    assert all(one.members["event"] == "log.started" for one in named)
    log.fill(300)
    assert verified(log.export(tmp_path / "log.tar"), log.keys()).events["?"] >= 5


def test_a_bundle_of_nothing_but_rubbish_has_the_time_of_its_writing(log: LogStage) -> None:
    """Then at least the look-up by time passes it by or not, as it should."""
    _fill_to(log, 0)
    with log.ingest.begin() as tx:
        tx.outbox.append(
            [OutboxEntry(bucket=0, id=uuid.uuid4(), entry=b"x%d" % each) for each in range(256)]
        )
    log.keeper.finish()
    ((first, last, terms),) = log.sql(
        "SELECT first_at, last_at, terms FROM ledger_bundles ORDER BY number DESC LIMIT 1"
    )
    assert first == last
    assert terms == []


def _all(log: LogStage, question: Question) -> list[object]:
    """All pages."""
    found: list[object] = []
    cursor = None
    while True:
        page = log.reading.search(
            log.auditor, Question(names=question.names, cursor=cursor, limit=500)
        )
        found += page.entries
        cursor = page.next
        if cursor is None:
            return found


@pytest.mark.parametrize("order", ["oldest first", "newest first"])
def test_a_search_that_finds_little_stops_and_goes_on(
    log: LogStage, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page looks through so many bundles and no more, and says where to go on."""
    from vault_service.services import log_reading

    newest_first = order == "newest first"

    monkeypatch.setattr(log_reading, "SCAN", 2)
    assert SCAN > 2
    log.fill(1_500)
    (wanted,) = log.fill(1)
    assert wanted.customer is not None
    since = wanted.at
    found, cursor, pages = [], None, 0
    while True:
        page = log.reading.search(
            log.auditor,
            Question(newest_first=newest_first, cursor=cursor, limit=500, since=since),
        )
        pages += 1
        found += [one.members.get("id") for one in page.entries]
        cursor = page.next
        if cursor is None:
            break
    assert wanted.id in found
    plain = log.reading.search(log.auditor, Question(newest_first=newest_first, limit=500))
    pages_of_all = 1
    while plain.next is not None:
        plain = log.reading.search(
            log.auditor,
            Question(newest_first=newest_first, limit=500, cursor=plain.next),
        )
        pages_of_all += 1
    assert pages_of_all > 2


def test_parts_that_are_missing_are_told(log: LogStage) -> None:
    """A full tile or a full bundle that is not there is a fault of the log, not a 404."""
    log.fill(600)
    with without(log, "ledger_tiles", "level = 0 AND number = 0"), pytest.raises(TileMissing):
        log.reading.tile(log.auditor, "0/000")
    with without(log, "ledger_bundles", "number = 0"):
        with pytest.raises(EntriesMissing):
            log.reading.tile(log.auditor, "entries/000")
        page = log.reading.search(log.auditor, Question(limit=1))
        assert page.entries[0].index == 256


def test_a_partial_bundle_that_lacks_an_entry_is_not_filled(log: LogStage) -> None:
    """The sequencer does not make a bundle that its tile would contradict."""
    _fill_to(log, 100)
    last = log.size() - 1
    with without(log, "ledger_tail", f"leaf = {last}"):
        log.write(*(entry(log.rng) for _ in range(200)))
        with pytest.raises(EntriesMissing):
            log.sequencer.sequence()
    log.keeper.finish()
    assert log.size() == last + 201


def test_a_head_is_not_thrown_away_while_another_holds_the_tree(log: LogStage) -> None:
    """It waits its turn: with two busy sequencers nothing would be signed otherwise."""
    log.write(entry(log.rng))
    log.sequencer.sequence()
    found: list[Checkpoint | None] = []
    signing = threading.Thread(target=lambda: found.append(log.fresh_sequencer().sign()))
    with log.uow.begin() as tx:
        assert tx.log.lock() is not None
        signing.start()
        signing.join(0.5)
        assert not found
    signing.join(10)
    assert found == [log.head()]


class _Meanwhile:
    """Vault's key, and something that happens while it signs."""

    def __init__(self, signer: LogSigner, happens: Callable[[], object]) -> None:
        self._signer = signer
        self._happens = happens

    def sign(self, message: bytes) -> tuple[int, bytes]:
        self._happens()
        return self._signer.sign(message)

    def public_keys(self) -> Mapping[int, bytes]:
        return self._signer.public_keys()


def test_what_comes_while_vault_signs_has_waited_since_it_was_written(log: LogStage) -> None:
    """A slow signature does not make the log look fresher than it is."""
    log.keeper.finish()
    log.write(entry(log.rng))
    log.sequencer.sequence()

    def happens() -> None:
        log.write(entry(log.rng))
        log.sequencer.sequence()
        time.sleep(0.4)

    slow = Sequencer(uow=log.uow, signer=_Meanwhile(log.sequencer._signer, happens), origin=ORIGIN)
    assert slow.sign() is not None
    with log.uow.begin(read_only=True) as tx:
        assert tx.log.behind() >= 0.4

    # A head that another has overtaken changes nothing.
    overtaken = Sequencer(
        uow=log.uow, signer=_Meanwhile(log.sequencer._signer, log.keeper.finish), origin=ORIGIN
    )
    assert overtaken.sign() is not None
    with log.uow.begin(read_only=True) as tx:
        assert tx.log.behind() == 0.0
    assert log.head().size == log.size()


def test_old_checkpoints_are_thinned_to_one_an_hour(log: LogStage) -> None:
    """Those of the last day stay, and the newest in any case."""
    for _ in range(4):
        log.fill(1)
    newest = log.checkpoint()
    log.sql(
        "UPDATE ledger_checkpoints SET signed_at ="
        " date_trunc('hour', now()) - interval '3 days' + interval '1 min'"
    )
    now = [0.0]
    keeper = LogKeeper(
        sequencer=log.sequencer, uow=log.uow, alarms=log.keeper._alarms, clock=lambda: now[0]
    )
    keeper.step()
    assert log.sql("SELECT count(*) FROM ledger_checkpoints")[0][0] > 1
    now[0] = 4_000.0
    keeper.step()
    assert log.sql("SELECT note FROM ledger_checkpoints") == [(newest,)]


class Failing:
    """A sequencer that fails in one way after the other, and then works."""

    def __init__(self, errors: list[Exception], done: Callable[[], None]) -> None:
        self._errors = errors
        self._done = done

    def sequence(self) -> Sequenced:
        """Fail, or say that there was nothing to do."""
        if self._errors:
            raise self._errors.pop(0)
        self._done()
        return Sequenced(entries=0, size=0)

    def sign(self) -> None:
        """Sign nothing."""


def test_whatever_fails_the_keeper_goes_on(log: LogStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database, a Vault and a log that fail are told and tried again."""
    from vault_service.services import log_keeper

    monkeypatch.setattr(log_keeper, "PAUSE", 0.01)
    stop = threading.Event()
    errors: list[Exception] = [
        Unavailable("gone"), KeyNotReady("no key"), LogError("broken"),
    ]  # fmt: skip
    failing = Failing(errors, stop.set)
    keeper = LogKeeper(sequencer=failing, uow=log.uow, alarms=log.keeper._alarms)  # type: ignore[arg-type]
    log.write(entry(log.rng))
    began = time.monotonic()
    keeper.run(stop)
    assert errors == []
    assert time.monotonic() - began < 10
    log.keeper.finish()


def test_finishing_takes_as_many_rounds_as_it_needs(
    log: LogStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backlog of several batches is under a head before the process ends."""
    from vault_service.services import sequencing

    monkeypatch.setattr(sequencing, "BATCH", 50)
    log.write(*(entry(log.rng) for _ in range(175)))
    log.keeper.finish()
    assert log.sql("SELECT count(*) FROM ledger_outbox") == [(0,)]
    assert log.head().size == log.size()


def test_an_archive_that_holds_too_little_is_refused(log: LogStage, tmp_path: Path) -> None:
    """Before anything is deleted the file must hold exactly what is about to go."""
    _fill_to(log, 5)
    file = log.export(tmp_path / "log.tar")
    _require_whole(file, log.keys(), 0, log.size())
    with pytest.raises(EntriesMissing):
        _require_whole(file, log.keys(), 256, 512)
    with log.uow.begin(read_only=True) as tx, without(log, "ledger_bundles", "number = 1"):
        from vault_service.ledger.export import ExportWriter

        with (tmp_path / "part.tar").open("wb") as stream:
            archives._put_bundles(ExportWriter(stream), tx.log, range(1), None)
            with pytest.raises(EntriesMissing):
                archives._put_bundles(ExportWriter(stream), tx.log, range(2), None)


def test_what_becomes_full_or_goes_while_it_is_read_is_found_or_passed_by(
    log: LogStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two statements a partial bundle may become full, and an old one be archived."""
    from vault_service.services.log_ports import Located
    from vault_service.storage.log import SqlLog

    _fill_to(log, 9)
    (made,) = log.write(entry(log.rng))
    log.keeper.finish()
    located = SqlLog.locate

    def then_full(self: SqlLog, name: uuid.UUID) -> Located:
        found = located(self, name)
        _fill_to(log, 9)
        return found

    monkeypatch.setattr(SqlLog, "locate", then_full)
    proof = log.reading.inclusion(log.auditor, made.id)
    assert proof.entry == encode(made)
    head = Checkpoint.parse(note.parse(proof.checkpoint.encode()).text)
    leaf = merkle.leaf_hash(encode(made))
    assert merkle.included_root(leaf, proof.index, head.size, proof.proof) == head.root
    whole = SqlLog.bundles
    monkeypatch.setattr(
        SqlLog,
        "bundles",
        lambda self, numbers: {
            number: packed for number, packed in whole(self, numbers).items() if number
        },
    )
    page = log.reading.search(log.auditor, Question(limit=1))
    assert page.entries[0].index == 256
