"""The command `vault-service`: its groups, its outermost edge, its exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from vault_service.cli import screen
from vault_service.cli.commands import (
    LazyGroup,
    connection_options,
    json_option,
)
from vault_service.cli.exits import MEANINGS, ExitCode, Failed, Told, tell
from vault_service.cli.session import Session

PROGRAM: Final = "vault-service"
_HERE: Final = "vault_service.cli."
_LAZY: Final = {
    "up": _HERE + "run_commands:up",
    "serve": _HERE + "run_commands:serve",
    "worker": _HERE + "worker:worker",
    "intake": _HERE + "intake:intake",
    "ready": _HERE + "ready:ready",
    "import": _HERE + "import_command:import_",
    "export": _HERE + "export:export",
    "customers": _HERE + "tokens:customers",
    "tokens": _HERE + "tokens:group",
    "modifications": _HERE + "modifications:group",
    "services": _HERE + "services:group",
    "communications": _HERE + "communications:group",
    "activity": _HERE + "activity:group",
    "disclosures": _HERE + "disclosures:group",
    "evidence": _HERE + "evidence:group",
    "recipients": _HERE + "recipients:group",
    "access-reviews": _HERE + "access_reviews:group",
    "erasures": _HERE + "erasures:group",
    "holds": _HERE + "holds:group",
    "principals": _HERE + "principals:group",
    "ledger": _HERE + "ledger:group",
    "keys": _HERE + "key_verify:group",
    "webhooks": _HERE + "webhooks:group",
    "honeytokens": _HERE + "honeytokens:group",
    "usage": _HERE + "usage:usage",
    "audit": _HERE + "audit:group",
    "database": _HERE + "database:group",
    "policy": _HERE + "policy:group",
    "retention": _HERE + "retention:group",
    "config": _HERE + "config:group",
    "completion": _HERE + "about:completion",
    "version": _HERE + "about:version",
}
_EPILOG: Final = "\b\nExit codes:\n" + "\n".join(
    f"  {code.value}  {meaning}" for code, meaning in MEANINGS.items()
)


class _Root(LazyGroup):
    """The outermost group, with the options that every command shares."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend([*connection_options(environment=True), json_option()])


@click.group(
    PROGRAM,
    cls=_Root,
    lazy=_LAZY,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.pass_context
def root(context: click.Context) -> None:
    """A vault for customers' data: tokens out, plaintext only against an approved disclosure.

    Whoever calls is named by --as (a principal of a credentials file) or by --key-file. Card
    numbers and other values are never given on the command line: they are read from standard
    input, a file or a prompt.
    """
    context.ensure_object(Session)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(given))


def run(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code. Errors are printed, never raised."""
    as_json = "--json" in arguments
    try:
        result = root.main(args=list(arguments), prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone; what is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.FAILURE)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _fail(tell(Failed("stopped", code="interrupted")), as_json=as_json)
    except Exception as error:  # noqa: BLE001 -- the outermost edge: everything is told, nothing shown
        return _fail(tell(error), as_json=as_json)
    return result if isinstance(result, int) else int(ExitCode.OK)


def _fail(told: Told, *, as_json: bool) -> int:
    if as_json:
        sys.stderr.write(screen.encoded(told.as_json()))
    else:
        screen.say(told.as_text())
    return int(told.exit_code)
