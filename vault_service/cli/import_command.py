"""`vault-service import`: a billing system's export in, the same with tokens out."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import click
import msgspec
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from vault_service.cli import import_mapping, screen, tables
from vault_service.cli.commands import ApiCommand
from vault_service.cli.exits import ExitCode, Failed
from vault_service.cli.import_journal import Files, Journal, unfinished
from vault_service.cli.import_lines import (
    ENCODINGS,
    Lines,
    Record,
    Spoiled,
    csv_records,
    is_wide,
    json_lines,
)
from vault_service.cli.import_mapping import ColumnMapping
from vault_service.cli.import_rows import CsvForm, Form, JsonForm
from vault_service.cli.import_run import Import
from vault_service.cli.session import session
from vault_service.client import Client, ClientError

_DELIMITERS: Final = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
_FORMATS: Final = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_path = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """An opened export and how it is read."""

    stream: BinaryIO
    form: Form
    kind: str
    mapping: ColumnMapping
    delimiter: str
    begin: int
    first_line: int
    size: int

    def records(self, *, offset: int, line: int) -> Iterator[Record | Spoiled]:
        """The records from a place on."""
        lines = Lines(self.stream, offset=offset, line=line)
        if self.kind == "csv":
            return csv_records(lines, delimiter=self.delimiter, encoding=self.mapping.encoding)
        return json_lines(lines, encoding=self.mapping.encoding)


@click.command("import", cls=ApiCommand, roles=("billing",))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--mapping", "mapping_file", type=_path, help="TOML file: what your columns are.")
@click.option("--output", type=_path, help="Where to write it with tokens [FILE.tokens.csv].")
@click.option("--rejects", type=_path, help="Where to write what was refused [FILE.rejects.csv].")
@click.option("--state", type=_path, help="Where to keep how far it is [FILE.import-state.json].")
@click.option("--format", "kind", type=click.Choice(["csv", "jsonl"]), help="[by FILE's name]")
@click.option("--delimiter", type=click.Choice(list(_DELIMITERS)), help="[by the header]")
@click.option("--encoding", type=click.Choice(ENCODINGS), help="[utf-8]")
@click.option("--masks", is_flag=True, help="Add a column with the mask.")
@click.option("--batch", type=click.IntRange(1, 1000), default=500, help="Records at once [500].")
@click.option("--resume", is_flag=True, help="Go on where an interrupted import stopped.")
@click.option(
    "--patience",
    type=click.FloatRange(0, 86_400),
    default=60.0,
    help="Seconds to wait for a service that is away [60].",
)
def import_(
    *,
    file: Path,
    mapping_file: Path | None,
    output: Path | None,
    rejects: Path | None,
    state: Path | None,
    kind: str | None,
    delimiter: str | None,
    encoding: str | None,
    masks: bool,
    batch: int,
    resume: bool,
    patience: float,
) -> None:
    """Tokenize a billing system's export: FILE.csv or FILE.jsonl.

    Writes FILE with tokens in place of values, and every refused record with its line, column and
    reason to a file of its own, never with a value. Repeating an import stores nothing twice;
    --resume goes on after an interruption. Exit 7 when records were refused.
    """
    kind = kind or _FORMATS.get(file.suffix.lower())
    if kind is None:
        raise click.UsageError("FILE's name tells no format: use --format csv or --format jsonl")
    files = Files(
        output=output or file.with_name(f"{file.stem}.tokens.{kind}"),
        rejects=rejects or file.with_name(f"{file.stem}.rejects.csv"),
        state=state or file.with_name(f"{file.stem}.import-state.json"),
    )
    _check_apart(file, files, mapping_file)
    mapping = import_mapping.load(
        mapping_file,
        delimiter=None if delimiter is None else _DELIMITERS[delimiter],
        encoding=encoding,
    )
    if not resume and unfinished(files.state):
        screen.note("beginning anew; --resume would go on with the interrupted import")
    with (
        _opened(file, kind, mapping, masks=masks) as source,
        session().client() as client,
        Journal(
            files,
            source=_identity(source.stream),
            options=_options(kind, mapping, masks=masks),
            resume=resume,
        ) as journal,
    ):
        _run(source, client, journal, batch=batch, patience=patience)
        _report(journal, files)


def _run(source: _Source, client: Client, journal: Journal, *, batch: int, patience: float) -> None:
    if not journal.resumed:
        journal.begin(head=source.form.head(), offset=source.begin, line=source.first_line)
    if journal.state.done:
        return
    try:
        with _progress(source.size, journal.state.offset) as advance:
            Import(
                client=client,
                form=source.form,
                journal=journal,
                batch=batch,
                patience=patience,
                progress=advance,
            ).run(source.records(offset=journal.state.offset, line=journal.state.line))
    except (ClientError, OSError, KeyboardInterrupt):
        screen.note(f"stopped before line {journal.state.line}; --resume goes on from there")
        raise


def _report(journal: Journal, files: Files) -> None:
    counts = journal.state.counts
    if session().as_json:
        screen.write_json(
            {
                **msgspec.to_builtins(counts),
                "output": str(files.output),
                "rejects": str(files.rejects),
                "state": str(files.state),
            }
        )
    else:
        tables.write_facts(
            {
                "records": counts.records,
                "accepted": f"{counts.accepted} ({counts.deduplicated} were known already)",
                "rejected": counts.rejected,
                "output": files.output,
                "rejects": files.rejects,
            }
        )
    if counts.rejected:
        click.get_current_context().exit(ExitCode.SOME_FAILED)


@contextmanager
def _opened(file: Path, kind: str, mapping: ColumnMapping, *, masks: bool) -> Iterator[_Source]:
    """The export, its header read.

    Raises:
        Failed: it cannot be read as what it is said to be.
    """
    with file.open("rb") as stream:
        facts = os.fstat(stream.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise click.UsageError("FILE must be a regular file, so that an import can be resumed")
        if is_wide(stream.read(4)):
            raise Failed(
                "the file is UTF-16, which is not read",
                code="encoding_invalid",
                exit_code=ExitCode.USAGE,
                hint="export it as UTF-8, or convert it: iconv -f UTF-16 -t UTF-8",
            )
        form: Form = JsonForm(mapping, masks=masks)
        delimiter, begin, first_line = ",", 0, 1
        if kind == "csv":
            text, begin, first_line = _first_record(stream, mapping)
            header = import_mapping.read_header(text, mapping)
            form, delimiter = CsvForm(header, mapping, masks=masks), header.delimiter
        yield _Source(
            stream=stream,
            form=form,
            kind=kind,
            mapping=mapping,
            delimiter=delimiter,
            begin=begin,
            first_line=first_line,
            size=facts.st_size,
        )


def _first_record(stream: BinaryIO, mapping: ColumnMapping) -> tuple[str, int, int]:
    """The header's line, and the byte and line after it."""
    line = Lines(stream).take()
    if line is None:
        raise Failed("the file is empty", code="file_empty", exit_code=ExitCode.USAGE)
    try:
        text = line.data.decode(mapping.encoding)
    except UnicodeDecodeError:
        text = "\0"
    if line.overlong or "\0" in text:
        raise Failed(
            f"the first line is no header in {mapping.encoding}",
            code="header_malformed",
            exit_code=ExitCode.USAGE,
            hint="--encoding says how the file is written",
        )
    return text, line.end, line.number + 1


def _identity(stream: BinaryIO) -> str:
    """Which file this is: a resumed import must find the same one, unchanged."""
    facts = os.fstat(stream.fileno())
    return f"{facts.st_dev}:{facts.st_ino}:{facts.st_size}:{facts.st_mtime_ns}"


def _options(kind: str, mapping: ColumnMapping, *, masks: bool) -> str:
    """How the file is read and written, as a digest."""
    text = repr(
        (
            kind,
            masks,
            sorted(mapping.columns.items()),
            sorted(mapping.constants.items()),
            sorted(mapping.classes.items()),
            sorted(mapping.drop),
            mapping.delimiter,
            mapping.encoding,
        )
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _check_apart(file: Path, files: Files, mapping_file: Path | None) -> None:
    """Return if no file would be written over another that is needed.

    Raises:
        click.UsageError: two of them are one.
    """
    seen = {file.resolve(): "FILE"}
    if mapping_file is not None:
        seen[mapping_file.resolve()] = "--mapping"
    for name in ("output", "rejects", "state"):
        path = getattr(files, name).resolve()
        if path in seen:
            raise click.UsageError(f"--{name} and {seen[path]} are the same file")
        seen[path] = f"--{name}"


@contextmanager
def _progress(size: int, done: int) -> Iterator[Callable[[int], None]]:
    """A bar by bytes on a terminal; nothing elsewhere."""
    console = tables.console(error=True)
    with Progress(
        TextColumn("importing"),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal or session().as_json,
    ) as bar:
        task = bar.add_task("importing", total=size, completed=done)
        yield lambda byte: bar.update(task, completed=byte)
