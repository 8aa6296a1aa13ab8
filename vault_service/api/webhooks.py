"""Calls on webhooks: which messages arrived, which did not, and one to test with."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

from vault_service.api.calls import Answer, Call, Group
from vault_service.api.schemas import Answered, PageQuery
from vault_service.domain.actors import Action
from vault_service.services.webhooks import message_id
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("webhooks", ProcessRole.CONSOLE)


class DeliveryQuery(PageQuery, frozen=True):
    """Which deliveries."""

    state: Annotated[str, Meta(max_length=16)] | None = None


class DeliveryOut(Answered, frozen=True):
    """A message on its way to one endpoint. What it says stands in the ledger."""

    message: str
    type: str
    endpoint: Annotated[str, Meta(description="The receiver's host, and a mark of its address.")]
    state: Annotated[str, Meta(description="waiting, delivered or dead.")]
    attempts: int
    last_status: int | None
    last_error: str | None
    created_at: datetime
    next_at: datetime
    ended_at: datetime | None


class DeliveryPageOut(Answered, frozen=True):
    """Deliveries, newest message first; all of a message stand on one page."""

    items: list[DeliveryOut]
    next: str | None


class RetryOut(Answered, frozen=True):
    """How many deliveries are tried anew."""

    count: int


class SentOut(Answered, frozen=True):
    """The message that is on its way."""

    message: str


@GROUP.call(
    "GET",
    "/v1/webhooks",
    "List deliveries of messages to your own systems.",
    action=Action.MANAGE_WEBHOOKS,
    query=DeliveryQuery,
    answers={200: DeliveryPageOut},
    codes=("webhook_state_unknown", "webhook_message_malformed"),
)
def list_webhooks(call: Call[None, DeliveryQuery]) -> Answer:
    """List deliveries."""
    page = present(call.served.webhooks).page(
        call.caller, state=call.query.state, cursor=call.query.cursor, limit=call.query.limit
    )
    items = [
        DeliveryOut(
            message=message_id(row.id),
            type=row.type,
            endpoint=row.endpoint,
            state=row.state,
            attempts=row.attempts,
            last_status=row.last_status,
            last_error=row.last_error,
            created_at=row.created_at,
            next_at=row.next_at,
            ended_at=row.ended_at,
        )
        for row in page.items
    ]
    return Answer(body=DeliveryPageOut(items=items, next=page.next))


@GROUP.call(
    "POST",
    "/v1/webhooks/{message}/retry",
    "Try the dead deliveries of a message anew.",
    action=Action.MANAGE_WEBHOOKS,
    answers={200: RetryOut},
    codes=("webhook_message_malformed", "webhook_message_not_found"),
)
def retry_webhook(call: Call[None, None]) -> Answer:
    """Try anew."""
    count = present(call.served.webhooks).retry(call.caller, call.path["message"])
    return Answer(body=RetryOut(count=count))


@GROUP.call(
    "POST",
    "/v1/webhooks/test",
    "Send a message `webhook.test` to every endpoint that takes all messages.",
    action=Action.MANAGE_WEBHOOKS,
    answers={201: SentOut},
)
def test_webhooks(call: Call[None, None]) -> Answer:
    """Send a message to test with."""
    message = present(call.served.webhooks).test(call.caller)
    return Answer(body=SentOut(message=message), status=201)
