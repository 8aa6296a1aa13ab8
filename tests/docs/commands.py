"""Command lines in the documentation, walked through the real tree of commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final

import click

from tests.docs.pages import Page
from vault_service.cli.main import root

_LINE: Final = re.compile(r"(?:^|[\s`(/;])vault-service +([^\n`|;)#]*)", re.MULTILINE)
# What may stand before a command's words in prose: no command, but a name of the program.
_WORD: Final = re.compile(r"[a-z][a-z-]*")


def command_lines(page: Page) -> Iterator[str]:
    """What follows `vault-service` wherever it is called on a page."""
    code = "\n".join([*page.blocks("sh"), *page.blocks("console"), *page.quoted, *_units(page)])
    for found in _LINE.findall(code.replace("\\\n", " ")):
        if found.strip():
            yield found.strip()


def _units(page: Page) -> list[str]:
    """Commands that systemd starts."""
    return [line.partition("=")[2] for text in page.blocks("ini") for line in text.splitlines()]


def wrong(line: str) -> str | None:
    """What of a command line does not exist, or None."""
    words = [
        word
        for word in shlex.split(
            line.split("<", maxsplit=1)[0].split(">", maxsplit=1)[0], posix=True
        )
        if word
    ]
    command: click.Command = root
    context = click.Context(root)
    known = _options(root)
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            name = word.partition("=")[0]
            if name not in known:
                return f"{command.name} has no option {name}"
            if known[name] and "=" not in word and words:
                words.pop(0)
        elif isinstance(command, click.Group):
            if word.isupper():  # COMMAND: any of them
                return None
            following = command.get_command(context, word)
            if following is None:
                return f"{command.name} has no command {word}"
            command, known = following, known | _options(following)
    return None


def _options(command: click.Command) -> dict[str, bool]:
    """Each option's names, and whether a value follows."""
    return {
        name: not option.is_flag
        for option in command.params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    } | {"--help": False}
