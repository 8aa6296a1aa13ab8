"""A helpdesk's messages: signed, taken once, and never lost because of a mistyped value."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from typing import Any

import pytest

from keys.secret import Secret
from tests.support.faults import rebuilt
from tests.support.whole import NOBODY, Stage, name, refusal
from vault_service.domain import helpdesk as mappings
from vault_service.errors import InvalidInput, NotAuthenticated, NotFound, ServiceError
from vault_service.ledger.entries import Event
from vault_service.services.context import Stranger
from vault_service.services.helpdesk import Helpdesk, Received, SignedMessage
from vault_service.services.tokenization import TokenizeItem

OLD, NEW = b"the secret of last year, 24+", b"the secret of this year, 24+"
STRANGER = Stranger(request_id="req_" + "0" * 26, address="192.0.2.9")
MAPPING = """
ticket = "/ticket"
[customer]
{who} = "/customer"
[[changes]]
class = "telephone"
value = "/phone"
[[changes]]
class = "business_name"
value = "/company"
"""


@pytest.fixture
def desk(stage: Stage) -> Helpdesk:
    """A helpdesk that names customers by their reference; its secret is being changed."""
    assert stage.services.helpdesk is not None
    return rebuilt(
        stage.services.helpdesk,
        secrets=[Secret(OLD), Secret(NEW)],
        mapping=mappings.load(MAPPING.format(who="external_ref")),
    )


def by(desk: Helpdesk, who: str) -> Helpdesk:
    """A helpdesk that names customers in another way."""
    return rebuilt(desk, mapping=mappings.load(MAPPING.format(who=who)))


def signed(
    body: dict[str, Any], *, key: bytes = NEW, at: float | None = None, named: str | None = None
) -> SignedMessage:
    """A message with a signature made from the specification's words alone."""
    raw = json.dumps(body).encode()
    message, moment = named or name("msg"), str(int(at or time.time()))
    mac = hmac.new(key, f"{message}.{moment}.".encode() + raw, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(mac).decode()
    return SignedMessage(id=message, timestamp=moment, signature=signature, raw=raw, body=body)


def arranged(stage: Stage) -> tuple[str, str]:
    """A customer with a telephone and a name: reference and id."""
    reference = name("crm")
    customer = stage.customer(reference)
    stage.tokenize(
        TokenizeItem(data_class="telephone", customer=customer, value="+49 30 901820"),
        TokenizeItem(data_class="business_name", customer=customer, value="Old Ltd"),
    )
    return reference, customer


def asked(reference: str, **more: object) -> dict[str, Any]:
    """What a helpdesk sends."""
    return {"ticket": "T-1", "customer": reference, **more}


@pytest.mark.parametrize("key", [OLD, NEW])
def test_a_signed_message_opens_changes(stage: Stage, desk: Helpdesk, key: bytes) -> None:
    """One for each thing that it asks for, with its ticket, sealed; none is confirmed."""
    reference, customer = arranged(stage)
    body = asked(reference, phone="+49 30 901899", company="New Ltd")
    with stage.told(Event.MODIFICATION_OPENED) as entries:
        received = desk.receive(STRANGER, signed(body, key=key))
    assert [view.data_class for view in received.changes] == ["telephone", "business_name"]
    assert {view.state for view in received.changes} == {"proposed"}
    assert {view.customer for view in received.changes} == {customer}
    assert {view.ticket for view in received.changes} == {"T-1"}
    assert {entry.actor.id for entry in entries} == {"helpdesk"}


def test_a_message_comes_once(stage: Stage, desk: Helpdesk) -> None:
    """A repetition opens nothing, even when the change has come to its end meanwhile."""
    reference, _ = arranged(stage)
    message = signed(asked(reference, phone="+49 30 901899"))
    (change,) = desk.receive(STRANGER, message).changes
    assert stage.services.modifications is not None
    stage.services.modifications.withdraw(stage.caller("support"), change.id)
    assert desk.receive(STRANGER, message) == Received(changes=(), repeated=True)
    stage.sql("UPDATE helpdesk_messages SET received_at = now() - interval '15 days'")
    stage.housekeeping.sweep()
    assert stage.sql("SELECT count(*) FROM helpdesk_messages") == [(0,)]


def test_the_same_message_at_once_is_taken_once(stage: Stage, desk: Helpdesk) -> None:
    """Of several deliveries at the same moment one opens."""
    reference, _ = arranged(stage)
    message = signed(asked(reference, company="New Ltd"))
    told: list[bool] = []
    racers = [
        threading.Thread(target=lambda: told.append(desk.receive(STRANGER, message).repeated))
        for _ in range(6)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(told) == [False, True, True, True, True, True]


def test_what_does_not_hold_is_left_to_a_person(stage: Stage, desk: Helpdesk) -> None:
    """A mistyped number loses neither the ticket nor what else it asks for."""
    reference, _ = arranged(stage)
    received = desk.receive(STRANGER, signed(asked(reference, phone="12", company="New Ltd")))
    assert [(view.state, view.data_class) for view in received.changes] == [
        ("proposed", "business_name"),
        ("open", None),
    ]
    unread = desk.receive(STRANGER, signed(asked(reference, company="Old Ltd", ticket="T-2")))
    assert [view.state for view in unread.changes] == ["open"]


def test_a_ticket_without_anything_known(stage: Stage, desk: Helpdesk) -> None:
    """It is opened all the same."""
    reference, _ = arranged(stage)
    received = desk.receive(STRANGER, signed(asked(reference)))
    assert [(view.state, view.ticket) for view in received.changes] == [("open", "T-1")]


def test_customers_are_found_in_three_ways(stage: Stage, desk: Helpdesk) -> None:
    """By reference, by id, by an address that one customer has."""
    reference, customer = arranged(stage)
    address = f"{name('a')}@example.com"
    stage.tokenize(TokenizeItem(data_class="email_address", customer=customer, value=address))
    for who, shown in (
        ("external_ref", reference),
        ("id", customer),
        ("email_address", address),
    ):
        received = by(desk, who).receive(STRANGER, signed(asked(shown, ticket=who)))
        assert [view.customer for view in received.changes] == [customer]


def test_an_address_of_two_is_nobodys(stage: Stage, desk: Helpdesk) -> None:
    """Nobody is guessed."""
    address = f"{name('a')}@example.com"
    for _ in range(2):
        item = TokenizeItem(data_class="email_address", customer=stage.customer(), value=address)
        stage.tokenize(item)
    problem = refusal(
        lambda: by(desk, "email_address").receive(STRANGER, signed(asked(address))), InvalidInput
    )
    assert problem.code == "customer_ambiguous"


@pytest.mark.parametrize(
    ("who", "shown"),
    [
        ("external_ref", "nobody-has-this"),
        ("id", NOBODY),
        ("email_address", "nobody@example.com"),
    ],
)
def test_nobody_is_not_found(desk: Helpdesk, who: str, shown: str) -> None:
    """And nobody is made."""
    problem = refusal(lambda: by(desk, who).receive(STRANGER, signed(asked(shown))), NotFound)
    assert problem.code == "customer_not_found"


def test_what_can_be_nobodys_name_is_refused(desk: Helpdesk) -> None:
    """With the code of its own rule."""
    problem = refusal(lambda: by(desk, "id").receive(STRANGER, signed(asked("x"))), InvalidInput)
    assert problem.code == "customer_malformed"


def altered(message: SignedMessage, **changes: str) -> SignedMessage:
    """A message of which something was changed on its way."""
    whole = {
        "id": message.id,
        "timestamp": message.timestamp,
        "signature": message.signature,
    } | changes
    raw = str(whole.pop("raw", message.raw.decode())).encode()
    return SignedMessage(**whole, raw=raw, body=message.body)


@pytest.mark.parametrize(
    "changes",
    [
        {"raw": "{}"},
        {"id": "msg_another"},
        {"id": ""},
        {"id": "x" * 256},
        {"timestamp": "1"},
        {"timestamp": "now"},
        {"timestamp": ""},
        {"signature": ""},
        {"signature": "v1,"},
        {"signature": "v1a,xx v1,yy"},
        {"signature": "v1,\udcff"},
    ],
)
def test_a_changed_message_is_nobodys(
    stage: Stage, desk: Helpdesk, changes: dict[str, str]
) -> None:
    """Whatever of it was changed; the attempt is told of, and nothing is opened."""
    reference, _ = arranged(stage)
    message = altered(signed(asked(reference)), **changes)
    with stage.told(Event.AUTHENTICATION_FAILED, Event.MODIFICATION_OPENED) as entries:
        problem = refusal(lambda: desk.receive(STRANGER, message), NotAuthenticated)
    assert problem.code == "webhook_signature_invalid"
    assert [entry.event for entry in entries] == [Event.AUTHENTICATION_FAILED]


@pytest.mark.parametrize("off", [-400, 400])
def test_an_old_message_is_refused(stage: Stage, desk: Helpdesk, off: int) -> None:
    """By the database's clock, in both directions."""
    reference, _ = arranged(stage)
    message = signed(asked(reference), at=time.time() + off)
    problem = refusal(lambda: desk.receive(STRANGER, message), NotAuthenticated)
    assert problem.code == "webhook_timestamp_invalid"


def test_another_secret_signs_nothing(stage: Stage, desk: Helpdesk) -> None:
    """Nor does none."""
    reference, _ = arranged(stage)
    message = signed(asked(reference), key=b"a secret of somebody else's, 24+")
    refusal(lambda: desk.receive(STRANGER, message), NotAuthenticated)
    unconnected = rebuilt(desk, secrets=[])
    problem = refusal(lambda: unconnected.receive(STRANGER, message), NotFound)
    assert problem.code == "helpdesk_not_connected"


def test_a_ticket_that_cannot_be_kept_is_sent_again(stage: Stage, desk: Helpdesk) -> None:
    """A reference that no change may carry refuses the message as a whole; nothing is taken."""
    reference, _ = arranged(stage)
    message = signed(asked(reference, ticket="4242 4242 4242 4242"))
    problem = refusal(lambda: desk.receive(STRANGER, message), ServiceError)
    assert problem.code == "card_number_not_allowed_here"
    assert stage.sql("SELECT count(*) FROM helpdesk_messages WHERE id = %s", [message.id]) == [(0,)]
