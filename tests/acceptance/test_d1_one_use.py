"""D1: of all that race for a disclosure token exactly one gets the value."""

from __future__ import annotations

import time
from collections import Counter

from tests.support.racing import Job, race, together
from tests.support.racing import threads as at_once
from tests.support.whole import Stage, numbers, standing
from vault_service.ledger.entries import Event
from vault_service.settings import ProcessRole

# A thousand in the campaign `double-spend`.
TOKENS = 160
RACERS = 16
PROCESSES = 2


def test_d1_many_tokens_and_sixteen_racers_in_two_processes(stage: Stage) -> None:
    """Each of 160 grants has a token that 16 callers of two processes show at once."""
    customer = stage.customer()
    records = [stage.card(customer, number) for number in numbers(10, start=31_000)]
    began = time.monotonic()
    tokens: list[tuple[str, str]] = []

    def prepare(count: int) -> None:
        for index in range(count):
            record = records[index % len(records)]
            grant = stage.granted(standing(record, uses=1))
            tokens.append((stage.token(grant.id), record))

    outcomes = at_once([lambda: prepare(TOKENS // 8)] * 8)
    assert outcomes == [None] * 8
    prepared = time.monotonic() - began
    principal, key_id, _ = stage.cast.principals["requester"]
    began = time.monotonic()
    with stage.told(Event.REVEAL_ALLOWED) as entries:
        answers = together(
            PROCESSES,
            race,
            Job(
                settings=stage.settings_for(ProcessRole.REVEAL),
                principal=stage.caller("requester").principal,
                key_id=key_id,
                tokens=tuple(tokens),
                threads=RACERS // PROCESSES,
            ),
        )
    print(f"prepared {prepared:.1f} s, raced {time.monotonic() - began:.1f} s")  # noqa: T201
    won: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for wins, losses in answers:
        won.update(wins)
        refused.update(losses)
    assert set(won.values()) == {1}
    assert won.total() == TOKENS
    assert set(refused) <= {"disclosure_spent"}
    assert refused.total() == TOKENS * (RACERS - 1)
    assert len(entries) == TOKENS
    used = stage.sql(
        "SELECT count(*), count(DISTINCT entry) FROM disclosure_tokens"
        " WHERE holder = %s AND entry = ANY(%s::uuid[])",
        [principal, [entry.id for entry in entries]],
    )
    assert used == [(TOKENS, TOKENS)]
