"""From when on a customer may be told of a disclosure.

The rule is the ground's, under the policy version that the request was made under, and the day
stands in evidence that is sealed. So both are worked out once, when the request is made and its
evidence is at hand, and kept in clear beside it; a later policy changes nothing about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from vault_service.domain.evidence import end_of_day, read_date
from vault_service.domain.grounds import Notice, NoticeRule

# Of a request that does not say: it is told to no customer.
UNKNOWN: Final = "unknown"
# A date has no time zone: the last place on Earth ends a day twelve hours after it ends in UTC.
_ZONES: Final = timedelta(hours=12)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


def told_after(notice: Notice, evidence: Mapping[str, object]) -> datetime | None:
    """The first instant at which the day in the evidence is over everywhere; None without one.

    "Until a day" includes it. Without a day there is nothing to wait for, as `NoticeRule` says;
    what is there and cannot be read is waited for without end.
    """
    if notice.rule is not NoticeRule.AFTER_DATE or notice.evidence is None:
        return None
    given = evidence.get(notice.evidence)
    if given is None or not str(given).strip():
        return None
    day = read_date(str(given))
    if day is None:
        return _NEVER
    end = end_of_day(day)
    return _NEVER if end > _NEVER - _ZONES else end + _ZONES
