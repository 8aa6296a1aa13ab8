"""D5: revocation acts on the next request, and never on half a race."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from tests.support.racing import threads
from tests.support.whole import Stage, draft, name, refusal, standing
from vault_service.errors import Conflict, DisclosureRefused, NotAuthenticated, ServiceError
from vault_service.ledger.entries import Event
from vault_service.services.authentication import Shown
from vault_service.services.views import RevealAnswer


@pytest.fixture
def token(stage: Stage, customer: str) -> str:
    """A card's token."""
    return stage.card(customer)


def test_d5_a_revoked_grant_reveals_nothing_on_the_next_request(stage: Stage, token: str) -> None:
    """With tokens in hand, and no new one to be had."""
    grant = stage.granted(standing(token))
    first, second = stage.token(grant.id), stage.token(grant.id)
    stage.revealed(first, token)
    stage.decisions.revoke(stage.caller("officer-3"), grant.id)
    error = refusal(lambda: stage.reveal(second, token), DisclosureRefused)
    assert error.code == "disclosure_revoked"
    refusal(lambda: stage.token(grant.id), Conflict)


def test_d5_revocation_acts_in_a_process_that_never_heard_of_it(stage: Stage, token: str) -> None:
    """Another process with services of its own keeps nothing that could outlive it."""
    from vault_service.bootstrap.process import build
    from vault_service.settings import ProcessRole

    grant = stage.granted(standing(token))
    tokens = [stage.token(grant.id) for _ in range(2)]
    other = build(stage.settings_for(ProcessRole.REVEAL))
    assert other.reveal is not None
    how = {"tokens": [token], "fields": None}
    other.reveal.submit(stage.caller("requester"), disclosure_token=tokens[0], **how)  # type: ignore[arg-type]
    stage.decisions.revoke(stage.caller("officer-3"), grant.id)
    with pytest.raises(DisclosureRefused):
        other.reveal.submit(stage.caller("requester"), disclosure_token=tokens[1], **how)  # type: ignore[arg-type]
    other.close()


def test_d5_a_disabled_holder_is_stopped_at_the_door(stage: Stage) -> None:
    """Authentication asks the database each time."""
    issued = stage.principals.create(
        stage.caller("operator"), name=name("leaver"), roles=["billing"]
    )

    def ask() -> None:
        stage.services.authentication.authenticate(
            Shown(
                authorization=f"Bearer {issued.key}",
                request_id="req_" + "0" * 26,
                address="local",
                deadline=time.monotonic() + 5,
            )
        )

    ask()
    stage.principals.disable(stage.caller("operator"), issued.principal.id)
    assert refusal(ask, NotAuthenticated).code == "principal_disabled"
    stage.principals.enable(stage.caller("operator"), issued.principal.id)
    ask()
    stage.principals.revoke_key(stage.caller("operator"), issued.principal.id, issued.id)
    assert refusal(ask, NotAuthenticated).code == "credential_revoked"


def revoke_after(stage: Stage, grant: str, pause: float) -> None:
    """End a grant a moment later."""
    time.sleep(pause)
    stage.decisions.revoke(stage.caller("officer-3"), grant)


def test_d5_200_races_of_revoke_and_reveal_have_one_order_each(stage: Stage, token: str) -> None:
    """Either the use was committed before the revocation, or nothing was revealed.

    The use and the revocation lock the grant's row, so the row tells the order: a use that was
    counted came before; after the revocation nothing counts.
    """
    revoked_first = revealed_first = 0
    for race in range(200):
        grant = stage.granted(standing(token, uses=5))
        disclosure_token = stage.token(grant.id)
        pause = (race % 20) * 0.0004
        revealed, ended = threads(
            [
                partial(stage.reveal, disclosure_token, token),
                partial(revoke_after, stage, grant.id, pause),
            ]
        )
        assert not isinstance(ended, Exception), ended
        ((left, state),) = stage.sql(
            "SELECT uses_left, state FROM disclosures WHERE id = %s", [grant.id]
        )
        assert state == "revoked"
        if isinstance(revealed, RevealAnswer):
            revealed_first += 1
            assert left == 4
        else:
            revoked_first += 1
            assert isinstance(revealed, DisclosureRefused), revealed
            assert left == 5
    assert revoked_first + revealed_first == 200


def test_d5_after_a_revocation_returned_no_reveal_that_begins_succeeds(
    stage: Stage, token: str
) -> None:
    """Four threads reveal as fast as they can while an officer ends the grant."""
    grant = stage.granted(standing(token, uses=200))
    tokens = [stage.token(grant.id) for _ in range(120)]
    ended_at: list[float] = []
    seen: list[tuple[float, bool]] = []
    go = threading.Event()

    def reveal(mine: list[str]) -> None:
        for each in mine:
            began = time.monotonic()
            try:
                stage.reveal(each, token)
            except ServiceError:
                seen.append((began, False))
            else:
                seen.append((began, True))
            if len(seen) > 20:
                go.set()

    def revoke() -> None:
        go.wait(10)
        stage.decisions.revoke(stage.caller("officer-3"), grant.id)
        ended_at.append(time.monotonic())

    with stage.told(Event.REVEAL_ALLOWED) as allowed:
        threads([revoke, *[partial(reveal, tokens[i::4]) for i in range(4)]])
    wins = [began for began, won in seen if won]
    assert wins
    assert len(wins) < len(seen)
    assert max(wins) < ended_at[0]
    assert len(allowed) == len(wins)
    ((left,),) = stage.sql("SELECT uses_left FROM disclosures WHERE id = %s", [grant.id])
    assert left == 200 - len(wins)


def test_d5_a_grant_that_is_denied_its_second_approval_never_lived(
    stage: Stage, token: str
) -> None:
    """A denial and the last approval at once: one of the two, never both."""
    for _ in range(20):
        view = stage.disclosures.create(stage.caller("requester"), draft(token), is_draft=False)
        stage.decisions.approve(stage.caller("officer-1"), view.id)
        approved, denied = threads(
            [
                partial(stage.decisions.approve, stage.caller("officer-2"), view.id),
                partial(stage.decisions.deny, stage.caller("officer-3"), view.id, comment="no"),
            ]
        )
        assert isinstance(approved, Conflict) != isinstance(denied, Conflict)
