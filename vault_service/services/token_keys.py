"""The public keys that disclosure tokens are checked with, fetched from Vault and kept a while.

A token names the version of its key. A version that is not known yet has just been made by a
rotation, or never existed: the keys are looked up again, but only so often, and nobody waits for
the next time: else whoever makes up versions could have this service hammer Vault, and hold up
those whose tokens are checked beside his. Meanwhile such versions are unknown. The version after
the newest is the only one that a rotation can have made a moment ago, so it is looked up sooner.
Only public keys pass through here.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from vault_service.services.recent_failure import RecentFailure

# A key that was withdrawn counts for at most this long, in seconds.
MAX_AGE: Final = 300.0
# Between two look-ups of versions that are unknown, in seconds.
MIN_INTERVAL: Final = 5.0
# The same where the version after the newest is one.
NEXT_INTERVAL: Final = 0.2
KEY_NAME: Final = "disclosure-token"
ALGORITHM: Final = "Ed25519"


class PublicKeys(Protocol):
    """Where the public keys come from."""

    def public_keys(self) -> Mapping[int, bytes]:
        """Raw 32-byte Ed25519 keys by version.

        Raises:
            VaultUnavailable: Vault gave no answer in time.
        """
        ...


class TokenKeys:
    """Keys by version; safe to share between threads.

    Args:
        source: asked for the keys.
        max_age: seconds after which they are fetched again.
        min_interval: seconds between two look-ups of unknown versions.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        source: PublicKeys,
        *,
        max_age: float = MAX_AGE,
        min_interval: float = MIN_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._max_age = max_age
        self._min_interval = min_interval
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Mapping[int, bytes] = {}
        self._fetched: float | None = None
        self._looked_up: float | None = None
        self._failure = RecentFailure(clock)

    def get(self, version: int) -> bytes | None:
        """The key of a version, 32 raw bytes, or None if there is none.

        Raises:
            VaultUnavailable: the keys are too old, or lack the version, and cannot be fetched.
        """
        self._refresh(self._max_age)
        if version not in self._keys:
            self._look_up(version)
        return self._keys.get(version)

    def newest(self) -> int:
        """The newest version.

        Raises:
            VaultUnavailable: the keys cannot be fetched.
            LookupError: there are none.
        """
        self._refresh(self._max_age)
        if not self._keys:
            raise LookupError("there is no key to sign disclosure tokens with")
        return max(self._keys)

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The keys as a JSON Web Key Set (RFC 7517, RFC 8037), oldest first, for publication.

        Raises:
            VaultUnavailable: the keys cannot be fetched.
        """
        self._refresh(self._max_age)
        return {"keys": [_jwk(version, raw) for version, raw in sorted(self._keys.items())]}

    def _refresh(self, age: float) -> None:
        """Fetch the keys unless they were fetched less than `age` seconds ago."""
        if self._younger_than(age):
            return
        with self._lock:
            # Whoever waited here for another's fetch needs none of his own.
            if self._younger_than(age):
                return
            # Nor does he sit through the same failure, one after the other.
            self._failure.raise_again()
            self._fetch()

    def _look_up(self, version: int) -> None:
        """Fetch the keys for the sake of a version that is unknown, unless that was done lately."""
        with self._lock:
            if version in self._keys:
                return
            # From the last look-up, not the last fetch: the keys may have been fetched for their
            # age a moment before the rotation.
            is_next = version == max(self._keys, default=0) + 1
            pause = NEXT_INTERVAL if is_next else self._min_interval
            now = self._clock()
            if self._looked_up is None or now - self._looked_up >= pause:
                # One who asks for a key that nobody can look up now does not wait as others did.
                self._failure.raise_again()
                try:
                    self._fetch()
                finally:
                    self._looked_up = self._clock()
            else:
                # Where the last look-up failed it was not found to be unknown: nobody could look.
                self._failure.raise_again(within=pause)

    def _fetch(self) -> None:
        """Fetch the keys. A failure leaves all as it was: their age goes on counting."""
        with self._failure.noted():
            self._keys = dict(self._source.public_keys())
        self._fetched = self._clock()

    def _younger_than(self, age: float) -> bool:
        fetched = self._fetched
        return fetched is not None and self._clock() - fetched < age


def key_id(version: int) -> str:
    """The `kid` of a version."""
    return f"{KEY_NAME}:{version}"


def _jwk(version: int, raw: bytes) -> dict[str, str]:
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": ALGORITHM,
        "use": "sig",
        "kid": key_id(version),
        "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode(),
    }
