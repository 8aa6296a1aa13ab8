"""`vault-service up` and `serve`."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from vault_service import memory, settings
from vault_service.cli.commands import PlainCommand
from vault_service.settings import ProcessRole

_PORT = click.IntRange(1, 65535)


@click.command("up", cls=PlainCommand)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var"),
    help="Folder that keeps everything between runs [var].",
)
@click.option("--port", type=_PORT, default=8443, help="Where to listen on this machine [8443].")
@click.option("--fresh", is_flag=True, help="Throw away what the folder holds and begin anew.")
@click.option("--no-sample", is_flag=True, help="Do not load the made-up customers.")
def up(*, state: Path, port: int, fresh: bool, no_sample: bool) -> None:
    """Start the whole vault on this machine, for trying it out, and stay in the foreground."""
    # Loaded here and not above: it needs servers' wheels that a production host leaves out.
    module = importlib.import_module("vault_service.cli.up")
    code: int = module.up(state=state, port=port, fresh=fresh, sample=not no_sample)
    click.get_current_context().exit(code)


@click.command("serve", cls=PlainCommand)
@click.option(
    "--role",
    type=click.Choice([role.value for role in ProcessRole]),
    help="Which part of the service this process is [all].",
)
@click.option("--host", metavar="ADDRESS", help="Address to listen on [127.0.0.1].")
@click.option("--port", type=_PORT, help="Port to listen on [8443].")
@click.option("--workers", type=click.IntRange(1), help="Processes [one for each core].")
def serve(role: str | None, host: str | None, port: int | None, workers: int | None) -> None:
    """Serve HTTP with the settings of the environment; stops gracefully on SIGTERM."""
    found = settings.load(
        overrides={"process_role": role, "host": host, "port": port, "workers": workers}
    )
    if found.process_role is ProcessRole.WORKER:
        importlib.import_module("vault_service.cli.worker").run()
        return
    memory.give_back_what_is_free()
    memory.do_without("rich")
    importlib.import_module("vault_service.serve").serve(found)
