"""The command line against a running service, in this process and in one of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.sources import ROOT
from vault_service.cli.main import run


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def body(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The error's code."""
        return str(json.loads(self.err)["error"]["code"])


def credentials_file(folder: Path, base_url: str, keys: Mapping[str, str]) -> Path:
    """A credentials file as a first run writes it."""
    file = folder / "credentials.json"
    file.touch(mode=0o600)
    principals = [
        {"name": name, "roles": [name.rstrip("0123456789").rstrip("-")], "key": key}
        for name, key in keys.items()
    ]
    file.write_text(json.dumps({"base_url": base_url, "principals": principals}))
    return file


@dataclass(frozen=True, slots=True)
class Cli:
    """Runs `vault-service` with a credentials file."""

    credentials: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __call__(self, *arguments: str, typed: str = "") -> Ended:
        """Run it here with `--json`; `typed` is its standard input."""
        return self.text(*arguments, "--json", typed=typed)

    def text(self, *arguments: str, typed: str = "") -> Ended:
        """Run it here as people do."""
        out, err = io.StringIO(), io.StringIO()
        stdin = io.TextIOWrapper(io.BytesIO(typed.encode()), encoding="utf-8")
        before, sys.stdin = sys.stdin, stdin
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(["--credentials", str(self.credentials), *arguments])
        finally:
            sys.stdin = before
        return Ended(code, out.getvalue(), err.getvalue())

    def start(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start it in a process of its own."""
        process = subprocess.Popen(
            [
                sys.executable, "-m", "vault_service", "--credentials", str(self.credentials),
                *arguments,
            ],
            env={**(os.environ if environment is None else environment), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def ended(self, process: subprocess.Popen[str]) -> Ended:
        """Wait for a process and say how it ended."""
        out, err = process.communicate(timeout=120)
        self.started.remove(process)
        return Ended(process.returncode, out, err)

    def close(self) -> None:
        """Kill what a failed test left."""
        for process in list(self.started):
            process.kill()
            self.ended(process)
