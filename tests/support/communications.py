"""Communications for stories: kept, counted, and looked at behind the scenes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.support.whole import Stage, draft, name
from vault_service.domain.communications import Direction, Envelope
from vault_service.services.disclosures.drafts import DisclosureDraft
from vault_service.services.views import TokenView

OUTSIDE = Envelope(
    direction=Direction.INBOUND,
    sender="alice@example.com",
    recipients=("support@company.example",),
)


def message(size: int = 0, *, subject: str | None = None) -> bytes:
    """A message that nobody has sent before."""
    head = f"From: alice@example.com\r\nSubject: {subject or name('secret-subject')}\r\n\r\n"
    return head.encode() + b"word " * (size // 5) + bytes(size % 5)


def keep(
    stage: Stage, customer: str | None, content: bytes | Iterable[bytes], **how: Any
) -> TokenView:
    """Keep a communication."""
    by = how.pop("by", "support")
    return stage.communications.keep(
        stage.caller(by) if by in stage.cast.principals else by,
        customer=customer,
        envelope=how.pop("envelope", OUTSIDE),
        content=[content] if isinstance(content, bytes) else content,
        **how,
    )


def chunks(stage: Stage, token: str) -> int:
    """How many chunks of it lie in the database."""
    ((count,),) = stage.sql("SELECT count(*) FROM communication_chunks WHERE token = %s", [token])
    return int(count)


def uploads(stage: Stage) -> int:
    """How many uploads lie there that are no communications."""
    ((count,),) = stage.sql("SELECT count(*) FROM communications WHERE kept_at IS NULL")
    return int(count)


def contents(*tokens: str, **changes: Any) -> DisclosureDraft:
    """A request for contents that needs two officers."""
    return draft(
        *tokens,
        **{
            "ground": "provide_service",
            "category": "communication_contents",
            "recipient_kind": "internal",
            "evidence": {"ticket_reference": "T-17"},
            **changes,
        },
    )
