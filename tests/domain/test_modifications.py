"""The whole table of a change, and who may apply it."""

from __future__ import annotations

import pytest

from vault_service.domain import modifications as rules
from vault_service.domain.modifications import PENDING, State, Step
from vault_service.errors import Conflict, Forbidden

AFTER = {
    ("open", "propose"): "proposed",
    ("proposed", "confirm"): "confirmed",
    ("confirmed", "apply"): "applied",
    ("open", "assign"): "superseded",
}
ENDS = {
    "reject": "rejected",
    "withdraw": "withdrawn",
    "expire": "expired",
    "supersede": "superseded",
}
CODES = {
    ("open", "confirm"): "modification_without_value",
    ("open", "apply"): "modification_without_value",
    ("proposed", "apply"): "identity_not_confirmed",
    ("proposed", "propose"): "modification_step_done",
    ("confirmed", "propose"): "modification_step_done",
    ("confirmed", "confirm"): "modification_step_done",
    ("proposed", "assign"): "modification_has_value",
    ("confirmed", "assign"): "modification_has_value",
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", Step)
def test_the_whole_table(state: State, step: Step) -> None:
    """Each step in each state leads where it should, or is refused with its code."""
    after = AFTER.get((state, step)) or (ENDS.get(step) if state in PENDING else None)
    if after is not None:
        assert rules.advance(state, step) == after
        return
    with pytest.raises(Conflict) as refused:
        rules.advance(state, step)
    assert refused.value.code == CODES.get((state, step), "modification_ended")


@pytest.mark.parametrize("data_class", ["payment_card", "telephone"])
def test_a_card_and_a_telephone_take_two(data_class: str) -> None:
    """Whoever confirmed one does not apply it; anybody else may."""
    with pytest.raises(Forbidden) as refused:
        rules.check_applier(data_class, confirmed_by="a", principal="a")
    assert refused.value.code == "second_person_needed"
    rules.check_applier(data_class, confirmed_by="a", principal="b")


def test_other_classes_take_one() -> None:
    """A name is changed by whoever confirmed it."""
    rules.check_applier("business_name", confirmed_by="a", principal="a")
