"""What disclosure budgets need of the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whose budget: one principal's for one ground."""

    principal: str
    ground: str
    category: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """How many values were revealed in this hour and on this day: UTC, by the database."""

    hour: int
    day: int


class BudgetBook(Protocol):
    """How much of each budget is spent."""

    def take(self, account: Account, count: int, *, per_hour: int, per_day: int) -> Spent | None:
        """Spend values of both budgets, or none of either; None where one does not hold them.

        One conditional statement: of callers at once no two get the same values, and the account
        is locked until the unit of work ends.
        """
        ...

    def give_back(self, account: Account, count: int) -> None:
        """Undo what this unit of work has taken."""
        ...

    def spent(self, account: Account) -> Spent:
        """What is spent by now."""
        ...
