"""A policy file that contradicts itself is refused, with file, line and reason."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.domain.evidence import EvidenceType, When
from vault_service.domain.grounds import MAX_TOKEN_LIFE, NoticeRule
from vault_service.policy import loader
from vault_service.policy.loader import PolicyInvalid, load, parse
from vault_service.policy.toml_lines import Lines

SHIPPED = Path(loader.__file__).with_name("shoma-1998-12-17.toml")
OTHER = Path(__file__).with_name("other-policy.toml")
TEXT = OTHER.read_text()


def _line(needle: str, nth: int = 1) -> int:
    """The line of the n-th place where the other policy holds a text."""
    places = [at for at, line in enumerate(TEXT.splitlines(), start=1) if needle in line]
    return places[nth - 1]


def _refusals(text: str) -> list[tuple[int, str]]:
    with pytest.raises(PolicyInvalid) as caught:
        parse(text.encode(), source="file.toml")
    assert caught.value.code == "policy_invalid"
    for finding in caught.value.findings:
        assert f"file.toml:{finding.line}: {finding.reason}" in str(caught.value)
    return [(finding.line, finding.reason) for finding in caught.value.findings]


def test_the_version_is_the_hash_of_the_bytes() -> None:
    """A change of one byte, even in a comment, is another version."""
    data = SHIPPED.read_bytes()
    assert load(SHIPPED).version == hashlib.sha256(data).hexdigest()
    assert parse(data + b"\n").version != load(SHIPPED).version


def test_a_file_is_read_as_it_stands() -> None:
    """Every part of a file arrives in the policy."""
    policy = load(OTHER)
    assert (policy.name, policy.dated) == ("lending_library", date(2001, 2, 3))
    assert set(policy.clauses) == {"4.2", "4.3-b"}
    assert policy.categories["letters"].classes == ("communication", "email_address")
    first = policy.grounds["remind", "readers"]
    assert (first.approvals, first.longest, first.token_life) == (
        3,
        timedelta(hours=2),
        timedelta(minutes=1),
    )
    assert (first.stands, first.uses, first.ends_with, first.determination) == (
        False,
        1,
        None,
        None,
    )
    assert first.evidence[0].type is EvidenceType.REFERENCE
    assert first.evidence[0].longest == 20
    second = policy.grounds["remind", "letters"]
    assert (second.stands, second.uses, second.ends_with) == (True, 3, "fair_closes")
    assert second.recipients == ("guild", "desk")
    assert second.determination is not None
    assert second.determination.says == "the guild has asked in writing"
    assert (second.notice.rule, second.notice.evidence) == (NoticeRule.AFTER_DATE, "fair_opens")
    assert (first.proof_of_possession, second.proof_of_possession) == (False, True)
    assert [each.when for each in second.evidence] == [When.FUTURE, When.ANY, When.ANY]
    assert second.evidence[2].choices == ("calm", "cross")
    assert [each.required for each in second.evidence] == [True, False, False]


# What is changed in the other policy, the text whose line must be named, and the reason.
CASES = [
    (
        "approvals = 3",
        "approvals = 3\nbudget = {}",
        None,
        "a budget needs per_hour, per_day or both",
    ),
    ("approvals = 3", "approvals = 3\nbudget = 7", None, "must be a table"),
    ("approvals = 3", "approvals = 3\nbudget = { per_week = 7 }", None, "unknown key per_week"),
    ("approvals = 3", "approvals = 3\nbudget = { per_hour = 0 }", None, "must be a number from 1"),
    (
        "approvals = 3",
        "approvals = 3\nbudget = { per_hour = 9, per_day = 8 }",
        None,
        "below that of an hour",
    ),
    ("schema = 1", "schema = 2", "schema", "this service reads schema 1"),
    ('name = "lending_library"', 'name = "Library!"', "name =", "lower case"),
    ('name = "lending_library"', "name = 7", "name =", "must be a text"),
    ("dated = 2001-02-03", 'dated = "2001-02-03"', "dated", "must be a date"),
    ("dated = 2001-02-03", "dated = 2001-02-03T00:00:00Z", "dated", "must be a date"),
    ("schema = 1", "schema = 1\nowner = 2", None, "unknown key owner"),
    ('"4.2" = ', '"4 2" = ', "Readers can be", "cannot be the name of a clause"),
    ('desk = "The desk."', 'desk = ""', "desk =", "must be a text"),
    ('desk = "The desk."', 'Desk = ""', "desk =", "cannot be the name of a recipient"),
    ('clause = "4.2"', "", "[[grounds]]", "clause is missing"),
    ('clause = "4.2"', 'clause = "9.9"', "clause =", "unknown clause 9.9"),
    ('category = "readers"', 'category = "writers"', "category =", "unknown category writers"),
    ('recipients = ["desk"]', 'recipients = ["lord"]', "recipients =", "unknown lord"),
    ('recipients = ["desk"]', "recipients = []", "recipients =", "at least one"),
    ('recipients = ["desk"]', "recipients = [1]", "recipients =", "at least one text"),
    ('recipients = ["desk"]', 'recipients = ["desk", "desk"]', "recipients =", "twice"),
    ('"contact_name", "telephone"', '"soul"', "classes =", "unknown soul in classes"),
    ('"contact_name", "telephone"', '"communication"', "email_address", "belongs to readers"),
    ("[categories.readers]", "[categories.Readers]", "[categories.", "name of a category"),
    ("approvals = 3", "approvals = 0", "approvals =", "from 1 to 10"),
    ("approvals = 3", "approvals = 11", "approvals =", "from 1 to 10"),
    ("approvals = 3", "approvals = true", "approvals =", "from 1 to 10"),
    ("approvals = 3", 'approvals = "3"', "approvals =", "from 1 to 10"),
    ("approvals = 3", "", "[[grounds]]", "approvals must be a number"),
    ('longest = "2 hours"', 'longest = "8 days"', "longest =", "at most 604800 seconds"),
    ('longest = "2 hours"', 'longest = "0 hours"', "longest =", "must be a duration"),
    ('longest = "2 hours"', 'longest = "2 weeks"', "longest =", "must be a duration"),
    ('longest = "2 hours"', "longest = 2", "longest =", "must be a text"),
    ('longest = "10 days"', 'longest = "91 days"', "10 days", "at most 7776000 seconds"),
    ('"1 minute"', '"301 seconds"', "token_life =", "at most 300 seconds"),
    ('longest = "2 hours"', 'longest = "30 seconds"', "token_life =", "at most 30 seconds"),
    ("uses = 3", "", "stands =", "a ground that stands needs a limit"),
    ("uses = 3", "uses = 1000001", "uses =", "from 1 to 1000000"),
    ("stands = true", 'stands = "yes"', "stands =", "true or false"),
    ("proof_of_possession = true", "proof_of_possession = 1", "proof_of", "true or false"),
    ("stands = true", "stands = false", "uses =", "used once"),
    ('notice = "at_once"', 'notice = "never"', "notice =", "unknown notice never"),
    ('notice = "at_once"', "", "[[grounds]]", "notice is missing"),
    ('notice = "at_once"', 'notice = "after_date"', "[[grounds]]", "notice_date is missing"),
    ('notice_date = "fair_opens"', 'notice_date = "mood"', "notice_date", "a date field"),
    ('notice = "after_date"', 'notice = "after_end"', "notice_date", "belongs to notice"),
    ('ends_with = "fair_closes"', 'ends_with = "fair_opens"', "ends_with", "lies ahead"),
    ('ends_with = "fair_closes"', 'ends_with = "mood"', "ends_with", "lies ahead"),
    ('ends_with = "fair_closes"', 'ends_with = "nothing"', "ends_with", "lies ahead"),
    ('when = "future"', 'when = "past"', "ends_with", "lies ahead"),
    ('when = "future"', 'when = "soon"', "when =", "unknown when soon"),
    ("determination = ", "determination = 1 # ", "determination =", "must be a text"),
    (
        "determination = ",
        'determination_binds = ["price"]\ndetermination = ',
        None,
        "unknown price",
    ),
    (
        'longest = "2 hours"',
        'longest = "2 hours"\ndetermination_binds = ["scope"]',
        None,
        "belongs to a determination",
    ),
    ('name = "book"', 'name = "Book"', 'name = "book"', "lower case"),
    ('type = "reference"', 'type = "runes"', "type =", "unknown type runes"),
    ("longest = 20", "longest = 10001", "longest = 20", "from 1 to 10000"),
    ("longest = 20", 'choices = ["a"]', "longest = 20", "choices does not belong"),
    ("longest = 20", 'when = "past"', "longest = 20", "when does not belong"),
    ('when = "future"', "longest = 3", "when =", "longest does not belong"),
    ("longest = 20", "required = false", "[[grounds]]", "at least one required"),
    ('["calm", "cross"]', '["Calm down"]', "calm", "must be lower case"),
    ('choices = ["calm", "cross"]', "", "[[grounds.evidence]]", "at least one text"),
    ('says = "how the guild is"', "colour = 1", "how the guild", "unknown key colour"),
    ('name = "fair_opens"', 'name = "fair_closes"', '"fair_opens"', "stands twice in this"),
    ('category = "letters"', 'category = "readers"', '"remind"', "stands twice in readers"),
]


def test_periods_of_retention() -> None:
    """By class; none in the shipped file, and another period is another version."""
    assert load(SHIPPED).retention == {}
    kept = TEXT + '\n[retention]\nactivity_log = "730 days"\ncommunication = "24 hours"\n'
    assert parse(kept.encode()).retention == {
        "activity_log": timedelta(days=730),
        "communication": timedelta(days=1),
    }
    assert parse(kept.encode()).version != parse(kept.replace("730", "731").encode()).version


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("", "there is no class with a retention"),
        ('shoes = "1 days"', "unknown class shoes"),
        ('"Shoes 1" = "1 days"', "cannot be the name"),
        ('telephone = "23 hours"', "telephone must be kept for a day at least"),
        ('telephone = "36526 days"', "telephone must be at most"),
        ('telephone = "two years"', "telephone must be a duration"),
        ("telephone = 5", "telephone must be a text"),
    ],
)
def test_a_retention_that_is_none(member: str, reason: str) -> None:
    """Told with the others, by its line."""
    refusals = _refusals(f"{TEXT}\n[retention]\n{member}\n")
    assert any(reason in why for _, why in refusals), refusals
    assert any("must be a table" in why for _, why in _refusals(f"retention = 3\n{TEXT}"))


@pytest.mark.parametrize(("before", "after", "line", "reason"), CASES)
def test_a_contradiction_is_refused_by_line(
    before: str, after: str, line: str | None, reason: str
) -> None:
    """Each contradiction is named with the line where it stands, or where its table begins."""
    assert before in TEXT
    refusals = _refusals(TEXT.replace(before, after, 1))
    found = [at for at, why in refusals if reason in why]
    assert found, refusals
    if line is not None:
        lines = {at for at, each in enumerate(TEXT.splitlines(), start=1) if line in each}
        assert set(found) <= lines


def test_the_line_is_the_one_of_the_second_table() -> None:
    """A key that stands in several tables is found in the right one."""
    bad = TEXT.replace('name = "mood"', 'name = "Mood"')
    assert [at for at, _ in _refusals(bad)] == [_line('name = "mood"')]


def test_all_contradictions_are_told_at_once() -> None:
    """One reading names every contradiction, in the order of the lines."""
    bad = TEXT.replace("approvals = 3", "approvals = 0").replace('"1 minute"', '"1 hour"')
    assert [at for at, _ in _refusals(bad)] == [_line("approvals = 3"), _line('"1 minute"')]


def test_one_contradiction_is_told_once() -> None:
    """What is missing is told to be missing, and nothing else besides."""
    assert [why for _, why in _refusals(TEXT.replace('longest = "2 hours"\n', ""))] == [
        "longest is missing"
    ]
    empty = TEXT.replace('desk = "The desk."\nguild = "The guild of printers."', "")
    assert "there is no recipient" in [why for _, why in _refusals(empty)]
    long = "x" * 500
    parse(TEXT.replace("The desk.", long).encode())
    assert [why for _, why in _refusals(TEXT.replace("The desk.", long + "x"))] == [
        "desk must be a text, and not a long one"
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("schema = 1\nname = \n", 2),
        ("schema = 1\nschema = 1\n", 2),
        ("schema = 1\n[clauses]\n[clauses]\n", 3),
        ("schema = [", 1),
    ],
)
def test_broken_toml_is_refused_by_line(text: str, line: int) -> None:
    """What is not TOML, duplicate keys included, is refused with its line."""
    assert [at for at, _ in _refusals(text)] == [line]


def test_other_encodings_are_refused() -> None:
    """A file is UTF-8."""
    with pytest.raises(PolicyInvalid, match="policy:2: this is not UTF-8"):
        parse(b"schema = 1\nname = '\xff'\n")


def test_tables_of_the_wrong_kind_are_refused() -> None:
    """A text where a table belongs, or a table where a list of tables belongs, is named."""
    reasons = " ".join(
        why
        for _, why in _refusals(
            'schema = 1\nclauses = "x"\nrecipients = 1\n[categories]\na = 1\n[grounds]\nb = 2\n'
        )
    )
    for reason in (
        "clauses must be a table",
        "recipients must be a table",
        "a must be a table",
        "at least one [[grounds]]",
    ):
        assert reason in reasons
    inline = TEXT.replace("[[grounds.evidence]]", "evidence = [1]\n[[unheard]]", 1)
    assert any("must be a table" in why for _, why in _refusals(inline))


@given(st.text(max_size=200))
def test_reading_is_total(text: str) -> None:
    """Any text is a policy or refused with one error."""
    with pytest.raises(PolicyInvalid):
        parse(text.encode("utf-8", "surrogatepass"))


@given(st.integers(0, len(TEXT.splitlines()) - 1))
def test_a_file_without_one_of_its_lines_never_crashes(gone: int) -> None:
    """Whatever line is lost, the file is read or refused with one error."""
    lines = TEXT.splitlines(keepends=True)
    with suppress(PolicyInvalid):
        parse("".join(lines[:gone] + lines[gone + 1 :]).encode())


@pytest.mark.parametrize(
    "absurd",
    ["a = " + "[" * 20_000, "a = " + "9" * 6_000, "a={b=" * 5_000],
)
def test_what_the_parser_gives_up_on_is_refused_with_its_line(absurd: str) -> None:
    """Depth and length beyond what Python reads are findings like any other."""
    with pytest.raises(PolicyInvalid) as refused:
        parse(f"{TEXT}\n{absurd}\n".encode(), source="file.toml")
    assert f"file.toml:{len(TEXT.splitlines()) + 2}: " in str(refused.value)
    assert len(str(refused.value)) < 200


def test_lines_are_found_in_dotted_quoted_and_nested_tables() -> None:
    """A path leads to its line; an unknown one to the nearest table around it."""
    lines = Lines(
        '[a]\nb = 1\n"c d" = 2\n[[x]]\n[[x.y]]\n[x.z]\nq = 1\n[[x]]\n[[x.y]]\nq = 1 # [no]\n'
    )
    assert lines.of(()) == 1
    assert lines.of(("a", "b")) == 2
    assert lines.of(("a", "c d")) == 3
    assert lines.of(("x", 0, "z", "q")) == 7
    assert lines.of(("x", 1, "y", 0, "q")) == 10
    assert lines.of(("x", 1, "y", 0, "gone", "deeper")) == 9
    assert lines.of(("gone",)) == 1


def test_every_shipped_policy_loads_and_keeps_the_limits() -> None:
    """The files that come with the service are whole."""
    files = list(SHIPPED.parent.glob("*.toml"))
    assert files
    for path in files:
        for ground in load(path).grounds.values():
            assert ground.token_life <= MAX_TOKEN_LIFE
            assert path.stem.endswith(load(path).dated.isoformat())
