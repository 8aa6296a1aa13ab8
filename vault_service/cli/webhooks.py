"""`vault-service webhooks`: which messages to your own systems arrived, and which did not."""

from __future__ import annotations

from itertools import islice

import click
from rich.text import Text

from vault_service.cli import screen, tables
from vault_service.cli.commands import api
from vault_service.cli.session import session


@click.group("webhooks")
def group() -> None:
    """Look after the messages to your own systems."""


@api(group, "list", "operator")
@click.option("--state", type=click.Choice(["waiting", "delivered", "dead"]))
@click.option("--limit", type=click.IntRange(1), default=100, help="Stop after that many [100].")
def list_(state: str | None, limit: int) -> None:
    """List deliveries, newest message first."""
    with session().client() as client:
        found = list(islice(client.webhooks.list(state=state), limit))
    if session().as_json:
        screen.write_json({"items": found})
        return
    tables.write_table(
        ("message", "type", "endpoint", "state", "attempts", "last answer", "made", "due"),
        (
            (
                each.message,
                each.type,
                each.endpoint,
                Text(each.state, style="bold red") if each.state == "dead" else each.state,
                each.attempts,
                each.last_error or each.last_status,
                each.created_at,
                each.next_at if each.state == "waiting" else None,
            )
            for each in found
        ),
        empty="no deliveries",
    )


@api(group, "retry", "operator")
@click.argument("message")
def retry(message: str) -> None:
    """Try the dead deliveries of MESSAGE anew."""
    with session().client() as client:
        count = client.webhooks.retry(message)
    if session().as_json:
        screen.write_json({"count": count})
    else:
        screen.write_line(f"{message}: {count} on the way again")


@api(group, "test", "operator")
def test() -> None:
    """Send a message `webhook.test`; then look with `list` whether it arrived."""
    with session().client() as client:
        message = client.webhooks.test()
    if session().as_json:
        screen.write_json({"message": message})
    else:
        screen.write_line(f"{message} is on the way")
