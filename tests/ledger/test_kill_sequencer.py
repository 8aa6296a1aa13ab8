"""Two workers, killed again and again while entries come in: no gap, no duplicate, no fork (E3).

The suite kills a few times; a campaign as often as asked.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keys import spool
from tests.process import campaign
from tests.support.log_stage import LogStage, entries_of, entry, verified
from tests.support.running import environment_of
from tests.support.whole import admin_of
from vault_service.errors import NotFound
from vault_service.settings import ProcessRole

pytestmark = pytest.mark.unmeasured

WORKER = "import sys; from vault_service.cli.main import main; main(['worker', '--period', '3600'])"
WORKERS = 2
WRITERS = 3
# Seconds: acknowledged to included, at the slowest (acceptance fact E3).
SLOWEST = 10.0


class Workers:
    """Worker processes, each with its own log file."""

    def __init__(self, log: LogStage, folder: Path) -> None:
        self._log = log
        self._folder = folder
        settings = replace(log.settings, process_role=ProcessRole.WORKER)
        self._environment = environment_of(settings, port=1, workers=1)
        self._running: list[subprocess.Popen[bytes]] = []
        self.started = 0

    def wait(self) -> None:
        """Wait until all that were started are at work, so that a kill meets one that is."""
        deadline = time.monotonic() + 60
        while (self._folder / "worker.log").read_bytes().count(b'"worker started"') < self.started:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def start(self) -> None:
        """Start one, with a secret-id of its own."""
        admin = admin_of(self._log.mount)
        assert self._log.settings.vault_spool is not None
        spool.issue(admin, "sign-ledger", self._log.settings.vault_spool, 1)
        admin.close()
        self.started += 1
        with (self._folder / "worker.log").open("ab") as stream:
            self._running.append(
                subprocess.Popen(
                    [sys.executable, "-c", WORKER],
                    env=self._environment,
                    stdout=stream,
                    stderr=stream,
                )
            )

    def kill(self, which: int) -> None:
        """Kill one, as a power cut would."""
        process = self._running.pop(which)
        process.kill()
        process.wait(10)

    def stop(self) -> None:
        """Ask all to stop."""
        for process in self._running:
            process.send_signal(signal.SIGTERM)
        for process in self._running:
            # One that was not up yet ends by the signal itself.
            ended = process.wait(30)
            assert ended in (0, -signal.SIGTERM), (self._folder / "worker.log").read_text()[-2000:]
        self._running.clear()


class Watch:
    """What goes on meanwhile: who writes, how far the log is behind, which heads are seen."""

    def __init__(self, log: LogStage) -> None:
        self._log = log
        self._stop = threading.Event()
        self.acknowledged: list[str] = []
        self.heads: dict[bytes, None] = {}
        self.behind = 0.0
        self._threads = [threading.Thread(target=self._look)] + [
            threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)
        ]

    def _write(self, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 -- made-up names
        while not self._stop.is_set():
            made = self._log.write(*(entry(rng) for _ in range(rng.choice((1, 1, 1, 7, 60)))))
            self.acknowledged += [each.id for each in made]
            time.sleep(0.004)

    def _look(self) -> None:
        while not self._stop.is_set():
            with self._log.uow.begin(read_only=True) as tx:
                self.behind = max(self.behind, tx.log.behind())
            with contextlib.suppress(NotFound):
                self.heads[self._log.checkpoint()] = None
            time.sleep(0.05)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """All of it, for a block."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()


def test_e3_killed_sequencers_leave_no_gap_duplicate_or_fork(log: LogStage, tmp_path: Path) -> None:
    """Every acknowledged entry stands once, and all heads ever seen are one history."""
    rng = random.Random(campaign.seed(7))  # noqa: S311 -- a campaign repeats itself
    workers = Workers(log, tmp_path)
    watch = Watch(log)
    for _ in range(WORKERS):
        workers.start()
    # Before there is a worker at all, every entry waits for its Python to load.
    workers.wait()
    with watch.running():
        for _ in range(campaign.rounds(5)):
            workers.wait()
            time.sleep(rng.uniform(0.0, 1.0))
            workers.kill(rng.randrange(WORKERS))
            workers.start()
        workers.wait()
        time.sleep(1.0)
    workers.stop()
    log.keeper.finish()

    assert watch.behind < SLOWEST
    assert len(watch.heads) > 1
    found = [each["id"] for each in entries_of(log)]
    assert len(found) == len(set(found)) == log.size() == log.head().size
    assert set(watch.acknowledged) <= set(found)
    assert log.sql("SELECT count(*), count(DISTINCT leaf), max(leaf) + 1 FROM ledger_leaves") == [
        (len(found), len(found), len(found))
    ]
    proven = verified(log.export(tmp_path / "log.tar"), log.keys(), *watch.heads)
    assert proven.entries == len(found)
    campaign.report(
        entries=len(found), heads=len(watch.heads), slowest_seconds=round(watch.behind, 2)
    )


def test_e3_two_sequencers_take_turns(log: LogStage) -> None:
    """While one holds the tree, the other does nothing, and nothing is lost between them."""
    log.write(*(entry(log.rng) for _ in range(50)))
    other = log.fresh_sequencer()
    with log.uow.begin() as tx:
        assert tx.log.lock() is not None
        assert other.sequence() is None
    one, two = log.sequencer, other
    threads = [
        threading.Thread(target=lambda each=each: [each.sequence() for _ in range(20)])
        for each in (one, two)
    ]
    for thread in threads:
        thread.start()
    for _ in range(40):
        log.write(entry(log.rng))
    for thread in threads:
        thread.join()
    log.keeper.finish()
    found = [each["id"] for each in entries_of(log)]
    assert len(found) == len(set(found)) == log.size()
