"""F3: a skewed clock of a process never lengthens a token, a grant, a key or a record's life."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

import pytest

from tests.support.signing import unpacked
from tests.support.whole import Stage, draft, refusal, standing
from vault_service.bootstrap.process import build
from vault_service.errors import Conflict, DisclosureRefused, InvalidInput, NotFound
from vault_service.services.authentication import Shown
from vault_service.services.tokenization import TokenizeItem
from vault_service.settings import ProcessRole

HOUR = 3600.0


@pytest.fixture(scope="module", params=[-HOUR, HOUR, -86_400.0, 86_400.0])
def skewed(request: pytest.FixtureRequest, stage: Stage) -> Iterator[tuple[Stage, float]]:
    """A serving process whose clock is an hour or a day off; the database's is right."""
    from dataclasses import replace

    skew: float = request.param

    class Skewed(datetime):
        """The wrong time, wherever the service asks for it."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=skew)

    right = time.time
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith(("vault_service.", "keys.")) and hasattr(module, "datetime"):
                patch.setattr(module, "datetime", Skewed)
        patch.setattr(time, "time", lambda: right() + skew)
        services = build(stage.settings_for(ProcessRole.ALL))
        yield replace(stage, services=services), skew
        services.close()


def database_now(stage: Stage) -> datetime:
    """The right time."""
    ((now,),) = stage.sql("SELECT clock_timestamp()")
    assert isinstance(now, datetime)
    return now


def test_f3_a_token_lives_by_the_databases_clock(skewed: tuple[Stage, float]) -> None:
    """Claims and row end at most 300 seconds after the database's now, and work until then."""
    stage, _ = skewed
    token = stage.card(stage.customer())
    grant = stage.granted(standing(token))
    before = database_now(stage)
    issued = stage.granting.issue(stage.caller("requester"), grant.id)
    _, claims = unpacked(issued.token)
    latest = database_now(stage) + timedelta(seconds=300)
    assert before < datetime.fromtimestamp(claims["exp"], UTC) <= latest
    ((row,),) = stage.sql(
        "SELECT expires_at FROM disclosure_tokens WHERE jti = %s", [claims["jti"]]
    )
    assert row <= latest
    stage.revealed(issued.token, token)


def test_f3_an_expired_token_stays_expired(skewed: tuple[Stage, float]) -> None:
    """Whatever the process believes the time to be."""
    stage, _ = skewed
    token = stage.card(stage.customer())
    grant = stage.granted(standing(token, duration_seconds=4))
    disclosure_token = stage.token(grant.id)
    assert grant.expires_at is not None
    while database_now(stage) <= grant.expires_at:
        time.sleep(0.1)
    error = refusal(lambda: stage.reveal(disclosure_token, token), DisclosureRefused)
    assert error.code in {"disclosure_token_expired", "disclosure_expired"}
    assert refusal(lambda: stage.token(grant.id), Conflict).code == "disclosure_expired"


def test_f3_a_grant_lasts_by_the_databases_clock(skewed: tuple[Stage, float]) -> None:
    """24 hours from its last approval, by the clock that judges it."""
    stage, _ = skewed
    before = database_now(stage)
    grant = stage.granted(draft(stage.card(stage.customer())))
    assert grant.expires_at is not None
    assert before + timedelta(hours=24) <= grant.expires_at
    assert grant.expires_at <= database_now(stage) + timedelta(hours=24)


def test_f3_a_record_expires_by_the_databases_clock(skewed: tuple[Stage, float]) -> None:
    """A time that has passed is refused, or is past at once; it is never stretched."""
    stage, skew = skewed
    customer = stage.customer()
    if skew < 0:
        until = database_now(stage) + timedelta(seconds=skew / 2)
        # The slow process takes it for the future; the database knows better on the next read.
        token = stage.card(customer, expires_at=until)
        refusal(lambda: stage.reading.get(stage.caller("billing"), token), NotFound)
    else:
        until = database_now(stage) + timedelta(seconds=skew / 2)
        item = TokenizeItem(
            data_class="telephone", customer=customer, value="+49 30 901820", expires_at=until
        )
        (error,) = stage.submit(item).results
        assert isinstance(error, InvalidInput)
        assert error.code == "expires_at_in_past"


def test_f3_an_api_key_expires_by_the_databases_clock(skewed: tuple[Stage, float]) -> None:
    """A key whose end has passed does not count, in whatever time the process lives."""
    from vault_service.errors import NotAuthenticated

    stage, _ = skewed
    issued = stage.principals.issue_key(stage.caller("billing"), "me")
    stage.sql(
        "UPDATE api_keys SET expires_at = clock_timestamp() - interval '1 second' WHERE id = %s",
        [issued.id],
    )
    error = refusal(
        lambda: stage.services.authentication.authenticate(
            Shown(
                authorization=f"Bearer {issued.key}",
                request_id="req_" + "0" * 26,
                address="local",
                deadline=time.monotonic() + 5,
            )
        ),
        NotAuthenticated,
    )
    assert error.code == "credential_expired"


def test_f3_entries_are_dated_by_the_databases_clock(skewed: tuple[Stage, float]) -> None:
    """The ledger's times are right when a process's are not."""
    stage, _ = skewed
    before = database_now(stage)
    with stage.told() as entries:
        stage.customer()
    (entry,) = entries
    assert before <= entry.at <= database_now(stage)
