"""D4: a row without its signature, and a signature without its row, reveal nothing."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from tests.support.signing import signed, unpacked
from tests.support.whole import Stage, draft, name, refusal, standing
from vault_service.domain import tokens as names
from vault_service.domain.actors import Principal, Role
from vault_service.errors import DisclosureRefused
from vault_service.ledger.entries import Event
from vault_service.services.views import Revealed


@pytest.fixture
def token(stage: Stage, customer: str) -> str:
    """A card's token."""
    return stage.card(customer)


def forged_row(stage: Stage, like: str, **changes: Any) -> str:
    """A grant that a superuser wrote into the table, with a token's row, and nobody approved."""
    forged = names.new_disclosure_id()
    bucket = names.bucket_from_disclosure_id(forged)
    (columns,) = stage.sql(
        "SELECT array_agg(column_name::text ORDER BY ordinal_position)"
        " FROM information_schema.columns WHERE table_name = 'disclosures'"
    )
    told = {"bucket": bucket, "id": forged, **changes}
    chosen = ", ".join("%s" if column in told else column for column in columns[0])
    stage.sql(
        f"INSERT INTO disclosures SELECT {chosen} FROM disclosures WHERE id = %s",  # noqa: S608
        [*(told[column] for column in columns[0] if column in told), like],
    )
    return forged


def codes(stage: Stage, attempts: list[str], record: str, by: str = "requester") -> list[str]:
    """How each attempt to reveal ends."""
    found = []
    for attempt in attempts:
        with pytest.raises(DisclosureRefused) as refused:
            stage.reveal(attempt, record, by=by)
        found.append(refused.value.code)
    return found


def test_d4_a_forged_grant_without_a_signature_reveals_nothing(stage: Stage, token: str) -> None:
    """An active row and a token row that a superuser inserted; tokens made without Vault."""
    real = stage.granted(draft(token))
    real_token = stage.token(real.id)
    forged = forged_row(stage, real.id)
    jti = names.new_jti(names.bucket_from_disclosure_id(forged))
    stage.sql(
        "INSERT INTO disclosure_tokens (bucket, jti, disclosure, holder, expires_at)"
        " SELECT bucket, %s, id, requester, now() + interval '5 minutes'"
        " FROM disclosures WHERE id = %s",
        [jti, forged],
    )
    header, claims = unpacked(real_token)
    mine = signed(stage, header, {**claims, "grant": forged, "jti": jti})
    body = mine.rpartition(".")[0]
    found = codes(
        stage,
        [
            f"{body}.",
            f"{body}.{'A' * 86}",
            f"{body}.{real_token.rpartition('.')[2]}",
            f"{real_token.rpartition('.')[0]}.{mine.rpartition('.')[2]}",
        ],
        token,
    )
    assert found == ["disclosure_token_signature"] * 4


def test_d4_a_signed_token_without_a_grants_row_reveals_nothing(stage: Stage, token: str) -> None:
    """Signed by Vault itself, for a grant that nobody made."""
    header, claims = unpacked(stage.token(stage.granted(draft(token)).id))
    nowhere = names.new_disclosure_id()
    jti = names.new_jti(names.bucket_from_disclosure_id(nowhere))
    lone = signed(stage, header, {**claims, "grant": nowhere, "jti": jti})
    assert codes(stage, [lone], token) == ["disclosure_grant_unknown"]


def test_d4_a_signed_token_without_a_row_of_its_own_reveals_nothing(
    stage: Stage, token: str
) -> None:
    """The grant is real, the token was never given out, or for another grant."""
    grant = stage.granted(standing(token))
    bucket = names.bucket_from_disclosure_id(grant.id)
    header, claims = unpacked(stage.token(grant.id))
    unknown = signed(stage, header, {**claims, "jti": names.new_jti(bucket)})
    assert codes(stage, [unknown], token) == ["disclosure_spent"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("ground = 'required_by_law'", "disclosure_grant_mismatch"),
        ("category = 'communication_contents'", "disclosure_grant_mismatch"),
        ("recipient_kind = 'court'", "disclosure_grant_mismatch"),
        ("tokens = array_append(tokens, 'tok_' || repeat('0', 28))", "disclosure_grant_mismatch"),
        ("fields = array['number']", "disclosure_grant_mismatch"),
        ("uses = 100, uses_left = 100", "disclosure_grant_mismatch"),
        ("policy = repeat('e', 64)", "disclosure_policy_changed"),
        (
            (
                "tokens = NULL, customer = 'cus_' || repeat('0', 26),"
                " classes = array['payment_card']"
            ),
            "disclosure_grant_mismatch",
        ),
        ("state = 'approved'", "disclosure_approved"),
        ("state = 'spent'", "disclosure_spent"),
        ("expires_at = now()", "disclosure_expired"),
        ("uses_left = 0", "disclosure_spent"),
    ],
)
def test_d4_a_row_that_was_changed_after_signing_reveals_nothing(
    stage: Stage, token: str, change: str, code: str
) -> None:
    """Token and row must say the same."""
    grant = stage.granted(draft(token))
    disclosure_token = stage.token(grant.id)
    stage.sql(f"UPDATE disclosures SET {change} WHERE id = %s", [grant.id])  # noqa: S608 -- above
    assert codes(stage, [disclosure_token], token) == [code]


def test_d4_a_widened_row_and_its_old_token_reveal_nothing(
    stage: Stage, customer: str, token: str
) -> None:
    """Another record added to the row by a superuser is not covered by the signature."""
    grant = stage.granted(draft(token))
    disclosure_token = stage.token(grant.id)
    other = stage.card(customer, "5555555555554444")
    stage.sql(
        "UPDATE disclosures SET tokens = array_append(tokens, %s) WHERE id = %s", [other, grant.id]
    )
    for wanted in ((token,), (other,), (token, other)):
        with pytest.raises(DisclosureRefused):
            stage.reveal(disclosure_token, *wanted)


def test_d4_a_used_token_whose_row_was_reset_shows_in_the_ledger(stage: Stage, token: str) -> None:
    """A superuser can un-spend a row; the entries then tell of two reveals by one token."""
    from vault_service.ledger.entries import Event

    grant = stage.granted(standing(token))
    disclosure_token = stage.token(grant.id)
    with stage.told(Event.REVEAL_ALLOWED) as entries:
        stage.revealed(disclosure_token, token)
        stage.sql(
            "UPDATE disclosure_tokens SET used_at = NULL, entry = NULL WHERE disclosure = %s",
            [grant.id],
        )
        stage.revealed(disclosure_token, token)
    assert len(entries) == 2
    assert len({entry.details["jti"] for entry in entries}) == 1


def test_d4_anothers_forged_grant_is_not_mine(stage: Stage, token: str) -> None:
    """A row forged for one requester gives no token to another."""
    from vault_service.errors import NotFound

    forged = forged_row(stage, stage.granted(draft(token)).id)
    refusal(lambda: stage.token(forged, by="requester-2"), NotFound)


def test_d4_what_the_consoles_login_can_forge_leaves_no_entry_of_its_making(
    stage: Stage, token: str
) -> None:
    """The threat model says that it can make people, keys and approvals: but none in the ledger.

    Whoever can write as the console needs no other's key. What betrays him is a reveal under a
    grant that no entry tells of.
    """
    thief, key_id = "prn_" + "1" * 26, "key_" + "1" * 16
    secret = hashlib.sha256(b"his own").digest()
    grant = names.new_disclosure_id()
    bucket = names.bucket_from_disclosure_id(grant)
    with stage.superuser() as link:
        link.execute("SET ROLE vault_console")
        link.execute(
            "INSERT INTO principals (id, name, roles, state, created_by)"
            " VALUES (%s, %s, '{requester}', 'active', 'x')",
            [thief, name("nobody")],
        )
        link.execute(
            "INSERT INTO api_keys (id, principal, secret_hash, state, created_by)"
            " VALUES (%s, %s, %s, 'active', 'x')",
            [key_id, thief, secret],
        )
        link.execute(
            "INSERT INTO disclosures (bucket, id, state, requester, ground, category, clause,"
            " policy, recipient_kind, tokens, uses, uses_left, duration_seconds, approvals_needed,"
            " details_envelope, details_wrapped_key, details_kek, details_kek_version)"
            " VALUES (%s, %s, 'submitted', %s, 'protect_from_harm', 'personal_and_account', 'D1',"
            " %s, 'counterparty', %s, 1, 1, 60, 2, '', '', 'evidence', 1)",
            [bucket, grant, thief, stage.services.policy.version, [token]],
        )
        for officer in ("officer-1", "officer-2"):
            link.execute(
                "INSERT INTO disclosure_decisions (bucket, disclosure, kind, principal, requester)"
                " VALUES (%s, %s, 'approve', %s, %s)",
                [bucket, grant, stage.cast.id(officer), thief],
            )
        link.execute(
            "UPDATE disclosures SET state = 'active', activated_at = now(),"
            " expires_at = now() + interval '1 hour' WHERE id = %s",
            [grant],
        )
    forger = replace(
        stage.caller("requester"),
        principal=Principal(id=thief, name="nobody", roles=frozenset((Role.REQUESTER,))),
        key_id=key_id,
    )
    with stage.told() as entries:
        proof = stage.granting.issue(forger, grant).token
        answer = stage.reveals.submit(forger, disclosure_token=proof, tokens=[token], fields=None)
    assert isinstance(answer.results[0], Revealed)
    # The reveal itself cannot be hidden, and nothing tells of what it rests on.
    assert {entry.event for entry in entries} >= {
        Event.DISCLOSURE_TOKEN_ISSUED,
        Event.REVEAL_ALLOWED,
    }
    made = [entry for entry in stage.outbox() if entry.grant == grant or entry.principal == thief]
    assert {entry.event for entry in made} <= {entry.event for entry in entries}
