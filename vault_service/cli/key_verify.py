"""`vault-service keys verify|adopt|reencrypt|reindex`: done to records with the owner's login.

Joins the group of `rotation_commands`. The first two talk to the database and nothing else.
"""

from __future__ import annotations

from typing import Final

import click
from rich.text import Text

from vault_service import hardening, logs, settings
from vault_service.cli import rotation_commands, screen, tables
from vault_service.cli.commands import PlainCommand
from vault_service.cli.exits import ExitCode
from vault_service.cli.key_commands import group
from vault_service.cli.ledger_files import progress_bar
from vault_service.cli.session import session
from vault_service.services.binding_check import Checked
from vault_service.settings import LogFormat

# The group with all that is in it: importing the other commands is what makes them join.
__all__ = ["group", "rotation_commands"]

# Findings that a screen shows; JSON has all.
_SHOWN: Final = 100


@group.command("verify", cls=PlainCommand)
def verify() -> None:
    """Compare every record's and segment's wrapped key with its ledger entry. Exit 5 on a finding.

    Needs VAULT_SERVICE_DATABASE_OWNER_URL, and changes nothing. That the log itself is the one that
    was signed is for `ledger verify` to say: run both.
    """
    # Loaded here: the rest of this group waits for no service to load.
    from vault_service.bootstrap import upkeep  # noqa: PLC0415

    with upkeep.binding_check(settings.load()) as check, progress_bar("Comparing") as bar:
        tasks = {
            name: bar.add_task(name, total=None) for name in ("entries", "records", "segments")
        }
        found = check.run(
            progress=lambda what, done, of: bar.update(tasks[what], completed=done, total=of)
        )
    if session().as_json:
        screen.write_json(_plain(found))
    else:
        _show(found)
    if found.findings:
        click.get_current_context().exit(ExitCode.CONFLICT)


@group.command("adopt", cls=PlainCommand)
@click.option("--yes", is_flag=True, help="Do not ask.")
def adopt(*, yes: bool) -> None:
    """Bind the records of before bindings to the ledger, as they are found. Once, after an upgrade.

    Needs VAULT_SERVICE_DATABASE_WORKER_URL. Whatever is adopted later is a finding of `verify`.
    """
    from vault_service.bootstrap import upkeep  # noqa: PLC0415

    if not yes:
        click.confirm("Take every wrapped key without a binding for genuine?", abort=True, err=True)
    with upkeep.adoption(settings.load()) as adoption, progress_bar("Binding") as bar:
        task = bar.add_task("records", total=None)
        done = adoption.run(progress=lambda count: bar.update(task, completed=count))
    if session().as_json:
        screen.write_json({"adopted": done})
    else:
        screen.write_line(f"{done} records bound.")


@group.command("reencrypt", cls=PlainCommand)
@click.argument("key")
@click.option("--yes", is_flag=True, help="Do not ask.")
def reencrypt(key: str, *, yes: bool) -> None:
    """Seal every value under KEY anew, for when a data key or KEY itself is known to somebody.

    Needs VAULT_SERVICE_DATABASE_OWNER_URL and a spool with secret-ids of `reveal` and `ingest`, and
    can open every value for as long as it runs. Rotate KEY first. Goes on where it was stopped; may
    run several times at once. Exit 7 where values were refused.
    """
    from vault_service.bootstrap import upkeep  # noqa: PLC0415

    if not yes:
        click.confirm(f"Open and seal anew every value under {key}?", abort=True, err=True)
    hardening.forbid_dumps()
    read = settings.load()
    form = LogFormat.JSON if session().as_json else read.log_format
    logs.configure(process="reencrypt", level=read.log_level, form=form, file=read.log_file)
    with upkeep.reencryption(read) as use_case, progress_bar("Sealing") as bar:
        task = bar.add_task("records", total=None)
        found = use_case.run(key, progress=lambda count: bar.update(task, completed=count))
    refused = found.ended.refused if found.ended else found.refused
    if session().as_json:
        screen.write_json(
            {
                "run": found.run,
                "done": found.done,
                "refused": refused,
                "ended": found.ended is not None,
            }
        )
    else:
        end = "the run has ended" if found.ended else "others go on with the run"
        screen.write_line(f"{found.run}: {found.done} sealed anew, {refused} refused; {end}.")
    if refused:
        click.get_current_context().exit(ExitCode.SOME_FAILED)


@group.command("reindex", cls=PlainCommand)
@click.argument("name", metavar="CLASS|KEY")
@click.option("--yes", is_flag=True, help="Do not ask.")
def reindex(name: str, *, yes: bool) -> None:
    """Rotate the key of a class's fingerprints and index all its values under the new version.

    Needs VAULT_SERVICE_DATABASE_OWNER_URL and a spool with secret-ids of `reveal`, `ingest` and
    `rotate`, and can open every value for as long as it runs. Goes on where it was stopped; may run
    several times at once. Exit 7 where values could not be indexed: the old version then stays.
    """
    from vault_service.bootstrap import upkeep  # noqa: PLC0415

    if not yes:
        click.confirm(f"Rotate the key of {name} and open every value?", abort=True, err=True)
    hardening.forbid_dumps()
    read = settings.load()
    form = LogFormat.JSON if session().as_json else read.log_format
    logs.configure(process="reindex", level=read.log_level, form=form, file=read.log_file)
    with upkeep.reindexing(read) as use_case, progress_bar("Indexing") as bar:
        task = bar.add_task("records", total=None)
        found = use_case.run(
            name, progress=lambda count, of: bar.update(task, completed=count, total=of)
        )
    row = found.rotation
    if session().as_json:
        screen.write_json(
            {
                "rotation": row.id,
                "state": row.state.value,
                "from_version": row.from_version,
                "to_version": row.to_version,
                "total": row.total,
                "done": found.done,
                "left": row.failed,
                "tokens": list(found.left),
            }
        )
    else:
        screen.write_line(
            f"{row.id}: {row.key} {row.from_version} -> {row.to_version} is {row.state.value},"
            f" {found.done} indexed here, {row.failed} left."
        )
        for token in found.left:
            screen.write_line(token)
    if found.left:
        click.get_current_context().exit(ExitCode.SOME_FAILED)


def _plain(found: Checked) -> dict[str, object]:
    return {
        "ok": not found.findings,
        "records": found.records,
        "segments": found.segments,
        "erased": found.erased,
        "entries": found.entries,
        "archived": found.archived,
        "seconds": round(found.seconds, 3),
        "findings": [{"code": each.code, "subject": each.subject} for each in found.findings],
    }


def _show(found: Checked) -> None:
    rate = (found.records + found.segments + found.entries) / max(found.seconds, 0.001)
    tables.write_facts(
        {
            "records": found.records,
            "segments of activity": found.segments,
            "erased": found.erased,
            "entries": found.entries,
            "entries in archives": found.archived or None,
            "rate": f"{rate:.0f} of these a second",
            "findings": len(found.findings) or "none",
        }
    )
    if found.findings:
        tables.write_table(
            ("finding", "what"),
            ((Text(each.code, style="bold red"), each.subject) for each in found.findings[:_SHOWN]),
        )
