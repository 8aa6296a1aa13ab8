"""Calls on rotations of key-encryption keys: ask for one, follow it, read those that were."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

from vault_service.api.calls import Answer, Call, Group
from vault_service.api.schemas import Accepted, Answered, PageQuery
from vault_service.domain.actors import Action
from vault_service.services.rotations import RotationView
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("rotations", ProcessRole.CONSOLE)


class RotationIn(Accepted, frozen=True):
    """Which key."""

    key: Annotated[str, Meta(max_length=64, description="A key-encryption key, `records-card`.")]


class RotationOut(Answered, frozen=True):
    """A rotation and how far it is."""

    id: str
    key: str
    state: Annotated[
        str, Meta(description="requested, running, verifying, failed or done; see the guide.")
    ]
    reason: Annotated[str, Meta(description="asked, or period: the key was old enough.")]
    requested_by: str
    from_version: int | None
    to_version: int | None
    total: Annotated[int, Meta(description="Keys under older versions when it began.")]
    rewrapped: int
    remaining: int
    failed: Annotated[int, Meta(description="Keys that Vault refused; while any is left it halts.")]
    rate: Annotated[float | None, Meta(description="Keys in a second.")]
    seconds_left: float | None
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RotationPageOut(Answered, frozen=True):
    """Rotations, newest first."""

    items: list[RotationOut]
    next: str | None


def _shown(view: RotationView) -> RotationOut:
    row = view.row
    return RotationOut(
        id=row.id,
        key=row.key,
        state=row.state.value,
        reason=row.reason.value,
        requested_by=row.requested_by,
        from_version=row.from_version,
        to_version=row.to_version,
        total=row.total,
        rewrapped=row.rewrapped,
        remaining=view.remaining,
        failed=row.failed,
        rate=view.rate,
        seconds_left=view.seconds_left,
        requested_at=row.requested_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


@GROUP.call(
    "POST",
    "/v1/rotations",
    "Ask for a key's rotation; one that is under way, or halted, goes on.",
    action=Action.ROTATE_KEYS,
    body=RotationIn,
    answers={201: RotationOut, 200: RotationOut},
    example={"key": "records-card"},
    codes=("vault_key_not_found",),
)
def create_rotation(call: Call[RotationIn, None]) -> Answer:
    """Ask for a rotation."""
    view, is_new = present(call.served.rotations).start(call.caller, call.body.key)
    return Answer(body=_shown(view), status=201 if is_new else 200)


@GROUP.call(
    "GET",
    "/v1/rotations",
    "List rotations, newest first.",
    action=Action.READ_ROTATIONS,
    query=PageQuery,
    answers={200: RotationPageOut},
    codes=("cursor_invalid", "rotation_malformed"),
)
def list_rotations(call: Call[None, PageQuery]) -> Answer:
    """List rotations."""
    page = present(call.served.rotations).page(
        call.caller, cursor=call.query.cursor, limit=call.query.limit
    )
    return Answer(body=RotationPageOut(items=[_shown(one) for one in page.items], next=page.next))


@GROUP.call(
    "GET",
    "/v1/rotations/{rotation}",
    "Read one rotation.",
    action=Action.READ_ROTATIONS,
    answers={200: RotationOut},
    codes=("rotation_malformed", "rotation_not_found"),
)
def get_rotation(call: Call[None, None]) -> Answer:
    """Read one rotation."""
    view = present(call.served.rotations).get(call.caller, call.path["rotation"])
    return Answer(body=_shown(view))
