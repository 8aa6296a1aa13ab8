"""Rotations from the asking to the certificate, with every way to stop in between."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from keys.data_keys import WrappedKey
from keys.errors import CiphertextRejected, VaultUnavailable
from tests.support.faults import FaultyUnitOfWork, Hooked, rebuilt, rebuilt_reveal
from tests.support.whole import Stage, draft, refusal, standing
from vault_service.errors import Forbidden, InvalidInput, NotFound, Unavailable
from vault_service.ledger.entries import Event
from vault_service.services import rewrapping
from vault_service.services.rotation_ports import Reason, RotationRow, RotationState
from vault_service.services.rotations import shown
from vault_service.services.tokenization import TokenizeItem

KEY = "records-contact"
STOP = threading.Event()


@pytest.fixture(autouse=True)
def clean(stage: Stage) -> None:
    """Values of other stories, some of them broken on purpose, are out of the way."""
    stage.without_records(KEY)
    stage.sql("DELETE FROM rotations")


@pytest.fixture
def work(stage: Stage) -> Any:
    """The worker's duty, which does not wait before it verifies."""
    return rebuilt(stage.rotation_work, settle=timedelta(0))


def mails(stage: Stage, count: int, *, prefix: str = "a") -> list[str]:
    """Tokens of so many e-mail addresses."""
    customer = stage.customer()
    items = [
        TokenizeItem(
            data_class="email_address", customer=customer, value=f"{prefix}{number}@example.com"
        )
        for number in range(count)
    ]
    return [view.id for view in stage.tokenize(*items, batch=True)]


def asked(stage: Stage, key: str = KEY) -> str:
    """The name of a rotation that an operator asked for."""
    view, _ = stage.rotations.start(stage.caller("operator"), key)
    return view.row.id


def row(stage: Stage, rotation: str) -> RotationRow:
    """A rotation as an auditor reads it."""
    return stage.rotations.get(stage.caller("auditor"), rotation).row


def versions(stage: Stage, key: str = KEY) -> set[int]:
    """The versions under which something is wrapped."""
    return {
        int(text.removeprefix("vault:v").partition(":")[0])
        for (text,) in stage.sql("SELECT wrapped_key FROM records WHERE kek = %s", [key])
    }


# ---------------------------------------------------------------- asking


def test_an_operator_asks_for_a_rotation(stage: Stage) -> None:
    """It waits for the worker, and the ledger knows who asked."""
    with stage.told() as entries:
        view, is_new = stage.rotations.start(stage.caller("operator"), KEY)
    assert is_new
    assert (view.row.state, view.row.reason) == (RotationState.REQUESTED, Reason.ASKED)
    assert (view.remaining, view.rate, view.seconds_left) == (0, None, None)
    (entry,) = entries
    assert (entry.event, entry.key, entry.actor.id) == (
        Event.ROTATION_STARTED,
        KEY,
        stage.cast.id("operator"),
    )
    assert entry.details == {"rotation": view.row.id, "reason": "asked"}


def test_asking_again_gives_the_one_under_way(stage: Stage) -> None:
    """A repeated request begins nothing."""
    first = asked(stage)
    with stage.told() as entries:
        view, is_new = stage.rotations.start(stage.caller("operator"), KEY)
    assert (view.row.id, is_new, entries) == (first, False, [])


def test_only_declared_keks_are_rotated(stage: Stage) -> None:
    """Other names are unknown here."""
    error = refusal(lambda: stage.rotations.start(stage.caller("operator"), "shoes"), NotFound)
    assert error.code == "vault_key_not_found"


@pytest.mark.parametrize("who", ["billing", "requester", "officer-1", "auditor"])
def test_only_an_operator_asks(stage: Stage, who: str) -> None:
    """The refusal is an entry."""
    with stage.told() as entries:
        refusal(lambda: stage.rotations.start(stage.caller(who), KEY), Forbidden)
    assert [entry.details for entry in entries] == [{"action": "rotate_keys"}]


@pytest.mark.parametrize("who", ["billing", "requester", "officer-1"])
def test_operators_and_auditors_read_rotations(stage: Stage, who: str) -> None:
    """Nobody else does."""
    refusal(lambda: stage.rotations.page(stage.caller(who), cursor=None, limit=1), Forbidden)
    refusal(lambda: stage.rotations.get(stage.caller(who), "rot_" + "0" * 26), Forbidden)


def test_rotations_come_in_pages_newest_first(stage: Stage) -> None:
    """The cursor leads on, and the last page has none."""
    names = [asked(stage, key) for key in (KEY, "evidence", "records-card")]
    auditor = stage.caller("auditor")
    first = stage.rotations.page(auditor, cursor=None, limit=2)
    assert [view.row.id for view in first.items] == [names[2], names[1]]
    assert first.next == names[1]
    second = stage.rotations.page(auditor, cursor=first.next, limit=2)
    assert ([view.row.id for view in second.items], second.next) == ([names[0]], None)


def test_wrong_names_and_limits_are_refused(stage: Stage) -> None:
    """Before the database is asked."""
    auditor = stage.caller("auditor")
    for cursor, limit in (("nonsense", 5), (None, 0), (None, 201)):
        refusal(
            lambda cursor=cursor, limit=limit: stage.rotations.page(  # type: ignore[misc]
                auditor, cursor=cursor, limit=limit
            ),
            InvalidInput,
        )
    refusal(lambda: stage.rotations.get(auditor, "nonsense"), InvalidInput)
    missing = refusal(lambda: stage.rotations.get(auditor, "rot_" + "0" * 26), NotFound)
    assert missing.code == "rotation_not_found"


# ---------------------------------------------------------------- the whole of it


def test_a_rotation_leaves_nothing_under_the_old_version(stage: Stage, work: Any) -> None:
    """Begun, rewrapped, verified twice, retired, certified; every value opens as before."""
    tokens = mails(stage, 450)
    rotation = asked(stage)
    with stage.told() as entries:
        work.run(STOP)
    done = row(stage, rotation)
    assert (done.state, done.total, done.rewrapped, done.failed) == (
        RotationState.DONE,
        450,
        450,
        0,
    )
    assert versions(stage) == {done.to_version}
    told: dict[Event, list[Any]] = {}
    for entry in entries:
        told.setdefault(entry.event, []).append(entry)
    assert sum(entry.count for entry in told[Event.VAULT_KEY_REWRAPPED]) == 450
    assert max(entry.count for entry in told[Event.VAULT_KEY_REWRAPPED]) <= rewrapping.BATCH
    (retired,) = told[Event.VAULT_KEY_RETIRED]
    assert retired.details["min_decryption"] == done.to_version
    (certificate,) = told[Event.ROTATION_CERTIFICATE]
    assert certificate.key == KEY
    assert certificate.details == {
        "rotation": rotation,
        "from_version": done.from_version,
        "to_version": done.to_version,
        "total": 450,
        "rewrapped": 450,
        "remaining": 0,
        "started_at": int(done.started_at.timestamp()),  # type: ignore[union-attr]
        "finished_at": int(done.finished_at.timestamp()),  # type: ignore[union-attr]
        "by": stage.cast.id("operator"),
    }
    with stage.admin() as admin:
        assert admin.read_key(KEY).min_decryption_version == done.to_version
    grant = stage.granted(standing(tokens[0]))
    assert len(stage.revealed(stage.token(grant.id), tokens[0])) == 1


def test_evidence_and_comments_are_rewrapped_too(stage: Stage, work: Any) -> None:
    """What officers read opens after its key was rotated and the old version retired."""
    stage.sql("TRUNCATE disclosures, recipients, holds, evidence_documents CASCADE")
    grant = stage.disclosures.create(
        stage.caller("requester"), draft(stage.card(stage.customer())), is_draft=False
    )
    stage.decisions.approve(stage.caller("officer-1"), grant.id, comment="seen")
    rotation = asked(stage, "evidence")
    work.run(STOP)
    # What the pool of this process still holds is of the old version: nothing waited for its end.
    stage.disclosures._documents._data_keys.discard()
    done = row(stage, rotation)
    assert (done.state, done.rewrapped) == (RotationState.DONE, 2)
    read = stage.disclosure_reading.get(stage.caller("officer-2"), grant.id)
    assert [decision.comment for decision in read.decisions] == ["seen"]


def test_several_workers_share_a_rotation(stage: Stage, work: Any) -> None:
    """Nothing is rewrapped twice, and one certificate tells of it."""
    mails(stage, 900)
    rotation = asked(stage)
    with stage.told(Event.ROTATION_CERTIFICATE) as certificates:
        workers = [
            threading.Thread(target=rebuilt(work).run, args=(threading.Event(),)) for _ in range(3)
        ]
        for each in workers:
            each.start()
        for each in workers:
            each.join()
        work.run(STOP)
    done = row(stage, rotation)
    assert (done.state, done.rewrapped, len(certificates)) == (RotationState.DONE, 900, 1)


# ---------------------------------------------------------------- by itself


def test_an_old_key_is_rotated_by_itself(stage: Stage, work: Any) -> None:
    """When the newest version is older than its period; the next look is minutes later."""
    now = [0.0]
    due = rebuilt(work, periods={KEY: timedelta(0)}, clock=lambda: now[0])
    due.run(STOP)
    page = stage.rotations.page(stage.caller("auditor"), cursor=None, limit=10)
    (view,) = page.items
    assert (view.row.key, view.row.reason, view.row.requested_by) == (
        KEY,
        Reason.PERIOD,
        "worker",
    )
    assert view.row.state is RotationState.DONE
    now[0] += 1
    due.run(STOP)
    assert stage.sql("SELECT count(*) FROM rotations") == [(1,)]


def test_a_young_key_and_one_under_way_are_let_be(stage: Stage, work: Any) -> None:
    """Neither is asked for."""
    work.ask_for_due()
    assert stage.sql("SELECT count(*) FROM rotations") == [(0,)]
    asked(stage)
    rebuilt(work, periods={KEY: timedelta(0)}).ask_for_due()
    assert stage.sql("SELECT count(*) FROM rotations") == [(1,)]


# ---------------------------------------------------------------- interrupted


def test_a_beginning_that_died_makes_no_second_version(stage: Stage, work: Any) -> None:
    """Vault had rotated, the database knew nothing of it: the next try takes that version."""
    mails(stage, 3)
    rotation = asked(stage)
    with stage.admin() as admin:
        before = admin.read_key(KEY).latest_version

    def ending(tx: Any) -> None:
        if tx.rotations.get(rotation).state is RotationState.RUNNING:
            raise Unavailable("died")

    hooked = rebuilt(work, uow=Hooked(work._uow, ending=ending))
    refusal(lambda: hooked.run(STOP), Unavailable)
    assert row(stage, rotation).state is RotationState.REQUESTED
    work.run(STOP)
    done = row(stage, rotation)
    assert (done.state, done.from_version, done.to_version) == (
        RotationState.DONE,
        before,
        before + 1,
    )


def test_a_beginning_that_another_has_in_hand_is_left_to_it(stage: Stage, work: Any) -> None:
    """Whoever comes second finds the row locked, or moved on, and does nothing."""
    rotation = asked(stage)
    seen: list[RotationState] = []

    def ending(tx: Any) -> None:
        if not seen and tx.rotations.lock(rotation, RotationState.REQUESTED) is not None:
            seen.append(RotationState.REQUESTED)
            work.run(STOP)
            assert row(stage, rotation).state is RotationState.REQUESTED

    hooked = rebuilt(work, uow=Hooked(work._uow, ending=ending))
    hooked.run(STOP)
    assert seen == [RotationState.REQUESTED]
    assert row(stage, rotation).state is RotationState.DONE


def test_a_beginning_that_another_did_meanwhile_is_not_repeated(stage: Stage, work: Any) -> None:
    """Between a worker's look and its lock another may begin, and even end."""
    rotation = asked(stage)
    reads: list[bool] = []

    def before(read_only: bool) -> None:  # noqa: FBT001 -- the hook's form
        reads.append(read_only)
        # After the first writing transaction, which remembers the version, comes the second.
        if reads.count(False) == 2:
            reads.append(False)
            work.run(STOP)

    rebuilt(work, uow=Hooked(work._uow, before=before), periods={}).run(STOP)
    done = row(stage, rotation)
    assert (done.state, done.to_version) == (RotationState.DONE, (done.from_version or 0) + 1)


def test_a_stopped_pass_goes_on_later(stage: Stage, work: Any) -> None:
    """What was rewrapped stays so; the rest is found by the next round."""
    mails(stage, 450)
    rotation = asked(stage)
    stop = threading.Event()
    walker = rebuilt(
        work._rewrapping,
        lanes=1,
        rotator=Rotator(work._rotator, after=lambda _: stop.set()),
    )
    rebuilt(work, rewrapping=walker).run(stop)
    half = stage.rotations.get(stage.caller("auditor"), rotation)
    # Less than a batch where a window ends between them: there may be rows of other tests.
    assert 0 < half.row.rewrapped <= rewrapping.BATCH
    assert (half.row.state, half.remaining) == (RotationState.RUNNING, 450 - half.row.rewrapped)
    assert half.rate
    assert half.seconds_left
    work.run(STOP)
    assert row(stage, rotation).rewrapped == 450


def test_a_failed_batch_is_done_again(stage: Stage, work: Any) -> None:
    """No batch counts without its commit."""
    mails(stage, 10)
    rotation = asked(stage)
    walker = rebuilt(work._rewrapping, lanes=1, uow=FaultyUnitOfWork(work._uow, at="instead"))
    refusal(lambda: rebuilt(work, rewrapping=walker).run(STOP), Unavailable)
    assert row(stage, rotation).rewrapped == 0
    work.run(STOP)
    assert (row(stage, rotation).state, row(stage, rotation).rewrapped) == (
        RotationState.DONE,
        10,
    )


def test_without_vault_a_rotation_waits(stage: Stage, work: Any) -> None:
    """Nothing is lost, and it goes on when Vault is back."""
    mails(stage, 10)
    rotation = asked(stage)
    away = Rotator(work._rotator, answer="away")
    walker = rebuilt(work._rewrapping, rotator=away)
    with pytest.raises(VaultUnavailable):
        rebuilt(work, rewrapping=walker).run(STOP)
    assert row(stage, rotation).state is RotationState.RUNNING
    work.run(STOP)
    assert row(stage, rotation).state is RotationState.DONE


def test_rows_in_anothers_hands_are_waited_for(stage: Stage, work: Any) -> None:
    """A locked row is no refused row: it is done in a later round."""
    mails(stage, 5)
    rotation = asked(stage)
    with stage.superuser() as link, link.transaction():
        link.execute("SELECT 1 FROM records WHERE kek = %s FOR UPDATE", [KEY])
        work.run(STOP)
        assert row(stage, rotation).state is RotationState.RUNNING
    work.run(STOP)
    assert row(stage, rotation).state is RotationState.DONE


# ---------------------------------------------------------------- verifying


def test_it_is_verified_again_after_the_life_of_a_pool(stage: Stage) -> None:
    """Until then the old version still opens what it wrapped."""
    mails(stage, 5)
    rotation = asked(stage)
    stage.rotation_work.run(STOP)
    waiting = row(stage, rotation)
    assert (waiting.state, waiting.finished_at) == (RotationState.VERIFYING, None)
    with stage.admin() as admin:
        assert admin.read_key(KEY).min_decryption_version < waiting.target
    stage.sql("UPDATE rotations SET clear_at = clear_at - interval '10 minutes'")
    stage.rotation_work.run(STOP)
    assert row(stage, rotation).state is RotationState.DONE


def test_what_a_pool_brought_back_is_rewrapped(stage: Stage, work: Any) -> None:
    """A key of the old version that was written late is found by the second count."""
    (token,) = mails(stage, 1)
    (before,) = stage.sql(
        "SELECT wrapped_key, kek_version, bound_by, bound_path FROM records WHERE token = %s",
        [token],
    )
    rotation = asked(stage)
    stage.rotation_work.run(STOP)
    assert row(stage, rotation).state is RotationState.VERIFYING
    stage.sql(
        "UPDATE records SET wrapped_key = %s, kek_version = %s, bound_by = %s, bound_path = %s"
        " WHERE token = %s",
        [*before, token],
    )
    work.run(STOP)
    done = row(stage, rotation)
    assert (done.state, done.rewrapped) == (RotationState.DONE, 2)
    assert versions(stage) == {done.to_version}


def test_a_row_that_lies_about_its_version_is_found(stage: Stage, work: Any) -> None:
    """The column says the new version, the wrapped key the old one: the key is believed."""
    (token,) = mails(stage, 1)
    rotation = asked(stage)
    stage.sql("UPDATE records SET kek_version = 1000 WHERE token = %s", [token])
    work.run(STOP)
    done = row(stage, rotation)
    assert done.state is RotationState.DONE
    assert stage.sql("SELECT kek_version FROM records WHERE token = %s", [token]) == [
        (done.to_version,)
    ]


# ---------------------------------------------------------------- refused


def test_a_changed_key_halts_the_rotation(stage: Stage, work: Any) -> None:
    """Nothing is retired, an alarm is raised, and the rest is rewrapped all the same."""
    good, bad = mails(stage, 2)
    (kept,) = stage.sql("SELECT wrapped_key FROM records WHERE token = %s", [bad])
    rotation = asked(stage)
    changed = kept[0][:-8] + "AAAAAAA="
    stage.sql("UPDATE records SET wrapped_key = %s WHERE token = %s", [changed, bad])
    with stage.told(Event.ALARM_RAISED) as alarms:
        work.run(STOP)
    halted = stage.rotations.get(stage.caller("operator"), rotation)
    assert (halted.row.state, halted.row.failed, halted.remaining) == (
        RotationState.FAILED,
        1,
        1,
    )
    assert [alarm.reason for alarm in alarms] == ["wrapped_key_substituted", "rotation_halted"]
    with stage.admin() as admin:
        assert admin.read_key(KEY).min_decryption_version < halted.row.target
    grant = stage.granted(standing(good))
    assert len(stage.revealed(stage.token(grant.id), good)) == 1

    # Left alone it stays as it is; the row is repaired and an operator asks again.
    with stage.told() as nothing:
        work.run(STOP)
    assert nothing == []
    stage.sql("UPDATE records SET wrapped_key = %s WHERE token = %s", [kept[0], bad])
    view, is_new = stage.rotations.start(stage.caller("operator"), KEY)
    assert (view.row.id, view.row.state, is_new) == (rotation, RotationState.RUNNING, False)
    with stage.told(Event.ALARM_CLEARED) as cleared:
        work.run(STOP)
    assert [entry.reason for entry in cleared] == ["rotation_halted"]
    assert (row(stage, rotation).state, row(stage, rotation).failed) == (RotationState.DONE, 0)


def test_a_halt_is_told_once(stage: Stage, work: Any) -> None:
    """Of two workers that see it, one tells."""
    (bad,) = mails(stage, 1)
    asked(stage)
    stage.sql("UPDATE records SET wrapped_key = 'vault:v1:AAAA' WHERE token = %s", [bad])
    stale: list[RotationRow] = []
    keeping = rebuilt(work)
    real = keeping._halt
    keeping._halt = lambda row, left: (stale.append(row), real(row, left))
    keeping.run(STOP)
    with stage.told() as nothing:
        work._halt(stale[0], 1)
    assert nothing == []


# ---------------------------------------------------------------- reading meanwhile


def test_a_reveal_that_read_the_row_before_it_was_rewrapped_succeeds(
    stage: Stage, work: Any
) -> None:
    """The version that it read is retired when it asks Vault: it reads again, once."""
    (token,) = mails(stage, 1)
    grant = stage.granted(standing(token))
    disclosure_token = stage.token(grant.id)
    asked(stage)

    class Late:
        """Unwrapping that begins after a whole rotation."""

        def __init__(self) -> None:
            self.asked = 0

        def unwrap(self, wrapped: Sequence[WrappedKey]) -> Any:
            """Rotate first, the first time."""
            self.asked += 1
            if self.asked == 1:
                work.run(STOP)
            return stage.reveals._keys._unwrapping.unwrap(wrapped)

    late = Late()
    answer = rebuilt_reveal(stage.reveals, unwrapping=late).submit(
        stage.caller("requester"), disclosure_token=disclosure_token, tokens=[token], fields=None
    )
    assert (late.asked, answer.receipt.values) == (2, 1)


def test_the_rate_of_what_ended_stands(stage: Stage, work: Any) -> None:
    """It is that of the rewrapping, not of the waiting afterwards."""
    mails(stage, 20)
    rotation = asked(stage)
    work.run(STOP)
    done = row(stage, rotation)
    view = shown(done)
    assert done.clear_at is not None
    assert done.started_at is not None
    assert view.rate == pytest.approx(20 / (done.clear_at - done.started_at).total_seconds())
    assert (view.remaining, view.seconds_left) == (0, None)


# ---------------------------------------------------------------- signing keys, trimming


def test_a_signing_key_is_rotated_and_its_old_version_verifies(stage: Stage, work: Any) -> None:
    """Nothing is rewrapped or retired; tokens of both versions are good, and both are told of."""
    token = mails(stage, 1)[0]
    grant = stage.granted(standing(token))
    older = stage.token(grant.id)
    rotation = asked(stage, "disclosure-token")
    with stage.told(Event.VAULT_KEY_RETIRED, Event.ROTATION_CERTIFICATE) as entries:
        work.run(STOP)
    assert [(entry.event, entry.key) for entry in entries] == [
        (Event.ROTATION_CERTIFICATE, "disclosure-token")
    ]
    done = row(stage, rotation)
    assert (done.state, done.total, done.rewrapped) == (RotationState.DONE, 0, 0)
    newer = stage.token(grant.id)
    for each in (older, newer):
        assert len(stage.revealed(each, token)) == 1
    versions = {key["kid"].rpartition(":")[2] for key in stage.services.jwks()["keys"]}
    assert {str(done.from_version), str(done.to_version)} <= versions
    assert stage.sql("SELECT 1 FROM key_floors WHERE key = 'disclosure-token'") == []


def test_the_ledgers_key_is_never_rotated_by_itself(stage: Stage) -> None:
    """Auditors hold it."""
    assert "ledger" not in stage.rotation_work._periods
    assert "disclosure-token" in stage.rotation_work._periods


def test_retired_versions_are_deleted_after_the_backup_horizon(stage: Stage, work: Any) -> None:
    """Not before, and once; with an entry."""
    mails(stage, 3)
    rotation = asked(stage)
    work.run(STOP)
    done = row(stage, rotation)
    trimming = rebuilt(work, horizon=timedelta(days=30))
    with stage.told() as nothing:
        work.trim()
        trimming.trim()
    assert nothing == []
    stage.sql("UPDATE rotations SET finished_at = finished_at - interval '31 days'")
    stale: list[Any] = []

    def before(read_only: bool) -> None:  # noqa: FBT001 -- the hook's form
        # Another worker is at it, between this one's look and its note.
        if not read_only and not stale:
            stale.append(trimming.trim())

    with stage.told() as entries:
        rebuilt(trimming, uow=Hooked(work._uow, before=before)).trim()
        trimming.trim()
    assert [(entry.event, entry.key, entry.details) for entry in entries] == [
        (
            Event.VAULT_KEY_TRIMMED,
            KEY,
            {"from_version": done.from_version, "version": done.to_version},
        )
    ]
    with stage.admin() as admin:
        assert admin.read_key(KEY).min_available_version == done.to_version


class Rotator:
    """Vault's role `rotate`, which does as it is told about rewrapping."""

    def __init__(self, real: Any, *, answer: str = "real", after: Any = lambda _: None) -> None:
        self._real = real
        self._answer = answer
        self._after = after

    def rewrap(self, wrapped: Sequence[WrappedKey]) -> list[WrappedKey | CiphertextRejected]:
        """Rewrap, or fail."""
        if self._answer == "away":
            raise VaultUnavailable
        results: list[WrappedKey | CiphertextRejected] = self._real.rewrap(wrapped)
        self._after(results)
        return results


@pytest.mark.parametrize("batch", [3, 7, 400])
def test_a_large_table_is_walked_in_windows(
    stage: Stage, work: Any, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Windows of any size leave nothing out, whether batches end where they do or elsewhere."""
    monkeypatch.setattr(rewrapping, "BATCH", batch)
    monkeypatch.setattr(rewrapping, "WINDOW", 7)
    monkeypatch.setattr(rewrapping, "COUNTED", 11)
    mails(stage, 60)
    rotation = asked(stage)
    work.run(STOP)
    done = row(stage, rotation)
    assert (done.state, done.total, done.rewrapped) == (RotationState.DONE, 60, 60)


def test_of_two_that_verified_one_certifies(stage: Stage, work: Any) -> None:
    """The second finds the rotation done and tells nothing."""
    mails(stage, 1)
    rotation = asked(stage)
    stage.rotation_work.run(STOP)
    waiting = row(stage, rotation)
    work.run(STOP)
    with stage.told() as nothing:
        work._verify(waiting)
    assert nothing == []
    assert row(stage, rotation).state is RotationState.DONE
