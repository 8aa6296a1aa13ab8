"""Contents of communications: revealed as a stream, by the grounds of contents and no others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from keys.errors import CiphertextRejected
from tests.support.communications import contents, keep, message
from tests.support.faults import Hooked, Unwraps, rebuilt_reveal
from tests.support.recipients import new_key, public, recipient_draft
from tests.support.whole import NOWHERE, Stage, draft, refusal, standing
from vault_service.domain.communications import Direction, Envelope
from vault_service.errors import (
    DisclosureRefused,
    Forbidden,
    InvalidInput,
    NotFound,
    ServiceError,
    Unavailable,
)
from vault_service.ledger.entries import Event
from vault_service.services.communications import MAX_COMMUNICATION
from vault_service.services.contents import AT_ONCE, LONGEST, Contents
from vault_service.services.disclosures.drafts import PolicyRefused
from vault_service.services.reveal.work import KeySubstituted, ValueUnreadable
from vault_service.services.views import RevealedContent

LARGE = AT_ONCE * 64 * 1024 * 2


def content(stage: Stage, token: str, disclosure_token: str | None, **how: Any) -> RevealedContent:
    """Reveal contents."""
    return stage.reveals.content(
        stage.caller(how.get("by", "requester")), disclosure_token=disclosure_token, token=token
    )


def proof(stage: Stage, token: str) -> str:
    """A disclosure token for contents."""
    return stage.token(stage.granted(contents(token)).id)


@pytest.fixture
def kept(stage: Stage, customer: str) -> str:
    """A communication of several batches of chunks."""
    return keep(stage, customer, message(LARGE)).id


@pytest.mark.parametrize(
    "size", [0, 1, 65_535, 65_536, 65_537, LARGE - 1, LARGE, LARGE + 1, MAX_COMMUNICATION]
)
def test_contents_come_back_byte_for_byte(stage: Stage, customer: str, size: int) -> None:
    """In pieces of a chunk, and as many bytes as were announced."""
    original = hashlib.sha256(str(size).encode()).digest() * (size // 32 + 1)
    original = original[:size]
    view = keep(stage, customer, original)
    answer = content(stage, view.id, proof(stage, view.id))
    pieces = list(answer.pieces)
    assert b"".join(pieces) == original
    assert answer.size == size
    assert max(map(len, pieces)) <= 64 * 1024


def test_the_use_is_spent_and_told_before_the_first_byte(stage: Stage, kept: str) -> None:
    """Receipt, entry, accounting as of any reveal; and no second time, read to its end or not."""
    disclosure_token = proof(stage, kept)
    with stage.told() as entries:
        answer = content(stage, kept, disclosure_token)
    assert [entry.event for entry in entries] == [Event.REVEAL_ALLOWED, Event.DISCLOSURE_SPENT]
    assert answer.receipt.entry == entries[0].id
    assert (entries[0].tokens, entries[0].clause) == ((kept,), "C1")
    assert entries[0].details["category"] == "communication_contents"
    answer.pieces.close()  # type: ignore[attr-defined]  # the receiver has gone
    error = refusal(lambda: content(stage, kept, disclosure_token), DisclosureRefused)
    assert error.code == "disclosure_spent"
    (told,) = stage.sql("SELECT classes FROM reveals WHERE %s = ANY(tokens)", [kept])
    assert told == (["communication"],)


# ---------------------------------------------------------------- by which ground


def test_account_data_is_not_had_by_a_ground_of_contents_nor_the_reverse(
    stage: Stage, customer: str, kept: str
) -> None:
    """Refused when it is asked for, by the ground's clause; singly, mixed, named and by class."""
    card = stage.card(customer)
    requester = stage.caller("requester")
    for asked, clause in (
        (contents(card), "C1"),
        (contents(card, kept), "C1"),
        (contents(customer=customer, classes=("payment_card",)), "C1"),
        (standing(kept), "P1"),
        (standing(card, kept), "P1"),
        (draft(kept), "D1"),
        (draft(customer=customer, classes=("communication",)), "D1"),
    ):
        error = refusal(
            lambda asked=asked: stage.disclosures.create(requester, asked, is_draft=False),
            PolicyRefused,
        )
        assert [(each.code, each.clause) for each in error.problems] == [
            ("class_not_in_category", clause)
        ]


def test_each_is_given_in_its_own_manner(stage: Stage, customer: str, kept: str) -> None:
    """Contents are no value of a batch, and a value is no stream; nothing is spent."""
    card = stage.card(customer)
    for_contents = proof(stage, kept)
    for_cards = stage.token(stage.granted(standing(card)).id)
    with stage.told() as entries:
        error = refusal(lambda: stage.reveal(for_contents, kept), InvalidInput)
        assert (error.code, error.pointer) == ("contents_are_streamed", "/tokens")
        error = refusal(lambda: content(stage, card, for_cards), InvalidInput)
        assert (error.code, error.pointer) == ("contents_not_streamed", "/token")
    assert [entry.reason for entry in entries] == ["contents_are_streamed", "contents_not_streamed"]
    list(content(stage, kept, for_contents).pieces)
    stage.revealed(for_cards, card)


def test_other_refusals_are_those_of_any_reveal(stage: Stage, customer: str, kept: str) -> None:
    """No token, another's, too narrow a scope, nothing there."""
    other = keep(stage, customer, message()).id
    disclosure_token = proof(stage, kept)
    assert refusal(lambda: content(stage, kept, None)).code == "disclosure_token_missing"
    assert refusal(lambda: content(stage, kept, "x")).code == "disclosure_token_malformed"
    assert refusal(
        lambda: content(stage, kept, disclosure_token, by="requester-2")
    ).code == "disclosure_token_holder"  # fmt: skip
    assert (
        refusal(lambda: content(stage, other, disclosure_token)).code == "disclosure_scope_exceeded"
    )
    assert (
        refusal(lambda: content(stage, NOWHERE, disclosure_token)).code
        == "disclosure_scope_exceeded"
    )
    refusal(lambda: content(stage, kept, disclosure_token, by="support"), Forbidden)
    stage.erasure.erase(stage.caller("billing"), [kept])
    refusal(lambda: content(stage, kept, disclosure_token), NotFound)


def test_a_grant_over_a_customers_communications_gives_each(stage: Stage, customer: str) -> None:
    """By customer and class; another customer's are beyond it."""
    mine, foreign = message(), message()
    kept = keep(stage, customer, mine).id
    other = keep(stage, stage.customer(), foreign).id
    grant = stage.granted(contents(customer=customer, classes=("communication",)))
    disclosure_token = stage.token(grant.id)
    assert (
        refusal(lambda: content(stage, other, disclosure_token)).code == "disclosure_scope_exceeded"
    )
    assert b"".join(content(stage, kept, disclosure_token).pieces) == mine


def test_contents_are_not_packed(stage: Stage, kept: str) -> None:
    """A package is made of all of it at once; the use is not spent for that."""
    recipient = stage.recipients.create(
        stage.caller("officer-1"),
        recipient_draft(kind="third_party", public_key=public(new_key())),
    )
    grant = stage.granted(
        contents(kept, recipient_kind="third_party", recipient=recipient.id, delivery="package")
    )
    disclosure_token = stage.token(grant.id)
    error = refusal(lambda: content(stage, kept, disclosure_token), DisclosureRefused)
    assert error.code == "contents_not_packed"


# ---------------------------------------------------------------- what is wrong with it


def alarms(stage: Stage, token: str, disclosure_token: str, kind: type[ServiceError]) -> bytes:
    """What was given of contents that end in an error and one alarm."""
    given: list[bytes] = []
    with stage.told(Event.ALARM_RAISED) as entries, pytest.raises(kind):
        given.extend(content(stage, token, disclosure_token).pieces)
    assert [entry.tokens for entry in entries] == [(token,)]
    return b"".join(given)


FLIP = (
    "UPDATE communication_chunks SET sealed = set_byte(sealed, 9, 255 - get_byte(sealed, 9))"
    " WHERE token = %s"
)
ONE_MORE = (
    "INSERT INTO communication_chunks SELECT bucket, token, 33, sealed FROM communication_chunks"
    " WHERE token = %s AND number = 1"
)
EXCHANGE = (
    "UPDATE communication_chunks AS c SET sealed = o.sealed FROM communication_chunks AS o"
    " WHERE c.token = %s AND o.token = %s"
)


@pytest.mark.parametrize(
    ("change", "given"),
    [
        (f"{FLIP} AND number = 0", False),
        (f"{FLIP} AND number = 20", True),
        ("DELETE FROM communication_chunks WHERE token = %s AND number = 20", True),
        ("DELETE FROM communication_chunks WHERE token = %s AND number >= 20", True),
        ("DELETE FROM communication_chunks WHERE token = %s", False),
        ("UPDATE communication_chunks SET number = number + 1000 WHERE token = %s", False),
        (ONE_MORE, True),
        ("UPDATE communications SET size = size + 1 WHERE token = %s", True),
        ("UPDATE communications SET size = size - 1 WHERE token = %s", True),
        ("UPDATE communications SET size = 65536 WHERE token = %s", False),
        ("UPDATE communications SET size = 1 WHERE token = %s", False),
    ],
)
def test_what_was_tampered_with_is_broken_off(
    stage: Stage,
    kept: str,
    change: str,
    given: bool,  # noqa: FBT001 -- a table's column
) -> None:
    """Less is given than was announced, and of a false length nothing that looks whole."""
    disclosure_token = proof(stage, kept)
    stage.sql(change, [kept])
    ((size,),) = stage.sql("SELECT size FROM communications WHERE token = %s", [kept])
    got = alarms(stage, kept, disclosure_token, ValueUnreadable)
    assert len(got) < size
    assert bool(got) is given


def test_contents_of_another_do_not_open(stage: Stage, customer: str) -> None:
    """Chunks, header and key that were moved together belong to another token."""
    one, two = (keep(stage, customer, message()).id for _ in range(2))
    disclosure_token = proof(stage, one)
    stage.sql(EXCHANGE, [one, two])
    assert alarms(stage, one, disclosure_token, ValueUnreadable) == b""


def test_a_key_that_vault_refuses_opens_nothing(stage: Stage, kept: str) -> None:
    """Told as any value that does not open."""
    broken = rebuilt_reveal(
        stage.reveals, unwrapping=Unwraps(stage.reveals._keys._unwrapping, answer="rejects")
    )
    with pytest.raises(ValueUnreadable):
        broken.content(stage.caller("requester"), disclosure_token=proof(stage, kept), token=kept)


def test_a_header_that_the_ledger_does_not_know_opens_nothing(stage: Stage, kept: str) -> None:
    """Though it opened: somebody put it there."""
    disclosure_token = proof(stage, kept)
    stage.sql("UPDATE records SET bound_path = bound_path || bound_path WHERE token = %s", [kept])
    assert alarms(stage, kept, disclosure_token, KeySubstituted) == b""


def test_an_erasure_meanwhile_ends_the_stream(stage: Stage, kept: str) -> None:
    """Without an alarm: nothing is wrong with it."""
    answer = content(stage, kept, proof(stage, kept))
    next(answer.pieces)
    stage.erasure.erase(stage.caller("billing"), [kept])
    stage.housekeeping.sweep()
    with stage.told() as entries:
        error = refusal(lambda: list(answer.pieces), NotFound)
    assert error.code == "token_not_found"
    assert entries == []


def test_an_erasure_before_the_first_byte_is_told(stage: Stage, kept: str) -> None:
    """The record was there when the use was spent, and then not any more."""
    uow = stage.reveals._uses._uow
    hooked = rebuilt_reveal(stage.reveals, uow=uow)
    writes: list[object] = []

    def before(read_only: object) -> None:
        if read_only and writes:
            stage.erasure.erase(stage.caller("billing"), [kept])
        if not read_only:
            writes.append(read_only)

    disclosure_token = proof(stage, kept)
    hooked = rebuilt_reveal(stage.reveals, uow=Hooked(uow, before=before))
    error = refusal(
        lambda: hooked.content(
            stage.caller("requester"), disclosure_token=disclosure_token, token=kept
        ),
        NotFound,
    )
    assert error.code == "token_not_found"


def test_who_receives_slowly_is_cut_off(stage: Stage, kept: str) -> None:
    """After ten minutes, so that his place is free for others."""
    times: Iterator[float] = iter([0.0, 1.0, LONGEST.total_seconds() + 1])
    answer = content(stage, kept, proof(stage, kept))
    answer.pieces.close()  # type: ignore[attr-defined]
    with stage.reveals._uses._uow.begin(read_only=True) as tx:
        record_ = tx.records.sealed([(_bucket(kept), kept)])[kept]
    (key,) = stage.reveals._keys._unwrapping.unwrap([record_.wrapped_key])
    assert not isinstance(key, CiphertextRejected)
    slow = Contents(
        uow=stage.reveals._uses._uow, record=record_, key=key, clock=lambda: next(times)
    )
    pieces = slow.pieces(slow.size())
    next(pieces)
    next(pieces)
    assert refusal(lambda: next(pieces), Unavailable).code == "request_timeout"


def _bucket(token: str) -> int:
    from vault_service.domain.tokens import bucket_from_token

    return bucket_from_token(token)


def test_a_text_that_was_sent_is_kept_too(stage: Stage, customer: str) -> None:
    """Not e-mail alone."""
    outside = Envelope(
        direction=Direction.OUTBOUND, media_type="text/plain", recipients=("+49 30 901820",)
    )
    view = keep(stage, customer, "Grüße".encode(), envelope=outside)
    assert b"".join(content(stage, view.id, proof(stage, view.id)).pieces).decode() == "Grüße"
