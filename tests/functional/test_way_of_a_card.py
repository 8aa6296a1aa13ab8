"""The way of a card through the use cases, from token to reveal, on the real servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.whole import Cast
from vault_service.bootstrap.process import Services
from vault_service.errors import Conflict, DisclosureRefused, Forbidden, ServiceError
from vault_service.services.disclosures.drafts import DisclosureDraft
from vault_service.services.tokenization import TokenizeItem, TokenizeRequest
from vault_service.services.views import CustomerView, Revealed, TokenView

YEAR = datetime.now(UTC).year + 3


def card(number: str, **more: object) -> dict[str, object]:
    """A card as a caller sends it."""
    return {"number": number, "exp_month": 12, "exp_year": YEAR, "name": "A. Customer", **more}


@pytest.fixture(scope="module")
def customer(services: Services, cast: Cast) -> str:
    """A customer."""
    assert services.customers is not None
    (view,) = services.customers.create(cast.caller("billing"), ["crm-way-of-a-card"])
    assert isinstance(view, CustomerView)
    return view.id


def tokenize(
    services: Services, cast: Cast, *items: TokenizeItem, key: str | None = None, body: bytes = b""
) -> list[TokenView]:
    """Tokenize and expect nothing but views."""
    assert services.tokenization is not None
    answer = services.tokenization.submit(
        TokenizeRequest(
            caller=cast.caller("billing"),
            items=items,
            batch=len(items) > 1,
            idempotency_key=key,
            body=body,
        )
    )
    assert all(isinstance(result, TokenView) for result in answer.results), answer.results
    return [result for result in answer.results if isinstance(result, TokenView)]


def draft(*tokens: str) -> DisclosureDraft:
    """A request that needs two officers."""
    return DisclosureDraft(
        ground="protect_from_harm",
        category="personal_and_account",
        recipient_kind="counterparty",
        recipient_name="Somebody",
        tokens=tokens,
        evidence={
            "harm": "threats by telephone",
            "harmed": "a customer",
            "action": "identify",
            "case_reference": "CASE-1",
        },
    )


def granted(services: Services, cast: Cast, *tokens: str) -> str:
    """A grant for these tokens, approved by both officers."""
    assert services.disclosures is not None
    assert services.decisions is not None
    view = services.disclosures.create(cast.caller("requester"), draft(*tokens), is_draft=False)
    services.decisions.approve(cast.caller("officer-1"), view.id, comment="seen")
    view = services.decisions.approve(cast.caller("officer-2"), view.id)
    assert view.state == "active"
    return view.id


def test_a_card_comes_back_only_to_the_holder_of_a_disclosure_token(
    services: Services, cast: Cast, customer: str
) -> None:
    """Tokenize, be refused, request, approve twice, take a token, reveal, be refused the replay."""
    assert services.reveal is not None
    assert services.granting is not None
    (view,) = tokenize(
        services,
        cast,
        TokenizeItem(
            data_class="payment_card", customer=customer, value=card("4242 4242 4242 4242")
        ),
    )
    assert view.mask["number"] == "424242******4242"
    requester = cast.caller("requester")
    with pytest.raises(DisclosureRefused):
        services.reveal.submit(requester, disclosure_token=None, tokens=[view.id], fields=None)
    grant = granted(services, cast, view.id)
    token = services.granting.issue(requester, grant).token
    answer = services.reveal.submit(
        requester, disclosure_token=token, tokens=[view.id], fields=None
    )
    (value,) = answer.results
    assert isinstance(value, Revealed)
    assert value.value == card("4242424242424242")
    with pytest.raises(DisclosureRefused):
        services.reveal.submit(requester, disclosure_token=token, tokens=[view.id], fields=None)


def test_the_same_card_is_one_record(services: Services, cast: Cast, customer: str) -> None:
    """A repeated value answers with the token that was there, also within one batch."""
    item = TokenizeItem(
        data_class="payment_card", customer=customer, value=card("5555555555554444")
    )
    first, second = tokenize(services, cast, item, item)
    (third,) = tokenize(services, cast, item)
    assert first.id == second.id == third.id
    assert (first.deduplicated, second.deduplicated, third.deduplicated) == (False, True, True)


def test_an_idempotency_key_gives_the_first_answer(
    services: Services, cast: Cast, customer: str
) -> None:
    """The same key and body is done once; another body is a conflict."""
    item = TokenizeItem(
        data_class="telephone", customer=customer, value="+49 30 901820", reference="r"
    )
    (first,) = tokenize(services, cast, item, key="k-1", body=b"one")
    (again,) = tokenize(services, cast, item, key="k-1", body=b"one")
    assert again == first
    assert services.tokenization is not None
    with pytest.raises(ServiceError) as refused:
        services.tokenization.submit(
            TokenizeRequest(
                caller=cast.caller("billing"),
                items=(item,),
                batch=False,
                idempotency_key="k-1",
                body=b"two",
            )
        )
    assert isinstance(refused.value, Conflict)


def test_nobody_approves_his_own_request_or_twice(
    services: Services, cast: Cast, customer: str
) -> None:
    """Four eyes: the requester never, the same officer never twice."""
    assert services.disclosures is not None
    assert services.decisions is not None
    (view,) = tokenize(
        services,
        cast,
        TokenizeItem(data_class="email_address", customer=customer, value="a@example.com"),
    )
    made = services.disclosures.create(cast.caller("requester"), draft(view.id), is_draft=False)
    with pytest.raises(Forbidden):
        services.decisions.approve(cast.caller("requester"), made.id)
    services.decisions.approve(cast.caller("officer-1"), made.id)
    with pytest.raises(Conflict):
        services.decisions.approve(cast.caller("officer-1"), made.id)


def test_an_expired_token_is_gone_at_once(
    services: Services, worker: Services, cast: Cast, customer: str
) -> None:
    """Expiry counts on the next read; the purge comes later, and the value may come again."""
    import time

    assert services.reading is not None
    assert worker.housekeeping is not None
    item = TokenizeItem(
        data_class="business_name",
        customer=customer,
        value="Kurzlebig GmbH",
        expires_at=datetime.now(UTC) + timedelta(seconds=1),
    )
    (view,) = tokenize(services, cast, item)
    time.sleep(1.2)
    with pytest.raises(ServiceError):
        services.reading.get(cast.caller("billing"), view.id)
    again = TokenizeItem(data_class="business_name", customer=customer, value="Kurzlebig GmbH")
    (fresh,) = tokenize(services, cast, again)
    assert fresh.id != view.id
    assert not fresh.deduplicated
    assert worker.housekeeping.sweep() is not None


def test_the_service_is_ready(services: Services, worker: Services) -> None:
    """Every check of both processes is well on healthy servers."""
    findings = services.health.ready() + worker.health.ready()
    assert [each for each in findings if not each.ok] == []


def test_the_ledger_tells_of_start_policy_and_stop(services: Services) -> None:
    """A process writes its start, the policy that it brings, and its end."""
    services.lifecycle.started()
    services.lifecycle.started()
    services.lifecycle.stopped()
