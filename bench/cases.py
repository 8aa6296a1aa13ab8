"""The calls: each case measures the service and its floor, one after the other, in the same run."""

from __future__ import annotations

import itertools
from typing import Any, Final

from bench import floors, people
from bench.loader import Request
from bench.running import (
    BATCH,
    ISSUE,
    READ,
    REVEAL,
    REVEAL_BATCH,
    SEARCH,
    TOKENIZE,
    TOKENIZE_BATCH,
    Bench,
    expected,
)
from bench.stack import BenchError

# Reveals of one grant, and how many tokens it is for; so many grants as one company has at work.
_USES: Final = 10_000
_GRANTS: Final = 32
_GRANTED: Final = 50


def tokenize(bench: Bench, clients: int) -> None:
    """Single tokenize against pgbench."""
    name = f"pgbench, {clients} clients"
    if bench.lacks(name):
        bench.floors[name], latency = floors.pgbench(
            bench.reached, bench.folder, clients=clients, seconds=bench.seconds
        )
        bench.result.facts[f"floor: {name}, commits/s"] = bench.floors[name]
        bench.result.facts[f"floor: {name}, mean ms"] = latency
    sent = bench.singles(expected(bench, 6000 if clients > 1 else 1500))
    load = bench.write(sent, clients=clients)
    bench.row(
        TOKENIZE,
        load,
        clients,
        floor=bench.floors.get(name),
        floor_name=name if name in bench.floors else "",
        target=0.4 if clients == 64 else None,
        limit_ms=3.0 if clients == 1 else None,
    )


def tokenize_batch(bench: Bench, clients: int) -> None:
    """Batches of 1,000 against the bare loop."""
    name = f"bare loop, {clients} processes"
    key = f"tokenize {name}"
    if bench.lacks(key):
        bench.floors[key] = floors.loops(
            floors.tokenizing, bench.reached, BATCH, processes=clients, seconds=bench.seconds
        )
        bench.result.facts[f"floor: {key}, values/s"] = bench.floors[key]
    sent = bench.batches(expected(bench, 8 * clients) // 2, BATCH)
    load = bench.write(sent, clients=clients)
    bench.row(
        TOKENIZE_BATCH, load, clients, size=BATCH, floor=bench.floors.get(key), floor_name=name,
        target=0.7,
    )  # fmt: skip


def read(bench: Bench, clients: int) -> None:
    """Masked reads against a bare handler on the same server."""
    names = bench.known(5000)
    name = f"bare handler, {clients} clients"
    if bench.lacks(name):
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
    taken = proofs(bench, expected(bench, guess), tell=tell)
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
    for place in range(expected(bench, 20 * clients)):
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
