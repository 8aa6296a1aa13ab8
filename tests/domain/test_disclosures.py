"""The life of a disclosure request: its whole table, who may do what, and walks through it."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from vault_service.domain.disclosures import (
    TERMINAL,
    TRANSITIONS,
    Event,
    Recipient,
    Refusal,
    State,
    advance,
    check_approver,
    check_decider,
    check_requester,
    last_approval,
)
from vault_service.errors import Conflict, Forbidden

# Rows: states. Columns: what follows on each event, or the refusal, by the short names below.
# (D) stands for what depends on whether the ground needs a determination.
TABLE = """
-  submit determine approve approve_last start deny withdraw use use_last expire revoke annul amend
draft      submitted  NS  NS  NS  NS  NS       withdrawn  NS  NS  NS  NS  NS  NS
submitted  submitted  (D) (D) (D) NA  denied   withdrawn  NX  NX  expired  NX  (A) SU
determined determined AD  determined approved NA denied withdrawn NX NX expired NX (A) SU
approved   approved   AA  AA  AA  active denied withdrawn NX  NX  expired  revoked (A) SU
active     active     AC  AC  AC  AC  AC       withdrawn  active spent expired revoked (A) SU
spent      E E E E E E E E E E E E E
expired    E E E E E E E E E E E E E
revoked    E E E E E E E E E E E E E
denied     E E E E E E E E E E E E E
withdrawn  E E E E E E E E E E E E E
superseded E E E E E E E E E E E E E
"""
SHORT: dict[str, State | Refusal] = {
    "NS": Refusal.NOT_SUBMITTED,
    "NA": Refusal.NOT_APPROVED,
    "NX": Refusal.NOT_ACTIVE,
    "AD": Refusal.ALREADY_DETERMINED,
    "AA": Refusal.ALREADY_APPROVED,
    "AC": Refusal.ALREADY_ACTIVE,
    "E": Refusal.ENDED,
    "SU": State.SUPERSEDED,
}
SUBMITTED: dict[bool, dict[str, State | Refusal]] = {
    True: {
        "determine": State.DETERMINED,
        "approve": Refusal.DETERMINATION_MISSING,
        "approve_last": Refusal.DETERMINATION_MISSING,
    },
    False: {
        "determine": Refusal.DETERMINATION_NOT_NEEDED,
        "approve": State.SUBMITTED,
        "approve_last": State.APPROVED,
    },
}


LONG = {"amend": "supersede"}
ANNULLED: dict[str, State | Refusal] = {
    "submitted": Refusal.DETERMINATION_MISSING,
    "determined": State.DENIED,
    "approved": State.DENIED,
    "active": State.REVOKED,
}


def _expected(*, determination: bool) -> dict[tuple[State, Event], State | Refusal]:
    expected: dict[tuple[State, Event], State | Refusal] = {}
    header, *lines = TABLE.strip().splitlines()
    for line in lines:
        state, *cells = line.split()
        for column, cell in zip(header.split()[1:], cells, strict=True):
            after: State | Refusal | None = SHORT.get(cell)
            if cell == "(D)":
                after = SUBMITTED[determination][column]
            elif cell == "(A)":
                after = ANNULLED[state] if determination else Refusal.DETERMINATION_NOT_NEEDED
            elif after is None:
                after = State(cell)
            expected[State(state), Event(LONG.get(column, column))] = after
    return expected


@pytest.mark.parametrize("determination", [True, False])
def test_the_table_is_total_and_as_written(determination: bool) -> None:  # noqa: FBT001
    """Every event in every state has the successor, or the refusal, of the written table."""
    expected = _expected(determination=determination)
    assert set(expected) == {(state, event) for state in State for event in Event}
    assert dict(TRANSITIONS[determination]) == expected


@pytest.mark.parametrize("determination", [True, False])
@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_advance_follows_the_table(state: State, event: Event, determination: bool) -> None:  # noqa: FBT001
    """The function returns the table's successor, or raises with the table's refusal as code."""
    after = TRANSITIONS[determination][state, event]
    if isinstance(after, State):
        assert advance(state, event, determination_needed=determination) is after
    else:
        with pytest.raises(Conflict) as caught:
            advance(state, event, determination_needed=determination)
        assert caught.value.code == after.value


def test_an_end_is_an_end() -> None:
    """Nothing leads out of an end, and only an active grant is ever spent."""
    for table in TRANSITIONS.values():
        for (state, _), after in table.items():
            if state in TERMINAL:
                assert after is Refusal.ENDED
            if after is State.SPENT:
                assert state is State.ACTIVE
            if after is State.ACTIVE:
                assert state in {State.APPROVED, State.ACTIVE}


def test_d3_nobody_decides_on_his_own_request() -> None:
    """The requester can neither determine, approve nor deny; anybody else can."""
    with pytest.raises(Forbidden) as caught:
        check_decider("prn_a", "prn_a")
    assert caught.value.code == "own_request"
    with pytest.raises(Forbidden):
        check_approver("prn_a", "prn_a", ())
    check_decider("prn_a", "prn_b")
    check_approver("prn_a", "prn_b", ())


def test_d3_nobody_approves_twice() -> None:
    """A second approval by the same principal is refused; one by another is not."""
    with pytest.raises(Conflict) as caught:
        check_approver("prn_a", "prn_b", ("prn_b",))
    assert caught.value.code == "already_approved_by_you"
    check_approver("prn_a", "prn_c", ("prn_b",))


def test_only_the_requester_withdraws_submits_and_takes_tokens() -> None:
    """Nobody else acts as the requester."""
    check_requester("prn_a", "prn_a")
    with pytest.raises(Forbidden) as caught:
        check_requester("prn_a", "prn_b")
    assert caught.value.code == "not_your_request"


@pytest.mark.parametrize(
    ("approved_by", "needed", "last"),
    [
        ((), 1, True),
        ((), 2, False),
        (("prn_b",), 2, True),
        (("prn_b", "prn_b"), 3, False),
        (("prn_b", "prn_c"), 2, True),
    ],
)
def test_approvals_are_counted_by_person(
    approved_by: tuple[str, ...],
    needed: int,
    last: bool,  # noqa: FBT001
) -> None:
    """The last approval is the one by the n-th different person."""
    assert last_approval(approved_by, needed) is last


def test_a_recipients_name_does_not_print() -> None:
    """The name is personal data and stays out of messages and logs."""
    assert "Meier" not in repr(Recipient(kind="internal", name="Anna Meier"))


PEOPLE = st.sampled_from(["prn_requester", "prn_one", "prn_two", "prn_three"])


class Life(RuleBasedStateMachine):
    """People do whatever comes to their minds; a model keeps count of what really happened."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State.DRAFT
        self.needed = 2
        self.uses = 1
        self.determination = False
        self.approved_by: list[str] = []
        self.determined_by: list[str] = []
        self.used = 0

    @initialize(needed=st.integers(1, 3), uses=st.integers(1, 3), determination=st.booleans())
    def begin(self, needed: int, uses: int, determination: bool) -> None:  # noqa: FBT001
        """Make a request under some ground."""
        self.needed, self.uses, self.determination = needed, uses, determination

    def _try(self, event: Event) -> bool:
        before = self.state
        try:
            self.state = advance(before, event, determination_needed=self.determination)
        except Conflict:
            assert self.state is before
            return False
        return True

    @rule(who=PEOPLE, event=st.sampled_from([Event.SUBMIT, Event.WITHDRAW]))
    def requester_acts(self, who: str, event: Event) -> None:
        """Somebody submits or withdraws."""
        try:
            check_requester("prn_requester", who)
        except Forbidden:
            return
        self._try(event)

    @rule(who=PEOPLE)
    def determine(self, who: str) -> None:
        """Somebody determines the instrument."""
        try:
            check_decider("prn_requester", who)
        except Forbidden:
            return
        if self._try(Event.DETERMINE):
            self.determined_by.append(who)

    @rule(who=PEOPLE)
    def approve(self, who: str) -> None:
        """Somebody approves; the last approval starts the grant."""
        try:
            check_approver("prn_requester", who, self.approved_by)
        except (Forbidden, Conflict):
            return
        last = last_approval(self.approved_by, self.needed)
        if self._try(Event.APPROVE_LAST if last else Event.APPROVE):
            self.approved_by.append(who)
            if last:
                assert self._try(Event.START)

    @rule(who=PEOPLE)
    def deny(self, who: str) -> None:
        """Somebody denies."""
        try:
            check_decider("prn_requester", who)
        except Forbidden:
            return
        self._try(Event.DENY)

    @rule()
    def annul(self) -> None:
        """The instrument is found valid no longer; there must have been one."""
        if self._try(Event.ANNUL):
            assert self.determined_by

    @rule()
    def use(self) -> None:
        """The holder reveals."""
        if self._try(Event.USE_LAST if self.used + 1 == self.uses else Event.USE):
            self.used += 1

    @rule(event=st.sampled_from([Event.EXPIRE, Event.REVOKE, Event.START, Event.SUPERSEDE]))
    def anything_else(self, event: Event) -> None:
        """Time passes, an officer revokes, an amendment starts, or something tries to, early."""
        self._try(event)

    @invariant()
    def nothing_active_without_enough_people(self) -> None:
        """A grant has enough different approvers, none of them the requester."""
        if self.state in {State.ACTIVE, State.SPENT, State.REVOKED}:
            assert len(set(self.approved_by)) >= self.needed
        assert "prn_requester" not in [*self.approved_by, *self.determined_by]
        assert len(self.approved_by) == len(set(self.approved_by))

    @invariant()
    def nothing_approved_before_its_determination(self) -> None:
        """Where a determination is needed, no approval counts before it."""
        if self.determination and self.approved_by:
            assert len(self.determined_by) == 1
        if not self.determination:
            assert not self.determined_by

    @invariant()
    def nothing_used_more_often_than_granted(self) -> None:
        """A grant is used at most as often as it says, and only once active."""
        assert self.used <= self.uses
        assert self.used == 0 or len(self.approved_by) >= self.needed
        assert self.state is not State.SPENT or self.used == self.uses


Life.TestCase.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
TestLife = Life.TestCase
