"""The repository of what officers said of legal instruments, as the use cases see it."""

from __future__ import annotations

from typing import Protocol

from vault_service.domain.instruments import Instrument


class Instruments(Protocol):
    """What determinations say of instruments; one for each request, never changed."""

    def insert(self, bucket: int, disclosure: str, instrument: Instrument) -> None:
        """Keep what a determination says."""
        ...

    def get(self, bucket: int, disclosure: str) -> Instrument | None:
        """What the determination of a request says, if there is one."""
        ...
