"""What is done beside the calls: rotation, ledger, import."""

from __future__ import annotations

import csv
import hashlib
import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from uuid_utils import uuid7

from bench import fill, floors
from bench.results import Row
from bench.running import BATCH, TOKENIZE, Bench, expected, run, settle
from bench.stack import BenchError
from vault_service.ledger.entries import Actor, ActorKind, Entry, Event, Origin, Outcome, encode


def grow(bench: Bench, records: int) -> None:
    """Fill the table up to so many records."""
    began = time.monotonic()
    fill.fill(bench.reached, records)
    bench.records = records
    # What a backup or a night of quiet would have done: the fill is no part of what is measured.
    settle(bench)
    sys.stderr.write(f"  filled to {records:,} records in {time.monotonic() - began:.0f} s\n")


# Into the floors' copy of the table: what the bare loop rewraps is bound to nothing afterwards.
_COLUMNS: Final = (
    "bucket, token, customer, class, format, variant, mask, fingerprint, fingerprint_version,"
    " envelope, wrapped_key, kek, kek_version"
)
_COPY: Final = (
    f"INSERT INTO bench.records ({_COLUMNS})"  # noqa: S608 -- names of columns
    f" SELECT {_COLUMNS} FROM records WHERE kek = %s LIMIT 20000"
    " RETURNING bucket, token, wrapped_key"
)


def rotation(bench: Bench, *, limit: float) -> None:
    """Rotate a key-encryption key while callers write; the rewrap against its bare loop."""
    with bench.reached.link() as link:
        names = link.execute(_COPY, (floors.CONTACT_KEK,)).fetchall()
    if not names:
        raise BenchError("there are no filled records to rewrap")
    floor = floors.loops(
        floors.rewrapping, bench.reached, names, 200, processes=1, seconds=bench.seconds
    )
    bench.result.facts["floor: rewrap bare loop, values/s"] = floor
    made = bench.stack.expect("POST", "/v1/rotations", {"key": floors.CONTACT_KEK}, by="operator")
    _until(bench, made["id"], lambda found: found["rewrapped"] > 0, limit)
    sent = bench.singles(expected(bench, 3000))
    load = bench.write(sent, clients=16)
    bench.row(f"{TOKENIZE}, while a key is rotated", load, 16)
    # From here on it has the machine for itself, as its floor had.
    begun, before = time.monotonic(), _rotation(bench, made["id"])["rewrapped"]
    after = _until(bench, made["id"], lambda found: found["remaining"] == 0, limit)["rewrapped"]
    took = time.monotonic() - begun
    bench.rotation = made["id"]
    bench.show(
        Row(
            case="rewrap",
            records=bench.records,
            per_second=(after - before) / took,
            floor=floor if after > before else None,
            floor_name="bare loop of rewrap and UPDATE, 1 process",
            target=0.8 if after > before else None,
        )
    )


def rotated(bench: Bench, rotation_id: str, *, limit: float) -> None:
    """Wait for a rotation's certificate, which comes when no process can have an old key left."""
    found = _until(bench, rotation_id, lambda found: found["state"] in {"done", "failed"}, limit)
    bench.show(
        Row(
            case="rotation, to its certificate",
            records=bench.records,
            errors=int(found["failed"]) + (found["state"] != "done"),
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


def _tree_size(link: Any) -> int:
    return int(link.execute("SELECT size FROM ledger_tree").fetchone()[0])


def _verify(bench: Bench) -> None:
    target = bench.folder / "ledger.tar"
    target.unlink(missing_ok=True)
    base = [*(sys.executable, "-m", "vault_service"), "--url", f"http://{bench.stack.address}"]
    credentials = ["--as", "auditor", "--credentials", str(bench.stack.folder / "credentials.json")]
    began = time.monotonic()
    run([*base, *credentials, "ledger", "export", str(target)])
    exported = time.monotonic() - began
    keys = bench.folder / "ledger.keys"
    keys.write_text(run([*base, *credentials, "ledger", "keys"]), encoding="utf-8")
    began = time.monotonic()
    run(
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
    run(
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
