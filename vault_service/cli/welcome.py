"""What `vault-service up` says when it is ready: address, keys by role, three calls to try."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

_TABLE_WIDTH: Final = 112
_CARD: Final = (
    '{"class":"payment_card","customer":"\'$C\'","value":'
    '{"number":"4242 4242 4242 4242","exp_month":12,"exp_year":2035}}'
)


def welcome(
    console: Console, *, credentials: Mapping[str, Any], file: Path, seconds: float
) -> None:
    """Print it."""
    base_url = credentials["base_url"]
    console.print()
    console.print(f"The vault is ready at [bold]{base_url}[/bold] ({seconds:.1f} s).")
    console.print(f"Readable interface: {base_url}/docs", highlight=False)
    _keys(console, credentials, file)
    billing = _key(credentials, "billing")
    if billing is not None:
        _calls(console, base_url, billing)
    console.print("Ctrl-C stops everything. The log follows.\n", style="dim")


def _keys(console: Console, credentials: Mapping[str, Any], file: Path) -> None:
    if not credentials["principals"]:
        console.print(
            f"The first principals' keys are not in {file} any more;"
            " a principal who still has a key can issue others.",
            style="yellow",
        )
        return
    table = Table(title=f"Principals (also in {file})", title_justify="left", title_style="dim")
    for column in ("name", "roles", "API key"):
        table.add_column(column, no_wrap=True)
    for each in credentials["principals"]:
        table.add_row(each["name"], ", ".join(each["roles"]), each["key"])
    # As wide as the keys are, whatever the terminal: one that is cut short is of no use.
    wide = Console(
        file=console.file,
        width=max(console.width, _TABLE_WIDTH),
        force_terminal=console.is_terminal,
        soft_wrap=True,
    )
    wide.print(table, crop=False)


def _calls(console: Console, base_url: str, key: str) -> None:
    head = "-H \"Authorization: Bearer $K\" -H 'Content-Type: application/json'"
    customer = '{"external_ref":"first-try"}'
    lines = [f"U={base_url} K={key}"]
    for name, path, body, prefix in (
        ("C", "customers", customer, "cus"),
        ("T", "tokens", _CARD, "tok"),
    ):
        call = f"curl -s $U/v1/{path} {head} -d '{body}'"
        lines.append(f"{name}=$({call} | tee /dev/stderr | grep -o '{prefix}_[0-9a-z]*')")
    lines.append('curl -s $U/v1/tokens/$T -H "Authorization: Bearer $K"')
    console.print("Three calls to try, in this order:", style="dim")
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _key(credentials: Mapping[str, Any], name: str) -> str | None:
    keys = [each["key"] for each in credentials["principals"] if each["name"] == name]
    return keys[0] if keys else None
