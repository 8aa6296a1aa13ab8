"""Masked reads: one record, a customer's records, records by value."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from keys.errors import VaultUnavailable
from keys.fingerprint import Fingerprint
from tests.support.faults import rebuilt
from tests.support.whole import NOBODY, NOWHERE, Stage, name, numbers, refusal, soon
from vault_service.errors import Forbidden, InvalidInput, NotFound
from vault_service.ledger.entries import Event
from vault_service.services.crypto_ports import Fingerprinting
from vault_service.services.reading import SearchRequest
from vault_service.services.tokenization import TokenizeItem


def phones(customer: str, count: int) -> list[TokenizeItem]:
    """Different telephones."""
    return [
        TokenizeItem(data_class="telephone", customer=customer, value=f"+49 30 9018{i:02d}")
        for i in range(count)
    ]


class _Away:
    """Fingerprints while Vault is away."""

    def compute(self, _items: object) -> list[Fingerprint]:
        """Fail."""
        raise VaultUnavailable

    def candidates(self, _items: object) -> list[list[Fingerprint]]:
        """Fail."""
        raise VaultUnavailable


def test_one_token_reads_masked(stage: Stage, customer: str) -> None:
    """The view is the one that was answered when it was written."""
    (view,) = stage.tokenize(*phones(customer, 1))
    assert stage.reading.get(stage.caller("support"), view.id) == view


@pytest.mark.parametrize(
    "token",
    [NOWHERE, "tok_", "", "4242424242424242", "9" * 16, "tok_" + "u" * 28, "tok_\u0660" + "0" * 27],
)
def test_unknown_and_malformed_tokens_answer_alike(stage: Stage, token: str) -> None:
    """Nobody learns from the answer whether a token could exist."""
    error = refusal(lambda: stage.reading.get(stage.caller("billing"), token), NotFound)
    assert (error.code, error.detail) == ("token_not_found", "there is no such token")
    assert error.__cause__ is None or isinstance(error.__cause__, InvalidInput)


def test_expired_and_erased_tokens_are_not_there(stage: Stage, customer: str) -> None:
    """Both answer as what never was."""
    short = stage.card(customer, expires_at=soon(seconds=0.3))
    gone = stage.card(customer, "5555555555554444")
    assert stage.erasure.erase(stage.caller("billing"), [gone]) == [None]
    time.sleep(0.4)
    for token in (short, gone):
        with pytest.raises(NotFound):
            stage.reading.get(stage.caller("billing"), token)
    page = stage.reading.page(
        stage.caller("billing"), customer=customer, data_class=None, cursor=None, limit=10
    )
    assert page.items == ()


def test_reads_that_meet_go_together_and_keep_their_own_outcomes(
    stage: Stage, customer: str
) -> None:
    """Each gets his record or his refusal; the same record may be asked for twice."""
    (view,) = stage.tokenize(*phones(customer, 1))
    support, auditor = stage.caller("support"), stage.caller("auditor")
    with stage.told(Event.ACCESS_DENIED) as entries:
        outcomes = stage.reading.get_many(
            [
                (support, view.id),
                (auditor, view.id),
                (support, NOWHERE),
                (support, "tok_"),
                (support, view.id),
            ]
        )
    assert len(entries) == 1
    assert outcomes[0] == outcomes[4] == view
    assert isinstance(outcomes[1], Forbidden)
    assert [each.code for each in outcomes[2:4] if isinstance(each, NotFound)] == [
        "token_not_found",
        "token_not_found",
    ]


@pytest.mark.parametrize("who", ["requester", "officer-1", "auditor", "operator"])
def test_only_billing_and_support_read(stage: Stage, customer: str, who: str) -> None:
    """Every other role is refused each kind of reading, and the refusals are entries."""
    caller = stage.caller(who)
    with stage.told(Event.ACCESS_DENIED) as entries:
        refusal(lambda: stage.reading.get(caller, NOWHERE), Forbidden)
        refusal(
            lambda: stage.reading.page(
                caller, customer=customer, data_class=None, cursor=None, limit=1
            ),
            Forbidden,
        )
        refusal(
            lambda: stage.reading.search(caller, data_class="telephone", values=["+49 30 901820"]),
            Forbidden,
        )
    assert [entry.actor.id for entry in entries] == [stage.cast.id(who)] * 3


def test_pages_follow_each_other_without_gap_or_repeat(stage: Stage, customer: str) -> None:
    """The cursor leads through all records of the customer, and each page is an entry."""
    written = {view.id for view in stage.tokenize(*phones(customer, 7))}
    stage.card(customer)
    seen: list[str] = []
    cursor: str | None = None
    with stage.told() as entries:
        while True:
            page = stage.reading.page(
                stage.caller("support"),
                customer=customer,
                data_class="telephone",
                cursor=cursor,
                limit=3,
            )
            seen += [view.id for view in page.items]
            cursor = page.next
            if cursor is None:
                break
    assert set(seen) == written
    assert seen == sorted(seen)
    assert [(entry.event, entry.customer, entry.count) for entry in entries] == [
        (Event.CUSTOMER_READ, customer, 3),
        (Event.CUSTOMER_READ, customer, 3),
        (Event.CUSTOMER_READ, customer, 1),
    ]


def test_a_cursor_of_another_customer_opens_nothing(stage: Stage, customer: str) -> None:
    """A cursor is a place in an order, not a right: only the named customer's records come."""
    other = stage.customer()
    theirs = stage.card(other)
    mine = {view.id for view in stage.tokenize(*phones(customer, 3))}
    for cursor in (theirs, NOWHERE, "tok_" + "z" * 28):
        page = stage.reading.page(
            stage.caller("billing"), customer=customer, data_class=None, cursor=cursor, limit=100
        )
        assert {view.id for view in page.items} <= mine


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"customer": "x"}, "customer_malformed"),
        ({"data_class": "shoe_size"}, "class_unknown"),
        ({"cursor": "' OR 1=1 --"}, "cursor_invalid"),
        ({"cursor": "tok_\x00"}, "cursor_invalid"),
        ({"limit": 0}, "limit_invalid"),
        ({"limit": 101}, "limit_invalid"),
        ({"limit": -(2**70)}, "limit_invalid"),
    ],
)
def test_a_wrong_page_is_refused(
    stage: Stage, customer: str, changes: dict[str, object], code: str
) -> None:
    """Each mistake has its code."""
    how: dict[str, object] = {"customer": customer, "data_class": None, "cursor": None, "limit": 10}
    error = refusal(
        lambda: stage.reading.page(stage.caller("billing"), **(how | changes)),  # type: ignore[arg-type]
        InvalidInput,
    )
    assert error.code == code


def test_a_page_of_an_unknown_customer_is_not_found(stage: Stage) -> None:
    """A customer without records is empty; one that is not there is told so."""
    empty = stage.customer()
    how = {"data_class": None, "cursor": None, "limit": 10}
    page = stage.reading.page(stage.caller("billing"), customer=empty, **how)  # type: ignore[arg-type]
    assert (page.items, page.next) == ((), None)
    error = refusal(
        lambda: stage.reading.page(stage.caller("billing"), customer=NOBODY, **how),  # type: ignore[arg-type]
        NotFound,
    )
    assert error.code == "customer_not_found"


def test_a_search_finds_equal_values_in_any_spelling(stage: Stage, customer: str) -> None:
    """Normalised values are compared, over all customers; each value has its own result."""
    other = stage.customer()
    number = numbers(1, start=77)[0]
    tokens = {stage.card(customer, number), stage.card(other, number)}
    with stage.told() as entries:
        found, nothing, wrong = stage.reading.search(
            stage.caller("support"),
            data_class="payment_card",
            values=[" ".join(number[i : i + 4] for i in (0, 4, 8, 12)), "4000000000009995", "12"],
        )
    assert not isinstance(found, Exception)
    assert {view.id for view in found} == tokens
    assert nothing == ()
    assert isinstance(wrong, InvalidInput)
    assert wrong.pointer == "/values/2"
    (entry,) = entries
    assert entry.event is Event.TOKENS_SEARCHED
    assert (set(entry.tokens), entry.count, dict(entry.details)) == (
        tokens,
        3,
        {"class": "payment_card"},
    )
    assert number not in str(entry)


@pytest.mark.parametrize(
    ("data_class", "kept", "asked"),
    [
        ("telephone", "+49 30 901{}", "+4930901{}"),
        ("email_address", "Ada.{}@EXAMPLE.com", "Ada.{}@example.com"),
        ("business_name", "Numbers {} Ltd.", "NUMBERS  {} Ltd."),
        ("contact_name", "Ada {} Lovelace", "ada {} lovelace"),
        (
            "postal_address",
            {"line1": "Street {}", "city": "Berlin", "postal_code": "10115", "country": "DE"},
            {"line1": "street {}", "city": "BERLIN", "postal_code": "10115", "country": "DE"},
        ),
    ],
)
def test_each_class_is_found_by_its_value(
    stage: Stage, customer: str, data_class: str, kept: object, asked: object
) -> None:
    """In another spelling, over all customers; the card stands above."""
    number = "".join(str(ord(char) % 10) for char in name())[-6:]

    def with_number(value: Any) -> Any:
        return msgspec.json.decode(msgspec.json.encode(value).replace(b"{}", number.encode()))

    (view,) = stage.tokenize(
        TokenizeItem(data_class=data_class, customer=customer, value=with_number(kept))
    )
    (found,) = stage.reading.search(
        stage.caller("support"), data_class=data_class, values=[with_number(asked)]
    )
    assert not isinstance(found, Exception)
    assert [each.id for each in found] == [view.id]


def test_a_search_for_nothing_valid_asks_vault_for_nothing(stage: Stage) -> None:
    """Errors only: answered while Vault is away, and still an entry."""
    away = rebuilt(stage.reading, fingerprints=_Away())
    with stage.told() as entries:
        (error,) = away.search(
            stage.caller("billing"), data_class="telephone", values=["no number"]
        )
    assert isinstance(error, InvalidInput)
    assert [entry.count for entry in entries] == [1]


def test_who_was_refused_is_not_told_of_an_outage(stage: Stage) -> None:
    """His refusal stands in the ledger; another's Vault being away does not change it."""
    away = rebuilt(stage.reading, fingerprints=_Away())
    asked = [
        SearchRequest(caller=stage.caller(who), data_class="telephone", values=("+49 30 901820",))
        for who in ("auditor", "support")
    ]
    with stage.told(Event.ACCESS_DENIED) as entries:
        refused, failed = away.search_many(asked)
    assert isinstance(refused, Forbidden)
    assert isinstance(failed, VaultUnavailable)
    assert len(entries) == 1
    # Neither holds the frames it came through, and with them what the others sent.
    assert refused.__traceback__ is None
    assert failed.__traceback__ is None


def test_a_search_needs_vault(stage: Stage) -> None:
    """Without a fingerprint there is no search, and no entry that says that there was one."""
    away = rebuilt(stage.reading, fingerprints=_Away())
    with stage.told() as entries, pytest.raises(VaultUnavailable):
        away.search(stage.caller("billing"), data_class="telephone", values=["+49 30 901820"])
    assert entries == []


@pytest.mark.parametrize(
    ("data_class", "count", "code"),
    [("telephone", 0, "batch_size"), ("telephone", 101, "batch_size"), ("x", 1, "class_unknown")],
)
def test_a_wrong_search_is_refused(stage: Stage, data_class: str, count: int, code: str) -> None:
    """Number and class are checked before anything is asked."""
    error = refusal(
        lambda: stage.reading.search(
            stage.caller("billing"), data_class=data_class, values=["+49 30 901820"] * count
        ),
        InvalidInput,
    )
    assert error.code == code


def test_a_search_finds_what_was_written_before_the_fingerprint_key_was_rotated(
    stage: Stage, customer: str
) -> None:
    """Old fingerprints count until they are re-indexed; a find stands once."""
    (view,) = stage.tokenize(
        TokenizeItem(data_class="contact_name", customer=customer, value="Ada Rotation")
    )
    with stage.admin() as admin:
        admin.rotate("fingerprint-contact-name")
    (found,) = stage.reading.search(
        stage.caller("billing"), data_class="contact_name", values=["ADA  ROTATION"]
    )
    assert not isinstance(found, Exception)
    assert [each.id for each in found] == [view.id]


def test_a_search_answers_at_most_100_records_for_a_value(stage: Stage) -> None:
    """A value that stands for many customers does not make an answer without end."""
    people = stage.customers.create(stage.caller("billing"), [None] * 103)
    items = [
        TokenizeItem(data_class="business_name", customer=person.id, value="Überall GmbH")  # type: ignore[union-attr]
        for person in people
    ]
    stage.tokenize(*items)
    (found,) = stage.reading.search(
        stage.caller("billing"), data_class="business_name", values=["überall gmbh"]
    )
    assert not isinstance(found, Exception)
    assert len(found) == 100


class _Counting:
    """Real fingerprints; counts the requests."""

    def __init__(self, real: Fingerprinting) -> None:
        self._real = real
        self.sizes: list[int] = []

    def candidates(self, items: Sequence[tuple[str, bytes]]) -> list[list[Fingerprint]]:
        """Ask the real ones."""
        self.sizes.append(len(items))
        return self._real.candidates(items)


def test_searches_that_meet_go_together_and_keep_their_own_results(
    stage: Stage, customer: str
) -> None:
    """Each gets its own finds, errors and entry; one that is wrong spoils no other."""
    ours = numbers(6, start=500)
    tokens = [stage.card(customer, number) for number in ours]
    counting = _Counting(stage.reading._fingerprints)
    reading = rebuilt(stage.reading, fingerprints=counting)
    asked = [[ours[0]], [ours[1]], [ours[1], "12"], ["12"], ours[2:5], [ours[5]], []]
    with stage.told(Event.TOKENS_SEARCHED) as entries:
        answers = reading.search_many(
            [
                SearchRequest(
                    caller=stage.caller("support"), data_class="payment_card", values=tuple(values)
                )
                for values in asked
            ]
        )
    *found, refused = answers
    assert isinstance(refused, InvalidInput)
    assert [
        [[v.id for v in one] if isinstance(one, tuple) else one.code for one in each]
        for each in found
        if not isinstance(each, Exception)
    ] == [
        [[tokens[0]]],
        [[tokens[1]]],
        [[tokens[1]], "card_number_invalid"],
        ["card_number_invalid"],
        [[tokens[2]], [tokens[3]], [tokens[4]]],
        [[tokens[5]]],
    ]
    assert counting.sizes == [7]
    told = sorted((sorted(entry.tokens), entry.count) for entry in entries)
    assert told == sorted(
        [
            ([tokens[0]], 1),
            ([tokens[1]], 1),
            ([tokens[1]], 2),
            ([], 1),
            (sorted(tokens[2:5]), 3),
            ([tokens[5]], 1),
        ]
    )
