"""The settings, read once from the environment and one TOML file, checked, and then frozen.

This is the only module that reads the environment. A setting is named `VAULT_SERVICE_<NAME>` there
and `<name>` in the file that `VAULT_SERVICE_CONFIG` names; the environment wins. A secret may stand
in a file of its own (`VAULT_SERVICE_<NAME>_FILE`), has no default, and is removed from the
environment as soon as it was read, because servers and libraries copy the environment about.
No message says the value of a setting, only its name and what it should have been.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import stat
import tomllib
import urllib.parse
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from vault_service.errors import SettingsError

PREFIX = "VAULT_SERVICE_"
CONFIG_NAME = PREFIX + "CONFIG"

_LIKE_CGI = ("HTTP_", "CONTENT_", "REMOTE_", "REQUEST_", "PATH_INFO", "QUERY_STRING", "wsgi.")

# What an auditor is promised: after this long without a ledger, nothing is disclosed.
LEDGER_STOP_SECONDS = 60

# `family=` before a URL: only messages whose type begins so, such as `alarm=`.
_ENDPOINT = re.compile(r"(?:(?P<family>[a-z_]+)=)?(?P<url>https?://.+)", re.ASCII)
_MAX_ENDPOINTS = 8
# Its bytes are counted where it is decoded, before the first message.
_WEBHOOK_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{32,88}={0,2}", re.ASCII)

_MAX_SITES = 8
# A day has a row for each page and each domain, and each of their pairs.
_MAX_PAGES = 64
# A path as addresses show it, without an end that two spellings could have.
_PAGE = re.compile(r"/|(?:/[A-Za-z0-9._~%-]{1,64}){1,8}(?:/\*)?|/\*", re.ASCII)
# What may stand in a header and in a command without further ado.
_MAILBOX = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,190}", re.ASCII)

# A secret file larger than this is the wrong file.
_MAX_SECRET_BYTES = 16 * 1024


class Environment(StrEnum):
    """What is at stake: `production` refuses every stand-in."""

    PRODUCTION = "production"
    DEVELOPMENT = "development"


class ProcessRole(StrEnum):
    """Which part of the service a process is; each has its own logins and its own routes."""

    ALL = "all"
    INGEST = "ingest"
    REVEAL = "reveal"
    CONSOLE = "console"
    WORKER = "worker"


class LogFormat(StrEnum):
    """`json` for machines, `console` for people."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """The least severe level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Wants:
    """What a good value of a setting is, in the words of its error message."""

    text: str
    secret: bool = False


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def _shipped_policy() -> Path:
    """The newest policy file that came with the service; names end in their date."""
    names = [str(entry) for entry in files("vault_service.policy").iterdir()]
    found = sorted(
        (name for name in names if name.endswith(".toml")),
        key=lambda name: name[-len("YYYY-MM-DD.toml") :],
    )
    if not found:
        raise SettingsError("no policy file came with the service; set VAULT_SERVICE_POLICY_FILE")
    return Path(found[-1])


Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\A[\x21-\x7e]+\Z")]
Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
DatabaseUrl = Annotated[
    str | None, Wants("a PostgreSQL URL (postgresql://user:password@host:port/name)", secret=True)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. Database URLs hold passwords and show in no representation."""

    env: Annotated[Environment, Wants("production or development")] = Environment.PRODUCTION
    stand_in: Annotated[bool, Wants("true while Vault or PostgreSQL are stand-ins")] = False
    process_role: Annotated[ProcessRole, Wants("all, ingest, reveal, console or worker")] = (
        ProcessRole.ALL
    )

    host: Annotated[Name, Wants("an address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535), Wants("a port from 1 to 65535")] = 8443
    workers: Annotated[Positive, Wants("a number of processes, 1 or more")] = field(
        default_factory=_cores
    )
    threads: Annotated[Positive, Wants("requests at work at once per process, 1 or more")] = 80
    backlog: Annotated[int, Meta(ge=128), Wants("connections per process, 128 or more")] = 1024
    stop_seconds: Annotated[Positive, Wants("whole seconds that a stop waits for requests")] = 15
    trusted_proxies: Annotated[
        int, Meta(ge=0, le=8), Wants("how many proxies of yours stand in front, 0 to 8")
    ] = 0
    hsts_seconds: Annotated[Count, Wants("seconds, 0 where no TLS ends in front of this")] = 0

    request_seconds: Annotated[
        float, Meta(gt=0, le=60), Wants("seconds that a caller waits at most, up to 60")
    ] = 3.0
    max_body_bytes: Annotated[
        int, Meta(ge=1024, le=64 * 1024 * 1024), Wants("a number of bytes from 1 KiB to 64 MiB")
    ] = 4 * 1024 * 1024
    # The limits stop a caller that has run wild; they are far above what one process can serve.
    rate_limit: Annotated[
        Count, Wants("requests per minute, process and principal, 0 for no limit")
    ] = 600_000
    reveal_rate_limit: Annotated[
        Count, Wants("reveals per minute, process and principal, 0 for no limit")
    ] = 300_000
    refused_rate_limit: Annotated[
        Count, Wants("refused credentials per minute, process and address, 0 for no limit")
    ] = 600

    database_ingest_url: DatabaseUrl = field(default=None, repr=False)
    database_reveal_url: DatabaseUrl = field(default=None, repr=False)
    database_console_url: DatabaseUrl = field(default=None, repr=False)
    database_worker_url: DatabaseUrl = field(default=None, repr=False)
    database_owner_url: DatabaseUrl = field(default=None, repr=False)
    database_pool: Annotated[
        Positive, Wants("connections per process and database role, 1 or more")
    ] = 8

    vault_address: Annotated[str | None, Wants("the http or https URL of Vault")] = None
    vault_ca_file: Annotated[Path | None, Wants("a file of CA certificates in PEM form")] = None
    vault_mount: Annotated[Name, Wants("the name of the Transit mount")] = "transit"
    vault_prefix: Annotated[
        str,
        Meta(max_length=64, pattern=r"\A[a-z0-9-]*\Z"),
        Wants("a prefix of small letters, digits and hyphens"),
    ] = "vault-service-"
    vault_spool: Annotated[Path | None, Wants("the folder where secret-ids are delivered")] = None

    issuer: Annotated[
        Name | None, Wants("the URL that callers reach, which signs disclosure tokens")
    ] = None
    audience: Annotated[Name, Wants("a name for the service that reveals")] = "vault-service"
    policy_file: Annotated[Path, Wants("a policy file")] = field(default_factory=_shipped_policy)

    ledger_stop_seconds: Annotated[
        int,
        Meta(ge=2, le=86_400),
        Wants("seconds that an entry may wait for the ledger before nothing is disclosed"),
    ] = LEDGER_STOP_SECONDS

    backup_horizon_days: Annotated[
        Count, Wants("days that a backup is kept, 0 for ever: older key versions are then deleted")
    ] = 0

    webhook_urls: Annotated[
        str | None, Wants("up to 8 https URLs parted by spaces, each may have `family=` before it")
    ] = None
    webhook_secrets: Annotated[
        str | None,
        Wants(
            "secrets of the form whsec_ + base64 of 24 to 64 bytes, parted by spaces", secret=True
        ),
    ] = field(default=None, repr=False)
    webhook_ca_file: Annotated[Path | None, Wants("a file of CA certificates in PEM form")] = None

    alarm_refused_reveals: Annotated[
        Count, Wants("refused reveals of one principal in an hour that raise an alarm, 0 for none")
    ] = 20
    alarm_missed_searches: Annotated[
        Count, Wants("searched values of one principal in an hour that nobody has, 0 for no alarm")
    ] = 500

    helpdesk_secrets: Annotated[
        str | None,
        Wants(
            "secrets a helpdesk signs with, whsec_ + base64 of 24 to 64 bytes, parted by spaces",
            secret=True,
        ),
    ] = field(default=None, repr=False)
    helpdesk_mapping: Annotated[
        Path | None, Wants("a file that says how the helpdesk's messages are read")
    ] = None
    usage_sites: Annotated[
        str | None, Wants("up to 8 origins of your website, parted by spaces: its visits count")
    ] = None
    usage_pages: Annotated[
        str, Wants("up to 64 paths of it, parted by spaces, counted apart; /blog/* is all below")
    ] = "/"
    usage_rate_limit: Annotated[
        Count, Wants("visits per minute, process and address, 0 for no limit")
    ] = 600
    usage_keep_days: Annotated[Positive, Wants("days that usage counts are kept, 1 or more")] = 800

    mail_recipients: Annotated[
        str | None, Wants("addresses for which the intake takes messages, parted by spaces")
    ] = None
    mail_server: Annotated[
        Name | None, Wants("the name with which your mail server begins Authentication-Results")
    ] = None
    mail_dkim: Annotated[bool, Wants("true where the intake checks DKIM signatures itself")] = False
    mail_relay: Annotated[
        str | None, Wants("smtp://host:port on this host, or smtps://host:port, for answers")
    ] = None
    mail_sender: Annotated[str | None, Wants("the address from which answers come")] = None

    log_level: Annotated[LogLevel, Wants("debug, info, warning or error")] = LogLevel.INFO
    log_format: Annotated[LogFormat, Wants("json or console")] = LogFormat.JSON
    log_file: Annotated[Path | None, Wants("a file to append to")] = None
    metrics_dir: Annotated[Path | None, Wants("a folder for counters of several processes")] = None

    sources: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def webhooks(self) -> tuple[tuple[str, str], ...]:
        """(family, URL) of each webhook endpoint; the family "" is every message."""
        found = []
        for item in (self.webhook_urls or "").split():
            match = _ENDPOINT.fullmatch(item)
            found.append((match["family"] or "", match["url"]) if match else ("", item))
        return tuple(found)

    @property
    def mailboxes(self) -> frozenset[str]:
        """The addresses for which messages are taken, in lower case."""
        return frozenset((self.mail_recipients or "").lower().split())

    @property
    def production(self) -> bool:
        """Whether stand-ins are refused."""
        return self.env is Environment.PRODUCTION

    def describe(self) -> list[tuple[str, str, str]]:
        """Each setting's name, its value (of a secret only whether it is set) and its source."""
        table = []
        for name, wants in _wants().items():
            value = getattr(self, name)
            if wants.secret:
                shown = "not set" if value is None else "set"
            elif value is None:
                shown = "not set"
            else:
                shown = str(value).lower() if isinstance(value, bool) else str(value)
            table.append((name, shown, self.sources.get(name, "default")))
        return table


@cache
def _types() -> dict[str, Any]:
    """Each setting's annotated type."""
    hints = get_type_hints(Settings, include_extras=True)
    return {name: hint for name, hint in hints.items() if _wanted(hint) is not None}


def _wanted(hint: Any) -> Wants | None:
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, Wants):
            return extra
    return None


@cache
def _wants() -> dict[str, Wants]:
    """What each setting wants."""
    return {name: wants for name in _types() if (wants := _wanted(_types()[name])) is not None}


def _secrets() -> list[str]:
    return [name for name, wants in _wants().items() if wants.secret]


@dataclass(frozen=True, slots=True)
class _Found:
    """A raw value and where it was found."""

    value: object
    source: str


def _environment_name(name: str) -> str:
    return PREFIX + name.upper()


def _unknown(shown: str, known: list[str], source: str) -> str:
    near = difflib.get_close_matches(shown, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{source}: {shown} is no setting{hint}"


def _read_secret(name: str, path: Path, problems: list[str]) -> str | None:
    """The content of a secret's file without its last line break."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_SECRET_BYTES + 1)
        text = content.decode()
    except (OSError, ValueError):
        problems.append(f"{name}_FILE does not name a readable text file")
        return None
    if len(content) > _MAX_SECRET_BYTES or not text.strip():
        problems.append(f"{name}_FILE names a file that is empty or too large for a secret")
        return None
    return text.strip()


def _from_environment(environ: MutableMapping[str, str], problems: list[str]) -> dict[str, _Found]:
    """Settings of the environment; secrets are removed from it."""
    names = {_environment_name(name): name for name in _wants()}
    secrets = {_environment_name(name) for name in _secrets()}
    known = sorted({*names, CONFIG_NAME, *(f"{full}_FILE" for full in secrets)})
    found: dict[str, _Found] = {}
    for full in sorted(key for key in environ if key.startswith(PREFIX)):
        if full in names:
            value = environ.pop(full) if full in secrets else environ[full]
            found[names[full]] = _Found(value, "environment")
        elif full not in known:
            problems.append(_unknown(full, known, "environment"))
    for full in sorted(secrets):
        path = environ.pop(f"{full}_FILE", None)
        if path is None:
            continue
        if names[full] in found:
            problems.append(f"{full} and {full}_FILE are both set; keep one")
            continue
        secret = _read_secret(full, Path(path), problems)
        if secret is not None:
            found[names[full]] = _Found(secret, "secret file")
    return found


def _from_file(path: Path, problems: list[str]) -> dict[str, _Found]:
    """Settings of the TOML file."""
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            table = tomllib.load(stream)
    except (OSError, ValueError):
        problems.append(f"{CONFIG_NAME} does not name a readable TOML file")
        return {}
    secrets = _secrets()
    known = sorted({*_wants(), *(f"{name}_file" for name in secrets)})
    found: dict[str, _Found] = {}
    for key, value in table.items():
        if key not in known:
            problems.append(_unknown(key, known, "configuration file"))
        elif key in _wants():
            if key in secrets and stat.S_IMODE(mode) & 0o077:
                problems.append(
                    f"{key} stands in a configuration file that others may read;"
                    f" make that file private (0600) or use {key}_file"
                )
            found[key] = _Found(value, "configuration file")
        elif f"{key.removesuffix('_file')}" in table:
            problems.append(f"{key} and {key.removesuffix('_file')} are both set; keep one")
        else:
            name = key.removesuffix("_file")
            secret = _read_secret(name, path.parent / str(value), problems)
            if secret is not None:
                found[name] = _Found(secret, "secret file")
    return found


def _path(kind: type, value: object) -> Path:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError


def _convert(found: Mapping[str, _Found], problems: list[str]) -> dict[str, Any]:
    """Check each raw value against its field's type."""
    values = {}
    for name, raw in found.items():
        # Text from the environment stands for numbers and switches; TOML has its own.
        text = raw.source != "configuration file"
        try:
            values[name] = msgspec.convert(
                raw.value, _types()[name], strict=not text, dec_hook=_path
            )
        except (msgspec.ValidationError, ValueError):
            shown = name if raw.source == "configuration file" else _environment_name(name)
            problems.append(f"{shown} must be {_wants()[name].text}")
    return values


def _is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _url(value: str) -> urllib.parse.SplitResult | None:
    try:
        parts = urllib.parse.urlsplit(value)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _check_urls(settings: Settings, problems: list[str]) -> None:
    for name in _secrets():
        value = getattr(settings, name)
        if value is not None and name.startswith("database_"):
            parts = _url(value)
            if parts is None or not parts.scheme.startswith(("postgresql", "postgres")):
                problems.append(f"{_environment_name(name)} must be {_wants()[name].text}")
    if settings.issuer is not None:
        parts = _url(settings.issuer)
        # Callers prove possession for an address below this one (RFC 9449).
        if (
            parts is None
            or parts.scheme not in {"http", "https"}
            or not parts.hostname
            or any((parts.username, parts.password, parts.query, parts.fragment))
        ):
            problems.append(f"{PREFIX}ISSUER must be {_wants()['issuer'].text}")
    if settings.vault_address is not None:
        parts = _url(settings.vault_address)
        if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
            problems.append(f"{PREFIX}VAULT_ADDRESS must be an http or https URL")
        elif parts.username or parts.password or parts.query or parts.fragment:
            problems.append(f"{PREFIX}VAULT_ADDRESS must hold no user, query or fragment")
        elif parts.scheme == "http" and not _is_loopback(parts.hostname) and settings.production:
            problems.append(
                f"{PREFIX}VAULT_ADDRESS must be https in production, unless Vault is on this host"
            )


def _check_webhooks(settings: Settings, problems: list[str]) -> None:
    """The addresses that messages may go to: this is the whole list."""
    urls = f"{PREFIX}WEBHOOK_URLS"
    endpoints = settings.webhooks
    secrets = (settings.webhook_secrets or "").split()
    if len(endpoints) > _MAX_ENDPOINTS or len(set(endpoints)) != len(endpoints):
        problems.append(f"{urls} must be {_wants()['webhook_urls'].text}")
    for _, url in endpoints:
        parts = _url(url)
        if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
            problems.append(f"{urls} must be {_wants()['webhook_urls'].text}")
        elif parts.username or parts.password or parts.fragment:
            problems.append(f"{urls} must hold no user and no fragment")
        elif parts.scheme == "http" and not _is_loopback(parts.hostname):
            problems.append(f"{urls} must be https, unless the receiver is on this host")
    if endpoints and not secrets:
        problems.append(f"{PREFIX}WEBHOOK_SECRETS is missing: {_wants()['webhook_secrets'].text}")
    for name in ("webhook_secrets", "helpdesk_secrets"):
        given = (getattr(settings, name) or "").split()
        if not all(_WEBHOOK_SECRET.fullmatch(secret) for secret in given):
            problems.append(f"{_environment_name(name)} must be {_wants()[name].text}")
    if (settings.helpdesk_mapping is None) != (settings.helpdesk_secrets is None):
        problems.append(f"{PREFIX}HELPDESK_MAPPING and {PREFIX}HELPDESK_SECRETS go together")


def _check_usage(settings: Settings, problems: list[str]) -> None:
    """What is counted apart is all that is ever written down of a visit."""
    sites, pages = (settings.usage_sites or "").split(), settings.usage_pages.split()
    for site in sites:
        parts = _url(site)
        if (
            parts is None
            or parts.scheme not in {"http", "https"}
            or not parts.hostname
            # As browsers say it, and nothing behind it.
            or site != f"{parts.scheme}://{parts.netloc}".lower()
            or "@" in site
        ):
            problems.append(f"{PREFIX}USAGE_SITES must be {_wants()['usage_sites'].text}")
        elif parts.scheme == "http" and not _is_loopback(parts.hostname):
            problems.append(f"{PREFIX}USAGE_SITES must be https, unless a site is on this host")
    if len(sites) > _MAX_SITES or len(set(sites)) != len(sites):
        problems.append(f"{PREFIX}USAGE_SITES must be {_wants()['usage_sites'].text}")
    good = all(map(_PAGE.fullmatch, pages))
    if not good or len(pages) > _MAX_PAGES or len(set(pages)) != len(pages):
        problems.append(f"{PREFIX}USAGE_PAGES must be {_wants()['usage_pages'].text}")


def _check_mail(settings: Settings, problems: list[str]) -> None:
    """The one way out for answers, and the addresses of the company's own."""
    own = sorted(settings.mailboxes)
    if not all(_MAILBOX.fullmatch(each) for each in own):
        problems.append(f"{PREFIX}MAIL_RECIPIENTS must be {_wants()['mail_recipients'].text}")
    if (settings.mail_relay is None) != (settings.mail_sender is None):
        problems.append(f"{PREFIX}MAIL_RELAY and {PREFIX}MAIL_SENDER go together")
    if settings.mail_sender is not None and not _MAILBOX.fullmatch(settings.mail_sender):
        problems.append(f"{PREFIX}MAIL_SENDER must be {_wants()['mail_sender'].text}")
    if settings.mail_relay is not None:
        parts = _url(settings.mail_relay)
        wrong = (
            parts is None
            or parts.scheme not in {"smtp", "smtps"}
            or not parts.hostname
            or not parts.port
            or any((parts.username, parts.password, parts.path, parts.query, parts.fragment))
            or (parts.scheme == "smtp" and not _is_loopback(parts.hostname))
        )
        if wrong:
            problems.append(f"{PREFIX}MAIL_RELAY must be {_wants()['mail_relay'].text}")


def _check_production(settings: Settings, problems: list[str]) -> None:
    if not settings.production:
        return
    if settings.stand_in:
        problems.append(
            f"{PREFIX}STAND_IN is refused in production: bring a PostgreSQL and a Vault of your own"
        )
    if settings.ledger_stop_seconds > LEDGER_STOP_SECONDS:
        problems.append(
            f"{PREFIX}LEDGER_STOP_SECONDS may be {LEDGER_STOP_SECONDS} at most in production"
        )
    if settings.issuer is None and settings.process_role is not ProcessRole.INGEST:
        problems.append(f"{PREFIX}ISSUER is missing: it must be {_wants()['issuer'].text}")


def _refuse(problems: list[str]) -> None:
    if problems:
        raise SettingsError(
            "; ".join(problems), hint="vault-service config check shows every setting"
        )


def forget_headers(environ: MutableMapping[str, str] | None = None) -> None:
    """Remove variables that WSGI would take for a request's headers or its frame.

    Granian mixes the environment into every request, where a variable `HTTP_PROXY` is a header
    `Proxy` that nobody sent. Libraries that look for a proxy find `http_proxy`.
    """
    environ = os.environ if environ is None else environ
    for name in [name for name in environ if name.startswith(_LIKE_CGI)]:
        del environ[name]


def default_environment(values: Mapping[str, str]) -> None:
    """Set variables that are not set yet, for libraries that are loaded later."""
    for name, value in values.items():
        os.environ.setdefault(name, value)


def load(
    environ: MutableMapping[str, str] | None = None, *, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Read the settings, once, at start; removes secrets from the environment.

    Args:
        environ: the environment; the process's own when left out.
        overrides: values that win over both sources, from a command line.

    Raises:
        SettingsError: one or more settings are unknown, unreadable or wrong; all are named.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    config = environ.get(CONFIG_NAME)
    found = {} if config is None else _from_file(Path(config), problems)
    found |= _from_environment(environ, problems)
    for name, value in (overrides or {}).items():
        if value is not None:
            found[name] = _Found(str(value), "command line")
    values = _convert(found, problems)
    _refuse(problems)
    settings = Settings(**values, sources={name: raw.source for name, raw in found.items()})
    _check_urls(settings, problems)
    _check_webhooks(settings, problems)
    _check_usage(settings, problems)
    _check_mail(settings, problems)
    _check_production(settings, problems)
    _refuse(problems)
    return settings


def declared_environment(environ: Mapping[str, str] | None = None) -> str | None:
    """What `VAULT_SERVICE_ENV` says; `vault-service up` asks first, to refuse production."""
    return (os.environ if environ is None else environ).get(PREFIX + "ENV")


def for_children(
    config: Path, *, decided: Iterable[str], environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment for the service's own processes, started from one settings file.

    Args:
        config: the file.
        decided: settings that the file decides; the environment's word on them is left out.
        environ: the environment; this process's own when left out.
    """
    environ = os.environ if environ is None else environ
    dropped = {f"{_environment_name(name)}{end}" for name in decided for end in ("", "_FILE")}
    kept = {name: value for name, value in environ.items() if name not in dropped}
    return kept | {CONFIG_NAME: str(config)}
