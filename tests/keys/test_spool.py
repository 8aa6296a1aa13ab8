"""Secret-ids lie in the spool wrapped, private, fresh, and are claimed by one process each."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keys import spool
from keys.errors import SecretIdMissing
from keys.secret import Secret
from keys.spool import Claim, Spool

DAY = timedelta(days=1)


class Minter:
    """Makes up wrapping tokens."""

    made = 0

    def wrapped_secret_id(self, role: str, _ttl: timedelta) -> tuple[str, Secret]:
        """The next one."""
        self.made += 1
        return role, Secret(b"wrapping-%d" % self.made)


def put(folder: Path, name: str = "a", *, mode: int = 0o600, **changes: object) -> Path:
    """A spool file as some other tool may have written it."""
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, object] = {
        "role_id": "ingest",
        "wrapped_secret_id": "token",
        "created": datetime.now(UTC).isoformat(),
        **changes,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    path.chmod(mode)
    return path


def ago(**span: float) -> str:
    """A time in the past."""
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.suffix for path in folder.iterdir())


def test_issued_files_are_private_and_claimable(folder: Path) -> None:
    """0600 in 0700, with role-id and token, oldest first."""
    assert spool.issue(Minter(), "ingest", folder, 2) == 2
    for path in (folder / "ingest").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for place in (folder, folder / "ingest"):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    claim = Spool(folder, "ingest").claim()
    assert claim.role_id == "ingest"
    assert claim.wrapping_token.equals(b"wrapping-1")
    assert "wrapping-1" not in repr(claim)


def test_issuing_tops_up(folder: Path) -> None:
    """Only what is missing is made."""
    minter = Minter()
    assert spool.issue(minter, "ingest", folder, 3) == 3
    assert spool.issue(minter, "ingest", folder, 3) == 0
    Spool(folder, "ingest").claim().spend()
    assert spool.issue(minter, "ingest", folder, 3) == 1
    assert spool.issue(minter, "ingest", folder, 1) == 0


def test_issuing_replaces_what_grows_old(folder: Path) -> None:
    """Files past two thirds of their life, unusable ones and dead claims go; fresh claims stay."""
    place = folder / "ingest"
    put(place, "old", created=ago(hours=17))
    put(place, "garbled", created="yesterday")
    dead, alive = place / "dead.claimed-1-x", place / "alive.claimed-2-y"
    evidence = place / "kept.intercepted"
    for path in (dead, alive, evidence):
        path.write_text("{}")
    os.utime(dead, (0, 0))
    assert spool.issue(Minter(), "ingest", folder, 1) == 1
    assert names(place) == [".claimed-1-x", ".claimed-2-y", ".intercepted", ".json"]


def test_dead_claims_are_swept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim that nobody ended within a minute is dropped when the spool is filled."""
    place = folder / "ingest"
    place.mkdir(parents=True)
    (place / "dead.claimed-1-x").write_text("{}")
    monkeypatch.setattr(spool, "_CLAIM_LASTS", -1.0)
    spool.issue(Minter(), "ingest", folder, 0)
    assert names(place) == []


def test_a_missing_folder_is_an_empty_spool(folder: Path) -> None:
    """No folder, no secret-id."""
    with pytest.raises(SecretIdMissing) as caught:
        Spool(folder, "ingest").claim()
    assert caught.value.code == "secret_id_missing"
    assert caught.value.retry_after > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"created": ago(hours=23)},
        {"created": ago(seconds=58), "ttl": 60},
        {"created": "2026-11-23T00:00:00"},
        {"created": None},
        {"wrapped_secret_id": 5},
        {"mode": 0o640},
        {"mode": 0o604},
    ],
)
def test_c7_unusable_files_are_dropped(folder: Path, changes: dict[str, object]) -> None:
    """Expired, garbled and not private: never used, and not left lying about."""
    put(folder / "ingest", **changes)  # type: ignore[arg-type]
    with pytest.raises(SecretIdMissing):
        Spool(folder, "ingest").claim()
    assert names(folder / "ingest") == []


def test_a_usable_file_after_an_unusable_one_is_found(folder: Path) -> None:
    """One bad file does not stop the next."""
    put(folder / "ingest", "1", created=ago(days=3))
    put(folder / "ingest", "2")
    assert Spool(folder, "ingest").claim().wrapping_token.equals(b"token")


def test_roles_do_not_take_each_others(folder: Path) -> None:
    """Each role has its own folder."""
    put(folder / "reveal")
    with pytest.raises(SecretIdMissing):
        Spool(folder, "ingest").claim()


def test_c7_racing_claims_have_one_winner_each(folder: Path) -> None:
    """Eight racers over 100 files: each file is claimed once."""
    spool.issue(Minter(), "ingest", folder, 100)

    def race(_: int) -> list[bytes]:
        won = []
        while True:
            try:
                won.append(Spool(folder, "ingest").claim().wrapping_token.expose())
            except SecretIdMissing:
                return won

    with ThreadPoolExecutor(8) as pool:
        tokens = [token for won in pool.map(race, range(8)) for token in won]
    assert len(tokens) == len(set(tokens)) == 100


def test_a_file_claimed_meanwhile_is_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losing the race for a file is no error."""
    gone = folder / "ingest" / "0.json"
    kept = put(folder / "ingest", "1")
    monkeypatch.setattr(Spool, "_files", lambda _: iter([gone, kept]))
    assert Spool(folder, "ingest").claim().wrapping_token.equals(b"token")


def test_files_that_vanish_while_tidying_are_no_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filling the spool beside processes that log in."""
    (folder / "ingest").mkdir(parents=True)
    monkeypatch.setattr(Path, "iterdir", lambda self: iter([self / "gone.json"]))
    assert spool.issue(Minter(), "ingest", folder, 1) == 1


def end(claim: Claim, verb: str) -> None:
    """End a claim."""
    getattr(claim, verb)()


@pytest.mark.parametrize(
    ("verb", "left"),
    [("spend", []), ("put_back", [".json"]), ("keep_as_evidence", [".intercepted"])],
)
def test_a_claim_ends_by_one_of_three_verbs(folder: Path, verb: str, left: list[str]) -> None:
    """Used up, given back, or set aside."""
    put(folder / "ingest")
    end(Spool(folder, "ingest").claim(), verb)
    assert names(folder / "ingest") == left


def test_files_made_by_root_belong_to_the_folders_owner(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator's root shell can fill a service user's spool; others leave ownership alone."""
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda _, uid, gid: given.append((uid, gid)))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    spool.issue(Minter(), "ingest", folder, 1)
    owner = (folder / "ingest").stat()
    assert given == [(owner.st_uid, owner.st_gid)]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    spool.issue(Minter(), "ingest", folder, 2)
    assert len(given) == 1
