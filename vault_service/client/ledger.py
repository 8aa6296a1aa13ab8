"""Calls on the ledger: its signed head, its tiles, its entries, its proofs. For auditors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from vault_service.client.transport import Ask, Transport, decode, segment


class LoggedEntry(msgspec.Struct, frozen=True):
    """An entry and its place."""

    index: int
    entry: dict[str, Any]


class EntryPage(msgspec.Struct, frozen=True):
    """Some entries; where `next` stands there may be more."""

    entries: list[LoggedEntry]
    next: str | None = None


class Inclusion(msgspec.Struct, frozen=True):
    """The proof that an entry is in the log; hashes in base64."""

    id: str
    index: int
    leaf: str
    checkpoint: str
    proof: list[str]
    entry: str | None = None


class Growth(msgspec.Struct, frozen=True, rename={"old": "from", "new": "to"}):
    """The proof that the log only grew; hashes in base64."""

    old: int
    new: int
    from_root: str
    to_root: str
    proof: list[str]


class _Keys(msgspec.Struct, frozen=True):
    keys: list[str]


class Ledger:
    """`/v1/ledger`. Nothing here is believed: `vault_service.ledger` verifies it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def checkpoint(self) -> bytes:
        """The newest checkpoint, a signed note."""
        return self.read("checkpoint")

    def verifier_keys(self) -> list[str]:
        """The log's verifier keys, as the service tells them."""
        found: _Keys = decode(self._transport.send(_get("keys")), _Keys)
        return found.keys

    def read(self, path: str) -> bytes:
        """What stands at a path below the log's prefix, such as `tile/0/000`."""
        ask = Ask(
            method="GET",
            path=f"/v1/ledger/{path}",
            headers={"Accept": "*/*", "Accept-Encoding": "gzip"},
            repeatable=True,
        )
        return self._transport.send(ask).data

    def page(self, **question: str | int | datetime | None) -> EntryPage:
        """One page of entries; the parameters are those of `GET /v1/ledger/entries`."""
        query = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in question.items()
        }
        ask = Ask(method="GET", path="/v1/ledger/entries", query=query, repeatable=True)
        page: EntryPage = decode(self._transport.send(ask), EntryPage)
        return page

    def entries(self, **question: str | int | datetime | None) -> Iterator[LoggedEntry]:
        """All entries, fetched as they are taken."""
        while True:
            page = self.page(**question)
            yield from page.entries
            if page.next is None or page.next == question.get("cursor"):
                return
            question["cursor"] = page.next

    def proof(self, entry: str) -> Inclusion:
        """The proof that an entry is in the log."""
        reply = self._transport.send(_get(f"entries/{segment(entry)}/proof"))
        found: Inclusion = decode(reply, Inclusion)
        return found

    def consistency(self, old: int, new: int | None = None) -> Growth:
        """The proof that the log of one size is the beginning of that of another."""
        ask = Ask(
            method="GET",
            path="/v1/ledger/consistency",
            query={"from": old, "to": new},
            repeatable=True,
        )
        found: Growth = decode(self._transport.send(ask), Growth)
        return found


def _get(path: str) -> Ask:
    return Ask(method="GET", path=f"/v1/ledger/{path}", repeatable=True)
