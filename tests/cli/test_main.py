"""The command line: options, callers, exit codes, and what it never shows."""

from __future__ import annotations

import importlib
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.support.small_service import KEY, Says, SmallService, problem
from vault_service.cli.commands import ApiCommand
from vault_service.cli.exits import ExitCode, tell
from vault_service.cli.main import _LAZY, root, run
from vault_service.settings import PREFIX

CARD = "4242424242424242"


@pytest.fixture
def call(small: SmallService, key_file: Path) -> Callable[..., int]:
    """Runs the command against the small server."""

    def calling(*arguments: str) -> int:
        return run(["--url", small.base_url, "--key-file", str(key_file), *arguments])

    return calling


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a text on standard input."""

    def put(text: str) -> None:
        stream = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")
        monkeypatch.setattr("sys.stdin", stream)

    return put


def every_command() -> list[tuple[str, click.Command]]:
    """Each command with its path."""
    found: list[tuple[str, click.Command]] = []
    todo: list[tuple[str, click.Command]] = [("", root)]
    while todo:
        path, command = todo.pop()
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None, name
                todo.append((f"{path} {name}".strip(), child))
        else:
            found.append((path, command))
    return found


def test_every_command_helps_itself() -> None:
    """Each command loads, has a sentence about itself, `--json` and help that prints."""
    commands = every_command()
    assert len(commands) > 40
    for path, command in commands:
        assert command.help, path
        assert any("--json" in each.opts for each in command.params), path
        answer = CliRunner().invoke(root, [*path.split(), "--help"])
        assert answer.exit_code == 0, path


def test_no_command_takes_a_value_or_a_key_as_an_argument() -> None:
    """Card numbers and keys never stand on a command line."""
    for path, command in every_command():
        names = {name for each in command.params for name in (*each.opts, each.name or "")}
        assert not names & {"--value", "--number", "--key-secret", "--password", "value"}, path


def test_lazy_names_lead_to_their_commands() -> None:
    """Each name of the table is the name of the command behind it."""
    for name, place in _LAZY.items():
        module, _, attribute = place.partition(":")
        assert getattr(importlib.import_module(module), attribute).name == name


def test_exit_codes_stand_in_the_help() -> None:
    """Every exit code is documented where people look."""
    text = CliRunner().invoke(root, ["--help"]).output
    for code in ExitCode:
        assert f"\n    {code.value}  " in text


def test_environment_names_do_not_collide_with_the_settings() -> None:
    """The service refuses unknown settings; the command's own names are of another family."""
    for _, command in [*every_command(), ("", root)]:
        for each in command.params:
            names = each.envvar if isinstance(each.envvar, list) else [each.envvar]
            assert not any(name and name.startswith(PREFIX) for name in names)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, ExitCode.FAILURE),
        (401, ExitCode.REFUSED),
        (403, ExitCode.REFUSED),
        (404, ExitCode.NOT_FOUND),
        (409, ExitCode.CONFLICT),
        (422, ExitCode.FAILURE),
        (500, ExitCode.FAILURE),
    ],
)
def test_an_answer_has_its_exit_code(
    small: SmallService,
    call: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    status: int,
    code: ExitCode,
) -> None:
    """The HTTP status decides; with --json the error is JSON on standard error."""
    small.always = lambda _: problem(status, "some_code", hint="do this")
    assert call("tokens", "show", "tok_1", "--json") == code
    out, err = capsys.readouterr()
    assert out == ""
    told = json.loads(err)
    assert told["exit"] == code
    assert told["error"]["code"] == "some_code"
    assert told["error"]["status"] == status
    assert call("tokens", "show", "tok_1") == code
    assert "Hint: do this" in capsys.readouterr().err


def test_a_service_that_is_not_there(capsys: pytest.CaptureFixture[str], key_file: Path) -> None:
    """Exit 6, and how to start one."""
    head = ["--url", "http://127.0.0.1:9", "--key-file", str(key_file)]
    assert run([*head, "disclosures", "approve", "dis_1"]) == ExitCode.UNAVAILABLE
    assert "vault-service up" in capsys.readouterr().err
    assert run([*head, "ready"]) == ExitCode.UNAVAILABLE


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["tokens", "nonsense"],
        ["tokens", "create"],
        ["tokens", "create", "--class", "payment_card"],
        ["tokens", "create", "--class", "nonsense", "--customer", "c"],
        ["tokens", "create", "--class", "telephone", "--customer", "c", "--external-ref", "x"],
        ["--timeout", "0", "ready"],
        ["disclosures", "create", "--ground", "x"],
        ["disclosures", "create", "--evidence", "x"],
        ["export"],
        ["import", "no-such-file.csv"],
        ["completion", "powershell"],
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be meant is refused before anything is sent, with where to look."""
    assert run(arguments) == ExitCode.USAGE
    assert "--help" in capsys.readouterr().err
    assert run([*arguments, "--json"]) == ExitCode.USAGE
    assert json.loads(capsys.readouterr().err)["exit"] == ExitCode.USAGE


# ------------------------------------------------------------ who calls


def credentials(folder: Path, base_url: str, *names: tuple[str, str]) -> Path:
    """A credentials file."""
    file = folder / "credentials.json"
    principals = [{"name": name, "roles": [role], "key": KEY} for name, role in names]
    file.touch(mode=0o600)
    file.write_text(json.dumps({"base_url": base_url, "principals": principals}))
    return file


def test_the_caller_is_chosen_by_role(small: SmallService, tmp_path: Path) -> None:
    """Without --as the one principal with the command's role calls."""
    file = credentials(tmp_path, small.base_url, ("shop", "billing"), ("desk", "support"))
    assert run(["--credentials", str(file), "customers", "create", "crm-1"]) == 0
    assert small.seen[-1].headers["Authorization"] == f"Bearer {KEY}"


def test_two_officers_must_be_told_apart(
    small: SmallService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four eyes need to know whose these are: the names are offered."""
    file = credentials(tmp_path, small.base_url, ("ann", "officer"), ("bob", "officer"))
    head = ["--credentials", str(file)]
    assert run([*head, "disclosures", "approve", "dis_1"]) == ExitCode.USAGE
    assert "ann, bob" in capsys.readouterr().err
    assert run([*head, "disclosures", "approve", "dis_1", "--as", "bob"]) == ExitCode.NOT_FOUND
    assert run([*head, "--as", "eve", "tokens", "show", "t"]) == ExitCode.USAGE


def test_nobody_is_no_caller(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a credentials file and without a key nothing is sent."""
    monkeypatch.chdir(tmp_path)
    assert run(["tokens", "show", "tok_1"]) == ExitCode.USAGE
    assert "--key-file" in capsys.readouterr().err


def test_a_first_runs_credentials_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: SmallService
) -> None:
    """var/credentials.json is used where it is, and says where the service answers."""
    (tmp_path / "var").mkdir()
    credentials(tmp_path / "var", small.base_url, ("billing", "billing"))
    monkeypatch.chdir(tmp_path)
    assert run(["customers", "create", "crm-1"]) == 0


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(
    small: SmallService, tmp_path: Path, key_file: Path, mode: int
) -> None:
    """Files with keys must be private."""
    key_file.chmod(mode)
    head = ["--url", small.base_url]
    assert run([*head, "--key-file", str(key_file), "tokens", "show", "t"]) == ExitCode.USAGE
    file = credentials(tmp_path, small.base_url, ("billing", "billing"))
    file.chmod(mode)
    assert run(["--credentials", str(file), "tokens", "show", "t"]) == ExitCode.USAGE
    assert small.seen == []


@pytest.mark.parametrize("content", ["", "{}", "[]", "not json", '{"principals":[{"name":1}]}'])
def test_a_file_that_is_no_credentials_file(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken files are named and not repeated."""
    file = credentials(tmp_path, "http://127.0.0.1:9")
    file.write_text(content)
    assert run(["--credentials", str(file), "tokens", "show", "t"]) == ExitCode.USAGE
    assert str(file) in capsys.readouterr().err


def test_options_come_from_the_environment_too(
    monkeypatch: pytest.MonkeyPatch, small: SmallService, key_file: Path
) -> None:
    """VSCTL_URL and VSCTL_KEY_FILE say it; the command line wins."""
    monkeypatch.setenv("VSCTL_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("VSCTL_KEY_FILE", str(key_file))
    assert run(["--url", small.base_url, "customers", "create", "a"]) == 0
    assert run(["customers", "create", "a", "--url", small.base_url]) == 0


def test_a_key_does_not_travel_in_clear(key_file: Path) -> None:
    """Clear http to another machine is refused before anything is sent."""
    head = ["--url", "http://10.255.255.1", "--key-file", str(key_file)]
    assert run([*head, "tokens", "show", "t"]) == ExitCode.USAGE


# ------------------------------------------------------------ values


def test_a_value_comes_from_standard_input(
    small: SmallService,
    call: Callable[..., int],
    typed: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A JSON object for a card, plain text for the rest; only masks are shown."""
    card = {"number": CARD, "exp_month": 12, "exp_year": 2035}
    typed(json.dumps(card))
    assert call("tokens", "create", "--class", "payment_card", "--customer", "cus_1") == 0
    assert small.seen[-1].body["value"] == card
    typed("+49 30 901820\n")
    more = ("--external-ref", "crm-1", "--reference", "r", "--metadata", "a=b", "--json")
    assert call("tokens", "create", "--class", "telephone", *more) == 0
    assert small.seen[-1].body["metadata"] == {"a": "b"}
    assert CARD not in capsys.readouterr().out


def test_a_value_comes_from_a_file(
    call: Callable[..., int], small: SmallService, tmp_path: Path
) -> None:
    """`--value-file` names it."""
    file = tmp_path / "value"
    file.write_text("Müller & Söhne\n", encoding="utf-8")
    head = ("tokens", "create", "--class", "business_name", "--customer", "cus_1")
    assert call(*head, "--value-file", str(file)) == 0
    assert small.seen[-1].body["value"] == "Müller & Söhne"
    assert call(*head, "--value-file", str(tmp_path / "none")) == ExitCode.USAGE


def test_a1_a_verification_code_is_not_even_sent(
    call: Callable[..., int],
    small: SmallService,
    typed: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A field that may never be kept is refused here already."""
    typed(json.dumps({"number": CARD, "cvc": "987"}))
    head = ("tokens", "create", "--class", "payment_card", "--customer", "cus_1")
    assert call(*head) == ExitCode.FAILURE
    assert small.seen == []
    told = capsys.readouterr().err
    assert "sensitive_authentication_data" in told
    assert "987" not in told
    assert CARD not in told


@pytest.mark.parametrize("text", ["", "  \n", "{", '{"number": "4242'])
def test_a_value_that_is_none_is_refused_without_repeating_it(
    call: Callable[..., int],
    typed: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    text: str,
) -> None:
    """Broken input is told by its code."""
    typed(text)
    head = ("tokens", "create", "--class", "payment_card", "--customer", "cus_1")
    assert call(*head) == ExitCode.USAGE
    assert "4242" not in capsys.readouterr().err


def test_a_prompt_does_not_echo(small: SmallService, key_file: Path) -> None:
    """At a terminal the value is asked for and not shown while it is typed."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "vault_service", "--url", small.base_url,
            "--key-file", str(key_file), "tokens", "create", "--class", "telephone",
            "--customer", "cus_1",
        ],
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while b"not shown" not in shown:
        shown += os.read(master, 1024)
    os.write(master, b"+49 30 901820\n")
    try:
        while chunk := os.read(master, 1024):
            shown += chunk
    except OSError:  # a terminal whose other side has closed
        pass
    assert process.wait(20) == 0, shown
    os.close(master)
    assert small.seen[-1].body["value"] == "+49 30 901820"
    assert b"901820" not in shown


# ------------------------------------------------------------ what is shown


def test_an_unforeseen_error_is_told_by_its_type_only() -> None:
    """A message that nobody foresaw may quote anything."""
    told = tell(RuntimeError(CARD))
    assert told.exit_code is ExitCode.FAILURE
    assert CARD not in told.as_text()
    assert CARD not in json.dumps(told.as_json())


def test_control_characters_do_not_reach_the_terminal(
    small: SmallService, call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """What others wrote cannot move the cursor or colour the line."""
    small.always = lambda _: Says(
        200,
        {
            "id": "tok_1", "class": "business_name", "customer": "cus_1", "format": "opaque",
            "mask": {"name": "\x1b[31mred[/red] [bold]"}, "version": 1, "deduplicated": False,
            "created_at": "2030-01-01T00:00:00Z", "reference": "\x07",
        },
    )  # fmt: skip
    assert call("tokens", "show", "tok_1") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[31mred[/red] [bold]" in out


def test_erasing_asks_first(
    small: SmallService, call: Callable[..., int], typed: Callable[[str], None]
) -> None:
    """Without --yes and without a yes nothing is erased."""
    typed("n\n")
    assert call("tokens", "delete", "tok_1") == ExitCode.FAILURE
    assert small.seen == []
    small.always = lambda _: Says(204)
    assert call("tokens", "delete", "tok_1", "--yes", "--json") == 0
    assert small.seen[-1].method == "DELETE"


def test_a_new_key_can_go_to_a_file(
    small: SmallService,
    call: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`--key-out` writes it (0600) and shows it nowhere; an existing file is left alone."""
    secret = "vk_new_" + "s" * 20
    small.always = lambda _: Says(
        201,
        {
            "id": "key_1", "state": "pending", "key": secret,
            "principal": {
                "id": "prn_1", "name": "n", "roles": ["officer"], "state": "active",
                "created_at": "2030-01-01T00:00:00Z", "keys": [],
            },
        },
    )  # fmt: skip
    file = tmp_path / "new-key"
    create = ("principals", "create", "n", "--role", "officer", "--key-out", str(file))
    assert call(*create) == 0
    assert secret not in "".join(capsys.readouterr())
    assert file.read_text() == secret + "\n"
    assert file.stat().st_mode & 0o777 == 0o600
    count = len(small.seen)
    assert call(*create) == ExitCode.USAGE
    assert len(small.seen) == count


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A script for each shell."""
    assert run(["completion", shell]) == 0
    assert "_VAULT_SERVICE_COMPLETE" in capsys.readouterr().out


def test_completion_answers_a_shell() -> None:
    """What the script asks is answered: commands and their options."""
    environment = {
        **os.environ,
        "_VAULT_SERVICE_COMPLETE": "bash_complete",
        "COMP_WORDS": "vault-service tok",
        "COMP_CWORD": "1",
    }
    answer = subprocess.run(
        [sys.executable, "-m", "vault_service"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "tokens" in answer.stdout


def test_version_and_a_closed_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """The version prints; a reader that goes away is no traceback."""
    assert run(["version", "--json"]) == 0
    assert "python" in json.loads(capsys.readouterr().out)
    process = subprocess.Popen(
        [sys.executable, "-m", "vault_service", "policy", "show", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(20) == ExitCode.FAILURE


def test_api_commands_name_their_roles() -> None:
    """Each call has a role by which its caller is chosen; only `ready` needs none."""
    for path, command in every_command():
        if isinstance(command, ApiCommand) and path != "ready":
            assert command._roles, path
