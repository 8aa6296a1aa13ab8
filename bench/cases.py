"""The cases: each measures the service and its floor, one after the other, in the same run."""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from uuid_utils import uuid7

from bench import fill, floors, people
from bench.floors import Reached
from bench.loader import Load, Loader, Request
from bench.results import Result, Row
from bench.stack import BenchError, Stack, cpu_seconds, descendants, memory_mib
from vault_service.ledger.entries import Actor, ActorKind, Entry, Event, Origin, Outcome, encode

TOKENIZE, READ, REVEAL = "tokenize, single", "masked read, single", "reveal, single"
TOKENIZE_BATCH, REVEAL_BATCH = "tokenize, 1,000 per call", "reveal, 1,000 per call"
SEARCH, ISSUE = "search by value, single", "disclosure token, single"
BATCH: Final = 1000
# Reveals of one grant, and how many tokens it is for; so many grants as one company has at work.
_USES: Final = 10_000
_GRANTS: Final = 32
_GRANTED: Final = 50
CUSTOMERS: Final = 200


@dataclass(slots=True, kw_only=True)
class Bench:
    """A run under way.

    Attributes:
        seconds: how long each load is measured.
        written: token -> number of every card that the service acknowledged.
        floors: by name; measured once, and used again at other sizes.
    """

    stack: Stack
    loader: Loader
    reached: Reached
    result: Result
    seconds: float
    numbers: Iterator[str]
    customers: list[str]
    folder: Path
    written: dict[str, str] = field(default_factory=dict, repr=False)
    floors: dict[str, float] = field(default_factory=dict)
    records: int = 0

    def show(self, row: Row) -> None:
        """Keep a row and say that it is there."""
        self.result.rows.append(row)
        ratio = "" if row.against is None else f"  ratio {row.against:.2f}"
        rate = row.values if row.values is not None else row.per_second
        sys.stderr.write(
            f"  {row.case} ({row.clients} clients, {row.records:,} records): {rate:,.0f}/s"
            f"  p50 {row.p50:.2f} ms{ratio}{'  ERRORS ' + str(row.errors) if row.errors else ''}\n"
        )

    def row(self, case: str, load: Load, clients: int, **more: Any) -> Row:
        """A row of a load."""
        size = more.pop("size", 1)
        row = Row(
            case=case,
            records=self.records,
            clients=clients,
            per_second=load.per_second,
            values=load.per_second * size if size > 1 else None,
            p50=load.ms("p50"),
            p95=load.ms("p95"),
            p99=load.ms("p99"),
            errors=load.failures,
            note="the requests were used up" if load.report["exhausted"] else "",
            **more,
        )
        self.show(row)
        return row

    # ------------------------------------------------------------ requests

    def singles(self, count: int) -> list[tuple[Request, list[str]]]:
        """Cards to tokenize one by one, and their numbers."""
        made = []
        for place in range(count):
            number = next(self.numbers)
            customer = self.customers[place % len(self.customers)]
            made.append((people.tokenize(customer, number), [number]))
        return made

    def batches(self, count: int, size: int) -> list[tuple[Request, list[str]]]:
        """Batches of cards to tokenize, and their numbers."""
        made = []
        for place in range(count):
            cards = list(itertools.islice(self.numbers, size))
            customer = self.customers[place % len(self.customers)]
            made.append((people.tokenize_batch(customer, cards), cards))
        return made

    def remember(self, load: Load, sent: list[tuple[Request, list[str]]]) -> None:
        """Keep what was acknowledged, to be read back at the end."""
        for turn, status, body in load.kept():
            if not 200 <= status < 300:
                continue
            cards = sent[turn][1]
            given = [result["token"] for result in body["results"]] if "results" in body else [body]
            for view, number in zip(given, cards, strict=True):
                self.written[view["id"]] = number

    def known(self, count: int) -> list[str]:
        """Tokens of cards that were written."""
        return list(itertools.islice(self.written, count))


def expected(seconds: float, per_second: float) -> int:
    """How many requests a load of so long may need at most."""
    return int((seconds + 1) * per_second) + 200


# ---------------------------------------------------------------- tokenize


def tokenize(bench: Bench, clients: int, *, floor: bool = True) -> None:
    """Single tokenize against pgbench."""
    name = f"pgbench, {clients} clients"
    if floor and name not in bench.floors:
        bench.floors[name], latency = floors.pgbench(
            bench.reached, bench.folder, clients=clients, seconds=bench.seconds
        )
        bench.result.facts[f"floor: {name}, commits/s"] = bench.floors[name]
        bench.result.facts[f"floor: {name}, mean ms"] = latency
    sent = bench.singles(expected(bench.seconds, 6000 if clients > 1 else 1500))
    load = bench.loader.run(
        bench.stack,
        (request for request, _ in sent),
        clients=clients,
        seconds=bench.seconds,
        by="billing",
        keep=True,
    )
    bench.remember(load, sent)
    bench.row(
        TOKENIZE,
        load,
        clients,
        floor=bench.floors.get(name),
        floor_name=name if name in bench.floors else "",
        target=0.4 if clients == 64 else None,
        limit_ms=3.0 if clients == 1 else None,
    )


def tokenize_batch(bench: Bench, clients: int, *, floor: bool = True) -> None:
    """Batches of 1,000 against the bare loop."""
    name = f"bare loop, {clients} processes"
    key = f"tokenize {name}"
    if floor and key not in bench.floors:
        bench.floors[key] = floors.loops(
            floors.tokenizing, bench.reached, BATCH, processes=clients, seconds=bench.seconds
        )
        bench.result.facts[f"floor: {key}, values/s"] = bench.floors[key]
    sent = bench.batches(expected(bench.seconds, 8 * clients) // 2, BATCH)
    load = bench.loader.run(
        bench.stack,
        (request for request, _ in sent),
        clients=clients,
        seconds=bench.seconds,
        by="billing",
        keep=True,
    )
    bench.remember(load, sent)
    bench.row(
        TOKENIZE_BATCH, load, clients, size=BATCH, floor=bench.floors.get(key), floor_name=name,
        target=0.7,
    )  # fmt: skip


# ---------------------------------------------------------------- reads


def read(bench: Bench, clients: int, *, floor: bool = True) -> None:
    """Masked reads against a bare handler on the same server."""
    names = bench.known(5000)
    name = f"bare handler, {clients} clients"
    if floor and name not in bench.floors:
        workers = len(bench.stack.workers())
        with floors.bare_server(bench.stack, bench.folder, workers=workers, threads=32) as address:
            bare = floors.masked(
                bench.loader, address, names, clients=clients, seconds=bench.seconds
            )
        if bare.failures:
            raise BenchError("the bare handler answers with errors")
        bench.floors[name] = bare.per_second
        bench.result.facts[f"floor: {name}, reads/s"] = bare.per_second
    load = bench.loader.run(
        bench.stack,
        (people.read(token) for token in names),
        clients=clients,
        seconds=bench.seconds,
        by="support",
        cycle=True,
    )
    bench.row(
        READ, load, clients, floor=bench.floors.get(name),
        floor_name=name if name in bench.floors else "", target=0.8 if clients == 32 else None,
    )  # fmt: skip


def search(bench: Bench, clients: int) -> None:
    """Searches by exact value."""
    body = {"class": "payment_card"}
    numbers = list(itertools.islice(bench.written.values(), 5000))
    load = bench.loader.run(
        bench.stack,
        (
            Request(method="POST", path="/v1/tokens/search", body={**body, "value": number})
            for number in numbers
        ),
        clients=clients,
        seconds=bench.seconds,
        by="support",
        cycle=True,
    )
    bench.row(SEARCH, load, clients)


# ---------------------------------------------------------------- reveal


def proofs(bench: Bench, count: int, *, clients: int = 32, tell: bool) -> list[tuple[str, str]]:
    """Disclosure tokens, each with a record's token that it reveals; told as a case of its own."""
    scopes: dict[str, list[str]] = {}
    names = bench.known(_GRANTS * _GRANTED)
    for place in range(_GRANTS):
        part = names[place * _GRANTED : (place + 1) * _GRANTED] or names[:_GRANTED]
        scopes[people.grant(bench.stack, part, uses=_USES)] = part
    grants = list(scopes)
    taken: list[tuple[str, str]] = []
    load = bench.loader.run(
        bench.stack,
        (people.take_proof(grants[place % len(grants)]) for place in range(count)),
        clients=clients,
        seconds=120.0,
        warm=0.0,
        by="requester",
        keep=True,
    )
    for turn, status, body in load.kept():
        if status == 201:
            part = scopes[grants[turn % len(grants)]]
            taken.append((body["token"], part[turn % len(part)]))
    if tell:
        bench.row(ISSUE, load, clients)
    elif load.failures:
        raise BenchError("disclosure tokens are not given out")
    return taken


def reveal(bench: Bench, clients: int, *, tell: bool = True) -> None:
    """Single reveals, each with a disclosure token of its own, against single tokenize."""
    rival = next(
        (
            row.per_second
            for row in reversed(bench.result.rows)
            if row.case == TOKENIZE and row.clients == 64
        ),
        None,
    )
    guess = 400 if clients == 1 else int((rival or 1000) * 1.6)
    taken = proofs(bench, expected(bench.seconds, guess), tell=tell)
    load = bench.loader.run(
        bench.stack,
        (people.reveal(proof, [token]) for proof, token in taken),
        clients=clients,
        seconds=bench.seconds,
        by="requester",
        keep=True,
    )
    for turn, status, body in load.kept():
        if status == 200:
            _check(bench, body["results"], [taken[turn][1]])
    bench.row(
        REVEAL, load, clients, floor=rival if clients == 32 else None,
        floor_name="single tokenize, 64 clients" if clients == 32 else "",
        target=0.8 if clients == 32 else None,
    )  # fmt: skip


def reveal_batch(bench: Bench, clients: int) -> None:
    """Reveals of 1,000 values against the bare loop of SELECT and decrypt."""
    names = bench.known(10 * BATCH)
    if len(names) < BATCH:
        raise BenchError("too few cards were written to reveal 1,000 at once")
    name = f"bare loop, {clients} processes"
    floor = floors.loops(
        floors.revealing, bench.reached, names, BATCH, processes=clients, seconds=bench.seconds
    )
    bench.result.facts[f"floor: reveal {name}, values/s"] = floor
    parts = [names[at : at + BATCH] for at in range(0, len(names) - BATCH + 1, BATCH)]
    grants = [(people.grant(bench.stack, part, uses=_USES), part) for part in parts]
    sent = []
    for place in range(expected(bench.seconds, 20 * clients)):
        grant, part = grants[place % len(grants)]
        sent.append((people.take_proof(grant), part))
    taken = bench.loader.run(
        bench.stack,
        (request for request, _ in sent),
        clients=16,
        seconds=120.0,
        warm=0.0,
        by="requester",
        keep=True,
    )
    shown = [(body["token"], sent[turn][1]) for turn, code, body in taken.kept() if code == 201]
    load = bench.loader.run(
        bench.stack,
        (people.reveal(proof, part) for proof, part in shown),
        clients=clients,
        seconds=bench.seconds,
        by="requester",
        keep=True,
    )
    for turn, status, body in load.kept():
        if status == 200:
            _check(bench, body["results"], shown[turn][1])
    bench.row(REVEAL_BATCH, load, clients, size=BATCH, floor=floor, floor_name=name, target=0.7)


def _check(bench: Bench, results: list[dict[str, Any]], names: list[str]) -> int:
    """Whether each value is what was sent.

    Raises:
        BenchError: one is not; then no figure counts.
    """
    for result, name in zip(results, names, strict=True):
        if result.get("value", {}).get("number") != bench.written[name]:
            raise BenchError("a value did not read back as it was written")
    return len(results)


def read_all_back(bench: Bench, *, most: int) -> None:
    """Reveal what was written, at most so many, and compare each with what was sent."""
    names = bench.known(most)
    checked = 0
    for at in range(0, len(names), BATCH):
        part = names[at : at + BATCH]
        grant = people.grant(bench.stack, part, uses=1)
        proof = bench.stack.expect("POST", f"/v1/disclosures/{grant}/token", {}, by="requester")
        answer = bench.stack.expect(
            "POST",
            "/v1/reveal",
            {"tokens": part},
            by="requester",
            headers={"Disclosure-Token": proof["token"]},
        )
        checked += _check(bench, answer["results"], part)
    bench.result.facts["tokenized values that were read back and compared"] = checked
    bench.result.facts["tokenized values in all"] = len(bench.written)


# ---------------------------------------------------------------- growth


def grow(bench: Bench, records: int) -> None:
    """Fill the table up to so many records."""
    began = time.monotonic()
    fill.fill(bench.reached, records)
    bench.records = records
    # What a backup or a night of quiet would have done: the fill is no part of what is measured.
    settle(bench)
    sys.stderr.write(f"  filled to {records:,} records in {time.monotonic() - began:.0f} s\n")


def growth(bench: Bench, small: int, large: int) -> None:
    """Compare the p50 of every call at two sizes."""
    rows = {(row.case, row.clients, row.records): row for row in bench.result.rows}
    for (case, clients, records), row in rows.items():
        before = rows.get((case, clients, small))
        if records != large or before is None or not before.p50 or not row.p50:
            continue
        bench.show(
            Row(
                case=f"growth of p50: {case}",
                records=large,
                clients=clients,
                ratio=row.p50 / before.p50,
                p50=row.p50,
                at_most=1.2,
                floor_name=f"p50 at {small:,}",
            )
        )


# ---------------------------------------------------------------- rotation


def rotation(bench: Bench, *, limit: float) -> None:
    """Rotate a key-encryption key while callers write; the rewrap against its bare loop."""
    with bench.reached.link() as link:
        names = link.execute(
            "SELECT bucket, token, wrapped_key FROM records WHERE kek = %s LIMIT 20000",
            (floors.CONTACT_KEK,),
        ).fetchall()
    floor = floors.loops(
        floors.rewrapping, bench.reached, names, 200, processes=1, seconds=bench.seconds
    )
    bench.result.facts["floor: rewrap bare loop, values/s"] = floor
    made = bench.stack.expect("POST", "/v1/rotations", {"key": floors.CONTACT_KEK}, by="operator")
    _until(bench, made["id"], lambda found: found["rewrapped"] > 0, limit)
    sent = bench.singles(expected(bench.seconds, 3000))
    load = bench.loader.run(
        bench.stack,
        (request for request, _ in sent),
        clients=16,
        seconds=bench.seconds,
        by="billing",
        keep=True,
    )
    bench.remember(load, sent)
    bench.row(f"{TOKENIZE}, while a key is rotated", load, 16)
    # From here on it has the machine for itself, as its floor had.
    begun, before = time.monotonic(), _rotation(bench, made["id"])["rewrapped"]
    after = _until(bench, made["id"], lambda found: found["remaining"] == 0, limit)["rewrapped"]
    took = time.monotonic() - begun
    found = _until(bench, made["id"], lambda found: found["state"] in {"done", "failed"}, limit)
    bench.show(
        Row(
            case="rewrap",
            records=bench.records,
            per_second=(after - before) / took,
            errors=int(found["failed"]) + (found["state"] != "done"),
            floor=floor if after > before else None,
            floor_name="bare loop of rewrap and UPDATE, 1 process",
            target=0.8 if after > before else None,
        )
    )
    bench.result.facts["wrapped keys of the rotation"] = found["total"]


def _rotation(bench: Bench, rotation_id: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = bench.stack.expect(
        "GET", f"/v1/rotations/{rotation_id}", by="operator"
    )
    return found


def _until(
    bench: Bench, rotation_id: str, true: Callable[[Mapping[str, Any]], bool], limit: float
) -> Mapping[str, Any]:
    """Wait until something holds of a rotation, or it has ended."""
    until = time.monotonic() + limit
    while time.monotonic() < until:
        found = _rotation(bench, rotation_id)
        if true(found) or found["state"] in {"done", "failed"}:
            return found
        time.sleep(0.1)
    raise BenchError("the rotation does not go on")


# ---------------------------------------------------------------- ledger


def ledger(bench: Bench, entries: int) -> None:
    """Sequence a backlog, and verify the whole log, against plain INSERT and SHA-256."""
    settle(bench)
    floor = floors.loops(
        floors.appending, bench.reached, BATCH, processes=1, seconds=min(2.0, bench.seconds)
    )
    bench.result.facts["floor: plain INSERT of entries, 1,000 a commit, entries/s"] = floor
    with bench.reached.link() as link:
        size = _tree_size(link)
        batch = [_entry() for _ in range(entries)]
        began = time.monotonic()
        link.execute(
            "INSERT INTO ledger_outbox (bucket, id, entry)"
            " SELECT 0, * FROM unnest(%b::uuid[], %b::bytea[])",
            ([each for each, _ in batch], [text for _, text in batch]),
        )
        while _tree_size(link) < size + entries:
            if time.monotonic() - began > 120:
                raise BenchError("the worker does not sequence the ledger")
            time.sleep(0.02)
        took = time.monotonic() - began
    bench.show(
        Row(
            case="ledger, append a backlog", records=bench.records, per_second=entries / took,
            floor=floor, floor_name="plain INSERT, 1,000 a commit",
        )
    )  # fmt: skip
    _verify(bench)


def _entry() -> tuple[uuid.UUID, bytes]:
    entry = Entry(
        id=str(uuid7()),
        at=datetime.now(UTC),
        event=Event.TOKENS_SEARCHED,
        outcome=Outcome.SUCCESS,
        actor=Actor(kind=ActorKind.SYSTEM, id="bench"),
        origin=Origin(role="cli"),
        count=1,
        details={"class": "payment_card"},
    )
    return uuid.UUID(entry.id), encode(entry)


def settle(bench: Bench) -> None:
    """Wait until the worker has sequenced what waits."""
    until = time.monotonic() + 120
    with bench.reached.link() as link:
        while time.monotonic() < until:
            row = link.execute("SELECT count(*) FROM ledger_outbox").fetchone()
            if row is not None and row[0] < 50:
                return
            time.sleep(0.1)
    raise BenchError("the worker does not keep up with the ledger")


def _tree_size(link: Any) -> int:
    return int(link.execute("SELECT size FROM ledger_tree").fetchone()[0])


def _verify(bench: Bench) -> None:
    target = bench.folder / "ledger.tar"
    target.unlink(missing_ok=True)
    base = [*(sys.executable, "-m", "vault_service"), "--url", f"http://{bench.stack.address}"]
    credentials = ["--as", "auditor", "--credentials", str(bench.stack.folder / "credentials.json")]
    began = time.monotonic()
    _run([*base, *credentials, "ledger", "export", str(target)])
    exported = time.monotonic() - began
    keys = bench.folder / "ledger.keys"
    keys.write_text(_run([*base, *credentials, "ledger", "keys"]), encoding="utf-8")
    began = time.monotonic()
    _run(
        [
            *(sys.executable, "-m", "vault_service", "ledger", "verify"),
            *("--export", str(target), "--key", str(keys)),
        ]
    )
    took = time.monotonic() - began
    with bench.reached.link() as link:
        size = _tree_size(link)
    block = os.urandom(600)
    hashing = time.perf_counter()
    for _ in range(size):
        hashlib.sha256(block).digest()
    hashed = time.perf_counter() - hashing
    bench.show(
        Row(
            case="ledger, verify the export", records=bench.records, per_second=size / took,
            floor=size / hashed, floor_name="SHA-256 of as many bytes",
            note=f"export {size / exported:,.0f}/s",
        )
    )  # fmt: skip


def _run(command: list[str], *, allowed: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode not in allowed:
        raise BenchError(f"{command[3:6]} failed: {done.stdout[-500:]} {done.stderr[-500:]}")
    return done.stdout


# ---------------------------------------------------------------- import


def imported(bench: Bench, lines: int) -> None:
    """Import a CSV export, against the floor of batch tokenize."""
    file = bench.folder / "export.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(
            ["external_ref", "class", "number", "exp_month", "exp_year", "name", "reference"]
        )
        for place in range(lines):
            writer.writerow(
                [f"bench-{os.getpid()}-{place}", "payment_card", next(bench.numbers), 12, 2039,
                 "A. Customer", f"inv-{place}"]
            )  # fmt: skip
    began = time.monotonic()
    _run(
        [
            *(sys.executable, "-m", "vault_service", "import", str(file)),
            *("--url", f"http://{bench.stack.address}", "--as", "billing"),
            *("--credentials", str(bench.stack.folder / "credentials.json"), "--batch", "1000"),
        ]
    )
    took = time.monotonic() - began
    for left in bench.folder.glob("export.csv*"):
        left.unlink()
    floor = bench.floors.get("tokenize bare loop, 1 processes")
    bench.show(
        Row(
            case=f"import of {lines:,} CSV lines", records=bench.records, per_second=lines / took,
            floor=floor, floor_name="bare loop of batch tokenize, 1 process", target=0.6,
        )
    )  # fmt: skip


# ---------------------------------------------------------------- overload, memory


def overload(bench: Bench) -> None:
    """Four times the load that it carries; then as much as it carries, to see it recover."""
    best = max(
        (row.per_second for row in bench.result.rows if row.case == TOKENIZE), default=1000.0
    )
    seconds = max(6.0, bench.seconds)
    sent = bench.singles(int(best * 4 * (seconds + 1)))
    load = bench.loader.run(
        bench.stack,
        (request for request, _ in sent),
        clients=512,
        seconds=seconds,
        rate=best * 4,
        by="billing",
        keep=True,
    )
    bench.remember(load, sent)
    shed = int(load.report["statuses"].get("503", 0))
    bad = load.failures - shed
    bench.show(
        Row(
            case="overload, 4 times the best rate", records=bench.records, clients=512,
            per_second=load.per_second, p50=load.ms("p50"), p95=load.ms("p95"), p99=load.ms("p99"),
            errors=bad + int(load.report["without_retry_after"]),
            floor=best, floor_name="best single tokenize", target=0.8,
            note=f"{shed} shed",
        )
    )  # fmt: skip
    bench.result.facts["overload: requests shed with 503"] = shed
    bench.result.facts["overload: p99 of those admitted, ms (at most 1,000)"] = load.ms("p99")
    after = bench.singles(expected(4, best))
    calm = bench.loader.run(
        bench.stack,
        (request for request, _ in after),
        clients=64,
        seconds=4.0,
        warm=0.0,
        by="billing",
        keep=True,
    )
    bench.remember(calm, after)
    bench.row("after the overload: " + TOKENIZE, calm, 64, floor=best, floor_name="before it")


def memory(bench: Bench, when: str) -> None:
    """Tell the memory of the workers."""
    pids = bench.stack.workers()
    now = [round(memory_mib(pid), 1) for pid in pids]
    peak = [round(memory_mib(pid, "VmHWM"), 1) for pid in pids]
    bench.result.facts[f"memory of each worker {when}, MiB (peak)"] = (
        f"{', '.join(map(str, now))} ({', '.join(map(str, peak))})"
    )


def cpu(bench: Bench) -> dict[str, float]:
    """How long each part has computed so far."""
    stack = bench.stack
    postgres = stack.pid_of("postgres")
    return {
        "service": sum(map(cpu_seconds, stack.workers())),
        "PostgreSQL": sum(map(cpu_seconds, [postgres, *descendants(postgres)])),
        "Vault": cpu_seconds(stack.pid_of("vault")),
        "worker": cpu_seconds(stack.pid_of("worker")),
    }
