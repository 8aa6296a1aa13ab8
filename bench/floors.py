"""Floors: the least that must be done, by the same servers in the same run, without the service."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from bench.loader import Load, Loader, Request
from bench.stack import BenchError, Stack, free_port
from keys.admin import AdminTransit
from keys.secret import Secret
from vault_service.domain import tokens
from vault_service.embedded.postgres import binaries

KEK: Final = "records-card"
CONTACT_KEK: Final = "records-contact"
HMAC: Final = "fingerprint-payment-card"
# A sealed card is about as large.
ENVELOPE: Final = bytes(170)
ENTRY: Final = bytes(520)
MASK: Final = '{"brand":"visa","number":"424242••••••4242","exp_month":12,"exp_year":2039}'
_THREADS: Final = 2

INSERT: Final = """
WITH written AS (
    INSERT INTO bench.records (bucket, token, customer, class, format, variant, mask, fingerprint,
        fingerprint_version, envelope, wrapped_key, kek, kek_version)
    SELECT o.bucket, o.token, o.customer, 'payment_card', 'opaque', 'opaque 2039-12', o.mask::jsonb,
        o.fingerprint, 1, o.envelope, o.wrapped, 'records-card', 1
    FROM unnest(%b::smallint[], %b::text[], %b::text[], %b::text[], %b::bytea[], %b::bytea[],
        %b::text[]) AS o (bucket, token, customer, mask, fingerprint, envelope, wrapped)
    RETURNING token
), told AS (
    INSERT INTO bench.ledger_outbox (bucket, id, entry)
    SELECT * FROM unnest(%b::smallint[], %b::uuid[], %b::bytea[])
)
SELECT token FROM written
"""
SELECT_SEALED: Final = """
SELECT r.token, r.envelope, r.wrapped_key
FROM unnest(%b::smallint[], %b::text[]) AS n (bucket, token)
JOIN records AS r ON r.bucket = n.bucket AND r.token = n.token
"""
SELECT_MASKED: Final = (
    "SELECT bucket, token, customer, class, format, version, mask, metadata, reference,"
    " created_at, expires_at FROM records WHERE bucket = %b AND token = %b"
    " AND erased_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Where the servers are, as plain data for processes of the floors' own.

    Attributes:
        customers: (bucket, id) of some.
    """

    database: str
    vault: str
    token: str
    customers: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, stack: Stack, customers: list[str]) -> Reached:
        """The servers of a stack."""
        address, token = stack.vault()
        return cls(
            database=stack.database(),
            vault=address,
            token=token,
            customers=tuple((tokens.bucket_of(each), each) for each in customers),
        )

    def transit(self) -> AdminTransit:
        """Vault's Transit."""
        return AdminTransit(address=self.vault, token=Secret(self.token.encode()))

    def link(self) -> psycopg.Connection[Any]:
        """A connection as a careful program has it."""
        return psycopg.connect(self.database, autocommit=True, prepare_threshold=1)


def prepare(reached: Reached) -> None:
    """Make the tables that the floors write to: copies with the same indexes and constraints.

    Copies, because nobody could sequence the floors' entries or open their values.
    """
    with reached.link() as link:
        link.execute("DROP SCHEMA IF EXISTS bench CASCADE")
        link.execute("CREATE SCHEMA bench")
        for name in ("records", "ledger_outbox"):
            link.execute(f"CREATE TABLE bench.{name} (LIKE public.{name} INCLUDING ALL)")
        link.execute(
            "ALTER TABLE bench.records ADD FOREIGN KEY (bucket, customer)"
            " REFERENCES public.customers (bucket, id)"
        )


# ---------------------------------------------------------------- pgbench


def pgbench(reached: Reached, folder: Path, *, clients: int, seconds: float) -> tuple[float, float]:
    """One INSERT of the row with its outbox row for each commit: (commits a second, mean ms).

    Raises:
        BenchError: it failed.
    """
    program = binaries() / "pgbench"
    if not program.exists():
        raise BenchError("there is no pgbench beside the embedded PostgreSQL")
    buckets = ",".join(str(bucket) for bucket, _ in reached.customers)
    people = ",".join(f"'{name}'" for _, name in reached.customers)
    script = folder / "insert.sql"
    script.write_text(
        f"""\\set k random(1, {len(reached.customers)})
WITH written AS (
    INSERT INTO bench.records (bucket, token, customer, class, format, variant, mask, fingerprint,
        fingerprint_version, envelope, wrapped_key, kek, kek_version)
    VALUES ((ARRAY[{buckets}]::smallint[])[:k], 'tok_' || gen_random_uuid(),
        (ARRAY[{people}])[:k], 'payment_card', 'opaque', 'opaque 2039-12', '{MASK}'::jsonb,
        uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 1,
        decode(repeat('ab', {len(ENVELOPE)}), 'hex'), repeat('v', 89), 'records-card', 1)
    RETURNING bucket
)
INSERT INTO bench.ledger_outbox (bucket, id, entry)
SELECT bucket, gen_random_uuid(), decode(repeat('ab', {len(ENTRY)}), 'hex') FROM written;
""",  # noqa: S608 -- names that the service gave, and numbers
        encoding="utf-8",
    )
    done = subprocess.run(  # noqa: S603 -- the program beside the embedded server
        [
            *(str(program), "-n", "-M", "prepared", "-c", str(clients)),
            *("-j", str(min(_THREADS, clients)), "-T", str(max(1, round(seconds)))),
            *("-f", str(script), reached.database),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    speed = re.search(r"tps = ([0-9.]+)", done.stdout)
    latency = re.search(r"latency average = ([0-9.]+) ms", done.stdout)
    if done.returncode or speed is None or latency is None:
        raise BenchError(f"pgbench failed: {done.stderr[-1000:]}")
    return float(speed[1]), float(latency[1])


# ---------------------------------------------------------------- bare loops


def loops(work: Callable[..., Iterator[int]], *given: Any, processes: int, seconds: float) -> float:
    """Run a bare loop in so many processes; values a second of all.

    Raises:
        BenchError: one died.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        jobs = [pool.apply_async(_timed, (work, given, seconds)) for _ in range(processes)]
        try:
            found = [job.get(seconds + 120) for job in jobs]
        except Exception as error:
            raise BenchError(f"a bare loop failed: {type(error).__name__}: {error}") from error
    return sum(count / took for count, took in found)


def _timed(
    work: Callable[..., Iterator[int]], given: tuple[Any, ...], seconds: float
) -> tuple[int, float]:
    steps = work(*given)
    next(steps)  # makes the connections, and is not counted
    began = time.perf_counter()
    count = 0
    while time.perf_counter() - began < seconds:
        count += next(steps)
    return count, time.perf_counter() - began


def tokenizing(reached: Reached, size: int) -> Iterator[int]:
    """Fingerprints and wrapped keys from Transit, and one INSERT, for `size` values at once."""
    transit, link = reached.transit(), reached.link()
    link.execute("SET synchronous_commit = on")
    while True:
        people = [reached.customers[i % len(reached.customers)] for i in range(size)]
        macs = transit.hmac(HMAC, [os.urandom(60) for _ in range(size)])
        wrapped = transit.encrypt(KEK, [Secret(os.urandom(32)) for _ in range(size)])
        entries = max(1, size // 100)
        link.execute(
            INSERT,
            (
                [bucket for bucket, _ in people],
                [tokens.new_token(bucket) for bucket, _ in people],
                [name for _, name in people],
                [MASK] * size,
                [mac.digest for mac in macs],
                [ENVELOPE] * size,
                wrapped,
                [people[0][0]] * entries,
                [uuid.uuid4() for _ in range(entries)],
                [ENTRY] * entries,
            ),
            binary=True,
        ).fetchall()
        yield size


def revealing(reached: Reached, names: list[str], size: int) -> Iterator[int]:
    """SELECT and Transit decrypt, for `size` values at once."""
    transit, link = reached.transit(), reached.link()
    place = 0
    while True:
        part = [names[(place + i) % len(names)] for i in range(size)]
        place += size
        rows = link.execute(
            SELECT_SEALED, ([tokens.bucket_from_token(name) for name in part], part), binary=True
        ).fetchall()
        keys = transit.decrypt(KEK, [row[2] for row in rows])
        yield len(keys)


def rewrapping(reached: Reached, names: list[tuple[int, str, str]], size: int) -> Iterator[int]:
    """Transit rewrap, and UPDATE by `unnest`."""
    transit, link = reached.transit(), reached.link()
    place = 0
    while True:
        part = [names[(place + i) % len(names)] for i in range(size)]
        place += size
        fresh = transit.rewrap(CONTACT_KEK, [wrapped for _, _, wrapped in part])
        link.execute(
            "UPDATE bench.records AS t SET wrapped_key = n.wrapped, kek_version = n.version"
            " FROM unnest(%b::text[], %b::integer[], %b::smallint[], %b::text[])"
            " AS n (wrapped, version, bucket, token)"
            " WHERE t.bucket = n.bucket AND t.token = n.token",
            (fresh, [1] * size, [row[0] for row in part], [row[1] for row in part]),
            binary=True,
        )
        yield size


def appending(reached: Reached, size: int) -> Iterator[int]:
    """Plain INSERT of entries of the ledger's usual length."""
    link = reached.link()
    link.execute("CREATE TEMP TABLE plain (place bigserial PRIMARY KEY, entry bytea NOT NULL)")
    while True:
        link.execute(
            "INSERT INTO plain (entry) SELECT * FROM unnest(%b::bytea[])", ([ENTRY] * size,)
        )
        yield size


# ---------------------------------------------------------------- a bare WSGI handler


@contextmanager
def bare_server(stack: Stack, folder: Path, *, workers: int, threads: int) -> Iterator[str]:
    """The bare handler of `bench.bare` on the service's own server; its address."""
    port = free_port()
    log = folder / "bare.log"
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 -- the server that the service runs on
            [
                *(sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1"),
                *("--port", str(port), "--workers", str(workers)),
                *("--blocking-threads", str(threads), "--no-ws"),
                # A worker now and then does not hear that it is to end, and would be waited for.
                *("--workers-kill-timeout", "5", "bench.bare:application"),
            ],
            env={
                **os.environ,
                "BENCH_DATABASE": stack.database("ingest"),
                "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
            },
            stdout=out,
            stderr=out,
        )
    try:
        address = f"127.0.0.1:{port}"
        _answers(address, process, log)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            # Else it would share the machine with all that is measured afterwards.
            process.kill()
            process.wait()


def _answers(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    import http.client  # noqa: PLC0415

    until = time.monotonic() + 30
    while True:
        link = http.client.HTTPConnection(address, timeout=5)
        try:
            link.request("GET", "/")
            link.getresponse().read()
        except (OSError, http.client.HTTPException):
            if process.poll() is not None or time.monotonic() > until:
                raise BenchError(
                    f"the bare handler did not start: {log.read_text()[-500:]}"
                ) from None
            time.sleep(0.05)
        else:
            return
        finally:
            link.close()


def masked(loader: Loader, address: str, names: list[str], *, clients: int, seconds: float) -> Load:
    """Masked reads from the bare handler."""
    return loader.run(
        address,
        (Request(method="GET", path=f"/{name}") for name in names),
        clients=clients,
        seconds=seconds,
        cycle=True,
    )
