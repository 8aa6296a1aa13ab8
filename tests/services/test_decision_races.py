"""Races for a decision: revoke against reveal, and everybody for an approval.

Short here, long as campaigns (`scripts/campaign revoke-race`, `officers-race`). The order of two
transactions is read from the database itself: which of them wrote the grant's row last.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import pytest

from tests.process import campaign
from tests.support.racing import threads
from tests.support.whole import Stage, draft, present, refusal, standing
from vault_service.bootstrap.process import Services, build
from vault_service.domain.actors import Role
from vault_service.errors import DisclosureRefused, ServiceError
from vault_service.ledger.entries import Event
from vault_service.services.context import Caller
from vault_service.services.reveal.use_case import Reveal
from vault_service.services.views import DisclosureView, RevealAnswer
from vault_service.settings import ProcessRole

REVEALERS: Final = 4
# How long four reveals take from their begin to their commits; the revocation falls into it.
LATEST_S: Final = 0.04

# By the rows that only they write: whether the revocation wrote the grant's row last, how many uses
# were written, and the times at which their entries came to the ledger.
_ORDER: Final = """
SELECT d.xmin = r.xmin, d.state, d.uses - d.uses_left, count(t.used_at),
    (SELECT max(o.created_at) FROM ledger_outbox AS o WHERE o.id = ANY(array_agg(t.entry))),
    (SELECT o.created_at FROM ledger_outbox AS o WHERE o.xmin = r.xmin)
FROM disclosures AS d
JOIN disclosure_decisions AS r
    ON r.bucket = d.bucket AND r.disclosure = d.id AND r.kind = 'revoke'
JOIN disclosure_tokens AS t ON t.bucket = d.bucket AND t.disclosure = d.id
WHERE d.id = %s
GROUP BY d.xmin, r.xmin, d.state, d.uses, d.uses_left
"""


@pytest.fixture(scope="module")
def another(stage: Stage) -> Iterator[Services]:
    """A process that reveals, besides the stage's own."""
    built = build(stage.settings_for(ProcessRole.REVEAL))
    yield built
    built.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """A grant with a token for each who reveals, and one for whoever comes late."""

    stage: Stage
    reveals: Sequence[Reveal]
    card: str
    grant: str
    tokens: Sequence[str]
    late: str

    def reveal(self, index: int, token: str) -> RevealAnswer:
        """Reveal, in one of the processes."""
        return self.reveals[index % len(self.reveals)].submit(
            self.stage.caller("requester"), disclosure_token=token, tokens=[self.card], fields=None
        )

    def revoke(self, after: float) -> DisclosureView:
        """Revoke, some seconds from now."""
        time.sleep(after)
        return self.stage.decisions.revoke(self.stage.caller("officer-3"), self.grant)

    def run(self, after: float) -> list[DisclosureRefused]:
        """All at once; the refusals, after all that the database says was looked at."""
        calls: list[Callable[[], object]] = [
            partial(self.reveal, index, token) for index, token in enumerate(self.tokens)
        ]
        *answers, revoked = threads([*calls, partial(self.revoke, after)])
        assert isinstance(revoked, DisclosureView), revoked
        told = [each for each in answers if isinstance(each, RevealAnswer)]
        refused = [each for each in answers if isinstance(each, DisclosureRefused)]
        assert len(told) + len(refused) == len(self.tokens), answers
        ((last, state, uses, used, revealed_at, revoked_at),) = self.stage.sql(_ORDER, [self.grant])
        assert (last, state, uses, used) == (True, "revoked", len(told), len(told))
        assert revealed_at is None or revealed_at < revoked_at
        error = refusal(partial(self.reveal, 0, self.late), DisclosureRefused)
        assert error.code == "disclosure_revoked"
        return refused


def test_no_reveal_is_committed_after_the_revocation(stage: Stage, another: Services) -> None:
    """Of every race the database and the ledger say: first the uses, then the revocation."""
    chance = random.Random(campaign.seed(1))  # noqa: S311 -- a seed that can be run again
    rounds = campaign.rounds(25)
    card = stage.card(stage.customer())
    reveals = [present(stage.services.reveal), present(another.reveal)]
    won: Counter[int] = Counter()
    codes: Counter[str] = Counter()
    began = time.monotonic()
    for _ in range(rounds):
        grant = stage.granted(standing(card, uses=REVEALERS + 1)).id
        *tokens, late = [stage.token(grant) for _ in range(REVEALERS + 1)]
        race = Race(stage=stage, reveals=reveals, card=card, grant=grant, tokens=tokens, late=late)
        refused = race.run(chance.random() * LATEST_S)
        codes.update(each.code for each in refused)
        won[REVEALERS - len(refused)] += 1
    assert set(codes) <= {"disclosure_revoked", "disclosure_spent"}
    split = sum(times for count, times in won.items() if 0 < count < REVEALERS)
    if campaign.under_way():
        assert min(won[0], won[REVEALERS], split) > 0
    campaign.report(
        races=rounds,
        reveals=rounds * REVEALERS,
        told=rounds * REVEALERS - codes.total(),
        refused=codes.total(),
        all_told=won[REVEALERS],
        some_told=split,
        none_told=won[0],
        seconds=round(time.monotonic() - began, 1),
    )


def test_the_ledger_has_the_order_of_the_commits(stage: Stage) -> None:
    """Also where the revocation began before the reveal, and had to wait for it or was slow."""
    card = stage.card(stage.customer())
    grant = stage.granted(standing(card)).id
    token = stage.token(grant)
    disclosures = stage.disclosures
    ((bucket,),) = stage.sql("SELECT bucket FROM disclosures WHERE id = %s", [grant])
    with disclosures._uow.begin() as tx:
        tx.clock.now()  # the transaction begins here
        stage.revealed(token, card)
        row = tx.disclosures.get(bucket, grant, lock=True)
        assert row is not None
        row = tx.disclosures.set_state(bucket, grant, "revoked")
        tx.outbox.append(
            disclosures._audit.entries(
                Event.DISCLOSURE_REVOKED, stage.caller("officer-3"), at=row.now, grant=row
            )
        )
    assert _told(stage, grant)[-2:] == ["reveal.allowed", "disclosure.revoked"]


def _told(stage: Stage, grant: str) -> list[str]:
    """The events of a grant in the order in which the ledger takes them."""
    return [
        row[0]
        for row in stage.sql(
            "SELECT convert_from(entry, 'UTF8')::jsonb ->> 'event' FROM ledger_outbox"
            " WHERE position(convert_to(%s, 'UTF8') IN entry) > 0 ORDER BY created_at, id",
            [grant],
        )
    ]


def _both(caller: Caller) -> Caller:
    """Somebody who came by the other role as well, so that the rules alone must stop him."""
    roles = caller.principal.roles | {Role.OFFICER, Role.REQUESTER}
    return replace(caller, principal=replace(caller.principal, roles=roles))


def test_two_officers_approve_and_never_the_requester(stage: Stage) -> None:
    """Each call several times at once, by whoever may and may not: two approvers, or none."""
    chance = random.Random(campaign.seed(2))  # noqa: S311 -- a seed that can be run again
    rounds = campaign.rounds(25)
    card = stage.card(stage.customer())
    outcomes: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    began = time.monotonic()
    for _ in range(rounds):
        asked = _both(stage.caller("requester"))
        grant = stage.disclosures.create(asked, draft(card), is_draft=False).id
        # Sometimes there is one officer alone, however often he tries.
        officers = chance.sample(["officer-1", "officer-2", "officer-3"], chance.choice((1, 2, 2)))
        denies = chance.random() < 0.3
        refused.update(_hammer(stage, grant, officers, denies=denies, chance=chance))
        state = _check_decided(stage, grant)
        assert state == "submitted" or denies or len(officers) == 2
        outcomes[state] += 1
    assert "internal_error" not in refused
    if campaign.under_way():
        assert min(outcomes[state] for state in ("submitted", "active", "denied")) > 0
    campaign.report(
        requests=rounds,
        active=outcomes["active"],
        submitted=outcomes["submitted"],
        denied=outcomes["denied"],
        refused=refused.total(),
        seconds=round(time.monotonic() - began, 1),
    )


def _hammer(
    stage: Stage, grant: str, officers: Sequence[str], *, denies: bool, chance: random.Random
) -> list[str]:
    """The requester and officers approve at once, three times each; the codes of the refusals."""
    people = [who for who in ("requester", *officers) for _ in range(3)]
    chance.shuffle(people)
    calls: list[Callable[[], object]] = [partial(_approve, stage, grant, who) for who in people]
    if denies:
        calls.append(partial(stage.decisions.deny, stage.caller("officer-3"), grant))
    answers = threads(calls)
    assert all(isinstance(each, DisclosureView | ServiceError) for each in answers), answers
    return [each.code for each in answers if isinstance(each, ServiceError)]


def _approve(stage: Stage, grant: str, who: str) -> DisclosureView:
    return stage.decisions.approve(_both(stage.caller(who)), grant)


def _check_decided(stage: Stage, grant: str) -> str:
    """The state, after rows and ledger were held against each other."""
    ((state, approvers, denied),) = stage.sql(
        "SELECT d.state, coalesce(array_agg(x.principal) FILTER (WHERE x.kind = 'approve'), '{}'),"
        " count(*) FILTER (WHERE x.kind = 'deny') FROM disclosures AS d"
        " LEFT JOIN disclosure_decisions AS x ON x.bucket = d.bucket AND x.disclosure = d.id"
        " WHERE d.id = %s GROUP BY d.state",
        [grant],
    )
    told = Counter(_told(stage, grant))
    assert stage.cast.id("requester") not in approvers
    assert told["disclosure.approved"] == len(approvers) == len(set(approvers))
    assert told["disclosure.denied"] == denied
    assert (state == "active") == (told["disclosure.activated"] == 1)
    # A denial ends a request that waits, and never one that was granted before.
    assert state == ("denied" if denied else "active" if len(approvers) == 2 else "submitted")
    return str(state)
