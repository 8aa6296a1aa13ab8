"""Settings: read once, checked, frozen, and never shown where they are secrets."""

from __future__ import annotations

import dataclasses
import os
import pickle
from pathlib import Path

import pytest

from vault_service import settings
from vault_service.errors import SettingsError
from vault_service.settings import Environment, ProcessRole, Settings, load

URL = "postgresql://vault_ingest:hunter2@db.example/vault"
GOOD = {"VAULT_SERVICE_ISSUER": "https://vault.example"}


def refused(environ: dict[str, str]) -> str:
    """The message with which an environment is refused."""
    with pytest.raises(SettingsError) as error:
        load(environ)
    assert error.value.hint is not None
    return error.value.detail


def test_defaults_are_for_production() -> None:
    """Without a word the service is in production, on this host only, behind no proxy."""
    found = load(dict(GOOD))
    assert found.env is Environment.PRODUCTION
    assert found.host == "127.0.0.1"
    assert found.trusted_proxies == 0
    assert found.workers == len(os.sched_getaffinity(0))
    assert found.policy_file.suffix == ".toml"


def test_no_secret_has_a_default() -> None:
    """Every secret is unset until somebody sets it."""
    found = load(dict(GOOD))
    assert [getattr(found, name) for name in settings._secrets()] == [None] * 7


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A setting of the file holds until the environment says otherwise; both tell their source."""
    file = tmp_path / "vault.toml"
    file.write_text('port = 9000\nhost = "0.0.0.0"\nissuer = "https://vault.example"\n')
    found = load({"VAULT_SERVICE_CONFIG": str(file), "VAULT_SERVICE_PORT": "9001"})
    assert (found.host, found.port) == ("0.0.0.0", 9001)  # noqa: S104 -- a made-up setting
    assert found.sources["host"] == "configuration file"
    assert found.sources["port"] == "environment"


def test_the_command_line_wins_over_both() -> None:
    """What a person types now wins; what was not typed does not."""
    overrides = {"port": 9002, "host": None, "process_role": "reveal"}
    found = load(GOOD | {"VAULT_SERVICE_PORT": "9001"}, overrides=overrides)
    assert (found.port, found.host) == (9002, "127.0.0.1")
    assert found.process_role is ProcessRole.REVEAL
    assert found.sources["port"] == "command line"


def test_secrets_leave_the_environment() -> None:
    """A secret is gone from the environment once it was read; the rest stays."""
    environ = GOOD | {"VAULT_SERVICE_DATABASE_INGEST_URL": URL, "VAULT_SERVICE_PORT": "9001"}
    assert load(environ).database_ingest_url == URL
    assert "VAULT_SERVICE_DATABASE_INGEST_URL" not in environ
    assert "VAULT_SERVICE_PORT" in environ


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    """A secret's file is read without its line break, and its name leaves the environment."""
    file = tmp_path / "url"
    file.write_text(URL + "\n")
    environ = GOOD | {"VAULT_SERVICE_DATABASE_INGEST_URL_FILE": str(file)}
    found = load(environ)
    assert found.database_ingest_url == URL
    assert found.sources["database_ingest_url"] == "secret file"
    assert "VAULT_SERVICE_DATABASE_INGEST_URL_FILE" not in environ


def test_a_secret_in_two_places_is_refused(tmp_path: Path) -> None:
    """A secret and its file exclude each other, in the environment and in the file."""
    file = tmp_path / "url"
    file.write_text(URL)
    name = "VAULT_SERVICE_DATABASE_INGEST_URL"
    assert "both set" in refused(GOOD | {name: URL, f"{name}_FILE": str(file)})
    config = tmp_path / "vault.toml"
    config.write_text(f'database_ingest_url = "{URL}"\ndatabase_ingest_url_file = "url"\n')
    config.chmod(0o600)
    assert "both set" in refused(GOOD | {"VAULT_SERVICE_CONFIG": str(config)})


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff", b"x" * 20_000])
def test_a_bad_secret_file_is_named_and_not_shown(tmp_path: Path, content: bytes | None) -> None:
    """A secret's file that is missing, empty, no text or too large is refused by name."""
    file = tmp_path / "url"
    if content is not None:
        file.write_bytes(content)
    message = refused(GOOD | {"VAULT_SERVICE_DATABASE_INGEST_URL_FILE": str(file)})
    assert message.startswith("VAULT_SERVICE_DATABASE_INGEST_URL_FILE")
    assert "xxx" not in message


def test_a_configuration_file_with_secrets_must_be_private(tmp_path: Path) -> None:
    """A secret in a file that others may read is refused; 0600 or a file of its own is not."""
    config = tmp_path / "vault.toml"
    config.write_text(f'issuer = "https://vault.example"\ndatabase_ingest_url = "{URL}"\n')
    config.chmod(0o644)
    message = refused({"VAULT_SERVICE_CONFIG": str(config)})
    assert "database_ingest_url" in message
    assert "hunter2" not in message
    config.chmod(0o600)
    assert load({"VAULT_SERVICE_CONFIG": str(config)}).database_ingest_url == URL


def test_a_secret_file_of_the_configuration_is_beside_it(tmp_path: Path) -> None:
    """A relative name in the configuration file means a file in its folder."""
    (tmp_path / "url").write_text(URL)
    config = tmp_path / "vault.toml"
    config.write_text('issuer = "https://vault.example"\ndatabase_ingest_url_file = "url"\n')
    assert load({"VAULT_SERVICE_CONFIG": str(config)}).database_ingest_url == URL


BAD = [
    ("PORT", "0"),
    ("PORT", "65536"),
    ("PORT", "http"),
    ("WORKERS", "0"),
    ("THREADS", "-1"),
    ("ENV", "staging"),
    ("PROCESS_ROLE", "everything"),
    ("STAND_IN", "perhaps"),
    ("HOST", ""),
    ("HOST", "a b"),
    ("TRUSTED_PROXIES", "99"),
    ("REQUEST_SECONDS", "0"),
    ("MAX_BODY_BYTES", "1"),
    ("RATE_LIMIT", "-1"),
    ("VAULT_PREFIX", "Vault/"),
    ("VAULT_ADDRESS", "vault.example"),
    ("VAULT_ADDRESS", "ftp://vault.example"),
    ("VAULT_ADDRESS", "https://user:password@vault.example"),
    ("VAULT_ADDRESS", "https://vault.example:99999"),
    ("LOG_LEVEL", "loud"),
    ("POLICY_FILE", ""),
    ("DATABASE_REVEAL_URL", "mysql://user:hunter2@db/vault"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_setting_names_itself_and_not_its_value(name: str, value: str) -> None:
    """A bad setting is refused by name, with what it should be, and without what it is."""
    message = refused(GOOD | {f"VAULT_SERVICE_{name}": value})
    assert f"VAULT_SERVICE_{name}" in message
    if len(value) > 5:
        assert value not in message
    assert "hunter2" not in message


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Two bad settings are two messages."""
    message = refused(GOOD | {"VAULT_SERVICE_PORT": "x", "VAULT_SERVICE_WORKERS": "x"})
    assert "VAULT_SERVICE_PORT" in message
    assert "VAULT_SERVICE_WORKERS" in message


def test_an_unknown_setting_is_refused_with_the_nearest_known() -> None:
    """A mistyped name would otherwise be a setting that silently does not hold."""
    message = refused(GOOD | {"VAULT_SERVICE_PROT": "1"})
    assert "did you mean VAULT_SERVICE_PORT?" in message


@pytest.mark.parametrize("text", ["prot = 1", "port = ", "port = '1'", "workers = true"])
def test_a_bad_configuration_file_is_refused(tmp_path: Path, text: str) -> None:
    """Unknown names, broken TOML and wrong types are refused; text is no number there."""
    config = tmp_path / "vault.toml"
    config.write_text(f'issuer = "https://vault.example"\n{text}\n')
    refused({"VAULT_SERVICE_CONFIG": str(config)})


def test_a_missing_configuration_file_is_refused() -> None:
    """A named file that is not there is an error, not an empty file."""
    assert "VAULT_SERVICE_CONFIG" in refused(GOOD | {"VAULT_SERVICE_CONFIG": "/nowhere.toml"})


def test_production_refuses_stand_ins() -> None:
    """A stand-in for Vault or PostgreSQL is refused in production, and allowed in development."""
    message = refused(GOOD | {"VAULT_SERVICE_STAND_IN": "true"})
    assert "VAULT_SERVICE_STAND_IN" in message
    development = {"VAULT_SERVICE_ENV": "development", "VAULT_SERVICE_STAND_IN": "true"}
    assert load(development).stand_in


@pytest.mark.parametrize(
    ("address", "fine"),
    [
        ("http://127.0.0.1:8200", True),
        ("http://[::1]:8200", True),
        ("http://localhost:8200", True),
        ("https://vault.example:8200", True),
        ("http://vault.example:8200", False),
        ("http://10.0.0.7:8200", False),
        ("http://127.0.0.1.example", False),
    ],
)
def test_production_wants_tls_to_vault(address: str, *, fine: bool) -> None:
    """Plain HTTP to Vault is for this host only."""
    environ = GOOD | {"VAULT_SERVICE_VAULT_ADDRESS": address}
    if fine:
        assert load(environ).vault_address == address
    else:
        assert "https in production" in refused(environ)


@pytest.mark.parametrize(
    "issuer",
    [
        "vault",
        "ftp://vault.example",
        "https://",
        "https://u@vault.example",
        "https://v.example?a=b",
    ],
)
def test_the_issuer_is_an_address(issuer: str) -> None:
    """Callers prove possession for it, so it is one that they can reach."""
    assert "VAULT_SERVICE_ISSUER" in refused({"VAULT_SERVICE_ISSUER": issuer})


def test_production_wants_an_issuer() -> None:
    """Without an issuer nobody could tell whose a disclosure token is."""
    assert "VAULT_SERVICE_ISSUER" in refused({})
    assert load({"VAULT_SERVICE_PROCESS_ROLE": "ingest"}).issuer is None


def test_settings_are_frozen_and_show_no_secret() -> None:
    """Settings cannot be changed, and no representation holds a secret."""
    found = load(GOOD | {"VAULT_SERVICE_DATABASE_INGEST_URL": URL})
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.port = 1  # type: ignore[misc]
    assert "hunter2" not in repr(found)
    table = {name: (value, source) for name, value, source in found.describe()}
    assert table["database_ingest_url"] == ("set", "environment")
    assert table["database_reveal_url"] == ("not set", "default")
    assert table["stand_in"] == ("false", "default")
    assert table["issuer"] == ("https://vault.example", "environment")
    assert "hunter2" not in str(table)


def test_settings_can_be_handed_to_a_worker() -> None:
    """The parent's settings reach a worker whole, whatever way processes are started."""
    found = load(GOOD | {"VAULT_SERVICE_DATABASE_INGEST_URL": URL})
    copy = pickle.loads(pickle.dumps(found))  # noqa: S301 -- the test's own bytes
    assert isinstance(copy, Settings)
    assert copy == found
    assert copy.database_ingest_url == URL


def test_variables_that_look_like_headers_go_away() -> None:
    """A variable that a WSGI server would mix into requests as a header is removed."""
    environ = {"HTTP_PROXY": "x", "CONTENT_LENGTH": "5", "http_proxy": "y", "PATH": "z"}
    settings.forget_headers(environ)
    assert environ == {"http_proxy": "y", "PATH": "z"}


def test_only_the_settings_read_the_environment() -> None:
    """No other module reads `os.environ` or calls `os.getenv`."""
    root = Path(settings.__file__).parent
    written = {"serve.py"}  # it writes one variable for the metrics' library
    for file in root.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if file.name != "settings.py":
            assert "getenv" not in text, file
            assert ("os.environ" in text) == (file.name in written), file


WHSEC = "whsec_" + "q" * 32


def test_webhooks_are_addresses_with_or_without_a_family() -> None:
    """One setting is the whole list of where messages may go."""
    urls = "https://hooks.example/all alarm=https://pager.example/x?y=1 http://127.0.0.1:9/h"
    found = load(
        GOOD | {"VAULT_SERVICE_WEBHOOK_URLS": urls, "VAULT_SERVICE_WEBHOOK_SECRETS": WHSEC}
    )
    assert found.webhooks == (
        ("", "https://hooks.example/all"),
        ("alarm", "https://pager.example/x?y=1"),
        ("", "http://127.0.0.1:9/h"),
    )
    assert WHSEC not in repr(found)
    assert load(dict(GOOD)).webhooks == ()


@pytest.mark.parametrize(
    ("urls", "secrets", "named"),
    [
        ("http://hooks.example/", WHSEC, "must be https"),
        ("ftp://hooks.example/", WHSEC, "WEBHOOK_URLS must be"),
        ("https:///path", WHSEC, "WEBHOOK_URLS must be"),
        ("https://user:hunter2@hooks.example/", WHSEC, "no user"),
        ("https://hooks.example/#here", WHSEC, "no user and no fragment"),
        ("https://a.example/ https://a.example/", WHSEC, "WEBHOOK_URLS must be"),
        ("https://hooks.example/", None, "WEBHOOK_SECRETS is missing"),
        ("https://hooks.example/", "hunter2", "WEBHOOK_SECRETS must be"),
        (" ".join(f"https://{n}.example/" for n in range(9)), WHSEC, "WEBHOOK_URLS must be"),
    ],
)
def test_webhooks_elsewhere_or_unsigned_are_refused(
    urls: str, secrets: str | None, named: str
) -> None:
    """Clear text leaves this host for nobody, and nothing is sent without a signature."""
    environ = GOOD | {"VAULT_SERVICE_WEBHOOK_URLS": urls}
    if secrets is not None:
        environ["VAULT_SERVICE_WEBHOOK_SECRETS"] = secrets
    told = refused(environ)
    assert named in told
    assert "hunter2" not in told


def test_a_helpdesk_needs_both_its_settings(tmp_path: Path) -> None:
    """A mapping without a secret would trust everybody, a secret without a mapping read nothing."""
    secret = "whsec_" + "A" * 32
    together = "VAULT_SERVICE_HELPDESK_MAPPING and VAULT_SERVICE_HELPDESK_SECRETS go together"
    with pytest.raises(SettingsError, match=together):
        load(GOOD | {"VAULT_SERVICE_HELPDESK_SECRETS": secret})
    with pytest.raises(SettingsError, match=together):
        load(GOOD | {"VAULT_SERVICE_HELPDESK_MAPPING": str(tmp_path / "m.toml")})
    with pytest.raises(SettingsError, match="HELPDESK_SECRETS must be"):
        load(GOOD | {"VAULT_SERVICE_HELPDESK_SECRETS": "whsec_short"})


def test_the_intakes_addresses() -> None:
    """Case does not matter to a mailbox; a relay is this host's, or speaks TLS."""
    given = {
        "VAULT_SERVICE_MAIL_RECIPIENTS": "Changes@Company.example help@company.example",
        "VAULT_SERVICE_MAIL_RELAY": "smtps://relay.company.example:465",
        "VAULT_SERVICE_MAIL_SENDER": "changes@company.example",
    }
    found = load(GOOD | given)
    assert found.mailboxes == {"changes@company.example", "help@company.example"}
    assert load(GOOD | given | {"VAULT_SERVICE_MAIL_RELAY": "smtp://127.0.0.1:25"}).mail_relay
    assert load(dict(GOOD)).mailboxes == frozenset()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAIL_RECIPIENTS", "changes"),
        ("MAIL_SENDER", "changes@company.example\r\nBcc: x@example.com"),
        ("MAIL_SENDER", ""),
        ("MAIL_RELAY", "smtp://relay.company.example:25"),
        ("MAIL_RELAY", "smtp://user:word@127.0.0.1:25"),
        ("MAIL_RELAY", "smtps://relay.company.example"),
        ("MAIL_RELAY", "https://relay.company.example:25"),
    ],
)
def test_other_addresses_are_refused(name: str, value: str) -> None:
    """And the setting is named."""
    given = {
        "VAULT_SERVICE_MAIL_RELAY": "smtp://127.0.0.1:25",
        "VAULT_SERVICE_MAIL_SENDER": "changes@company.example",
        f"VAULT_SERVICE_{name}": value,
    }
    with pytest.raises(SettingsError, match=name):
        load(GOOD | given)


def test_a_relay_needs_a_sender() -> None:
    """And the other way about."""
    with pytest.raises(SettingsError, match="go together"):
        load(GOOD | {"VAULT_SERVICE_MAIL_RELAY": "smtp://127.0.0.1:25"})
