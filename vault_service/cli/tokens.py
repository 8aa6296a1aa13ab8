"""`vault-service tokens` and `vault-service customers`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, TypeVar

import click

from vault_service.cli import screen, tables
from vault_service.cli.commands import LazyGroup, api
from vault_service.cli.erasures import request as request_erasure
from vault_service.cli.exits import ExitCode
from vault_service.cli.session import session
from vault_service.cli.values_input import read_search, read_value
from vault_service.client import models
from vault_service.domain.classes import RULES

_F = TypeVar("_F", bound=Callable[..., Any])

CLASSES: Final = [name.value for name, each in RULES.items() if each.tokenizable]
_COLUMNS: Final = ("token", "class", "mask", "customer", "reference", "created", "expires")
_SEARCH_AT_ONCE: Final = 100  # as many as the interface takes
_value_file = click.option(
    "--value-file",
    metavar="FILE",
    help="Read from FILE, or - for standard input [prompt, or standard input].",
)


def _class_option(*, required: bool) -> Callable[[_F], _F]:
    return click.option("--class", "data_class", type=click.Choice(CLASSES), required=required)


class Time(click.ParamType[datetime]):
    """A time with its offset; one without is taken as UTC."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read ISO 8601."""
        try:
            time = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail("use a time such as 2030-01-31T12:00:00Z", param, ctx)
        return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


@click.group("tokens")
def group() -> None:
    """Tokenize values, and read their masks."""


@click.group(
    "customers",
    cls=LazyGroup,
    lazy={
        "disclosures": "vault_service.cli.accounting:listing",
        "notice": "vault_service.cli.accounting:notice",
    },
)
def customers() -> None:
    """Make customers, and see what is kept of them, masked."""


customers.add_command(request_erasure, "erase")


@api(group, "create", "billing", "support")
@_class_option(required=True)
@click.option("--customer", metavar="ID", help="The customer, cus_….")
@click.option("--external-ref", metavar="REF", help="Your own name for the customer instead.")
@click.option("--format", "shape", type=click.Choice(["opaque", "card"]), default="opaque")
@click.option("--reference", metavar="TEXT", help="Your own name for the record, kept in clear.")
@click.option("--metadata", metavar="NAME=TEXT", multiple=True, help="Kept in clear; repeatable.")
@click.option("--expires-at", type=Time(), help="When the token ends.")
@click.option("--idempotency-key", metavar="KEY", help="Repeating with the same key does nothing.")
@_value_file
def create(
    *,
    data_class: str,
    customer: str | None,
    external_ref: str | None,
    shape: str,
    reference: str | None,
    metadata: tuple[str, ...],
    expires_at: datetime | None,
    idempotency_key: str | None,
    value_file: str | None,
) -> None:
    """Tokenize one value, read from standard input, a file or a prompt.

    A card is a JSON object: {"number": …, "exp_month": 12, "exp_year": 2035, "name": …}; an
    address is one too; everything else is plain text.
    """
    if (customer is None) == (external_ref is None):
        raise click.UsageError("name the customer with either --customer or --external-ref")
    value = read_value(data_class, value_file)
    with session().client() as client:
        if customer is None:
            customer = client.customers.create(external_ref).id
        token = client.tokens.create(
            data_class,
            customer,
            value,
            format=shape,
            reference=reference,
            metadata=pairs(metadata, "--metadata") or None,
            expires_at=expires_at,
            idempotency_key=idempotency_key,
        )
    _show(token)


@api(group, "show", "billing", "support")
@click.argument("token")
def show(token: str) -> None:
    """Show one token, masked."""
    with session().client() as client:
        _show(client.tokens.get(token))


@api(group, "list", "billing", "support")
@click.argument("customer")
@_class_option(required=False)
@click.option("--limit", type=click.IntRange(1), help="Stop after that many.")
def list_tokens(customer: str, data_class: str | None, limit: int | None) -> None:
    """List a customer's tokens, masked."""
    with session().client() as client:
        tokens = list(islice(client.tokens.list(customer, data_class=data_class), limit))
    _show_all(tokens)


@api(group, "search", "billing", "support")
@_class_option(required=True)
@_value_file
def search(data_class: str, value_file: str | None) -> None:
    """Find tokens by exact value; several values on a line each."""
    values = read_search(data_class, value_file)
    with session().client() as client:
        results = [
            result
            for begin in range(0, len(values), _SEARCH_AT_ONCE)
            for result in client.tokens.search(data_class, values[begin : begin + _SEARCH_AT_ONCE])
        ]
    if session().as_json:
        screen.write_json({"results": results})
    else:
        _show_all([token for result in results for token in result.tokens or []])
        for place, result in enumerate(results, 1):
            if result.error is not None:
                screen.note(f"value {place}: {result.error.detail} ({result.error.code})")
    if any(result.error is not None for result in results):
        click.get_current_context().exit(ExitCode.SOME_FAILED)


@api(group, "versions", "billing", "support")
@click.argument("token")
def versions(token: str) -> None:
    """List the versions of a token's value, masked."""
    with session().client() as client:
        found = client.tokens.versions(token)
    if session().as_json:
        screen.write_json({"items": found})
        return
    tables.write_table(
        ("version", "mask", "since", "until", "modification"),
        ((each.version, each.mask, each.since, each.until, each.modification) for each in found),
    )


@api(group, "delete", "billing", "officer")
@click.argument("tokens", nargs=-1, required=True, metavar="TOKEN...")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(tokens: tuple[str, ...], *, yes: bool) -> None:
    """Erase values for ever."""
    if not yes:
        click.confirm(f"Erase {len(tokens)} values for ever?", abort=True, err=True)
    with session().client() as client:
        for token in tokens:
            client.tokens.delete(token)
            if not session().as_json:
                screen.write_line(f"erased {screen.shown(token)}")
    if session().as_json:
        screen.write_json({"erased": tokens})


@api(customers, "create", "billing", "support")
@click.argument("external_ref", required=False)
def create_customer(external_ref: str | None) -> None:
    """Make a customer, or find the one with this reference of yours."""
    with session().client() as client:
        customer = client.customers.create(external_ref)
    if session().as_json:
        screen.write_json(customer)
    else:
        tables.write_facts({"id": customer.id, "created": customer.created_at})


@api(customers, "show", "billing", "support")
@click.argument("customer")
def show_customer(customer: str) -> None:
    """Show a customer's records, masked."""
    with session().client() as client:
        profile = client.customers.get(customer)
    if session().as_json:
        screen.write_json(profile)
        return
    tables.write_facts(
        {
            "id": profile.id,
            "created": profile.created_at,
            "linked": ", ".join(profile.linked) or None,
        }
    )
    _show_all([token for tokens in profile.tokens.values() for token in tokens])
    if profile.truncated:
        screen.note("there are more; vault-service tokens list has all of them")


@api(customers, "search", "billing", "support")
@click.option("--external-ref", metavar="REF", help="Your own name for the customer.")
@_class_option(required=False)
@_value_file
def search_customers(
    external_ref: str | None, data_class: str | None, value_file: str | None
) -> None:
    """Find customers by a reference of yours, or by an exact value of --class."""
    if (external_ref is None) == (data_class is None):
        raise click.UsageError("find by either --external-ref or --class")
    with session().client() as client:
        if data_class is None:
            results = client.customers.search(external_refs=[str(external_ref)])
        else:
            results = client.customers.search(
                data_class=data_class, values=read_search(data_class, value_file)
            )
    if session().as_json:
        screen.write_json({"results": results})
    else:
        found = [each for result in results for each in result.customers or []]
        tables.write_table(
            ("customer", "tokens"),
            ((each.id, ", ".join(token.id for token in each.tokens) or None) for each in found),
            empty="nobody",
        )
        for place, result in enumerate(results, 1):
            if result.error is not None:
                screen.note(f"value {place}: {result.error.detail} ({result.error.code})")
    if any(result.error is not None for result in results):
        click.get_current_context().exit(ExitCode.SOME_FAILED)


@api(customers, "link", "support")
@click.argument("customer")
@click.argument("other")
def link(customer: str, other: str) -> None:
    """Show two customers together who are one; nothing moves."""
    with session().client() as client:
        linked = client.customers.link(customer, other)
    if session().as_json:
        screen.write_json(linked)
    else:
        screen.write_line(f"{screen.shown(customer)} and {screen.shown(other)} are shown together")


@api(customers, "unlink", "support")
@click.argument("customer")
@click.argument("other")
def unlink(customer: str, other: str) -> None:
    """Undo the link of two customers."""
    with session().client() as client:
        client.customers.unlink(customer, other)
    if session().as_json:
        screen.write_json({"unlinked": [customer, other]})
    else:
        screen.write_line(f"{screen.shown(customer)} and {screen.shown(other)} stand alone")


def pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    """`NAME=TEXT` as a dictionary.

    Raises:
        click.UsageError: one has no `=`, or a name stands twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{option} takes NAME=TEXT")
        if name in found:
            raise click.UsageError(f"{option} names {name} twice")
        found[name] = value
    return found


def _show(token: models.Token) -> None:
    if session().as_json:
        screen.write_json(token)
        return
    tables.write_facts(
        {
            "token": token.id,
            "class": token.data_class,
            "mask": token.mask,
            "customer": token.customer,
            "format": token.format,
            "deduplicated": token.deduplicated or None,
            "reference": token.reference,
            "metadata": token.metadata or None,
            "created": token.created_at,
            "expires": token.expires_at,
        }
    )


def _show_all(tokens: list[models.Token]) -> None:
    if session().as_json:
        screen.write_json({"items": tokens})
        return
    several = len({each.customer for each in tokens}) > 1
    tables.write_table(
        [name for name in _COLUMNS if name != "customer" or several],
        (
            [
                each.id,
                each.data_class,
                each.mask,
                *([each.customer] if several else []),
                each.reference,
                each.created_at,
                each.expires_at,
            ]
            for each in tokens
        ),
        empty="no tokens",
    )
