"""Calls on erasures: of a customer, by two officers; of many tokens at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from vault_service.client import models
from vault_service.client.transport import Ask, Transport, decode, segment


class Erasure(models.Answer, frozen=True, kw_only=True):
    """The erasure of a customer; once its state is `done`, the certificate."""

    customer: str
    state: str
    requested_by: str
    requested_at: datetime
    confirmed_by: str | None = None
    started_at: datetime | None = None
    records: int
    finished_at: datetime | None = None
    backup_horizon_days: int | None = None
    backups_until: datetime | None = None
    entry: str | None = None


class ErasurePage(models.Answer, frozen=True, kw_only=True):
    """Erasures, and the cursor of the next page."""

    items: list[Erasure]
    next: str | None = None


class TokenErased(models.Answer, frozen=True, kw_only=True):
    """What became of one token."""

    token: str
    erased: bool
    error: models.ItemError | None = None


class _Results(models.Answer, frozen=True, kw_only=True):
    results: list[TokenErased]


class Erasures:
    """`/v1/erasures`, `/v1/customers/{customer}/erasure` and `/v1/tokens/erase`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def request(self, customer: str) -> Erasure:
        """Ask for a customer's erasure; nothing is erased until another officer confirms it."""
        ask = Ask(method="DELETE", path=f"/v1/customers/{segment(customer)}", repeatable=True)
        erasure: Erasure = decode(self._transport.send(ask), Erasure)
        return erasure

    def confirm(self, customer: str) -> Erasure:
        """Confirm an erasure that another officer asked for."""
        path = f"/v1/customers/{segment(customer)}/erasure/confirm"
        ask = Ask(method="POST", path=path, repeatable=True)
        erasure: Erasure = decode(self._transport.send(ask), Erasure)
        return erasure

    def get(self, customer: str) -> Erasure:
        """How far it is; once it is done, the certificate."""
        path = f"/v1/customers/{segment(customer)}/erasure"
        ask = Ask(method="GET", path=path, repeatable=True)
        erasure: Erasure = decode(self._transport.send(ask), Erasure)
        return erasure

    def tokens(self, tokens: Sequence[str]) -> list[TokenErased]:
        """Erase up to 1,000 values; one result each, in order."""
        ask = Ask(method="POST", path="/v1/tokens/erase", body={"tokens": list(tokens)})
        answer: _Results = decode(self._transport.send(ask), _Results)
        return answer.results

    def list(self) -> Iterator[Erasure]:
        """All erasures, fetched as they are taken."""
        cursor: str | None = None
        while True:
            ask = Ask(method="GET", path="/v1/erasures", query={"cursor": cursor}, repeatable=True)
            page: ErasurePage = decode(self._transport.send(ask), ErasurePage)
            yield from page.items
            if page.next is None or page.next == cursor:
                return
            cursor = page.next
