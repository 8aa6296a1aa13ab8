"""The command line of officers, auditors and operators against the running service.

Recipients and packages, holds, erasures, access reviews, honeytokens, webhooks, and what a request
lacks. The worker's duties are run here, so that nobody waits for their rounds.
"""

from __future__ import annotations

import csv
import json
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Cli, Ended, credentials_file
from tests.support.faults import rebuilt
from tests.support.running import Running
from tests.support.whole import Stage, card, name
from vault_service.cli.exits import ExitCode
from vault_service.client.proof_key import ProofKey
from vault_service.policy import loader

NUMBER = "5555555555554444"
ONE, TWO = ("--as", "officer-1"), ("--as", "officer-2")


@pytest.fixture(scope="module")
def cli(service: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command line with the keys of one of each role, and two officers."""
    folder = tmp_path_factory.mktemp("cli")
    people = {
        who: key
        for who, key in service.keys.items()
        if who not in {"requester-2", "support-2", "officer-3"}
    }
    made = Cli(credentials_file(folder, service.base_url, people))
    yield made
    made.close()


def good(ended: Ended) -> Any:
    """What a command printed that did what it should."""
    assert ended.code == 0, ended.err
    return ended.body


def customer_of(cli: Cli) -> tuple[str, str]:
    """A customer and the token of his card."""
    made = cli(
        "tokens", "create", "--class", "payment_card", "--external-ref", name("crm"),
        typed=json.dumps(card(NUMBER)),
    )  # fmt: skip
    token = good(made)["id"]
    return str(good(cli("tokens", "show", token))["customer"]), str(token)


def test_a_package_goes_to_a_recipient_on_record(cli: Cli, tmp_path: Path) -> None:
    """An officer puts him on record, a requester names him, and nobody between reads the values."""
    _, token = customer_of(cli)
    public = {
        key: value
        for key, value in json.loads(ProofKey.generate("ES256").private_jwk()).items()
        if key in {"kty", "crv", "x", "y"}
    }
    said = {
        "kind": "counterparty", "name": "Counsel of the harmed", "contact": "counsel@example.com",
        "verified": "called back at the number in the register", "public_key": public,
    }  # fmt: skip
    assert cli("recipients", "create", *ONE, typed='{"kind": "court"}').code == ExitCode.USAGE
    file = tmp_path / "counsel.json"
    file.write_text(json.dumps(said))
    recipient = good(cli("recipients", "create", str(file), *ONE))
    shown = good(cli("recipients", "show", recipient["id"], "--as", "requester"))
    assert (shown["name"], shown["thumbprint"]) == (said["name"], recipient["thumbprint"])
    listed = good(cli("recipients", "list", *TWO))["items"]
    assert {each["id"]: each.get("name") for each in listed}[recipient["id"]] is None
    people = cli.text("recipients", "show", recipient["id"], *TWO)
    assert "counsel@example.com" in people.out
    assert recipient["id"] in cli.text("recipients", "list", *TWO).out.replace("\n", "")
    assert cli("recipients", "list", "--as", "billing").code == ExitCode.REFUSED
    assert cli("recipients", "show", "rec_x", *ONE).code == ExitCode.NOT_FOUND

    asked = (
        "--ground", "protect_from_harm", "--recipient", recipient["id"], "--delivery", "package",
        "--token", token, "--evidence", "harm=threats", "--evidence", "harmed=a customer",
        "--evidence", "action=identify", "--evidence", "case_reference=CASE-1",
    )  # fmt: skip
    disclosure = good(cli("disclosures", "create", *asked))["id"]
    lacking = cli("disclosures", "lacking", disclosure)
    assert [(each["code"], each["clause"]) for each in lacking.body["missing"]] == [
        ("approvals_missing", "D1")
    ]
    assert "approvals" in cli.text("disclosures", "lacking", disclosure, *ONE).out
    for officer in (ONE, TWO):
        good(cli("disclosures", "approve", disclosure, *officer))
    sealed = tmp_path / "package"
    revealed = cli("disclosures", "reveal", disclosure, "--output", str(sealed))
    assert revealed.code == 0, revealed.err
    assert sealed.read_text().count(".") == 4
    assert NUMBER not in revealed.out + revealed.err + sealed.read_text()
    # What has ended is shown to an officer without what was shown for it.
    ended = good(cli("disclosures", "show", disclosure, *ONE))
    assert (ended["state"], ended["evidence"], ended["recipient"]["name"]) == ("spent", None, None)
    assert cli.text("disclosures", "show", disclosure, *ONE).code == 0


def test_a_hold_keeps_a_customer_from_erasure_until_another_releases_it(
    cli: Cli, stage: Stage
) -> None:
    """From the hold to the certificate, each step by the officer who may."""
    customer, token = customer_of(cli)
    place = ("holds", "place", customer, "--reason", "a suit", "--reference", "5 O 1/26")
    hold = good(cli(*place, *ONE))["id"]
    listed = good(cli("holds", "list", "--customer", customer, "--as", "auditor"))["items"]
    assert [(each["id"], each["state"], each["reason"]) for each in listed] == [
        (hold, "standing", None)
    ]
    assert "a suit" in cli.text("holds", "show", hold, *TWO).out
    assert cli("holds", "show", hold, "--as", "auditor").code == ExitCode.REFUSED
    held = cli("tokens", "delete", token, "--yes", "--as", "billing")
    assert held.error == "legal_hold"
    good(cli("customers", "erase", customer, "--yes", *ONE))
    assert cli("erasures", "confirm", customer, "--yes", *ONE).error == "own_erasure"
    assert cli("erasures", "confirm", customer, "--yes", *TWO).error == "legal_hold"
    release = ("holds", "release", hold, "--reason", "settled")
    assert cli(*release, *ONE).error == "own_hold"
    assert good(cli(*release, *TWO))["state"] == "released"
    assert "settled" in cli.text("holds", "show", hold, *ONE).out
    assert hold in cli.text("holds", "list", *ONE).out.replace("\n", "")

    assert good(cli("erasures", "confirm", customer, "--yes", *TWO))["state"] == "running"
    assert cli("customers", "show", customer, "--as", "billing").code == ExitCode.NOT_FOUND
    duty = rebuilt(stage.erasing, settle=timedelta(0), horizon_days=30)
    for _ in range(2):  # it looks twice before it says that nothing is left
        duty.run(threading.Event())
    done = good(cli("erasures", "show", customer, "--as", "auditor"))
    assert (done["state"], done["records"]) == ("done", 1)
    assert done["backups_until"] > done["finished_at"]
    for words in (("erasures", "show", customer), ("erasures", "list")):
        shown = cli.text(*words, *ONE)
        assert (shown.code, customer in shown.out.replace("\n", "")) == (0, True), shown
    assert done["entry"] in cli.text("erasures", "show", customer, *TWO).out
    assert cli("erasures", "request", customer, "--yes", "--as", "billing").code == ExitCode.REFUSED


def test_officers_review_each_other(cli: Cli, stage: Stage) -> None:
    """The worker opens the review; nobody decides on himself; who is removed is out at once."""
    who = name("leaver")
    good(cli("principals", "create", who, "--role", "requester"))
    stage.sql("UPDATE principals SET review_due = now() + interval '20 days'")
    try:
        stage.review_duty.run(threading.Event())
        (review, *_) = good(cli("access-reviews", "list", "--as", "operator"))["items"]
        items = good(cli("access-reviews", "show", review["id"], *ONE))["items"]
        by_name = {each["name"]: each["principal"] for each in items}
        assert {"officer-1", "officer-2", "requester", who} <= by_name.keys()
        decide = ("access-reviews", "decide", review["id"])
        assert cli(*decide, "--keep", by_name["officer-1"], *ONE).error == "own_access"
        twice = ("--keep", by_name[who], "--remove", by_name[who])
        assert cli(*decide, *twice, *ONE).code == ExitCode.USAGE
        assert cli(*decide, "--keep", by_name[who], "--as", "operator").code == ExitCode.REFUSED
        rest = [part for each in items if each["name"] not in {"officer-1", who}
                for part in ("--keep", each["principal"])]  # fmt: skip
        good(cli(*decide, *rest, "--remove", by_name[who], *ONE))
        assert good(cli("principals", "show", who))["state"] == "disabled"
        last = cli.text(*decide, "--keep", by_name["officer-1"], *TWO)
        assert (last.code, "keep" in last.out) == (0, True), last
        shown = good(cli("access-reviews", "show", review["id"], "--as", "auditor"))
        assert shown["completed_at"] is not None
        assert review["id"] in cli.text("access-reviews", "list", *ONE).out.replace("\n", "")
    finally:
        stage.sql("UPDATE principals SET review_due = now() + interval '6 months'")
        stage.sql("DELETE FROM access_review_items")
        stage.sql("DELETE FROM access_reviews")


def test_who_touches_a_honeytoken_is_out(cli: Cli, service: Running, tmp_path: Path) -> None:
    """Marked by an officer, from a file of names; the thief's key ends with the first look."""
    customer, token = customer_of(cli)
    key = tmp_path / "key"
    good(cli("principals", "create", name("thief"), "--role", "support", "--key-out", str(key)))
    as_thief = ("--url", service.base_url, "--key-file", str(key))
    assert good(cli("honeytokens", "plant", *ONE, typed=f"{customer}\n\n{token}\n")) == {"count": 2}
    try:
        assert good(cli("honeytokens", "count", *TWO))["count"] >= 2
        time.sleep(2.1)  # every process has read the marks by then
        assert cli("tokens", "show", token, *as_thief).code == 0
        assert cli("tokens", "show", token, *as_thief).error == "credential_revoked"
        assert cli("honeytokens", "count", "--as", "operator").code == ExitCode.REFUSED
        assert cli("honeytokens", "plant", "tok_x", *ONE).error == "token_malformed"
    finally:
        lifted = cli.text("honeytokens", "lift", customer, *ONE)
    assert lifted.out == "2 lifted\n", lifted.err


def test_an_operator_looks_after_webhooks(cli: Cli, service: Running) -> None:
    """A test message is on its way; a dead delivery is tried anew, once."""
    message = good(cli("webhooks", "test"))["message"]
    on_its_way = "SELECT count(*) FROM webhook_outbox WHERE id = %s"
    assert service.sql(on_its_way, (uuid.UUID(message[4:]),)) == [(1,)]
    dead = uuid.uuid4()
    service.sql(
        "INSERT INTO webhook_deliveries (bucket, id, endpoint, type, body, created_at, state,"
        " ended_at) VALUES (1, %s, 'pager', 'alarm.raised', '', now(), 'dead', now())",
        (dead,),
    )
    listed = good(cli("webhooks", "list", "--state", "dead"))["items"]
    (delivery,) = [each for each in listed if each["endpoint"] == "pager"]
    shown = cli.text("webhooks", "list", "--state", "dead")
    assert delivery["message"] in shown.out.replace("\n", "")
    assert "1 on the way again" in cli.text("webhooks", "retry", delivery["message"]).out
    assert cli("webhooks", "retry", delivery["message"]).code == ExitCode.NOT_FOUND
    assert cli("webhooks", "list", "--as", "auditor").code == ExitCode.REFUSED


def test_use_of_the_website_is_told_in_four_forms(cli: Cli, service: Running) -> None:
    """A table, JSON, a spreadsheet and a page, each rounded; a period that is none is refused."""
    day = "2020-02-03"
    for page, referrer, views, visitors in (
        ("*", "*", 34, 21),
        ("/", "none", 25, 16),
        ("/pricing", "none", 9, 9),
    ):
        service.sql(
            "INSERT INTO usage_counts (day, page, referrer, views, visitors)"
            " VALUES (%s, %s, %s, %s, %s)",
            (day, page, referrer, views, visitors),
        )
    asked = ("usage", "--from", day, "--to", day, "--as", "operator")
    found = good(cli(*asked))
    assert (found["from"], found["to"], found["least"]) == (day, day, 10)
    told = {row["page"]: (row["views"], row["visitors"]) for row in found["rows"]}
    assert told == {"*": (30, 20), "/": (20, 10), "/pricing": ("<10", "<10")}
    text = cli.text(*asked).out
    assert text.startswith(f"Use of the website, {day} to {day} (UTC)")
    assert ["/pricing", "none", "<10", "<10"] in [line.split()[1:] for line in text.splitlines()]
    rows = list(csv.reader(cli.text(*asked, "--format", "csv").out.splitlines()))
    assert rows[0] == ["day", "page", "referrer", "views", "visitors"]
    assert [day, "/", "none", "20", "10"] in rows
    assert "<svg" in cli.text(*asked, "--format", "html").out
    late = cli("usage", "--from", day, "--to", "2020-06-01", "--as", "auditor")
    assert late.error == "usage_period_invalid"
    assert cli("usage", "--as", "billing").error == "forbidden"


def test_what_the_policy_keeps_for_a_time_ends(cli: Cli, service: Running, tmp_path: Path) -> None:
    """Planned from the policy file, then ended by the worker: a month, and what nobody holds."""
    policy = tmp_path / "policy.toml"
    shipped = Path(loader.__file__).with_name("shoma-1998-12-17.toml").read_text(encoding="utf-8")
    kept = '[retention]\nactivity_log = "730 days"\npayment_card = "30 days"\n'
    policy.write_text(f"{shipped}\n{kept}", encoding="utf-8")
    environment = {**service.environment, "VAULT_SERVICE_POLICY_FILE": str(policy)}
    (customer, old), (held, kept_card), (_, young) = (customer_of(cli) for _ in range(3))
    good(cli("holds", "place", held, "--reason", "a suit", "--reference", "5 O 1/26", *ONE))
    service.sql(
        "UPDATE records SET created_at = now() - interval '31 days' WHERE token = ANY(%s)",
        ([old, kept_card],),
    )
    lately = datetime.now(UTC).replace(microsecond=0).isoformat()
    entries = tmp_path / "log.jsonl"
    entries.write_text(
        "".join(
            json.dumps({"customer": customer, "at": at, "kind": "signed_in"}) + "\n"
            for at in ("2015-01-31T23:59:59Z", lately)
        )
    )
    assert cli.text("activity", "load", str(entries), "--as", "billing").code == 0
    plan = good(cli.ended(cli.start("retention", "plan", "--json", environment=environment)))
    assert {each["class"]: (each["due"], each["held"]) for each in plan["items"]} == {
        "activity_log": (1, 0),
        "payment_card": (1, 1),
    }
    once = cli.ended(cli.start("worker", "--once", environment=environment))
    assert once.code == 0, once.err
    shown = [cli("tokens", "show", each).code for each in (old, kept_card, young)]
    assert shown == [ExitCode.NOT_FOUND, 0, 0]
    listing = ("activity", "list", customer, "--as", "support", "--from", "2015-01-01T00:00:00Z")
    assert [each["at"][:10] for each in good(cli(*listing))["items"]] == [lately[:10]]
    assert service.sql("SELECT to_regclass('activity_segments_201501')") == [(None,)]
