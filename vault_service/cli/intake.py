"""`vault-service intake`: customers' messages come in, from a mail server, a Maildir or a pipe."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import structlog

from keys.errors import KeysError
from vault_service import hardening, logs, serve, settings
from vault_service.bootstrap.process import Services, build
from vault_service.cli.commands import PlainCommand
from vault_service.errors import ServiceError, SettingsError
from vault_service.intake import maildir, server
from vault_service.services.communications import MAX_COMMUNICATION
from vault_service.services.intake import Intake
from vault_service.settings import ProcessRole, Settings

DEFAULT_LMTP: Final = "127.0.0.1:2424"

_log = structlog.get_logger("vault_service.intake")


@click.command("intake", cls=PlainCommand)
@click.option(
    "--lmtp",
    multiple=True,
    metavar="ADDRESS",
    help=f"Speak LMTP on a loopback address with a port, or a Unix socket [{DEFAULT_LMTP}].",
)
@click.option("--smtp", multiple=True, metavar="ADDRESS", help="Speak SMTP there.")
@click.option(
    "--maildir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Take in what comes into a Maildir.",
)
@click.option("--once", is_flag=True, help="With --maildir: take in what is there, and end.")
@click.option(
    "--stdin",
    "piped",
    is_flag=True,
    help="Take in one message from standard input; exit codes of sysexits.h.",
)
def intake(
    lmtp: Sequence[str], smtp: Sequence[str], folder: Path | None, *, once: bool, piped: bool
) -> None:
    """Take in customers' messages: each is kept, and opens a change that waits for support.

    Settings as for `serve`; the process role is ingest, which can read nothing. Stops on SIGTERM.
    """
    ways = bool(lmtp or smtp) + (folder is not None) + piped
    if ways > 1 or (once and folder is None):
        raise click.UsageError("one way in at a time; --once belongs to --maildir")
    if piped:
        click.get_current_context().exit(_piped())
    listens = [server.parse_listen(each, lmtp=True) for each in lmtp]
    listens += [server.parse_listen(each, lmtp=False) for each in smtp]
    found, services = _built()
    try:
        if services.intake is None:
            raise SettingsError("this process role takes in no messages")
        if folder is not None and once:
            maildir.Maildir(folder, services.intake.take, _own(found)).round(lambda: False)
            return
        serve.check_keys(services)
        serve.announce(services.lifecycle)
        try:
            if folder is not None:
                _watch(maildir.Maildir(folder, services.intake.take, _own(found)))
            else:
                _listen(
                    listens or [server.parse_listen(DEFAULT_LMTP, lmtp=True)],
                    found,
                    services.intake,
                )
        finally:
            _stopped(services)
    finally:
        services.close()


def _built() -> tuple[Settings, Services]:
    hardening.forbid_dumps()
    found = settings.load(overrides={"process_role": ProcessRole.INGEST.value})
    logs.configure(
        process="intake", level=found.log_level, form=found.log_format, file=found.log_file
    )
    return found, build(found)


def _own(found: Settings) -> tuple[str, ...]:
    return tuple(sorted(found.mailboxes))


def _listen(listens: Sequence[server.Listen], found: Settings, use: Intake) -> None:
    if not found.mailboxes:
        raise SettingsError(
            "VAULT_SERVICE_MAIL_RECIPIENTS is missing: it says for which addresses messages are"
            " taken"
        )
    server.serve(
        listens,
        take=use.take,
        mailboxes=found.mailboxes,
        hostname=socket.gethostname(),
        announce=lambda ports, _: _log.info("intake listening", items=ports),
    )


def _watch(folder: maildir.Maildir) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set():
        folder.round(stop.is_set)
        stop.wait(maildir.PERIOD)


def _stopped(services: Services) -> None:
    try:
        services.lifecycle.stopped()
    except ServiceError as error:
        _log.warning("stop not recorded", code=error.code)


def _piped() -> int:
    """Take in one message; whatever fails, whoever holds the pipe keeps it and tries again."""
    try:
        found, services = _built()
        try:
            if services.intake is None:
                return os.EX_TEMPFAIL
            content = sys.stdin.buffer.read(MAX_COMMUNICATION + 1)
            return maildir.read(services.intake.take, content, _own(found)).exit
        finally:
            services.close()
    except (ServiceError, KeysError, OSError) as error:
        click.echo(f"not taken now: {error}", err=True)
        return os.EX_TEMPFAIL
