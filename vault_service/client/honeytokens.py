"""Calls on honeytokens: what no honest caller touches."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from vault_service.client.transport import Ask, Transport, decode


class HoneytokenCount(msgspec.Struct, frozen=True):
    """How many marks were set, taken away, or stand."""

    count: int


class Honeytokens:
    """`/v1/honeytokens`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def plant(self, names: Sequence[str]) -> int:
        """Mark records and customers; how many marks are new."""
        return self._count(
            Ask(method="POST", path="/v1/honeytokens", body={"names": list(names)}, repeatable=True)
        )

    def lift(self, names: Sequence[str]) -> int:
        """Take marks away; how many there were."""
        return self._count(
            Ask(method="POST", path="/v1/honeytokens/lift", body={"names": list(names)})
        )

    def count(self) -> int:
        """How many marks stand."""
        return self._count(Ask(method="GET", path="/v1/honeytokens", repeatable=True))

    def _count(self, ask: Ask) -> int:
        found: HoneytokenCount = decode(self._transport.send(ask), HoneytokenCount)
        return found.count
