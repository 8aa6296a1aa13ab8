"""`vault-service audit`: the auditor's report, made from a verified log and from nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from keys import declared
from keys.errors import SignatureRejected
from keys.signature import SigningKey, verify_ed25519
from vault_service.cli import screen, tables
from vault_service.cli.commands import ApiCommand
from vault_service.cli.exits import ExitCode, Failed
from vault_service.cli.ledger_files import fetch_export, progress_bar, read_keys, told
from vault_service.cli.report_page import page
from vault_service.cli.session import session
from vault_service.ledger.export import Export, Layered
from vault_service.ledger.note import Note, Signature, VerifierKey, is_key_name
from vault_service.ledger.report import Collector, plain
from vault_service.ledger.verify import verify

AUDITOR: Final = "auditor"
_FILE: Final = click.Path(path_type=Path, dir_okay=False, exists=True)
_JSON: Final = "report.json"
_HTML: Final = "report.html"
_SIGNED: Final = "report.note"
_day = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])


@click.group("audit")
def group() -> None:
    """Report on keys, rotations, disclosures and the log itself."""


@group.command("report", cls=ApiCommand, roles=(AUDITOR,))
@click.option("--from", "since", type=_day, required=True, help="First day, UTC.")
@click.option("--to", "until", type=_day, required=True, help="The day after the last, UTC.")
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="A folder that is not there yet.",
)
@click.option("--export", "file", type=_FILE, help="An export; without it, the service is asked.")
@click.option("--archive", "archives", type=_FILE, multiple=True, help="Older entries.")
@click.option(
    "--checkpoint", "kept", type=_FILE, multiple=True, metavar="OLD", help="Kept from before."
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    metavar="VKEY",
    help="The log's verifier key, or a file of some; get it from where you trust.",
)
@click.option("--partial", is_flag=True, help="Accept that older entries lie in archives.")
@click.option(
    "--sign-with", "signer", type=_FILE, metavar="PEM", help="Your own Ed25519 key (PKCS #8)."
)
@click.option("--sign-as", "name", default="auditor", show_default=True, help="Your key's name.")
def report(
    *,
    since: datetime,
    until: datetime,
    folder: Path,
    file: Path | None,
    archives: tuple[Path, ...],
    kept: tuple[Path, ...],
    keys: tuple[str, ...],
    partial: bool,
    signer: Path | None,
    name: str,
) -> None:
    """Verify the log and write report.json and report.html about a period.

    The same export, keys and period give the same bytes. With --sign-with also report.note, a
    signed note of both digests and of the log's head.
    """
    trusted = read_keys(keys)
    signing = None if signer is None else _signing(signer, name)
    if folder.exists():
        raise Failed(f"{folder} exists", code="file_error", hint="choose a name that is free")
    periods = {key.name: key.rotate_after.days for key in declared.load().keys}
    with ExitStack() as stack, told():
        collector = Collector(since.replace(tzinfo=UTC), until.replace(tzinfo=UTC), periods)
        if file is None:
            own = stack.enter_context(tempfile.TemporaryDirectory(prefix="ledger-"))
            file = Path(own) / "export.tar"
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
            examine=collector.examine,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    made = collector.report(plain(found))
    written = _write(folder, made, signing)
    if session().as_json:
        screen.write_json({"folder": str(folder), **written})
    else:
        screen.note(f"{made['entries_in_period']} entries of the period; report in {folder}")
        tables.write_facts(dict(written))


def _write(
    folder: Path, made: dict[str, Any], signing: tuple[str, SigningKey] | None
) -> dict[str, str]:
    """Write the files under a name of their own first; the digests by file."""
    contents = {
        _JSON: (json.dumps(made, indent=2, ensure_ascii=False) + "\n").encode(),
        _HTML: page(made).encode(),
    }
    digests = {each: hashlib.sha256(data).hexdigest() for each, data in contents.items()}
    if signing is not None:
        contents[_SIGNED] = _note(made, digests, *signing)
    part = folder.with_name(f".{folder.name}.part")
    part.mkdir()
    for each, data in contents.items():
        (part / each).write_bytes(data)
    part.rename(folder)
    return digests


def _note(made: dict[str, Any], digests: dict[str, str], name: str, signing: SigningKey) -> bytes:
    """A signed note: what the report is about, and the digest of each file."""
    log, period = made["log"], made["period"]
    root = base64.b64encode(bytes.fromhex(log["root"])).decode()
    text = "\n".join(
        (
            "vault-service audit report v1",
            f"{log['origin']} {log['size']} {root}",
            f"{period['from']} {period['to']}",
            *(f"{each} sha256:{digest}" for each, digest in sorted(digests.items())),
            "",
        )
    )
    key = VerifierKey(name=name, public_key=signing.public_key)
    line = Signature(name=name, key_id=key.id, value=signing.sign(text.encode()))
    return Note(text=text, signatures=(line,)).encode()


def _signing(path: Path, name: str) -> tuple[str, SigningKey]:
    if not is_key_name(name):
        raise Failed(
            "a key's name has no spaces and no plus",
            code="ledger_key_malformed",
            exit_code=ExitCode.USAGE,
        )
    try:
        return name, SigningKey.read(path.read_bytes())
    except SignatureRejected as error:
        raise Failed(
            "this is not an Ed25519 key in PEM without a passphrase",
            code="ledger_key_malformed",
            exit_code=ExitCode.USAGE,
            hint="openssl genpkey -algorithm ed25519 makes one",
        ) from error
