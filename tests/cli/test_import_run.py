"""Imports over HTTP: exact counts, no record twice, and a whole output after any interruption."""

from __future__ import annotations

import csv
import json
import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.small_service import Says, Seen, SmallService, problem
from vault_service.cli.exits import ExitCode
from vault_service.cli.main import run

CARD = "4242424242424242"
Run = Callable[..., int]


@pytest.fixture
def start(small: SmallService, key_file: Path) -> Run:
    """Runs `vault-service import` against the small server."""

    def import_(file: Path, *more: str, patience: str = "0") -> int:
        head = ["--url", small.base_url, "--key-file", str(key_file)]
        return run([*head, "import", str(file), "--patience", patience, *more])

    return import_


def export(folder: Path, lines: Sequence[str], name: str = "billing.csv") -> Path:
    """An export with a header and these lines."""
    file = folder / name
    file.write_text("external_ref,class,value,reference\n" + "\n".join(lines), encoding="utf-8")
    return file


def shops(count: int) -> list[str]:
    """That many good lines of different customers."""
    return [f"crm-{number},business_name,Shop {number},r-{number}" for number in range(count)]


def rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def state(folder: Path) -> dict[str, Any]:
    """The state file's content."""
    content: dict[str, Any] = json.loads((folder / "billing.import-state.json").read_bytes())
    return content


def test_every_record_comes_out_once(
    start: Run, small: SmallService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many rows as went in, in order, with tokens in place of values; exit 0."""
    file = export(tmp_path, shops(25))
    assert start(file, "--batch", "10", "--json") == ExitCode.OK
    told = json.loads(capsys.readouterr().out)
    assert (told["records"], told["accepted"], told["rejected"]) == (25, 25, 0)
    found = rows(tmp_path / "billing.tokens.csv")
    assert [row["reference"] for row in found] == [f"r-{number}" for number in range(25)]
    assert all(row["value"] == row["token"] for row in found)
    assert len({row["token"] for row in found}) == 25
    assert len(small.paths("/v1/tokens/batch")) == 3
    assert rows(tmp_path / "billing.rejects.csv") == []


def test_refused_records_are_listed_by_line_and_column(start: Run, tmp_path: Path) -> None:
    """Good records pass, bad ones are told without their content; exit 7."""
    lines = [
        "crm-1,business_name,Shop,r-1",
        f"crm-2,payment_card,{CARD},r-2",
        f"{'x' * 201},business_name,Shop,r-3",
        'crm-4,business_name,"Two\nlines",r-4',
        "crm-5,telephone,12345,r-5",
        "crm-6,business_name,Shop 6,r-6",
        "crm-7,business_name,Shop\x00,r-7",
    ]
    file = export(tmp_path, lines)
    assert start(file) == ExitCode.SOME_FAILED
    assert [
        (row["line"], row["column"], row["code"]) for row in rows(tmp_path / "billing.rejects.csv")
    ] == [
        ("3", "value", "column_not_of_class"),
        ("4", "external_ref", "text_too_long"),
        ("5", "value", "control_character"),
        ("7", "value", "telephone_region_missing"),
        ("9", "", "nul_byte"),
    ]
    assert CARD not in (tmp_path / "billing.rejects.csv").read_text()
    assert "12345" not in (tmp_path / "billing.rejects.csv").read_text()
    assert [row["reference"] for row in rows(tmp_path / "billing.tokens.csv")] == ["r-1", "r-6"]
    counts = state(tmp_path)["counts"]
    assert counts == {"records": 7, "accepted": 2, "deduplicated": 0, "rejected": 5}


def test_what_is_written_is_for_its_owner_only(start: Run, tmp_path: Path) -> None:
    """Output, rejects and state are 0600."""
    start(export(tmp_path, shops(1)))
    for name in ("tokens.csv", "rejects.csv", "import-state.json"):
        assert stat.S_IMODE((tmp_path / f"billing.{name}").stat().st_mode) == 0o600


def test_repeating_stores_nothing_twice(
    start: Run, small: SmallService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second import of the same file gives the same output and no further records."""
    file = export(tmp_path, shops(12))
    start(file)
    first = (tmp_path / "billing.tokens.csv").read_bytes()
    capsys.readouterr()
    assert start(file, "--json") == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["deduplicated"] == 12
    assert (tmp_path / "billing.tokens.csv").read_bytes() == first
    assert len(small.tokens) == 12


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_resume_goes_on_after_the_last_whole_batch(
    start: Run, small: SmallService, tmp_path: Path, lost: int
) -> None:
    """What an interrupted run had written beyond its last batch is cut off and written again.

    A batch that was stored while one before it failed is not written: it is sent again under the
    same key, and nothing is stored twice.
    """
    file = export(tmp_path, shops(30))

    def one_is_lost(seen: Seen) -> Says | None:
        if seen.path != "/v1/tokens/batch":
            return None
        values = [item["value"] for item in seen.body["items"]]
        away = problem(503, "away", headers={"Retry-After": "60"})
        return away if f"Shop {lost * 10}" in values else None

    small.always = one_is_lost
    assert start(file, "--batch", "10") == ExitCode.UNAVAILABLE
    assert state(tmp_path)["counts"]["records"] == lost * 10
    with (tmp_path / "billing.tokens.csv").open("ab") as stream:
        stream.write(b"half a line that a killed process left")
    small.always = None
    small.seen.clear()
    assert start(file, "--batch", "10", "--resume") == ExitCode.OK
    assert len(small.paths("/v1/tokens/batch")) == 3 - lost
    found = rows(tmp_path / "billing.tokens.csv")
    assert [row["reference"] for row in found] == [f"r-{number}" for number in range(30)]
    assert len(small.tokens) == 30
    assert state(tmp_path)["counts"]["deduplicated"] == 0
    small.seen.clear()
    assert start(file, "--batch", "10", "--resume") == ExitCode.OK
    assert small.seen == []


def test_the_order_of_the_file_is_kept_whichever_batch_is_answered_first(
    start: Run, small: SmallService, tmp_path: Path
) -> None:
    """A slow first batch holds up the writing of the others."""
    file = export(tmp_path, [f"crm-1,business_name,Shop {n},r-{n}" for n in range(50)])

    def slow_first(seen: Seen) -> Says | None:
        if seen.path == "/v1/tokens/batch" and seen.body["items"][0]["value"] == "Shop 0":
            time.sleep(0.3)
        return None

    small.always = slow_first
    assert start(file, "--batch", "10") == ExitCode.OK
    found = rows(tmp_path / "billing.tokens.csv")
    assert [row["reference"] for row in found] == [f"r-{number}" for number in range(50)]
    assert len({row["customer"] for row in found}) == 1
    assert 1 <= len(small.paths("/v1/customers/batch")) <= 3


def test_an_interrupted_import_says_how_to_go_on(
    start: Run, small: SmallService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it stopped, and that --resume goes on."""
    small.always = lambda seen: problem(403, "forbidden") if "batch" in seen.path else None
    assert start(export(tmp_path, shops(3))) == ExitCode.REFUSED
    told = capsys.readouterr().err
    assert "before line 2; --resume" in told
    assert "--as NAME" in told


def test_a_batch_whose_answer_was_lost_is_answered_again(
    start: Run, small: SmallService, tmp_path: Path
) -> None:
    """The same place of the same import has the same Idempotency-Key: the service knows it."""
    file = export(tmp_path, shops(5))

    def answer_is_lost(seen: Seen) -> Says | None:
        if seen.path != "/v1/tokens/batch":
            return None
        small._serve(seen)
        return problem(503, "away", headers={"Retry-After": "60"})

    small.always = answer_is_lost
    assert start(file) == ExitCode.UNAVAILABLE
    small.always = None
    assert start(file, "--resume") == ExitCode.OK
    keys = {seen.headers["Idempotency-Key"] for seen in small.paths("/v1/tokens/batch")}
    assert len(keys) == 1
    assert state(tmp_path)["counts"]["deduplicated"] == 0


def test_another_import_has_other_keys(start: Run, small: SmallService, tmp_path: Path) -> None:
    """An Idempotency-Key comes from the import's random name: it says nothing of the content."""
    file = export(tmp_path, shops(1))
    start(file)
    start(file)
    first, second = (seen.headers["Idempotency-Key"] for seen in small.paths("/v1/tokens/batch"))
    assert first != second


def test_resume_refuses_another_file(start: Run, small: SmallService, tmp_path: Path) -> None:
    """A file that changed, or an output that shrank, is not continued."""
    file = export(tmp_path, shops(5))
    small.always = lambda seen: problem(401, "x") if "batch" in seen.path else None
    assert start(file) == ExitCode.REFUSED
    small.always = None
    export(tmp_path, shops(6))
    assert start(file, "--resume") == ExitCode.CONFLICT
    assert start(file) == ExitCode.OK
    assert start(file, "--resume", "--masks") == ExitCode.CONFLICT
    os.truncate(tmp_path / "billing.tokens.csv", 10)
    assert start(file, "--resume") == ExitCode.CONFLICT


def test_resume_without_a_beginning_begins(start: Run, tmp_path: Path) -> None:
    """Scripts may always say --resume."""
    assert start(export(tmp_path, shops(3)), "--resume") == ExitCode.OK
    (tmp_path / "billing.import-state.json").write_text("{}")
    assert start(export(tmp_path, shops(3)), "--resume") == ExitCode.USAGE


def test_a_spoiled_batch_is_halved_until_one_record_is_refused(
    start: Run, small: SmallService, tmp_path: Path
) -> None:
    """A body that is refused as a whole costs the one record that spoils it."""
    file = export(tmp_path, shops(16))

    def refuse_whole(seen: Seen) -> Says | None:
        if seen.path == "/v1/tokens/batch" and any(
            item["value"] == "Shop 11" for item in seen.body["items"]
        ):
            return problem(400, "nesting_too_deep")
        return None

    small.always = refuse_whole
    assert start(file) == ExitCode.SOME_FAILED
    assert len(small.tokens) == 15
    (refused,) = rows(tmp_path / "billing.rejects.csv")
    assert (refused["line"], refused["code"]) == ("13", "nesting_too_deep")


def test_records_that_the_service_could_not_store_are_sent_again(
    start: Run, small: SmallService, tmp_path: Path
) -> None:
    """An item with 503 is not the record's fault: it is sent again and never listed as refused."""
    file = export(tmp_path, shops(4))

    def second_fails(seen: Seen) -> Says | None:
        if seen.path != "/v1/tokens/batch":
            return None
        small.always = None
        said = small._serve(seen)
        error = {"status": 503, "code": "unavailable", "detail": "later"}
        return Says(200, {"results": [*said.body["results"][:1], *[{"error": error}] * 3]})

    small.always = second_fails
    assert start(file, patience="30") == ExitCode.OK
    assert len(rows(tmp_path / "billing.tokens.csv")) == 4
    assert [len(seen.body["items"]) for seen in small.paths("/v1/tokens/batch")] == [4, 3]


def test_a_service_that_comes_back_is_waited_for(
    start: Run, small: SmallService, tmp_path: Path
) -> None:
    """Within the patience a restart of the service is only a pause."""
    file = export(tmp_path, shops(3))
    small.scripts = [lambda _: Says(0)] * 9
    assert start(file, patience="30") == ExitCode.OK
    assert len(small.tokens) == 3


def test_jsonl_goes_the_same_way(start: Run, tmp_path: Path) -> None:
    """One object on each line in, the same with tokens out."""
    file = tmp_path / "billing.jsonl"
    lines = [
        {"external_ref": f"crm-{number}", "class": "business_name", "value": f"Shop {number}"}
        for number in range(3)
    ]
    text = "\n".join(json.dumps(line) for line in [*lines, {"class": "business_name"}])
    file.write_text(text, encoding="utf-8")
    assert start(file, "--masks") == ExitCode.SOME_FAILED
    text = (tmp_path / "billing.tokens.jsonl").read_text(encoding="utf-8")
    out = [json.loads(line) for line in text.splitlines()]
    assert [each["external_ref"] for each in out] == ["crm-0", "crm-1", "crm-2"]
    assert all(each["value"] == each["token"] for each in out)
    assert all(set(each["mask"]) == {"name"} for each in out)
    assert [row["line"] for row in rows(tmp_path / "billing.rejects.csv")] == ["4"]


@pytest.mark.parametrize("option", ["--output", "--rejects", "--state"])
def test_the_export_itself_is_never_overwritten(start: Run, tmp_path: Path, option: str) -> None:
    """Naming the input as an output is a mistake, whatever it is called."""
    file = export(tmp_path, shops(1))
    (tmp_path / "link.csv").symlink_to(file)
    for name in (file, tmp_path / "link.csv"):
        assert start(file, option, str(name)) == ExitCode.USAGE
    assert file.read_text(encoding="utf-8").count("Shop") == 1


def test_wrong_files_are_told(
    start: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty file, UTF-16, a header in another encoding, no header, an unknown format."""
    for content, code in (
        (b"", "file_empty"),
        ("external_ref".encode("utf-16"), "encoding_invalid"),
        (b"external_ref,class,value,\xff\n", "header_malformed"),
        (b"x" * 200_000, "header_malformed"),
        (f"crm-1,payment_card,{CARD}\n".encode(), "columns_missing"),
    ):
        file = tmp_path / "billing.csv"
        file.write_bytes(content)
        assert start(file, "--json") == ExitCode.USAGE
        told = capsys.readouterr().err
        assert json.loads(told)["error"]["code"] == code
        assert CARD not in told
    assert start(tmp_path / "key") == ExitCode.USAGE


def test_the_state_holds_nothing_of_the_records(start: Run, tmp_path: Path) -> None:
    """Places and counts, and no text of the export."""
    start(export(tmp_path, shops(3)))
    text = (tmp_path / "billing.import-state.json").read_text()
    assert "Shop" not in text
    assert "crm-" not in text
