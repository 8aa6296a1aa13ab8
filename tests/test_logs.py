"""What reaches a log, and what never does."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from vault_service import logs
from vault_service.masking import MASK, mask
from vault_service.settings import LogFormat, LogLevel

CARD = "4242424242424242"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Log into memory, and put logging back afterwards."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    stream = io.StringIO()
    logs.configure(process="test", stream=stream)
    yield stream
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = before


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    """The lines as objects."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object(lines: io.StringIO) -> None:
    """A line holds time in UTC, level, event and process, and is one line whatever it says."""
    structlog.get_logger().info("request", status=200, route="/v1/tokens", reason="a\nb")
    (line,) = read(lines)
    assert line["timestamp"].endswith("Z")
    assert (line["level"], line["event"], line["process"]) == ("info", "request", "test")
    assert line["reason"] == "a\nb"


def test_fields_off_the_list_are_dropped(lines: io.StringIO) -> None:
    """A field that is not on the list does not appear, and the line counts it."""
    structlog.get_logger().info("request", value={"number": CARD}, body="x", status=1)
    (line,) = read(lines)
    assert "value" not in line
    assert "body" not in line
    assert line["dropped"] == 2
    assert line["status"] == 1


def test_unknown_types_show_as_their_name(lines: io.StringIO) -> None:
    """An object on an allowed field shows as its type, because its text is not known."""
    structlog.get_logger().info("x", reason={"number": CARD}, code=ValueError(CARD))
    (line,) = read(lines)
    assert line["reason"] == "<dict>"
    assert line["code"] == "<ValueError>"


def test_an_exception_is_type_code_and_places(lines: io.StringIO) -> None:
    """An exception's message and its causes' messages stay out; types and places come in."""

    class KeysFailure(Exception):
        code = "vault_denied"

    def fail() -> None:
        try:
            int("plaintext " + CARD)
        except ValueError as error:
            raise KeysFailure("data key AAAA") from error

    try:
        fail()
    except KeysFailure:
        structlog.get_logger().exception("failed")
    (line,) = read(lines)
    text = lines.getvalue()
    assert "plaintext" not in text
    assert "data key" not in text
    assert line["error"].endswith("KeysFailure")
    assert line["code"] == "vault_denied"
    assert line["cause"] == ["builtins.ValueError"]
    assert "test_logs.py:" in line["frames"][-1]
    assert line["level"] == "error"


def test_libraries_come_through_the_same_pipeline(lines: io.StringIO) -> None:
    """What a library logs has its template only; its arguments and messages stay out."""
    logging.getLogger("sqlalchemy.engine").warning("statement %s", "INSERT " + CARD)
    try:
        int("parameters: secret")
    except ValueError:
        logging.getLogger("urllib3").exception("retry")
    first, second = read(lines)
    assert first["message"] == "statement %s"
    assert second["error"] == "builtins.ValueError"
    assert "secret" not in lines.getvalue()


def test_the_server_is_heard_in_full(lines: io.StringIO) -> None:
    """The server's own messages are about itself and keep their arguments."""
    logging.getLogger("_granian").error("Unexpected exit from worker-%d", 1)
    assert read(lines)[0]["message"] == "Unexpected exit from worker-1"


def test_levels_below_the_chosen_one_are_silent() -> None:
    """Nothing below the level is written."""
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:]
    logs.configure(process="test", level=LogLevel.WARNING, stream=stream)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = before
    assert [line["event"] for line in read(stream)] == ["loud"]


def test_alarms_reach_their_listeners(lines: io.StringIO) -> None:
    """A line with the field `alarm` is told to whoever counts alarms."""
    heard: list[str] = []
    logs.on_alarm(heard.append)
    structlog.get_logger().critical("secret id taken", alarm="secret_id_intercepted")
    logs._alarm_listeners.remove(heard.append)
    assert heard == ["secret_id_intercepted"]
    assert read(lines)[0]["alarm"] == "secret_id_intercepted"


def test_people_get_readable_lines() -> None:
    """The console form is one line of words, without control characters of others."""
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:]
    logs.configure(process="test", form=LogFormat.CONSOLE, stream=stream)
    structlog.get_logger().warning("started", port=8443, reason="a\x1b[2Jb")
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = before
    line = stream.getvalue()
    assert "started" in line
    assert "port=8443" in line
    assert "\x1b" not in line


def test_a_broken_log_fails_nobody() -> None:
    """A log that cannot be written does not fail the request that it tells of."""
    stream = io.StringIO()
    target = logs._Lines(stream)
    stream.close()
    target.msg("line")


@pytest.mark.parametrize(
    "secret",
    [
        CARD,
        "4242 4242 4242 4242",
        "3782-822463-10005",
        "vk_0123456789abcdef_" + "0123456789abcdefghjkmnpqrstvwxyz" * 2,
        "hvs.CAESIJ_abcdefghijklmnop",
        "s.abcdefghijklmnopqrstuvwx",
        "vault:v3:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zoCmHnSeDX9vyf7w==",
        "eyJhbGciOiJFZDI1NTE5In0.eyJpc3MiOiJ4In0.c2lnbmF0dXJl",
        "8f14e45fceea167a5a36dedd4bea2543c81e728d9d4c2f636f067f89cc14862c",
        "7Lh3kq9ZpX0aB+cD/eF1gH2iJ3kL4mN5oP6qR7sT8u0=",
    ],
)
@pytest.mark.parametrize("frame", ["{}", "before {} after", '{{"reason":"{}"}}', "x={},y"])
def test_a2_the_last_filter_masks(secret: str, frame: str) -> None:
    """No card number, API key, Vault token, ciphertext, JWS or likely key leaves the filter."""
    masked = mask(frame.format(secret))
    assert secret not in masked
    assert MASK in masked
    assert masked.startswith(frame.split("{}", maxsplit=1)[0].replace("{{", "{"))


@pytest.mark.parametrize(
    "digits",
    [
        "\u24ea\u2460\u2461\u2462\u2463\u2464\u2465\u2466\u2467\u2468",
        "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079",
    ],
)
def test_a_card_number_in_other_digits_is_masked(digits: str) -> None:
    """Characters that have the value of a digit and are none to a regular expression."""
    number = "4242424242424242".translate(
        {ord(str(value)): digit for value, digit in enumerate(digits)}
    )
    assert number not in mask(f"hint={number} request_id=req_01a2b3")


def test_a_database_password_is_masked() -> None:
    """The user and the password in a URL are masked, its host is not."""
    masked = mask("cannot reach postgresql://vault_ingest:hunter2@db.example:5432/vault")
    assert "hunter2" not in masked
    assert "@db.example:5432/vault" in masked


@pytest.mark.parametrize(
    "harmless",
    [
        "tok_0h" + "0123456789abcdefghjkmnpqrs",
        "0192f0c1-7c1e-7b3a-8c55-2d1f5f3c9a10",
        "2026-11-23T04:27:00.123456Z",
        "vault_service/services/tokenization.py:331",
        "req_0123456789abcdefghjkmnpqrs",
        "424242******4242",
    ],
)
def test_the_last_filter_leaves_names_alone(harmless: str) -> None:
    """Identifiers, times, masks and places in the code stay readable."""
    assert mask(harmless) == harmless
