"""What a hostile or merely unlucky caller tries: races, opposite orders, borrowed names, bulk."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tests.support.faults import Hooked, rebuilt
from tests.support.racing import WriteJob, threads, together, write
from tests.support.whole import NOBODY, Stage, card, draft, name, numbers, refusal, soon
from vault_service.bootstrap.process import Services, build
from vault_service.domain import tokens as names
from vault_service.errors import InvalidInput, NotFound, ServiceError
from vault_service.services.tokenization import TokenizeItem, TokenizeRequest
from vault_service.services.views import RevealAnswer, Revealed, TokenizeAnswer, TokenView
from vault_service.settings import ProcessRole


@pytest.fixture(scope="module")
def other(stage: Stage) -> Any:
    """A second ingest process's services."""
    built = build(stage.settings_for(ProcessRole.INGEST))
    yield built
    built.close()


def batch(stage: Stage, by: Services, items: list[TokenizeItem]) -> TokenizeAnswer:
    """Tokenize through one process's services."""
    assert by.tokenization is not None
    return by.tokenization.submit(
        TokenizeRequest(caller=stage.caller("billing"), items=tuple(items), batch=True)
    )


def phones(customer: str, some: range) -> list[TokenizeItem]:
    """Telephones."""
    return [
        TokenizeItem(data_class="telephone", customer=customer, value=f"+49 30 90{n:05d}")
        for n in some
    ]


# ---------------------------------------------------------------- races


def test_one_idempotency_key_from_two_processes_is_done_once(stage: Stage, customer: str) -> None:
    """40 keys, each sent by 4 threads of 2 processes at once: one answer for each key."""
    _, key_id, _ = stage.cast.principals["billing"]
    requests = tuple(
        (name("k"), (f"+49 30 91{index:04d}", f"+49 30 92{index:04d}")) for index in range(40)
    )
    answers = together(
        2,
        write,
        WriteJob(
            settings=stage.settings_for(ProcessRole.INGEST),
            principal=stage.caller("billing").principal,
            key_id=key_id,
            customer=customer,
            requests=requests,
            threads=4,
        ),
    )
    by_key: dict[str, set[object]] = defaultdict(set)
    for told in answers:
        for key, result in told:
            by_key[key].add(result)
    assert len(by_key) == 40
    for results in by_key.values():
        (only,) = results
        assert len(only) == 2  # type: ignore[arg-type]
    keys = [key for key, _ in requests]
    assert stage.sql("SELECT count(*) FROM idempotency WHERE key = ANY(%s)", [keys]) == [(40,)]
    assert stage.sql("SELECT count(*) FROM records WHERE customer = %s", [customer]) == [(80,)]


def test_opposite_orders_in_two_processes_do_not_fail(
    stage: Stage, other: Services, customer: str
) -> None:
    """The same 200 values, forwards and backwards, over and over: nobody loses, one record each."""
    second = stage.customer()
    items = phones(customer, range(100)) + phones(second, range(100))
    calls = [
        partial(batch, stage, by, order)
        for by in (stage.services, other)
        for order in (items, items[::-1])
    ] * 4
    outcomes = threads(calls)
    for outcome in outcomes:
        assert isinstance(outcome, TokenizeAnswer), outcome
        assert all(isinstance(each, TokenView) for each in outcome.results)
    assert stage.sql(
        "SELECT count(*) FROM records WHERE customer = ANY(%s)", [[customer, second]]
    ) == [(200,)]


def test_opposite_orders_over_expired_records_do_not_fail(
    stage: Stage, other: Services, customer: str
) -> None:
    """The same where every record must first make way: erased and written by whoever is first."""
    second = stage.customer()
    fresh = phones(customer, range(60)) + phones(second, range(60))
    for _ in range(3):
        until = soon(seconds=0.6)
        batch(stage, stage.services, [replace(each, expires_at=until) for each in fresh])
        time.sleep(0.7)
        late = soon(seconds=30)
        calls = [
            partial(batch, stage, by, [replace(each, expires_at=late) for each in order])
            for by in (stage.services, other)
            for order in (fresh, fresh[::-1])
        ] * 2
        outcomes = threads(calls)
        for outcome in outcomes:
            assert isinstance(outcome, TokenizeAnswer), outcome
            assert all(isinstance(each, TokenView) for each in outcome.results), outcome
        stage.sql(
            "UPDATE records SET expires_at = now() WHERE customer = ANY(%s) AND erased_at IS NULL",
            [[customer, second]],
        )
    live = stage.sql(
        "SELECT count(*) FROM records WHERE customer = ANY(%s) AND erased_at IS NULL",
        [[customer, second]],
    )
    assert live == [(120,)]


def test_upsert_expiry_sweep_and_erasure_at_once_lose_nothing_acknowledged(
    stage: Stage, other: Services, customer: str
) -> None:
    """Writers, a sweeper and an eraser at work on the same values; each answer is true."""
    items = phones(customer, range(30))

    def erase() -> None:
        for _ in range(10):
            page = stage.reading.page(
                stage.caller("billing"),
                customer=customer,
                data_class=None,
                cursor=None,
                limit=15,
            )
            if page.items:
                stage.erasure.erase(stage.caller("billing"), [view.id for view in page.items])

    def put(by: Services, life: float) -> list[TokenizeAnswer]:
        return [
            batch(stage, by, [replace(each, expires_at=soon(seconds=life)) for each in items])
            for _ in range(10)
        ]

    def sweep() -> None:
        for _ in range(20):
            stage.housekeeping.sweep()

    outcomes = threads([erase, partial(put, stage.services, 0.05), partial(put, other, 60), sweep])
    assert not [each for each in outcomes if isinstance(each, Exception)], outcomes
    for answers in (outcomes[1], outcomes[2]):
        for answer in answers:  # type: ignore[attr-defined]
            assert all(isinstance(each, TokenView) for each in answer.results), answer
    assert stage.sql(
        "SELECT count(*) FROM records WHERE customer = %s AND (erased_at IS NULL)"
        " <> (envelope IS NOT NULL)",
        [customer],
    ) == [(0,)]


def test_erase_racing_reveal_ends_in_plaintext_or_in_nothing(stage: Stage, customer: str) -> None:
    """Never in an error; after the erasure returned, a reveal that begins finds nothing."""
    for index, number in enumerate(numbers(30, start=50_000)):
        token = stage.card(customer, number)
        grant = stage.granted(draft(token))
        disclosure_token = stage.token(grant.id)
        revealed, erased = threads(
            [
                partial(stage.reveal, disclosure_token, token),
                partial(stage.erasure.erase, stage.caller("billing"), [token]),
            ]
        )
        assert erased == [None], index
        if isinstance(revealed, RevealAnswer):
            (result,) = revealed.results
            assert isinstance(result, Revealed)
        else:
            assert isinstance(revealed, NotFound), revealed
        late = refusal(lambda t=disclosure_token, r=token: stage.reveal(t, r))  # type: ignore[misc]
        assert late.code in {"token_not_found", "disclosure_spent"}


def test_a_customer_made_by_all_at_once_is_made_once(stage: Stage, other: Services) -> None:
    """Two processes, the same new reference, 16 callers."""
    assert other.customers is not None
    reference = name("crm")
    outcomes = threads(
        [
            partial(by.create, stage.caller("billing"), [reference])
            for by in (stage.customers, other.customers)
        ]
        * 8
    )
    views = [view for outcome in outcomes for view in outcome]  # type: ignore[attr-defined]
    assert len({view.id for view in views}) == 1
    assert sum(view.created for view in views) == 1


# ---------------------------------------------------------------- borrowed names


def test_a_token_in_another_bucket_is_not_there(stage: Stage, customer: str) -> None:
    """The bucket is part of the name: the same random part elsewhere names nothing."""
    token = stage.card(customer)
    bucket = names.bucket_of(customer)
    elsewhere = f"tok_{names.bucket_text((bucket + 1) % 1024)}{token[6:]}"
    refusal(lambda: stage.reading.get(stage.caller("billing"), elsewhere), NotFound)
    (error,) = stage.erasure.erase(stage.caller("billing"), [elsewhere])
    assert isinstance(error, NotFound)
    refusal(
        lambda: stage.disclosures.create(
            stage.caller("requester"), draft(elsewhere), is_draft=False
        ),
        InvalidInput,
    )
    shaped = stage.card(customer, "5555555555554444", format="card")
    moved = next(
        candidate
        for other_bucket in range(1024)
        if names.is_card_token(candidate := f"9{other_bucket:04d}{shaped[5:]}")
        and candidate != shaped
    )
    refusal(lambda: stage.reading.get(stage.caller("billing"), moved), NotFound)


def test_upper_case_and_lookalikes_of_a_token_are_not_it(stage: Stage, customer: str) -> None:
    """One name, one spelling."""
    token = stage.card(customer)
    for twisted in (
        token.upper(),
        f" {token}",
        f"{token}\n",
        f"{token}\u200b",
        token.replace("0", "o"),
        token[:-1] + chr(ord(token[-1]) + 0xFEE0),
    ):
        if twisted != token:
            with pytest.raises(NotFound):
                stage.reading.get(stage.caller("billing"), twisted)


# ---------------------------------------------------------------- bulk


@pytest.mark.parametrize(
    "item",
    [
        {"value": "x" * 5_000_000},
        {"value": "\u0301" * 200_000},
        {"value": "9" * 100_000},
        {"value": {"number": "4" * 1_000_000, "exp_month": 12, "exp_year": 2040}},
        {"value": [[]] * 10_000},
        {"reference": "r" * 5_000_000},
        {"metadata": {str(n): "v" for n in range(10_000)}},
        {"metadata": {"k": "v" * 5_000_000}},
        {"metadata": {"k" * 1_000_000: "v"}},
        {"customer": "cus_" + "0" * 1_000_000},
        {"data_class": "payment_card" * 100_000},
        {"format": "opaque" * 100_000},
    ],
)
@pytest.mark.parametrize("data_class", ["payment_card", "telephone", "business_name"])
def test_huge_inputs_are_refused_quickly(
    stage: Stage, item: dict[str, object], data_class: str
) -> None:
    """Whatever is too long is an error of its item, told within a second, and not repeated."""
    fields: dict[str, Any] = {
        "data_class": data_class,
        "customer": NOBODY,
        "value": "+49 30 901820",
    }
    began = time.monotonic()
    try:
        (error,) = stage.submit(TokenizeItem(**(fields | item))).results
    except ServiceError as exc:
        error = exc
    assert isinstance(error, InvalidInput | NotFound)
    assert time.monotonic() - began < 1.0
    assert len(str(error)) < 300


def test_the_largest_batch_of_the_largest_items(stage: Stage, customer: str) -> None:
    """1,000 items with all the metadata that there may be go through in one call."""
    metadata = {f"key-{n}": "v" * 500 for n in range(20)}
    items = [
        TokenizeItem(
            data_class="business_name",
            customer=customer,
            value=f"{index} " + "ü" * 190,
            metadata=metadata,
            reference="r" * 200,
        )
        for index in range(1000)
    ]
    assert len({view.id for view in stage.tokenize(*items)}) == 1000


def test_a_batch_of_every_mistake_answers_each(stage: Stage, customer: str) -> None:
    """One good item among all that can be wrong, in any order, is written."""
    good = TokenizeItem(data_class="payment_card", customer=customer, value=card())
    wrong: list[dict[str, Any]] = [
        {"data_class": ""},
        {"data_class": "communication"},
        {"data_class": "activity_log"},
        {"customer": ""},
        {"customer": NOBODY},
        {"value": None},
        {"value": []},
        {"value": {}},
        {"value": "4242424242424241"},
        {"value": card("4242424242424241")},
        {"value": card(exp_month=13)},
        {"value": card(exp_year=2001)},
        {"value": card(cvc="123")},
        {"value": card(name="4242 4242 4242 4242")},
        {"value": {**card(), "number": 4242424242424242}},
        {"value": card("4" * 12)},
        {"value": card("4" * 20)},
        {"format": "CARD"},
        {"reference": ""},
        {"metadata": {"cvv2": "1"}},
        {"metadata": {"a": 1}},
        {"expires_at": soon(seconds=-1)},
    ]
    fields = {"data_class": "payment_card", "customer": customer, "value": card()}
    items = [TokenizeItem(**(fields | each)) for each in wrong]
    place = len(items) // 2
    results = stage.submit(*items[:place], good, *items[place:]).results
    errors = [each for each in results if isinstance(each, ServiceError)]
    assert len(errors) == len(wrong), [
        wrong[i] for i, each in enumerate(results[:place]) if isinstance(each, TokenView)
    ]
    assert isinstance(results[place], TokenView)
    for error in errors:
        assert error.code != "internal_error"
        assert "4242" not in str(error)


# ---------------------------------------------------------------- somebody else's failure


def test_a_shared_batch_that_dies_fails_each_of_its_callers_alike(
    stage: Stage, customer: str
) -> None:
    """A bug in the middle of a batch is told to all, and the next batch is well."""
    calls = iter([True])

    def ending(_: object) -> None:
        if next(calls, False):
            raise RuntimeError("bug")

    broken = rebuilt(stage.tokenization, uow=Hooked(stage.tokenization._uow, ending=ending))
    request = TokenizeRequest(
        caller=stage.caller("billing"), items=tuple(phones(customer, range(1))), batch=False
    )
    with pytest.raises(RuntimeError):
        broken.submit(request)
    assert len(broken.submit(request).results) == 1
