"""Far more callers than places: most are told to come again, the others served, and then all.

The suite does it for a moment. As a campaign it goes on for as many seconds as it has rounds, and
is the test for leaks as well: memory at the end is what it was after the first minute.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import quantiles

import pytest
import urllib3

from bench.people import numbers
from tests.process import campaign
from tests.process.processes import children_of
from tests.support.running import Running
from tests.support.whole import card

pytestmark = pytest.mark.unmeasured

PLACES = 4
CALLERS = 32
SECONDS = 3
# Calls of 1,000 from each caller at the end, whose memory must be given back.
LARGE = 3
# Caches fill and pools grow at first; what comes later than this does not go on growing.
SETTLING = 60
GROWTH_MIB = 15.0
WORKER_MIB = 150.0


def memory_mib(running: Running) -> float:
    """The largest worker's resident memory."""
    assert running.process is not None
    sizes = []
    for pid in children_of(running.process.pid):
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        sizes += [int(line.split()[1]) / 1024 for line in status.splitlines() if "VmRSS" in line]
    return max(sizes)


class Callers:
    """Callers without patience: the next call is sent as soon as the last is answered."""

    def __init__(self, service: Running, customer: str, made_up: Iterator[str]) -> None:
        self._service = service
        self._customer = customer
        self._numbers = made_up
        self._lock = threading.Lock()
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []
        self.unsaid = 0
        self.tokens: list[str] = []
        # Who is turned away before his body came may find the connection closed under it.
        self.broken: Counter[str] = Counter()

    def run(self, callers: int, seconds: float) -> None:
        """Call for so long."""
        until = time.monotonic() + seconds
        threads = [threading.Thread(target=self._call, args=(until,)) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def run_thousands(self, callers: int, calls: int) -> None:
        """Tokenize 1,000 in one call, so many times each of so many callers."""

        def call() -> None:
            for _ in range(calls):
                with self._lock:
                    values = [card(next(self._numbers)) for _ in range(1000)]
                item = {"class": "payment_card", "customer": self._customer}
                answer = self._service.call(
                    "POST",
                    "/v1/tokens/batch",
                    {"items": [{**item, "value": value} for value in values]},
                    by="billing",
                )
                with self._lock:
                    self.statuses[answer.status] += 1

        threads = [threading.Thread(target=call) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _call(self, until: float) -> None:
        while time.monotonic() < until:
            with self._lock:
                number = next(self._numbers)
            body = {"class": "payment_card", "customer": self._customer, "value": card(number)}
            began = time.monotonic()
            try:
                answer = self._service.call("POST", "/v1/tokens", body, by="billing")
            except urllib3.exceptions.HTTPError as error:
                with self._lock:
                    self.broken[type(error).__name__] += 1
                continue
            took = time.monotonic() - began
            with self._lock:
                self.statuses[answer.status] += 1
                if answer.status == 201:
                    self.seconds.append(took)
                    self.tokens.append(answer.body["id"])
                elif answer.code != "overloaded" or "Retry-After" not in answer.headers:
                    self.unsaid += 1
            if answer.status != 201:
                time.sleep(0.002)


def test_overload_is_told_and_passes(start_service: Callable[..., Running]) -> None:
    """Only 201 and 503 with Retry-After; who is served is served within 1 s; then all are."""
    service = start_service(workers=1, VAULT_SERVICE_THREADS=str(PLACES))
    seconds = campaign.rounds(SECONDS)
    customer = service.customer()
    made_up = numbers(campaign.seed(1))
    warm = Callers(service, customer, made_up)
    warm.run(PLACES, min(SECONDS, seconds))
    assert set(warm.statuses) == {201}

    crowd = Callers(service, customer, made_up)
    settled = 0.0
    if seconds > 2 * SETTLING:
        crowd.run(CALLERS, SETTLING)
        settled = memory_mib(service)
        seconds -= SETTLING
    crowd.run(CALLERS, seconds)
    assert set(crowd.statuses) == {201, 503}, crowd.statuses
    assert crowd.unsaid == 0
    assert crowd.broken.total() * 1000 <= crowd.statuses.total(), crowd.broken
    assert quantiles(crowd.seconds, n=100)[98] < 1.0
    for token in crowd.tokens[:: max(1, len(crowd.tokens) // 20)]:
        assert service.call("GET", f"/v1/tokens/{token}", by="billing").status == 200

    began = time.monotonic()
    while service.call("GET", "/v1/principals/me", by="billing").status != 200:
        assert time.monotonic() - began < 5
    after = Callers(service, customer, made_up)
    after.run(PLACES, 1.0)
    assert set(after.statuses) == {201}
    large = Callers(service, customer, made_up)
    large.run_thousands(PLACES, LARGE)
    assert large.statuses == {200: PLACES * LARGE}
    memory = memory_mib(service)
    assert memory < WORKER_MIB
    if settled:
        assert memory - settled < GROWTH_MIB
    campaign.report(
        served=crowd.statuses[201],
        shed=crowd.statuses[503],
        broken=str(dict(crowd.broken) or 0),
        p99_ms=round(quantiles(crowd.seconds, n=100)[98] * 1000),
        memory_mib=round(memory, 1),
        grown_mib=round(memory - settled, 1) if settled else "",
    )
