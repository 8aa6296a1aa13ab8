"""Fetching a log into an export, and reading what auditors keep: keys and checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Final

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from vault_service.cli import tables
from vault_service.cli.exits import ExitCode, Failed
from vault_service.client import ApiError, Client
from vault_service.client.ledger import Ledger
from vault_service.ledger import note as notes
from vault_service.ledger import tiles
from vault_service.ledger.checkpoint import Checkpoint
from vault_service.ledger.export import ExportWriter
from vault_service.ledger.faults import LogError
from vault_service.ledger.note import VerifierKey
from vault_service.ledger.tiles import Tile

# Requests under way at once: what keeps one service process busy.
PARALLEL: Final = 8
_AHEAD: Final = 64
_ARCHIVED: Final = "ledger_archived"


@contextmanager
def told() -> Iterator[None]:
    """Tell what is wrong with a log as commands tell it.

    Raises:
        Failed: in place of a `LogError`.
    """
    try:
        yield
    except LogError as error:
        raise Failed(str(error), code=error.code) from error


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """A bar on standard error, where that is a terminal."""
    console = tables.console(error=True)
    with Progress(
        TextColumn(label),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        yield bar


def read_keys(given: Sequence[str]) -> list[VerifierKey]:
    """Verifier keys, each given as itself or as a file with one on each line.

    Raises:
        Failed: one is neither.
    """
    texts: list[str] = []
    for each in given:
        try:
            texts += [str(VerifierKey.parse(each))]
        except LogError:
            texts += _lines(each)
    with told():
        return [VerifierKey.parse(text) for text in texts]


def _lines(path: str) -> list[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise Failed(
            "this is neither a verifier key nor a file of some",
            code="ledger_key_malformed",
            exit_code=ExitCode.USAGE,
            hint="a key looks like NAME+12345678+BASE64; vault-service ledger keys prints some",
        ) from error
    return [line.strip() for line in lines if line.strip()]


def fetch_export(client: Client, path: Path) -> Checkpoint:
    """Write an export of the log that the service serves; the head that it goes up to.

    The file appears under its name only when it is whole.

    Raises:
        Failed: the answer is no log.
        ClientError: the service did not answer, or refused.
        OSError: the file cannot be written.
    """
    ledger = client.ledger
    checkpoint = ledger.checkpoint()
    with told():
        head = Checkpoint.parse(notes.parse(checkpoint).text)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("xb") as stream:
            writer = ExportWriter(stream)
            writer.head(checkpoint, ledger.verifier_keys())
            _fetch_tiles(ledger, writer, head.size)
            writer.close()
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return head


def _fetch_tiles(ledger: Ledger, writer: ExportWriter, size: int) -> None:
    wanted = chain(tiles.of_tree(size), tiles.bundles_of(size))
    with progress_bar("Fetching tiles") as bar, ThreadPoolExecutor(PARALLEL) as pool:
        task = bar.add_task("", total=sum(1 for _ in tiles.of_tree(size)) + -(-size // tiles.WIDTH))
        while some := list(islice(wanted, _AHEAD)):
            for tile, data in zip(some, pool.map(partial(_fetch, ledger), some), strict=True):
                if data is not None:
                    writer.tile(tile, data)
            bar.advance(task, len(some))


def _fetch(ledger: Ledger, tile: Tile) -> bytes | None:
    """A tile, or None for a bundle that was archived."""
    try:
        return ledger.read(tile.path)
    except ApiError as error:
        if error.code == _ARCHIVED and tile.level is None:
            return None
        raise
