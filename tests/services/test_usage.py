"""Usage in aggregate: what is counted, how it is merged, and what cannot be told from any of it."""

from __future__ import annotations

import dataclasses
import io
import logging
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.whole import Stage, refusal
from vault_service import logs
from vault_service.app import create_app
from vault_service.bootstrap.process import Services, build
from vault_service.domain.usage import EVERY, INTERNAL, MOST_DOMAINS, NONE, OTHER, Site
from vault_service.errors import Forbidden, InvalidInput, SettingsError, Unavailable
from vault_service.services import usage as module
from vault_service.services.sketches import Sketches
from vault_service.services.usage import UsageUpkeep, VisitCounting, _hash
from vault_service.settings import ProcessRole
from vault_service.storage import engine as engines
from vault_service.storage.unit_of_work import SqlUnitOfWork

WWW = "https://www.example.com"
SITE = Site((WWW,), ("/", "/pricing", "/blog/*"))
_days = iter(range(3650))


def a_day() -> datetime:
    """Noon of a day that no other test counts on, long over for the worker."""
    return datetime(2001, 1, 1, 12, tzinfo=UTC) + timedelta(days=next(_days))


@pytest.fixture(scope="module")
def uow(stage: Stage) -> Iterator[SqlUnitOfWork]:
    """Units of work as the role that counts."""
    made = SqlUnitOfWork(
        engines.create(stage.database.url("vault_ingest"), application_name="t", pool_size=4)
    )
    yield made
    made.close()


@pytest.fixture
def counter(uow: SqlUnitOfWork) -> Iterator[Callable[[datetime], VisitCounting]]:
    """Makes processes that count, at a time."""
    made: list[VisitCounting] = []

    def make(at: datetime) -> VisitCounting:
        made.append(VisitCounting(uow=uow, sketches=Sketches(), site=SITE, clock=lambda: at))
        return made[-1]

    yield make
    for each in made:
        each.close()


def visitor() -> str:
    """The id of a new visitor."""
    return secrets.token_urlsafe(16)


def stored(stage: Stage, day: date) -> dict[tuple[str, str], tuple[int, int]]:
    """Views and visitors of a day by place."""
    rows = stage.sql(
        "SELECT page, referrer, views, visitors FROM usage_counts WHERE day = %s", (day,)
    )
    return {(page, referrer): (views, visitors) for page, referrer, views, visitors in rows}


# ---------------------------------------------------------------- counting


def test_views_and_visitors_are_counted_by_page_and_domain(
    stage: Stage, counter: Callable[[datetime], VisitCounting]
) -> None:
    """One visitor with three views and one with one, in each place and in all totals."""
    at = a_day()
    counting, first = counter(at), visitor()
    counting.count(page="/", referrer="https://news.example.org/x", visitor=first)
    counting.count(page="/pricing", referrer=f"{WWW}/", visitor=first)
    counting.count(page="/pricing", referrer=f"{WWW}/", visitor=first)
    counting.count(page="/jane", referrer="", visitor=visitor())
    counting.merge()
    counting.merge()
    assert stored(stage, at.date()) == {
        ("/", "example.org"): (1, 1),
        ("/pricing", INTERNAL): (2, 1),
        (OTHER, NONE): (1, 1),
        ("/", EVERY): (1, 1),
        ("/pricing", EVERY): (2, 1),
        (OTHER, EVERY): (1, 1),
        (EVERY, "example.org"): (1, 1),
        (EVERY, INTERNAL): (2, 1),
        (EVERY, NONE): (1, 1),
        (EVERY, EVERY): (4, 2),
    }


def test_processes_share_the_day_and_its_visitors(
    stage: Stage, counter: Callable[[datetime], VisitCounting]
) -> None:
    """Four processes merge at once, again and again: no view is lost, no visitor counted twice."""
    at = a_day()
    processes, people = [counter(at) for _ in range(4)], [visitor() for _ in range(50)]

    def work(process: VisitCounting) -> None:
        for _ in range(5):
            for each in people:
                process.count(page="/", referrer="", visitor=each)
            process.merge()

    threads = [threading.Thread(target=work, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored(stage, at.date())[EVERY, EVERY] == (1000, 50)
    assert stage.sql("SELECT count(*) FROM usage_keys WHERE day = %s", (at.date(),)) == [(1,)]


def test_a_day_has_no_room_for_domains_without_end(
    stage: Stage, counter: Callable[[datetime], VisitCounting]
) -> None:
    """What others invent becomes `other`, in each process and where several merge."""
    at = a_day()
    first, second = counter(at), counter(at)
    for number in range(MOST_DOMAINS):
        first.count(page="/", referrer=f"https://a{number}.example/", visitor=visitor())
    for number in range(MOST_DOMAINS + 3):
        second.count(page="/", referrer=f"https://b{number}.example/", visitor=visitor())
    first.merge()
    second.merge()
    second.count(page="/", referrer="https://c.example/", visitor=visitor())
    second.merge()
    found = stored(stage, at.date())
    domains = {domain for _, domain in found} - {EVERY, OTHER}
    assert len(domains) == MOST_DOMAINS
    assert found[EVERY, OTHER] == (MOST_DOMAINS + 4, MOST_DOMAINS + 4)
    assert found["/", OTHER] == found[EVERY, OTHER]
    assert found[EVERY, EVERY] == (2 * MOST_DOMAINS + 4, 2 * MOST_DOMAINS + 4)


def test_a_new_day_has_a_new_key(stage: Stage, uow: SqlUnitOfWork) -> None:
    """At midnight the key goes; what was counted under it is still merged, where it belongs."""
    at = [a_day().replace(hour=23, minute=59)]
    counting, one = (
        VisitCounting(uow=uow, sketches=Sketches(), site=SITE, clock=lambda: at[0]),
        visitor(),
    )
    counting.count(page="/", referrer="", visitor=one)
    key = counting._today.key
    yesterday = at[0].date()
    next(_days)
    at[0] += timedelta(minutes=2)
    counting.count(page="/", referrer="", visitor=one)
    assert counting._today.key != key
    # A clock that is set back brings no key back.
    at[0] -= timedelta(minutes=2)
    counting.count(page="/", referrer="", visitor=one)
    assert counting._today.key != key
    counting.close()
    assert stored(stage, yesterday)[EVERY, EVERY] == (1, 1)
    assert stored(stage, yesterday + timedelta(days=1))[EVERY, EVERY] == (2, 1)


def test_another_thread_may_begin_the_day_first(
    uow: SqlUnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes second takes the day as it is."""
    at = a_day()
    counting = VisitCounting(uow=uow, sketches=Sketches(), site=SITE, clock=lambda: at)
    ask = SqlUnitOfWork.begin

    def slow(self: SqlUnitOfWork, **how: Any) -> Any:
        monkeypatch.setattr(SqlUnitOfWork, "begin", ask)
        counting.count(page="/", referrer="", visitor=visitor())
        return ask(self, **how)

    monkeypatch.setattr(SqlUnitOfWork, "begin", slow)
    counting.count(page="/", referrer="", visitor=visitor())
    assert counting._today.cells[EVERY, EVERY].views == 2
    counting.close()


# ---------------------------------------------------------------- failures


def lost(code: str) -> Callable[..., Any]:
    """A unit of work that fails."""

    def begin(*_: object, **__: object) -> Any:
        raise Unavailable("the database is away", code=code)

    return begin


def test_a_database_that_is_away_loses_nothing(
    stage: Stage,
    counter: Callable[[datetime], VisitCounting],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What could not be merged is merged with what comes next; a day over keeps its place."""
    at = a_day()
    counting, one = counter(at), visitor()
    counting.count(page="/", referrer="", visitor=one)
    with monkeypatch.context() as patched:
        patched.setattr(SqlUnitOfWork, "begin", lost("database_unavailable"))
        refusal(counting.merge, Unavailable)
        counting.count(page="/", referrer="", visitor=one)
        counting.count(page="/", referrer="", visitor=visitor())
        refusal(counting.merge, Unavailable)
        counting.close()
    # Meanwhile the day ends.
    counting._clock = lambda: at + timedelta(days=1)
    next(_days)
    counting.count(page="/", referrer="", visitor=one)
    with monkeypatch.context() as patched:
        patched.setattr(SqlUnitOfWork, "begin", lost("database_unavailable"))
        refusal(counting.merge, Unavailable)
    counting.merge()
    assert stored(stage, at.date())[EVERY, EVERY] == (3, 2)
    assert stored(stage, at.date() + timedelta(days=1))[EVERY, EVERY] == (1, 1)


def test_what_may_have_been_written_is_not_written_again(
    counter: Callable[[datetime], VisitCounting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the commit's outcome is unknown, a minute's views may be lost, and never doubled."""
    counting = counter(a_day())
    counting.count(page="/", referrer="", visitor=visitor())
    with monkeypatch.context() as patched:
        patched.setattr(SqlUnitOfWork, "begin", lost("commit_unknown"))
        refusal(counting.merge, Unavailable)
    assert counting._taken() == []


def test_without_the_days_key_nothing_is_counted(
    counter: Callable[[datetime], VisitCounting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no view without its day's key."""
    counting = counter(a_day())
    monkeypatch.setattr(SqlUnitOfWork, "begin", lost("database_unavailable"))
    refusal(lambda: counting.count(page="/", referrer="", visitor=visitor()), Unavailable)
    assert counting._taken() == []


def test_a_thread_merges_every_minute_whatever_happens(
    stage: Stage,
    counter: Callable[[datetime], VisitCounting],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A round that fails, foreseen or not, is no reason for the next one not to come."""
    at, rounds, done = a_day(), iter((Unavailable("away"), ValueError("unforeseen"), None)), []
    merge = VisitCounting.merge
    merged = threading.Event()

    def once(self: VisitCounting) -> None:
        failure = next(rounds, None)
        done.append(failure)
        if failure is not None:
            raise failure
        merge(self)
        merged.set()

    monkeypatch.setattr(VisitCounting, "merge", once)
    monkeypatch.setattr(module, "MERGE_SECONDS", 0.01)
    counting = counter(at)
    counting.count(page="/", referrer="", visitor=visitor())
    assert merged.wait(10)
    counting.close()
    assert stored(stage, at.date())[EVERY, EVERY] == (1, 1)
    assert len(done) >= 3


# ---------------------------------------------------------------- the worker


def upkeep(stage: Stage, keep_days: int = 100_000) -> UsageUpkeep:
    """The worker's duty."""
    assert stage.worker.usage_upkeep is not None
    return UsageUpkeep(uow=stage.worker.usage_upkeep._uow, keep_days=keep_days)


def test_a_day_that_is_over_keeps_its_numbers_alone(
    stage: Stage, counter: Callable[[datetime], VisitCounting]
) -> None:
    """The worker destroys the key and the sketches, once; today's stay; what is late is dropped."""
    now = datetime.now(UTC)
    today, past = counter(now), counter(a_day())
    for each in (today, past):
        each.count(page="/", referrer="", visitor=visitor())
        each.merge()
    past.count(page="/", referrer="", visitor=visitor())
    upkeep(stage).run(threading.Event())
    upkeep(stage).run(threading.Event())
    assert stage.sql("SELECT day FROM usage_keys") == [(now.date(),)]
    assert stage.sql("SELECT key FROM usage_keys") == [(today._today.key,)]
    rows = stage.sql("SELECT DISTINCT day FROM usage_counts WHERE sketch IS NOT NULL")
    assert rows == [(now.date(),)]
    past.merge()
    assert stored(stage, past._today.day)[EVERY, EVERY] == (1, 1)


def test_old_counts_are_deleted(stage: Stage, counter: Callable[[datetime], VisitCounting]) -> None:
    """Whole days, when they are older than the setting says."""
    old = counter(a_day())
    old.count(page="/", referrer="", visitor=visitor())
    old.merge()
    kept = (datetime.now(UTC).date() - old._today.day).days
    upkeep(stage, kept).run(threading.Event())
    assert stored(stage, old._today.day)
    upkeep(stage, kept - 1).run(threading.Event())
    assert not stored(stage, old._today.day)


def test_a_key_is_in_no_log_of_the_database(stage: Stage) -> None:
    """The table of keys is unlogged: neither WAL nor base backup nor standby has its rows."""
    assert stage.sql("SELECT relpersistence::text FROM pg_class WHERE relname = 'usage_keys'") == [
        ("u",)
    ]


# ---------------------------------------------------------------- reading


def test_counts_are_told_to_those_who_may_know(
    stage: Stage, counter: Callable[[datetime], VisitCounting]
) -> None:
    """Operator, officer and auditor; a period of 31 days, today's by default."""
    at = a_day()
    counting = counter(at)
    counting.count(page="/", referrer="", visitor=visitor())
    counting.merge()
    reading = stage.services.usage
    assert reading is not None
    for who in ("operator", "officer-1", "auditor"):
        first, last, rows = reading.period(stage.caller(who), at.date(), at.date())
        assert (first, last, len(rows)) == (at.date(), at.date(), 4)
    for who in ("billing", "support", "requester"):
        refusal(lambda who=who: reading.period(stage.caller(who), None, None), Forbidden)
    caller = stage.caller("operator")
    first, last, _ = reading.period(caller, None, None)
    assert (last - first).days == 30
    assert last == datetime.now(UTC).date()
    assert reading.period(caller, None, date(1, 1, 2))[0] == date(1, 1, 1)
    day = date(2026, 1, 1)
    for since, until in ((day + timedelta(days=1), day), (day, day + timedelta(days=31))):
        error = refusal(lambda a=since, b=until: reading.period(caller, a, b), InvalidInput)
        assert error.code == "usage_period_invalid"


def test_without_the_library_nothing_is_counted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is to count says so at its start, and how to help it."""
    monkeypatch.setitem(sys.modules, "datasketches", None)
    settings = dataclasses.replace(stage.settings_for(ProcessRole.INGEST), usage_sites=WWW)
    with pytest.raises(SettingsError, match="library that counts"):
        build(settings)


# ---------------------------------------------------------------- over HTTP


@pytest.fixture(scope="module")
def counting_services(stage: Stage) -> Iterator[Services]:
    """A process that counts."""
    settings = dataclasses.replace(
        stage.settings_for(ProcessRole.ALL),
        usage_sites=f"{WWW} https://shop.example.com",
        usage_pages="/ /pricing",
        usage_rate_limit=1000,
    )
    built = build(settings)
    yield built
    built.close()


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged meanwhile."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    stream = io.StringIO()
    logs.configure(process="test", stream=stream)
    yield stream
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level, sys.excepthook, threading.excepthook = before


@pytest.fixture
def browser(counting_services: Services, lines: io.StringIO) -> FlaskClient:
    """A visitor's browser without cookies of its own."""
    assert lines is not None
    app = create_app(counting_services, counting_services.settings)
    return app.test_client(use_cookies=False)


def views(services: Services) -> int:
    """Views that wait to be merged, of today."""
    assert services.visits is not None
    cell = services.visits._today.cells.get((EVERY, EVERY))
    return 0 if cell is None else cell.views


COOKIE = re.compile(
    r"__Host-visit=([\w-]{22}); Max-Age=(\d+); Secure; HttpOnly; Path=/; SameSite=Strict"
)


def test_an_image_counts_a_view_and_gives_an_id_for_a_day(
    browser: FlaskClient, counting_services: Services, lines: io.StringIO
) -> None:
    """One pixel, a random id that ends with the day, and no line in the log."""
    before = views(counting_services)
    response = browser.get("/u.gif?p=/pricing&r=https://example.org/", headers={"Referer": WWW})
    assert response.status_code == 200
    assert response.content_type == "image/gif"
    assert response.get_data().startswith(b"GIF89a")
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-site"
    assert response.headers["Cache-Control"] == "no-store"
    cookie = response.headers["Set-Cookie"]
    # werkzeug may write an Expires, too, for old browsers.
    match = COOKIE.fullmatch(re.sub(r" Expires=[^;]+;", "", cookie))
    assert match is not None, cookie
    assert 0 < int(match[2]) <= 24 * 60 * 60
    shown = {"Referer": f"{WWW}/", "Cookie": f"__Host-visit={match[1]}"}
    again = browser.get("/u.gif", headers=shown)
    assert "Set-Cookie" not in again.headers
    assert views(counting_services) == before + 2
    forged = browser.get("/u.gif?p=/", headers={"Cookie": "__Host-visit=jane@example.com"})
    assert "jane" not in forged.headers["Set-Cookie"]
    assert browser.head("/u.gif?p=/").status_code == 200
    assert views(counting_services) == before + 3
    assert lines.getvalue() == ""


def test_a_script_counts_a_view(
    browser: FlaskClient, counting_services: Services, lines: io.StringIO
) -> None:
    """From the site's own origins only, with its cookie, asked before by the browser."""
    before = views(counting_services)
    origin = {"Origin": "https://shop.example.com"}
    asked = browser.options("/v1/usage", headers=origin)
    assert asked.status_code == 204
    assert asked.headers["Access-Control-Allow-Origin"] == origin["Origin"]
    assert asked.headers["Access-Control-Allow-Headers"] == "Content-Type"
    done = browser.post("/v1/usage", json={"page": "/", "referrer": ""}, headers=origin)
    assert (done.status_code, done.get_data()) == (204, b"")
    assert done.headers["Access-Control-Allow-Credentials"] == "true"
    assert done.headers["Vary"] == "Origin"
    assert "Set-Cookie" in done.headers
    assert browser.post("/v1/usage", json={"page": "/"}).status_code == 204
    assert views(counting_services) == before + 2
    foreign = browser.post(
        "/v1/usage", json={"page": "/"}, headers={"Origin": "https://evil.example"}
    )
    assert (foreign.status_code, foreign.get_json()["code"]) == (403, "origin_not_allowed")
    assert "Access-Control-Allow-Origin" not in foreign.headers
    assert views(counting_services) == before + 2
    assert lines.getvalue() == ""


@pytest.mark.parametrize("wish", [{"Sec-GPC": "1"}, {"DNT": "1"}])
def test_who_does_not_want_it_is_not_counted(
    browser: FlaskClient, counting_services: Services, wish: dict[str, str]
) -> None:
    """Global Privacy Control and Do Not Track: no cookie, no view; an old cookie is taken back."""
    before = views(counting_services)
    for response in (
        browser.get("/u.gif?p=/", headers=wish),
        browser.post("/v1/usage", json={"page": "/"}, headers=wish),
    ):
        assert response.status_code in {200, 204}
        assert "Set-Cookie" not in response.headers
    response = browser.get("/u.gif?p=/", headers={**wish, "Cookie": f"__Host-visit={visitor()}"})
    assert response.headers["Set-Cookie"].startswith("__Host-visit=;")
    assert "Max-Age=0" in response.headers["Set-Cookie"]
    assert views(counting_services) == before


def test_bad_visits_count_for_nothing(browser: FlaskClient, counting_services: Services) -> None:
    """4xx with a code, or for another's page just the image; nothing is counted, nobody marked."""

    def send(body: bytes, kind: str = "application/json") -> TestResponse:
        return browser.post("/v1/usage", data=body, content_type=kind)

    before = views(counting_services)
    strange = browser.get("/u.gif?p=/", headers={"Referer": "https://evil.example/"})
    assert strange.status_code == 200
    assert "Set-Cookie" not in strange.headers
    for response, status, code in (
        (browser.get("/u.gif"), 422, "field_missing"),
        (browser.get("/u.gif?p=/&p=/"), 400, "parameter_repeated"),
        (browser.get("/u.gif?id=1&p=/"), 422, "unknown_field"),
        (browser.get("/u.gif?p=" + "a" * 2049), 422, "value_out_of_bounds"),
        (send(b"{}"), 422, "field_missing"),
        (send(b'{"page": "/", "cvc": "1"}'), 422, "sensitive_authentication_data"),
        (send(b"x" * 9000), 413, "body_too_large"),
        (send(b"{}", "text/plain"), 415, "content_type_unsupported"),
        (browser.post("/u.gif"), 405, "method_not_allowed"),
    ):
        assert (response.status_code, response.get_json()["code"]) == (status, code)
        assert "Set-Cookie" not in response.headers
    assert views(counting_services) == before


def test_an_address_that_asks_without_end_is_turned_away(
    counting_services: Services, lines: io.StringIO
) -> None:
    """Its rate is counted in memory; nobody is told whose it was."""
    settings = dataclasses.replace(counting_services.settings, usage_rate_limit=2)
    browser = create_app(counting_services, settings).test_client(use_cookies=False)
    assert [browser.get("/u.gif?p=/").status_code for _ in range(3)] == [200, 200, 429]
    assert lines.getvalue() == ""


def test_a_failure_is_told_without_saying_whose(
    browser: FlaskClient, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line of a visit that failed has neither address nor cookie."""
    monkeypatch.setattr(VisitCounting, "count", lost("database_unavailable"))
    response = browser.get(
        "/u.gif?p=/jane",
        headers={"Cookie": f"__Host-visit={'A' * 22}", "User-Agent": "Agent/7"},
        environ_overrides={"REMOTE_ADDR": "192.0.2.77"},
    )
    assert response.status_code == 503
    text = lines.getvalue()
    assert '"route":"/u.gif"' in text
    for secret in ("192.0.2.77", "A" * 22, "Agent/7", "jane", '"address"'):
        assert secret not in text


def test_the_document_has_the_visits_where_they_are_counted(browser: FlaskClient) -> None:
    """Both calls, with no credential."""
    paths = browser.get("/openapi.json").get_json()["paths"]
    assert paths["/u.gif"]["get"]["security"] == []
    assert paths["/v1/usage"]["post"]["security"] == []
    assert "get" in paths["/v1/usage"]


def test_counts_are_shown_by_json_and_by_a_chart(
    stage: Stage, browser: FlaskClient, counter: Callable[[datetime], VisitCounting]
) -> None:
    """Rounded, small ones hidden; the page runs nothing and loads nothing."""
    at = a_day()
    counting = counter(at)
    for number in range(25):
        page = "/pricing" if number < 9 else "/"
        counting.count(page=page, referrer="", visitor=visitor())
    counting.merge()
    key = {"Authorization": f"Bearer {stage.cast.keys['operator']}"}
    period = f"from={at.date()}&to={at.date()}"
    found = browser.get(f"/v1/usage?{period}", headers=key).get_json()
    assert (found["from"], found["to"], found["least"]) == (str(at.date()), str(at.date()), 10)
    shown = {(row["page"], row["referrer"]): row for row in found["rows"]}
    assert (shown["*", "*"]["views"], shown["*", "*"]["visitors"]) == (20, 20)
    assert shown["/pricing", "*"]["views"] == "<10"
    assert shown["/pricing", "none"]["visitors"] == "<10"
    assert shown["/", "*"]["views"] == 10
    chart = browser.get(f"/v1/usage/chart.html?{period}", headers=key)
    text = chart.get_data(as_text=True)
    policy = chart.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "<svg" in text
    assert "&lt;10" in text
    for number in ("25", "16"):
        assert f">{number}<" not in text
    assert "<script" not in text
    empty = browser.get("/v1/usage/chart.html?from=1999-01-01&to=1999-01-01", headers=key)
    assert "Nothing was counted" in empty.get_data(as_text=True)
    bad = browser.get("/v1/usage?from=yesterday", headers=key)
    assert bad.status_code == 422
    late = browser.get("/v1/usage?from=2026-01-01&to=2026-03-01", headers=key)
    assert (late.status_code, late.get_json()["code"]) == (422, "usage_period_invalid")


# ---------------------------------------------------------------- nobody can be followed


def test_100000_visits_leave_nothing_that_joins_two_of_them(
    stage: Stage, counter: Callable[[datetime], VisitCounting], lines: io.StringIO
) -> None:
    """No id, no hash of one and no row of a visit in any file; visitors within 3 %.

    Searched are all files that the database wrote meanwhile, its WAL among them, and the log: for
    ids of visitors, and for their hashes under the day's key in every place.
    """
    at, began = a_day(), time.time() - 1
    counting, people = counter(at), [visitor() for _ in range(40_000)]
    pages = ("/", "/pricing", "/blog/x", "/jane")
    for number in range(100_000):
        counting.count(
            page=pages[number % 3 if number % 7 else 3],
            referrer="" if number % 2 else "https://example.org/",
            visitor=people[number % len(people)],
        )
        if number % 10_000 == 0:
            counting.merge()
    counting.merge()
    found = stored(stage, at.date())
    assert found[EVERY, EVERY][0] == 100_000
    assert abs(found[EVERY, EVERY][1] - len(people)) <= 0.03 * len(people)
    assert len(found) == len({page for page, _ in found}) * len({domain for _, domain in found})
    # No place's row count grows with visits: the whole day is these rows.
    assert len(found) == 5 * 3

    stage.sql("CHECKPOINT")
    (folder,) = stage.sql("SHOW data_directory")[0]
    held = [each.read_bytes() for each in Path(folder).rglob("*") if written(each, since=began)]
    held.append(lines.getvalue().encode())
    wanted = {person.encode() for person in people[:3]}
    for person in people[:3]:
        for place in found:
            value = _hash(counting._today.key, place, person)
            wanted |= {value.to_bytes(8, order, signed=True) for order in ("big", "little")}
    assert not any(each in content for content in held for each in wanted)
    # The search finds what is there: the day's pages are, in the same files.
    assert any(b"/pricing" in content for content in held)


def written(path: Path, *, since: float) -> bool:
    """Whether a path is a file that was written since then, and has not gone meanwhile."""
    try:
        return path.is_file() and path.stat().st_mtime >= since
    except OSError:
        return False


def test_one_visitor_leaves_nothing_in_common_in_two_places(
    stage: Stage, counter: Callable[[datetime], VisitCounting]
) -> None:
    """Sketches of a few visitors hold 32 bits of each; in no two places are they the same.

    This is what a day's dump could be searched for. A hash that knew the visitor only, and not the
    place, would fail here.
    """
    at = a_day()
    counting = counter(at)
    for _ in range(5):
        counting.count(page="/pricing", referrer="https://example.org/", visitor=visitor())
    counting.merge()
    rows = stage.sql("SELECT sketch FROM usage_counts WHERE day = %s", (at.date(),))
    assert len(rows) == 4
    # Eight bytes of preamble, and then the list.
    coupons = [{sketch[at : at + 4] for at in range(8, len(sketch), 4)} for (sketch,) in rows]
    assert all(len(each) == 5 for each in coupons)
    assert len(set().union(*coupons)) == 20
