"""Imports into the running service: exact, repeatable, and whole after any kill."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Cli, Ended, credentials_file
from tests.support.running import Running
from vault_service.cli.exits import ExitCode
from vault_service.cli.sample_data import COLUMNS, SampleCustomer, generate, write

CUSTOMERS = 120


@pytest.fixture(scope="module")
def own(start_service: Callable[..., Running]) -> Running:
    """A service of this module's own, because it is killed."""
    return start_service(workers=1)


@pytest.fixture(scope="module")
def cli(own: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command line with everybody's keys."""
    folder = tmp_path_factory.mktemp("import")
    made = Cli(credentials_file(folder, own.base_url, own.keys))
    yield made
    made.close()


def exported(folder: Path, tag: str, customers: int = CUSTOMERS) -> Path:
    """A sample whose customers belong to one test only."""

    def renamed() -> list[SampleCustomer]:
        return [
            SampleCustomer(external_ref=f"{tag}-{each.external_ref}", records=each.records)
            for each in generate(customers)
        ]

    return write(renamed(), folder).csv_path


def rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def counts(file: Path) -> dict[str, Any]:
    """What the state of an import says, or nothing yet."""
    try:
        content: dict[str, Any] = json.loads(
            file.with_name(f"{file.stem}.import-state.json").read_bytes()
        )
    except FileNotFoundError:
        return {"counts": {"records": 0}, "done": False}
    return content


def check_whole(service: Running, file: Path) -> None:
    """Each record of the export has one line in the output, and one record in the vault."""
    given = rows(file)
    found = rows(file.with_name(f"{file.stem}.tokens.csv"))
    assert [row["reference"] for row in found] == [row["reference"] for row in given]
    assert all(row["token"] for row in found)
    values = {
        row[name] for row in given for name in ("number", "value", "line1") if len(row[name]) > 6
    }
    assert not values & {cell for row in found for cell in row.values()}
    by_customer: dict[str, set[str]] = {}
    for row in found:
        by_customer.setdefault(row["customer"], set()).add(row["token"])
    stored = Counter(
        row[0]
        for row in service.sql(
            "SELECT customer FROM records WHERE customer = ANY(%s) AND envelope IS NOT NULL",
            (list(by_customer),),
        )
    )
    assert stored == {customer: len(tokens) for customer, tokens in by_customer.items()}
    assert len(by_customer) == len({row["external_ref"] for row in given})


def test_the_sample_goes_in_and_out(cli: Cli, own: Running, tmp_path: Path) -> None:
    """Every class of the sample is taken; a repetition finds everything known already."""
    file = exported(tmp_path, "plain")
    total = len(rows(file))
    first = cli("import", str(file), "--masks")
    assert first.code == 0, first.err
    assert (first.body["records"], first.body["accepted"]) == (total, total)
    check_whole(own, file)
    tokens = [row["token"] for row in rows(tmp_path / "billing-export.tokens.csv")]
    again = cli("import", str(file), "--masks")
    assert again.body["deduplicated"] == total
    assert [row["token"] for row in rows(tmp_path / "billing-export.tokens.csv")] == tokens
    check_whole(own, file)


def test_csv_and_jsonl_are_the_same_records(cli: Cli, tmp_path: Path) -> None:
    """Both forms of the sample lead to the same tokens."""
    exported(tmp_path, "forms", 30)
    assert cli("import", str(tmp_path / "billing-export.csv")).code == 0
    told = cli("import", str(tmp_path / "customers.jsonl"))
    assert told.body["deduplicated"] == told.body["records"]
    lines = (tmp_path / "customers.tokens.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["token"] for line in lines] == [
        row["token"] for row in rows(tmp_path / "billing-export.tokens.csv")
    ]


def test_what_the_service_refuses_is_listed(cli: Cli, tmp_path: Path) -> None:
    """Wrong numbers, expired cards, card numbers as references: by line and column, exit 7."""
    file = tmp_path / "bad.csv"
    good = {"external_ref": "bad-1", "class": "payment_card", "exp_month": "12"}
    number = "4242424242424242"
    lines = [
        {**good, "number": number, "exp_year": "2035"},
        {**good, "number": "4242424242424241", "exp_year": "2035"},
        {**good, "number": number, "exp_year": "2020"},
        {**good, "number": number, "exp_year": "35"},
        {**good, "number": number, "exp_year": "2035", "reference": "4111 1111 1111 1111"},
        {**good, "number": number, "exp_year": "2035", "external_ref": "4111111111111111"},
        {"external_ref": "bad-2", "class": "telephone", "number": "030 901820", "country": "X1"},
        {"external_ref": "bad-2", "class": "postal_address", "line1": "Street 1", "city": "B"},
        {"external_ref": "x" * 300, "class": "business_name", "value": "Shop"},
    ]
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(lines)
    told = cli("import", str(file))
    assert told.code == ExitCode.SOME_FAILED
    assert told.body["accepted"] == 1
    refused = rows(tmp_path / "bad.rejects.csv")
    assert [(row["line"], row["column"], row["code"]) for row in refused] == [
        ("3", "number", "card_number_invalid"),
        ("4", "exp_year", "card_expired"),
        ("5", "exp_year", "card_expiry_invalid"),
        ("6", "reference", "card_number_not_allowed_here"),
        ("7", "external_ref", "card_number_not_allowed_here"),
        ("8", "country", "telephone_region_unknown"),
        ("9", "country", "field_missing"),
        ("10", "external_ref", "text_too_long"),
    ]
    text = (tmp_path / "bad.rejects.csv").read_text(encoding="utf-8")
    assert number not in text
    assert "4111" not in text


def test_kill_nine_in_the_middle_and_resume(cli: Cli, own: Running, tmp_path: Path) -> None:
    """Killed again and again at random moments: no record twice, none missing, output whole."""
    file = exported(tmp_path, "killed")
    total = len(rows(file))
    chance = random.Random(7)  # noqa: S311 -- moments of kills, repeatable
    kills = 0
    for _ in range(60):
        process = cli.start("import", str(file), "--batch", "15", "--resume", "--json")
        before = counts(file)["counts"]["records"]
        deadline = time.monotonic() + 60
        while (
            process.poll() is None
            and counts(file)["counts"]["records"] < before + 30
            and time.monotonic() < deadline
        ):
            time.sleep(0.005)
        time.sleep(chance.random() * 0.1)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        ended: Ended = cli.ended(process)
        if ended.code == 0:
            break
        assert ended.code == -signal.SIGKILL, ended.err
    assert kills >= 3
    last = cli("import", str(file), "--batch", "15", "--resume")
    assert last.code == 0, last.err
    assert (last.body["records"], last.body["accepted"]) == (total, total)
    check_whole(own, file)


def test_kill_nine_and_begin_anew(cli: Cli, own: Running, tmp_path: Path) -> None:
    """Whoever just repeats the command after a kill gets the same result."""
    file = exported(tmp_path, "anew", 60)
    process = cli.start("import", str(file), "--batch", "15")
    deadline = time.monotonic() + 60
    while counts(file)["counts"]["records"] < 45 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    cli.ended(process)
    told = cli("import", str(file))
    assert told.code == 0, told.err
    assert told.body["deduplicated"] >= 45
    check_whole(own, file)


def test_a_service_that_dies_and_comes_back_is_waited_for(
    cli: Cli, own: Running, tmp_path: Path
) -> None:
    """The import goes on by itself when the service was killed under it."""
    file = exported(tmp_path, "away")
    process = cli.start("import", str(file), "--batch", "15", "--patience", "120", "--json")
    deadline = time.monotonic() + 60
    while counts(file)["counts"]["records"] < 45 and time.monotonic() < deadline:
        time.sleep(0.005)
    own.kill()
    time.sleep(0.5)
    assert process.poll() is None
    own.start()
    ended = cli.ended(process)
    assert ended.code == 0, ended.err
    check_whole(own, file)


def test_two_imports_do_not_share_a_state(cli: Cli, tmp_path: Path) -> None:
    """While one import is under way, another with the same state is refused."""
    file = exported(tmp_path, "twice")
    process = cli.start("import", str(file), "--batch", "15", "--json")
    deadline = time.monotonic() + 60
    while counts(file)["counts"]["records"] < 15 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGSTOP)
    second = cli("import", str(file))
    os.kill(process.pid, signal.SIGCONT)
    assert second.code == ExitCode.CONFLICT
    assert second.error == "import_under_way"
    assert cli.ended(process).code == 0
