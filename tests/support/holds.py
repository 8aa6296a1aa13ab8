"""Legal holds, as stories place them."""

from __future__ import annotations

from typing import Any

from tests.support.whole import Stage
from vault_service.services.holds import HoldDraft, HoldView


def hold_draft(customer: str, **changes: Any) -> HoldDraft:
    """A hold on a customer."""
    plain: dict[str, Any] = {
        "customer": customer,
        "reason": "kept for the court",
        "reference": "4 O 711/26",
    }
    return HoldDraft(**(plain | changes))


def placed(stage: Stage, customer: str, *, by: str = "officer-1", **changes: Any) -> HoldView:
    """A hold that stands."""
    return stage.holds.place(stage.caller(by), hold_draft(customer, **changes))
