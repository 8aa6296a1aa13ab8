"""The database stopped, frozen, read-only, or its ledger locked: 503 in time, and back by itself.

In every case nothing is revealed, nothing is half-written, no use is spent, the process stays
alive, readiness says why, and all is well again without a restart. E5: no ledger, no plaintext.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import pytest

from tests.process.processes import children_of
from tests.support.running import Answer, Running
from tests.support.whole import card
from vault_service.embedded.postgres import Postgres

# Seconds: the design's limit for an answer, with a little for a busy machine, and the way back.
WITHIN: Final = 3.3
BACK_WITHIN: Final = 15.0
# The last two are told to those who waited behind somebody who found out.
CODES: Final = ("database_unavailable", "commit_unknown", "overloaded", "timed_out")
NUMBER: Final = "4242424242424242"
OTHER: Final = "5555555555554444"
THIRD: Final = "378282246310005"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A record, a grant for it, and a disclosure token that is not spent."""

    customer: str
    token: str
    jws: str


@pytest.fixture
def scene(service: Running) -> Scene:
    """One that no other test has."""
    customer = service.customer()
    token = service.card(customer, NUMBER)
    return Scene(customer=customer, token=token, jws=service.token(service.grant(token)))


def calls(service: Running, scene: Scene) -> dict[str, Callable[[], Answer]]:
    """A call of each kind that needs the database."""
    body = {"class": "payment_card", "customer": scene.customer, "value": card(OTHER)}
    # Another number: two writers of one would also wait for each other.
    items = [{**body, "value": card(THIRD)}]
    search = {"class": "payment_card", "value": NUMBER}
    return {
        "read": lambda: service.call("GET", f"/v1/tokens/{scene.token}", by="billing"),
        "write": lambda: service.call("POST", "/v1/tokens", body, by="billing"),
        "batch": lambda: service.call("POST", "/v1/tokens/batch", {"items": items}, by="billing"),
        "search": lambda: service.call("POST", "/v1/tokens/search", search, by="support"),
        "customer": lambda: service.call("POST", "/v1/customers", {}, by="billing"),
        "me": lambda: service.call("GET", "/v1/principals/me", by="operator"),
        "requests": lambda: service.call("GET", "/v1/disclosures", by="officer-1"),
        "reveal": lambda: service.reveal(scene.jws, scene.token),
    }


def timed(call: Callable[[], Answer]) -> tuple[Answer, float]:
    """The answer, and how long it took."""
    began = time.monotonic()
    answer = call()
    return answer, time.monotonic() - began


def refused(service: Running, scene: Scene, *, writes_only: bool = False) -> None:
    """Every call answers 503 in time, at once and again a little later; the process is alive."""
    asked = calls(service, scene)
    if writes_only:
        asked = {name: asked[name] for name in ("write", "batch", "customer", "reveal")}
    for _ in range(2):
        with ThreadPoolExecutor(len(asked)) as pool:
            told = {name: pool.submit(timed, call) for name, call in asked.items()}
        for name, future in told.items():
            answer, seconds = future.result()
            assert answer.status == 503, (name, answer.raw)
            assert seconds < WITHIN, (name, seconds)
            assert NUMBER.encode() not in answer.raw
            assert answer.code in CODES, answer.raw
            assert int(answer.headers["Retry-After"]) >= 1
        alive, seconds = timed(lambda: service.call("GET", "/healthz"))
        assert alive.status == 200
        assert seconds < 1


def unready(service: Running) -> None:
    """Readiness says so in time; what it found is believed for a second."""
    until = time.monotonic() + WITHIN
    while True:
        answer, seconds = timed(lambda: service.call("GET", "/readyz"))
        assert seconds < WITHIN
        if answer.status == 503:
            return
        assert time.monotonic() < until, answer.raw


def recovered(service: Running, scene: Scene) -> None:
    """The same process serves again: nothing was written, and the use was not spent."""
    assert service.process is not None
    assert service.process.poll() is None
    until = time.monotonic() + BACK_WITHIN
    while (answer := service.call("GET", "/readyz")).status != 200:
        assert time.monotonic() < until, answer.raw
        time.sleep(0.1)
    rows = service.sql("SELECT count(*) FROM records WHERE customer = %s", [scene.customer])
    assert rows == [(1,)]
    # What failed a moment ago is believed for a moment; a refusal of that kind spends nothing.
    while (answer := service.reveal(scene.jws, scene.token)).status == 503:
        assert time.monotonic() < until, answer.raw
        time.sleep(0.05)
    assert answer.status == 200, answer.raw
    assert answer.body["results"][0]["value"]["number"] == NUMBER
    assert service.reveal(scene.jws, scene.token).status == 403
    assert calls(service, scene)["write"]().status == 201


@contextmanager
def frozen(server: Postgres) -> Iterator[None]:
    """Stop the postmaster and each of its processes, as a hung disk or host would."""
    postmaster = server.child.pid
    assert postmaster is not None
    stopped = [postmaster, *children_of(postmaster)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def test_postgres_is_gone(service: Running, scene: Scene, own_postgres: Postgres) -> None:
    """Stopped for real; 503 everywhere but /healthz."""
    own_postgres.stop()
    try:
        refused(service, scene)
        unready(service)
    finally:
        own_postgres.start()
    recovered(service, scene)


def test_postgres_is_frozen(service: Running, scene: Scene, own_postgres: Postgres) -> None:
    """It keeps its connections and says nothing; callers hear of it in the same time."""
    with frozen(own_postgres):
        refused(service, scene)
        unready(service)
    recovered(service, scene)


def test_e5_a_read_only_database_reveals_nothing(service: Running, scene: Scene) -> None:
    """Where nothing can be written, as on a full disk or a standby, no plaintext goes out."""
    service.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    service.sql("SELECT pg_reload_conf()")
    try:
        time.sleep(0.2)  # until every session has read it
        refused(service, scene, writes_only=True)
    finally:
        service.sql("ALTER SYSTEM RESET default_transaction_read_only")
        service.sql("SELECT pg_reload_conf()")
    recovered(service, scene)


@contextmanager
def small_disk(owner: os.stat_result) -> Iterator[Path | None]:
    """A folder on a file system of one MiB; None where nobody may mount one."""
    place = Path(tempfile.mkdtemp(prefix="vd-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        place.rmdir()
        yield None
        return
    place.chmod(0o755)
    (place / "space").mkdir(mode=0o700)
    os.chown(place / "space", owner.st_uid, owner.st_gid)
    try:
        yield place / "space"
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)  # noqa: S607
        place.rmdir()


def fill(service: Running) -> bool:
    """Write to the outbox until the server says that the disk is full."""
    filler = "INSERT INTO ledger_outbox (bucket, id, entry) VALUES (0, gen_random_uuid(), %s)"
    full = False
    with psycopg.connect(service.database.admin_url, autocommit=True) as link:
        for size in (4_000, 400, 40, 4):
            # Random bytes: what the server cannot make shorter.
            with contextlib.suppress(psycopg.errors.DiskFull):
                full = False
                for _ in range(20_000):
                    link.execute(filler, [os.urandom(size)])
                continue
            full = True
    return full


@contextmanager
def full(service: Running, state: Path) -> Iterator[None]:
    """The outbox on a disk that has no byte left, or, without the right to mount, what it says."""
    with small_disk((state / "postgres" / "data").stat()) as folder:
        if folder is None:
            service.sql(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$"
            )
            service.sql(
                "CREATE TRIGGER full_disk BEFORE INSERT ON ledger_outbox"
                " FOR EACH ROW EXECUTE FUNCTION full_disk()"
            )
            yield
            service.sql("DROP FUNCTION full_disk() CASCADE")
            return
        names = service.sql("SELECT indexname FROM pg_indexes WHERE tablename = 'ledger_outbox'")
        parts = ["TABLE ledger_outbox", *(f"INDEX {name}" for (name,) in names)]
        service.sql("CREATE TABLE kept AS SELECT * FROM ledger_outbox")
        service.sql("TRUNCATE ledger_outbox")
        service.sql(f"CREATE TABLESPACE small LOCATION '{folder}'")
        try:
            for part in parts:
                service.sql(f"ALTER {part} SET TABLESPACE small")
            assert fill(service)
            yield
        finally:
            for part in parts:
                service.sql(f"ALTER {part} SET TABLESPACE pg_default")
            service.sql("TRUNCATE ledger_outbox")
            service.sql("CHECKPOINT")
            service.sql("DROP TABLESPACE small")
            service.sql(
                "INSERT INTO ledger_outbox (bucket, id, entry, created_at)"
                " SELECT bucket, id, entry, created_at FROM kept"
            )
            service.sql("DROP TABLE kept")


def test_e5_a_full_disk_reveals_nothing(service: Running, scene: Scene, state: Path) -> None:
    """The ledger's own disk has no byte left: no plaintext, and the same token works later."""
    with full(service, state):
        refused(service, scene, writes_only=True)
    recovered(service, scene)


def test_e5_a_locked_ledger_reveals_nothing(service: Running, scene: Scene) -> None:
    """While nobody can append to the outbox, reveals answer 503 and masked reads go on."""
    with psycopg.connect(service.database.admin_url) as link:
        link.execute("LOCK TABLE ledger_outbox IN ACCESS EXCLUSIVE MODE")
        refused(service, scene, writes_only=True)
        assert calls(service, scene)["read"]().status == 200
        link.rollback()
    recovered(service, scene)
