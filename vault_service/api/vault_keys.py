"""The call that tells of Vault's keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

from vault_service.api.calls import Answer, Call, Group
from vault_service.api.schemas import Answered
from vault_service.domain.actors import Action
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("keys", ProcessRole.CONSOLE)


class VaultKeyOut(Answered, frozen=True):
    """A key that Vault holds for the service."""

    name: str
    purpose: Annotated[str, Meta(description="kek, fingerprint or signing.")]
    exists: bool
    version: int | None
    min_encryption_version: int | None
    min_decryption_version: int | None
    created: datetime | None
    age_days: int | None
    due: Annotated[datetime | None, Meta(description="When its rotation is due.")]
    overdue: bool
    wrapped: Annotated[
        dict[str, int],
        Meta(description="Keys under each version; under 0 those that contradict themselves."),
    ]
    counted_at: datetime | None
    rotation: Annotated[str | None, Meta(description="The rotation under way.")]


class VaultKeysOut(Answered, frozen=True):
    """Every declared key."""

    keys: list[VaultKeyOut]


@GROUP.call(
    "GET",
    "/v1/keys",
    "Tell of every key that Vault holds for the service.",
    action=Action.READ_KEYS,
    answers={200: VaultKeysOut},
)
def list_keys(call: Call[None, None]) -> Answer:
    """Tell of every key."""
    return Answer(
        body=VaultKeysOut(
            keys=[
                VaultKeyOut(
                    name=one.name,
                    purpose=one.purpose,
                    exists=one.exists,
                    version=one.version,
                    min_encryption_version=one.min_encryption_version,
                    min_decryption_version=one.min_decryption_version,
                    created=one.created,
                    age_days=one.age_days,
                    due=one.due,
                    overdue=one.overdue,
                    wrapped={str(version): count for version, count in one.wrapped.items()},
                    counted_at=one.counted_at,
                    rotation=one.rotation,
                )
                for one in present(call.served.key_status).overview(call.caller)
            ]
        )
    )
