"""Recipients on record, and disclosures bound to them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.support.recipients import new_key, public, recipient_draft, record
from tests.support.whole import Stage, draft, refusal
from vault_service.errors import Forbidden, InvalidInput, NotFound
from vault_service.ledger.entries import Event
from vault_service.services import recipient_keys

UNKNOWN = "rec_" + "0" * 26
KEY = {"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}


@pytest.fixture
def token(stage: Stage, customer: str) -> str:
    """A card's token."""
    return stage.card(customer)


def test_a_recipient_is_kept_sealed(stage: Stage) -> None:
    """Name, verification and contact come back, and stand in the row only sealed."""
    made = stage.recipients.create(stage.caller("requester"), recipient_draft())
    read = stage.recipients.get(stage.caller("officer-1"), made.id)
    assert read == made
    assert (read.name, read.contact) == ("Counsel of the harmed", "counsel@example.com")
    ((row,),) = stage.sql("SELECT r::text FROM recipients r WHERE id = %s", [made.id])
    assert "Counsel" not in row
    assert b"Counsel".hex() not in row
    assert "counsel@" not in repr(made)


def test_the_entry_tells_kind_and_key_and_binds_the_rest(stage: Stage) -> None:
    """The thumbprint stands in the ledger; the texts are a salted commitment."""
    key = new_key()
    with stage.told() as entries:
        made = record(stage, key)
    (entry,) = entries
    assert entry.event is Event.RECIPIENT_CREATED
    assert entry.details == {
        "recipient": "counterparty",
        "recipient_id": made.id,
        "recipient_key": key.thumbprint(),
    }
    assert set(entry.commitments) == {"recipient"}
    assert made.thumbprint == key.thumbprint()
    assert made.public_key == {name: public(key)[name] for name in ("kty", "crv", "x")}


def test_reading_anothers_recipient_is_an_entry(stage: Stage) -> None:
    """Who reads the texts that somebody else put down is told; the maker is not."""
    made = record(stage, by="officer-1")
    with stage.told() as entries:
        stage.recipients.get(stage.caller("officer-1"), made.id)
        stage.recipients.get(stage.caller("requester"), made.id)
    assert [(entry.event, entry.actor.id) for entry in entries] == [
        (Event.RECIPIENT_READ, stage.cast.id("requester"))
    ]


def test_pages_hold_no_texts_and_follow_each_other(stage: Stage) -> None:
    """Every recipient once, in the order of ids, nothing opened."""
    made = {record(stage).id for _ in range(3)}
    caller = stage.caller("officer-1")
    found, cursor = [], None
    while True:
        items, cursor = stage.recipients.page(caller, cursor=cursor, limit=2)
        found += items
        if cursor is None:
            break
    names = [item.id for item in found]
    assert names == sorted(set(names))
    assert made <= set(names)
    assert {item.name for item in found} == {None}


# The key of the recipient that was made last.
NEWEST = (
    "(SELECT other.public_key FROM recipients other WHERE other.public_key IS NOT NULL"
    " ORDER BY other.created_at DESC LIMIT 1)"
)


@pytest.mark.parametrize(
    "changed", ["'{'", "'{}'", "replace(public_key, 'X25519', 'P-256')", NEWEST]
)
def test_a_changed_row_shows_no_key_and_fails_no_other(stage: Stage, changed: str) -> None:
    """The key of a row that a superuser changed is not shown, and its neighbours are."""
    broken, whole = record(stage, new_key()), record(stage, new_key())
    stage.sql(f"UPDATE recipients SET public_key = {changed} WHERE id = %s", [broken.id])  # noqa: S608
    shown = {
        name: stage.recipients.get(stage.caller("officer-1"), name).public_key
        for name in (broken.id, whole.id)
    }
    assert shown == {broken.id: None, whole.id: whole.public_key}


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"cursor": "x", "limit": 1}, "cursor_invalid"),
        ({"cursor": None, "limit": 0}, "limit_invalid"),
        ({"cursor": None, "limit": 101}, "limit_invalid"),
    ],
)
def test_a_wrong_page_is_refused(stage: Stage, asked: dict[str, Any], code: str) -> None:
    """A made-up cursor, or a page of a wrong size."""
    caller = stage.caller("officer-1")
    assert refusal(lambda: stage.recipients.page(caller, **asked), InvalidInput).code == code


@pytest.mark.parametrize("name", [UNKNOWN, "rec_?", "4242424242424242"])
def test_who_is_not_there_is_not_found(stage: Stage, token: str, name: str) -> None:
    """Neither to read nor to name in a request."""
    read = refusal(lambda: stage.recipients.get(stage.caller("officer-1"), name), NotFound)
    asked = draft(token, recipient=name)
    named = refusal(lambda: stage.disclosures.explain(stage.caller("requester"), asked))
    assert (read.code, named.code) == ("recipient_not_found", "recipient_not_found")


@pytest.mark.parametrize("who", ["billing", "support", "auditor", "operator"])
def test_only_requesters_and_officers_have_to_do_with_recipients(stage: Stage, who: str) -> None:
    """Neither making, nor reading, nor listing."""
    made, caller = record(stage), stage.caller(who)
    refusal(lambda: stage.recipients.create(caller, recipient_draft()), Forbidden)
    refusal(lambda: stage.recipients.get(caller, made.id), Forbidden)
    refusal(lambda: stage.recipients.page(caller, cursor=None, limit=1), Forbidden)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"kind": "a friend"}, "recipient_kind_unknown"),
        ({"name": ""}, "text_empty"),
        ({"verified": " "}, "text_empty"),
        ({"contact": "4242424242424242"}, "card_number_not_allowed_here"),
        ({"public_key": {**KEY, "d": "x"}}, "public_key_private"),
    ],
)
def test_a_wrong_recipient_is_refused(stage: Stage, changes: dict[str, Any], code: str) -> None:
    """A kind that no ground serves, missing or forbidden texts, a private key."""
    made = recipient_draft(**changes)
    caller = stage.caller("requester")
    assert refusal(lambda: stage.recipients.create(caller, made), InvalidInput).code == code


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"kty": "OKP", "crv": "Ed25519", "x": KEY["x"]},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "OKP", "crv": "X25519"},
        {**KEY, "y": KEY["x"]},
        {**KEY, "x5c": []},
        {**KEY, "x": 7},
        {**KEY, "x": KEY["x"] + "="},
        {**KEY, "x": KEY["x"][:-1] + "9"},
        {**KEY, "x": _text(bytes(32))},
        {**KEY, "x": _text(b"\1" + bytes(31))},
        {"kty": "EC", "crv": "P-256", "x": KEY["x"], "y": KEY["x"]},
    ],
)
def test_what_is_no_key_is_refused(members: dict[str, Any]) -> None:
    """Other kinds, other members, other spellings, points of small order or beside the curve."""
    assert refusal(lambda: recipient_keys.parse(members)).code == "public_key_invalid"


@pytest.mark.parametrize("curve", ["X25519", "P-256"])
def test_a_key_is_told_by_its_thumbprint(curve: str) -> None:
    """As RFC 7638 reckons it, whatever the key says besides."""
    key = new_key(curve)
    found = recipient_keys.parse({**public(key), "kid": "mine", "use": "enc"})
    assert found.thumbprint == key.thumbprint()
    assert recipient_keys.stored(found.jwk) == found


@pytest.mark.parametrize("jwk", ["{", "[]", "{}"])
def test_a_stored_key_is_checked_anew(jwk: str) -> None:
    """What somebody wrote into the row is no key."""
    assert refusal(lambda: recipient_keys.stored(jwk)).code == "public_key_invalid"


def test_a_request_names_a_recipient_on_record(stage: Stage, token: str) -> None:
    """Kind and name are his; id and thumbprint are shown and told."""
    key = new_key()
    made = record(stage, key)
    asked = draft(token, recipient=made.id, recipient_kind="", recipient_name="")
    assert stage.disclosures.explain(stage.caller("requester"), asked).allowed
    with stage.told() as entries:
        view = stage.granted(asked)
    assert (view.recipient_kind, view.recipient_name) == (made.kind, made.name)
    assert (view.recipient, view.recipient_key) == (made.id, made.thumbprint)
    bound = {"recipient_id": made.id, "recipient_key": made.thumbprint}
    for entry in entries:
        if entry.event in {Event.DISCLOSURE_SUBMITTED, Event.DISCLOSURE_APPROVED}:
            assert bound.items() <= dict(entry.details).items()


def test_a_reveal_is_bound_to_the_recipient(stage: Stage, token: str) -> None:
    """His id stands in entry and receipt; a row that names another reveals nothing."""
    made, other = record(stage), record(stage)
    grant = stage.granted(draft(token, recipient=made.id))
    disclosure_token = stage.token(grant.id)
    change = "UPDATE disclosures SET recipient = %s WHERE id = %s"
    stage.sql(change, [other.id, grant.id])
    error = refusal(lambda: stage.reveal(disclosure_token, token))
    assert error.code == "disclosure_grant_mismatch"
    stage.sql(change, [made.id, grant.id])
    with stage.told(Event.REVEAL_ALLOWED) as entries:
        answer = stage.reveal(disclosure_token, token)
    assert answer.receipt.recipient == made.id
    assert [entry.details["recipient_id"] for entry in entries] == [made.id]


def test_a_draft_keeps_its_recipient(stage: Stage, token: str) -> None:
    """Submitting later judges the same recipient."""
    made = record(stage)
    caller = stage.caller("requester")
    view = stage.disclosures.create(caller, draft(token, recipient=made.id), is_draft=True)
    assert stage.disclosures.submit(caller, view.id).recipient == made.id


def test_no_role_changes_a_recipient(stage: Stage) -> None:
    """The console may add recipients and not touch them; the reveal side reads keys only."""
    rights = stage.sql(
        "SELECT has_any_column_privilege('vault_console', 'recipients', 'UPDATE'),"
        " has_table_privilege('vault_console', 'recipients', 'DELETE'),"
        " has_any_column_privilege('vault_reveal', 'recipients', 'UPDATE'),"
        " has_column_privilege('vault_reveal', 'recipients', 'details_envelope', 'SELECT'),"
        " has_any_column_privilege('vault_ingest', 'recipients', 'SELECT')"
    )
    assert rights == [(False, False, False, False, False)]
