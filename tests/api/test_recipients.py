"""Recipients and packages as the interface takes and answers them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Post
from tests.api.recording import DISCLOSURE, ENTRY, NOW, RECIPIENT, TOKEN, Recording
from vault_service.services.views import Receipt, RevealAnswer

DRAFT: dict[str, Any] = {"ground": "g", "category": "c", "tokens": [TOKEN]}


def test_a_recipient_is_put_on_record(send: Post, recording: Recording) -> None:
    """All of it reaches the use case."""
    body = {"kind": "counterparty", "name": "B", "verified": "seen", "contact": "x"}
    response = send("POST", "/v1/recipients", body | {"public_key": {"kty": "OKP"}})
    assert response.status_code == 201
    assert response.get_json()["id"] == RECIPIENT
    (draft,) = recording.last["positional"]
    assert (draft.kind, draft.name, draft.verified, draft.contact) == (
        "counterparty", "B", "seen", "x",
    )  # fmt: skip
    assert draft.public_key == {"kty": "OKP"}


def test_recipients_are_listed(send: Post, recording: Recording) -> None:
    """A page with its cursor handed over."""
    response = send("GET", f"/v1/recipients?limit=2&cursor={RECIPIENT}")
    assert response.get_json()["next"] is None
    assert (recording.last["limit"], recording.last["cursor"]) == (2, RECIPIENT)


def test_a_request_names_one_on_record(send: Post, recording: Recording) -> None:
    """Id and delivery reach the use case, without kind and name."""
    body = DRAFT | {"recipient": {"id": RECIPIENT}, "delivery": "package"}
    assert send("POST", "/v1/disclosures", body).status_code == 201
    (draft,) = recording.last["positional"]
    assert (draft.recipient, draft.delivery, draft.recipient_kind) == (RECIPIENT, "package", "")


@pytest.mark.parametrize(
    ("recipient", "code", "pointer"),
    [
        ({"id": RECIPIENT, "kind": "court"}, "recipient_ambiguous", "/recipient"),
        ({"id": RECIPIENT, "name": "B"}, "recipient_ambiguous", "/recipient"),
        ({"name": "B"}, "field_missing", "/recipient/kind"),
        ({"kind": "court"}, "field_missing", "/recipient/name"),
    ],
)
def test_a_recipient_is_named_in_one_way(
    send: Post, recipient: dict[str, str], code: str, pointer: str
) -> None:
    """By its record, or by kind and name."""
    response = send("POST", "/v1/disclosures", DRAFT | {"recipient": recipient})
    problem = response.get_json(force=True)
    assert (response.status_code, problem["code"]) == (422, code)
    assert problem["errors"][0]["pointer"] == pointer


def test_explain_leaves_it_to_the_policy_what_a_recipient_lacks(
    send: Post, recording: Recording
) -> None:
    """Everything that is missing is told at once, the recipient's kind and name among it."""
    for recipient in ({}, {"kind": "court"}, {"name": "B"}):
        response = send("POST", "/v1/disclosures/explain", DRAFT | {"recipient": recipient})
        assert response.status_code == 200
        (draft,) = recording.last["positional"]
        assert draft.recipient_kind == recipient.get("kind", "")
        assert draft.recipient_name == recipient.get("name", "")


def test_a_package_is_answered_without_results(send: Post, recording: Recording) -> None:
    """One JWE and the receipt."""
    receipt = Receipt(
        entry=ENTRY, grant=DISCLOSURE, ground="g", clause="D1", at=NOW, values=1,
        recipient=RECIPIENT,
    )  # fmt: skip
    recording.answers["submit"] = RevealAnswer(results=(), receipt=receipt, package="a.b.c.d.e")
    answer = send("POST", "/v1/reveal", {"tokens": [TOKEN]}).get_json()
    assert set(answer) == {"package", "receipt"}
    assert answer["receipt"]["recipient"] == RECIPIENT
