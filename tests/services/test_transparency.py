"""The yearly report, from what requests and reveals have left, and the notice to a customer."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import pytest

from tests.support.accounting import day, demanded, disclosed
from tests.support.whole import NOBODY, Stage, draft, present, refusal, standing
from vault_service.domain.suppression import THRESHOLD
from vault_service.errors import Forbidden, InvalidInput, NotFound
from vault_service.ledger.entries import Event
from vault_service.policy import loader
from vault_service.services import accounting, notices
from vault_service.services.notices import CustomerNotice
from vault_service.services.transparency import LEVELS, OTHER, TransparencyReport

SHOMA = ("personal_and_account", "provide_service")
HARM = ("personal_and_account", "protect_from_harm")


@pytest.fixture(autouse=True)
def _no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers leave at once; another page has the story of that."""
    monkeypatch.setattr(accounting, "STEP", 0.001)


def report(stage: Stage, year: int, *, by: str = "officer-1") -> TransparencyReport:
    """A report."""
    return present(stage.services.transparency).report(stage.caller(by), year)


def shown(found: TransparencyReport, *path: str) -> dict[str, int | None]:
    """The counts of one row."""
    (row,) = [row for row in found.rows if row.path == path]
    return dict(row.counts)


def move(stage: Stage, *grants: str, to: datetime) -> None:
    """Have requests and what was revealed under them happen at another time."""
    stage.sql(
        "UPDATE disclosures SET submitted_at = %(at)s, activated_at = %(at)s + interval '1 s',"
        " ended_at = %(at)s + interval '2 s' WHERE id = ANY(%(ids)s)",
        {"at": to, "ids": list(grants)},
    )
    stage.sql(
        "UPDATE reveals SET at = %(at)s + interval '1 s' WHERE disclosure = ANY(%(ids)s)",
        {"at": to, "ids": list(grants)},
    )


@pytest.fixture(scope="module")
def year(stage: Stage) -> int:
    """A year in which nothing else happens, with some of each kind in it."""
    year = 2010 + secrets.randbelow(10)
    stage.services.lifecycle.started()
    stage.sql("UPDATE policies SET first_seen_at = %s", [datetime(2005, 1, 1, tzinfo=UTC)])
    first, second = stage.customer(), stage.customer()
    card, other = stage.card(first), stage.card(second, "5555555555554444")
    grant = stage.granted(standing(card, other)).id
    for _ in range(12):
        stage.reveal(stage.token(grant), card, other)
    harms = [disclosed(stage, draft(card), card) for _ in range(3)]
    denied = [
        stage.disclosures.create(stage.caller("requester"), standing(card), is_draft=False).id
        for _ in range(11)
    ]
    for each in denied:
        stage.decisions.deny(stage.caller("officer-1"), each, comment="no")
    move(stage, grant, *harms, *denied, to=datetime(year, 12, 31, 23, 59, 57, tzinfo=UTC))
    stage.sql("UPDATE disclosures SET activated_at = NULL WHERE id = ANY(%s)", [denied])
    return year


def test_what_happened_in_a_year_is_counted(stage: Stage, year: int) -> None:
    """Each request, decision and reveal once; small counts and what would tell them are hidden."""
    found = report(stage, year)
    assert (found.year, found.threshold) == (year, THRESHOLD)
    assert shown(found) == {
        "requests": 15, "denied": None, "granted": None, "reveals": 15, "values": 27,
    }  # fmt: skip
    # Of 15 requests three were for protection from harm, so both grounds hide theirs.
    assert shown(found, *SHOMA) == {
        "requests": None, "denied": None, "granted": None, "reveals": None, "values": None,
    }  # fmt: skip
    for row in found.rows:
        counts = row.counts
        assert (counts["denied"] is None) == (counts["granted"] is None)
        assert (counts["reveals"] is None) == (counts["values"] is None)
        assert counts["requests"] is not None or counts["denied"] is None
    assert {row.path for row in found.rows if row.level == "ground"} == {
        (ground.category, ground.name) for ground in stage.services.policy.grounds.values()
    }
    clauses = {row.path: row.clause for row in found.rows if row.level == "ground"}
    assert (clauses[SHOMA], clauses[HARM]) == ("P1", "D1")
    assert all(row.level == LEVELS[len(row.path)] for row in found.rows)


def test_a_year_has_its_bounds(stage: Stage, year: int) -> None:
    """The years beside it have nothing, and say so."""
    for other in (year - 1, year + 1):
        assert set(shown(report(stage, other)).values()) == {0}
        assert all(set(row.counts.values()) == {0} for row in report(stage, other).rows)


def test_the_same_year_gives_the_same_report(stage: Stage, year: int) -> None:
    """Whoever asks, and whatever has happened since."""
    before = report(stage, year)
    customer = stage.customer()
    token = stage.card(customer)
    disclosed(stage, draft(token), token)
    stage.sql("INSERT INTO policies (version, name, body) VALUES ('later', 'n', 'x')")
    assert report(stage, year, by="auditor") == before
    stage.sql("DELETE FROM policies WHERE version = 'later'")


def test_what_no_policy_of_the_time_has_is_other(stage: Stage, year: int) -> None:
    """A policy that cannot be read adds no rows, and loses no counts."""
    total = shown(report(stage, year))
    kept = stage.sql("SELECT version, name, body, first_seen_at FROM policies")
    stage.sql("TRUNCATE policies CASCADE")
    stage.sql(
        "INSERT INTO policies (version, name, body, first_seen_at)"
        " VALUES ('broken', 'n', 'schema = ', '2005-01-01')"
    )
    found = report(stage, year)
    stage.sql("TRUNCATE policies CASCADE")
    for row in kept:
        stage.sql(
            "INSERT INTO policies (version, name, body, first_seen_at) VALUES (%s, %s, %s, %s)", row
        )
    assert shown(found) == total
    assert {row.path[:1] for row in found.rows} == {(), (OTHER,)}
    assert shown(found, OTHER, OTHER, OTHER, OTHER) == total


def test_a_year_is_reported_once_it_is_over(stage: Stage) -> None:
    """Two reports of a running year would tell by their difference what each hides."""
    for year in (datetime.now(UTC).year, datetime.now(UTC).year + 1):
        assert refusal(lambda year=year: report(stage, year), InvalidInput).code == "year_not_over"
    for year in (0, -1, 1997, 9999, 10**30):
        assert refusal(lambda year=year: report(stage, year), InvalidInput).code == "year_invalid"


@pytest.mark.parametrize("who", ["billing", "support", "requester", "operator"])
def test_officers_and_auditors_report(stage: Stage, who: str) -> None:
    """Nobody else."""
    refusal(lambda: report(stage, 2001, by=who), Forbidden)


# ---------------------------------------------------------------- the notice


def notice(stage: Stage, customer: str, *, by: str = "support") -> CustomerNotice:
    """A notice."""
    return present(stage.services.notices).make(stage.caller(by), customer)


def test_a_notice_tells_in_words(stage: Stage, customer: str) -> None:
    """One line for each kind, with the policy's own words; no token, no mask."""
    card = stage.card(customer)
    grant = stage.granted(standing(card)).id
    for _ in range(3):
        stage.reveal(stage.token(grant), card, fields=["name", "number"])
    disclosed(stage, draft(card), card)
    found = notice(stage, customer)
    service, harm = found.lines
    policy = stage.services.policy
    assert (service.times, service.data_class, service.fields) == (
        3, "payment_card", ("number", "name"),
    )  # fmt: skip
    assert service.first < service.last
    assert service.ground_says == policy.grounds["provide_service", SHOMA[0]].says
    assert service.clause_says == policy.clauses["P1"]
    assert service.recipient_says == policy.recipients["internal"]
    assert (harm.clause, harm.times, harm.first) == ("D1", 1, harm.last)
    assert not found.more
    assert card not in repr(found)
    assert "424242" not in repr(found)


@pytest.mark.parametrize("who", ["support", "officer-1"])
def test_no_notice_tells_what_is_withheld(stage: Stage, customer: str, who: str) -> None:
    """Whoever makes it: the paper is for the customer."""
    card = stage.card(customer)
    empty = notice(stage, customer, by=who)
    grant = disclosed(stage, demanded(card, until=day(9)), card)
    found = notice(stage, customer, by=who)
    assert (found.lines, found.more) == (empty.lines, empty.more) == ((), False)
    stage.sql("UPDATE disclosures SET notice_after = now() WHERE id = %s", [grant])
    assert [line.clause for line in notice(stage, customer, by=who).lines] == ["D2"]


def test_a_notice_uses_the_words_of_the_requests_policy(stage: Stage, customer: str) -> None:
    """Those of an older version where it is kept, and none where what is kept is another text."""
    card = stage.card(customer)
    grant = disclosed(stage, draft(card), card)
    body = stage.services.settings.policy_file.read_text(encoding="utf-8")
    older = body.replace("Account data may go out to find", "Data went out to find")
    version = loader.parse(older.encode()).version
    stage.sql("INSERT INTO policies (version, name, body) VALUES (%s, 'n', %s)", [version, older])
    stage.sql("UPDATE disclosures SET policy = %s WHERE id = %s", [version, grant])
    (line,) = notice(stage, customer).lines
    assert (line.clause_says or "").startswith("Data went out")
    for changed in (older.replace("Data went", "Nothing went"), "schema = ", None):
        stage.sql("DELETE FROM policies WHERE version = %s", [version])
        if changed is not None:
            stage.sql(
                "INSERT INTO policies (version, name, body) VALUES (%s, 'n', %s)",
                [version, changed],
            )
        (line,) = notice(stage, customer).lines
        assert (line.ground_says, line.clause_says, line.recipient_says) == (None, None, None)
        assert (line.clause, line.recipient_kind) == ("D1", "counterparty")
    stage.sql("DELETE FROM policies WHERE version = %s", [version])


def test_a_longer_notice_says_that_there_is_more(
    stage: Stage, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends at a number of lines, and not silently."""
    monkeypatch.setattr(notices, "MAX_LINES", 1)
    card = stage.card(customer)
    disclosed(stage, standing(card, uses=1), card)
    assert not notice(stage, customer).more
    disclosed(stage, draft(card), card)
    found = notice(stage, customer)
    assert (len(found.lines), found.more) == (1, True)


def test_making_a_notice_is_an_entry(stage: Stage, customer: str) -> None:
    """With its form."""
    with stage.told(Event.CUSTOMER_DISCLOSURES_READ) as entries:
        notice(stage, customer)
    (entry,) = entries
    assert (entry.customer, entry.count, entry.details) == (customer, 0, {"form": "notice"})


def test_nobody_gets_no_notice(stage: Stage) -> None:
    """Unknown and malformed alike; others may not ask."""
    for customer in (NOBODY, "cus_x"):
        refusal(lambda customer=customer: notice(stage, customer), NotFound)
    refusal(lambda: notice(stage, NOBODY, by="requester"), Forbidden)
