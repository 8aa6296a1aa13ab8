"""The log on the real servers: from the outbox under a signed head, and back to the auditor."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from keys.signature import verify_ed25519
from tests.support.log_stage import ORIGIN, LogStage, entries_of, entry, verified
from tests.support.whole import refusal
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound
from vault_service.ledger import checkpoint as checkpoints
from vault_service.ledger import merkle, tiles
from vault_service.ledger.entries import Entry, Event, encode
from vault_service.services.log_reading import Question


@pytest.fixture(scope="module")
def written(log: LogStage) -> list[Entry]:
    """Entries under a signed head: five full bundles and a partial one."""
    return log.fill(1_300)


def test_every_entry_is_under_a_signed_head(log: LogStage, written: list[Entry]) -> None:
    """What was written is in the log once, in the order in which it was written."""
    log.keeper.finish()  # what another story left waiting
    found = [each["id"] for each in entries_of(log)]
    mine = {each.id for each in written}
    assert [each for each in found if each in mine] == [each.id for each in written]
    assert len(found) == len(set(found)) == log.head().size
    assert log.head().origin == ORIGIN
    assert log.sql("SELECT count(*) FROM ledger_outbox") == [(0,)]


def test_the_export_verifies_and_says_what_it_holds(
    log: LogStage, written: list[Entry], tmp_path: Path
) -> None:
    """The verifier re-derives the signed root from the entries and continues an older head."""
    log.keeper.finish()
    before = log.checkpoint()
    earlier = verified(log.export(tmp_path / "earlier.tar"), log.keys())
    log.fill(300)
    seen: list[tuple[int, int]] = []
    found = verified(
        log.export(tmp_path / "log.tar"),
        log.keys(),
        before,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert found.head == log.head()
    assert found.entries == found.head.size == seen[-1][0] == seen[-1][1]
    assert earlier.events["tokens.created"] >= len(written)
    assert found.events["tokens.created"] == earlier.events["tokens.created"] + 300
    assert sum(found.events.values()) == found.entries
    assert [one.size for one in found.kept] == [found.head.size - 300]
    assert found.missing == ()


def test_an_entry_is_proven_by_its_id(log: LogStage, written: list[Entry]) -> None:
    """The proof leads from the entry's own bytes to the signed root."""
    for each in (written[0], written[700], written[-1]):
        found = log.reading.inclusion(log.auditor, each.id)
        assert found.entry == encode(each)
        head = checkpoints.verify(found.checkpoint.encode(), log.keys(), verify_ed25519)
        merkle.verify_inclusion(
            merkle.leaf_hash(encode(each)),
            index=found.index,
            size=head.size,
            root_hash=head.root,
            proof=found.proof,
        )


def test_two_sizes_are_proven_consistent(log: LogStage, written: list[Entry]) -> None:
    """Any two sizes, powers of two and others, the empty log and the whole one."""
    size = log.head().size
    assert size >= len(written)
    for old, new in ((0, size), (1, 2), (256, 257), (255, size), (512, 1_024), (size, size)):
        found = log.reading.consistency(log.auditor, old=old, new=new)
        merkle.verify_consistency(
            old=old, old_root=found.old_root, new=new, new_root=found.new_root, proof=found.proof
        )
    assert log.reading.consistency(log.auditor, old=1, new=None).new == size
    wrong = refusal(lambda: log.reading.consistency(log.auditor, old=1, new=10**9), InvalidInput)
    assert wrong.code == "ledger_size_unknown"


def test_an_entry_that_waits_is_told_apart_from_one_that_is_not(
    log: LogStage, written: list[Entry]
) -> None:
    """Sequenced and unsigned is 409; never written is 404."""
    assert written
    (waiting,) = log.write(entry(log.rng))
    assert refusal(lambda: log.reading.inclusion(log.auditor, waiting.id), NotFound)
    log.sequencer.sequence()
    pending = refusal(lambda: log.reading.inclusion(log.auditor, waiting.id), Conflict)
    assert pending.code == "ledger_entry_pending"
    log.sequencer.sign()
    assert log.reading.inclusion(log.auditor, waiting.id).id == waiting.id
    for unknown in (str(uuid.uuid4()), "nonsense", waiting.id.upper()):
        gone = refusal(lambda name=unknown: log.reading.inclusion(log.auditor, name), NotFound)
        assert gone.code == "ledger_entry_not_found"


def _ids(log: LogStage, question: Question) -> list[str]:
    """Every page's entries."""
    found: list[str] = []
    cursor = question.cursor
    while True:
        page = log.reading.search(
            log.auditor,
            Question(
                names=question.names,
                since=question.since,
                until=question.until,
                limit=question.limit,
                newest_first=question.newest_first,
                cursor=cursor,
            ),
        )
        found += [each.members["id"] for each in page.entries]
        if page.next is None:
            return found
        cursor = page.next


def test_entries_are_found_by_every_name(log: LogStage, written: list[Entry]) -> None:
    """By actor, token, customer and event, in full bundles and in the partial one."""
    for each in (written[3], written[600], log.fill(1)[0]):
        assert each.customer is not None
        for kind, value in (
            ("actor", each.actor.id),
            ("token", each.tokens[0]),
            ("customer", each.customer),
        ):
            assert _ids(log, Question(names={kind: value})) == [each.id]
        both = {"customer": each.customer, "event": Event.TOKENS_CREATED.value}
        assert _ids(log, Question(names=both)) == [each.id]
        other = {"customer": each.customer, "event": Event.REVEAL_ALLOWED.value}
        assert _ids(log, Question(names=other)) == []


def test_pages_lose_and_repeat_nothing(log: LogStage, written: list[Entry]) -> None:
    """All pages together are the log, upwards and downwards, whatever the page's size."""
    whole = [each["id"] for each in entries_of(log)]
    assert len(written) <= len(whole)
    for limit in (97, 256, 500):
        assert _ids(log, Question(limit=limit)) == whole
        assert _ids(log, Question(limit=limit, newest_first=True)) == whole[::-1]


def test_entries_are_found_by_time(log: LogStage, written: list[Entry]) -> None:
    """Both ends count; what lies outside does not."""
    since, until = written[400].at, written[450].at
    found = _ids(log, Question(since=since, until=until))
    assert found == [each.id for each in written if since <= each.at <= until]
    assert _ids(log, Question(until=written[0].at - timedelta(days=1))) == []
    assert written[-1].id in _ids(log, Question(since=written[-1].at, newest_first=True))


@pytest.mark.parametrize(
    "question", [Question(limit=0), Question(limit=501), Question(cursor="x")], ids=str
)
def test_a_question_out_of_form_is_refused(log: LogStage, question: Question) -> None:
    """A page's size has bounds, and a cursor is one that was given out."""
    refusal(lambda: log.reading.search(log.auditor, question), InvalidInput)


def test_tiles_are_served_as_the_specification_names_them(
    log: LogStage, written: list[Entry]
) -> None:
    """Full and partial tiles and bundles; a partial one stays after it became full."""
    size = log.size()
    assert size >= len(written)
    for tile in (*tiles.of_tree(size), *tiles.bundles_of(size)):
        assert log.read(tile.path)
    full = log.read("tile/0/000")
    assert full is not None
    assert len(full) == 8192
    assert log.read("tile/0/000.p/17") == full[: 17 * 32]
    bundle = log.read("tile/entries/000")
    assert bundle is not None
    some = log.read("tile/entries/000.p/17")
    assert some is not None
    assert bundle.startswith(some)
    for missing in (
        "0/999",
        "entries/999",
        "5/000",
        "0/000.p/256",
        "0/x000/000",
        "x/000",
        "64/000",
    ):
        gone = refusal(lambda name=missing: log.reading.tile(log.auditor, name), NotFound)
        assert gone.code == "ledger_tile_not_found"


def test_only_auditors_read_the_ledger(log: LogStage) -> None:
    """Every way of reading asks for the role."""
    from dataclasses import replace

    from vault_service.domain.actors import Role

    auditor = log.auditor
    operator = replace(
        auditor, principal=replace(auditor.principal, roles=frozenset((Role.OPERATOR,)))
    )
    reading = log.reading
    for call in (
        lambda: reading.checkpoint(operator),
        lambda: reading.verifier_keys(operator),
        lambda: reading.tile(operator, "0/000"),
        lambda: reading.search(operator, Question()),
        lambda: reading.inclusion(operator, str(uuid.uuid4())),
        lambda: reading.consistency(operator, old=0, new=0),
    ):
        refusal(call, Forbidden)


def test_a_commitment_is_the_same_while_its_entry_waits_and_in_the_log(log: LogStage) -> None:
    """The view cuts it out of what waits, and the sequencer out of what it takes."""
    log.keeper.finish()
    made = log.write(
        entry(log.rng, commitments={"wrapped_keys": "5a" * 32}),
        entry(log.rng, commitments={"value": "0b" * 32}),
        entry(log.rng),
    )
    names = [uuid.UUID(each.id) for each in made]
    told = "SELECT id, wrapped_keys FROM {} WHERE id = ANY(%s) ORDER BY id"
    waiting = log.sql(told.format("ledger_commitments"), (names,))
    log.keeper.finish()
    assert log.sql(told.format("ledger_leaves"), (names,)) == waiting
    assert dict(waiting) == {names[0]: b"5a" * 32, names[1]: None, names[2]: None}
