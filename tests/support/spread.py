"""How the tests are spread over several processes: by rooms, those that take longest first.

A module stays in one process, because its database and its mount are its own. The folders in
`ROOMS` stay whole as well: they share servers or a stage of their own, which every process that
runs a part of them would have to start again. What takes long begins first, so that no process is
left with it at the end. The order within a room, and that of all others, stays the random one.
"""

from __future__ import annotations

from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

ROOMS: Final = ("acceptance", "faults", "functional", "process", "services")
# Seconds, roughly, with nothing else going on; what takes less than ten is not listed. They are
# for the order alone, so that one that is wrong costs time and nothing else.
SECONDS: Final = {
    "tests/process": 200,
    "tests/services": 110,
    "tests/functional": 90,
    "tests/cli/test_up.py": 75,
    "tests/acceptance": 65,
    "tests/faults": 55,
    "tests/keys/test_faults.py": 55,
    "tests/embedded/test_vault.py": 30,
    "tests/docs/test_examples.py": 25,
    "tests/migrations/test_runner.py": 20,
    "tests/ledger/test_kill_sequencer.py": 20,
    "tests/ledger/test_independence.py": 20,
    "tests/embedded/test_guard.py": 20,
    "tests/ledger/test_tampering.py": 15,
    "tests/cli/test_key_verify.py": 15,
    "tests/ledger/test_scale.py": 13,
    "tests/cli/test_import_run.py": 11,
}


def scope_of(nodeid: str) -> str:
    """What stays together with a test: its room, or else its module."""
    module = nodeid.partition("::")[0]
    parts = module.split("/")
    if len(parts) > 2 and parts[0] == "tests" and parts[1] in ROOMS:
        return "/".join(parts[:2])
    return module


def longest_first(items: list[pytest.Item]) -> None:
    """Order tests by what their scope takes; stable, so that what is equal keeps its order."""
    items.sort(key=lambda item: -SECONDS.get(scope_of(item.nodeid), 0))


class RoomScheduling(LoadFileScheduling):
    """Hands out whole rooms and whole modules, in the order in which they were collected."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        # Not by the number of tests: the longest have few.
        self.config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)
