"""D3: every wrong way to a value is refused, each by its own check."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support.faults import rebuilt_reveal
from tests.support.signing import signed, unpacked
from tests.support.whole import Stage, draft, refusal, standing
from vault_service.errors import Conflict, DisclosureRefused, Forbidden, NotFound
from vault_service.ledger.entries import Event


@pytest.fixture
def token(stage: Stage, customer: str) -> str:
    """A card's token."""
    return stage.card(customer)


def refused(stage: Stage, disclosure_token: str, *tokens: str, by: str = "requester") -> str:
    """The code with which a reveal is refused, which stands in the ledger too."""
    with stage.told(Event.REVEAL_REFUSED) as entries:
        error = refusal(lambda: stage.reveal(disclosure_token, *tokens, by=by), DisclosureRefused)
    assert [entry.reason for entry in entries] == [error.code]
    assert entries[0].actor.id == stage.cast.id(by)
    return error.code


# ---------------------------------------------------------------- approvals


def test_d3_self_approval_is_refused_by_the_service(stage: Stage, token: str) -> None:
    """A requester has no right to approve; an officer has none to ask."""
    view = stage.disclosures.create(stage.caller("requester"), draft(token), is_draft=False)
    refusal(lambda: stage.decisions.approve(stage.caller("requester"), view.id), Forbidden)
    refusal(
        lambda: stage.disclosures.create(stage.caller("officer-1"), draft(token), is_draft=False),
        Forbidden,
    )


def test_d3_self_approval_is_refused_to_whoever_has_both_roles(stage: Stage, token: str) -> None:
    """If a principal got both roles past all rules, his own request is still not his to decide."""
    from dataclasses import replace

    from vault_service.domain.actors import Role

    view = stage.disclosures.create(stage.caller("requester"), draft(token), is_draft=False)
    caller = stage.caller("requester")
    both = replace(
        caller,
        principal=replace(caller.principal, roles=frozenset((Role.REQUESTER, Role.OFFICER))),
    )
    calls: tuple[Callable[[], object], ...] = (
        lambda: stage.decisions.approve(both, view.id),
        lambda: stage.decisions.deny(both, view.id),
        lambda: stage.decisions.determine(both, view.id, valid=True, reasons="mine"),
    )
    for call in calls:
        with pytest.raises(Forbidden) as own:
            call()
        assert own.value.code == "own_request"


@pytest.mark.parametrize("kind", ["approve", "deny", "determine", "revoke"])
def test_d3_self_approval_is_refused_by_the_database(stage: Stage, token: str, kind: str) -> None:
    """The console's own login cannot write a decision of the requester's on his request."""
    view = stage.disclosures.create(stage.caller("requester"), draft(token), is_draft=False)
    statement = (
        "INSERT INTO disclosure_decisions (bucket, disclosure, kind, principal, requester)"
        " SELECT bucket, id, %s, requester, requester FROM disclosures WHERE id = %s"
    )
    with stage.database.connect("vault_console") as link:
        with pytest.raises(psycopg.errors.CheckViolation), link.transaction():
            link.execute(statement, [kind, view.id])
        # Nor under another requester's name: the decision must name the request's own.
        with pytest.raises(psycopg.errors.ForeignKeyViolation), link.transaction():
            link.execute(
                statement.replace("requester, requester", "requester, %s", 1),
                [kind, stage.cast.id("requester-2"), view.id],
            )


def test_d3_one_of_two_approvers_is_not_enough(stage: Stage, token: str) -> None:
    """Neither a token nor a second approval by the same officer."""
    view = stage.disclosures.create(stage.caller("requester"), draft(token), is_draft=False)
    stage.decisions.approve(stage.caller("officer-1"), view.id)
    assert refusal(lambda: stage.token(view.id), Conflict).code == "disclosure_not_active"
    refusal(lambda: stage.decisions.approve(stage.caller("officer-1"), view.id), Conflict)


# ---------------------------------------------------------------- the token itself

Change = Callable[[dict[str, Any], dict[str, Any]], None]


def _header(**changes: Any) -> Change:
    return lambda header, _: header.update(changes)


def _claim(**changes: Any) -> Change:
    return lambda _, claims: claims.update(changes)


def _later(seconds: int) -> Change:
    def change(_: dict[str, Any], claims: dict[str, Any]) -> None:
        for name in ("iat", "nbf", "exp"):
            claims[name] += seconds

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_header(alg="none"), "disclosure_token_algorithm"),
        (_header(alg="HS256"), "disclosure_token_algorithm"),
        (_header(alg="EdDSA"), "disclosure_token_algorithm"),
        (_header(typ="JWT"), "disclosure_token_type"),
        (_header(kid="disclosure-token:99"), "disclosure_token_key_unknown"),
        (_header(kid="ledger:1"), "disclosure_token_key_unknown"),
        (_header(crit=["exp"]), "disclosure_token_critical_header"),
        (_header(jwk={"kty": "OKP"}), "disclosure_token_malformed"),
        (_claim(aud="another"), "disclosure_token_audience"),
        (_claim(iss="https://evil.example"), "disclosure_token_issuer"),
        (_claim(sub="prn_" + "0" * 26), "disclosure_token_holder"),
        (_claim(policy="f" * 64), "disclosure_policy_changed"),
        (_claim(extra=1), "disclosure_token_claims"),
        (_later(-86_400), "disclosure_token_expired"),
        (_later(3_600), "disclosure_token_not_yet_valid"),
    ],
)
def test_d3_a_token_with_a_true_signature_and_a_wrong_word_is_refused(
    stage: Stage, token: str, change: Change, code: str
) -> None:
    """Whoever could have Vault sign anything still meets every other check."""
    real = stage.token(stage.granted(draft(token)).id)
    header, claims = unpacked(real)
    change(header, claims)
    assert refused(stage, signed(stage, header, claims), token) == code
    assert len(stage.revealed(real, token)) == 1


def test_d3_a_token_that_lives_too_long_is_refused(stage: Stage, token: str) -> None:
    """No token lives longer than 300 seconds, whatever is signed."""
    header, claims = unpacked(stage.token(stage.granted(draft(token)).id))
    claims["exp"] = claims["iat"] + 301
    assert refused(stage, signed(stage, header, claims), token) == "disclosure_token_claims"


def test_d3_the_public_key_is_no_hmac_key(stage: Stage, token: str) -> None:
    """HS256 over the published key, the classic confusion, is refused by its name."""
    real = stage.token(stage.granted(draft(token)).id)
    header, claims = unpacked(real)
    (key,) = [k for k in stage.services.jwks()["keys"] if k["kid"] == header["kid"]]

    def part(members: dict[str, Any]) -> str:
        text = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(text).rstrip(b"=").decode()

    body = f"{part({**header, 'alg': 'HS256'})}.{part(claims)}"
    raw = base64.urlsafe_b64decode(key["x"] + "=")
    mac = hmac.new(raw, body.encode(), hashlib.sha256).digest()
    forged = f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert refused(stage, forged, token) == "disclosure_token_algorithm"


def test_d3_another_keys_signature_is_refused(stage: Stage, token: str) -> None:
    """The ledger's key signs no disclosure."""
    header, claims = unpacked(stage.token(stage.granted(draft(token)).id))
    body = signed(stage, header, claims).rpartition(".")[0]
    with stage.admin() as admin:
        _, signature = admin.sign("ledger", body.encode())
    forged = f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert refused(stage, forged, token) == "disclosure_token_signature"


# ---------------------------------------------------------------- around the token


def test_d3_a_stolen_token_is_worth_nothing(stage: Stage, token: str) -> None:
    """Another requester's own credential does not fit it."""
    stolen = stage.token(stage.granted(draft(token)).id)
    assert refused(stage, stolen, token, by="requester-2") == "disclosure_token_holder"


def test_d3_an_expired_token_is_refused(stage: Stage, token: str) -> None:
    """By the database's clock, a second after its end."""
    grant = stage.granted(draft(token, duration_seconds=5))
    disclosure_token = stage.token(grant.id)
    time.sleep(5.1)
    assert refused(stage, disclosure_token, token) == "disclosure_token_expired"


def test_d3_an_expired_grant_is_refused(stage: Stage, token: str) -> None:
    """Also while the token would still be good."""
    grant = stage.granted(draft(token))
    disclosure_token = stage.token(grant.id)
    stage.sql("UPDATE disclosures SET expires_at = now() WHERE id = %s", [grant.id])
    assert refused(stage, disclosure_token, token) == "disclosure_expired"


def test_d3_an_expired_token_row_is_refused(stage: Stage, token: str) -> None:
    """The row's own end counts beside the claim's."""
    grant = stage.granted(draft(token))
    disclosure_token = stage.token(grant.id)
    stage.sql("UPDATE disclosure_tokens SET expires_at = now() WHERE disclosure = %s", [grant.id])
    assert refused(stage, disclosure_token, token) == "disclosure_spent"


@pytest.mark.parametrize("how", ["revoke", "withdraw"])
def test_d3_an_ended_grant_is_refused(stage: Stage, token: str, how: str) -> None:
    """Revoked by an officer or withdrawn by its holder."""
    grant = stage.granted(draft(token))
    disclosure_token = stage.token(grant.id)
    who = "officer-1" if how == "revoke" else "requester"
    getattr(stage.decisions, how)(stage.caller(who), grant.id)
    ended = "revoked" if how == "revoke" else "withdrawn"
    assert refused(stage, disclosure_token, token) == f"disclosure_{ended}"
    assert refusal(lambda: stage.token(grant.id), Conflict).code == f"disclosure_{ended}"


def test_d3_a_used_token_is_refused(stage: Stage, token: str) -> None:
    """Once; also where the grant has uses left."""
    grant = stage.granted(standing(token))
    disclosure_token = stage.token(grant.id)
    stage.revealed(disclosure_token, token)
    assert refused(stage, disclosure_token, token) == "disclosure_spent"


def test_d3_a_grant_of_another_policy_is_refused(stage: Stage, token: str) -> None:
    """The row's version must be the token's."""
    grant = stage.granted(draft(token))
    disclosure_token = stage.token(grant.id)
    stage.sql("UPDATE disclosures SET policy = repeat('e', 64) WHERE id = %s", [grant.id])
    assert refused(stage, disclosure_token, token) == "disclosure_policy_changed"


@pytest.mark.parametrize("beyond", ["other token", "other customer", "other class", "field"])
def test_d3_more_than_was_granted_is_refused(
    stage: Stage, customer: str, token: str, beyond: str
) -> None:
    """One token, customer, class or field too many, and nothing at all is revealed."""
    from vault_service.services.tokenization import TokenizeItem

    (phone,) = stage.tokenize(
        TokenizeItem(data_class="telephone", customer=customer, value="+49 30 901820")
    )
    how: dict[str, Any] = {}
    if beyond == "other token":
        asked, extra = standing(token), stage.card(customer, "5555555555554444")
    elif beyond == "field":
        asked, extra, how = standing(token, fields=("number",)), token, {"fields": ("name",)}
    else:
        asked = standing(customer=customer, classes=("payment_card",))
        extra = phone.id if beyond == "other class" else stage.card(stage.customer())
    grant = stage.granted(asked)
    wanted = list(dict.fromkeys((token, extra)))
    error = refusal(lambda: stage.reveal(stage.token(grant.id), *wanted, **how), DisclosureRefused)
    assert error.code == "disclosure_scope_exceeded"
    ((left,),) = stage.sql("SELECT uses_left FROM disclosures WHERE id = %s", [grant.id])
    assert left == grant.uses


def test_d3_another_audience_takes_no_token_of_ours(stage: Stage, token: str) -> None:
    """A service that goes by another name refuses what was made for this one."""
    other = rebuilt_reveal(stage.reveals, audience="somewhere-else")
    disclosure_token = stage.token(stage.granted(draft(token)).id)
    error = refusal(
        lambda: other.submit(
            stage.caller("requester"),
            disclosure_token=disclosure_token,
            tokens=[token],
            fields=None,
        ),
        DisclosureRefused,
    )
    assert error.code == "disclosure_token_audience"


def test_d3_another_requester_gets_no_token(stage: Stage, token: str) -> None:
    """A grant is its requester's alone."""
    grant = stage.granted(draft(token))
    refusal(lambda: stage.token(grant.id, by="requester-2"), NotFound)
