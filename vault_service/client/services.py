"""Calls on what customers have chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from vault_service.client import models
from vault_service.client.transport import Ask, Transport, decode, segment


class ServiceChoice(models.Answer, frozen=True, kw_only=True):
    """A choice, masked; of several of one service and first day the last one told counts."""

    token: str
    service: str
    since: date
    current: bool
    superseded: bool
    recorded_at: datetime
    until: date | None = None
    reference: str | None = None


class ServiceHistory(models.Answer, frozen=True, kw_only=True):
    """A customer's choices, by first day."""

    items: list[ServiceChoice]
    truncated: bool = False


class ServiceResult(models.Answer, frozen=True, kw_only=True):
    """One choice's outcome: its token, or an error."""

    token: str | None = None
    created: bool = False
    error: models.ItemError | None = None


class ServiceResults(models.Answer, frozen=True, kw_only=True):
    """One result for each choice, in order."""

    results: list[ServiceResult]


class Services:
    """`/v1/customers/{id}/services`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def record(
        self,
        customer: str,
        choices: Sequence[Mapping[str, Any]],
    ) -> list[ServiceResult]:
        """Keep choices, each `{"service", "since", "until"?, "details"?, "reference"?}`.

        Harmless to repeat: the same choice is kept once.
        """
        ask = Ask(
            method="POST",
            path=_path(customer),
            body={"items": list(choices)},
            repeatable=True,
        )
        found: ServiceResults = decode(self._transport.send(ask), ServiceResults)
        return found.results

    def history(self, customer: str) -> ServiceHistory:
        """A customer's choices, masked."""
        ask = Ask(method="GET", path=_path(customer), repeatable=True)
        found: ServiceHistory = decode(self._transport.send(ask), ServiceHistory)
        return found


def _path(customer: str) -> str:
    return f"/v1/customers/{segment(customer)}/services"
