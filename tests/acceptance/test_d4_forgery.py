"""D4: a row without its signature, and a signature without its row, reveal nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.signing import signed, unpacked
from tests.support.whole import Stage, draft, refusal, standing
from vault_service.domain import tokens as names
from vault_service.errors import DisclosureRefused


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
