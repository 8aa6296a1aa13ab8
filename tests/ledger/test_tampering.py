"""A superuser of the database who touches the log behind a kept checkpoint is found out (E2)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.process import campaign
from tests.support.log_stage import LogStage, verified
from tests.support.tampering import Superuser, Tampering
from vault_service.errors import NotFound
from vault_service.ledger.faults import LogError, LogForked
from vault_service.ledger.note import VerifierKey

pytestmark = pytest.mark.unmeasured

SEED = campaign.seed(20261123)


class Scene:
    """A log, a checkpoint that an auditor kept, and the superuser."""

    def __init__(self, log: LogStage, link: psycopg.Connection[tuple[object, ...]]) -> None:
        self.log = log
        log.fill(400)
        log.fill(500)
        self.kept = log.checkpoint()
        kept_size = log.head().size
        log.fill(250)
        self.keys: list[VerifierKey] = log.keys()
        self.rng = random.Random(SEED)  # noqa: S311 -- a campaign repeats itself
        self.superuser = Superuser(link, self.rng, kept=kept_size)
        self.superuser.remember()

    def round(self, file: Path) -> tuple[Tampering, str | None]:
        """Tamper, look, and put it back; the code of what was found."""
        done = self.superuser.tamper()
        try:
            if done.signs:
                self.log.fresh_sequencer().sign()
            verified(self.log.export(file), self.keys, self.kept)
        except (LogError, NotFound) as error:
            # NotFound: there is no signed head any more.
            return done, error.code
        finally:
            self.superuser.put_back()
        return done, None


@pytest.fixture(scope="module")
def scene(log: LogStage) -> Iterator[Scene]:
    """The scene."""
    with psycopg.connect(log.database.admin_url, autocommit=True) as link:
        yield Scene(log, link)


def _rounds(scene: Scene, file: Path, rounds: int) -> None:
    found: Counter[tuple[str, str]] = Counter()
    for number in range(rounds):
        done, code = scene.round(file)
        assert code is not None, f"seed {SEED}, round {number}: {done} was not found"
        found[done.kind, code] += 1
    for (kind, code), count in sorted(found.items()):
        campaign.report(kind=kind, found=code, times=count)
    # The log is whole again, or something else than the tampering was found.
    assert verified(scene.log.export(file), scene.keys, scene.kept).missing == ()


def test_e2_random_tamperings_are_found(scene: Scene, tmp_path: Path) -> None:
    """Edits, deletions, insertions, reorderings, truncations, forks, tiles and heads: all."""
    _rounds(scene, tmp_path / "log.tar", campaign.rounds(100))


def test_e2_a_running_sequencer_does_not_sign_a_fork(scene: Scene) -> None:
    """A log that was rewritten, hashes and all, gets no signature of a sequencer that remembers."""
    log = scene.log
    log.fill(1)
    scene.superuser.remember_anew()
    try:
        scene.superuser.fork()
        with pytest.raises(LogForked):
            log.sequencer.sign()
    finally:
        scene.superuser.put_back()


def test_e2_a_restarted_sequencer_does_not_sign_a_fork_either(scene: Scene) -> None:
    """As long as the last checkpoint is there, it is what the tree must continue."""
    log = scene.log
    try:
        scene.superuser.fork(keep_heads=True)
        with pytest.raises(LogForked):
            log.fresh_sequencer().sign()
    finally:
        scene.superuser.put_back()
