"""What an operator sees and does of webhooks."""

from __future__ import annotations

import uuid

import pytest

from tests.support.whole import Stage, present, refusal
from vault_service.errors import Forbidden, InvalidInput, NotFound
from vault_service.services.webhook_desk import WebhookDesk
from vault_service.services.webhooks import message_id

INSERT = (
    "INSERT INTO webhook_deliveries (bucket, id, endpoint, type, body, created_at, state, ended_at)"
    " VALUES (1, %s, %s, 'test.sent', '', now(), %s, CASE WHEN %s THEN now() END)"
)


@pytest.fixture
def desk(stage: Stage) -> WebhookDesk:
    """The use case, with three messages to two endpoints each, of which one is dead."""
    stage.sql("DELETE FROM webhook_deliveries")
    for number in (1, 2, 3):
        for endpoint in ("a", "b"):
            dead = (number, endpoint) == (2, "b")
            stage.sql(
                INSERT,
                [uuid.UUID(int=number), endpoint, "dead" if dead else "waiting", dead],
            )
    return present(stage.services.webhooks)


def test_a_page_parts_no_message(stage: Stage, desk: WebhookDesk) -> None:
    """Newest first; the cursor is a message, whose deliveries all stand before it."""
    operator = stage.caller("operator")
    first = desk.page(operator, state=None, cursor=None, limit=1)
    assert [row.id.int for row in first.items] == [3, 3]
    assert {row.endpoint for row in first.items} == {"a", "b"}
    second = desk.page(operator, state=None, cursor=first.next, limit=3)
    assert [row.id.int for row in second.items] == [2, 2, 1, 1]
    assert second.next == message_id(uuid.UUID(int=1))
    last = desk.page(operator, state=None, cursor=second.next, limit=3)
    assert (last.items, last.next) == ((), None)
    (dead,) = desk.page(operator, state="dead", cursor=None, limit=5).items
    assert (dead.id.int, dead.endpoint) == (2, "b")


def test_a_dead_delivery_is_tried_anew_and_counted(stage: Stage, desk: WebhookDesk) -> None:
    """Once; what is on its way anyway is not."""
    operator = stage.caller("operator")
    assert desk.counts()[0] == {"waiting": 5, "delivered": 0, "dead": 1}
    assert desk.retry(operator, message_id(uuid.UUID(int=2))) == 1
    refusal(lambda: desk.retry(operator, message_id(uuid.UUID(int=2))), NotFound)
    assert desk.counts()[0] == {"waiting": 6, "delivered": 0, "dead": 0}


def test_a_message_to_test_with_is_sent(stage: Stage, desk: WebhookDesk) -> None:
    """It goes the way of every message."""
    message = desk.test(stage.caller("operator"))
    ((kind,),) = stage.sql(
        "SELECT type FROM webhook_outbox WHERE id = %s", [uuid.UUID(message[4:])]
    )
    assert kind == "webhook.test"


def test_only_operators_and_only_what_makes_sense(stage: Stage, desk: WebhookDesk) -> None:
    """Each refusal by its code."""
    operator, other = stage.caller("operator"), stage.caller("auditor")
    refusal(lambda: desk.page(other, state=None, cursor=None, limit=1), Forbidden)
    refusal(lambda: desk.retry(other, message_id(uuid.UUID(int=1))), Forbidden)
    refusal(lambda: desk.test(other), Forbidden)
    for asked, code in (
        ({"state": "lost", "cursor": None, "limit": 1}, "webhook_state_unknown"),
        ({"state": None, "cursor": "msg_x", "limit": 1}, "webhook_message_malformed"),
        ({"state": None, "cursor": None, "limit": 0}, "limit_invalid"),
    ):
        error = refusal(lambda a=asked: desk.page(operator, **a), InvalidInput)  # type: ignore[misc]
        assert error.code == code
