"""The command line against the running service: the whole story, and the operator's tools."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.command import Cli, credentials_file
from tests.support.running import Running
from tests.support.whole import Stage, card, name
from vault_service.cli.exits import ExitCode

NUMBER = "5555555555554444"


@pytest.fixture(scope="module")
def cli(service: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command line with everybody's keys."""
    folder = tmp_path_factory.mktemp("cli")
    people = {
        who: key for who, key in service.keys.items() if who not in {"requester-2", "officer-3"}
    }
    made = Cli(credentials_file(folder, service.base_url, people))
    yield made
    made.close()


@pytest.fixture(scope="module")
def token(cli: Cli) -> str:
    """A card's token."""
    reference = name("crm")
    made = cli(
        "tokens", "create", "--class", "payment_card", "--external-ref", reference,
        typed=json.dumps(card(NUMBER)),
    )  # fmt: skip
    assert made.code == 0, made.err
    return str(made.body["id"])


def test_a_card_goes_in_and_only_its_mask_is_seen(cli: Cli, token: str) -> None:
    """Create, show, list, search and profile show masks; the number shows nowhere."""
    shown = cli("tokens", "show", token)
    customer = shown.body["customer"]
    assert shown.body["mask"]["number"] == "555555******4444"
    listed = cli("tokens", "list", customer)
    assert token in [each["id"] for each in listed.body["items"]]
    found = cli("tokens", "search", "--class", "payment_card", typed=f"{NUMBER}\n4111111111111112")
    assert found.code == ExitCode.SOME_FAILED
    assert token in [each["id"] for each in found.body["results"][0]["tokens"]]
    profile = cli("customers", "show", customer, "--as", "support")
    assert profile.body["tokens"]["payment_card"][0]["id"] == token
    for each in (shown, listed, found, profile):
        assert NUMBER not in each.out + each.err


def test_the_story_of_a_disclosure(cli: Cli, token: str) -> None:
    """Explain, request, approve twice by two officers, reveal, and be refused the replay."""
    request = (
        "--ground", "protect_from_harm", "--recipient-kind", "counterparty",
        "--recipient-name", "Somebody", "--token", token,
    )  # fmt: skip
    refused = cli("disclosures", "explain", *request)
    assert refused.code == ExitCode.REFUSED
    assert {each["code"] for each in refused.body["missing"]} == {"evidence_missing"}
    assert cli("disclosures", "create", *request).error == "disclosure_not_allowed"
    evidence = ("harm=threats", "harmed=a customer", "action=identify", "case_reference=CASE-1")
    full = (*request, *(part for text in evidence for part in ("--evidence", text)))
    assert cli("disclosures", "explain", *full).body["allowed"] is True
    made = cli("disclosures", "create", *full, "--draft").body
    assert made["state"] == "draft"
    disclosure = made["id"]
    assert cli("disclosures", "submit", disclosure).body["state"] == "submitted"
    assert cli("disclosures", "reveal", disclosure).code == ExitCode.CONFLICT
    one, two = ("--as", "officer-1"), ("--as", "officer-2")
    assert cli("disclosures", "approve", disclosure, *one, "--comment", "seen").code == 0
    assert cli("disclosures", "approve", disclosure, *one).code == ExitCode.CONFLICT
    assert cli("disclosures", "approve", disclosure, *two).body["state"] == "active"
    listed = cli("disclosures", "list", "--state", "active", *one)
    assert disclosure in [each["id"] for each in listed.body["items"]]
    assert cli("disclosures", "show", disclosure, *one).body["evidence"]["harm"] == "threats"
    revealed = cli("disclosures", "reveal", disclosure)
    assert revealed.code == 0, revealed.err
    assert revealed.body["results"][0]["value"]["number"] == NUMBER
    assert revealed.body["receipt"]["grant"] == disclosure
    assert cli("disclosures", "reveal", disclosure).code == ExitCode.CONFLICT


def test_the_story_of_a_document(cli: Cli, tmp_path: Path) -> None:
    """Upload with the request, read by an officer, opened to an auditor and closed again."""
    customer = cli("customers", "create", "--as", "billing").body["id"]
    order = tmp_path / "order.txt"
    order.write_text("The court orders.", encoding="utf-8")
    asked = {
        "ground": "legal_process",
        "category": "communication_contents",
        "recipient": {"kind": "court", "name": "District Court"},
        "customer": customer,
        "classes": ["communication"],
        "evidence": {
            "instrument": "warrant", "authority": "District Court", "reference": "1/26",
            "issued": "2026-01-02", "valid_until": "2099-01-01", "instrument_scope": "all",
        },
    }  # fmt: skip
    file = tmp_path / "request.json"
    file.write_text(json.dumps(asked))
    head = ("--file", str(file), "--document")
    assert cli("disclosures", "create", *head, "document=nowhere.pdf").code == ExitCode.USAGE
    assert cli("disclosures", "explain", *head, f"document={order}").body["allowed"] is True
    disclosure = cli("disclosures", "create", *head, f"document={order}").body["id"]
    officer, auditor = ("--as", "officer-1"), ("--as", "auditor")
    copy = str(tmp_path / "copy")
    assert cli("evidence", "read", disclosure, *officer, "--output", copy).code == 0
    assert Path(copy).read_bytes() == order.read_bytes()
    assert cli("evidence", "show", disclosure, *auditor).code == ExitCode.NOT_FOUND
    who = cli("principals", "show", "me", *auditor).body["id"]
    opened = cli("evidence", "open", disclosure, "--auditor", who, "--hours", "1", *officer)
    assert opened.body["auditor"] == who
    assert cli("evidence", "show", disclosure, *auditor).body["evidence"]["reference"] == "1/26"
    assert cli("evidence", "close", disclosure, "--auditor", who, *officer).code == 0
    assert cli("evidence", "show", disclosure, *auditor).code == ExitCode.NOT_FOUND
    assert cli("evidence", "upload", str(order)).body["media_type"] == "text/plain"


def test_a_request_from_a_file_can_be_denied_revoked_and_withdrawn(
    cli: Cli, token: str, tmp_path: Path
) -> None:
    """A JSON file makes the request; each way of ending it has its command."""
    file = tmp_path / "request.json"
    file.write_text(
        json.dumps(
            {
                "ground": "provide_service",
                "recipient": {"kind": "internal", "name": "Billing"},
                "tokens": [token],
                "uses": 5,
                "evidence": {"service": "monthly charge"},
            }
        )
    )
    officer = ("--as", "officer-1")
    ends = {
        "deny": ("denied", officer),
        "withdraw": ("withdrawn", ()),
        "revoke": ("revoked", officer),
    }
    for step, (state, by) in ends.items():
        made = cli("disclosures", "create", "--file", str(file))
        assert made.code == 0, made.err
        if step == "revoke":
            assert cli("disclosures", "approve", made.body["id"], *officer).code == 0
            proof = cli("disclosures", "token", made.body["id"], "--output", str(tmp_path / "jws"))
            assert proof.code == 0
            head = ("disclosures", "reveal", made.body["id"])
            by_file = cli(*head, "--disclosure-token-file", str(tmp_path / "jws"))
            assert by_file.code == 0, by_file.err
        ended = cli("disclosures", step, made.body["id"], *by, "--comment", "because")
        assert ended.code == 0, ended.err
        assert ended.body["state"] == state


def test_refusals_have_their_exit_codes(cli: Cli, token: str) -> None:
    """Who may not is 3, what is not is 4."""
    assert cli("tokens", "show", token, "--as", "auditor").code == ExitCode.REFUSED
    assert cli("tokens", "show", "tok_" + "0" * 28).code == ExitCode.NOT_FOUND
    assert cli("principals", "create", name(), "--role", "billing", "--as", "billing").code == 3
    assert cli("principals", "show", "nobody-of-this-name").code == ExitCode.NOT_FOUND


def test_principals_and_keys_from_first_to_last(cli: Cli, service: Running, tmp_path: Path) -> None:
    """Create, confirm by an officer, use, rotate, revoke, disable: each acts at once."""
    who = name("ann")
    key_file = tmp_path / "key"
    create = ("principals", "create", who, "--role", "requester", "--key-out", str(key_file))
    made = cli(*create)
    assert made.code == 0, made.err
    assert made.body["state"] == "pending"

    def works() -> int:
        head = ["--url", service.base_url, "--key-file", str(key_file)]
        return cli("principals", "show", *head).code

    assert works() == ExitCode.REFUSED
    confirm = ("principals", "confirm-key", who, made.body["id"])
    assert cli(*confirm, "--as", "officer-1").code == 0
    assert works() == 0
    second = tmp_path / "second"
    rotated = cli("principals", "rotate-key", who, made.body["id"], "--key-out", str(second))
    assert rotated.code == 0, rotated.err
    assert works() == ExitCode.REFUSED
    assert cli("principals", "set-roles", who, "--role", "support").body["roles"] == ["support"]
    assert cli("principals", "disable", who).body["state"] == "disabled"
    assert cli("principals", "enable", who).body["state"] == "active"
    issued = cli("principals", "issue-key", who).body
    assert issued["key"].startswith("vk_")
    revoked = cli("principals", "revoke-key", who, issued["id"]).body
    states = {each["id"]: each["state"] for each in revoked["keys"]}
    assert states[issued["id"]] == "revoked"
    listed = cli("principals", "list").body["items"]
    assert who in [each["name"] for each in listed]


def test_ready_tells_every_check(cli: Cli) -> None:
    """`ready` needs no key and shows what was looked at."""
    told = cli("ready")
    assert told.code == 0, told.out
    assert all(check["ok"] for check in told.body["checks"])


def test_erasing_and_export(cli: Cli, tmp_path: Path) -> None:
    """An export has one masked line for each record, and none for what was erased."""
    reference = name("crm")
    tokens = [
        cli("tokens", "create", "--class", kind, "--external-ref", reference, typed=value).body
        for kind, value in (("telephone", "+49 30 901820"), ("business_name", "Müller & Söhne"))
    ]
    customer = tokens[0]["customer"]
    assert cli("tokens", "delete", tokens[0]["id"], "--yes").code == 0
    file = tmp_path / "out.csv"
    ids = tmp_path / "ids"
    ids.write_text(f"{customer}\n{customer}\ncus_{'0' * 26}\n")
    told = cli("export", "--customers-file", str(ids), "--output", str(file))
    assert told.code == ExitCode.SOME_FAILED
    assert told.body == {"customers": 1, "missing": 1, "records": 1}
    text = file.read_text(encoding="utf-8")
    assert tokens[1]["id"] in text
    assert tokens[0]["id"] not in text
    assert "Söhne" not in text


def test_people_read_tables(cli: Cli, service: Running, token: str) -> None:
    """Without --json each command prints what a person looks for, and no line ends in spaces."""
    grant = service.grant(token)
    customer = cli("tokens", "show", token).body["customer"]
    officer = ("--as", "officer-1")
    for arguments, words in (
        (("ready",), ("ready", "vault keys", "yes")),
        (("tokens", "show", token), (token, "555555******4444", "brand mastercard")),
        (("tokens", "list", customer), (token, "payment_card")),
        (("customers", "show", customer), (customer, token)),
        (("customers", "create", "crm-people"), ("cus_",)),
        (("disclosures", "list", *officer), (grant, "protect_from_harm (D1)", "1 of 1")),
        (
            ("disclosures", "show", grant, *officer),
            ("threats by telephone", "counterparty", "2 of 2"),
        ),
        (("disclosures", "reveal", grant), (token, NUMBER)),
        (
            ("customers", "disclosures", customer, "--as", "support"),
            ("payment_card: ", "555555******4444", "counterparty", "protect_from_harm (D1)"),
        ),
        (
            ("customers", "notice", customer, "--as", "support"),
            ("NOTICE OF DISCLOSURES", customer, "payment card"),
        ),
        (
            ("disclosures", "report", "--year", "1999", *officer),
            ("Disclosures in 1999", "all disclosures"),
        ),
        (("principals", "list"), ("officer-1", "billing")),
        (("principals", "show", "--as", "billing"), ("billing", "key_", "active")),
        (("policy", "show"), ("legal_process", "2 after determination", "30 d, stands")),
        (("policy", "check"), ("7 grounds",)),
        (("export", customer), (token, "555555******4444")),
        (("version",), ("vault-service",)),
    ):
        ended = cli.text(*arguments)
        assert ended.code == 0, (arguments, ended.err)
        assert [word for word in words if word not in ended.out] == [], (arguments, ended.out)
        assert not any(line.endswith(" ") for line in ended.out.splitlines()), arguments
    denied = cli.text("tokens", "show", token, "--as", "auditor")
    assert denied.err.startswith("Error: ")
    assert "Hint: " in denied.err


def test_what_was_disclosed_is_accounted_for(cli: Cli, tmp_path: Path) -> None:
    """To the customer, in files of his own; to the public, in a file that is not overwritten."""
    first, second = (cli("customers", "create", name("crm")).body["id"] for _ in range(2))
    listed = cli("customers", "disclosures", first, "--as", "support")
    assert (listed.code, listed.body) == (0, {"items": []})
    folder = tmp_path / "notices"
    assert cli("customers", "notice", "--as", "support", first, second).code == ExitCode.USAGE
    made = cli(
        "customers",
        "notice",
        "--as",
        "support",
        first,
        second,
        "--format",
        "html",
        "--out",
        str(folder),
    )
    assert sorted(made.body["written"]) == sorted(
        str(folder / f"notice-{each}.html") for each in (first, second)
    )
    assert first in (folder / f"notice-{first}.html").read_text(encoding="utf-8")
    again = cli(
        "customers", "notice", "--as", "support", first, "--format", "html", "--out", str(folder)
    )
    assert again.error == "file_error"
    assert cli("customers", "notice", "--as", "support", "cus_x").error == "customer_not_found"
    out = tmp_path / "report.html"
    head = ("disclosures", "report", "--as", "auditor", "--year")
    assert cli(*head, "1999", "--format", "html", "--out", str(out)).code == 0
    assert "Disclosures in 1999" in out.read_text(encoding="utf-8")
    assert cli(*head, "1999", "--format", "csv", "--out", str(out)).error == "file_error"
    assert cli(*head, "1999").body["rows"][0]["level"] == "total"
    assert cli(*head, "2999").error == "year_not_over"


# ------------------------------------------------------------ the operator's tools


def test_keys_plan_apply_and_check(cli: Cli, stage: Stage, tmp_path: Path) -> None:
    """Drift is found, planned, repaired and gone."""
    token_file = tmp_path / "token"
    token_file.touch(mode=0o600)
    token_file.write_text(stage.mount.token)
    where = (
        "--vault-address", stage.mount.address, "--vault-token-file", str(token_file),
        "--mount", stage.mount.mount, "--prefix", stage.mount.prefix,
    )  # fmt: skip
    assert cli("keys", "check", *where).body == {"ok": True, "drifts": []}
    path = f"{stage.mount.mount}/keys/records-account/config"
    stage.mount.server.request("POST", path, {"deletion_allowed": True})
    try:
        drifted = cli("keys", "check", *where)
        assert drifted.code == ExitCode.CONFLICT
        assert drifted.body["drifts"] == [
            {"subject": "key records-account", "problem": "deletable"}
        ]
        assert cli("keys", "plan", *where).code == ExitCode.CONFLICT
    finally:
        applied = cli("keys", "apply", *where)
    assert "records-account" in applied.out
    assert cli("keys", "check", *where).code == 0
    folder = tmp_path / "spool"
    made = cli(
        "keys", "secret-ids", *where, "--role", "ingest", "--count", "2", "--spool", str(folder)
    )
    assert made.body["made"] == {"ingest": 2}
    assert len(list((folder / "ingest").glob("*.json"))) == 2
    token_file.chmod(0o644)
    assert cli("keys", "check", *where).error == "key_file_open"
    assert stage.mount.token not in applied.out + applied.err


def test_keys_are_rotated_and_told_of(cli: Cli) -> None:
    """An operator asks, once; both he and the auditor see how far it is."""
    asked = cli("keys", "rotate", "records-account", "--yes")
    assert (asked.body["key"], asked.body["state"]) == ("records-account", "requested")
    assert cli("keys", "rotate", "records-account", "--yes").body["id"] == asked.body["id"]
    assert cli("keys", "rotate", "nonsense", "--yes").code == ExitCode.NOT_FOUND
    # Sealing anew needs other logins than an operator's: told before anything is begun.
    elsewhere = cli("keys", "rotate", "records-contact", "--yes", "--reencrypt")
    assert (elsewhere.code, elsewhere.error) == (ExitCode.USAGE, "reencrypt_elsewhere")
    assert "keys reencrypt records-contact" in elsewhere.err
    assert all(each["key"] != "records-contact" for each in cli("keys", "rotations").body["items"])
    assert cli("keys", "rotate", "evidence", "--yes", "--as", "auditor").code == ExitCode.REFUSED
    listed = cli("keys", "rotations", "--as", "auditor").body["items"]
    assert asked.body["id"] in [each["id"] for each in listed]
    status = {each["name"]: each for each in cli("keys", "status").body["keys"]}
    assert {"records-card", "evidence", "ledger"} <= status.keys()
    assert all(each["version"] >= 1 for each in status.values())
    assert status["records-account"]["rotation"] == asked.body["id"]
    for words in (("status",), ("rotations",), ("rotate", "records-account", "--yes")):
        shown = cli.text("keys", *words)
        assert (shown.code, "records-account" in shown.out) == (0, True), shown


def test_what_policy_was_in_force_is_told(cli: Cli, tmp_path: Path) -> None:
    """An auditor lists versions, reads the text byte for byte, and has two compared in words."""
    adopted = cli("policy", "history").body["items"]
    version = adopted[0]["version"]
    assert adopted[0]["until"] is None
    file = tmp_path / "policy.toml"
    file.write_text(cli.text("policy", "text", version).out, encoding="utf-8", newline="")
    assert cli("policy", "check", str(file)).body["version"] == version
    assert cli("policy", "text", version).body["adoptions"][0]["version"] == version
    same = cli("policy", "changes", version, "--from", version)
    assert same.body == {"from": version, "to": version, "differences": []}
    assert version in cli.text("policy", "changes", version, "--from", version).err
    assert version in cli.text("policy", "history", "--as", "officer-1").out.replace("\n", "")
    assert cli("policy", "text", "0" * 64).error == "policy_not_found"
    assert cli("policy", "history", "--as", "billing").code == ExitCode.REFUSED


def test_the_worker_ends_what_has_expired_and_stops_on_sigterm(cli: Cli, service: Running) -> None:
    """A token whose time is over is erased within a round; SIGTERM ends the worker with 0."""
    until = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    made = cli(
        "tokens", "create", "--class", "business_name", "--external-ref", name("crm"),
        "--expires-at", until, typed="Short Lived Ltd",
    )  # fmt: skip
    assert made.code == 0, made.err
    process = cli.start("worker", "--period", "0.3", environment=service.environment)
    deadline = time.monotonic() + 30
    left = "SELECT count(*) FROM records WHERE token = %s AND envelope IS NOT NULL"
    while service.sql(left, (made.body["id"],))[0][0] and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    ended = cli.ended(process)
    assert service.sql(left, (made.body["id"],)) == [(0,)], ended.err
    assert ended.code == 0, ended.err
    events = [json.loads(line)["event"] for line in ended.err.splitlines()]
    assert events[0] == "worker started"
    assert "swept" in events
    assert events[-1] == "worker stopped"


def test_config_check_reads_as_serve_does(cli: Cli, service: Running) -> None:
    """Good settings are shown with their sources, secrets as set; a wrong one names itself."""
    environment = dict(service.environment)
    ended = cli.ended(cli.start("config", "check", "--json", environment=environment))
    assert ended.code == 0, ended.out
    shown = {each["name"]: each["value"] for each in ended.body["settings"]}
    assert shown["database_ingest_url"] == "set"
    assert environment["VAULT_SERVICE_DATABASE_INGEST_URL"] not in ended.out
    wrong = {**environment, "VAULT_SERVICE_PORT": "x", "VAULT_SERVICE_NONSENSE": "1"}
    ended = cli.ended(cli.start("config", "check", "--json", environment=wrong))
    assert ended.code == ExitCode.FAILURE
    assert len(ended.body["problems"]) == 2
    missing = {k: v for k, v in environment.items() if k != "VAULT_SERVICE_VAULT_ADDRESS"}
    ended = cli.ended(cli.start("config", "check", environment=missing))
    assert ended.code == ExitCode.FAILURE
    assert "VAULT_SERVICE_VAULT_ADDRESS" in ended.err


def test_a_communication_goes_in_and_its_contents_come_by_a_grant(
    cli: Cli, token: str, tmp_path: Path
) -> None:
    """Kept with the outside that its header has, listed masked, revealed into a new file."""
    customer = cli("tokens", "show", token).body["customer"]
    message = (
        b"From: J\xc3\xb6rg <joerg@example.com>\r\nTo: a@company.example, b@company.example\r\n"
        b"Date: Fri, 02 Jan 2026 03:04:05 +0200\r\nSubject: my secret\r\n\r\n" + bytes(100_000)
    )
    file, output = tmp_path / "mail.eml", tmp_path / "contents"
    file.write_bytes(message)
    how = ("--direction", "inbound", "--as", "support")
    kept = cli("communications", "keep", customer, str(file), *how)
    assert kept.code == 0, kept.err
    name_ = kept.body["id"]
    assert cli("communications", "keep", customer, str(file), *how).body["deduplicated"]
    shown = cli("communications", "show", name_, "--as", "support").body["mask"]
    assert (shown["from"], shown["date"], shown["size"]) == (
        "j***@example.com", "2026-01-02T01:04:05+00:00", len(message),
    )  # fmt: skip
    assert len(shown["to"]) == 2
    outside = (
        '{"from": "+49 30 901820", "to": ["b@company.example"], "date": "2026-01-02T00:00:00Z"}'
    )
    chat = tmp_path / "chat.txt"
    chat.write_bytes(b"hello")
    told = cli(
        "communications", "keep", customer, str(chat), *how, "--media-type", "text/plain",
        "--kind", "chat", "--outside", "-", typed=outside,
    )  # fmt: skip
    assert told.body["mask"]["from"] == "+49******20"
    wrong = cli(
        "communications", "keep", customer, str(file), *how, "--outside", "-", typed='{"x": 1}'
    )
    assert wrong.error == "outside_invalid"
    page = cli("communications", "list", customer, "--limit", "1", "--as", "support").body
    assert [each["id"] for each in page["items"]] == [told.body["id"]]
    rest = cli("communications", "list", customer, "--cursor", page["next"], "--as", "support")
    assert [each["id"] for each in rest.body["items"]] == [name_]
    made = cli(
        "disclosures", "create", "--ground", "provide_service", "--category",
        "communication_contents", "--recipient-kind", "internal", "--recipient-name", "Support",
        "--token", name_, "--evidence", "ticket_reference=T-17",
    )  # fmt: skip
    assert made.code == 0, made.err
    for officer in ("officer-1", "officer-2"):
        cli("disclosures", "approve", made.body["id"], "--as", officer)
    reveal = ("disclosures", "reveal", made.body["id"], "--content")
    assert cli(*reveal).code == ExitCode.USAGE
    assert cli(*reveal, "--output", str(file)).code == ExitCode.USAGE
    given = cli(*reveal, "--output", str(output))
    assert given.code == 0, given.err
    assert output.read_bytes() == message
    assert given.body["receipt"]["clause"] == "C1"
