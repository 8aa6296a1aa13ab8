"""The yearly transparency report: what was asked, decided and disclosed, in numbers for everybody.

Counts by category, ground, kind of recipient and class, as one tree, with small counts hidden by
`domain.suppression`. A year is reported once it is over, for two reports of a running one would
tell by their difference what each hides. Everything counted has a time that never changes, so the
same year always gives the same report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from vault_service.domain import suppression
from vault_service.domain.actors import Action
from vault_service.domain.grounds import Policy
from vault_service.errors import InvalidInput
from vault_service.policy import loader
from vault_service.services.accounting_ports import Tally
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.ports import UnitOfWork

_log = structlog.get_logger(__name__)

# Nothing can be reported from before there were such policies, nor after the calendar ends.
YEARS: Final = range(1998, 9999)
# A transaction of the year's last second has long ended, whichever way.
SETTLED: Final = timedelta(hours=1)
MEASURES: Final = ("requests", "denied", "granted", "reveals", "values")
LEVELS: Final = ("total", "category", "ground", "recipient", "class")
# What is counted of several classes at once, and what no policy of the time has.
SEVERAL: Final = "several"
OTHER: Final = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransparencyRow:
    """One row; a count is None where it is hidden.

    Attributes:
        level: which of LEVELS the row is of.
        path: category, ground, kind of recipient and class, as far as the level goes.
        clause: the ground's clause, in the newest policy of the time that has the ground.
        counts: by MEASURES.
    """

    level: str
    path: tuple[str, ...]
    clause: str | None
    counts: Mapping[str, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransparencyReport:
    """The report of a year (UTC); `threshold` is the smallest count that is not small."""

    year: int
    threshold: int
    rows: tuple[TransparencyRow, ...]


class Transparency:
    """The use case."""

    def __init__(self, *, uow: UnitOfWork, audit: Audit) -> None:
        self._uow = uow
        self._audit = audit

    def report(self, caller: Caller, year: int) -> TransparencyReport:
        """The report of a year that is over.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: there is no such year, or it is not over.
        """
        self._audit.require(caller, Action.READ_TRANSPARENCY)
        if year not in YEARS:
            raise InvalidInput("this is no year", code="year_invalid", pointer="/year")
        since, until = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
        with self._uow.begin(read_only=True) as tx:
            if tx.clock.now() < until + SETTLED:
                raise InvalidInput(
                    "a year is reported when it is over", code="year_not_over", pointer="/year"
                )
            policies = _read(tx.policies.bodies(before=until))
            tallies = tx.accounts.tallies(since, until)
        return TransparencyReport(
            year=year,
            threshold=suppression.THRESHOLD,
            rows=tuple(_rows(policies, tallies)),
        )


def _read(bodies: Iterable[str]) -> list[Policy]:
    """The policies of the time; what was counted under one that cannot be read is `other`."""
    found = []
    for body in bodies:
        try:
            found.append(loader.parse(body.encode()))
        except loader.PolicyInvalid:
            _log.warning("policy_not_read")
    return found


def _rows(policies: Sequence[Policy], tallies: Sequence[Tally]) -> Iterable[TransparencyRow]:
    leaves = _leaves(policies)
    counted = {measure: dict.fromkeys(leaves, 0) for measure in MEASURES}
    for tally in tallies:
        kind = tally.data_class or SEVERAL
        path: suppression.Path = (tally.category, tally.ground, tally.recipient_kind, kind)
        if path not in leaves:
            path = (OTHER,) * 4
        for measure in MEASURES:
            counted[measure][path] += getattr(tally, measure)
    shown = {measure: suppression.published(counted[measure]) for measure in MEASURES[:4]}
    # Each measure alone keeps its secret, but most requests are granted or denied in their year: of
    # the three numbers, any two tell the third, nearly. So no small one may be the only one hidden.
    # Of every reveal at least one value is known. To hide more of what is safe leaves it safe.
    shown["denied"], shown["granted"] = (
        suppression.without(shown[measure], shown["requests"], shown["denied"], shown["granted"])
        for measure in ("denied", "granted")
    )
    shown["values"] = suppression.without(suppression.totals(counted["values"]), shown["reveals"])
    clauses: dict[suppression.Path, str] = {
        (ground.category, ground.name): ground.clause
        for policy in policies
        for ground in policy.grounds.values()
    }
    for path in sorted(shown["requests"]):
        counts = {measure: shown[measure][path] for measure in MEASURES}
        # What has no number to show below its ground is left out, hidden or not.
        if (len(path) <= 2 and path[:1] != (OTHER,)) or any(counts.values()):
            yield TransparencyRow(
                level=LEVELS[len(path)], path=path, clause=clauses.get(path[:2]), counts=counts
            )


def _leaves(policies: Sequence[Policy]) -> set[suppression.Path]:
    """Every leaf that there could be, whatever happened; so that a leaf alone tells nothing."""
    leaves: set[suppression.Path] = {(OTHER,) * 4}
    for policy in policies:
        for ground in policy.grounds.values():
            classes = policy.categories[ground.category].classes
            for recipient in ground.recipients:
                for data_class in (*classes, SEVERAL) if len(classes) > 1 else classes:
                    leaves.add((ground.category, ground.name, recipient, data_class))
    return leaves
