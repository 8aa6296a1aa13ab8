"""Disclosures: states and their times, decisions, and the use of tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.storage import build
from tests.storage.build import BUCKET, Units
from tests.support.servers import Database
from vault_service.errors import NotFound
from vault_service.services.disclosure_ports import DisclosureRow, NewDisclosure, NewToken, UseClaim
from vault_service.services.ports import RowRefused


def _row(units: Units, disclosure: str) -> DisclosureRow:
    with units.console.begin(read_only=True) as tx:
        found = tx.disclosures.get(BUCKET, disclosure)
    assert found is not None
    return found


def _use(units: Units, *claims: UseClaim) -> dict[str, DisclosureRow]:
    with units.reveal.begin() as tx:
        return tx.disclosures.use(claims)


def _token_row(database: Database, jti: str) -> tuple[datetime | None, UUID | None]:
    with database.connect() as connection:
        row = connection.execute(
            "SELECT used_at, entry FROM disclosure_tokens WHERE jti = %s", (jti,)
        ).fetchone()
    assert row is not None
    return row[0], row[1]


def _set(database: Database, statement: str, *parameters: object) -> None:
    with database.connect() as connection:
        connection.execute(statement.encode(), parameters)


def test_a_request_is_read_back_as_it_was_written(units: Units) -> None:
    """Scope, evidence and terms survive; a draft has no time of submission."""
    new = build.disclosure(
        state="draft",
        tokens=None,
        customer="cus_a",
        classes=("payment_card", "telephone"),
        fields=("number",),
        uses=3,
        determination_needed=True,
        duration=timedelta(days=90),
    )
    with units.console.begin() as tx:
        stored = tx.disclosures.insert(new)
    assert stored.submitted_at is None
    assert (stored.uses, stored.uses_left, stored.duration) == (3, 3, timedelta(days=90))
    assert (stored.tokens, stored.customer) == (None, "cus_a")
    assert (stored.classes, stored.fields) == (("payment_card", "telephone"), ("number",))
    assert (stored.determination_needed, stored.details, stored.details_salt) == (
        True,
        new.details,
        b"salt",
    )
    again = _row(units, new.id)
    assert again.now > stored.now
    assert again.created_at == stored.created_at


def test_states_stamp_their_times_by_the_databases_clock(units: Units) -> None:
    """F3: a grant ends its duration after the database's now, whatever clock a process has."""
    new = build.disclosure(state="draft", duration=timedelta(hours=2))
    with units.console.begin() as tx:
        tx.disclosures.insert(new)
        now = tx.clock.now()
        assert tx.disclosures.set_state(BUCKET, new.id, "submitted").submitted_at == now
        active = tx.disclosures.set_state(BUCKET, new.id, "active")
        assert active.activated_at == now
        assert active.expires_at == now + timedelta(hours=2)
        assert active.ended_at is None
        revoked = tx.disclosures.set_state(BUCKET, new.id, "revoked")
    # An end is stamped when it is written, not when its transaction began.
    assert revoked.ended_at is not None
    assert now <= revoked.ended_at < now + timedelta(seconds=30)
    assert (revoked.submitted_at, revoked.state) == (now, "revoked")


def test_a_grant_may_last_shorter_than_it_was_asked_for(units: Units) -> None:
    """`lasts` replaces the row's duration."""
    new = build.disclosure(duration=timedelta(hours=2))
    with units.console.begin() as tx:
        tx.disclosures.insert(new)
        row = tx.disclosures.set_state(BUCKET, new.id, "active", lasts=timedelta(minutes=5))
        assert row.expires_at == tx.clock.now() + timedelta(minutes=5)


def test_an_unknown_request_has_no_state(units: Units) -> None:
    """Nothing is moved, and the caller is told."""
    with pytest.raises(NotFound), units.console.begin() as tx:
        tx.disclosures.set_state(BUCKET, "dis_unknown", "active")
    with units.console.begin(read_only=True) as tx:
        assert tx.disclosures.get(BUCKET, "dis_unknown") is None


def test_nobody_decides_twice_and_the_requester_not_at_all(units: Units) -> None:
    """D3: the rows themselves refuse a self-approval, whatever the code above them does."""
    new = build.disclosure()
    comment = build.sealed()
    with units.console.begin() as tx:
        tx.disclosures.insert(new)

        def decide(principal: str) -> bool:
            return tx.disclosures.decide(
                BUCKET,
                new.id,
                kind="approve",
                principal=principal,
                requester=new.requester,
                comment=comment if principal == "prn_one" else None,
            )

        assert decide("prn_one")
        assert not decide("prn_one")
        assert decide("prn_two")
    with units.console.begin(read_only=True) as tx:
        decisions = tx.disclosures.decisions(BUCKET, new.id)
    assert {(row.principal, row.comment) for row in decisions} == {
        ("prn_one", comment),
        ("prn_two", None),
    }
    with pytest.raises(RowRefused), units.console.begin() as tx:
        decide(new.requester)


def test_a_decision_cannot_lie_about_the_requester(units: Units) -> None:
    """D3: naming another requester in order to approve one's own request breaks a foreign key."""
    new = build.disclosure()
    with units.console.begin() as tx:
        tx.disclosures.insert(new)
    with pytest.raises(RowRefused), units.console.begin() as tx:
        tx.disclosures.decide(
            BUCKET,
            new.id,
            kind="approve",
            principal=new.requester,
            requester="prn_somebody_else",
            comment=None,
        )


def test_pages_filter_and_walk_by_id(units: Units) -> None:
    """A requester sees his own, an officer all in a state."""
    mine = sorted(build.active(units.console, requester="prn_pager").id for _ in range(3))
    with units.console.begin(read_only=True) as tx:
        first = tx.disclosures.page(requester="prn_pager", state=None, after=None, limit=2)
        rest = tx.disclosures.page(requester="prn_pager", state="active", after=mine[1], limit=9)
        none = tx.disclosures.page(requester="prn_pager", state="denied", after=None, limit=9)
        both = tx.disclosures.page(requester="prn_pager", state="active", after=None, limit=9)
        everybody = tx.disclosures.page(requester=None, state="active", after=None, limit=500)
    assert [row.id for row in first + rest] == mine
    assert [row.id for row in both] == mine
    assert none == []
    assert set(mine) <= {row.id for row in everybody}


def test_a_use_is_counted_on_token_and_grant(units: Units, database: Database) -> None:
    """D6: the token remembers the one ledger entry that tells of its use."""
    grant = build.active(units.console, uses=2)
    first, second, third = (build.token(units.reveal, grant) for _ in range(3))
    claim = build.claim(grant, first)
    row = _use(units, claim)[first]
    assert (row.uses_left, row.state, row.ended_at) == (1, "active", None)
    used_at, entry = _token_row(database, first)
    assert used_at is not None
    assert entry == claim.entry
    last = _use(units, build.claim(grant, second))[second]
    assert (last.uses_left, last.state) == (0, "spent")
    assert last.ended_at is not None
    assert _use(units, build.claim(grant, third)) == {}
    assert _token_row(database, third) == (None, None)


def test_a_token_is_used_once(units: Units) -> None:
    """A replay finds nothing, though the grant has uses left."""
    grant = build.active(units.console, uses=5)
    jti = build.token(units.reveal, grant)
    assert _use(units, build.claim(grant, jti))
    assert _use(units, build.claim(grant, jti)) == {}
    assert _row(units, grant.id).uses_left == 4


def test_a_use_that_is_rolled_back_did_not_happen(units: Units) -> None:
    """No ledger entry, no use: both stand and fall with one commit."""
    grant = build.active(units.console)
    jti = build.token(units.reveal, grant)
    with pytest.raises(LookupError), units.reveal.begin() as tx:  # noqa: PT012 - a block's end is part of it
        assert tx.disclosures.use([build.claim(grant, jti)])
        raise LookupError
    assert _use(units, build.claim(grant, jti))


@pytest.mark.parametrize(
    "changes",
    [
        {"holder": "prn_thief"},
        {"policy": "policy-2"},
        {"jti": "jti_unknown"},
        {"disclosure": "dis_unknown"},
        {"bucket": BUCKET + 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_claim_that_differs_uses_nothing(units: Units, changes: dict[str, object]) -> None:
    """D3: holder, policy, token, grant and bucket must all be those of the rows."""
    grant = build.active(units.console)
    jti = build.token(units.reveal, grant)
    assert _use(units, build.claim(grant, changes.pop("jti", jti), **changes)) == {}  # type: ignore[arg-type]
    assert _row(units, grant.id).uses_left == 1
    assert _use(units, build.claim(grant, jti))


def test_a_token_does_not_serve_another_grant(units: Units) -> None:
    """A token of one grant with a claim on another, of the same holder, uses neither."""
    one, two = build.active(units.console), build.active(units.console)
    jti = build.token(units.reveal, one)
    assert _use(units, build.claim(two, jti)) == {}
    assert (_row(units, one.id).uses_left, _row(units, two.id).uses_left) == (1, 1)


@pytest.mark.parametrize("state", ["revoked", "expired", "denied", "withdrawn", "submitted"])
def test_a_grant_that_is_not_active_is_not_used(units: Units, state: str) -> None:
    """D5: a revocation acts on the next request."""
    grant = build.active(units.console)
    jti = build.token(units.reveal, grant)
    with units.console.begin() as tx:
        tx.disclosures.set_state(BUCKET, grant.id, state)
    assert _use(units, build.claim(grant, jti)) == {}


def test_an_ended_grant_or_token_is_not_used(units: Units, database: Database) -> None:
    """F3: the database's clock decides, before any sweep has moved the state."""
    grant = build.active(units.console)
    late = build.token(units.reveal, grant, life=-1)
    assert _use(units, build.claim(grant, late)) == {}
    jti = build.token(units.reveal, grant)
    _set(database, "UPDATE disclosures SET expires_at = now() WHERE id = %s", grant.id)
    assert _use(units, build.claim(grant, jti)) == {}
    assert _row(units, grant.id).state == "active"


def test_a_batch_of_claims_succeeds_each_for_itself(units: Units) -> None:
    """One bad claim does not take the others down."""
    grants = [build.active(units.console) for _ in range(5)]
    tokens = [build.token(units.reveal, grant) for grant in grants]
    _use(units, build.claim(grants[2], tokens[2]))
    claims = [build.claim(grant, jti) for grant, jti in zip(grants, tokens, strict=True)]
    assert set(_use(units, *claims)) == {tokens[0], tokens[1], tokens[3], tokens[4]}


def test_claims_on_one_grant_count_down_to_its_last_use(units: Units, database: Database) -> None:
    """The first in the order of their entries get what is there; the last of them spends it."""
    grant, other = build.active(units.console, uses=3), build.active(units.console, uses=2)
    ids = sorted(uuid4() for _ in range(5))
    claims = [
        build.claim(grant, build.token(units.reveal, grant), entry=entry)
        for entry in (ids[2], ids[4], ids[0], ids[3], ids[1])
    ]
    beside = build.claim(other, build.token(units.reveal, other))
    used = _use(units, *claims[:2], beside, *claims[2:])
    by_entry = {claim.entry: claim for claim in claims}
    told = [used.get(by_entry[entry].jti) for entry in ids]
    assert [None if row is None else (row.uses_left, row.state) for row in told] == [
        (2, "active"),
        (1, "active"),
        (0, "spent"),
        None,
        None,
    ]
    assert [row.ended_at is not None for row in told if row] == [False, False, True]
    assert (used[beside.jti].uses_left, used[beside.jti].state) == (1, "active")
    assert (_row(units, grant.id).uses_left, _row(units, grant.id).state) == (0, "spent")
    assert _row(units, other.id).uses_left == 1
    for claim in claims:
        spent = claim.jti in used
        assert (_token_row(database, claim.jti)[1] == claim.entry) is spent


def test_a_token_stands_once_in_a_batch(units: Units) -> None:
    """Which of two equal claims was the one that counted could not be told."""
    grant = build.active(units.console, uses=2)
    claim = build.claim(grant, build.token(units.reveal, grant))
    with pytest.raises(ValueError, match="twice"):
        _use(units, claim, claim)


def test_a_forged_grant_cannot_be_inserted_by_the_reveal_role(database: Database) -> None:
    """D4: the role that spends grants cannot make one."""
    with (
        database.connect("vault_reveal") as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(
            "INSERT INTO disclosures (bucket, id, state) VALUES (1, 'dis_forged', 'active')"
        )


def test_the_sweep_ends_grants_past_their_end_only(units: Units, database: Database) -> None:
    """Rows without their evidence, since the worker may not read it."""
    over, going = build.active(units.console), build.active(units.console)
    _set(database, "UPDATE disclosures SET expires_at = now() WHERE id = %s", over.id)
    with units.worker.begin() as tx:
        ended = {row.id: row for row in tx.disclosures.expire_due(1_000)}
    assert going.id not in ended
    row = ended[over.id]
    assert (row.state, row.ground, row.uses_left) == ("expired", over.ground, 1)
    assert (row.details.envelope, row.details_salt) == (b"", None)
    assert row.ended_at is not None
    assert _row(units, over.id).details == over.details


def test_grants_are_read_unlocked_and_in_batches(units: Units) -> None:
    """A rival's lock keeps nobody from reading."""
    one, two = build.active(units.console), build.active(units.console)
    names = [(BUCKET, one.id), (BUCKET, two.id), (BUCKET, "dis_unknown"), (BUCKET, one.id)]
    with units.console.begin() as tx:
        assert tx.disclosures.get(BUCKET, one.id, lock=True) is not None
        with units.reveal.begin(read_only=True) as reader:
            assert set(reader.disclosures.grants(names)) == {one.id, two.id}


def test_a_token_cannot_be_registered_twice(units: Units) -> None:
    """The failure of a waiting statement shows at the commit, and nothing is written."""
    grant: NewDisclosure = build.active(units.console)
    jti = build.token(units.reveal, grant)
    now = datetime.now(UTC)
    with pytest.raises(RowRefused), units.reveal.begin() as tx:  # noqa: PT012 - a block's end is part of it
        tx.outbox.append([build.entry()])
        tx.disclosures.insert_tokens(
            [
                NewToken(
                    bucket=BUCKET,
                    jti=jti,
                    disclosure=grant.id,
                    holder="h",
                    issued_at=now,
                    expires_at=now,
                )
            ]
        )
