"""`vault-service version` and `vault-service completion`."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Final

import click
from click.shell_completion import get_completion_class

from vault_service.cli import screen
from vault_service.cli.commands import PlainCommand
from vault_service.cli.exits import Failed
from vault_service.cli.session import session

_VARIABLE: Final = "_VAULT_SERVICE_COMPLETE"


@click.command("version", cls=PlainCommand)
def version() -> None:
    """Show the version."""
    try:
        number = metadata.version("vault-service")
    except metadata.PackageNotFoundError:
        number = "not installed, run from its source"
    facts = {
        "vault-service": number,
        "python": platform.python_version(),
    }
    if session().as_json:
        screen.write_json(facts)
    else:
        screen.write_line(f"vault-service {facts['vault-service']} (Python {facts['python']})")


@click.command("completion", cls=PlainCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    r"""Print a completion script.

    \b
    bash:  source <(vault-service completion bash)
    zsh:   source <(vault-service completion zsh)
    fish:  vault-service completion fish | source
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise Failed("there is no completion for this shell", code="shell_unknown")
    root = click.get_current_context().find_root()
    script = kind(root.command, {}, "vault-service", _VARIABLE).source()
    if session().as_json:
        screen.write_json({"shell": shell, "script": script})
    else:
        screen.write_line(script)
