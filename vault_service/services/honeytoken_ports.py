"""What honeytokens need of the database and of Vault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from keys.fingerprint import Fingerprint


class HoneytokenMarks(Protocol):
    """Marks of records and customers that no honest caller touches; nobody can read of what."""

    def standing(self) -> list[tuple[bytes, int]]:
        """(mark, version of Vault's key) of those in force."""
        ...

    def plant(self, marks: Sequence[bytes], *, key_version: int, by: str) -> int:
        """Insert marks, or put them in force again; how many were not."""
        ...

    def lift(self, marks: Sequence[bytes], *, by: str) -> int:
        """End marks; how many were in force."""
        ...

    def revoke(self, key_id: str) -> str | None:
        """Revoke an API key; whose it was, None where it was no longer live.

        All that the process's database role may do to a key, and more than it may otherwise.
        """
        ...


class GuardKey(Protocol):
    """Vault's key `honeytoken`."""

    def hmac(
        self, key: str, inputs: Sequence[bytes], *, key_version: int | None = None
    ) -> list[Fingerprint]:
        """The HMAC-SHA256 of each input, under the newest or the given version."""
        ...
