"""Sealed packages: the recipient opens what the one who forwards it cannot."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from jwcrypto.common import JWException
from jwcrypto.jwe import JWE
from jwcrypto.jwk import JWK

from tests.support.recipients import new_key, opened, public, record
from tests.support.whole import Stage, card, draft, refusal
from vault_service.errors import DisclosureRefused, InvalidInput, Unavailable
from vault_service.ledger.entries import Event
from vault_service.services import recipient_keys
from vault_service.services.reveal.work import RevealRequest, Work


@pytest.fixture
def token(stage: Stage, customer: str) -> str:
    """A card's token."""
    return stage.card(customer)


def package_draft(stage: Stage, key: JWK, *tokens: str, **changes: Any) -> Any:
    """A request whose values go out as a package for the key's holder."""
    return draft(*tokens, recipient=record(stage, key).id, delivery="package", **changes)


@pytest.mark.parametrize("curve", ["X25519", "P-256"])
def test_the_recipient_opens_the_package(stage: Stage, token: str, curve: str) -> None:
    """Values and receipt, by another implementation; the header names grant and entry."""
    key = new_key(curve)
    grant = stage.granted(package_draft(stage, key, token))
    with stage.told(Event.REVEAL_ALLOWED) as entries:
        answer = stage.reveal(stage.token(grant.id), token)
    assert answer.results == ()
    assert answer.package is not None
    header, content = opened(answer.package, key)
    assert {name: header[name] for name in ("alg", "enc", "typ", "kid", "grant", "entry")} == {
        "alg": "ECDH-ES+A256KW",
        "enc": "A256GCM",
        "typ": "disclosure-package+jwe",
        "kid": key.thumbprint(),
        "grant": grant.id,
        "entry": answer.receipt.entry,
    }
    assert content["results"] == [{"id": token, "class": "payment_card", "value": card()}]
    assert content["receipt"]["entry"] == answer.receipt.entry
    assert content["receipt"]["recipient"] == grant.recipient
    (entry,) = entries
    assert (entry.details["delivery"], entry.details["recipient_key"]) == (
        "package",
        key.thumbprint(),
    )


def test_nothing_that_the_sender_has_opens_it(stage: Stage, token: str) -> None:
    """Neither his keys, nor the recipient's public one, nor any text that he was given."""
    key = new_key()
    grant = stage.granted(package_draft(stage, key, token))
    disclosure_token = stage.token(grant.id)
    answer = stage.reveal(disclosure_token, token)
    package = answer.package
    assert package is not None
    assert "4242424242424242" not in package + repr(answer)
    for other in (new_key(), JWK(**public(key))):
        with pytest.raises((JWException, ValueError, KeyError, AttributeError)):
            JWE().deserialize(package, key=other)


def test_what_is_gone_is_told_inside(stage: Stage, customer: str, token: str) -> None:
    """An erased record's error is part of the package."""
    key, gone = new_key(), stage.card(customer, "5555555555554444")
    grant = stage.granted(package_draft(stage, key, token, gone))
    disclosure_token = stage.token(grant.id)
    stage.erasure.erase(stage.caller("billing"), [gone])
    package = stage.reveal(disclosure_token, token, gone).package
    assert package is not None
    _, content = opened(package, key)
    assert content["results"][1]["error"]["code"] == "token_not_found"
    assert content["receipt"]["values"] == 1


def test_a_package_needs_a_key(stage: Stage, token: str) -> None:
    """A recipient without one, or none on record, cannot be served so."""
    for changes in ({"recipient": record(stage).id}, {}):
        asked = draft(token, delivery="package", **changes)
        error = refusal(
            lambda asked=asked: stage.disclosures.explain(stage.caller("requester"), asked),  # type: ignore[misc]
            InvalidInput,
        )
        assert (error.code, error.pointer) == ("recipient_key_missing", "/delivery")


def test_nobody_seals_for_a_key_of_his_own(stage: Stage, token: str) -> None:
    """A requester's own record serves him in plain, and in no package."""
    own = record(stage, new_key(), by="requester").id
    caller = stage.caller("requester")
    for call in (
        lambda: stage.disclosures.explain(caller, draft(token, recipient=own, delivery="package")),
        lambda: stage.disclosures.create(
            caller, draft(token, recipient=own, delivery="package"), is_draft=True
        ),
    ):
        error = refusal(call, InvalidInput)
        assert (error.code, error.pointer) == ("recipient_own", "/recipient/id")
    plain = stage.disclosures.create(caller, draft(token, recipient=own), is_draft=False)
    assert plain.recipient == own


@pytest.mark.parametrize("curve", ["X25519", "P-256"])
def test_no_key_around_opens_it(stage: Stage, token: str, curve: str) -> None:
    """Neither the public key, nor the one in the header, nor anybody else's of either curve."""
    key = new_key(curve)
    grant = stage.granted(package_draft(stage, key, token))
    package = stage.reveal(stage.token(grant.id), token).package
    assert package is not None
    header, _ = opened(package, key)
    for other in (public(key), header["epk"], new_key("X25519"), new_key("P-256")):
        held = other if isinstance(other, JWK) else JWK(**other)
        with pytest.raises((JWException, ValueError, KeyError, AttributeError)):
            JWE().deserialize(package, key=held)
    again = stage.granted(package_draft(stage, key, token))
    second = stage.reveal(stage.token(again.id), token).package
    assert second is not None
    assert opened(second, key)[0]["epk"] != header["epk"]


def test_another_delivery_is_refused(stage: Stage, token: str) -> None:
    """There are two."""
    caller, asked = stage.caller("requester"), draft(token, delivery="pigeon")
    assert refusal(lambda: stage.disclosures.explain(caller, asked)).code == "delivery_unknown"


@pytest.mark.parametrize("jwk", ["another", "broken", "none"])
def test_a_key_swapped_after_approval_is_refused(stage: Stage, token: str, jwk: str) -> None:
    """Whoever writes another key into the record gets nothing, and the use stays."""
    grant = stage.granted(package_draft(stage, new_key(), token))
    disclosure_token = stage.token(grant.id)
    other = recipient_keys.parse(public(new_key()))
    change = {
        "another": "UPDATE recipients SET public_key = %s WHERE id = %s",
        "broken": "UPDATE recipients SET public_key = '{' || left(%s, 0) WHERE id = %s",
        "none": "UPDATE recipients SET public_key = NULL, thumbprint = left(%s, 0)"
        " || NULL WHERE id = %s",
    }[jwk]
    stage.sql(change, [other.jwk, grant.recipient])
    error = refusal(lambda: stage.reveal(disclosure_token, token), DisclosureRefused)
    assert error.code == "recipient_key_changed"
    assert stage.sql("SELECT uses_left FROM disclosures WHERE id = %s", [grant.id]) == [(1,)]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE disclosures SET delivery = 'holder' WHERE id = %(id)s",
        "UPDATE disclosures SET recipient_key = %(other)s WHERE id = %(id)s",
    ],
)
def test_a_grants_delivery_cannot_be_changed(stage: Stage, token: str, change: str) -> None:
    """A row that says otherwise than the signed token reveals nothing, in plain least of all."""
    grant = stage.granted(package_draft(stage, new_key(), token))
    disclosure_token = stage.token(grant.id)
    stage.sql(change, {"id": grant.id, "other": new_key().thumbprint()})
    error = refusal(lambda: stage.reveal(disclosure_token, token), DisclosureRefused)
    assert error.code == "disclosure_grant_mismatch"


def test_no_package_leaves_in_plain(stage: Stage, token: str) -> None:
    """Without a key at hand even a committed use answers nothing."""
    grant = stage.granted(package_draft(stage, new_key(), token))
    with stage.services.reveal._uses._uow.begin(read_only=True) as tx:  # type: ignore[union-attr]
        row = tx.disclosures.grants([(_bucket(stage, grant.id), grant.id)])[grant.id]
    work = Work(
        asked=RevealRequest(caller=stage.caller("requester"), token="", tokens=(), fields=None),
        entry="",
        grant=row,
        granted=row,
    )
    answer = stage.reveals._opening.answer(work, datetime.now(UTC))
    assert isinstance(answer, Unavailable)


def _bucket(stage: Stage, grant: str) -> int:
    ((bucket,),) = stage.sql("SELECT bucket FROM disclosures WHERE id = %s", [grant])
    return int(bucket)
