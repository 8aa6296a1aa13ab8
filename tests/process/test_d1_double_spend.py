"""D1 over HTTP: many callers show one disclosure token at once, to two services of one database."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from tests.process import campaign, invariants
from tests.process.load import Spent, jti_of, plaintext_of
from tests.support.running import Running
from tests.support.whole import numbers

RACERS: Final = 16
# A standing grant hands out many tokens; every third token has a grant of its own, used once.
SHARE: Final = 3


def prepared(service: Running, count: int) -> list[Spent]:
    """As many disclosure tokens, of grants used once and of standing ones, not yet shown."""
    customer = service.customer()
    cards = [(service.card(customer, number), number) for number in numbers(8, start=70_000)]
    standing = service.grant(*(token for token, _ in cards), uses=count)

    def make(index: int) -> Spent:
        token, number = cards[index % len(cards)]
        grant = service.grant(token) if index % SHARE == 0 else standing
        jws = service.token(grant)
        return Spent(jws=jws, jti=jti_of(jws), token=token, number=number)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(make, range(count)))


def race(services: Sequence[Running], uses: Sequence[Spent]) -> tuple[Counter[str], Counter[int]]:
    """Every racer shows every token, all at the same moment; plaintexts by jti, and statuses."""
    line = threading.Barrier(RACERS)
    lock = threading.Lock()
    told: Counter[str] = Counter()
    statuses: Counter[int] = Counter()

    def run(racer: int) -> None:
        for use in uses:
            line.wait(30)
            answer = services[racer % len(services)].reveal(use.jws, use.token)
            number = plaintext_of(answer)
            with lock:
                statuses[answer.status] += 1
                if number is not None:
                    assert number == use.number
                    told[use.jti] += 1
                    use.entry = answer.body["receipt"]["entry"]

    with ThreadPoolExecutor(RACERS) as pool:
        for done in [pool.submit(run, racer) for racer in range(RACERS)]:
            done.result()
    return told, statuses


@pytest.mark.usefixtures("blank")
def test_d1_sixteen_racers_on_two_processes_spend_each_token_once(
    start_service: Callable[..., Running],
) -> None:
    """As many plaintexts as tokens, exactly; all others are told that it is spent."""
    count = campaign.rounds(60)
    workers = 2 if campaign.under_way() else 1
    services = [start_service(workers=workers) for _ in range(2)]
    # A token lives for 300 s, so they are made as they are needed.
    told: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    uses: list[Spent] = []
    began = time.monotonic()
    while len(uses) < count:
        some = prepared(services[0], min(200, count - len(uses)))
        more_told, more_statuses = race(services, some)
        told += more_told
        statuses += more_statuses
        uses += some
    assert told == Counter({use.jti: 1 for use in uses})
    assert statuses == {200: count, 403: count * (RACERS - 1)}
    invariants.uses_are_counted_once(services[0], uses)
    campaign.report(
        tokens=count,
        racers=RACERS,
        shown=statuses.total(),
        successes=statuses[200],
        refused=statuses[403],
        seconds=round(time.monotonic() - began, 1),
    )
