"""Calls on Vault's keys and their rotations."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from vault_service.client import models
from vault_service.client.transport import Ask, Transport, decode, segment


class VaultKey(models.Answer, frozen=True, kw_only=True):
    """A key that Vault holds for the service."""

    name: str
    purpose: str
    exists: bool
    version: int | None = None
    min_encryption_version: int | None = None
    min_decryption_version: int | None = None
    created: datetime | None = None
    age_days: int | None = None
    due: datetime | None = None
    overdue: bool = False
    wrapped: dict[str, int]
    counted_at: datetime | None = None
    rotation: str | None = None


class Rotation(models.Answer, frozen=True, kw_only=True):
    """A rotation and how far it is."""

    id: str
    key: str
    state: str
    reason: str
    requested_by: str
    from_version: int | None = None
    to_version: int | None = None
    total: int
    rewrapped: int
    remaining: int
    failed: int
    rate: float | None = None
    seconds_left: float | None = None
    requested_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None


class _Keys(models.Answer, frozen=True, kw_only=True):
    keys: list[VaultKey]


class RotationPage(models.Answer, frozen=True, kw_only=True):
    """Rotations, newest first, and the cursor of the next page."""

    items: list[Rotation]
    next: str | None = None


class Rotations:
    """`/v1/rotations` and `/v1/keys`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def keys(self) -> list[VaultKey]:
        """Every key that Vault holds for the service."""
        reply = self._transport.send(Ask(method="GET", path="/v1/keys", repeatable=True))
        found: _Keys = decode(reply, _Keys)
        return found.keys

    def start(self, key: str) -> Rotation:
        """Ask for a key's rotation; repeating it begins nothing twice."""
        ask = Ask(method="POST", path="/v1/rotations", body={"key": key}, repeatable=True)
        rotation: Rotation = decode(self._transport.send(ask), Rotation)
        return rotation

    def get(self, rotation: str) -> Rotation:
        """One rotation."""
        ask = Ask(method="GET", path=f"/v1/rotations/{segment(rotation)}", repeatable=True)
        found: Rotation = decode(self._transport.send(ask), Rotation)
        return found

    def page(self, *, cursor: str | None = None, limit: int = 100) -> RotationPage:
        """One page of rotations, newest first."""
        ask = Ask(
            method="GET",
            path="/v1/rotations",
            query={"cursor": cursor, "limit": limit},
            repeatable=True,
        )
        page: RotationPage = decode(self._transport.send(ask), RotationPage)
        return page

    def list(self) -> Iterator[Rotation]:
        """All rotations, fetched as they are taken."""
        cursor: str | None = None
        while True:
            page = self.page(cursor=cursor)
            yield from page.items
            if page.next is None or page.next == cursor:
                return
            cursor = page.next
