"""A class is re-indexed while many write, search and are late: no value is lost or doubled.

The suite does it with a few hundred values and one rotation; a campaign with 100,000 and more.
Each writer has a memory of its own of which versions are in force, as processes have, and some of
them pause between their fingerprints and their statement, so that whole steps of the rotation
fall in between. Processes that index are killed on the way.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keys import spool
from keys.fingerprint import Fingerprinter
from tests.process import campaign
from tests.support.faults import rebuilt
from tests.support.running import environment_of
from tests.support.whole import Stage, admin_of
from vault_service.ledger.entries import Event
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.tokenization import TokenizeItem, TokenizeRequest
from vault_service.settings import ProcessRole

pytestmark = pytest.mark.unmeasured

CLASS = "telephone"
KEY = "fingerprint-telephone"
WRITERS = 6
# How many of the units of work that begin late.
LATE = 0.4
COMMAND = (
    "import sys; from vault_service.cli.main import main;"
    " main(['--json', 'keys', 'reindex', 'telephone', '--yes'])"
)


def number(place: int) -> str:
    """A telephone number of a range that nobody has."""
    return f"+49301{place:07d}"


class Late:
    """A unit of work that begins late, now and then."""

    def __init__(self, real: UnitOfWork, rng: random.Random) -> None:
        self._real = real
        self._rng = rng

    def run(self, work: Callable[[Transaction], Any]) -> Any:
        """Run it, after a while."""
        if self._rng.random() < LATE:
            time.sleep(self._rng.uniform(0, 1.5))
        return self._real.run(work)


class Writers:
    """Callers who write and search the same values all at once."""

    def __init__(self, stage: Stage, customers: list[str], known: int) -> None:
        self._stage = stage
        self._customers = customers
        self._known = known
        self._stop = threading.Event()
        self._began = time.monotonic()
        self.failures: list[BaseException] = []
        self.tokens: dict[tuple[str, int], set[str]] = {}
        self._lock = threading.Lock()
        self.written = self.searched = 0

    def write(self, seed: int) -> None:
        """Write values that others write too, now and then late."""
        rng = random.Random(seed)  # noqa: S311 -- a campaign repeats itself
        real = self._stage.tokenization

        vault = real._fingerprints._transit  # type: ignore[attr-defined]
        use_case = rebuilt(real, uow=Late(real._uow, rng), fingerprints=Fingerprinter(vault))
        while not self._stop.is_set():
            batch = [self._draw(rng) for _ in range(rng.choice((1, 1, 5)))]
            items = tuple(
                TokenizeItem(data_class=CLASS, customer=customer, value=number(place))
                for customer, place in batch
            )
            request = TokenizeRequest(caller=self._stage.caller("billing"), items=items, batch=True)
            try:
                results: list[Any] = list(use_case.submit(request).results)
                with self._lock:
                    for name, view in zip(batch, results, strict=True):
                        self.tokens.setdefault(name, set()).add(view.id)
                    self.written += len(batch)
            except BaseException as failure:  # noqa: BLE001 -- every failure is a finding
                self.failures.append(failure)
            time.sleep(0.02)

    def _draw(self, rng: random.Random) -> tuple[str, int]:
        """What is there already, or what others write for the first time at this very moment."""
        if rng.random() < 0.5:
            return rng.choice(self._customers), rng.randrange(self._known)
        place = self._known + int(4 * (time.monotonic() - self._began)) + rng.randrange(4)
        return self._customers[place % len(self._customers)], place

    def search(self, seed: int) -> None:
        """Search what was there from the first."""
        rng = random.Random(seed)  # noqa: S311 -- a campaign repeats itself
        while not self._stop.is_set():
            place = rng.randrange(self._known)
            try:
                (found,) = self._stage.reading.search(
                    self._stage.caller("support"), data_class=CLASS, values=[number(place)]
                )
                customers = {view.customer for view in found}  # type: ignore[union-attr]
                assert self._customers[place % len(self._customers)] in customers, place
                self.searched += 1
            except BaseException as failure:  # noqa: BLE001 -- every failure is a finding
                self.failures.append(failure)
            time.sleep(0.03)

    def threads(self) -> list[threading.Thread]:
        """All of them."""
        return [
            *(threading.Thread(target=self.write, args=(seed,)) for seed in range(WRITERS)),
            threading.Thread(target=self.search, args=(99,)),
        ]

    def stop(self) -> None:
        """Let them end."""
        self._stop.set()


def indexing(stage: Stage, folder: Path) -> subprocess.Popen[bytes]:
    """The command, as an operator runs it."""
    settings = stage.settings_for(ProcessRole.WORKER)
    assert settings.vault_spool is not None
    admin = admin_of(stage.mount)
    for role in ("reveal", "ingest", "rotate"):
        spool.issue(admin, role, settings.vault_spool, 1)
    admin.close()
    environment = environment_of(settings, port=1, workers=1)
    environment["VAULT_SERVICE_DATABASE_OWNER_URL"] = stage.database.owner_url
    with (folder / "reindex.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND],
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
        )


def test_a_class_is_indexed_anew_under_all_that_writes(stage: Stage, tmp_path: Path) -> None:
    """Every request is served, every value is found, none is doubled, one version is left."""
    rng = random.Random(campaign.seed(7))  # noqa: S311 -- a campaign repeats itself
    known = campaign.rounds(400)
    customers = [stage.customer() for _ in range(8)]
    for start in range(0, known, 500):
        stage.tokenize(
            *(
                TokenizeItem(data_class=CLASS, customer=customers[place % 8], value=number(place))
                for place in range(start, min(start + 500, known))
            ),
            batch=True,
        )
    writers = Writers(stage, customers, known)
    threads = writers.threads()
    for each in threads:
        each.start()
    kills, began = 0, time.monotonic()
    with stage.told(Event.ROTATION_CERTIFICATE) as certificates:
        while True:
            command = indexing(stage, tmp_path)
            try:
                # Killed twice, wherever it is by then.
                code = command.wait(rng.uniform(1.5, 4.0) if kills < 2 else 120 + known / 500)
            except subprocess.TimeoutExpired:
                assert kills < 2, (tmp_path / "reindex.log").read_text()[-2000:]
                command.send_signal(signal.SIGKILL)
                command.wait(10)
                kills += 1
                continue
            break
    took = time.monotonic() - began
    writers.stop()
    for each in threads:
        each.join()
    assert code == 0, (tmp_path / "reindex.log").read_text()[-2000:]
    assert [str(each) for each in writers.failures] == []
    assert writers.written > 20
    assert writers.searched > 10
    doubled = {name: found for name, found in writers.tokens.items() if len(found) > 1}
    assert doubled == {}
    under = stage.sql(
        "SELECT fingerprint_version, count(*), count(DISTINCT (customer, fingerprint))"
        " FROM records WHERE class = %s AND erased_at IS NULL GROUP BY 1",
        [CLASS],
    )
    ((version, records, distinct),) = under
    assert records == distinct
    assert {each.details["to_version"] for each in certificates} == {version}
    # The index agrees with what the values say: each is found under its present fingerprint.
    results = stage.reading.search(
        stage.caller("support"), data_class=CLASS, values=[number(place) for place in range(50)]
    )
    assert all(results)
    campaign.report(
        records=records,
        kills=kills,
        written=writers.written,
        searched=writers.searched,
        failed=len(writers.failures),
        doubled=len(doubled),
        seconds=round(took, 1),
    )
