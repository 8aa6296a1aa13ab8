"""`vault-service communications`: originals go in and are listed; contents come by a grant."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email import message_from_bytes, policy
from email.utils import getaddresses, parsedate_to_datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click

from vault_service.cli import screen, tables
from vault_service.cli.commands import api
from vault_service.cli.exits import Failed
from vault_service.cli.session import session
from vault_service.cli.values_input import read_json_object, read_text
from vault_service.client import models

_MESSAGE: Final = "message/rfc822"
_OCTETS: Final = "application/octet-stream"
# Of an e-mail what is looked through for its header.
_HEADER_BYTES: Final = 256 * 1024
_MEMBERS: Final = frozenset(("from", "to", "date"))


@click.group("communications")
def group() -> None:
    """Keep communications, and list them by what stands on their outside."""


@api(group, "keep", "billing", "support")
@click.argument("customer")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--direction", type=click.Choice(("inbound", "outbound")), required=True, help="Who wrote."
)
@click.option(
    "--kind",
    type=click.Choice(("email", "text_message", "chat", "call", "letter", "other")),
    help="By which way it went; by the media type, if left out.",
)
@click.option("--media-type", metavar="TYPE", help=f"What FILE is; of a file .eml {_MESSAGE}.")
@click.option(
    "--outside",
    metavar="FILE",
    help='JSON {"from": …, "to": […], "date": …} (- is standard input); of e-mail by its header.',
)
def keep(
    *,
    customer: str,
    file: Path,
    direction: str,
    kind: str | None,
    media_type: str | None,
    outside: str | None,
) -> None:
    """Keep the original FILE, byte for byte, for CUSTOMER."""
    content = file.read_bytes()
    declared = media_type or (_MESSAGE if file.suffix.lower() == ".eml" else _OCTETS)
    if outside is not None:
        told = _told(read_json_object(read_text(outside)))
    else:
        told = _header(content) if declared == _MESSAGE else {}
    with session().client() as client:
        token = client.communications.keep(
            customer, content, direction=direction, kind=kind, media_type=declared, **told
        )
    if session().as_json:
        screen.write_json(token)
    else:
        screen.write_line(token.id)
        if token.deduplicated:
            screen.note("it was there before")


@api(group, "list", "billing", "support")
@click.argument("customer")
@click.option("--limit", type=click.IntRange(1, 100), default=100, help="How many [100].")
@click.option("--cursor", metavar="NEXT", help="Where the page before has ended.")
def list_(customer: str, limit: int, cursor: str | None) -> None:
    """List a customer's communications, newest first. The reading is an entry of the ledger."""
    with session().client() as client:
        page = client.communications.page(customer, cursor=cursor, limit=limit)
    if session().as_json:
        screen.write_json(page)
        return
    for token in page.items:
        screen.write_line("  ".join((token.id, *_facts(token).values())))
    if page.next is not None:
        screen.note(f"there are more: --cursor {page.next}")


@api(group, "show", "billing", "support")
@click.argument("token")
def show(token: str) -> None:
    """Show what stands on the outside of one communication, masked."""
    with session().client() as client:
        found = client.tokens.get(token)
    if session().as_json:
        screen.write_json(found)
    else:
        tables.write_facts({"id": found.id, "customer": found.customer, **_facts(found)})


@api(group, "unassigned", "support")
@click.option("--limit", type=click.IntRange(1), default=100, help="Stop after that many [100].")
def unassigned(limit: int) -> None:
    """List messages to the intake that nobody's address matched, oldest first.

    `modifications assign` gives one to its customer, `modifications reject` ends it.
    """
    with session().client() as client:
        found = list(islice(client.communications.unassigned(), limit))
    if session().as_json:
        screen.write_json({"items": found})
        return
    tables.write_table(
        ("change", "why", "came", "from", "to", "date", "size", "trust", "message"),
        (
            (
                each.modification,
                each.why,
                each.received_at,
                *(each.communication.mask.get(name) for name in ("from", "to", "date", "size")),
                each.communication.mask.get("trust"),
                each.communication.id,
            )
            for each in found
        ),
        empty="no messages wait",
    )


def _facts(token: models.Token) -> dict[str, str]:
    return {
        "kept": screen.shown(token.created_at),
        **{name: screen.shown(value) for name, value in sorted(token.mask.items())},
    }


def _told(outside: Mapping[str, Any]) -> dict[str, Any]:
    """What a person says of the outside.

    Raises:
        Failed: it is something else.
    """
    wrong = Failed('the outside is {"from": …, "to": […], "date": …}', code="outside_invalid")
    if outside.keys() - _MEMBERS:
        raise wrong
    sender, recipients, date = (outside.get(name) for name in ("from", "to", "date"))
    try:
        return {
            "sender": None if sender is None else str(sender),
            "recipients": [str(each) for each in recipients or []],
            "sent_at": None if date is None else datetime.fromisoformat(str(date)),
        }
    except (ValueError, TypeError):
        raise wrong from None


def _header(content: bytes) -> dict[str, Any]:
    """What the header of an e-mail says of its outside; what cannot be read is left out."""
    parsed = message_from_bytes(content[:_HEADER_BYTES], policy=policy.compat32)
    sent_at = None
    with suppress(ValueError, TypeError, IndexError):
        sent_at = parsedate_to_datetime(str(parsed.get("Date", "")))
    senders, recipients = (
        [address for _, address in getaddresses(parsed.get_all(name, [])) if address]
        for name in ("From", "To")
    )
    return {
        "sender": senders[0] if senders else None,
        "recipients": recipients,
        "sent_at": sent_at if sent_at is not None and sent_at.tzinfo else None,
    }
