"""Says on which line of a TOML file a key or table stands, for messages to people.

The standard library's parser does not tell. This reads headers and keys line by line and is right
for files with one key to a line; where it cannot tell, it names the nearest table around.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

Path = tuple[str | int, ...]

_HEADER: Final = re.compile(r"\s*\[(\[?)\s*([A-Za-z0-9_.\s\"'-]+?)\s*\]\]?\s*(?:#.*)?")
_KEY: Final = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')\s*=")


class Lines:
    """Lines by path; a path is names of keys and tables, and numbers in arrays of tables."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {(): 1}
        arrays: Counter[Path] = Counter()
        table: Path = ()
        for number, line in enumerate(text.split("\n"), start=1):
            header = _HEADER.fullmatch(line)
            if header is not None:
                names = [name.strip().strip("\"'") for name in header[2].split(".")]
                table = _resolve(names[:-1], arrays)
                table = (*table, names[-1])
                if header[1]:
                    arrays[table] += 1
                    table = (*table, arrays[table] - 1)
                self._lines.setdefault(table, number)
                continue
            key = _KEY.match(line)
            if key is not None:
                self._lines.setdefault((*table, key[1].strip("\"'")), number)

    def of(self, path: Path) -> int:
        """The line of a path, or of the nearest table around it."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]


def _resolve(names: list[str], arrays: Counter[Path]) -> Path:
    """The path of a table's parents: in an array of tables, the last element so far."""
    path: Path = ()
    for name in names:
        path = (*path, name)
        if arrays[path]:
            path = (*path, arrays[path] - 1)
    return path
