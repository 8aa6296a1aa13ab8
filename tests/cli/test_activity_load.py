"""Loading files of activity: cut into batches, sent under keys of their own, resumable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vault_service.cli import activity_load
from vault_service.cli.activity_load import Source, State
from vault_service.cli.exits import Failed
from vault_service.client.activity import RecordedEntries, RefusedEntry
from vault_service.client.errors import Unreachable
from vault_service.client.models import ItemError


class Service:
    """What the service does of it: keeps a batch once for each key, and may be away."""

    def __init__(self) -> None:
        self.kept: dict[str, list[dict[str, Any]]] = {}
        self.fails_after: int | None = None
        self.lose_answer = False

    def load(self, entries: list[dict[str, Any]], *, idempotency_key: str) -> RecordedEntries:
        """Keep the entries; those of the kind `no` are refused."""
        if self.fails_after is not None and len(self.kept) >= self.fails_after:
            if self.lose_answer:
                self.kept[idempotency_key] = list(entries)
            raise Unreachable("away", sent=self.lose_answer)
        self.kept[idempotency_key] = list(entries)
        error = ItemError(status=422, code="activity_kind_unknown", detail="no")
        refused = [
            RefusedEntry(place=place, error=error)
            for place, entry in enumerate(entries)
            if entry["kind"] == "no"
        ]
        return RecordedEntries(recorded=len(entries) - len(refused), segments=[], refused=refused)

    @property
    def customers(self) -> list[str]:
        """Whose entries were kept, in order."""
        return [entry["customer"] for batch in self.kept.values() for entry in batch]


def source(path: Path, **changes: Any) -> Source:
    """A file to load, two lines at a time."""
    plain = {"form": "jsonl", "state": path.with_name("state"), "resume": False, "batch": 2}
    return Source(path=path, **(plain | changes))


def run(service: Service, given: Source) -> tuple[State, list[tuple[int, str]]]:
    """Load it; the state, and what was refused."""
    told: list[tuple[int, str]] = []
    state = activity_load.run(
        service,  # type: ignore[arg-type]  # in place of the call
        given,
        refused=lambda line, code: told.append((line, code)),
    )
    return state, told


def written(tmp_path: Path, *lines: str, name: str = "log.jsonl") -> Path:
    """A file of these lines."""
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path


def line(customer: str, kind: str = "other") -> str:
    """A line of JSON."""
    return json.dumps({"customer": customer, "at": "2026-03-01T00:00:00Z", "kind": kind})


def test_every_line_is_sent_once(tmp_path: Path) -> None:
    """Malformed, refused and overlong lines are told by their numbers; blank ones are none."""
    path = written(
        tmp_path, line("a"), "", line("b", "no"), "{", "[]", "x" * 70_000, line("c"), line("d")
    )
    service = Service()
    state, told = run(service, source(path))
    assert service.customers == ["a", "b", "c", "d"]
    assert told == [
        (3, "activity_kind_unknown"),
        (4, "line_malformed"),
        (5, "line_malformed"),
        (6, "line_malformed"),
    ]
    assert (state.recorded, state.refused, state.line) == (3, 4, 8)
    assert len(service.kept) == 3


def test_csv_has_a_head(tmp_path: Path) -> None:
    """In any order of columns; an empty cell of details is none."""
    path = written(
        tmp_path,
        "kind,customer,details,at",
        'other,a,"from, there",2026-03-01T00:00:00Z',
        "other,b,,2026-03-01T00:00:00Z",
        "other,c",
        'other,d,"open',
        name="log.csv",
    )
    service = Service()
    state, told = run(service, source(path, form="csv"))
    assert [entry for batch in service.kept.values() for entry in batch] == [
        {"kind": "other", "customer": "a", "details": "from, there", "at": "2026-03-01T00:00:00Z"},
        {"kind": "other", "customer": "b", "at": "2026-03-01T00:00:00Z"},
    ]
    assert told == [(4, "line_malformed"), (5, "line_malformed")]
    assert state.recorded == 2


@pytest.mark.parametrize("head", ["customer,at", "customer,at,kind,name", "customer,at,kind,at"])
def test_a_head_that_names_other_columns(tmp_path: Path, head: str) -> None:
    """Nothing is sent."""
    service = Service()
    with pytest.raises(Failed) as failed:
        run(service, source(written(tmp_path, head, "a,b", name="log.csv"), form="csv"))
    assert failed.value.code == "header_malformed"
    assert service.kept == {}


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_it_goes_on_where_it_stopped(tmp_path: Path, form: str, *, lost: bool) -> None:
    """A batch whose answer was lost is sent again under its key; nothing is left out or doubled."""
    rows = {
        "jsonl": [line(each) for each in "abcdef"],
        "csv": ["customer,at,kind", *(f"{each},2026-03-01T00:00:00Z,other" for each in "abcdef")],
    }[form]
    path = written(tmp_path, *rows)
    service = Service()
    service.fails_after, service.lose_answer = 1, lost
    with pytest.raises(Unreachable):
        run(service, source(path, form=form))
    service.fails_after = None
    state, _ = run(service, source(path, form=form, resume=True))
    assert service.customers == list("abcdef")
    assert state.recorded == 6
    again, _ = run(service, source(path, form=form, resume=True))
    assert (again.recorded, service.customers) == (6, list("abcdef"))


def test_another_file_is_not_resumed(tmp_path: Path) -> None:
    """Nor the same one changed, nor cut otherwise, nor one that was never begun."""
    path = written(tmp_path, line("a"), line("b"))
    service = Service()
    with pytest.raises(Failed) as failed:
        run(service, source(path, resume=True))
    assert failed.value.code == "state_missing"
    run(service, source(path))
    with pytest.raises(Failed) as failed:
        run(service, source(path, resume=True, batch=3))
    assert failed.value.code == "state_of_another_load"
    path.write_text(line("c") + "\n")
    with pytest.raises(Failed) as failed:
        run(service, source(path, resume=True))
    assert failed.value.code == "state_of_another_load"


def test_two_do_not_load_at_once(tmp_path: Path) -> None:
    """The second is refused while the first is at it."""
    path = written(tmp_path, line("a"))
    with activity_load._locked(path.with_name("state")), pytest.raises(Failed) as failed:
        run(Service(), source(path))
    assert failed.value.code == "load_under_way"
