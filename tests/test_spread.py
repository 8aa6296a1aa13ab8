"""Spreading the tests loses none and keeps rooms whole."""

from __future__ import annotations

import pytest

from tests.support.sources import ROOT
from tests.support.spread import ROOMS, SECONDS, longest_first, scope_of


def test_a_room_stays_whole_and_a_module_by_itself() -> None:
    """Whatever else a test's name holds."""
    assert scope_of("tests/process/test_a.py::test_x[a/b::c]") == "tests/process"
    assert scope_of("tests/process/test_b.py::TestIt::test_y") == "tests/process"
    assert scope_of("tests/keys/test_aead.py::test_z") == "tests/keys/test_aead.py"
    assert scope_of("tests/test_logs.py::test_z") == "tests/test_logs.py"
    assert scope_of("elsewhere/process/test_a.py::test_x") == "elsewhere/process/test_a.py"


def test_what_is_named_is_there() -> None:
    """A room or a module that was renamed takes its time with it."""
    assert [name for name in SECONDS if not (ROOT / name).exists()] == []
    assert [room for room in ROOMS if not (ROOT / "tests" / room).is_dir()] == []


def test_the_longest_come_first_and_nothing_else_moves(request: pytest.FixtureRequest) -> None:
    """Equal ones keep the order that chance gave them."""
    items = list(request.session.items)
    ordered = list(items)
    longest_first(ordered)
    assert sorted(map(id, ordered)) == sorted(map(id, items))
    weights = [SECONDS.get(scope_of(item.nodeid), 0) for item in ordered]
    assert weights == sorted(weights, reverse=True)
    for weight in set(weights):
        same = [item for item in items if SECONDS.get(scope_of(item.nodeid), 0) == weight]
        assert [item for item in ordered if SECONDS.get(scope_of(item.nodeid), 0) == weight] == same
