"""The SDK: what it repeats, what it refuses to do, and what it never shows."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Iterator

import pytest

from tests.support.small_service import (
    KEY,
    Says,
    Script,
    Seen,
    SmallService,
    problem,
    small_service,
)
from vault_service.client import (
    AnswerUnexpected,
    ApiError,
    Client,
    ClientError,
    InsecureAddress,
    Unreachable,
)
from vault_service.client.transport import LONGEST_WAIT, segment

CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2035}


@pytest.fixture
def service() -> Iterator[SmallService]:
    """A small server."""
    with small_service() as running:
        yield running


@pytest.fixture
def slept() -> list[float]:
    """The pauses that the client made."""
    return []


@pytest.fixture
def client(service: SmallService, slept: list[float]) -> Iterator[Client]:
    """A client that notes its pauses instead of making them."""
    with Client(service.base_url, key=KEY, sleep=slept.append, timeout=5) as made:
        yield made


def just(says: Says) -> Script:
    """This answer, whatever was asked."""
    return lambda _: says


def cut(_seen: Seen) -> Says:
    """Cut the connection after the request was read."""
    return Says(0)


def test_a_token_comes_back_typed(client: Client) -> None:
    """A value goes in, a token and a mask come out."""
    customer = client.customers.create("crm-1")
    token = client.tokens.create("payment_card", customer.id, CARD, reference="r")
    assert token.data_class == "payment_card"
    assert token.mask["number"] == "424242******4242"
    assert token.reference == "r"


def test_one_connection_serves_many_calls(service: SmallService, client: Client) -> None:
    """A connection is kept for the next call."""
    for number in range(5):
        client.customers.create(f"crm-{number}")
    assert len(service.seen) == 5
    assert client._transport._pool.connection_from_url(service.base_url).num_connections == 1


def test_a_refusal_is_told_whole(service: SmallService, client: Client) -> None:
    """A problem document becomes an error with code, status, places, hint and request id."""
    errors = [{"pointer": "/value/number", "code": "card_number_invalid", "detail": "wrong"}]
    service.scripts = [lambda _: problem(422, "card_number_invalid", hint="look", errors=errors)]
    with pytest.raises(ApiError) as caught:
        client.customers.create("x")
    error = caught.value
    assert (error.code, error.status, error.request_id) == ("card_number_invalid", 422, "req_1")
    assert error.hint == "look"
    assert [(one.pointer, one.code) for one in error.errors] == [
        ("/value/number", "card_number_invalid")
    ]


def test_tokenize_is_repeated_under_one_idempotency_key(
    service: SmallService, client: Client
) -> None:
    """After a cut connection the same write is sent again with the same key, and done once."""
    service.scripts = [cut, lambda _: problem(503, "vault_unavailable")]
    token = client.tokens.create("payment_card", "cus_1", CARD)
    keys = {seen.headers["Idempotency-Key"] for seen in service.paths("/v1/tokens")}
    assert len(service.paths("/v1/tokens")) == 3
    assert len(keys) == 1
    assert token.id in {known["id"] for known in service.tokens.values()}
    client.tokens.create("payment_card", "cus_1", CARD)
    assert service.seen[-1].headers["Idempotency-Key"] not in keys


def test_a_write_under_way_is_waited_for(service: SmallService, client: Client) -> None:
    """409 idempotency_in_progress is our own first try: it is asked for again."""
    service.scripts = [lambda _: problem(409, "idempotency_in_progress")]
    assert client.tokens.create("payment_card", "cus_1", CARD)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_get_is_repeated(service: SmallService, client: Client, status: int) -> None:
    """A read is repeated when a gateway or the service is away."""
    service.scripts = [lambda _: problem(status, "away")]
    assert client.tokens.page("cus_1").items == []


def test_what_may_have_happened_is_not_repeated(service: SmallService, client: Client) -> None:
    """A reveal, a decision, a new key or an erasure is sent once, whatever the answer."""
    calls = (
        lambda: client.reveal("jws", ["tok_1"]),
        lambda: client.disclosures.approve("dis_1"),
        lambda: client.disclosures.token("dis_1"),
        lambda: client.principals.create("n", ["billing"]),
        lambda: client.principals.issue_key("prn_1"),
        lambda: client.tokens.delete("tok_1"),
        client.customers.create,
    )
    for call in calls:
        service.seen.clear()
        service.scripts = [cut]
        with pytest.raises(Unreachable) as caught:
            call()
        assert caught.value.sent
        assert len(service.seen) == 1
        service.scripts = [lambda _: problem(503, "vault_unavailable")]
        with pytest.raises(ApiError):
            call()
        assert len(service.seen) == 2


def test_429_is_repeated_for_everything(
    service: SmallService, client: Client, slept: list[float]
) -> None:
    """429 came before anything was done, so any call is repeated after its Retry-After."""
    service.scripts = [lambda _: problem(429, "rate_limited", headers={"Retry-After": "7"})]
    with pytest.raises(ApiError) as caught:
        client.disclosures.approve("dis_1")
    assert caught.value.status == 404  # the second try arrived
    assert slept == [7.0]


def test_a_long_retry_after_is_told_at_once(
    service: SmallService, client: Client, slept: list[float]
) -> None:
    """Nobody is kept waiting longer than the limit, and no one comes back too early."""
    later = str(int(LONGEST_WAIT) + 1)
    service.always = lambda _: problem(503, "away", headers={"Retry-After": later})
    with pytest.raises(ApiError) as caught:
        client.tokens.page("cus_1")
    assert caught.value.retry_after == LONGEST_WAIT + 1
    assert slept == []


def test_pauses_grow_and_end(service: SmallService, client: Client, slept: list[float]) -> None:
    """Without Retry-After the pauses grow; after the last try the error is told."""
    service.always = lambda _: problem(503, "away")
    with pytest.raises(ApiError):
        client.tokens.page("cus_1")
    assert len(service.seen) == 4
    assert len(slept) == 3
    assert 0.1 <= slept[0] < 0.3 <= slept[2] * 1.1
    assert slept[2] <= 1.2


def test_c2_no_redirect_is_followed(service: SmallService, client: Client) -> None:
    """The key never goes where a redirect points."""
    with small_service() as elsewhere:
        for status in (301, 302, 307, 308):
            target = {"Location": f"{elsewhere.base_url}/v1/customers"}
            service.scripts = [just(Says(status, b"", target))]
            with pytest.raises(AnswerUnexpected):
                client.customers.create("x")
        assert elsewhere.seen == []


def test_the_key_shows_nowhere(service: SmallService, client: Client) -> None:
    """No representation and no error holds the key."""
    service.always = lambda _: problem(401, "credential_unknown")
    with pytest.raises(ApiError) as caught:
        client.customers.create("x")
    shown = [repr(client), str(client), repr(client._transport), repr(vars(client._transport))]
    shown += traceback.format_exception(caught.value)
    assert KEY not in "".join(shown)


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "ключ"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    """A key that would break out of its header is not sent."""
    with pytest.raises(ClientError):
        Client("http://127.0.0.1:1", key=key)


@pytest.mark.parametrize(
    "address",
    [
        "http://vault.example",
        "http://10.0.0.1:8443",
        "ftp://vault.example",
        "vault.example",
        "https://",
        "https://user:secret@vault.example",
        "https://vault.example/?x=1",
        "https://vault.example:port",
    ],
)
def test_the_key_does_not_travel_in_clear(address: str) -> None:
    """Addresses without https are for this machine only; others are refused."""
    with pytest.raises(InsecureAddress):
        Client(address, key=KEY)


def test_clear_http_can_be_allowed() -> None:
    """Whoever protects the way otherwise may say so."""
    assert Client("http://10.0.0.1:8443/", key=KEY, insecure_http=True).base_url.endswith("8443")
    assert Client("https://vault.example", key=KEY)


def test_nobody_there_is_told_as_unsent(slept: list[float]) -> None:
    """Where no connection can be made nothing was sent, and it was tried again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}", key=KEY, sleep=slept.append)
    with pytest.raises(Unreachable) as caught:
        client.disclosures.approve("dis_1")
    assert not caught.value.sent
    assert len(slept) == 3


def test_an_answer_in_another_language_is_refused(service: SmallService, client: Client) -> None:
    """HTML, broken JSON and JSON of another form are not this interface."""
    for body in (b"<html>", b'{"id":', b'{"id": 7}', b"[]"):
        service.scripts = [just(Says(200, body))]
        with pytest.raises(AnswerUnexpected):
            client.customers.create("x")
    service.scripts = [lambda _: Says(418, b"<html>")]
    with pytest.raises(ApiError) as caught:
        client.customers.create("x")
    assert caught.value.code == "http_418"


def test_new_members_are_passed_over(service: SmallService, client: Client) -> None:
    """A newer service may say more."""
    service.scripts = [
        lambda _: Says(200, {"id": "cus_1", "created_at": "2030-01-01T00:00:00Z", "more": 1})
    ]
    assert client.customers.create("x").id == "cus_1"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("tok_1", "tok_1"),
        ("../x", "..%2Fx"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("a?b#c", "a%3Fb%23c"),
    ],
)
def test_a_name_is_one_segment(name: str, path: str) -> None:
    """No name leads to another path."""
    assert segment(name) == path


def test_pages_are_taken_until_the_last(service: SmallService, client: Client) -> None:
    """A listing follows the cursor and ends, also when a server repeats its cursor."""
    client.tokens.create("telephone", "cus_1", "+49 30 901820")
    (token,) = service.tokens.values()
    item = {**token, "deduplicated": False}
    service.scripts = [
        lambda _: Says(200, {"items": [item], "next": "a"}),
        lambda _: Says(200, {"items": [item], "next": "a"}),
    ]
    assert len(list(client.tokens.list("cus_1"))) == 2
    assert service.seen[-1].path.endswith("cursor=a&limit=100")


def test_readiness_is_an_answer_also_when_it_is_not(service: SmallService) -> None:
    """503 of /readyz tells the reasons; nothing is repeated, no key is sent."""
    body = {"status": "not ready", "checks": [{"name": "vault", "ok": False, "reason": "sealed"}]}
    service.always = lambda _: Says(503, body, {"Retry-After": "5"})
    readiness = Client(service.base_url).ready()
    assert not readiness.ready
    assert readiness.checks[0].reason == "sealed"
    assert "Authorization" not in service.seen[0].headers
    assert len(service.seen) == 1


def test_what_holds_a_secret_hides_it(service: SmallService, client: Client) -> None:
    """Revealed values, issued keys and disclosure tokens do not show themselves."""
    service.scripts = [
        lambda _: Says(201, {"token": "jws-secret", "expires_at": "2030-01-01T00:00:00Z"}),
        lambda _: Says(
            200,
            {
                "results": [{"id": "tok_1", "class": "telephone", "value": "+4930901820"}],
                "receipt": {
                    "entry": "e",
                    "grant": "dis_1",
                    "ground": "g",
                    "clause": "D1",
                    "at": "2030-01-01T00:00:00Z",
                    "values": 1,
                },
            },
        ),
    ]
    token = client.disclosures.token("dis_1")
    answer = client.reveal(token.token, ["tok_1"])
    assert service.seen[-1].headers["Disclosure-Token"] == "jws-secret"
    assert answer.results[0].value == "+4930901820"
    assert "secret" not in repr(token)
    assert "+4930901820" not in repr(answer)
