"""From when on a customer may be told of a disclosure."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vault_service.domain.grounds import Notice, NoticeRule
from vault_service.domain.notice import told_after

DATED = Notice(rule=NoticeRule.AFTER_DATE, evidence="secret_until")
NEVER = datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2027-03-01", datetime(2027, 3, 2, 12, tzinfo=UTC)),
        ("2027-12-31", datetime(2028, 1, 1, 12, tzinfo=UTC)),
        ("9999-12-31", NEVER),
        ("9999-12-30", datetime(9999, 12, 31, 12, tzinfo=UTC)),
        ("soon", NEVER),
        ("", None),
        ("  ", None),
        (None, None),
    ],
)
def test_the_day_must_be_over_everywhere(given: str | None, expected: datetime | None) -> None:
    """What cannot be read is waited for without end; without a day there is no wait."""
    evidence = {} if given is None else {"secret_until": given}
    assert told_after(DATED, evidence) == expected


@pytest.mark.parametrize(
    "notice",
    [
        Notice(rule=NoticeRule.AT_ONCE),
        Notice(rule=NoticeRule.AFTER_END, evidence="secret_until"),
        Notice(rule=NoticeRule.AFTER_DATE),
    ],
)
def test_a_rule_without_a_date_waits_for_none(notice: Notice) -> None:
    """The evidence of another rule is not looked at."""
    assert told_after(notice, {"secret_until": "2099-01-01"}) is None
