"""Alarms: what somebody must look at, told in four ways by the transaction in which it is found.

- a line of the log with the field `alarm`, which is written at once, whatever becomes of the rest;
- a metric, counted from that line, and a count in the database for all processes together;
- an entry of the ledger, and
- a message `alarm.raised` or `alarm.cleared` to the company's webhooks.

Entry, message and count commit with what they tell of, so none of them is lost by a crash or told
of something that did not happen. An alarm that would be raised again and again names a quiet time.
What to do about each alarm stands in docs/guides/operator.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, Literal

import structlog

from vault_service.errors import Unavailable
from vault_service.ledger.entries import Event
from vault_service.services import webhooks
from vault_service.services.audit import Audit
from vault_service.services.context import Caller, Stranger
from vault_service.services.disclosure_ports import DisclosureRow
from vault_service.services.ports import Transaction, UnitOfWork

ALWAYS: Final = timedelta(0)
Severity = Literal["medium", "high", "critical"]

_log = structlog.get_logger(__name__)


class Alarms:
    """Raises alarms and takes them back. Thread-safe.

    Args:
        uow: any database role of the service.
        audit: makes the entries.
    """

    def __init__(self, *, uow: UnitOfWork, audit: Audit) -> None:
        self._uow = uow
        self._audit = audit

    def raise_in(
        self,
        tx: Transaction,
        alarm: str,
        caller: Caller | Stranger | str,
        *,
        severity: Severity = "high",
        subject: str = "",
        quiet: timedelta = ALWAYS,
        observed: int | None = None,
        limit: int | None = None,
        customer: str | None = None,
        principal: str | None = None,
        key: str | None = None,
        tokens: Sequence[str] = (),
        grant: DisclosureRow | None = None,
    ) -> bool:
        """Raise an alarm in a unit of work; False while an earlier one keeps it quiet.

        Args:
            tx: the unit of work in which it was found.
            alarm: its name, one word in lower snake case.
            caller: who caused it, or which part of the service found it.
            severity: how soon somebody must look.
            subject: what it is about, where the same alarm about another thing is another alarm.
            quiet: for how long the same alarm about the same subject is not raised again.
            observed: a number that was seen.
            limit: the number that it should not have passed.
            customer: whose data.
            principal: who is concerned.
            key: which API key or Vault key is concerned.
            tokens: which records.
            grant: which disclosure.
        """
        if not tx.alarms.mark(alarm, subject, quiet):
            return False
        told: dict[str, str | int | None] = {
            "severity": severity,
            "observed": observed,
            "limit": limit,
        }
        numbers = {name: value for name, value in told.items() if value is not None}
        about = {
            "principal": principal,
            "customer": customer,
            "grant": grant.id if grant else None,
            "tokens": list(tokens) or None,
        }
        known = {name: value for name, value in about.items() if value is not None}
        _log.error("alarm", alarm=alarm, **known, **_key(key), **numbers)
        entries = self._audit.entries(
            Event.ALARM_RAISED,
            caller,
            at=tx.clock.now(),
            customer=customer,
            principal=principal,
            key=key,
            tokens=tokens,
            grant=grant,
            reason=alarm,
            details={"alarm": alarm, **numbers},
        )
        tx.outbox.append(entries)
        _tell(tx, Event.ALARM_RAISED, alarm, str(entries[0].id), told | {"principal": principal})
        return True

    def clear_in(
        self,
        tx: Transaction,
        alarm: str,
        caller: Caller | str,
        *,
        subject: str = "",
        principal: str | None = None,
        key: str | None = None,
    ) -> None:
        """Take an alarm back in a unit of work; what happens next is an alarm again."""
        tx.alarms.lift(alarm, subject)
        _log.info("alarm cleared", reason=alarm, principal=principal, **_key(key))
        entries = self._audit.entries(
            Event.ALARM_CLEARED,
            caller,
            at=tx.clock.now(),
            principal=principal,
            key=key,
            reason=alarm,
            details={"alarm": alarm},
        )
        tx.outbox.append(entries)
        _tell(tx, Event.ALARM_CLEARED, alarm, str(entries[0].id), {"principal": principal})

    def raise_now(
        self,
        alarm: str,
        caller: Caller | Stranger | str,
        *,
        severity: Severity = "high",
        subject: str = "",
        quiet: timedelta = ALWAYS,
        observed: int | None = None,
        limit: int | None = None,
        principal: str | None = None,
        tokens: Sequence[str] = (),
        grant: DisclosureRow | None = None,
    ) -> None:
        """Raise an alarm in a unit of work of its own, where none is under way.

        A database that is away is no error here: whoever found the alarm has an answer to give.
        The log then holds all that there is of it.
        """
        try:
            with self._uow.begin() as tx:
                self.raise_in(
                    tx,
                    alarm,
                    caller,
                    severity=severity,
                    subject=subject,
                    quiet=quiet,
                    observed=observed,
                    limit=limit,
                    principal=principal,
                    tokens=tokens,
                    grant=grant,
                )
        except Unavailable as error:
            _log.error("alarm", alarm=alarm, code=error.code)


def _tell(
    tx: Transaction, event: Event, alarm: str, entry: str, told: Mapping[str, str | int | None]
) -> None:
    """Have the webhooks told; thinly, for who may read the ledger finds the rest by the entry."""
    data = {"alarm": alarm, "entry": entry, **told}
    known = {name: value for name, value in data.items() if value is not None}
    webhooks.enqueue(tx, event.value, known, at=tx.clock.now())


def _key(key: str | None) -> dict[str, str]:
    """A key's name in the log, which parts the callers' keys from Vault's."""
    if key is None:
        return {}
    return {"key" if key.startswith("key_") else "transit_key": key}
