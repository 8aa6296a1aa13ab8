"""`vault-service export`: what is kept of customers, masked, as CSV or JSONL.

It reads masks only, so it needs no disclosure and calls no key. A mask stands in a column of its
own as JSON, because each class has other members.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

import click
import msgspec

from vault_service.cli import screen
from vault_service.cli.commands import ApiCommand
from vault_service.cli.exits import ExitCode, Failed
from vault_service.cli.session import session
from vault_service.cli.tokens import CLASSES
from vault_service.client import ApiError, Client
from vault_service.client.models import Token

_COLUMNS: Final = (
    "customer", "class", "token", "mask", "format", "reference", "metadata", "created_at",
    "expires_at",
)  # fmt: skip
_CUSTOMER: Final = "cus_"
_NOT_FOUND: Final = 404
_BOM: Final = "\ufeff"


@click.command("export", cls=ApiCommand, roles=("billing", "support"))
@click.argument("customers", nargs=-1, metavar="[CUSTOMER]...")
@click.option(
    "--customers-file",
    metavar="FILE",
    help="One id on each line, or a CSV file with a column customer, as import writes it;"
    " - is standard input.",
)
@click.option("--class", "data_class", type=click.Choice(CLASSES), help="Only this class.")
@click.option("--format", "kind", type=click.Choice(["csv", "jsonl"]), default="csv")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="[standard output]")
def export(
    *,
    customers: tuple[str, ...],
    customers_file: str | None,
    data_class: str | None,
    kind: str,
    output: Path | None,
) -> None:
    """Write masked records of customers. Exit 7 when some customers were not found."""
    if not customers and customers_file is None:
        raise click.UsageError("name customers, or a file of them with --customers-file")
    if output is None and session().as_json:
        kind = "jsonl"
    wanted = _once([*customers, *(_listed(customers_file) if customers_file else ())])
    found = missing = records = 0
    with session().client() as client, _target(output) as stream:
        write = _writer(stream, kind)
        for customer in wanted:
            try:
                for token in _tokens(client, customer, data_class):
                    write(token)
                    records += 1
            except ApiError as error:
                if error.status != _NOT_FOUND:
                    raise
                missing += 1
                screen.warn(f"there is no customer {customer}", code="customer_not_found")
            else:
                found += 1
    if output is not None and session().as_json:
        screen.write_json({"customers": found, "missing": missing, "records": records})
    else:
        screen.note(f"{records} records of {found} customers")
    if missing:
        click.get_current_context().exit(ExitCode.SOME_FAILED)


def _tokens(client: Client, customer: str, data_class: str | None) -> Iterator[Token]:
    return client.tokens.list(customer, data_class=data_class)


def _once(customers: Iterable[str]) -> Iterator[str]:
    """Each customer one time; what is no customer's id is refused before it is sent.

    Raises:
        Failed: one is no id. It is not repeated: it may be anything.
    """
    seen: set[str] = set()
    for place, customer in enumerate(customers, 1):
        if not customer.startswith(_CUSTOMER):
            raise Failed(
                f"number {place} is no customer's id",
                code="customer_malformed",
                exit_code=ExitCode.USAGE,
                hint="ids begin with cus_; vault-service customers create REF tells one",
            )
        if customer not in seen:
            seen.add(customer)
            yield customer


def _listed(source: str) -> Iterator[str]:
    """The customers of a file, line by line."""
    with click.open_file(source, encoding="utf-8-sig", errors="replace") as stream:
        first = stream.readline().lstrip(_BOM)
        if first.strip().startswith(_CUSTOMER) and "," not in first:
            yield first.strip()
            yield from (line.strip() for line in stream if line.strip())
            return
        names = [name.strip().casefold() for name in next(csv.reader([first]), [])]
        name = "vault_customer" if "vault_customer" in names else "customer"
        if name not in names:
            raise Failed(
                "the file has neither ids nor a column customer",
                code="columns_missing",
                exit_code=ExitCode.USAGE,
            )
        place = names.index(name)
        for row in csv.reader(stream):
            if len(row) > place and row[place]:
                yield row[place]


@contextmanager
def _target(output: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that only its owner may read, whole or not at all."""
    if output is None:
        yield sys.stdout
        return
    temporary = output.with_name(f".{output.name}.{os.getpid()}.part")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


def _writer(stream: TextIO, kind: str) -> Callable[[Token], None]:
    if kind == "jsonl":
        return lambda token: _write_json(stream, token)
    stream.write(_csv_line(_COLUMNS))

    def write(token: Token) -> None:
        plain: dict[str, Any] = msgspec.to_builtins(token)
        plain["token"] = token.id
        stream.write(_csv_line([_cell(plain[name]) for name in _COLUMNS]))

    return write


def _write_json(stream: TextIO, token: Token) -> None:
    plain: dict[str, Any] = msgspec.to_builtins(token)
    del plain["deduplicated"]
    stream.write(msgspec.json.encode(plain).decode() + "\n")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return msgspec.json.encode(value).decode() if isinstance(value, dict) else str(value)


def _csv_line(cells: Iterable[str]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue()
