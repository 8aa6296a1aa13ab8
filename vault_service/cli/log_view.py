"""Shows the service's log files to people while they are written: one readable line per event.

The files hold JSON lines that were redacted when they were written; nothing is added here, and a
line that is not JSON (an interpreter's last words) is shown as it stands.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

_LOOK_SECONDS: Final = 0.2
# A log that has grown to this is cut; its tail was shown, and a first run is no archive.
_CUT_BYTES: Final = 32 * 1024 * 1024
_HEAD: Final = ("timestamp", "level", "event", "process", "logger")
_LEVEL_WIDTH: Final = 7


def readable(line: str) -> str:
    """One log line for people: time, level, event, and the other fields as name=value."""
    try:
        fields: Any = json.loads(line)
    except ValueError:
        return line
    if not isinstance(fields, dict):
        return line
    at = str(fields.get("timestamp", ""))
    clock = at.partition("T")[2][:8] or at
    rest = " ".join(
        f"{name}={_value(value)}" for name, value in fields.items() if name not in _HEAD
    )
    level = str(fields.get("level", "")).ljust(_LEVEL_WIDTH)
    return f"{clock} {level} {fields.get('process', '')} {fields.get('event', '')}  {rest}".rstrip()


def _value(value: object) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value, default=str)


class LogView:
    """Follows files from their present end, in a thread, and hands each line to ``show``."""

    def __init__(self, files: Mapping[str, Path], *, show: Callable[[str], None]) -> None:
        self._files = files
        self._show = show
        self._stop = threading.Event()
        self._open: dict[str, BinaryIO] = {}
        self._halves: dict[str, bytes] = {}
        self._thread = threading.Thread(target=self._run, name="log-view", daemon=True)

    def start(self) -> None:
        """Begin to follow; what is in the files already is not shown."""
        for name, path in self._files.items():
            path.touch(mode=0o600)
            self._open[name] = path.open("rb")
            self._open[name].seek(0, os.SEEK_END)
        self._thread.start()

    def close(self) -> None:
        """Show what is left and stop."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        for file in self._open.values():
            file.close()

    def _run(self) -> None:
        last = False
        while not last:
            last = self._stop.wait(_LOOK_SECONDS)
            for name, file in self._open.items():
                self._follow(name, file)

    def _follow(self, name: str, file: BinaryIO) -> None:
        *lines, half = (self._halves.get(name, b"") + file.read()).split(b"\n")
        self._halves[name] = half
        for line in lines:
            # A terminal that went away must not take the service along.
            with contextlib.suppress(OSError):
                self._show(readable(line.decode(errors="replace")))
        if file.tell() > _CUT_BYTES:
            # The writers append, so that they go on at the new end.
            os.truncate(self._files[name], 0)
            file.seek(0)
