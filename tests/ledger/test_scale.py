"""How fast it is, in the same run as what it is compared with (E1, E4, and the proofs' p99).

The suite takes a small log and lenient bounds, because other tests share its cores; a campaign
takes as many entries as asked (a million) and the bounds of the acceptance facts.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
import uuid
from pathlib import Path

import psycopg
import pytest

from tests.process import campaign
from tests.support.log_stage import LogStage, entry, row, verified
from vault_service.ledger import tiles
from vault_service.ledger.entries import Entry
from vault_service.services.log_reading import Question

pytestmark = pytest.mark.unmeasured

ENTRIES = campaign.rounds(12_000)
PROOFS = 300
# Acceptance facts: seconds for a million entries on one core; milliseconds of a proof; share of the
# plain INSERT's rate. The suite's own bounds only catch what got slower by its nature.
VERIFY_SECONDS = 10.0
PROOF_MS = 20.0 if campaign.under_way() else 100.0
APPEND_SHARE = 0.7 if campaign.under_way() else 0.3
CLIENTS = 8
SECONDS = 6.0 if campaign.under_way() else 1.5
WRITE_AT_ONCE = 4_096


def _load(log: LogStage, count: int) -> tuple[list[Entry], float]:
    """A log of at least that many entries; some of them, and the sequencer's rate."""
    rng = random.Random(1)  # noqa: S311 -- made-up names
    actors = [entry(rng).actor for _ in range(20)]
    kept: list[Entry] = []
    seconds = 0.0
    with psycopg.connect(log.database.admin_url, autocommit=True) as link:
        for start in range(0, count, WRITE_AT_ONCE):
            made = [
                entry(rng, actor=rng.choice(actors))
                for _ in range(min(WRITE_AT_ONCE, count - start))
            ]
            kept += made[:: len(made) // 16 + 1]
            with (
                link.cursor() as cursor,
                cursor.copy("COPY ledger_outbox (bucket, id, entry) FROM STDIN") as copy,
            ):
                for each in made:
                    one = row(each)
                    copy.write_row((one.bucket, one.id, one.entry))
            began = time.perf_counter()
            log.keeper.finish()
            seconds += time.perf_counter() - began
    return kept, count / seconds


def test_e1_verification_and_proofs_keep_their_times(log: LogStage, tmp_path: Path) -> None:
    """An export verifies within ten seconds a million; a proof takes milliseconds."""
    kept, rate = _load(log, ENTRIES)
    file = log.export(tmp_path / "log.tar")
    keys, head = log.keys(), log.checkpoint()
    began = time.process_time()
    found = verified(file, keys, head)
    per_million = (time.process_time() - began) * 1_000_000 / found.entries
    rng = random.Random(2)  # noqa: S311 -- which proofs are asked for
    times: list[float] = []
    searches: list[float] = []
    for each in rng.choices(kept, k=PROOFS):
        began = time.perf_counter()
        log.reading.inclusion(log.auditor, each.id)
        times.append((time.perf_counter() - began) * 1000)
        old = rng.randrange(1, found.entries)
        began = time.perf_counter()
        log.reading.consistency(log.auditor, old=old, new=None)
        times.append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        page = log.reading.search(log.auditor, Question(names={"token": each.tokens[0]}))
        searches.append((time.perf_counter() - began) * 1000)
        assert [one.members["id"] for one in page.entries] == [each.id]
    sizes = dict(
        log.sql(
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class"
            " WHERE relkind = 'r' AND starts_with(relname, 'ledger')"
        )
    )
    campaign.report(
        entries=found.entries,
        sequenced_per_second=round(rate),
        verify_seconds_per_million=round(per_million, 2),
        proof_p50_ms=round(statistics.median(times), 2),
        proof_p99_ms=round(statistics.quantiles(times, n=100)[98], 2),
        search_p99_ms=round(statistics.quantiles(searches, n=100)[98], 2),
        **sizes,
        bytes_per_entry=round(sum(sizes.values()) / found.entries),
        export_bytes_per_entry=round(file.stat().st_size / found.entries),
    )
    assert len(list(tiles.bundles_of(found.entries))) == -(-found.entries // 256)
    assert per_million < VERIFY_SECONDS * (1 if campaign.under_way() else 3)
    assert statistics.quantiles(times, n=100)[98] < PROOF_MS


class Appending:
    """Clients that append for a while, one entry in each transaction."""

    def __init__(self, log: LogStage, table: str) -> None:
        self._log = log
        self._statement = (
            f"INSERT INTO {table} (bucket, id, entry) VALUES (%s, %s, %s)".encode()  # noqa: S608
        )
        self._until = 0.0
        self.done = 0
        self._lock = threading.Lock()

    def _client(self, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 -- made-up names
        bodies = [row(entry(rng)).entry for _ in range(50)]
        count = 0
        with psycopg.connect(self._log.database.admin_url, autocommit=True) as link:
            while time.monotonic() < self._until:
                link.execute(
                    self._statement, (count % 1024, uuid.uuid4(), bodies[count % 50]), prepare=True
                )
                count += 1
        with self._lock:
            self.done += count

    def rate(self) -> float:
        """Entries a second."""
        self._until = time.monotonic() + SECONDS
        began = time.monotonic()
        threads = [threading.Thread(target=self._client, args=(seed,)) for seed in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.done / (time.monotonic() - began)


def _durable(log: LogStage, fsync: str | None) -> None:
    """Have commits reach the disk, as in production; None for what the test server does."""
    log.sql("ALTER SYSTEM RESET fsync" if fsync is None else f"ALTER SYSTEM SET fsync = {fsync}")
    log.sql("SELECT pg_reload_conf()")
    time.sleep(0.2)


def test_e4_appending_keeps_its_share_of_a_plain_insert(log: LogStage) -> None:
    """Outbox, its index and a sequencer at work against an INSERT into a bare table."""
    log.sql(
        "CREATE TABLE plain (bucket smallint, id uuid, entry bytea,"
        " created_at timestamptz DEFAULT now(), PRIMARY KEY (bucket, id))"
    )
    plain: list[float] = []
    appended: list[float] = []
    _durable(log, "on")
    for _ in range(3):
        plain.append(Appending(log, "plain").rate())
        stop = threading.Event()
        keeper = threading.Thread(target=log.keeper.run, args=(stop,))
        keeper.start()
        appended.append(Appending(log, "ledger_outbox").rate())
        stop.set()
        keeper.join()
        log.keeper.finish()
    _durable(log, None)
    log.sql("DROP TABLE plain")
    share = statistics.median(appended) / statistics.median(plain)
    campaign.report(
        plain_per_second=round(statistics.median(plain)),
        appended_per_second=round(statistics.median(appended)),
        share=round(share, 2),
    )
    assert share >= APPEND_SHARE
