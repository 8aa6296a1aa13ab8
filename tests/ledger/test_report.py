"""The auditor's report, from a log on real servers: what it tells, and that it can be repeated."""

from __future__ import annotations

import json
import os
import random
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from uuid_utils import uuid7

from keys.signature import verify_ed25519
from tests.support.command import Cli, Ended
from tests.support.log_stage import LogStage, entry, name, verified
from vault_service.ledger import note as notes
from vault_service.ledger.entries import Entry, Event, Outcome, split
from vault_service.ledger.note import VerifierKey
from vault_service.ledger.report import MAX_POINTS, Collector, ReportRefused, plain

START = datetime(2026, 1, 1, tzinfo=UTC)
PERIOD = (START + timedelta(days=100), START + timedelta(days=200))
POLICY = "a" * 64


def at(day: float) -> datetime:
    """A time, in days since the log of these tests began."""
    return START + timedelta(days=day)


def grant_entry(rng: random.Random, event: Event, day: float, **changes: Any) -> Entry:
    """An entry of a disclosure."""
    return entry(
        rng,
        event=event,
        at=at(day),
        **{
            "tokens": (),
            "count": None,
            "details": {},
            "grant": name("dis_", 28, rng),
            "ground": "protect_from_harm",
            "clause": "D1",
            "policy": POLICY,
            **changes,
        },
    )


def key_entry(rng: random.Random, event: Event, day: float, **changes: Any) -> Entry:
    """An entry of a key."""
    plain_ = {"tokens": (), "count": None, "customer": None, "key": "records-card"}
    return entry(rng, event=event, at=at(day), **{**plain_, **changes})


def story(rng: random.Random) -> list[Entry]:
    """A year in few entries: keys rotated before and in the period, disclosures, refusals."""
    rotation = {"rotation": "rot_" + "1" * 26}
    versions = {"from_version": 1, "to_version": 2}
    return [
        entry(rng, at=at(0)),
        key_entry(
            rng, Event.VAULT_KEY_ROTATED, 20, key="evidence",
            details={"from_version": 1, "to_version": 2},
        ),
        grant_entry(rng, Event.DISCLOSURE_SUBMITTED, 50),
        key_entry(rng, Event.ROTATION_STARTED, 150, details={**rotation, "reason": "asked"}),
        key_entry(rng, Event.VAULT_KEY_ROTATED, 150, details=versions),
        *(
            key_entry(
                rng, Event.VAULT_KEY_REWRAPPED, 150 + n / 1000, count=10,
                details={**rotation, "to_version": 2},
            )
            for n in range(1000)
        ),
        key_entry(
            rng, Event.VAULT_KEY_RETIRED, 152,
            details={**versions, **rotation, "min_decryption": 2},
        ),
        key_entry(
            rng, Event.ROTATION_CERTIFICATE, 152,
            details={
                **versions, **rotation, "total": 10_000, "rewrapped": 10_000, "remaining": 0,
                "by": "worker",
            },
        ),
        # As the worker tells it: what is older than this version was deleted.
        key_entry(rng, Event.VAULT_KEY_TRIMMED, 190, details={"from_version": 1, "version": 2}),
        grant_entry(rng, Event.DISCLOSURE_SUBMITTED, 160),
        grant_entry(rng, Event.DISCLOSURE_ACTIVATED, 161),
        *split(
            grant_entry(rng, Event.REVEAL_ALLOWED, 161.5),
            [name("tok_", 28, rng) for _ in range(300)],
            lambda: str(uuid7()),
        ),
        entry(
            rng, event=Event.REVEAL_REFUSED, at=at(162), outcome=Outcome.REFUSED,
            tokens=(), count=None, customer=None, reason="disclosure_spent", details={},
        ),
        entry(
            rng, event=Event.POLICY_ADOPTED, at=at(10), tokens=(), count=None, customer=None,
            policy=POLICY, details={"name": "shoma"},
        ),
        entry(
            rng, event=Event.ACCESS_REVIEW_OPENED, at=at(170), tokens=(), count=None,
            customer=None, details={"review": "rev_1"},
        ),
        entry(
            rng, event=Event.ALARM_RAISED, at=at(171), tokens=(), count=None, customer=None,
            reason="test", details={"alarm": "test"},
        ),
        grant_entry(rng, Event.DISCLOSURE_SUBMITTED, 250),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def made(log: LogStage, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of the story, with where it came from."""
    log.write(*story(log.rng))
    log.keeper.finish()
    path = log.export(tmp_path_factory.mktemp("report") / "log.tar")
    collector = Collector(*PERIOD, {"records-card": 90, "evidence": 90, "unused": 365})
    found = verified(path, log.keys(), examine=collector.examine)
    return {"report": collector.report(plain(found)), "path": path}


def key_of(report: dict[str, Any], name_: str) -> dict[str, Any]:
    """What a report says of a key."""
    (found,) = [each for each in report["keys"] if each["key"] == name_]
    return dict(found)


def test_a_key_rotated_in_time_is_not_overdue(made: dict[str, Any]) -> None:
    """Its age counts from the newest version, and the old one is refused and trimmed."""
    key = key_of(made["report"], "records-card")
    assert (key["age_days"], key["overdue"]) == (50, False)
    old, new = key["versions"]
    assert (old["version"], old["exact"], old["refused"], old["trimmed"]) == (1, False, True, True)
    assert (new["version"], new["exact"], new["refused"]) == (2, True, False)


def test_the_ages_of_a_key_over_the_period_are_told(made: dict[str, Any]) -> None:
    """A saw: it grows from the period's begin, falls to 0 with a new version, and grows again."""
    card = key_of(made["report"], "records-card")["ages"]
    assert [point["at"][:10] for point in card] == [
        "2026-04-11", "2026-05-31", "2026-05-31", "2026-07-20",
    ]  # fmt: skip
    assert [point["age_days"] for point in card[2:]] == [0, 50]
    assert card[1]["age_days"] - card[0]["age_days"] == 50
    assert [point["age_days"] for point in key_of(made["report"], "evidence")["ages"]] == [80, 180]


def test_a_key_past_its_period_is_overdue(made: dict[str, Any]) -> None:
    """A key rotated before the period still counts from there."""
    key = key_of(made["report"], "evidence")
    assert (key["age_days"], key["overdue"]) == (180, True)
    assert key["due"] == "2026-04-21T00:00:00Z"


def test_a_key_that_no_entry_names_is_as_old_as_the_log(made: dict[str, Any]) -> None:
    """What the log cannot say exactly is marked so."""
    key = key_of(made["report"], "unused")
    assert key["versions"][0]["exact"] is False
    assert key["versions"][0]["since"] == min(
        made["report"]["log"]["first_at"][:19] + "Z", key["versions"][0]["since"]
    )


def test_a_rotation_stands_with_its_certificate_and_progress(made: dict[str, Any]) -> None:
    """All batches count; the line keeps its last point and few others."""
    (rotation,) = made["report"]["rotations"]
    assert rotation["rewrapped"] == 10_000
    assert rotation["certificate"]["remaining"] == 0
    assert len(rotation["progress"]) <= MAX_POINTS
    assert rotation["progress"][-1]["rewrapped"] == 10_000
    counts = [point["rewrapped"] for point in rotation["progress"]]
    assert counts == sorted(counts)


def test_disclosures_of_the_period_are_counted_by_ground(made: dict[str, Any]) -> None:
    """What lies before or after is left out, and a split entry counts its values once."""
    (line,) = made["report"]["disclosures"]
    assert (line["ground"], line["clause"]) == ("protect_from_harm", "D1")
    assert (line["requested"], line["granted"], line["reveals"], line["values"]) == (1, 1, 1, 300)


def test_refusals_reviews_alarms_and_policies_are_told(made: dict[str, Any]) -> None:
    """The lists hold what happened; the policy from before the period is still in force."""
    report = made["report"]
    assert {"event": "reveal.refused", "reason": "disclosure_spent", "count": 1} in report[
        "refused"
    ]
    assert [each["count"] for each in report["refused_by_actor"]] == [1]
    assert [each["review"] for each in report["access_reviews"]] == ["rev_1"]
    assert [each["alarm"] for each in report["alarms"]] == ["test"]
    assert POLICY in [each["policy"] for each in report["policies"]]


def test_an_empty_period_is_refused() -> None:
    """A period must have a length."""
    with pytest.raises(ReportRefused):
        Collector(START, START, {})


def test_a_log_without_entries_says_nothing_of_ages() -> None:
    """There is no first entry to count from."""
    report = Collector(*PERIOD, {"records-card": 90}).report({})
    assert report["keys"][0]["age_days"] is None
    assert report["keys"][0]["overdue"] is False


def test_what_is_no_entry_is_refused() -> None:
    """A leaf of another make has no place in a report."""
    with pytest.raises(ReportRefused, match="entry 3"):
        Collector(*PERIOD, {}).examine(3, b"{}")


# ---------------------------------------------------------------- the command


def command(log: LogStage, path: Path, folder: Path, *more: str, **environment: str) -> Ended:
    """Make a report by the command, off-line; with an environment in a process of its own."""
    key_file, trusted = path.with_name("log.vkey"), log.keys()
    key_file.write_text("".join(f"{key}\n" for key in trusted))
    cli = Cli(path.with_name("no-credentials"))
    given = [
        *("audit", "report", "--from", "2026-04-11", "--to", "2026-07-20"),
        *("--export", str(path), "--key", str(key_file), "--out", str(folder), *more),
    ]
    if environment:
        return cli.ended(cli.start(*given, "--json", environment={**os.environ, **environment}))
    return cli(*given)


def test_the_same_export_gives_the_same_bytes(
    log: LogStage, made: dict[str, Any], tmp_path: Path
) -> None:
    """Wherever it is made: the machine's time zone, language and encoding change nothing."""
    places: dict[str, dict[str, str]] = {
        "one": {},
        "two": {"TZ": "Pacific/Chatham", "LC_ALL": "C", "PYTHONUTF8": "0"},
        "three": {"TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "7"},
    }
    for folder, place in places.items():
        ended = command(log, made["path"], tmp_path / folder, **place)
        assert ended.code == 0, ended.err
    for file in ("report.json", "report.html"):
        (alike,) = {(tmp_path / folder / file).read_bytes() for folder in places}
        assert alike
    told = json.loads((tmp_path / "one" / "report.json").read_text())
    assert told["rotations"] == made["report"]["rotations"]
    assert told["disclosures"] == made["report"]["disclosures"]


def test_the_page_loads_nothing_and_shows_the_certificate(
    log: LogStage, made: dict[str, Any], tmp_path: Path
) -> None:
    """One file: no script, no address, and the drawings in it."""
    assert command(log, made["path"], tmp_path / "out").code == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert re.search(r"<script|https?://|src=|@import|url\(", page) is None
    assert "10000 of 10000, remaining 0" in page
    assert page.count("<svg") == 3
    assert 'class="bad">overdue' in page


def test_a_signed_report_names_both_files(
    log: LogStage, made: dict[str, Any], tmp_path: Path
) -> None:
    """The note is signed by the auditor's key and holds the digests that were printed."""
    private = Ed25519PrivateKey.generate()
    pem = tmp_path / "mine.pem"
    pem.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    ended = command(log, made["path"], tmp_path / "out", "--sign-with", str(pem), "--sign-as", "me")
    assert ended.code == 0, ended.err
    signed = notes.parse((tmp_path / "out" / "report.note").read_bytes())
    key = VerifierKey(name="me", public_key=private.public_key().public_bytes_raw())
    assert signed.verified([key], verify_ed25519) == [key]
    for file in ("report.json", "report.html"):
        assert f"{file} sha256:{ended.body[file]}" in signed.text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--sign-with", "{file}"), "ledger_key_malformed"),
        (("--sign-with", "{file}", "--sign-as", "a b"), "ledger_key_malformed"),
        (("--to", "2020-01-01"), "report_refused"),
    ],
)
def test_what_cannot_be_is_refused_and_writes_nothing(
    log: LogStage, made: dict[str, Any], tmp_path: Path, arguments: tuple[str, ...], code: str
) -> None:
    """A wrong key, a wrong name, an empty period."""
    file = tmp_path / "file"
    file.write_text("text")
    given = [each.format(file=file) for each in arguments]
    ended = command(log, made["path"], tmp_path / "out", *given)
    assert ended.code != 0
    assert ended.error == code
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_left_alone(
    log: LogStage, made: dict[str, Any], tmp_path: Path
) -> None:
    """Nothing is written over."""
    assert command(log, made["path"], tmp_path).error == "file_error"
    assert not (tmp_path / "report.json").exists()
