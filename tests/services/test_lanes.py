"""Large batches wait for one another, in time or with a refusal; small ones do not."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vault_service.errors import Unavailable
from vault_service.services.lanes import LARGE, Lanes


def test_no_more_than_so_many_are_under_way() -> None:
    """Of 12 large batches two are at work at any time, and each gets its turn."""
    lanes, lock, under_way, most = Lanes(2), threading.Lock(), 0, 0

    def work(_: int) -> None:
        nonlocal under_way, most
        with lanes.one(LARGE, deadline=time.monotonic() + 10):
            with lock:
                under_way += 1
                most = max(most, under_way)
            time.sleep(0.005)
            with lock:
                under_way -= 1

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(work, range(12)))
    assert (most, under_way) == (2, 0)


def test_who_comes_too_late_is_told_so_and_small_ones_pass() -> None:
    """A full house refuses a large batch at its deadline; a failure inside frees the lane."""
    lanes = Lanes(1)
    with lanes.one(LARGE, deadline=time.monotonic() + 1):
        with pytest.raises(Unavailable) as caught, lanes.one(LARGE, deadline=time.monotonic()):
            pass  # pragma: no cover -- never reached
        assert caught.value.code == "overloaded"
        with lanes.one(LARGE - 1, deadline=time.monotonic()):
            pass
    with pytest.raises(ZeroDivisionError), lanes.one(LARGE, deadline=time.monotonic() + 1):
        raise ZeroDivisionError
    with lanes.one(LARGE, deadline=time.monotonic()):
        pass
