"""kill -9 of the service under load: what was acknowledged stays, what was spent stays spent.

The suite kills a few times; `scripts/campaign kill-serve --rounds 20 --seed N` as often as asked.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

import pytest

from keys import spool
from tests.process import campaign, invariants
from tests.process.load import Load, show
from tests.process.processes import children_of
from tests.support.running import Running
from tests.support.whole import ROLES, Stage, admin_of
from vault_service.embedded.postgres import Postgres
from vault_service.settings import ProcessRole

WORKERS = 2
# Numbers that one load may take.
RANGE = 200_000
# Disclosure tokens shown again after a kill; all of them would take longer than the kill.
REPLAYS = 60


def refill(stage: Stage) -> None:
    """Secret-ids for the next start: each worker spends one of each role."""
    folder = stage.settings_for(ProcessRole.ALL).vault_spool
    assert folder is not None
    admin = admin_of(stage.mount)
    for role in ROLES:
        spool.issue(admin, role, folder, 4 * WORKERS)
    admin.close()


def kill(service: Running, manner: str) -> None:
    """Kill all of it, or first one worker or the parent, and then what is left."""
    assert service.process is not None
    parent = service.process.pid
    if manner == "worker":
        os.kill(children_of(parent)[-1], signal.SIGKILL)
        time.sleep(0.2)
    elif manner == "parent":
        os.kill(parent, signal.SIGKILL)
        time.sleep(0.05)
    service.kill()


def check(service: Running, load: Load) -> dict[str, int]:
    """Hold the restarted service to what the callers were told."""
    load.settle()
    invariants.nothing_acknowledged_is_lost(service, load.written)
    invariants.values_read_back(service, load.written)
    answered = [use for use in load.spent if use.entry is not None]
    unheard = [use for use in load.spent if use.status is None]
    for use in answered[-REPLAYS:] + unheard:
        # The first showing of an unheard one may not have got through; then this one does, once.
        if show(service, use):
            assert use in unheard
            assert not show(service, use)
        assert use.status == 403
    used = invariants.uses_are_counted_once(service, load.spent)
    stored = invariants.no_row_is_half_done(service)
    return {
        "acknowledged": len(load.written),
        "plaintexts": len([use for use in load.spent if use.entry is not None]),
        "unheard": len(unheard),
        "used": used,
        "stored": stored,
    }


@pytest.mark.usefixtures("blank")
def test_f1_serve_is_killed_under_load(stage: Stage, start_service: Callable[..., Running]) -> None:
    """No acknowledged token is missing, none is spendable twice, no row is half done."""
    seed = campaign.seed(1)
    chance = random.Random(seed)  # noqa: S311 -- a test's choice, repeatable
    service = start_service(workers=WORKERS)
    for round_ in range(campaign.rounds(3)):
        load = Load(service, seed=seed * 1_000 + round_, start=round_ * RANGE)
        load.run()
        time.sleep(chance.uniform(0.0, 1.0))
        manner = chance.choice(("group", "group", "worker", "parent"))
        kill(service, manner)
        load.end()
        refill(stage)
        began = time.monotonic()
        service.start()
        back = time.monotonic() - began
        figures = check(service, load)
        campaign.report(round=round_, manner=manner, back=round(back, 2), **figures)
    assert service.stop() == 0


@pytest.mark.usefixtures("blank")
def test_f1_postgres_is_killed_under_load(
    own_postgres: Postgres, start_service: Callable[..., Running]
) -> None:
    """The same when the database dies instead, and the service lives on without a restart."""
    seed = campaign.seed(2)
    chance = random.Random(seed)  # noqa: S311 -- a test's choice, repeatable
    service = start_service(workers=WORKERS)
    for round_ in range(campaign.rounds(2)):
        load = Load(service, seed=seed * 1_000 + round_, start=(1_000 + round_) * RANGE)
        load.run()
        time.sleep(chance.uniform(0.0, 0.5))
        postmaster = own_postgres.child.pid
        assert postmaster is not None
        for pid in [postmaster, *children_of(postmaster)]:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.3)
        own_postgres.stop()  # it is dead; this takes note of it
        own_postgres.launch()
        own_postgres.settle()
        began = time.monotonic()
        until = began + 15
        while service.call("GET", "/readyz").status != 200:
            assert time.monotonic() < until, service.call("GET", "/readyz").raw
            time.sleep(0.05)
        back = time.monotonic() - began
        load.end()
        assert load.refused
        assert [answer for answer in load.refused if answer.status != 503] == []
        figures = check(service, load)
        campaign.report(round=round_, manner="postgres", back=round(back, 2), **figures)
