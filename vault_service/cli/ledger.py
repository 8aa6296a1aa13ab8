"""`vault-service ledger`: what auditors do with the log. Verifying needs no service at all."""

from __future__ import annotations

import base64
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from keys.signature import verify_ed25519
from vault_service import settings
from vault_service.cli import screen, tables
from vault_service.cli.commands import ApiCommand, PlainCommand, api
from vault_service.cli.exits import Failed
from vault_service.cli.ledger_cosign import cosign
from vault_service.cli.ledger_files import fetch_export, progress_bar, read_keys, told
from vault_service.cli.session import session
from vault_service.ledger import checkpoint as checkpoints
from vault_service.ledger import entries, merkle
from vault_service.ledger.export import Export, Layered
from vault_service.ledger.faults import LogError
from vault_service.ledger.report import plain
from vault_service.ledger.verify import Verified, verify

AUDITOR: Final = "auditor"
_FILE: Final = click.Path(path_type=Path, dir_okay=False, exists=True)
_NEW_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_keys = click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    metavar="VKEY",
    help="The log's verifier key, or a file of some; get it from where you trust.",
)


@click.group("ledger")
def group() -> None:
    """Verify, export and search the ledger."""


@api(group, "checkpoint", AUDITOR)
@click.option("--output", type=_NEW_FILE, help="Keep it in a file, for later.")
def checkpoint(output: Path | None) -> None:
    """Print the log's signed head. Keep some, out of the service's reach."""
    with session().client() as client:
        note = client.ledger.checkpoint()
    if output is not None:
        output.write_bytes(note)
    screen.write_line(note.decode(errors="replace").rstrip("\n"))


@api(group, "keys", AUDITOR)
def keys_() -> None:
    """Print the log's verifier keys, one to a line, oldest first."""
    with session().client() as client:
        for key in client.ledger.verifier_keys():
            screen.write_line(key)


@api(group, "export", AUDITOR)
@click.argument("output", type=_NEW_FILE, metavar="FILE")
def export(output: Path) -> None:
    """Write everything that verifying needs into FILE, a tar file of tiles and entries."""
    if output.exists():
        raise Failed(f"{output} exists", code="file_error", hint="choose a name that is free")
    with session().client() as client:
        head = fetch_export(client, output)
    if session().as_json:
        screen.write_json({"file": str(output), "size": head.size, "origin": head.origin})
    else:
        screen.note(f"{head.size} entries of {head.origin} in {output}")


@group.command("verify", cls=ApiCommand, roles=(AUDITOR,))
@click.option("--export", "file", type=_FILE, help="An export; without it, the service is asked.")
@click.option(
    "--archive",
    "archives",
    type=_FILE,
    multiple=True,
    help="An archive of older entries; may stand several times.",
)
@click.option(
    "--checkpoint",
    "kept",
    type=_FILE,
    multiple=True,
    metavar="OLD",
    help="A checkpoint kept from before; the log must continue it.",
)
@_keys
@click.option("--partial", is_flag=True, help="Accept that older entries lie in archives.")
@click.option("--deep", is_flag=True, help="Read each entry too: its form, and that no id repeats.")
def verify_(
    *,
    file: Path | None,
    archives: tuple[Path, ...],
    kept: tuple[Path, ...],
    keys: tuple[str, ...],
    partial: bool,
    deep: bool,
) -> None:
    """Re-derive the whole log from its entries and compare it with its signed head.

    Exit 0 means: every entry is under the head that the key signed, and the log continues every
    checkpoint that was given.
    """
    trusted = read_keys(keys)
    with ExitStack() as stack, told():
        if file is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ledger-"))
            file = Path(folder) / "export.tar"
            with session().client() as client:
                fetch_export(client, file)
        sources = [Export(path) for path in (file, *archives)]
        for source in sources:
            stack.callback(source.close)
        bar = stack.enter_context(progress_bar("Verifying entries"))
        task = bar.add_task("", total=None)
        found = verify(
            Layered(sources),
            keys=trusted,
            check=verify_ed25519,
            kept=[path.read_bytes() for path in kept],
            complete=not partial,
            examine=_Deep().examine if deep else None,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _tell(found)


@group.command("archive", cls=PlainCommand)
@click.argument("output", type=_NEW_FILE, metavar="FILE")
@click.option(
    "--before",
    type=click.DateTime(["%Y-%m-%d"]),
    required=True,
    help="Entries older than this day, UTC; at least three months ago.",
)
@_keys
def archive(output: Path, before: datetime, keys: tuple[str, ...]) -> None:
    """Move old entries out of the database into FILE, which verifies like an export.

    Needs VAULT_SERVICE_DATABASE_OWNER_URL. Nothing is deleted before the file was read back and
    verified. What must be kept for twelve months at least is yours to keep: the command and the
    ledger say until when, and nothing here ever deletes a file.
    """
    # Loaded here: everything else of this group is an auditor's, who waits for no service to load.
    from vault_service.bootstrap import upkeep  # noqa: PLC0415

    trusted = read_keys(keys)
    with (
        upkeep.archiving(settings.load()) as archiving,
        told(),
        progress_bar("Archiving bundles") as bar,
    ):
        task = bar.add_task("", total=None)
        found = archiving.archive(
            output,
            before=before.replace(tzinfo=UTC),
            keys=trusted,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if session().as_json:
        screen.write_json(
            {
                "first": found.first,
                "end": found.end,
                "sha256": found.digest,
                "keep_until": found.keep_until.isoformat(),
            }
        )
    else:
        screen.note(f"entries {found.first} to {found.end - 1} in {output}, sha256 {found.digest}")
        screen.note(f"keep it until {found.keep_until} at least")


class _Deep:
    """Reads each entry, and remembers the ids."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def examine(self, index: int, data: bytes) -> None:
        """Look at one entry.

        Raises:
            LogError: it is no entry of ours, or stands twice.
        """
        try:
            entry = entries.decode(data)
        except entries.EntryError as error:
            raise LogError(
                f"entry {index} is malformed: {error}", code="ledger_entry_malformed", index=index
            ) from error
        if entry.id in self._ids:
            raise LogError(f"entry {index} stands twice", code="ledger_entry_repeated", index=index)
        self._ids.add(entry.id)


def _tell(found: Verified) -> None:
    if session().as_json:
        screen.write_json(plain(found))
        return
    tables.write_facts(
        {
            "log": found.head.origin,
            "verified": f"{found.entries} entries under the head of {found.head.size}",
            "root": found.head.root.hex(),
            "signed by": [str(key) for key in found.signers],
            "cosigned by": [one.key.name for one in found.cosignatures] or None,
            "continues": [f"the checkpoint at {one.size}" for one in found.kept] or None,
            "archived": [f"{first} to {end - 1}" for first, end in found.missing] or None,
            "time": f"{found.first_at} to {found.last_at}" if found.first_at else None,
        }
    )
    tables.write_table(("event", "entries"), sorted(found.events.items()))
    if not found.kept:
        screen.note("no kept checkpoint was given: a log that was rewritten as a whole passes")


@api(group, "entries", AUDITOR)
@click.option("--event")
@click.option("--actor", help="prn_… or the name of a part of the service.")
@click.option("--token")
@click.option("--customer")
@click.option("--grant", help="A disclosure, dis_….")
@click.option("--principal", help="Whom it happened to, prn_….")
@click.option("--key", help="An API key, key_…, or a key in Vault.")
@click.option("--from", "since", metavar="TIME", help="Such as 2026-11-23T00:00:00Z.")
@click.option("--to", "until", metavar="TIME")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option("--newest-first", is_flag=True)
def entries_(*, limit: int, newest_first: bool, **names: str | None) -> None:
    """List entries by what they tell of: event, actor, token, customer, key, time and the like."""
    question = {"from": names.pop("since"), "to": names.pop("until"), **names}
    if newest_first:
        question["newest_first"] = "true"
    with session().client() as client:
        found = []
        for each in client.ledger.entries(**question, limit=min(limit, 500)):
            found.append(each)
            if len(found) == limit:
                break
    if session().as_json:
        screen.write_json([{"index": one.index, "entry": one.entry} for one in found])
        return
    tables.write_table(
        ("index", "time", "event", "outcome", "actor", "about"),
        (
            (
                one.index,
                one.entry.get("at"),
                one.entry.get("event"),
                one.entry.get("outcome"),
                one.entry.get("actor", {}).get("id"),
                one.entry.get("customer") or one.entry.get("grant") or one.entry.get("key"),
            )
            for one in found
        ),
    )


@api(group, "proof", AUDITOR)
@click.argument("entry")
@_keys
def proof(entry: str, keys: tuple[str, ...]) -> None:
    """Prove that an entry, such as the one that a receipt names, is in the log."""
    trusted = read_keys(keys)
    with session().client() as client:
        found = client.ledger.proof(entry)
    with told():
        head = checkpoints.verify(found.checkpoint.encode(), trusted, verify_ed25519)
        leaf = _bytes(found.leaf)
        if found.entry is not None and merkle.leaf_hash(found.entry.encode()) != leaf:
            raise LogError("the entry has another hash", code="ledger_proof_rejected")
        merkle.verify_inclusion(
            leaf,
            index=found.index,
            size=head.size,
            root_hash=head.root,
            proof=[_bytes(step) for step in found.proof],
        )
    if session().as_json:
        screen.write_json({"ok": True, "index": found.index, "size": head.size})
    else:
        screen.note(f"entry {found.index} of {head.size}, under the signed head")
        if found.entry is not None:
            screen.write_line(found.entry)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise LogError("a hash is not base64", code="ledger_proof_rejected") from error


group.add_command(cosign)
