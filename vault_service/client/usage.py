"""Use of the company's website, in numbers that tell of nobody."""

from __future__ import annotations

from datetime import date

from vault_service.client.models import Answer
from vault_service.client.transport import Ask, Reply, Transport, decode


class UsageRow(Answer, frozen=True, kw_only=True):
    """The counts of one place of one day; `*` is all pages or domains, `<10` what is small."""

    day: date
    page: str
    referrer: str
    views: int | str
    visitors: int | str


class Usage(Answer, frozen=True, kw_only=True, rename={"since": "from", "until": "to"}):
    """The counts of a period, the newest day first; `least` is the smallest count that is told."""

    since: date
    until: date
    least: int
    rows: list[UsageRow]


class UsageCalls:
    """How the website is used."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def period(self, *, since: date | None = None, until: date | None = None) -> Usage:
        """The counts of a period of at most 31 days; the last 31, if nothing is said."""
        found: Usage = decode(self._ask("/v1/usage", since, until), Usage)
        return found

    def chart(self, *, since: date | None = None, until: date | None = None) -> str:
        """The same as a page with a chart."""
        return self._ask("/v1/usage/chart.html", since, until, accept="*/*").data.decode()

    def _ask(
        self, path: str, since: date | None, until: date | None, *, accept: str = "application/json"
    ) -> Reply:
        query = {
            "from": None if since is None else since.isoformat(),
            "to": None if until is None else until.isoformat(),
        }
        return self._transport.send(
            Ask(method="GET", path=path, query=query, headers={"Accept": accept}, repeatable=True)
        )
