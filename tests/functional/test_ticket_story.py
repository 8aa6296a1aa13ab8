"""A card is changed by a ticket: from the helpdesk's message to what billing is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.command import Cli, credentials_file
from tests.support.receiver import receiving
from tests.support.running import Running
from tests.support.whole import YEAR, name

SECRET = "whsec_" + base64.b64encode(b"between helpdesk and vault, 24+").decode()
HOOKS = "whsec_" + base64.b64encode(b"between vault and billing, 24+ ").decode()
MAPPING = """
ticket = "/ticket/id"
[customer]
external_ref = "/ticket/crm"
[[changes]]
class = "payment_card"
value = { number = "/card/number", exp_month = "/card/month", exp_year = "/card/year" }
"""
OLD, NEW = "5555555555554444", "4012888888881881"


@pytest.fixture(scope="module")
def connected(
    start_service: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory
) -> Running:
    """A service that a helpdesk is connected to."""
    mapping = tmp_path_factory.mktemp("helpdesk") / "helpdesk.toml"
    mapping.write_text(MAPPING, encoding="utf-8")
    return start_service(
        workers=1,
        VAULT_SERVICE_HELPDESK_SECRETS=SECRET,
        VAULT_SERVICE_HELPDESK_MAPPING=str(mapping),
    )


@pytest.fixture
def cli(connected: Running, tmp_path: Path) -> Iterator[Cli]:
    """The command line with everybody's keys."""
    made = Cli(credentials_file(tmp_path, connected.base_url, connected.keys))
    yield made
    made.close()


def post(
    service: Running, message: dict[str, object], *, secret: str = SECRET
) -> tuple[int, bytes]:
    """A message of the helpdesk's, signed by the specification's words."""
    raw, named, moment = json.dumps(message).encode(), name("msg"), str(int(time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{named}.{moment}.".encode() + raw, hashlib.sha256).digest()
    request = urllib.request.Request(  # noqa: S310 -- to the service that this test started
        f"{service.base_url}/v1/modifications/inbound",
        data=raw,
        headers={
            "content-type": "application/json",
            "webhook-id": named,
            "webhook-timestamp": moment,
            "webhook-signature": "v1," + base64.b64encode(mac).decode(),
        },
    )
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 -- the same
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read()


def test_a_card_is_changed_by_a_ticket(connected: Running, cli: Cli) -> None:
    """Two people of support, one token, and a message to billing that holds no number."""
    reference = name("crm")
    customer = connected.customer(reference)
    token = connected.card(customer, OLD)
    message = {
        "ticket": {"id": 4711, "crm": reference},
        "card": {"number": NEW, "month": 1, "year": YEAR},
    }
    assert post(connected, message, secret=HOOKS)[0] == 401
    status, raw = post(connected, message)
    assert status == 200, raw
    (change,) = json.loads(raw)["modifications"]
    shown = cli("modifications", "show", change, "--as", "support").body
    assert (shown["ticket"], shown["token"], shown["state"]) == ("4711", token, "proposed")
    assert (shown["present"]["number"], shown["proposed"]["number"]) == (
        "555555******4444",
        "401288******1881",
    )
    how = ("--how", "called_back")
    assert cli("modifications", "confirm", change, *how, "--as", "support").code == 0
    alone = cli("modifications", "apply", change, "--as", "support")
    assert alone.error == "second_person_needed"
    applied = cli("modifications", "apply", change, "--as", "support-2")
    assert applied.body["state"] == "applied"
    read = cli("tokens", "show", token, "--as", "billing").body
    assert (read["version"], read["mask"]["number"]) == (2, "401288******1881")
    versions = cli("tokens", "versions", token, "--as", "support").body["items"]
    assert [each["version"] for each in versions] == [2, 1]
    value = connected.reveal(connected.token(connected.grant(token)), token)
    assert value.body["results"][0]["value"]["number"] == NEW
    with receiving() as billing:
        hooks = {
            "VAULT_SERVICE_WEBHOOK_URLS": f"token={billing.url}",
            "VAULT_SERVICE_WEBHOOK_SECRETS": HOOKS,
        }
        once = cli.ended(cli.start("worker", "--once", environment=connected.environment | hooks))
        assert once.code == 0, once.err
    told = [got for got in billing.got if got.said["data"].get("id") == token]
    assert [got.said["type"] for got in told] == ["token.updated"]
    assert told[0].signed_with(HOOKS)
    assert told[0].said["data"] == {
        "id": token,
        "class": "payment_card",
        "customer": customer,
        "version": 2,
        "modification": change,
    }
    assert not any(number.encode() in told[0].body for number in (OLD, NEW))


def test_a_mapping_is_tried_out(cli: Cli, tmp_path: Path) -> None:
    """What a message would ask for, by masks; what a person would have to read, by its problem."""
    mapping = tmp_path / "m.toml"
    mapping.write_text(MAPPING, encoding="utf-8")
    asked = {
        "ticket": {"id": 1, "crm": "crm-1"},
        "card": {"number": NEW, "month": 1, "year": YEAR},
    }
    tried = cli("modifications", "map", str(mapping), "-", typed=json.dumps(asked))
    assert tried.code == 0, tried.err
    assert (tried.body["ticket"], tried.body["customer_by"]) == ("1", "external_ref")
    (change,) = tried.body["changes"]
    assert change["mask"]["number"] == "401288******1881"
    assert NEW not in tried.out + tried.err
    asked["card"] = {"number": NEW[:-1], "month": 1, "year": YEAR}
    (change,) = cli("modifications", "map", str(mapping), "-", typed=json.dumps(asked)).body[
        "changes"
    ]
    assert (change["mask"], change["problem"]) == (None, "card_number_invalid")


def test_customers_are_found_and_shown_together(connected: Running, cli: Cli) -> None:
    """By reference and by value; linked, shown together, and parted again."""
    reference, support = name("crm"), ("--as", "support")
    one, other = connected.customer(reference), connected.customer()
    token = connected.card(one, OLD)
    found = cli("customers", "search", "--external-ref", reference, *support).body["results"]
    assert [each["id"] for each in found[0]["customers"]] == [one]
    held = cli("customers", "search", "--class", "payment_card", *support, typed=OLD)
    assert one in [each["id"] for each in held.body["results"][0]["customers"]]
    assert cli("customers", "link", one, other, *support).code == 0
    shown = cli("customers", "show", other, *support).body
    assert shown["linked"] == [one]
    assert [each["id"] for each in shown["tokens"]["payment_card"]] == [token]
    assert cli("customers", "unlink", one, other, *support).code == 0
    assert cli("customers", "show", other, *support).body["linked"] == []
