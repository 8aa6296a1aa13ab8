"""Disclosures for stories about what customers are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.support.whole import Stage, draft
from vault_service.services.disclosures.drafts import DisclosureDraft

LAW = {
    "law": "a code",
    "authority": "an authority",
    "reference": "R-1",
    "received": "2026-01-02",
    "basis": "it looks genuine",
}


def demanded(*tokens: str, until: str | None = None) -> DisclosureDraft:
    """A request that the law makes, perhaps with a day until which the customer is not told."""
    evidence = LAW | ({} if until is None else {"secret_until": until})
    return draft(*tokens, ground="required_by_law", recipient_kind="court", evidence=evidence)


def disclosed(stage: Stage, asked: DisclosureDraft, *tokens: str) -> str:
    """Disclose; the grant."""
    grant = stage.granted(asked).id
    stage.revealed(stage.token(grant), *tokens)
    return grant


def day(days: int) -> str:
    """A day from now."""
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()
