"""An export: one file that holds all that is needed to verify the log, or a part of its entries.

A plain tar file (POSIX ustar, no compression, times 0), with the paths of C2SP tlog-tiles, so that
unpacked under a web server it is a log that anybody's tools can read:

    checkpoint                      the signed head
    keys                            the log's verifier keys, one to a line; for convenience only:
                                    whoever verifies brings the key that he trusts
    checkpoints/<size>              earlier signed heads, if any
    tile/<L>/<N>[.p/<W>]            every hash tile of the tree of the checkpoint
    tile/entries/<N>[.p/<W>]        entry bundles: all of them, or those that an archive holds

An archive of old entries has the same form and holds only some bundles. Members may stand in any
order, each once; members of other names are not read. Standard library only.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, Final, Protocol

from vault_service.ledger.faults import LogError
from vault_service.ledger.tiles import Tile

CHECKPOINT: Final = "checkpoint"
KEYS: Final = "keys"
EARLIER: Final = "checkpoints/"
# A full bundle of the longest entries; nothing in an export is longer.
MAX_MEMBER: Final = 256 * (65_535 + 2)


class Source(Protocol):
    """Where the verifier reads the log from."""

    def read(self, path: str) -> bytes | None:
        """The bytes at a path below the log's prefix, or None where there are none."""
        ...


class ExportMalformed(LogError):
    """The file is not an export."""

    code = "ledger_export_malformed"


class Export:
    """An export, read. One thread at a time.

    Raises:
        ExportMalformed: the file is not a tar file, or holds a member twice.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._stream: IO[bytes] = path.open("rb")
        try:
            self._places = _places(self._stream)
        except BaseException:
            self._stream.close()
            raise

    def read(self, path: str) -> bytes | None:
        """The member of this name, or None."""
        place = self._places.get(path)
        if place is None:
            return None
        start, size = place
        self._stream.seek(start)
        data = self._stream.read(size)
        if len(data) != size:
            raise ExportMalformed("the export ends too early")
        return data

    def earlier(self) -> list[str]:
        """Paths of the earlier checkpoints that it holds."""
        return sorted(name for name in self._places if name.startswith(EARLIER))

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class Layered:
    """Several sources, the first of which holds the checkpoint; the others fill the gaps."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    def read(self, path: str) -> bytes | None:
        """The first source's bytes at a path."""
        for source in self._sources:
            data = source.read(path)
            if data is not None:
                return data
        return None


class ExportWriter:
    """Writes an export, member by member."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._tar = tarfile.TarFile(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT)

    def head(self, checkpoint: bytes, keys: Iterable[str]) -> None:
        """Write the checkpoint and the keys."""
        self.add(CHECKPOINT, checkpoint)
        self.add(KEYS, "".join(f"{key}\n" for key in keys).encode())

    def earlier(self, checkpoints: Mapping[int, bytes]) -> None:
        """Write earlier checkpoints by size."""
        for size, note in sorted(checkpoints.items()):
            self.add(f"{EARLIER}{size}", note)

    def tile(self, tile: Tile, data: bytes) -> None:
        """Write a hash tile or an entry bundle."""
        self.add(tile.path, data)

    def add(self, path: str, data: bytes) -> None:
        """Write a member."""
        member = tarfile.TarInfo(path)
        member.size = len(data)
        member.mode = 0o444
        self._tar.addfile(member, BytesIO(data))

    def close(self) -> None:
        """Write the end; the stream stays open."""
        self._tar.close()


def _places(stream: IO[bytes]) -> dict[str, tuple[int, int]]:
    places: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                if not member.isreg() or not 0 <= member.size <= MAX_MEMBER:
                    raise ExportMalformed("the export holds something that is not a plain file")
                if member.name in places:
                    raise ExportMalformed("the export holds a member twice")
                places[member.name] = (member.offset_data, member.size)
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise ExportMalformed("the file is not an export of a log") from error
    return places
