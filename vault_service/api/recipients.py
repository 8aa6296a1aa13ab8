"""Calls on recipients: who may be handed data, on record."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from msgspec import Meta

from vault_service.api.calls import Answer, Call, Group
from vault_service.api.schemas import Accepted, Answered, PageQuery, Text
from vault_service.domain.actors import Action
from vault_service.services.recipients import RecipientDraft, RecipientView
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("recipients", ProcessRole.CONSOLE)

_EXAMPLE: Final[dict[str, Any]] = {
    "kind": "counterparty",
    "name": "Counsel of the harmed",
    "verified": "called back at the number in the bar's register",
    "contact": "counsel@example.com",
    "public_key": {
        "kty": "OKP",
        "crv": "X25519",
        "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08",
    },
}


class RecipientIn(Accepted, frozen=True):
    """A recipient; what is said of him is sealed."""

    kind: Annotated[str, Meta(max_length=64)]
    name: Text
    verified: Annotated[str, Meta(description="How it was made sure who he is.", max_length=4000)]
    contact: Text
    public_key: (
        Annotated[
            dict[str, Any],
            Meta(description="A JWK of X25519 or P-256 that packages are sealed for."),
        ]
        | None
    ) = None


class RecipientRecordOut(Answered, frozen=True):
    """A recipient on record; the texts stand only where one was asked for."""

    id: str
    kind: str
    created_by: str
    created_at: datetime
    thumbprint: str | None
    public_key: dict[str, str] | None
    name: str | None
    verified: str | None
    contact: str | None


class RecipientPageOut(Answered, frozen=True):
    """Recipients in the order of their names, without their texts."""

    items: list[RecipientRecordOut]
    next: str | None


def _recipient(view: RecipientView) -> RecipientRecordOut:
    return RecipientRecordOut(
        id=view.id,
        kind=view.kind,
        created_by=view.created_by,
        created_at=view.created_at,
        thumbprint=view.thumbprint,
        public_key=None if view.public_key is None else dict(view.public_key),
        name=view.name,
        verified=view.verified,
        contact=view.contact,
    )


@GROUP.call(
    "POST",
    "/v1/recipients",
    "Put a recipient on record.",
    action=Action.RECORD_RECIPIENT,
    body=RecipientIn,
    answers={201: RecipientRecordOut},
    example=_EXAMPLE,
    codes=("recipient_kind_unknown", "public_key_invalid", "public_key_private"),
)
def create_recipient(call: Call[RecipientIn, None]) -> Answer:
    """Put a recipient on record."""
    view = present(call.served.recipients).create(
        call.caller,
        RecipientDraft(
            kind=call.body.kind,
            name=call.body.name,
            verified=call.body.verified,
            contact=call.body.contact,
            public_key=call.body.public_key,
        ),
    )
    return Answer(body=_recipient(view), status=201)


@GROUP.call(
    "GET",
    "/v1/recipients",
    "List recipients without their texts.",
    action=Action.READ_RECIPIENTS,
    query=PageQuery,
    answers={200: RecipientPageOut},
    codes=("cursor_invalid",),
)
def list_recipients(call: Call[None, PageQuery]) -> Answer:
    """List recipients."""
    found, following = present(call.served.recipients).page(
        call.caller, cursor=call.query.cursor, limit=call.query.limit
    )
    return Answer(body=RecipientPageOut(items=[_recipient(view) for view in found], next=following))


@GROUP.call(
    "GET",
    "/v1/recipients/{recipient}",
    "Read one recipient with name, verification and contact.",
    action=Action.READ_RECIPIENTS,
    answers={200: RecipientRecordOut},
    codes=("recipient_not_found",),
)
def get_recipient(call: Call[None, None]) -> Answer:
    """Read one recipient."""
    view = present(call.served.recipients).get(call.caller, call.path["recipient"])
    return Answer(body=_recipient(view))
