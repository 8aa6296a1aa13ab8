"""Tokenize: item by item, once per value, all or nothing."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from keys.errors import VaultUnavailable
from tests.support.faults import CountingDataKeys, FaultyUnitOfWork, NoDataKeys, rebuilt
from tests.support.whole import NOBODY, Stage, card, name, numbers, refusal, soon
from vault_service.domain import tokens
from vault_service.errors import Forbidden, InvalidInput, NotFound, ServiceError, Unavailable
from vault_service.ledger.entries import Event
from vault_service.services import tokenization
from vault_service.services.record_ports import TokenTaken
from vault_service.services.tokenization import TokenizeItem
from vault_service.services.views import TokenView


def wide(text: str) -> str:
    """The same in fullwidth characters."""
    return "".join(chr(ord(char) + 0xFEE0) for char in text)


def item(customer: str, /, **changes: object) -> TokenizeItem:
    """A telephone to tokenize."""
    fields: dict[str, object] = {
        "data_class": "telephone",
        "customer": customer,
        "value": "+49 30 901820",
    }
    return TokenizeItem(**(fields | changes))  # type: ignore[arg-type]


def codes(results: tuple[TokenView | ServiceError, ...]) -> list[str | None]:
    """The code of each error, None for a view."""
    return [result.code if isinstance(result, ServiceError) else None for result in results]


def test_a_view_tells_all_but_the_value(stage: Stage, customer: str) -> None:
    """The answer has mask, reference and metadata."""
    until = soon(hours=1).replace(microsecond=0)
    (view,) = stage.tokenize(
        item(customer, reference="inv-17", metadata={"plan": "gold"}, expires_at=until),
        by="support",
    )
    assert view.data_class == "telephone"
    assert "901820" not in str(view)
    assert (view.reference, view.metadata, view.expires_at) == ("inv-17", {"plan": "gold"}, until)
    assert (view.format, view.version, view.deduplicated) == ("opaque", 1, False)
    assert tokens.bucket_from_token(view.id) == tokens.bucket_of(customer)


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"data_class": "shoe_size"}, "class_unknown", "/class"),
        ({"format": "card"}, "format_not_available", "/format"),
        ({"format": "round"}, "format_not_available", "/format"),
        ({"customer": "somebody"}, "customer_malformed", "/customer"),
        ({"reference": "4242 4242 4242 4242"}, "card_number_not_allowed_here", "/reference"),
        ({"reference": "\u202e71-vni"}, "control_character", "/reference"),
        ({"reference": "r\ud800"}, "control_character", "/reference"),
        ({"reference": "r\x00"}, "control_character", "/reference"),
        ({"reference": "r" * 201}, "text_too_long", "/reference"),
        (
            {"reference": wide("4242424242424242")},
            "card_number_not_allowed_here",
            "/reference",
        ),
        ({"metadata": ["plan"]}, "metadata_malformed", "/metadata"),
        ({"metadata": {wide("cvc"): "1"}}, "sensitive_authentication_data", "/metadata/*"),
        ({"expires_at": datetime(2001, 1, 1, tzinfo=UTC)}, "expires_at_in_past", "/expires_at"),
        ({"value": "no telephone"}, "telephone_invalid", "/value"),
    ],
)
@pytest.mark.parametrize("batch", [False, True])
def test_a_bad_item_is_told_with_its_place(
    stage: Stage,
    batch: bool,  # noqa: FBT001 -- pytest passes it by name
    changes: dict[str, object],
    code: str,
    pointer: str,
) -> None:
    """Each mistake has a code and a pointer, which in a batch begins with the item."""
    customer = NOBODY
    (error,) = stage.submit(item(customer, **changes), batch=batch).results
    assert isinstance(error, InvalidInput)
    assert error.code == code
    assert error.pointer == (f"/items/0{pointer}" if batch else pointer)


def test_a_batch_answers_item_by_item(stage: Stage, customer: str) -> None:
    """Good items are written whatever stands beside them."""
    results = stage.submit(
        item(customer, value="nonsense"),
        item(customer, value="+49 30 901821"),
        item(NOBODY),
        item("cus_x"),
        item(customer, value="+49 30 901821", reference="again"),
    ).results
    assert codes(results) == [
        "telephone_invalid",
        None,
        "customer_not_found",
        "customer_malformed",
        None,
    ]
    assert isinstance(results[2], NotFound)
    first, second = results[1], results[4]
    assert isinstance(first, TokenView)
    assert isinstance(second, TokenView)
    assert first.id == second.id
    assert (first.deduplicated, second.deduplicated, second.reference) == (False, True, "again")


def test_a_batch_of_the_same_item_is_one_record(stage: Stage, customer: str) -> None:
    """1,000 equal items give one token, created once."""
    views = stage.tokenize(*[item(customer, value="+49 30 901822")] * 1000)
    assert len(views) == 1000
    assert len({view.id for view in views}) == 1
    assert [view.deduplicated for view in views] == [False] + [True] * 999


def test_a_large_batch_is_answered_item_by_item(stage: Stage, customer: str) -> None:
    """Its keys are prepared by what its items say they are, which need not be true."""
    good = [item(customer, value=f"+49 30 90182{number:03}") for number in range(60)]
    results = stage.submit(*good, item(customer, data_class="shoe_size"), item("nobody")).results
    assert codes(results) == [None] * 60 + ["class_unknown", "customer_malformed"]
    assert len({view.id for view in results if isinstance(view, TokenView)}) == 60


def test_equal_items_share_the_longest_life(stage: Stage, customer: str) -> None:
    """A batch's equal items live as long as the longest-lived; without end, if one has none."""
    late, later = soon(hours=1), soon(hours=2)
    views = stage.tokenize(
        item(customer, value="+49 30 901823", expires_at=late),
        item(customer, value="+49 30 901823", expires_at=later),
        item(customer, value="+49 30 901824", expires_at=late),
        item(customer, value="+49 30 901824"),
    )
    assert [view.expires_at for view in views] == [later, later, None, None]


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_has_1_to_1000_items(stage: Stage, customer: str, count: int) -> None:
    """More or fewer are refused as a whole."""
    error = refusal(lambda: stage.submit(*[item(customer)] * count, batch=True), InvalidInput)
    assert error.code == "batch_size"


def test_support_tokenizes_singly_only(stage: Stage, customer: str) -> None:
    """A batch is billing's; the refusal is an entry."""
    with stage.told() as entries:
        refusal(lambda: stage.submit(item(customer), by="support", batch=True), Forbidden)
    (entry,) = entries
    assert (entry.event, entry.reason) == (Event.ACCESS_DENIED, "forbidden")
    assert entry.details == {"action": "tokenize_batch"}


def test_an_entry_tells_of_each_request(stage: Stage, customer: str) -> None:
    """One entry for a request: its tokens, how many are new, known and refused."""
    with stage.told() as entries:
        first, second, _ = stage.submit(
            item(customer, value="+49 30 901825"),
            item(customer, value="+49 30 901825"),
            item(customer, value="?"),
        ).results
    assert isinstance(first, TokenView)
    assert isinstance(second, TokenView)
    (entry,) = entries
    assert entry.event is Event.TOKENS_CREATED
    assert entry.tokens == (first.id,)
    assert (entry.customer, entry.count) == (customer, 2)
    assert entry.details == {"created": 1, "deduplicated": 1, "refused": 1}


def test_a_batch_about_several_customers_names_none(stage: Stage, customer: str) -> None:
    """The entry of a mixed batch names its tokens, which lead to the customers."""
    other = stage.customer()
    with stage.told() as entries:
        stage.tokenize(item(customer), item(other))
    assert [entry.customer for entry in entries] == [None]


def test_a_card_token_looks_like_a_card_and_is_none(stage: Stage, customer: str) -> None:
    """The format `card`: same length, last four kept, no Luhn."""
    token = stage.card(customer, "378282246310005", format="card")
    assert len(token) == 15
    assert token.endswith("0005")
    assert tokens.is_card_token(token)
    assert stage.card(customer, "378282246310005") != token


def test_a_taken_card_token_is_drawn_again(
    stage: Stage, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A draw that is taken costs another try, not an error."""
    taken = stage.card(customer, "4000056655665556", format="card")
    draws = [taken, taken]
    real = tokens.new_card_token

    def draw(bucket: int, length: int, last_four: str) -> str:
        return draws.pop() if draws else real(bucket, length, last_four)

    monkeypatch.setattr(tokens, "new_card_token", draw)
    (number,) = [n for n in numbers(20000, prefix="400000") if n.endswith("5556")][:1]
    fresh = stage.card(customer, number, format="card")
    assert fresh != taken
    assert draws == []


def test_a_full_token_space_ends_the_tries(
    stage: Stage, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When every draw is taken the answer is an error, not a loop."""
    taken = stage.card(customer, "4012888888881881", format="card")
    monkeypatch.setattr(tokens, "new_card_token", lambda *_: taken)
    (number,) = [n for n in numbers(20000, prefix="401288") if n.endswith("1881")][:1]
    error = refusal(lambda: stage.card(customer, number, format="card"), Unavailable)
    assert error.code == "token_space_exhausted"


def test_what_the_database_refuses_is_refused_alone(stage: Stage, customer: str) -> None:
    """One row that the tables will not take does not take the batch with it."""
    rule = "reference IS DISTINCT FROM 'poison'"
    with stage.owned(
        f"ALTER TABLE records ADD CONSTRAINT ck_poison CHECK ({rule})",
        "ALTER TABLE records DROP CONSTRAINT ck_poison",
    ):
        results = stage.submit(
            item(customer, value="+49 30 901830", reference="poison"),
            item(customer, value="+49 30 901831"),
            item(customer, value="+49 30 901830", reference="poison"),
        ).results
    assert codes(results) == ["value_refused", None, "value_refused"]


def test_a_taken_token_while_looking_for_the_refused_row_is_no_refusal(
    stage: Stage, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row whose token is taken is drawn again, also beside one that the tables refuse."""
    taken = stage.card(customer, "5105105105105100", format="card")
    draws = [taken, taken]
    real = tokens.new_card_token

    def draw(bucket: int, length: int, last_four: str) -> str:
        return draws.pop() if draws else real(bucket, length, last_four)

    (number,) = [n for n in numbers(20000, prefix="510510") if n.endswith("5100")][:1]
    with stage.owned(
        "ALTER TABLE records ADD CONSTRAINT ck_poison CHECK (reference <> 'poison')",
        "ALTER TABLE records DROP CONSTRAINT ck_poison",
    ):
        # The poisoned row comes first in the order of writing whenever its class does.
        monkeypatch.setattr(tokens, "new_card_token", draw)
        results = stage.submit(
            item(customer, value="Poison", data_class="business_name", reference="poison"),
            TokenizeItem(
                data_class="payment_card", customer=customer, value=card(number), format="card"
            ),
        ).results
    assert codes(results) == ["value_refused", None]


def test_a_batch_that_the_database_refuses_as_a_whole_ends_at_once(
    stage: Stage, customer: str
) -> None:
    """Where no record is at fault another try would end alike."""
    with stage.owned(
        "ALTER TABLE idempotency ADD CONSTRAINT ck_poison CHECK (key <> 'poison')",
        "ALTER TABLE idempotency DROP CONSTRAINT ck_poison",
    ):
        error = refusal(lambda: stage.submit(item(customer), key="poison"), Unavailable)
    assert error.code == "internal_error"


def test_an_expired_record_makes_way_for_the_same_value(stage: Stage, customer: str) -> None:
    """The value comes again under a new token, and the ledger tells of the old one's end."""
    (old,) = stage.tokenize(item(customer, expires_at=soon(seconds=0.5)))
    time.sleep(0.6)
    with stage.told() as entries:
        (new,) = stage.tokenize(item(customer))
    assert new.id != old.id
    assert not new.deduplicated
    by_event = {entry.event: entry for entry in entries}
    assert len(by_event) == len(entries) == 2
    assert by_event[Event.TOKENS_EXPIRED].tokens == (old.id,)
    assert by_event[Event.TOKENS_EXPIRED].customer == customer
    assert by_event[Event.TOKENS_EXPIRED].actor.id == "tokenization"
    assert by_event[Event.TOKENS_CREATED].tokens == (new.id,)


def test_an_expired_record_and_an_unknown_customer_in_one_batch(
    stage: Stage, customer: str
) -> None:
    """Each row that did not take is told why it did not."""
    stage.tokenize(item(customer, expires_at=soon(seconds=0.4)))
    time.sleep(0.5)
    results = stage.submit(item(customer), item(NOBODY)).results
    assert codes(results) == [None, "customer_not_found"]


def test_without_vault_nothing_is_written(stage: Stage, customer: str) -> None:
    """No data key, no record, no entry."""
    broken = rebuilt(stage.tokenization, data_keys=NoDataKeys())
    with stage.told() as entries, pytest.raises(VaultUnavailable):
        broken.submit(
            tokenization.TokenizeRequest(
                caller=stage.caller("billing"), items=(item(customer),), batch=True
            )
        )
    assert entries == []
    assert stage.sql("SELECT count(*) FROM records WHERE customer = %s", [customer]) == [(0,)]


@pytest.mark.parametrize("at", ["before", "instead"])
def test_a_failed_commit_leaves_nothing(stage: Stage, customer: str, at: str) -> None:
    """Neither record nor entry nor Idempotency-Key remain, so that the caller may try again."""
    broken = rebuilt(
        stage.tokenization, uow=FaultyUnitOfWork(stage.tokenization._uow, at=at, times=1)
    )
    request = tokenization.TokenizeRequest(
        caller=stage.caller("billing"),
        items=(item(customer),),
        batch=False,
        idempotency_key=name("k"),
        body=b"b",
    )
    with stage.told() as entries:
        refusal(lambda: broken.submit(request), Unavailable)
    assert entries == []
    answer = broken.submit(request)
    assert not answer.replayed
    assert codes(answer.results) == [None]


def test_a_commit_of_unknown_outcome_is_answered_alike_on_the_next_try(
    stage: Stage, customer: str
) -> None:
    """The same Idempotency-Key after a lost answer gives the first answer."""
    broken = rebuilt(stage.tokenization, uow=FaultyUnitOfWork(stage.tokenization._uow, at="after"))
    request = tokenization.TokenizeRequest(
        caller=stage.caller("billing"),
        items=(item(customer),),
        batch=True,
        idempotency_key=name("k"),
        body=b"b",
    )
    assert refusal(lambda: broken.submit(request), Unavailable).code == "commit_unknown"
    answer = broken.submit(request)
    assert answer.replayed
    (view,) = answer.results
    assert isinstance(view, TokenView)
    assert not view.deduplicated


def test_a_raised_floor_empties_the_pool_and_writes_with_the_new_version(
    stage: Stage, customer: str
) -> None:
    """A data key that waited through a rotation is not used."""
    stage.tokenize(item(customer, data_class="email_address", value="a@example.com"))
    keys = CountingDataKeys(stage.tokenization._data_keys)
    keys.held = keys.take("records-contact", 1)
    watched = rebuilt(stage.tokenization, data_keys=keys)
    begun = stage.key_rotation.begin("tests", "records-contact")
    (answer,) = watched.run(
        [
            tokenization.TokenizeRequest(
                caller=stage.caller("billing"),
                items=(item(customer, data_class="email_address", value="b@example.com"),),
                batch=False,
            )
        ]
    )
    (view,) = answer.results
    assert keys.discarded == ["records-contact"]
    assert stage.sql("SELECT kek_version FROM records WHERE token = %s", [view.id]) == [
        (begun.to_version,)
    ]


def test_concurrent_singles_keep_their_own_outcomes(stage: Stage) -> None:
    """64 callers at once, good and bad: each gets what is his."""
    people = [stage.customer() for _ in range(8)]
    outcomes: dict[int, object] = {}

    def call(index: int) -> None:
        who = people[index % 8] if index % 3 else NOBODY
        value = f"Kunde {index}" if index % 5 else ""
        try:
            (result,) = stage.submit(
                item(who, data_class="business_name", value=value, reference=str(index))
            ).results
        except ServiceError as exc:
            result = exc
        outcomes[index] = result

    threads = [threading.Thread(target=call, args=(index,)) for index in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, result in outcomes.items():
        if index % 5 == 0:
            assert isinstance(result, InvalidInput)
        elif index % 3 == 0:
            assert isinstance(result, NotFound)
        else:
            assert isinstance(result, TokenView)
            assert result.reference == str(index)
            assert result.customer == people[index % 8]


def test_a_lost_slot_is_an_error_and_never_a_shifted_answer() -> None:
    """An item without a result fails the request."""
    from vault_service.services.tokenization import TokenizeRequest, _Work

    request = TokenizeRequest(caller=None, items=(), batch=True)  # type: ignore[arg-type]
    error = refusal(lambda: _Work(request, [None]).settle(), Unavailable)
    assert error.code == "internal_error"


def test_a_repetition_without_a_key_cannot_be() -> None:
    """The use case refuses to guess."""
    from vault_service.services.tokenization import Tokenization, TokenizeRequest, _Work

    request = TokenizeRequest(caller=None, items=(), batch=True)  # type: ignore[arg-type]
    error = refusal(
        lambda: Tokenization._repeat(None, None, _Work(request, [])),  # type: ignore[arg-type]
        Unavailable,
    )
    assert error.code == "internal_error"


def test_expiry_of_a_card_is_judged_by_the_given_day(stage: Stage, customer: str) -> None:
    """The day is a parameter; a card that has expired by it is refused."""
    late = rebuilt(stage.tokenization, today=(datetime.now(UTC) + timedelta(days=5000)).date)
    (answer,) = late.run(
        [
            tokenization.TokenizeRequest(
                caller=stage.caller("billing"),
                items=(TokenizeItem(data_class="payment_card", customer=customer, value=card()),),
                batch=False,
            )
        ]
    )
    assert codes(answer.results) == ["card_expired"]


def test_taken_token_is_known_by_its_type() -> None:
    """The port's word for a taken token carries no data."""
    assert str(TokenTaken()) == ""
