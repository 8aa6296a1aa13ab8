"""The tour and the guides' examples run as they are printed, against a first run."""

from __future__ import annotations

import json
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.docs.first_run import FirstRun
from tests.docs.pages import DOCS, GUIDES, page, tour
from vault_service.api.codes import CODES

RUN = ("billing", "support", "officer", "auditor")


def _objects(text: str) -> list[dict[str, Any]]:
    """The lines of an output that are JSON objects."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_tour_works_as_pasted(first_run: FirstRun, tmp_path: Path) -> None:
    """The mask is shown, two officers agree, the first reveal holds the number, the second none."""
    done = first_run.shell(f"set -euo pipefail\n{tour()}", tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("tok_")
    masked, found, without, revealed, again = _objects(done.stdout)
    assert masked["id"] == lines[0]
    assert masked["mask"]["number"] == "424242******4242"
    assert [each["id"] for each in found["items"]] == [lines[0]]
    assert without["code"] == "disclosure_token_missing"
    assert [line for line in lines if line in {"submitted", "active"}] == ["submitted", "active"]
    assert revealed["results"][0]["value"]["number"] == "4242424242424242"
    assert revealed["receipt"]["values"] == 1
    assert (again["status"], again["code"]) == (403, "disclosure_spent")
    everything_else = done.stdout.replace(json.dumps(revealed, separators=(",", ":")), "")
    assert "4242424242424242" not in everything_else


@pytest.mark.parametrize("guide", RUN)
def test_guides_examples_work_as_pasted(guide: str, first_run: FirstRun, tmp_path: Path) -> None:
    """Every block of shell of a guide runs, one after the other, without an error."""
    prepared = page(DOCS / "README.md").blocks("sh")
    blocks = page(GUIDES / f"{guide}.md").blocks("sh")
    assert blocks
    done = first_run.shell("set -euo pipefail\n" + "\n".join([*prepared, *blocks]), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    problems = [each["code"] for each in _objects(done.stdout) if "request_id" in each]
    assert not problems, done.stdout


def test_every_code_stands_on_the_services_own_page(first_run: FirstRun) -> None:
    """`/docs` has a place for each code, where the `type` of a problem leads."""
    with urllib.request.urlopen(f"http://127.0.0.1:{first_run.port}/docs", timeout=10) as answer:
        text = answer.read().decode()
    assert not [code for code in CODES if f'id="error-{code}"' not in text]


def test_break_glass_lets_one_key_count(first_run: FirstRun, tmp_path: Path) -> None:
    """The operator's way back works, takes the database's owner, and leaves its traces."""
    prepared = "\n".join(["set -euo pipefail", *page(DOCS / "README.md").blocks("sh")])
    made = first_run.shell(
        prepared
        + """
call operator POST /v1/principals -d '{"name": "officer-3", "roles": ["officer"]}' | tee made
grep -o 'vk_[0-9a-z_]*' made > "$KEYS/officer-3"
call officer-3 GET /v1/principals/me""",
        tmp_path,
    )
    assert made.returncode == 0, made.stderr
    issued, before = _objects(made.stdout)
    assert (issued["state"], before["code"]) == ("pending", "credential_pending")
    (statement,) = [
        text for text in page(GUIDES / "operator.md").blocks("sql") if "api_keys" in text
    ]
    settings = tomllib.loads((first_run.state / "service.toml").read_text(encoding="utf-8"))
    with psycopg.connect(settings["database_owner_url"], autocommit=True) as link:
        changed = link.execute(statement.replace(":'key'", "%s").encode(), [issued["id"]])
        assert changed.rowcount == 1
    after = first_run.shell(prepared + "\ncall officer-3 GET /v1/principals/me", tmp_path)
    (me,) = _objects(after.stdout)
    assert me["keys"][0]["state"] == "active"
    assert me["keys"][0]["confirmed_by"] is None
    assert me["keys"][0]["created_by"] != me["id"]
