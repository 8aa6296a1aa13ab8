"""The operator's table of settings, as the settings themselves have it."""

from __future__ import annotations

from dataclasses import fields
from enum import StrEnum
from typing import Final

from tests.docs.pages import GUIDES
from vault_service.settings import PREFIX, Settings, Wants

BEGIN: Final = "<!-- settings: begin -->\n"
END: Final = "<!-- settings: end -->\n"
_COMPUTED: Final = {
    "workers": "one for each core",
    "policy_file": "the newest that came with the service",
}


def rows() -> str:
    """The table's rows; what a release adds to `Settings` appears here by itself."""
    told = {name: wants for name, wants, _ in _declared()}
    return "".join(
        f"| `{PREFIX}{name.upper()}` | {default} | {told[name]} |\n"
        for name, _, default in _declared()
    )


def _declared() -> list[tuple[str, str, str]]:
    """Name, what it is, and default of each setting."""
    plain = Settings()
    found = []
    for field in fields(Settings):
        wants = _wants(field.name)
        if wants is None:
            continue
        value = getattr(plain, field.name)
        if field.name in _COMPUTED:
            default = _COMPUTED[field.name]
        elif value is None:
            default = "not set"
        elif isinstance(value, bool):
            default = f"`{str(value).lower()}`"
        else:
            default = f"`{value.value if isinstance(value, StrEnum) else value}`"
        found.append((field.name, wants.text, default))
    return found


def _wants(name: str) -> Wants | None:
    # `describe` and its helpers are how the command line tells of settings, too.
    from vault_service import settings

    return settings._wants().get(name)


def main() -> None:
    """Write the rows into the operator's guide."""
    file = GUIDES / "operator.md"
    text = file.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    file.write_text(head + BEGIN + rows() + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
