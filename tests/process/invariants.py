"""What must hold in the database after any crash, checked against what callers were told."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from tests.process.load import Spent, Written
from tests.support.running import Running
from vault_service.ledger.entries import Entry, Event, decode

# Values that one reveal asks for.
SAMPLE = 50


def entries(service: Running, *events: Event) -> list[Entry]:
    """The ledger's entries of some events."""
    rows = service.sql("SELECT entry FROM ledger_outbox ORDER BY id")
    found = [decode(bytes(row[0])) for row in rows]
    return [entry for entry in found if entry.event in events]


def no_row_is_half_done(service: Running) -> int:
    """Every record has the entry that tells of it, and every entry its records; how many."""
    told = {token for entry in entries(service, Event.TOKENS_CREATED) for token in entry.tokens}
    stored = {row[0] for row in service.sql("SELECT token FROM records")}
    assert stored - told == set(), "a record without an entry"
    assert told - stored == set(), "an entry without its record"
    return len(stored)


def nothing_acknowledged_is_lost(service: Running, written: Sequence[Written]) -> None:
    """Every acknowledged token is there, whole, and its customer's."""
    tokens = list({each.token for each in written})
    rows = service.sql(
        "SELECT token, customer, envelope IS NOT NULL FROM records WHERE token = ANY(%s)", [tokens]
    )
    found = {row[0]: (row[1], row[2]) for row in rows}
    assert found == {each.token: (each.customer, True) for each in written}


def values_read_back(service: Running, written: Sequence[Written]) -> None:
    """A sample opens, under a grant, to what was sent; a masked read agrees."""
    by_token = {each.token: each for each in written}
    sample = list(by_token.values())[-SAMPLE:]
    grant = service.grant(*(each.token for each in sample))
    answer = service.reveal(service.token(grant), *(each.token for each in sample))
    assert answer.status == 200, answer.raw
    values = {result["id"]: result["value"]["number"] for result in answer.body["results"]}
    assert values == {each.token: each.number for each in sample}
    last = sample[-1]
    read = service.call("GET", f"/v1/tokens/{last.token}", by="billing")
    assert read.body["mask"]["number"][-4:] == last.number[-4:]


def uses_are_counted_once(service: Running, spent: Sequence[Spent]) -> int:
    """D6: each plaintext answer has one used row and one entry; how many uses there were.

    A use without an answer is a caller who never heard: it has one entry all the same, for
    nobody can tell whether he was told.
    """
    told: dict[str, list[str]] = defaultdict(list)
    for entry in entries(service, Event.REVEAL_ALLOWED):
        told[str(entry.details["jti"])].append(entry.part.batch if entry.part else entry.id)
    rows = service.sql(
        "SELECT jti, entry, disclosure FROM disclosure_tokens WHERE used_at IS NOT NULL"
    )
    used = {row[0]: str(row[1]) for row in rows}
    assert {jti: [entry] for jti, entry in used.items()} == {
        jti: sorted(set(ids)) for jti, ids in told.items()
    }
    for use in spent:
        if use.entry is not None:
            assert used[use.jti] == use.entry
    counted = Counter(row[2] for row in rows)
    for grant, uses, left in service.sql("SELECT id, uses, uses_left FROM disclosures"):
        assert uses - left == counted[grant], "a grant's count disagrees with its used tokens"
    return len(used)
