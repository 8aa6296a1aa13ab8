"""Idempotency-Keys: once done, once answered, bound to the body, one principal's own."""

from __future__ import annotations

import threading

from keys.fingerprint import Fingerprint
from tests.support.faults import Hooked, rebuilt
from tests.support.whole import Stage, name, refusal
from vault_service.errors import Conflict, InvalidInput
from vault_service.ledger.entries import Event
from vault_service.services import replay
from vault_service.services.idempotency_ports import StoredAnswer
from vault_service.services.tokenization import TokenizeItem, TokenizeRequest
from vault_service.services.views import TokenView


def item(customer: str, value: str = "a@example.com", **more: str) -> TokenizeItem:
    """An e-mail address to tokenize."""
    return TokenizeItem(data_class="email_address", customer=customer, value=value, **more)  # type: ignore[arg-type]


def test_a_batch_is_answered_again_with_its_errors(stage: Stage, customer: str) -> None:
    """Views and errors come back as they were, and nothing is done twice."""
    key = name("k")
    items = (item(customer, reference="r"), item(customer, "no address"))
    first = stage.submit(*items, key=key, body=b"one")
    with stage.told() as entries:
        again = stage.submit(*items, key=key, body=b"one")
    assert not first.replayed
    assert again.replayed
    assert again.results[0] == first.results[0]
    error, repeated = first.results[1], again.results[1]
    assert isinstance(error, InvalidInput)
    assert isinstance(repeated, InvalidInput)
    assert (repeated.code, repeated.pointer, repeated.detail) == (
        error.code,
        error.pointer,
        error.detail,
    )
    assert entries == []


def test_another_body_is_a_conflict(stage: Stage, customer: str) -> None:
    """A key means one body, in a batch as well."""
    key = name("k")
    stage.submit(item(customer), key=key, body=b"one", batch=True)
    error = refusal(
        lambda: stage.submit(item(customer), key=key, body=b"two", batch=True), Conflict
    )
    assert error.code == "idempotency_key_reused"


def test_a_key_is_its_principals_own(stage: Stage, customer: str) -> None:
    """Another principal's use of the same key is another request and sees nothing of the first."""
    key = name("k")
    (mine,) = stage.tokenize(item(customer, reference="secret"), key=key, body=b"one")
    other = stage.customer()
    theirs = stage.submit(item(other), by="support", key=key, body=b"one")
    assert not theirs.replayed
    (view,) = theirs.results
    assert isinstance(view, TokenView)
    assert (view.customer, view.reference) == (other, None)
    assert view.id != mine.id


def test_the_same_key_twice_in_one_gathered_batch_is_done_once(stage: Stage, customer: str) -> None:
    """Of equal requests that travel together one works, the others repeat its answer."""
    requests = [
        TokenizeRequest(
            caller=stage.caller("billing"),
            items=(item(customer, "twin@example.com"),),
            batch=False,
            idempotency_key="twin" + customer,
            body=body,
        )
        for body in (b"one", b"one", b"two")
    ]
    with stage.told(Event.TOKENS_CREATED) as entries:
        first, second, third = stage.tokenization.run(requests)
    assert not isinstance(first, Exception)
    assert not isinstance(second, Exception)
    assert (first.replayed, second.replayed) == (False, True)
    assert first.results == second.results
    assert isinstance(third, Conflict)
    assert len(entries) == 1


def test_a_rival_with_the_same_key_waits_for_the_first_answer(stage: Stage, customer: str) -> None:
    """Two processes at once: the second waits for the first's commit and repeats its answer."""
    key = name("k")
    entered, go = threading.Event(), threading.Event()

    def ending(_: object) -> None:
        entered.set()
        assert go.wait(10)

    slow = rebuilt(stage.tokenization, uow=Hooked(stage.tokenization._uow, ending=ending))
    request = TokenizeRequest(
        caller=stage.caller("billing"),
        items=(item(customer, "rival@example.com"),),
        batch=True,
        idempotency_key=key,
        body=b"one",
    )
    answers: dict[str, object] = {}
    first = threading.Thread(target=lambda: answers.update(first=slow.submit(request)))
    first.start()
    assert entered.wait(10)
    second = threading.Thread(
        target=lambda: answers.update(second=stage.tokenization.submit(request))
    )
    second.start()
    second.join(0.2)
    assert second.is_alive()
    go.set()
    first.join()
    second.join()
    replayed = {who: answer.replayed for who, answer in answers.items()}  # type: ignore[attr-defined]
    assert replayed == {"first": False, "second": True}


def test_a_key_survives_the_rotation_of_the_key_that_binds_it(stage: Stage, customer: str) -> None:
    """After a rotation the same body is known again, and another one is not."""
    key = name("k")
    stage.submit(item(customer), key=key, body=b"one")
    with stage.admin() as admin:
        admin.rotate("fingerprint-request")
    assert stage.submit(item(customer), key=key, body=b"one").replayed
    refusal(lambda: stage.submit(item(customer), key=key, body=b"two"), Conflict)


def test_an_answer_that_is_not_there_yet_is_a_conflict() -> None:
    """Whoever comes while the first is under way is told so."""
    claim = replay.Claim.of("prn_x", "k", Fingerprint(digest=b"d", key_version=1))
    for stored in (None, StoredAnswer(key="k", request_mac=claim.mac, response=None)):
        error = replay.answer(stored, claim, list)
        assert isinstance(error, Conflict)
        assert error.code == "idempotency_in_progress"


def test_what_is_stored_holds_no_value_and_no_plain_digest(stage: Stage, customer: str) -> None:
    """The stored answer has the mask, and the body stands behind a MAC made in Vault."""
    import hashlib

    key, body = name("k"), b'{"number":"4000000000000002"}'
    stage.submit(
        TokenizeItem(
            data_class="telephone", customer=customer, value="+49 30 901899", reference="r"
        ),
        key=key,
        body=body,
    )
    ((mac, response),) = stage.sql(
        "SELECT request_mac, response FROM idempotency WHERE key = %s", [key]
    )
    assert b"901899" not in response
    assert hashlib.sha256(body).digest() not in bytes(mac)
