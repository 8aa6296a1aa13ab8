"""The kinds of commands: their common options, and groups that load a command when it is asked for.

Connection options and `--json` stand before or after the command's name, as people type them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from vault_service.cli.session import Session

PREFIX: Final = "VSCTL"


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> object:
    """Note an option in the session, wherever it stood; the last one given wins."""
    source = context.get_parameter_source(parameter.name or "")
    if value is not None and source is not click.core.ParameterSource.DEFAULT:
        setattr(context.ensure_object(Session), _FIELDS[parameter.name or ""], value)
    return value


_FIELDS: Final[Mapping[str, str]] = {
    "url": "url",
    "key_file": "key_file",
    "as_name": "name",
    "credentials": "credentials",
    "ca_file": "ca_file",
    "insecure_http": "insecure_http",
    "timeout": "timeout",
    "as_json": "as_json",
}


def json_option() -> click.Option:
    """`--json`."""
    return click.Option(
        ["--json", "as_json"],
        is_flag=True,
        expose_value=False,
        callback=_keep,
        is_eager=True,
        help="Print JSON; errors too, on standard error.",
    )


def connection_options(*, environment: bool) -> list[click.Parameter]:
    """Where the service is and who calls it.

    Args:
        environment: whether the environment may say it; on one level only, or it would overrule
            what stood on the other.
    """
    path = click.Path(path_type=Path, dir_okay=False)
    options: tuple[tuple[tuple[str, ...], str, dict[str, Any]], ...] = (
        (
            ("--url",),
            "URL",
            {"metavar": "URL", "help": "Where the service answers [credentials file, or 8443]."},
        ),
        (
            ("--key-file",),
            "KEY_FILE",
            {"type": path, "help": "File (0600) that holds an API key."},
        ),
        (
            ("--as", "as_name"),
            "AS",
            {"metavar": "NAME", "help": "Principal of the credentials file who calls."},
        ),
        (
            ("--credentials",),
            "CREDENTIALS",
            {"type": path, "help": "Credentials file (0600) [var/credentials.json]."},
        ),
        (
            ("--ca-file",),
            "CA_FILE",
            {"type": path, "help": "Certificates (PEM) to trust instead of the system's."},
        ),
        (
            ("--timeout",),
            "TIMEOUT",
            {"type": click.FloatRange(0.1, 600), "help": "Seconds that an answer may take [30]."},
        ),
        (
            ("--insecure-http",),
            "INSECURE_HTTP",
            {
                "is_flag": True,
                "default": None,
                "help": "Allow http to another machine: only where the way itself is protected.",
            },
        ),
    )
    return [
        click.Option(
            list(names),
            expose_value=False,
            callback=_keep,
            envvar=f"{PREFIX}_{variable}" if environment else None,
            show_envvar=environment,
            **more,
        )
        for names, variable, more in options
    ]


class PlainCommand(click.Command):
    """A command with `--json`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(json_option())


class ApiCommand(PlainCommand):
    """A command that calls the service, with the connection options.

    Args:
        roles: roles that the call needs, the one that it is made for first. They choose the caller
            in a credentials file when nobody was named.
    """

    def __init__(self, *args: Any, roles: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._roles = roles
        self.params.extend(connection_options(environment=False))

    def invoke(self, ctx: click.Context) -> Any:
        """Run it for a caller with one of its roles."""
        ctx.ensure_object(Session).roles = self._roles
        return super().invoke(ctx)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for.

    Args:
        lazy: command name -> `module:attribute`.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which they were declared, the lazy ones first."""
        return [*self._lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now if it was not."""
        place = self._lazy.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


Decorator = Callable[[Callable[..., None]], click.Command]


def api(group: click.Group, name: str, *roles: str) -> Decorator:
    """Declare a command of a group that calls the service for a caller with one of the roles."""
    return group.command(name, cls=ApiCommand, roles=roles)
