"""Verifiers that are not ours accept the log, and refuse what ours refuses (E1)."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.log_stage import LogStage

HERE = Path(__file__).parent
LINES_AT_MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An export, the key to verify it with, and a checkpoint kept from before."""

    file: Path
    key: str
    kept: Path


@pytest.fixture(scope="module")
def exported(log: LogStage, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A log of three levels' beginnings: full tiles, partial tiles, and an older head."""
    folder = tmp_path_factory.mktemp("export")
    log.fill(700)
    kept = folder / "kept"
    kept.write_bytes(log.checkpoint())
    log.fill(500)
    (key,) = log.keys()
    return Exported(file=log.export(folder / "log.tar"), key=str(key), kept=kept)


@pytest.fixture(scope="module")
def go_checker(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """The program over Go's own packages, whose source comes with the toolchain."""
    go = Path(sys.executable).parent / "go"
    folder = tmp_path_factory.mktemp("go")
    # Go's standard library takes half a minute to build; the next run finds it built.
    cache = pytestconfig.cache.mkdir("go-build") if pytestconfig.cache else folder / "cache"
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "GOCACHE": str(cache),
        "GOPROXY": "off",
        "GOFLAGS": "-mod=mod",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }

    def run(*arguments: str) -> str:
        return subprocess.run(
            [str(go), *arguments],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    packages = Path(run("env", "GOROOT")) / "src/cmd/vendor/golang.org/x/mod/sumdb"
    for package in ("note", "tlog"):
        shutil.copytree(packages / package, folder / package)
    shutil.copy(HERE / "gochecker" / "main.go", folder)
    (folder / "go.mod").write_text("module gochecker\n\ngo 1.24\n")
    run("build", "-o", "gochecker", ".")
    return folder / "gochecker"


def _go(checker: Path, exported: Exported, folder: Path) -> subprocess.CompletedProcess[str]:
    with tarfile.open(exported.file) as tar:
        tar.extractall(folder, filter="data")
    return subprocess.run(
        [str(checker), str(folder), exported.key, str(exported.kept)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_e1_go_accepts_root_inclusion_and_consistency(
    go_checker: Path, exported: Exported, tmp_path: Path
) -> None:
    """Go's note and tlog verify signature, root, inclusion and consistency of an export."""
    ended = _go(go_checker, exported, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith(" 1 kept\n")


def _second(exported: Exported) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-I",
            str(HERE / "second_checker.py"),
            str(exported.file),
            exported.key,
            str(exported.kept),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_e1_a_second_checker_accepts_the_export(exported: Exported) -> None:
    """A verifier of at most 200 lines, on the standard library alone, finds the same."""
    ended = _second(exported)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith(" 1 kept\n")
    lines = (HERE / "second_checker.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LINES_AT_MOST
    assert "vault_service" not in "".join(lines)


def _flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("part", ["checkpoint", "tile/0/001", "tile/entries/002"])
def test_e1_both_refuse_one_flipped_bit(
    go_checker: Path,
    exported: Exported,
    tmp_path: Path,
    part: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bit of the head, of a tile or of an entry is enough."""
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "copy.tar"
    shutil.copy(exported.file, copy)
    with tarfile.open(copy) as tar:
        member = tar.getmember(part)
    _flip(copy, member.offset_data + member.size // 2)
    broken = Exported(file=copy, key=exported.key, kept=exported.kept)
    runs: list[Callable[[], subprocess.CompletedProcess[str]]] = [
        lambda: _second(broken),
        lambda: _go(go_checker, broken, tmp_path / "unpacked"),
    ]
    for run in runs:
        assert run().returncode != 0
