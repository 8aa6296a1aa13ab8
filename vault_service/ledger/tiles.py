"""Tiles and entry bundles of C2SP tlog-tiles: names, bytes, and how a tree grows by them.

    tile/<L>/<N>[.p/<W>]         256 (or W) hashes of 32 bytes; at level L each covers 256^L leaves
    tile/entries/<N>[.p/<W>]     256 (or W) entries, each: length (u16, big-endian) | bytes

<N> is written in groups of three digits, all but the last with an `x` before them: 1234067 is
`x001/x234/067`. A tile of full width never changes; the rightmost one of each level is partial,
and is never hashed into the level above. The format is the specification's; it is not ours to
change. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vault_service.ledger import merkle
from vault_service.ledger.faults import EdgeBroken, TileMalformed, TileMissing
from vault_service.ledger.merkle import HASH_SIZE, Node

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
FULL_TILE: Final = WIDTH * HASH_SIZE
MAX_LEVEL: Final = 63
MAX_ENTRY: Final = 65_535

# Seven groups of three digits name more tiles than a tree of 2^63 leaves has.
_NAME: Final = re.compile(
    r"(0|[1-9][0-9]?|entries)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """The name of a tile, or of an entry bundle where `level` is None.

    Attributes:
        level: 0 to 63; each hash covers 256^level leaves.
        index: which of its level, from the left.
        width: how many hashes or entries it has, 1 to 256.
    """

    level: int | None
    index: int
    width: int = WIDTH

    @property
    def name(self) -> str:
        """The path after `tile/`."""
        level = "entries" if self.level is None else str(self.level)
        part = "" if self.width == WIDTH else f".p/{self.width}"
        return f"{level}/{index_path(self.index)}{part}"

    @property
    def path(self) -> str:
        """The path below the log's prefix."""
        return f"tile/{self.name}"


def index_path(index: int) -> str:
    """An index in groups of three digits."""
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups))


def parse_name(name: str) -> Tile:
    """The tile of a path after `tile/`; `parse_name(text).name == text`.

    Raises:
        TileMalformed: no tile is named so.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise TileMalformed("this is not the name of a tile")
    level, groups, width = match.groups()
    tile = Tile(
        level=None if level == "entries" else int(level),
        index=int(groups.replace("/", "").replace("x", "")),
        width=WIDTH if width is None else int(width),
    )
    if tile.name != name or tile.width > WIDTH or (tile.level or 0) > MAX_LEVEL:
        # Leading groups of zeros, a width of 256 and the like: one tile has one name.
        raise TileMalformed("this is not the name of a tile")
    return tile


def widths(size: int) -> list[int]:
    """How many hashes each level has in a tree of `size`, level 0 first."""
    found = []
    while size:
        found.append(size)
        size >>= HEIGHT
    return found


def partial(level: int, size: int) -> Tile | None:
    """The partial tile of a level in a tree of `size`, if it has one."""
    hashes = size >> (HEIGHT * level)
    if hashes % WIDTH == 0:
        return None
    return Tile(level=level, index=hashes // WIDTH, width=hashes % WIDTH)


def of_tree(size: int) -> Iterable[Tile]:
    """Every hash tile of a tree of `size`, level by level."""
    for level, hashes in enumerate(widths(size)):
        for index in range(hashes // WIDTH):
            yield Tile(level=level, index=index)
        rest = partial(level, size)
        if rest is not None:
            yield rest


def bundles_of(size: int) -> Iterable[Tile]:
    """Every entry bundle of a tree of `size`."""
    for index in range(size // WIDTH):
        yield Tile(level=None, index=index)
    if size % WIDTH:
        yield Tile(level=None, index=size // WIDTH, width=size % WIDTH)


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries as a bundle.

    Raises:
        TileMalformed: one is too long.
    """
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_ENTRY:
            raise TileMalformed("an entry is longer than a bundle can say")
        parts.append(len(entry).to_bytes(2, "big"))
        parts.append(entry)
    return b"".join(parts)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The entries of a bundle of `width`; `encode_bundle(decode_bundle(data, n)) == data`.

    Raises:
        TileMalformed: it does not hold exactly so many.
    """
    entries: list[bytes] = []
    place, end = 0, len(data)
    while place + 2 <= end and len(entries) < width:
        start = place + 2
        place = start + (data[place] << 8 | data[place + 1])
        entries.append(data[start:place])
    if place != end or len(entries) != width:
        raise TileMalformed("the bundle does not hold the entries that it should")
    return entries


def hashes_of(data: bytes, width: int) -> list[bytes]:
    """The hashes of a tile of `width`.

    Raises:
        TileMalformed: it does not hold exactly so many.
    """
    if len(data) != width * HASH_SIZE or not 1 <= width <= WIDTH:
        raise TileMalformed("the tile does not hold the hashes that it should")
    return [data[place : place + HASH_SIZE] for place in range(0, len(data), HASH_SIZE)]


# ---------------------------------------------------------------- reading subtrees out of tiles


def tile_of(node: Node) -> tuple[int, int]:
    """(level, index) of the tile that holds the hashes that a perfect subtree is made of."""
    height, index = node
    level, inside = divmod(height, HEIGHT)
    return level, (index << inside) >> HEIGHT


def reader(tiles: Mapping[tuple[int, int], bytes]) -> merkle.ReadNode:
    """A reader of perfect subtrees over the bytes of tiles by (level, index)."""
    known: dict[Node, bytes] = {}

    def read(height: int, index: int) -> bytes:
        node = (height, index)
        if node not in known:
            level, inside = divmod(height, HEIGHT)
            first = (index << inside) % WIDTH
            data = tiles.get(tile_of(node), b"")
            hashes = data[first * HASH_SIZE : (first + (1 << inside)) * HASH_SIZE]
            if len(hashes) != HASH_SIZE << inside:
                raise TileMissing(f"a hash of level {level} is missing")
            known[node] = merkle.perfect_root(hashes_of(hashes, 1 << inside))
        return known[node]

    return read


# ---------------------------------------------------------------- growing


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """The right edge of a tree: all that is needed to go on.

    Attributes:
        size: number of leaves.
        levels: the hashes of each level's partial tile, level 0 first; empty where it has none.
    """

    size: int = 0
    levels: tuple[bytes, ...] = ()

    def root(self) -> bytes:
        """The root of the tree.

        Raises:
            EdgeBroken: the levels do not hold as many hashes as a tree of this size has.
        """
        peaks: list[bytes] = []
        for level in range(len(widths(self.size)) - 1, -1, -1):
            count = (self.size >> (HEIGHT * level)) % WIDTH
            hashes = self.levels[level] if level < len(self.levels) else b""
            if len(hashes) != count * HASH_SIZE:
                raise EdgeBroken("the edge does not fit the tree's size")
            peaks += _peaks(hashes)
        return merkle.fold(peaks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What appending leaves to a tree makes.

    Attributes:
        edge: the new edge.
        tiles: the tiles that became full, each once and for ever: (level, index, hashes).
        changed: levels whose partial tile is another now.
    """

    edge: Edge
    tiles: tuple[tuple[int, int, bytes], ...]
    changed: tuple[int, ...]


def grow(edge: Edge, leaves: Sequence[bytes]) -> Growth:
    """Append leaf hashes to a tree.

    Raises:
        EdgeBroken: the edge is broken.
    """
    edge.root()
    levels = list(edge.levels)
    full: list[tuple[int, int, bytes]] = []
    changed: list[int] = []
    arriving: Sequence[bytes] = leaves
    level = 0
    while arriving:
        if level == len(levels):
            levels.append(b"")
        index = (edge.size >> (HEIGHT * level)) // WIDTH
        data = levels[level] + b"".join(arriving)
        carried: list[bytes] = []
        for start in range(0, len(data) - FULL_TILE + 1, FULL_TILE):
            tile = data[start : start + FULL_TILE]
            full.append((level, index + len(carried), tile))
            carried.append(merkle.perfect_root(hashes_of(tile, WIDTH)))
        levels[level] = data[len(carried) * FULL_TILE :]
        changed.append(level)
        arriving = carried
        level += 1
    return Growth(
        edge=Edge(size=edge.size + len(leaves), levels=tuple(levels)),
        tiles=tuple(full),
        changed=tuple(changed),
    )


def _peaks(hashes: bytes) -> list[bytes]:
    """The perfect subtrees of a partial tile, of falling size."""
    count = len(hashes) // HASH_SIZE
    peaks = []
    place = 0
    for bit in range(HEIGHT - 1, -1, -1):
        if count >> bit & 1:
            end = place + (HASH_SIZE << bit)
            peaks.append(merkle.perfect_root(hashes_of(hashes[place:end], 1 << bit)))
            place = end
    return peaks


Fetch = Callable[[Sequence[tuple[int, int]]], Mapping[tuple[int, int], bytes]]


def prove(ranges: Sequence[merkle.Range], fetch: Fetch) -> list[bytes]:
    """The hashes of a proof, from tiles that are fetched all at once.

    Raises:
        LogError: a tile is missing.
    """
    needed = tiles_for(ranges)
    return merkle.prove(ranges, reader(fetch(needed) if needed else {}))


def tiles_for(ranges: Sequence[merkle.Range]) -> list[tuple[int, int]]:
    """The tiles, as (level, index), that `prove` needs."""
    return sorted({tile_of(node) for node in merkle.nodes_of(ranges)})


def root_of(size: int, fetch: Fetch) -> bytes:
    """The root of the first `size` leaves, from tiles.

    Raises:
        LogError: a tile is missing.
    """
    (found,) = prove([(0, size)], fetch) if size else [merkle.EMPTY_ROOT]
    return found
