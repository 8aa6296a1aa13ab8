"""Signs for whoever asks at the same time in one request to Vault."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Protocol

from vault_service.services.gather import Gather

# As long as a request to Vault may take, with the one that it waits for.
WAIT_SECONDS: Final = 2.5
# As many as Vault takes in one request.
MAX_BATCH: Final = 200


class ManySigner(Protocol):
    """Signs several messages with the newest version of one key."""

    def sign_many(self, messages: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """For each message the version that signed, and the raw signature of 64 bytes.

        Raises:
            VaultUnavailable: Vault gave no answer in time; none counts as signed.
        """
        ...


class GatheredSigner:
    """A `Signer` whose concurrent callers share requests. Thread-safe."""

    def __init__(self, signer: ManySigner) -> None:
        self._calls = Gather[bytes, tuple[int, bytes]](signer.sign_many, max_batch=MAX_BATCH)

    def sign(self, message: bytes) -> tuple[int, bytes]:
        """The version that signed, and the raw signature of 64 bytes.

        Raises:
            VaultUnavailable: Vault gave no answer in time.
            Unavailable: too many waited for it already, or for too long.
        """
        return self._calls.submit(message, deadline=time.monotonic() + WAIT_SECONDS)
