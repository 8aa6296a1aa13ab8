"""What a legal instrument covers, as an officer read it, in a form that a grant can be held to.

The evidence says in words what the instrument says. Whoever determines that it is valid says the
same once more in a form that can be compared: whose records, of which classes, from which day to
which. He says it from the document, not from the request, so that a request that asks for more
than the instrument allows is found out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

from vault_service.domain.disclosures import Scope
from vault_service.domain.evidence import Problem, end_of_day


class Binds(StrEnum):
    """What must be said of an instrument. Whatever is said binds, whether it must be or not."""

    SCOPE = "scope"
    DATES = "dates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """What an instrument covers: named tokens, or a customer and classes; from day to day.

    Attributes:
        tokens: the tokens, or None.
        customer: the customer, or None.
        classes: with a customer, which of his classes.
        begins: its first day (UTC), or None where it is in force already.
        ends: its last day (UTC).
    """

    tokens: tuple[str, ...] | None = None
    customer: str | None = None
    classes: tuple[str, ...] = ()
    begins: date | None = None
    ends: date | None = None


def lacking(instrument: Instrument, binds: Collection[Binds]) -> Iterator[tuple[Problem, str]]:
    """What must be said of an instrument and is not, by JSON pointer into the determination."""
    named = [instrument.tokens, instrument.customer and instrument.classes]
    if Binds.SCOPE in binds and len([each for each in named if each]) != 1:
        yield (
            Problem(
                code="instrument_scope_missing",
                detail="say which tokens, or which customer and classes, the instrument covers",
            ),
            "/instrument/tokens",
        )
    if Binds.DATES in binds and instrument.ends is None:
        yield (
            Problem(code="instrument_end_missing", detail="say the instrument's last day"),
            "/instrument/ends",
        )


def exceeded(instrument: Instrument, scope: Scope, now: datetime) -> Iterator[tuple[Problem, str]]:
    """Where a request goes beyond the instrument, by JSON pointer into the request."""
    if not covers(instrument, scope):
        yield (
            Problem(
                code="scope_exceeds_instrument",
                detail="the instrument does not cover all of this scope",
            ),
            "/classes" if scope.tokens is None else "/tokens",
        )
    if not begun(instrument, now):
        yield (
            Problem(code="instrument_not_begun", detail="the instrument's first day has not begun"),
            "",
        )
    last = end(instrument)
    if last is not None and last <= now:
        yield (
            Problem(code="instrument_expired", detail="the instrument's last day is over"),
            "",
        )


def covers(instrument: Instrument, scope: Scope) -> bool:
    """Whether an instrument, if it names a scope, covers all of this one, as looked up."""
    if instrument.tokens is None and instrument.customer is None:
        return True
    if instrument.tokens is not None:
        return scope.tokens is not None and set(scope.tokens) <= set(instrument.tokens)
    customers = set(scope.customers) if scope.customer is None else {scope.customer}
    return customers == {instrument.customer} and set(scope.classes) <= set(instrument.classes)


def begun(instrument: Instrument, now: datetime) -> bool:
    """Whether its first day has begun, in UTC."""
    day = instrument.begins
    return day is None or datetime(day.year, day.month, day.day, tzinfo=UTC) <= now


def end(instrument: Instrument) -> datetime | None:
    """The first instant after its last day, if it has one."""
    return None if instrument.ends is None else end_of_day(instrument.ends)
