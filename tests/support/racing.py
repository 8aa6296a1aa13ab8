"""Processes and threads with services of their own, racing for the same rows.

`race` and `write` run in a process of their own; they must be importable there, and what they are
given and give back is plain data.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any

from vault_service.bootstrap.process import build
from vault_service.domain.actors import Principal
from vault_service.errors import ServiceError
from vault_service.services.context import Caller
from vault_service.services.tokenization import TokenizeItem, TokenizeRequest
from vault_service.services.views import Revealed, TokenView
from vault_service.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a racing process does."""

    settings: Settings
    principal: Principal
    key_id: str
    # (disclosure token, record's token)
    tokens: tuple[tuple[str, str], ...]
    threads: int


def together(processes: int, target: Callable[..., None], job: Any) -> list[Any]:
    """Run `target(job, barrier, results)` in processes that start their work at one moment."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    results = context.SimpleQueue()
    children = [
        context.Process(target=target, args=(job, barrier, results), daemon=True)
        for _ in range(processes)
    ]
    for child in children:
        child.start()
    answers = [results.get() for _ in children]
    for child in children:
        child.join(30)
    return answers


def race(job: Job, barrier: Barrier, results: Any) -> None:
    """Have many threads try every token; sends (successes by token, refusals by code)."""
    services = build(job.settings)
    assert services.reveal is not None
    reveal = services.reveal
    won: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    lock = threading.Lock()
    start = threading.Barrier(job.threads)

    def run() -> None:
        start.wait()
        for token, record in job.tokens:
            code = _try(reveal, job, token, record)
            with lock:
                if code is None:
                    won[token] += 1
                else:
                    refused[code] += 1

    threads = [threading.Thread(target=run) for _ in range(job.threads)]
    barrier.wait(60)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    services.close()
    results.put((dict(won), dict(refused)))


def _try(reveal: Any, job: Job, token: str, record: str) -> str | None:
    caller = Caller(
        principal=job.principal,
        key_id=job.key_id,
        request_id="req_" + "0" * 26,
        address="127.0.0.1",
        deadline=time.monotonic() + 60,
    )
    try:
        answer = reveal.submit(caller, disclosure_token=token, tokens=[record], fields=None)
    except ServiceError as refusal:
        return refusal.code
    return None if isinstance(answer.results[0], Revealed) else "unreadable"


def threads(calls: Sequence[Callable[[], object]]) -> list[object]:
    """Run calls at once; what each returned or raised, in order."""
    outcomes: list[object] = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(index: int, call: Callable[[], object]) -> None:
        start.wait()
        try:
            outcomes[index] = call()
        except Exception as exc:  # noqa: BLE001 -- handed to the test
            outcomes[index] = exc

    running = [threading.Thread(target=run, args=(index, call)) for index, call in enumerate(calls)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteJob:
    """What a writing process does: the same requests, each under its Idempotency-Key."""

    settings: Settings
    principal: Principal
    key_id: str
    customer: str
    # (Idempotency-Key, telephones of the batch)
    requests: tuple[tuple[str, tuple[str, ...]], ...]
    threads: int


def write(job: WriteJob, barrier: Barrier, results: Any) -> None:
    """Send each request from several threads; sends (key, tokens or error code) of each answer."""
    services = build(job.settings)
    assert services.tokenization is not None
    tokenization = services.tokenization
    told: list[tuple[str, tuple[str, ...] | str]] = []

    def run() -> None:
        for key, numbers in job.requests:
            caller = Caller(
                principal=job.principal,
                key_id=job.key_id,
                request_id="req_" + "0" * 26,
                address="127.0.0.1",
                deadline=time.monotonic() + 60,
            )
            items = tuple(
                TokenizeItem(data_class="telephone", customer=job.customer, value=number)
                for number in numbers
            )
            try:
                answer = tokenization.submit(
                    TokenizeRequest(
                        caller=caller,
                        items=items,
                        batch=True,
                        idempotency_key=key,
                        body=repr(numbers).encode(),
                    )
                )
            except ServiceError as refusal:
                told.append((key, refusal.code))
            else:
                names = tuple(each.id for each in answer.results if isinstance(each, TokenView))
                told.append((key, names))

    running = [threading.Thread(target=run) for _ in range(job.threads)]
    barrier.wait(60)
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    services.close()
    results.put(told)
