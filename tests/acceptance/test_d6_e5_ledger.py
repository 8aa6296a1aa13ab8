"""D6: each plaintext answer has one use and one entry. E5: no ledger, no plaintext."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from keys.errors import VaultUnavailable
from tests.support.faults import FaultyUnitOfWork, Unwraps, rebuilt_reveal
from tests.support.racing import threads
from tests.support.whole import Stage, card, draft, refusal, standing
from vault_service.errors import ServiceError
from vault_service.ledger.entries import Event
from vault_service.services.tokenization import TokenizeItem
from vault_service.services.views import RevealAnswer, Revealed

ROUNDS = 400
SEED = 20_261_123


def test_d6_each_plaintext_answer_is_one_use_and_one_entry(stage: Stage) -> None:
    """A run of successes, replays, revocations and faults, joined afterwards."""
    chance = random.Random(SEED)  # noqa: S311 -- a reproducible choice of faults
    customer = stage.customer()
    records = [stage.card(customer), stage.card(customer, "5555555555554444")]
    real = stage.reveals
    cases: dict[str, Callable[[], Any]] = {
        "well": lambda: real,
        "no database": lambda: rebuilt_reveal(
            real, uow=FaultyUnitOfWork(real._uses._uow, at="before")
        ),
        "lost before": lambda: rebuilt_reveal(
            real, uow=FaultyUnitOfWork(real._uses._uow, at="instead")
        ),
        "lost after": lambda: rebuilt_reveal(
            real, uow=FaultyUnitOfWork(real._uses._uow, at="after")
        ),
        "no vault": lambda: rebuilt_reveal(
            real, unwrapping=Unwraps(real._keys._unwrapping, answer="away")
        ),
        "bad key": lambda: rebuilt_reveal(
            real, unwrapping=Unwraps(real._keys._unwrapping, answer="rejects")
        ),
    }
    grants = [stage.granted(standing(*records, uses=40)).id for _ in range(8)]
    single = [stage.granted(draft(*records)).id for _ in range(12)]
    jobs: list[tuple[str, str]] = []
    for grant in grants * 8 + single:
        disclosure_token = stage.token(grant)
        jobs += [
            (disclosure_token, chance.choice(["well", "well", *cases]))
            for _ in range(chance.randint(1, 6))
        ]
    chance.shuffle(jobs)
    jobs = jobs[:ROUNDS]
    answers: list[RevealAnswer] = []
    ends: Counter[str] = Counter()
    lock = threading.Lock()

    def run(mine: list[tuple[str, str]]) -> None:
        for disclosure_token, case in mine:
            try:
                answer = cases[case]().submit(
                    stage.caller("requester"),
                    disclosure_token=disclosure_token,
                    tokens=records,
                    fields=None,
                )
            except (ServiceError, VaultUnavailable) as exc:
                with lock:
                    ends[exc.code] += 1
                continue
            with lock:
                answers.append(answer)

    with stage.told(Event.REVEAL_ALLOWED, Event.REVEAL_REFUSED) as entries:
        parts: list[Any] = [lambda m=jobs[i::6]: run(m) for i in range(6)]
        parts.append(lambda: stage.decisions.revoke(stage.caller("officer-3"), grants[0]))
        outcomes = threads(parts)
    assert not [each for each in outcomes if isinstance(each, Exception)]
    allowed = {entry.id: entry for entry in entries if entry.event is Event.REVEAL_ALLOWED}
    used = dict(
        stage.sql(
            "SELECT entry::text, jti FROM disclosure_tokens WHERE entry IS NOT NULL"
            " AND disclosure = ANY(%s)",
            [grants + single],
        )
    )
    plain = [a for a in answers if any(isinstance(each, Revealed) for each in a.results)]
    receipts = [answer.receipt.entry for answer in answers]
    assert len(plain) > 20
    assert {"commit_unknown", "vault_unavailable", "database_unavailable"} <= set(ends)
    # Each answer has an entry and a used token of its own; they name each other.
    assert len(set(receipts)) == len(receipts)
    for receipt in receipts:
        assert allowed[receipt].details["jti"] == used[receipt]
    # Every use has its entry and every entry its use; what has no answer had its commit lost.
    assert set(allowed) == set(used)
    # (A refusal's commit can be lost as well.)
    assert 0 < len(used) - len(receipts) <= ends["commit_unknown"]


# ---------------------------------------------------------------- E5


@pytest.fixture
def token(stage: Stage, customer: str) -> str:
    """A card's token."""
    return stage.card(customer)


def test_e5_without_the_ledger_nothing_is_revealed(stage: Stage, token: str) -> None:
    """The reveal role may not write entries: no plaintext, no use spent; later all is well."""
    grant = stage.granted(draft(token))
    disclosure_token = stage.token(grant.id)
    with stage.owned(
        "REVOKE INSERT (bucket, id, entry) ON ledger_outbox FROM vault_reveal",
        "GRANT INSERT (bucket, id, entry) ON ledger_outbox TO vault_reveal",
    ):
        error = refusal(lambda: stage.reveal(disclosure_token, token))
    assert "4242" not in str(error)
    ((left, used),) = stage.sql(
        "SELECT uses_left, used_at FROM disclosures d JOIN disclosure_tokens t"
        " ON t.disclosure = d.id WHERE d.id = %s",
        [grant.id],
    )
    assert (left, used) == (1, None)
    stage.revealed(disclosure_token, token)


def test_e5_not_even_a_refusal_goes_untold(stage: Stage, token: str) -> None:
    """Without the ledger a refusal is an outage, and nothing is told of the token."""
    with stage.owned(
        "REVOKE INSERT (bucket, id, entry) ON ledger_outbox FROM vault_reveal",
        "GRANT INSERT (bucket, id, entry) ON ledger_outbox TO vault_reveal",
    ):
        error = refusal(lambda: stage.reveal("x.y.z", token))
    assert error.code == "internal_error"


@pytest.mark.parametrize("body", ["entry too long", "same id"])
def test_e5_an_entry_that_the_table_refuses_stops_the_reveal(
    stage: Stage, token: str, body: str
) -> None:
    """Whatever keeps the row out keeps the plaintext in."""
    rule = "octet_length(entry) < 10" if body == "entry too long" else "id IS NULL"
    disclosure_token = stage.token(stage.granted(draft(token)).id)
    with (
        stage.owned(
            f"ALTER TABLE ledger_outbox ADD CONSTRAINT ck_shut CHECK ({rule}) NOT VALID",
            "ALTER TABLE ledger_outbox DROP CONSTRAINT ck_shut",
        ),
        pytest.raises(Exception) as refused,  # noqa: PT011 -- whatever it is, it holds no value
    ):
        stage.reveal(disclosure_token, token)
    assert "4242" not in repr(refused.value)
    stage.revealed(disclosure_token, token)


def test_e5_without_the_ledger_nothing_is_written_or_erased(
    stage: Stage, customer: str, token: str
) -> None:
    """Nor is a customer read or a disclosure granted; a masked read of one token goes on."""
    item = TokenizeItem(
        data_class="payment_card", customer=customer, value=card("5555555555554444")
    )
    view = stage.disclosures.create(stage.caller("requester"), draft(token), is_draft=False)
    roles = "vault_ingest, vault_console"
    with stage.owned(
        f"REVOKE INSERT (bucket, id, entry) ON ledger_outbox FROM {roles}",
        f"GRANT INSERT (bucket, id, entry) ON ledger_outbox TO {roles}",
    ):
        refusal(lambda: stage.submit(item))
        refusal(lambda: stage.erasure.erase(stage.caller("billing"), [token]))
        refusal(lambda: stage.customers.profile(stage.caller("support"), customer))
        refusal(lambda: stage.decisions.approve(stage.caller("officer-1"), view.id))
        refusal(
            lambda: stage.principals.create(
                stage.caller("operator"), name="unseen", roles=["billing"]
            )
        )
        assert stage.reading.get(stage.caller("billing"), token).id == token
    assert stage.sql("SELECT count(*) FROM records WHERE customer = %s", [customer]) == [(1,)]
    assert stage.sql("SELECT count(*) FROM principals WHERE name = 'unseen'") == [(0,)]
    assert stage.sql(
        "SELECT count(*) FROM disclosure_decisions WHERE disclosure = %s", [view.id]
    ) == [(0,)]
