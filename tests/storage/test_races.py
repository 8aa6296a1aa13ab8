"""Races for the use of disclosure tokens, from real threads over two pools of connections."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.storage import build
from tests.storage.build import BUCKET, Units
from tests.support.servers import Database
from vault_service.services.disclosure_ports import UseClaim
from vault_service.storage import engine
from vault_service.storage.unit_of_work import SqlUnitOfWork

RACERS = 8


@pytest.fixture(scope="module")
def pools(database: Database, units: Units) -> Iterator[list[SqlUnitOfWork]]:
    """Two processes' worth of reveal connections."""
    other = SqlUnitOfWork(
        engine.create(database.url("vault_reveal"), application_name="second", pool_size=8)
    )
    yield [units.reveal, other]
    other.close()


def _race(pools: list[SqlUnitOfWork], batches: list[list[list[UseClaim]]]) -> Counter[str]:
    """Run one thread for each list of batches; count the successes of each token."""
    barrier = threading.Barrier(len(batches))

    def run(racer: int) -> Counter[str]:
        won: Counter[str] = Counter()
        barrier.wait()
        for claims in batches[racer]:
            with pools[racer % 2].begin() as tx:
                used = tx.disclosures.use(claims)
                tx.outbox.append([build.entry() for _ in used])
            won.update(used.keys())
        return won

    with ThreadPoolExecutor(len(batches)) as executor:
        return sum(executor.map(run, range(len(batches))), Counter())


def test_d1_each_of_200_tokens_is_spent_once_by_8_racers(
    units: Units, pools: list[SqlUnitOfWork]
) -> None:
    """Exactly 200 successes, one for each token, whatever order the racers come in."""
    grants = [build.active(units.console) for _ in range(200)]
    tokens = [build.token(units.reveal, grant) for grant in grants]
    pairs = list(zip(grants, tokens, strict=True))
    won = _race(
        pools,
        [
            [[build.claim(grant, jti)] for grant, jti in (pairs if racer % 2 else pairs[::-1])]
            for racer in range(RACERS)
        ],
    )
    assert won == Counter(tokens)


def test_d1_gathered_claims_in_opposite_orders_neither_deadlock_nor_spend_twice(
    units: Units, pools: list[SqlUnitOfWork]
) -> None:
    """Batches of 25 claims each, every racer with all of them."""
    grants = [build.active(units.console) for _ in range(100)]
    tokens = [build.token(units.reveal, grant) for grant in grants]
    pairs = list(zip(grants, tokens, strict=True))
    batches = []
    for racer in range(RACERS):
        order = pairs if racer % 2 else pairs[::-1]
        claims = [build.claim(grant, jti) for grant, jti in order]
        batches.append([claims[start : start + 25] for start in range(0, 100, 25)])
    assert _race(pools, batches) == Counter(tokens)


def test_d1_a_grant_with_one_use_serves_one_of_8_tokens(
    units: Units, pools: list[SqlUnitOfWork]
) -> None:
    """Different tokens of one grant: the grant's count is what limits."""
    for _ in range(20):
        grant = build.active(units.console)
        tokens = [build.token(units.reveal, grant) for _ in range(RACERS)]
        won = _race(pools, [[[build.claim(grant, jti)]] for jti in tokens])
        assert sum(won.values()) == 1


def test_d1_uses_and_used_tokens_agree_after_a_mixed_race(
    units: Units, pools: list[SqlUnitOfWork], database: Database
) -> None:
    """Each of 8 tokens offered by 4 racers to a grant with 5 uses: 5 tokens used, 0 uses left."""
    for _ in range(10):
        grant = build.active(units.console, uses=5)
        tokens = [build.token(units.reveal, grant) for _ in range(RACERS)]
        won = _race(
            pools,
            [
                [[build.claim(grant, jti)] for jti in tokens[start:] + tokens[:start]]
                for start in range(4)
            ],
        )
        assert (len(won), sum(won.values())) == (5, 5)
        with database.connect() as connection:
            used = connection.execute(
                "SELECT jti FROM disclosure_tokens WHERE disclosure = %s AND used_at IS NOT NULL",
                (grant.id,),
            ).fetchall()
        assert {row[0] for row in used} == set(won)
        with units.console.begin(read_only=True) as tx:
            row = tx.disclosures.get(BUCKET, grant.id)
        assert row is not None
        assert (row.uses_left, row.state) == (0, "spent")


def test_d1_gathered_claims_on_one_grant_spend_no_more_than_it_has(
    units: Units, pools: list[SqlUnitOfWork]
) -> None:
    """8 racers, each with all 12 tokens of a grant with 7 uses in one statement, and of another."""
    for _ in range(10):
        grant, other = build.active(units.console, uses=7), build.active(units.console, uses=12)
        pairs = [(each, build.token(units.reveal, each)) for each in [grant, other] * 12]
        won = _race(
            pools,
            [
                [[build.claim(each, jti) for each, jti in pairs[racer:] + pairs[:racer]]]
                for racer in range(RACERS)
            ],
        )
        of_grant = [jti for each, jti in pairs if each is grant and won[jti]]
        assert (len(of_grant), set(won.values())) == (7, {1})
        assert sum(won.values()) == 7 + 12
        with units.console.begin(read_only=True) as tx:
            left = [tx.disclosures.get(BUCKET, each.id) for each in (grant, other)]
        assert [(row.uses_left, row.state) for row in left if row] == [(0, "spent")] * 2


def test_a_revocation_under_way_beats_the_use_that_waits_for_it(
    units: Units, pools: list[SqlUnitOfWork]
) -> None:
    """D5: the use waits for the officer's transaction and then sees its outcome."""
    grant = build.active(units.console)
    jti = build.token(units.reveal, grant)
    with ThreadPoolExecutor(1) as executor:
        with units.console.begin() as tx:
            tx.disclosures.set_state(BUCKET, grant.id, "revoked")
            waiting = executor.submit(_race, pools, [[[build.claim(grant, jti)]]])
            with pytest.raises(TimeoutError):
                waiting.result(0.2)
        assert waiting.result(5) == Counter()
