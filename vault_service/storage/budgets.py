"""The repository of disclosure budgets. Hours and days are the database's, in UTC."""

from __future__ import annotations

from typing import Final

from vault_service.domain.tokens import bucket_of
from vault_service.services.budget_ports import Account, Spent
from vault_service.storage.session import Session

# `greatest`, because a transaction that began before the hour did may come after one that began
# within it: it then spends of the new hour, and never turns the clock back.
_TAKE: Final = b"""
INSERT INTO disclosure_budgets AS b (
    bucket, principal, ground, category, hour_at, hour_spent, day_at, day_spent
)
SELECT %(bucket)b, %(principal)b, %(ground)b, %(category)b,
    date_trunc('hour', now(), 'UTC'), %(count)b::bigint,
    date_trunc('day', now(), 'UTC'), %(count)b::bigint
WHERE %(count)b::bigint <= %(per_hour)b::bigint AND %(count)b::bigint <= %(per_day)b::bigint
ON CONFLICT (bucket, principal, ground, category) DO UPDATE
SET hour_at = greatest(b.hour_at, excluded.hour_at),
    hour_spent = excluded.hour_spent
        + CASE WHEN b.hour_at >= excluded.hour_at THEN b.hour_spent ELSE 0 END,
    day_at = greatest(b.day_at, excluded.day_at),
    day_spent = excluded.day_spent
        + CASE WHEN b.day_at >= excluded.day_at THEN b.day_spent ELSE 0 END
WHERE excluded.hour_spent
        + CASE WHEN b.hour_at >= excluded.hour_at THEN b.hour_spent ELSE 0 END
        <= %(per_hour)b::bigint
    AND excluded.day_spent
        + CASE WHEN b.day_at >= excluded.day_at THEN b.day_spent ELSE 0 END
        <= %(per_day)b::bigint
RETURNING hour_spent, day_spent
"""
# The row is locked by the one who took, and what it took is in both numbers.
_GIVE_BACK: Final = b"""
UPDATE disclosure_budgets SET hour_spent = hour_spent - %(count)b, day_spent = day_spent - %(count)b
WHERE bucket = %(bucket)b AND principal = %(principal)b
    AND ground = %(ground)b AND category = %(category)b
"""
_SPENT: Final = b"""
SELECT
    CASE WHEN hour_at >= date_trunc('hour', now(), 'UTC') THEN hour_spent ELSE 0 END,
    CASE WHEN day_at >= date_trunc('day', now(), 'UTC') THEN day_spent ELSE 0 END
FROM disclosure_budgets
WHERE bucket = %(bucket)b AND principal = %(principal)b
    AND ground = %(ground)b AND category = %(category)b
"""


class SqlBudgets:
    """How much of each budget is spent."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def take(self, account: Account, count: int, *, per_hour: int, per_day: int) -> Spent | None:
        """Spend values of both budgets, or none of either."""
        given = {"count": count, "per_hour": per_hour, "per_day": per_day, **_name(account)}
        rows = self._session.rows(_TAKE, given)
        return Spent(hour=rows[0][0], day=rows[0][1]) if rows else None

    def give_back(self, account: Account, count: int) -> None:
        """Undo what this unit of work has taken."""
        self._session.defer(_GIVE_BACK, {"count": count, **_name(account)})

    def spent(self, account: Account) -> Spent:
        """What is spent by now."""
        rows = self._session.rows(_SPENT, _name(account))
        return Spent(hour=rows[0][0], day=rows[0][1]) if rows else Spent(hour=0, day=0)


def _name(account: Account) -> dict[str, object]:
    return {
        "bucket": bucket_of(account.principal),
        "principal": account.principal,
        "ground": account.ground,
        "category": account.category,
    }
