"""Signatures of who asks at the same time come from one request."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from keys.errors import VaultUnavailable
from vault_service.services.gathered_signer import GatheredSigner


class _Held:
    """Signs by turning round; the first request waits until it is let go, the last fails."""

    def __init__(self) -> None:
        self.inside, self.go = threading.Event(), threading.Event()
        self.sizes: list[int] = []

    def sign_many(self, messages: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Sign."""
        self.sizes.append(len(messages))
        self.inside.set()
        assert self.go.wait(10)
        if b"bad" in messages:
            raise VaultUnavailable
        return [(3, message[::-1]) for message in messages]


def test_each_gets_the_signature_of_his_own_message() -> None:
    """Those who came while a request was under way share the next."""
    held = _Held()
    signer = GatheredSigner(held)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(signer.sign, b"0a")
        assert held.inside.wait(10)
        others = [pool.submit(signer.sign, b"%da" % number) for number in range(1, 9)]
        time.sleep(0.2)
        held.go.set()
        assert first.result() == (3, b"a0")
        assert [other.result() for other in others] == [(3, b"a%d" % n) for n in range(1, 9)]
    assert held.sizes == [1, 8]


def test_a_vault_that_is_away_is_told_to_each() -> None:
    """No signature without an answer."""
    held = _Held()
    held.go.set()
    with pytest.raises(VaultUnavailable):
        GatheredSigner(held).sign(b"bad")
