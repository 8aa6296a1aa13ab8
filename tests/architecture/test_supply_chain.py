"""F5: what is installed is what was locked, byte for byte, and can be listed."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.sources import ROOT

LOCKS = ("requirements.txt", "requirements-dev.txt")


def pins(lock: str) -> dict[str, list[str]]:
    """Name and version -> hashes, of a lock file; extras are not part of a name."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / lock).read_text(encoding="utf-8").splitlines():
        if (release := re.match(r"([a-z0-9][^ \[]*)(?:\[[a-z,]+\])?(==[^ ]+)", line)) is not None:
            found[release[1] + release[2]] = []
        elif "--hash=sha256:" in line:
            found[list(found)[-1]].append(line.partition("sha256:")[2][:64])
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_f5_every_locked_release_has_hashes(lock: str) -> None:
    """No release may be installed by its name alone."""
    assert len(pins(lock)) > 30
    for name, hashes in pins(lock).items():
        assert hashes, name
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in hashes), name


def test_f5_tools_are_locked_on_top_of_the_same_libraries() -> None:
    """What is tested is what is run."""
    assert pins(LOCKS[0]).items() <= pins(LOCKS[1]).items()


def test_f5_set_up_insists_on_hashes() -> None:
    """The scripts install from the lock in no other way."""
    script = (ROOT / "scripts" / "_env").read_text(encoding="utf-8")
    installs = [line for line in script.splitlines() if "pip install" in line]
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert "--no-index --no-deps" in installs[1]


def make_wheel(folder: Path) -> Path:
    """A library of one line, as a wheel."""
    wheel = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "ONE = 1\n")
        archive.writestr(
            "tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        )
        archive.writestr(
            "tiny-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    return wheel


def install(folder: Path, digest: str) -> subprocess.CompletedProcess[str]:
    """Ask pip, as the scripts do, for the wheel in ``folder`` under a lock with ``digest``."""
    lock = folder / "lock.txt"
    lock.write_text(f"tiny==1.0 \\\n    --hash=sha256:{digest}\n", encoding="utf-8")
    return subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--dry-run"),
            *("--no-index", "--find-links", folder, "--requirement", lock),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_f5_one_altered_byte_fails_the_install(tmp_path: Path) -> None:
    """The same file passes, and is refused with one byte of it, or of its hash, altered."""
    wheel = make_wheel(tmp_path)
    content = wheel.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert install(tmp_path, digest).returncode == 0

    other = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    refused = install(tmp_path, other)
    assert refused.returncode != 0
    assert "HASH" in refused.stderr.upper()

    place = content.index(b"ONE")
    wheel.write_bytes(content[:place] + b"T" + content[place + 1 :])
    refused = install(tmp_path, digest)
    assert refused.returncode != 0
    assert "HASH" in refused.stderr.upper()


def test_f5_bill_of_materials_lists_the_whole_lock() -> None:
    """The bill names every locked release with its hashes, and is valid CycloneDX."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "sbom"], capture_output=True, text=True, check=True
    )
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(done.stdout) is None
    bill = json.loads(done.stdout)
    listed = {
        f"{each['name']}=={each['version']}": [
            entry["value"] for entry in each["properties"] if entry["name"] == "lock:sha256"
        ]
        for each in bill["components"]
    }
    assert listed == pins("requirements.txt")
    assert any("pkg:pypi/flask@" in ref for ref in bill["dependencies"][0]["dependsOn"])
