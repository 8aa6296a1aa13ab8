"""Disclosure budgets: how many values one principal may reveal on one ground, per hour and per day.

The policy file sets them, beside the ground. They are hard: counted by the database's clock, in the
transaction that spends the grant's use, before the values are opened. Hours and days are those of
UTC and begin anew all at once, so that a refusal can say when. An alarm tells of four fifths spent,
and of what is asked beyond the whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from vault_service.domain.grounds import Budget, Policy
from vault_service.errors import DisclosureRefused
from vault_service.services.alarms import Alarms
from vault_service.services.budget_ports import Account, Spent
from vault_service.services.context import Caller
from vault_service.services.ports import Transaction

LOW: Final = "budget_low"
EXHAUSTED: Final = "budget_exhausted"
REFUSED: Final = "disclosure_budget_exhausted"
# What stands for "no limit" in the statement: more than anybody will reveal.
_UNLIMITED: Final = 2**62
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """A number of values that a caller is about to see."""

    caller: Caller
    ground: str
    category: str
    count: int

    @property
    def account(self) -> Account:
        """Whose budget pays."""
        return Account(
            principal=self.caller.principal.id, ground=self.ground, category=self.category
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """One of the two budgets, and where it stands."""

    name: str
    limit: int
    spent: int
    ends: datetime


class Budgets:
    """Spends budgets. Thread-safe.

    Args:
        policy: in force now; a grant made under an older one spends the budget of this.
        alarms: raises the alarms.
    """

    def __init__(self, *, policy: Policy, alarms: Alarms) -> None:
        self._limits: Mapping[tuple[str, str], Budget] = {
            key: ground.budget for key, ground in policy.grounds.items() if ground.budget
        }
        self._alarms = alarms

    def charge(self, tx: Transaction, charges: Sequence[Charge]) -> list[DisclosureRefused | None]:
        """Spend what each charge needs; in order, None or why it is refused.

        Charges of one account are paid together where that is possible, and one by one else.
        Accounts are locked in one order, so that two batches never wait for each other.
        """
        outcomes: list[DisclosureRefused | None] = [None] * len(charges)
        by_account: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for index, each in enumerate(charges):
            if (each.ground, each.category) in self._limits:
                by_account[each.caller.principal.id, each.ground, each.category].append(index)
        for _, indexes in sorted(by_account.items()):
            if len(indexes) > 1 and self._pay(tx, [charges[index] for index in indexes]):
                continue
            for index in indexes:
                if not self._pay(tx, [charges[index]]):
                    outcomes[index] = self._refuse(tx, charges[index])
        return outcomes

    def refund(self, tx: Transaction, charges: Sequence[Charge]) -> None:
        """Give back what `charge` took in this unit of work and nobody will see."""
        for each in charges:
            if (each.ground, each.category) in self._limits:
                tx.budgets.give_back(each.account, each.count)

    def _pay(self, tx: Transaction, charges: Sequence[Charge]) -> bool:
        """Spend for charges of one account together; False where a budget does not hold them."""
        first = charges[0]
        limits = self._limits[first.ground, first.category]
        count = sum(each.count for each in charges)
        spent = tx.budgets.take(
            first.account,
            count,
            per_hour=limits.per_hour or _UNLIMITED,
            per_day=limits.per_day or _UNLIMITED,
        )
        if spent is None:
            return False
        for span in _spans(limits, spent, tx.clock.now()):
            # Exactly one payment steps over the mark.
            if (span.spent - count) * 5 < span.limit * 4 <= span.spent * 5:
                self._raise(tx, LOW, first, span, observed=span.spent)
        return True

    def _refuse(self, tx: Transaction, charge: Charge) -> DisclosureRefused:
        now = tx.clock.now()
        limits = self._limits[charge.ground, charge.category]
        spans = _spans(limits, tx.budgets.spent(charge.account), now)
        # The day's comes last: where both are spent, the hour's new beginning is of no use.
        # Where a rival gave values back meanwhile none is: the refusal stands, and says the day's.
        span = ([each for each in spans if each.spent + charge.count > each.limit] or spans)[-1]
        self._raise(tx, EXHAUSTED, charge, span, observed=span.spent + charge.count)
        return DisclosureRefused(
            f"the budget for {charge.ground} is {span.limit} values per {span.name}, of which"
            f" {span.spent} are spent; it begins anew at {span.ends:%Y-%m-%dT%H:%M:%SZ}",
            code=REFUSED,
        )

    def _raise(
        self, tx: Transaction, alarm: str, charge: Charge, span: _Span, *, observed: int
    ) -> None:
        principal = charge.caller.principal.id
        self._alarms.raise_in(
            tx,
            alarm,
            charge.caller,
            severity="high" if alarm == EXHAUSTED else "medium",
            subject=f"{principal} {charge.ground} {charge.category} {span.name}",
            quiet=span.ends - tx.clock.now(),
            observed=observed,
            limit=span.limit,
            principal=principal,
        )


def _spans(limits: Budget, spent: Spent, now: datetime) -> list[_Span]:
    """The budgets that there are, the hour's before the day's."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    found = []
    if limits.per_hour is not None:
        found.append(_Span(name="hour", limit=limits.per_hour, spent=spent.hour, ends=hour + _HOUR))
    if limits.per_day is not None:
        found.append(
            _Span(
                name="day", limit=limits.per_day, spent=spent.day, ends=hour.replace(hour=0) + _DAY
            )
        )
    return found
