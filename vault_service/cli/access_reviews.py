"""`vault-service access-reviews`: who keeps the rights to ask for plaintext or to approve it."""

from __future__ import annotations

import click

from vault_service.cli import screen, tables
from vault_service.cli.commands import api
from vault_service.cli.session import session
from vault_service.client.access_reviews import AccessReview


@click.group("access-reviews")
def group() -> None:
    """Review every half year who may ask for plaintext and who may approve it."""


@api(group, "list", "officer", "auditor", "operator")
def list_reviews() -> None:
    """List access reviews, newest first."""
    with session().client() as client:
        found = client.access_reviews.all()
    if session().as_json:
        screen.write_json({"items": found})
        return
    tables.write_table(
        ("id", "opened", "due", "completed", "overdue"),
        ((each.id, each.opened_at, each.due, each.completed_at, each.overdue) for each in found),
    )


@api(group, "show", "officer", "auditor", "operator")
@click.argument("review")
def show(review: str) -> None:
    """Show whom REVIEW is about, with roles, keys and last use."""
    with session().client() as client:
        _show(client.access_reviews.get(review))


@api(group, "decide", "officer")
@click.argument("review")
@click.option("--keep", multiple=True, metavar="PRINCIPAL", help="Keeps its access; repeatable.")
@click.option("--remove", multiple=True, metavar="PRINCIPAL", help="Is disabled; repeatable.")
def decide(review: str, *, keep: tuple[str, ...], remove: tuple[str, ...]) -> None:
    """Say who keeps access and who loses it at once: all of the call or nothing."""
    decisions = dict.fromkeys(keep, True) | dict.fromkeys(remove, False)
    if not decisions or len(decisions) != len(keep) + len(remove):
        raise click.UsageError("name each principal once, with --keep or --remove")
    with session().client() as client:
        _show(client.access_reviews.decide(review, decisions))


def _show(review: AccessReview) -> None:
    if session().as_json:
        screen.write_json(review)
        return
    tables.write_table(
        ("principal", "name", "roles", "keys", "last used", "reviewed until", "decision"),
        (
            (
                each.principal,
                each.name,
                " ".join(each.roles),
                each.keys,
                each.last_used_at,
                each.reviewed_until,
                each.decision,
            )
            for each in review.items
        ),
    )
