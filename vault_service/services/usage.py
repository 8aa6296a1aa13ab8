"""Usage of the company's website, counted so that nobody can be followed (policy clause P4).

A view is four additions: to its page and domain together, to its page, to its domain, and to the
site. A visitor is fed into the sketch of each under a hash keyed with the day's key AND the place,
so that what one visitor leaves in two sketches has nothing in common: no two page views can be
joined by comparing sketches, not even by whoever has the key. What was counted stays in memory for
up to a minute and is then merged into the day's rows.

The key of a day is made at random by the first process that counts on it, kept by each in memory,
and destroyed by the worker when the day is over (`UsageUpkeep`); so are the sketches themselves an
hour later, when only numbers stay. docs/adr/0023 says what a dump of the database tells.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import structlog

from vault_service.domain.actors import Action
from vault_service.domain.usage import EVERY, INTERNAL, MOST_DOMAINS, NONE, OTHER, Site
from vault_service.errors import InvalidInput, Unavailable
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.sketches import Sketches
from vault_service.services.usage_ports import Counted, Place, UsageRow

MERGE_SECONDS: Final = 60.0
# Seconds between rounds of the worker's.
PERIOD: Final = 60.0
# A process that could not reach the database at midnight may merge for so long after.
GRACE: Final = timedelta(hours=1)
# Days of one answer.
MOST_DAYS: Final = 31
_KEY_BYTES: Final = 32
# Not domains: they take no room of those.
_WORDS: Final = frozenset((EVERY, OTHER, NONE, INTERNAL))

_log = structlog.get_logger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class _Cell:
    """What was added to one place since the last merge."""

    sketch: Any = field(repr=False)
    views: int = 0


Cells = dict[Place, _Cell]


@dataclass(slots=True)
class _Day:
    """The day under way in this process; its key goes with it."""

    day: date
    key: bytes = field(repr=False)
    domains: set[str]
    cells: Cells = field(default_factory=dict, repr=False)


class VisitCounting:
    """Counts views and visitors. Thread-safe.

    Args:
        uow: with a database role that may merge.
        sketches: makes them.
        site: which pages there are.
        clock: the time, in UTC.
    """

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        sketches: Sketches,
        site: Site,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self.site = site
        self._uow = uow
        self._sketches = sketches
        self._clock = clock
        self._lock = threading.Lock()
        self._merging = threading.Lock()
        # Before the first: a day on which nothing is ever counted.
        self._today = _Day(date.min, b"", set())
        self._waiting: list[tuple[date, Cells]] = []
        self._stop = threading.Event()
        self._merger: threading.Thread | None = None

    def now(self) -> datetime:
        """The time that decides on a view's day."""
        return self._clock()

    def count(self, *, page: str, referrer: str, visitor: str) -> None:
        """Count one view of a page by a visitor.

        Args:
            page: the address of the page, or its path.
            referrer: the address that the visitor came from, or nothing.
            visitor: the random id in the visitor's cookie; it goes into hashes, and nowhere else.

        Raises:
            Unavailable: the database did not give the day's key; nothing was counted.
        """
        name, domain = self.site.page(page), self.site.referrer(referrer)
        self._begin_day()
        with self._lock:
            # Of this moment: where midnight has come since, the new day takes the view.
            day = self._today
            if domain not in _WORDS and domain not in day.domains:
                if len(day.domains) < MOST_DOMAINS:
                    day.domains.add(domain)
                else:
                    domain = OTHER
            for place in ((name, domain), (name, EVERY), (EVERY, domain), (EVERY, EVERY)):
                cell = day.cells.get(place)
                if cell is None:
                    cell = day.cells[place] = _Cell(self._sketches.new())
                cell.views += 1
                cell.sketch.update(_hash(day.key, place, visitor))
            self._watch()

    def merge(self) -> None:
        """Bring what was counted since the last time into the database.

        Raises:
            Unavailable: the database is away; what was counted is kept for the next time, except
                where nobody can tell whether it was written.
        """
        with self._merging:
            failure: Unavailable | None = None
            for day, cells in self._taken():
                try:
                    with self._uow.begin() as tx:
                        domains = self._add(tx, day, cells)
                    self._learn(day, domains)
                except Unavailable as error:
                    failure = error
                    # To add views twice would be worse than to lose those of a minute.
                    if error.code != "commit_unknown":
                        self._put_back(day, cells)
            if failure is not None:
                raise failure

    def close(self) -> None:
        """Merge for the last time; never raises."""
        self._stop.set()
        try:
            self.merge()
        except Unavailable as error:
            _log.warning("usage not merged", code=error.code)

    # ------------------------------------------------------------ the day and its key

    def _begin_day(self) -> None:
        today = self._clock().date()
        # A clock that was set back brings no day again: its key is gone.
        if today <= self._today.day:
            return
        with self._uow.begin() as tx:
            key = tx.usage.key(today, secrets.token_bytes(_KEY_BYTES))
            domains = tx.usage.domains(today)
        with self._lock:
            # Another thread may have been quicker.
            if self._today.day < today:
                self._waiting.append((self._today.day, self._today.cells))
                self._today = _Day(today, key, domains - _WORDS)

    # ------------------------------------------------------------ merging

    def _taken(self) -> list[tuple[date, Cells]]:
        """What is to be merged, by days; from now on it is counted anew."""
        with self._lock:
            days, self._waiting = self._waiting, []
            days.append((self._today.day, self._today.cells))
            self._today.cells = {}
        return [(day, cells) for day, cells in days if cells]

    def _put_back(self, day: date, cells: Cells) -> None:
        with self._lock:
            if self._today.day != day:
                self._waiting.append((day, cells))
                return
            for place, old in cells.items():
                new = self._today.cells.setdefault(place, _Cell(self._sketches.new()))
                new.views += old.views
                new.sketch = self._sketches.merge(new.sketch, old.sketch)

    def _learn(self, day: date, domains: set[str]) -> None:
        with self._lock:
            if self._today.day == day:
                self._today.domains |= domains

    def _add(self, tx: Transaction, day: date, cells: Cells) -> set[str]:
        """Merge one day; the domains that it has then."""
        if not tx.usage.open(day, self._sketches.pack(self._sketches.new())):
            _log.warning("usage came too late", count=cells[EVERY, EVERY].views)
            return set()
        domains = tx.usage.domains(day) - _WORDS
        cells = self._folded(cells, domains)
        stored = tx.usage.sketches(day, cells)
        rows = []
        # In one order, though the day's lock keeps others away already.
        for place, cell in sorted(cells.items()):
            old = stored.get(place)
            sketch = cell.sketch if old is None else self._sketches.merge(old, cell.sketch)
            rows.append(
                Counted(
                    page=place[0],
                    referrer=place[1],
                    views=cell.views,
                    visitors=self._sketches.count(sketch),
                    sketch=self._sketches.pack(sketch),
                )
            )
        tx.usage.add(day, rows)
        return domains

    def _folded(self, cells: Cells, domains: set[str]) -> Cells:
        """The cells, those of domains for which other processes left no room as `other`."""
        found: Cells = {}
        for (page, domain), cell in cells.items():
            place = (page, domain)
            if domain not in _WORDS and domain not in domains:
                if len(domains) < MOST_DOMAINS:
                    domains.add(domain)
                else:
                    place = (page, OTHER)
            old = found.get(place)
            if old is None:
                found[place] = cell
            else:
                found[place] = _Cell(
                    self._sketches.merge(old.sketch, cell.sketch), old.views + cell.views
                )
        return found

    def _watch(self) -> None:
        """Have a thread merge every minute; begun by the first view, after any fork."""
        if self._merger is None:
            self._merger = threading.Thread(target=self._rounds, name="usage", daemon=True)
            self._merger.start()

    def _rounds(self) -> None:
        while not self._stop.wait(MERGE_SECONDS):
            try:
                self.merge()
            except Unavailable as error:
                _log.warning("usage not merged", code=error.code)
            except Exception:  # noqa: BLE001 -- see below
                # This thread is all that merges: whatever it was, the next minute tries again.
                _log.exception("alarm", alarm="duty_failed", duty="usage")


def _hash(key: bytes, place: Place, visitor: str) -> int:
    """64 bits of a keyed hash; pages and domains hold no zero byte, which parts them here."""
    text = "\0".join((*place, visitor)).encode()
    return int.from_bytes(
        hashlib.blake2b(text, key=key, digest_size=8, person=b"usage").digest(), "big", signed=True
    )


class UsageReading:
    """Tells what was counted, as far as it may be told."""

    def __init__(self, *, uow: UnitOfWork, audit: Audit) -> None:
        self._uow = uow
        self._audit = audit

    def period(
        self, caller: Caller, since: date | None, until: date | None
    ) -> tuple[date, date, list[UsageRow]]:
        """First day, last day and the rows of a period, whose counts are for `usage.told`.

        No total over days: totals of many periods would tell by their differences what the
        rounding of one day hides.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: `usage_period_invalid`.
        """
        self._audit.require(caller, Action.READ_USAGE)
        with self._uow.begin(read_only=True) as tx:
            last = until or tx.clock.now().astimezone(UTC).date()
            first = since or last - timedelta(days=min(MOST_DAYS, last.toordinal()) - 1)
            if not 0 <= (last - first).days < MOST_DAYS:
                raise InvalidInput(
                    f"a period has from 1 to {MOST_DAYS} days, the first of them first",
                    code="usage_period_invalid",
                    pointer="/from",
                )
            return first, last, tx.usage.rows(first, last)


class UsageUpkeep:
    """The worker's duty: destroys keys and sketches of days that are over, and old counts."""

    def __init__(self, *, uow: UnitOfWork, keep_days: int) -> None:
        self._uow = uow
        self._keep = timedelta(days=keep_days)

    def run(self, _stop: threading.Event) -> None:
        """One round; any number of workers may be at it.

        Raises:
            Unavailable: the database is; each step is whole or not done.
        """
        with self._uow.begin() as tx:
            now = tx.clock.now().astimezone(UTC)
            keys = tx.usage.forget_keys(now.date())
        with self._uow.begin() as tx:
            rows = tx.usage.close((now - GRACE).date())
        with self._uow.begin() as tx:
            purged = tx.usage.purge(now.date() - self._keep)
        if keys or rows or purged:
            _log.info("usage closed", count=rows, items=purged)
