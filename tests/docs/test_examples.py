"""The tour and the guides' examples run as they are printed, against a first run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.docs.first_run import FirstRun
from tests.docs.pages import DOCS, GUIDES, page, tour

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
