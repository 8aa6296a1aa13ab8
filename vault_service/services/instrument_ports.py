"""The repository of what officers said of legal instruments, as the use cases see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vault_service.domain.instruments import Instrument


class Instruments(Protocol):
    """What determinations say of instruments; one for each request, never changed."""

    def insert(self, bucket: int, disclosure: str, instrument: Instrument) -> None:
        """Keep what a determination says."""
        ...

    def of(self, names: Sequence[tuple[int, str]]) -> dict[str, Instrument]:
        """What the determinations of requests, by (bucket, id), say; of those that have one."""
        ...
