"""Calls on customers' changes of their data."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from vault_service.client import models
from vault_service.client.transport import Ask, Transport, decode, segment


class Modification(models.Answer, frozen=True, kw_only=True, rename={"data_class": "class"}):
    """A change; `present` and `proposed` are masks."""

    id: str
    state: str
    customer: str
    source: str
    ticket: str
    second_person: bool
    opened_by: str
    created_at: datetime
    expires_at: datetime
    token: str | None = None
    data_class: str | None = None
    version: int | None = None
    present: dict[str, Any] | None = None
    proposed: dict[str, Any] | None = None
    proposed_by: str | None = None
    confirmed_by: str | None = None
    confirmed_how: str | None = None
    unassigned: str | None = None
    ended_by: str | None = None
    reason: str | None = None
    ended_at: datetime | None = None


class ModificationPage(models.Answer, frozen=True, kw_only=True):
    """Changes and the cursor of the next page."""

    items: list[Modification]
    next: str | None = None


class Modifications:
    """`/v1/modifications`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def open(
        self,
        customer: str,
        ticket: str,
        *,
        data_class: str | None = None,
        value: object = None,
        token: str | None = None,
    ) -> Modification:
        """Ask for a change; repeating it while it is pending opens nothing twice."""
        body: dict[str, Any] = {"customer": customer, "ticket": ticket}
        optional = {"class": data_class, "value": value, "token": token}
        body |= {name: given for name, given in optional.items() if given is not None}
        ask = Ask(method="POST", path="/v1/modifications", body=body, repeatable=True)
        found: Modification = decode(self._transport.send(ask), Modification)
        return found

    def get(self, modification: str) -> Modification:
        """One change."""
        ask = Ask(method="GET", path=_path(modification), repeatable=True)
        found: Modification = decode(self._transport.send(ask), Modification)
        return found

    def list(
        self, *, customer: str | None = None, state: str | None = None
    ) -> Iterator[Modification]:
        """Changes, of one customer or all, fetched as they are taken."""
        cursor: str | None = None
        while True:
            query = {"customer": customer, "state": state, "cursor": cursor, "limit": 100}
            ask = Ask(method="GET", path="/v1/modifications", query=query, repeatable=True)
            page: ModificationPage = decode(self._transport.send(ask), ModificationPage)
            yield from page.items
            if page.next is None or page.next == cursor:
                return
            cursor = page.next

    def propose(
        self, modification: str, data_class: str, value: object, *, token: str | None = None
    ) -> Modification:
        """Give a change its value."""
        body: dict[str, Any] = {"class": data_class, "value": value}
        return self._step(
            modification, "propose", body if token is None else {**body, "token": token}
        )

    def confirm(self, modification: str, how: str) -> Modification:
        """Say how it was made sure who asks."""
        return self._step(modification, "confirm", {"how": how})

    def apply(self, modification: str) -> Modification:
        """Make the value the record's next version."""
        return self._step(modification, "apply", None)

    def reject(self, modification: str, reason: str) -> Modification:
        """End a change that should not be made."""
        return self._step(modification, "reject", {"reason": reason})

    def withdraw(self, modification: str) -> Modification:
        """End a change that the customer took back."""
        return self._step(modification, "withdraw", None)

    def assign(self, modification: str, customer: str) -> Modification:
        """Say whose the message of an unassigned change was; the change opened for him."""
        return self._step(modification, "assign", {"customer": customer})

    def _step(self, modification: str, step: str, body: dict[str, Any] | None) -> Modification:
        ask = Ask(method="POST", path=f"{_path(modification)}/{step}", body=body)
        found: Modification = decode(self._transport.send(ask), Modification)
        return found


def _path(modification: str) -> str:
    return f"/v1/modifications/{segment(modification)}"
