"""Retention: what the policy keeps for a time ends when the time is over, unless a hold keeps it.

The periods stand in the policy file, by class; a class without one is kept until somebody erases
it. Records end as by an erasure, by the same functions, batch by batch, each batch in one unit of
work with its entries. Time counts from the last change. A month of activity ends whole, when all of
it is past its time.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import structlog

from vault_service.domain.classes import DataClass
from vault_service.errors import Unavailable
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.retention_ports import DueRecord

ACTOR: Final = "worker"
# Seconds between rounds: nothing hangs on an hour.
PERIOD: Final = 3600.0
# Records that are looked at in one statement, so at most as many end in one transaction.
WINDOW: Final = 500

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What of a class is past its time: how much would end, and how much a hold keeps.

    Of activity these are segments.
    """

    data_class: str
    keep: timedelta
    due: int
    held: int


class Retention:
    """The worker's duty, and its plan. Needs the worker's database role.

    Args:
        uow: the worker's units of work.
        audit: makes the entries.
        periods: how long values of a class are kept.
    """

    def __init__(self, *, uow: UnitOfWork, audit: Audit, periods: Mapping[str, timedelta]) -> None:
        self._uow = uow
        self._audit = audit
        self._periods = {
            name: keep for name, keep in periods.items() if name != DataClass.ACTIVITY_LOG
        }
        self._activity = periods.get(DataClass.ACTIVITY_LOG)

    def run(self, stop: threading.Event) -> None:
        """End everything that is past its time.

        Raises:
            Unavailable: the database is; what has ended stays so.
        """
        ended = 0
        after: tuple[int, str] | None = None
        while self._periods and not stop.is_set():
            with self._uow.begin() as tx:
                window = tx.retention.window(self._periods, after, WINDOW)
                ended += self._end(tx, [each for each in window.due if not each.held])
            after = window.last
            if after is None:
                break
        for month in self._months():
            if stop.is_set():
                return
            ended += self._drop(month)
        if ended:
            _log.info("retention", count=ended)

    def _end(self, tx: Transaction, due: Sequence[DueRecord]) -> int:
        """End records that nobody has changed since; how many."""
        # A hold that comes now waits for the rows, or is seen by what erases.
        gone = tx.records.erase(tx.retention.lock(due))
        if not gone:
            return 0
        buckets = {each.token: each.bucket for each in due}
        tx.modifications.forget([(buckets[token], token) for token in gone])
        groups: dict[tuple[str, str], list[str]] = defaultdict(list)
        for token, whose in gone.items():
            groups[whose].append(token)
        now = tx.clock.now()
        for (customer, data_class), tokens in groups.items():
            tx.outbox.append(
                self._audit.entries(
                    Event.RETENTION_ENDED,
                    ACTOR,
                    at=now,
                    customer=customer,
                    tokens=tokens,
                    count=len(tokens),
                    details=self._told(data_class, self._periods[data_class]),
                )
            )
        return len(gone)

    def _months(self) -> Iterator[date]:
        """The months of activity that are past their time."""
        if self._activity is None:
            return
        with self._uow.begin(read_only=True) as tx:
            now = tx.clock.now()
            months = tx.retention.months()
        yield from (month for month in months if _over(month, self._activity, now))

    def _drop(self, month: date) -> int:
        """Drop a month, but for whoever is held; how many segments went."""
        if self._activity is None:
            return 0
        try:
            with self._uow.begin() as tx:
                gone, kept = tx.retention.drop(month, self._activity)
                if gone or not kept:
                    tx.outbox.append(
                        self._audit.entries(
                            Event.RETENTION_ENDED,
                            ACTOR,
                            at=tx.clock.now(),
                            count=gone,
                            details=self._told(DataClass.ACTIVITY_LOG, self._activity)
                            | {"month": f"{month:%Y-%m}", "held": kept},
                        )
                    )
        except Unavailable as busy:
            # Somebody reads or writes that month for long; the next round comes.
            _log.warning("retention_waits", month=f"{month:%Y-%m}", reason=busy.code)
            return 0
        return gone

    @staticmethod
    def _told(data_class: str, keep: timedelta) -> dict[str, str | int]:
        return {"class": data_class, "days": keep.days}

    def plan(self) -> list[Planned]:
        """What would end now, and what a hold keeps; nothing is done.

        Raises:
            Unavailable: the database is.
        """
        counts = {name: [0, 0] for name in self._periods}
        after: tuple[int, str] | None = None
        while self._periods:
            with self._uow.begin(read_only=True) as tx:
                window = tx.retention.window(self._periods, after, WINDOW)
            for each in window.due:
                counts[each.data_class][each.held] += 1
            after = window.last
            if after is None:
                break
        planned = [
            Planned(data_class=name, keep=self._periods[name], due=due, held=held)
            for name, (due, held) in counts.items()
        ]
        if self._activity is None:
            return planned
        months = []
        for month in self._months():
            with self._uow.begin(read_only=True) as tx:
                months.append(tx.retention.count(month))
        held = sum(each.held for each in months)
        due = sum(each.segments for each in months) - held
        return [
            *planned,
            Planned(data_class=DataClass.ACTIVITY_LOG, keep=self._activity, due=due, held=held),
        ]


def _over(month: date, keep: timedelta, now: datetime) -> bool:
    """Whether all of a month is past its time."""
    year, number = divmod(month.year * 12 + month.month, 12)
    following = datetime(year, number + 1, 1, tzinfo=now.tzinfo)
    return following + keep <= now
