"""What a new policy allows and forbids: each difference told by its effect, and none forgotten."""

# ruff: noqa: E501 -- the table reads by its lines

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.domain.test_policy import NOW, OTHER, POLICY, SHIPPED, table_rows
from tests.support.command import Cli
from vault_service.domain.grounds import Policy
from vault_service.domain.policy import Progress, decide
from vault_service.policy import loader
from vault_service.policy.diff import Difference, Effect, diff

TEXT = SHIPPED.read_text(encoding="utf-8")
HARM = "protect_from_harm for personal_and_account"
LEGAL = "legal_process for communication_contents"
LAW = "required_by_law for personal_and_account"


def changed(*edits: tuple[str, str], after: str = "") -> Policy:
    """The shipped policy with its text edited, each edit once, behind a mark."""
    text, start = TEXT, TEXT.index(after)
    for before, instead in edits:
        place = text.index(before, start)
        text = text[:place] + instead + text[place + len(before) :]
    return loader.parse(text.encode())


def told(new: Policy, old: Policy = POLICY) -> list[tuple[str, str, str]]:
    """The differences as plain values."""
    return [(each.effect.value, each.where, each.says) for each in diff(old, new)]


HARM_MARK = 'name = "protect_from_harm"'
LEGAL_MARK = 'name = "legal_process"'
LAW_MARK = 'name = "required_by_law"'
CASES = [
    (HARM_MARK, ("approvals = 2", "approvals = 3"), "forbidden", HARM, "needs 3 approvals instead of 2"),
    (HARM_MARK, ("approvals = 2", "approvals = 1"), "allowed", HARM, "needs 1 approval instead of 2"),
    (HARM_MARK, ('"24 hours"', '"90 minutes"'), "forbidden", HARM, "a grant lasts at most 90 minutes instead of 1 day"),
    (HARM_MARK, ('"24 hours"', '"2 days"'), "allowed", HARM, "a grant lasts at most 2 days instead of 1 day"),
    (HARM_MARK, ('"300 seconds"', '"45 seconds"'), "forbidden", HARM, "a disclosure token lasts at most 45 seconds instead of 5 minutes"),
    (HARM_MARK, ('"counterparty", ', ""), "forbidden", HARM, "may no longer serve counterparty"),
    (HARM_MARK, ('"internal", ', '"internal", "payment_processor", '), "allowed", HARM, "may serve payment_processor"),
    (HARM_MARK, ('clause = "D1"', 'clause = "D2"'), "changed", HARM, "rests on clause D2 instead of D1"),
    (HARM_MARK, ("Somebody who may be", "Whoever may be"), "changed", HARM, "it now reads: Whoever may be doing harm has to be identified, contacted or taken to court."),
    (HARM_MARK, ('"identify", ', ""), "forbidden", HARM, "action may no longer be identify"),
    (HARM_MARK, ('"identify", ', '"identify", "warn", '), "allowed", HARM, "action may be warn"),
    (HARM_MARK, ("longest = 4000", "longest = 50"), "forbidden", HARM, "harm has at most 50 characters instead of 4000"),
    (HARM_MARK, ("longest = 4000", "longest = 5000"), "allowed", HARM, "harm has at most 5000 characters instead of 4000"),
    (HARM_MARK, ('name = "harmed"\ntype = "text"', 'name = "harmed"\nrequired = false\ntype = "text"'), "allowed", HARM, "harmed may be left out"),
    (HARM_MARK, ('type = "reference"', 'type = "text"'), "changed", HARM, "case_reference is a text instead of a reference"),
    (HARM_MARK, ("who is harmed:", "who suffers:"), "changed", HARM, "harmed now reads: who suffers: the company, its customers or others"),
    (HARM_MARK, ('notice = "after_end"', 'notice = "at_once"'), "changed", HARM, "the customer may be told at once instead of after end"),
    (HARM_MARK, ('notice = "after_end"', 'notice = "after_end"\nproof_of_possession = true'), "forbidden", HARM, "the holder must prove to have a key"),
    (HARM_MARK, ("budget = { per_hour = 10000, per_day = 50000 }\n", ""), "allowed", HARM, "one person may reveal any number of values per hour"),
    (HARM_MARK, ("per_hour = 10000, ", ""), "allowed", HARM, "one person may reveal any number of values per hour"),
    (HARM_MARK, ("per_day = 50000", "per_day = 20000"), "forbidden", HARM, "one person may reveal 20000 values per day instead of 50000"),
    (HARM_MARK, ("per_day = 50000", "per_day = 60000"), "allowed", HARM, "one person may reveal 60000 values per day instead of 50000"),
    ('name = "provide_service"', ("uses = 10000", "uses = 10000\nbudget = { per_hour = 1 }"), "forbidden", "provide_service for personal_and_account", "one person may reveal 1 value per hour instead of any number"),
    (LAW_MARK, ('when = "past"\n', ""), "allowed", LAW, "the date received may be: any, instead of past"),
    (LAW_MARK, ('when = "past"', 'when = "future"'), "changed", LAW, "the date received may be: future, instead of past"),
    (LAW_MARK, ('required = false\nsays = "the day until', 'says = "the day until'), "forbidden", LAW, "secret_until must be shown"),
    (LAW_MARK, ('notice = "after_date"\nnotice_date = "secret_until"', 'notice = "after_date"\nnotice_date = "received"'), "changed", LAW, "the customer may be told after received instead of after secret_until"),
    (LEGAL_MARK, ('["scope", "dates"]', '["dates"]'), "allowed", LEGAL, "a grant is no longer held to the instrument's scope"),
    (LEGAL_MARK, ('determination = "the instrument is valid and enforceable"\ndetermination_binds = ["scope", "dates"]\n', ""), "allowed", LEGAL, "nobody need determine any more that the instrument is valid and enforceable"),
    (LEGAL_MARK, ("is valid and enforceable", "is genuine"), "changed", LEGAL, "an officer must determine that the instrument is genuine, instead of that the instrument is valid and enforceable"),
    (LEGAL_MARK, ('ends_with = "valid_until"\n', ""), "allowed", LEGAL, "a grant may outlast valid_until"),
    (LEGAL_MARK, ("uses = 100", "uses = 7"), "forbidden", LEGAL, "a grant counts for 7 uses instead of 100"),
    (LEGAL_MARK, ('"30 days"\ntoken_life = "300 seconds"\nstands = true\nuses = 100\n', '"5 days"\ntoken_life = "300 seconds"\n'), "forbidden", LEGAL, "a grant may no longer stand"),
    ("[clauses]", ("serve the customer who gave them", "serve him"), "changed", "clause", "P1 now reads: Data are received, stored and passed on in order to serve him."),
    ("[recipients]", ("Anybody else", "Whoever is"), "changed", "recipient", "third_party now reads: Whoever is outside the company."),
    ("[recipients]", ("[categories.pers", 'press = "Journalists."\n\n[categories.pers'), "changed", "recipient", "press is new: Journalists."),
    ("[categories", ('    "telephone",\n', ""), "forbidden", "personal_and_account", "telephone is no longer of this category"),
    ("[categories", ("What customers told", "All that customers told"), "changed", "personal_and_account", "it now reads: All that customers told the company about themselves, and what arose while serving them."),
]  # fmt: skip


@pytest.mark.parametrize(("mark", "edit", "effect", "where", "says"), CASES)
def test_a_difference_is_told_by_its_effect(
    mark: str, edit: tuple[str, str], effect: str, where: str, says: str
) -> None:
    """One edit of the file, told where it stands and by what it does."""
    assert (effect, where, says) in told(changed(edit, after=mark))


@pytest.mark.parametrize(("mark", "edit"), [case[:2] for case in CASES])
def test_the_way_back_is_told_as_well(mark: str, edit: tuple[str, str]) -> None:
    """What one direction allows the other forbids, as often."""
    new = changed(edit, after=mark)
    there, back = diff(POLICY, new), diff(new, POLICY)
    turned = {Effect.ALLOWED: Effect.FORBIDDEN, Effect.FORBIDDEN: Effect.ALLOWED}
    assert sorted(turned.get(each.effect, each.effect) for each in there) == sorted(
        each.effect for each in back
    )


def test_periods_of_retention_are_told() -> None:
    """Set, changed and taken away."""
    month = loader.parse(f'{TEXT}\n[retention]\ntelephone = "30 days"\n'.encode())
    year = loader.parse(f'{TEXT}\n[retention]\ntelephone = "365 days"\n'.encode())
    until = "until somebody erases it"
    assert told(month) == [
        ("changed", "retention", f"telephone is kept 30 days instead of {until}")
    ]
    assert told(year, month) == [
        ("changed", "retention", "telephone is kept 365 days instead of 30 days")
    ]
    assert told(POLICY, year) == [
        ("changed", "retention", f"telephone is kept {until} instead of 365 days")
    ]


def test_a_proof_that_is_demanded_no_more_is_told() -> None:
    """The way back in its own words."""
    old = changed(("notice =", "proof_of_possession = true\nnotice ="), after=HARM_MARK)
    assert told(POLICY, old) == [
        ("allowed", HARM, "the holder need not prove to have a key any more")
    ]


def test_evidence_that_comes_and_goes() -> None:
    """More required evidence forbids; optional evidence that is taken no longer forbids too."""
    piece = '\n[[grounds.evidence]]\nname = "extra"\ntype = "text"\nsays = "more"\n'
    anchor = '[[grounds]]\nname = "required_by_law"'
    needed = changed((anchor, piece + "\n" + anchor))
    optional = changed((anchor, piece + "required = false\n\n" + anchor))
    assert told(needed) == [("forbidden", HARM, "extra must be shown: more")]
    assert told(optional) == [("allowed", HARM, "extra may be shown: more")]
    assert told(POLICY, needed) == [("allowed", HARM, "extra is no longer asked for as evidence")]
    assert told(POLICY, optional) == [("forbidden", HARM, "extra is no longer taken as evidence")]


def test_another_end_is_neither_more_nor_less() -> None:
    """Which of two dates comes first is not for the policy to know."""
    piece = '\n[[grounds.evidence]]\nname = "last"\ntype = "date"\nwhen = "future"\nsays = "x"\n'
    anchor = '[[grounds]]\nname = "inadvertent_crime_evidence"'
    new = changed((anchor, piece + "\n" + anchor))
    other = loader.parse(
        TEXT.replace(anchor, piece + "\n" + anchor)
        .replace('ends_with = "valid_until"', 'ends_with = "last"')
        .encode()
    )
    assert ("changed", LEGAL, "a grant ends with last instead of valid_until") in told(other, new)


def test_the_same_policy_has_no_difference() -> None:
    """Nothing is told where nothing changed."""
    assert diff(POLICY, POLICY) == []


def test_another_policy_altogether_loses_and_gains_every_ground() -> None:
    """Each ground of both is told once."""
    found = [
        each for each in diff(POLICY, OTHER) if each.says.startswith(("a new ground", "the ground"))
    ]
    assert len([each for each in found if each.effect is Effect.FORBIDDEN]) == len(POLICY.grounds)
    assert len([each for each in found if each.effect is Effect.ALLOWED]) == len(OTHER.grounds)


ROWS = [row for row in table_rows() if row[1] is not False][::7]


def decided(policy: Policy) -> list[bool]:
    """What a policy says of the rows of the table."""
    return [
        decide(
            policy, request, now=NOW, progress=Progress(approvals=2, determined=determined)
        ).allowed
        for request, determined, _ in ROWS
    ]


@pytest.mark.parametrize(("mark", "edit"), [case[:2] for case in CASES])
def test_no_decision_changes_untold(mark: str, edit: tuple[str, str]) -> None:
    """Where a request is decided otherwise, its direction is among the differences."""
    new = changed(edit, after=mark)
    effects = {each.effect for each in diff(POLICY, new)}
    for before, after in zip(decided(POLICY), decided(new), strict=True):
        if after and not before:
            assert effects & {Effect.ALLOWED, Effect.CHANGED}
        if before and not after:
            assert effects & {Effect.FORBIDDEN, Effect.CHANGED}


def test_the_command_tells_it_in_words_and_as_data(tmp_path: Path) -> None:
    """`policy diff OLD NEW`, for people and for programs."""
    new = tmp_path / "new.toml"
    new.write_text(TEXT.replace("approvals = 2", "approvals = 3", 1))
    cli = Cli(tmp_path / "none")
    ended = cli("policy", "diff", str(SHIPPED), str(new))
    assert ended.code == 0
    assert ended.body["differences"] == [
        {"effect": "forbidden", "where": HARM, "says": "needs 3 approvals instead of 2"}
    ]
    assert ended.body["old"] == POLICY.version
    words = re.sub(r"\s+", " ", cli.text("policy", "diff", str(SHIPPED), str(new)).out)
    assert "forbidden" in words
    assert "needs 3 approvals instead of 2" in words
    assert "decide alike" in cli.text("policy", "diff", str(SHIPPED), str(SHIPPED)).err


def test_a_time_is_told_in_its_largest_unit() -> None:
    """Days only where they are whole."""
    new = changed(('"24 hours"', '"25 hours"'), after=HARM_MARK)
    assert diff(POLICY, new) == [
        Difference(
            effect=Effect.ALLOWED,
            where=HARM,
            says="a grant lasts at most 25 hours instead of 1 day",
        )
    ]
