"""Canaries: values that may be found nowhere, and the search that would find them.

All canaries of one family share their first digits (the core), which no other text holds, so that
looking for thousands of them is looking for a few needles. Each needle lies inside the core and
takes in digits beyond the sixth, because a mask may show the first six and the last four.

What is searched is read twice: as it is, and with everything taken out that may stand between two
characters of a number (separators, line ends, the zero bytes of UTF-16). In both are looked for:
the text itself, reversed, in hexadecimal and in base64 at each of its three alignments, each with
and without the common groupings.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.whole import numbers

# A family's cards: six digits of a known network, some that mark them, four that count them, and
# the check digit. (Prefix, length.)
_BRANDS: Final = (("401288", 16), ("545301", 16), ("374251", 15))
_COUNTED: Final = 5
MOST: Final = 3 * 10_000
# Letters and digits, so that no filter for card numbers could be what keeps codes out.
_CODE_CORE: Final = "Kq7Zv3Xw9MhJ"
_FILLERS: Final = b"\x00 \t\r\n.-_\xa0\xc2"
_CHUNK: Final = 16 * 1024 * 1024
_OVERLAP: Final = 4096
# A match shorter than this could be chance: ten bytes are none in a terabyte.
_SHORTEST: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A canary where none may be."""

    place: str
    offset: int
    needle: bytes
    around: bytes


@dataclass(frozen=True, slots=True)
class Canaries:
    """As many card numbers and as many verification codes, all different.

    Args:
        count: of each.
        seed: decides the marks.
    """

    count: int
    seed: int

    def _cores(self) -> list[tuple[str, int]]:
        chance = random.Random(self.seed)  # noqa: S311 -- a test's choice, repeatable
        cores = []
        for prefix, length in _BRANDS:
            marks = length - len(prefix) - _COUNTED
            cores.append((f"{prefix}{chance.randrange(10**marks):0{marks}d}", length))
        return cores

    def cards(self) -> list[str]:
        """Card numbers that pass the Luhn check, the families mixed."""
        each = -(-self.count // len(_BRANDS))
        families = [numbers(each, prefix=core, length=length) for core, length in self._cores()]
        mixed = [number for some in zip(*families, strict=True) for number in some]
        return mixed[: self.count]

    def codes(self) -> list[str]:
        """Verification codes, longer than real ones so that chance makes none."""
        return [f"{_CODE_CORE}{index:06d}" for index in range(self.count)]

    def needles(self) -> Needles:
        """What to look for."""
        cores = [core for core, _ in self._cores()] + [_CODE_CORE]
        plain = {needle for core in cores for needle in _disguised(core)}
        plain |= {part for core in cores for part in _base64(core.encode("utf-16-le"))}
        grouped = {
            needle
            for core in cores
            if core.isdigit()
            for separator in " -."
            for needle in _encoded(_grouped(core, separator).encode())
        }
        assert min(map(len, plain | grouped)) >= _SHORTEST
        return Needles(plain=tuple(sorted(plain)), grouped=tuple(sorted(grouped)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Needles:
    """What to look for.

    Attributes:
        plain: cores without separators, in every form; looked for in both readings.
        grouped: encodings of cores with separators, which no stripping would bring out.
    """

    plain: tuple[bytes, ...]
    grouped: tuple[bytes, ...]


def _disguised(core: str) -> Iterator[bytes]:
    plain = core.encode()
    yield plain
    yield plain[::-1]
    yield from _encoded(plain)


def _encoded(plain: bytes) -> Iterator[bytes]:
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    yield from _base64(plain)


def _grouped(core: str, separator: str) -> str:
    """In fours, as most cards are printed."""
    return separator.join(core[i : i + 4] for i in range(0, len(core), 4))


def _base64(plain: bytes) -> Iterator[bytes]:
    """The characters that do not depend on what stands before and after, at each alignment."""
    for before in range(3):
        whole = base64.b64encode(b"\x00" * before + plain)
        first = -(-before * 8 // 6)
        last = (before + len(plain)) * 8 // 6
        yield whole[first:last]
        yield base64.urlsafe_b64encode(b"\x00" * before + plain)[first:last]


def search(data: bytes, needles: Needles, place: str) -> list[Found]:
    """The first place of each needle in a piece of data."""
    stripped = data.translate(None, _FILLERS)
    found = []
    for piece, wanted in ((data, needles.plain + needles.grouped), (stripped, needles.plain)):
        for needle in wanted:
            at = piece.find(needle)
            if at >= 0:
                around = piece[max(0, at - 40) : at + 60]
                found.append(Found(place=place, offset=at, needle=needle, around=around))
    return found


def search_file(path: Path, needles: Needles) -> tuple[list[Found], int]:
    """What is found in a file, and how many bytes it has."""
    found: list[Found] = []
    size = 0
    tail = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            size += len(chunk)
            found += search(tail + chunk, needles, str(path))
            tail = chunk[-_OVERLAP:]
    return found, size


def search_folders(folders: Sequence[Path], needles: Needles) -> tuple[list[Found], int, int]:
    """What is found in every file below these folders; how many files, how many bytes."""
    found: list[Found] = []
    files = size = 0
    for path in sorted(each for folder in folders for each in folder.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        try:
            more, length = search_file(path, needles)
        except FileNotFoundError:
            continue  # a server took it away meanwhile
        found += more
        files += 1
        size += length
    return found, files, size
