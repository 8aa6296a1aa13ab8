"""A key is rotated while workers are killed and callers write and reveal: no request fails.

The suite does it with a few thousand values; a campaign with a million, and tells how fast it was
beside the bare work: Vault's rewrap and the UPDATE, and nothing else.
"""

from __future__ import annotations

import contextlib
import gc
import random
import secrets
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from keys import spool
from keys.data_keys import MAX_BATCH, WrappedKey
from tests.process import campaign
from tests.support.running import environment_of
from tests.support.whole import Stage, admin_of, standing
from vault_service.ledger.entries import Event
from vault_service.services.adoption import Adoption
from vault_service.services.audit import Audit
from vault_service.services.rewrapping import LANES
from vault_service.services.rotation_ports import RotationRow, RotationState
from vault_service.services.tokenization import TokenizeItem
from vault_service.settings import ProcessRole

pytestmark = pytest.mark.unmeasured

KEY = "records-contact"
WORKER = "import sys; from vault_service.cli.main import main; main(['worker', '--period', '1'])"
WORKERS = 2
REAL = 200
# What B6 asks for. Without an end, workers that are killed as soon as they are up do nothing.
KILLS = 20 if campaign.under_way() else 3
# Keys whose rewrapping is compared with the bare work: enough for a rate.
COMPARED = 60_000
_LETTERS = str.maketrans("0123456789", "ghijklmnop")
BARE = """
UPDATE bare AS t SET wrapped_key = n.wrapped, kek_version = n.version
FROM unnest(%b::text[], %b::integer[], %b::smallint[], %b::text[])
    AS n (wrapped, version, bucket, token)
WHERE t.bucket = n.bucket AND t.token = n.token
"""

# Values whose envelopes nobody opens: it is their wrapped keys that a rotation is about.
FILL = """
INSERT INTO records (bucket, token, customer, class, format, variant, mask, fingerprint,
    fingerprint_version, envelope, wrapped_key, kek, kek_version)
SELECT c.bucket, 'tok_' || md5(random()::text || n.place), c.id, 'email_address', 'opaque',
    'opaque', '{}', sha256((random()::text || n.place)::bytea), 1,
    decode(repeat('ab', 110), 'hex'), n.wrapped, %s, n.version
FROM unnest(%s::text[], %s::integer[]) WITH ORDINALITY AS n (wrapped, version, place)
JOIN unnest(%s::text[]) WITH ORDINALITY AS k (id, place) ON k.place = n.place %% 64 + 1
JOIN customers AS c ON c.id = k.id
"""


class Workers:
    """Worker processes that share the rotation."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self._stage = stage
        self._settings = stage.settings_for(ProcessRole.WORKER)
        self._environment = environment_of(self._settings, port=1, workers=1)
        self.log = folder / "worker.log"
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start one, with secret-ids of its own."""
        admin = admin_of(self._stage.mount)
        assert self._settings.vault_spool is not None
        for role in ("sign-ledger", "rotate", "inspect"):
            spool.issue(admin, role, self._settings.vault_spool, 1)
        admin.close()
        with self.log.open("ab") as stream:
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
            process.wait(60)
        self._running.clear()


class Traffic:
    """Callers who write and reveal without a pause, and note each failure."""

    def __init__(self, stage: Stage, tokens: list[str]) -> None:
        self._stage = stage
        self._tokens = tokens
        self._stop = threading.Event()
        self.failures: list[BaseException] = []
        self.done = 0

    def _write(self) -> None:
        (view,) = self._stage.tokenize(
            TokenizeItem(
                data_class="email_address",
                customer=self._stage.customer(),
                # Letters alone: among many thousands one in digits is like a card number.
                value=f"{secrets.token_hex(8).translate(_LETTERS)}@example.com",
            )
        )
        assert view.id

    def _reveal(self) -> None:
        some = random.sample(self._tokens, 5)
        grant = self._stage.granted(standing(*some))
        assert len(self._stage.revealed(self._stage.token(grant.id), *some)) == len(some)

    def _call(self, what: int) -> None:
        while not self._stop.is_set():
            try:
                (self._write, self._reveal)[what]()
                self.done += 1
            except BaseException as failure:  # noqa: BLE001 -- every failure is a finding
                self.failures.append(failure)
            time.sleep(0.02)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """All of it, for a block."""
        threads = [threading.Thread(target=self._call, args=(what,)) for what in (0, 1)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()


def fill(stage: Stage, count: int) -> None:
    """So many more wrapped keys, each a data key of its own."""
    customers = [stage.customer() for _ in range(64)]
    for start in range(0, count, 5_000):
        keys: list[WrappedKey] = []
        while len(keys) < min(5_000, count - start):
            keys += [key.wrapped for key in stage.tokenization._data_keys.take(KEY, 500)]
        keys = keys[: count - start]
        texts, numbers = [each.ciphertext for each in keys], [each.kek_version for each in keys]
        assert stage.sql(FILL, [KEY, texts, numbers, customers]) == len(keys)
    adopt(stage)
    stage.sql("VACUUM ANALYZE records")


def adopt(stage: Stage) -> None:
    """Bind to the ledger what was written past it; a rotation does not rewrap it otherwise."""
    uow = stage.rotation_work._uow
    adoption = Adoption(uow=uow, audit=Audit(process_role="cli", uow=uow))
    with ThreadPoolExecutor(LANES) as threads:
        for done in [threads.submit(adoption.run) for _ in range(LANES)]:
            done.result()


def row(stage: Stage, rotation: str) -> RotationRow:
    """The rotation as an auditor reads it."""
    return stage.rotations.get(stage.caller("auditor"), rotation).row


def until(stage: Stage, rotation: str, state: RotationState, seconds: float) -> RotationRow:
    """Wait for a state."""
    deadline = time.monotonic() + seconds
    while (found := row(stage, rotation)).state is not state:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def below(stage: Stage, version: int) -> int:
    """How many keys still lie under an older version, counted by their own words."""
    pattern = f"vault:v{version}:%"
    ((count,),) = stage.sql(
        "SELECT count(*) FROM records WHERE kek = %s AND wrapped_key NOT LIKE %s", [KEY, pattern]
    )
    return int(count)


def bare(stage: Stage, lanes: int) -> float:
    """Keys rewrapped in a second by rewrap and UPDATE alone, in a copy of the table."""
    rotator = stage.rotation_work._rotator
    stage.key_rotation.begin("tests", KEY)
    rows = stage.sql("SELECT bucket, token, wrapped_key FROM bare ORDER BY 1, 2")
    batches = [rows[start : start + MAX_BATCH] for start in range(0, len(rows), MAX_BATCH)]

    def lane(link: psycopg.Connection[Any]) -> None:
        while batches:
            with contextlib.suppress(IndexError):
                batch = batches.pop(0)
                fresh = rotator.rewrap([WrappedKey.parse(KEY, text) for _, _, text in batch])
                done = [each for each in fresh if isinstance(each, WrappedKey)]
                assert len(done) == len(batch)
                link.execute(
                    BARE,
                    (
                        [each.ciphertext for each in done],
                        [each.kek_version for each in done],
                        [bucket for bucket, _, _ in batch],
                        [token for _, token, _ in batch],
                    ),
                    prepare=True,
                    binary=True,
                )

    with contextlib.ExitStack() as stack:
        links = [
            stack.enter_context(psycopg.connect(stage.database.admin_url, autocommit=True))
            for _ in range(lanes)
        ]
        began = time.monotonic()
        with ThreadPoolExecutor(lanes) as threads:
            for done in [threads.submit(lane, link) for link in links]:
                done.result()
        return len(rows) / (time.monotonic() - began)


def undisturbed(stage: Stage) -> float:
    """Keys rewrapped in a second by one worker that nobody kills."""
    stage.sql("DELETE FROM rotations")
    view, _ = stage.rotations.start(stage.caller("operator"), KEY)
    begun = stage.rotation_work._begin(view.row)
    assert begun is not None
    began = time.monotonic()
    passed = stage.rotation_work._rewrapping.rewrap(begun, threading.Event())
    assert passed.whole
    return passed.rewrapped / (time.monotonic() - began)


def compared(stage: Stage) -> dict[str, float]:
    """A pass beside the bare work, with one thread, two, or as many, as fairly as it can be.

    The bare work has a copy of the table, so that neither finds what the other left; each begins
    with its tables in order and nothing waiting for the disk; and each is once the first.
    """
    names = ", ".join(
        name
        for (name,) in stage.sql(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'records'::regclass"
            " AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"
        )
    )
    stage.sql("CREATE TABLE bare (LIKE records INCLUDING ALL)")
    stage.sql(
        f"INSERT INTO bare ({names}) SELECT {names} FROM records WHERE kek = %s",  # noqa: S608 -- names
        [KEY],
    )
    # Threads of the bare work; 0 is the pass.
    found: dict[int, list[float]] = {lanes: [] for lanes in range(LANES + 1)}
    order = list(found)
    for _ in range(len(order) if campaign.under_way() else 1):
        for lanes in order:
            for table in ("records", "bare", "ledger_outbox"):
                stage.sql(f"VACUUM (ANALYZE) {table}")
            stage.sql("CHECKPOINT")
            gc.collect()
            gc.freeze()  # as a worker does
            found[lanes].append(bare(stage, lanes) if lanes else undisturbed(stage))
            gc.unfreeze()
        order.append(order.pop(0))
    stage.sql("DROP TABLE bare")
    speed, *bares = (statistics.median(each) for each in found.values())
    return {
        "keys_per_second": round(speed),
        **{f"of_bare_{lanes}": round(speed / each, 2) for lanes, each in enumerate(bares, 1)},
    }


def test_a_rotation_survives_kills_and_nobody_notices(stage: Stage, tmp_path: Path) -> None:
    """Every caller is served, nothing stays below the new version, one certificate says so."""
    rng = random.Random(campaign.seed(3))  # noqa: S311 -- a campaign repeats itself
    count = campaign.rounds(5_000)
    stage.sql("DELETE FROM rotations")
    stage.without_records(KEY)
    customer = stage.customer()
    items = [
        TokenizeItem(data_class="email_address", customer=customer, value=f"r{n}@example.com")
        for n in range(REAL)
    ]
    real = [view.id for view in stage.tokenize(*items, batch=True)]
    fill(stage, count - REAL)
    traffic, workers = Traffic(stage, real), Workers(stage, tmp_path)
    kills = 0
    with traffic.running(), stage.told(Event.ROTATION_CERTIFICATE) as certificates:
        for _ in range(WORKERS):
            workers.start()
        view, _ = stage.rotations.start(stage.caller("operator"), KEY)
        until_state = time.monotonic() + 120 + count / 1_000
        while row(stage, view.row.id).state in {RotationState.REQUESTED, RotationState.RUNNING}:
            assert time.monotonic() < until_state, workers.log.read_text()[-2000:]
            time.sleep(rng.uniform(0.5, 2.5))
            if kills < KILLS:
                workers.kill(rng.randrange(WORKERS))
                workers.start()
                kills += 1
        if not campaign.under_way():
            # The suite does not wait for what a pool may hold: it empties the only one.
            stage.tokenization._data_keys.discard(KEY)
            time.sleep(0.5)
            stage.sql("UPDATE rotations SET clear_at = clear_at - interval '10 minutes'")
        done = until(stage, view.row.id, RotationState.DONE, 200)
    workers.stop()
    assert [str(each) for each in traffic.failures] == []
    assert traffic.done > 10
    assert kills > 0
    (certificate,) = certificates
    assert certificate.details["remaining"] == 0
    assert done.rewrapped >= done.total >= count
    assert below(stage, done.target) == 0
    with stage.admin() as admin:
        assert admin.read_key(KEY).min_decryption_version == done.target
    remaining = below(stage, done.target)
    stage.sql(
        "DELETE FROM records AS r USING (SELECT bucket, token FROM records WHERE kek = %s"
        " ORDER BY bucket, token OFFSET %s) AS n WHERE r.bucket = n.bucket AND r.token = n.token",
        [KEY, COMPARED],
    )
    campaign.report(
        keys=count,
        kills=kills,
        requests=traffic.done,
        failed=len(traffic.failures),
        remaining=remaining,
        **compared(stage),
    )
