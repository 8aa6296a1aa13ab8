"""Webhooks: signed as the specification says, at least once, to the settings' addresses alone."""

from __future__ import annotations

import base64
import contextlib
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.support.receiver import Receiver, receiving
from tests.support.whole import Stage, name, present
from vault_service.bootstrap.process import build
from vault_service.errors import SettingsError
from vault_service.outbound import HttpSender
from vault_service.services import webhook_delivery, webhooks
from vault_service.services.alarms import Alarms
from vault_service.services.webhook_delivery import (
    ATTEMPTS,
    Endpoint,
    WebhookDelivery,
    WebhookPost,
    pause,
)
from vault_service.services.webhook_ports import SendFailed
from vault_service.services.webhooks import message_id, parse_secret
from vault_service.settings import ProcessRole
from vault_service.storage.unit_of_work import SqlUnitOfWork

OLD = "whsec_" + base64.b64encode(b"old-secret-of-32-bytes-made-up-!").decode()
NEW = "whsec_" + base64.b64encode(b"new-secret-of-32-bytes-made-up-!").decode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver on loopback."""
    with receiving() as found:
        yield found


class Post:
    """The worker's two duties towards one endpoint of this test's own."""

    def __init__(self, stage: Stage, url: str, *, family: str = "", step: float = 2.0) -> None:
        self.uow: SqlUnitOfWork = stage.worker.alarms._uow  # type: ignore[assignment, union-attr]
        self.stage = stage
        self.endpoint = Endpoint(name=name("endpoint"), url=url, family=family)
        self.delivery = self.with_secrets(OLD, step=step)

    def with_secrets(self, *secrets: str, step: float = 2.0) -> WebhookDelivery:
        """The duty with other secrets."""
        alarms = self.stage.worker.alarms
        assert isinstance(alarms, Alarms)
        return WebhookDelivery(
            uow=self.uow,
            endpoint=self.endpoint,
            secrets=[parse_secret(each) for each in secrets],
            sender=HttpSender(step=step, whole=2 * step),
            alarms=alarms,
        )

    def put(self, kind: str = "test.sent", **data: str) -> str:
        """Enqueue a message and make deliveries of everything; returns its id."""
        with self.uow.begin() as tx:
            message = webhooks.enqueue(tx, kind, data, at=tx.clock.now())
        WebhookPost(uow=self.uow, endpoints=[self.endpoint]).run(threading.Event())
        return message

    def send(self) -> None:
        """One round."""
        self.delivery.run(threading.Event())

    def hurry(self) -> None:
        """Have what waits for this endpoint be due."""
        self.stage.sql(
            "UPDATE webhook_deliveries SET next_at = now() WHERE endpoint = %s",
            [self.endpoint.name],
        )

    def rows(self) -> list[tuple[Any, ...]]:
        """(state, attempts, status, error) of this endpoint's deliveries, oldest first."""
        found: list[tuple[Any, ...]] = self.stage.sql(
            "SELECT state, attempts, last_status, last_error FROM webhook_deliveries"
            " WHERE endpoint = %s ORDER BY id",
            [self.endpoint.name],
        )
        return found


@pytest.fixture
def post(stage: Stage, receiver: Receiver) -> Iterator[Post]:
    """Duties towards the receiver."""
    for table in ("webhook_outbox", "webhook_deliveries"):
        stage.sql(f"DELETE FROM {table}")  # noqa: S608 -- of these two
    yield Post(stage, f"{receiver.url}/hook?a=b")
    stage.sql("DELETE FROM webhook_deliveries")


def test_a_message_arrives_signed(post: Post, receiver: Receiver) -> None:
    """Its headers are the specification's, and the receiver's own arithmetic agrees."""
    message = post.put(word="hello")
    post.send()
    (got,) = receiver.got
    assert got.path == "/hook?a=b"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["webhook-id"] == message
    assert got.said["type"] == "test.sent"
    assert got.said["data"] == {"word": "hello"}
    assert got.said["timestamp"].endswith("Z")
    assert got.signed_with(OLD)
    assert not got.signed_with(NEW)
    assert post.rows() == [("delivered", 1, 204, None)]
    post.send()
    assert len(receiver.got) == 1


def test_while_a_secret_changes_both_sign(post: Post, receiver: Receiver) -> None:
    """A receiver may take over the new secret at any time between."""
    post.put()
    post.with_secrets(NEW, OLD).run(threading.Event())
    assert receiver.got[0].signed_with(OLD)
    assert receiver.got[0].signed_with(NEW)


def test_the_signature_is_the_specifications_example() -> None:
    """The example that the specification's own libraries test themselves with."""
    secret = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = webhooks.sign(
        [secret],
        message="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_!", "whsec_YQ==", "sec_" + OLD[6:], "whsec_" + "A" * 89]
)
def test_what_is_no_secret_is_refused(text: str) -> None:
    """And the message does not repeat it."""
    with pytest.raises(ValueError, match="webhook secret") as error:
        parse_secret(text)
    assert text not in str(error.value) or text in {"", "whsec_"}


def test_a_message_that_is_too_large_is_refused(post: Post) -> None:
    """Before the database refuses it, and with it all that it tells of."""
    with post.uow.begin() as tx, pytest.raises(ValueError, match="16 KiB"):
        webhooks.enqueue(tx, "test.sent", {"word": "a" * 20_000}, at=tx.clock.now())


def test_a_family_is_all_that_an_endpoint_gets(post: Post, receiver: Receiver) -> None:
    """What no endpoint wants is dropped; the outbox is empty afterwards."""
    only = Post(post.stage, receiver.url, family="alarm")
    only.put("token.updated")
    only.put("alarm.raised")
    only.send()
    assert [got.said["type"] for got in receiver.got] == ["alarm.raised"]
    assert post.stage.sql("SELECT count(*) FROM webhook_outbox") == [(0,)]


def test_one_address_for_two_families_gets_a_message_once(post: Post) -> None:
    """Both lines of the settings lead to one delivery."""
    twice = [post.endpoint, Endpoint(name=post.endpoint.name, url="", family="test")]
    with post.uow.begin() as tx:
        webhooks.enqueue(tx, "test.sent", {}, at=tx.clock.now())
    WebhookPost(uow=post.uow, endpoints=twice).run(threading.Event())
    assert post.rows() == [("waiting", 0, None, None)]


def test_a_message_of_a_rolled_back_unit_of_work_never_was(post: Post, receiver: Receiver) -> None:
    """What did not happen is not told."""
    with contextlib.suppress(RuntimeError), post.uow.begin() as tx:
        webhooks.enqueue(tx, "test.sent", {}, at=tx.clock.now())
        raise RuntimeError
    post.put()
    post.send()
    assert len(receiver.got) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 429, 500, 503])
def test_any_other_answer_is_tried_again(post: Post, receiver: Receiver, status: int) -> None:
    """A redirect too: it is never followed. The id stays, the timestamp is the attempt's."""
    receiver.answer = status
    post.put()
    post.send()
    assert post.rows() == [("waiting", 1, status, f"status_{status}")]
    receiver.answer = 200
    post.hurry()
    post.send()
    assert post.rows() == [("delivered", 2, 200, None)]
    assert [got.path for got in receiver.got] == ["/hook?a=b"] * 2
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert len({got.body for got in receiver.got}) == 1


def test_a_failure_ends_the_round(post: Post, receiver: Receiver) -> None:
    """A receiver that is down is not asked once for every message that waits."""
    receiver.answer = 503
    for _ in range(3):
        post.put()
    post.send()
    assert len(receiver.got) == 1
    assert [row[0] for row in post.rows()] == ["waiting"] * 3


def test_nobody_answers(stage: Stage) -> None:
    """A closed port is a reason like any other."""
    with receiving() as gone:
        url = gone.url
    post = Post(stage, url)
    post.put()
    post.send()
    assert post.rows() == [("waiting", 1, None, "unreachable")]


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Answer one byte at a time, without an end."""
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b"H")
            handler.wfile.flush()
            threading.Event().wait(0.05)


def silence(handler: BaseHTTPRequestHandler) -> None:
    """Take the request and say nothing for a while."""
    threading.Event().wait(0.6)
    handler.close_connection = True


def nonsense(handler: BaseHTTPRequestHandler) -> None:
    """Answer with what is not HTTP."""
    handler.wfile.write(b"nonsense\r\n\r\n")
    handler.close_connection = True


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Answer well, with a body that nobody should read."""
    with contextlib.suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n")
        for _ in range(200):
            handler.wfile.write(b"a" * 65536)


@pytest.mark.parametrize(
    ("answer", "row"),
    [
        (drip, ("waiting", 1, None, "timeout")),
        (silence, ("waiting", 1, None, "timeout")),
        (nonsense, ("waiting", 1, None, "answer_malformed")),
        (endless, ("delivered", 1, 200, None)),
    ],
)
def test_no_answer_holds_the_worker_for_long(
    post: Post, receiver: Receiver, answer: Any, row: tuple[object, ...]
) -> None:
    """Silence, a drip, nonsense and a body without end are all over within the time-outs."""
    receiver.answer = answer
    slow = Post(post.stage, receiver.url, step=0.2)
    slow.put()
    slow.send()
    assert slow.rows() == [row]


def test_a_receiver_with_another_certificate_gets_nothing(post: Post, receiver: Receiver) -> None:
    """TLS is checked: here nobody even speaks it."""
    other = Post(post.stage, receiver.url.replace("http:", "https:"))
    other.put()
    other.send()
    assert other.rows() == [("waiting", 1, None, "tls_failed")]
    assert receiver.got == []


def test_the_time_may_be_over_before_there_is_a_connection(receiver: Receiver) -> None:
    """Then nothing is sent."""
    with pytest.raises(SendFailed) as failed:
        HttpSender(whole=0.0).post("http://127.0.0.1:1/", {}, b"")
    assert failed.value.code in {"timeout", "unreachable"}
    assert receiver.got == []


def test_pauses_grow_up_to_a_bound_and_end() -> None:
    """Full jitter: anything from nothing to the bound, and after the last attempt nothing more."""
    for attempt in range(1, ATTEMPTS):
        bound = min(5.0 * 2 ** (attempt - 1), 6 * 3600)
        found = [pause(attempt) for _ in range(50)]
        assert all(each is not None and 0 <= each.total_seconds() <= bound for each in found)
        assert len(set(found)) > 1
    assert pause(ATTEMPTS) is None


def test_a_message_that_nobody_takes_is_dead_and_an_alarm(post: Post, receiver: Receiver) -> None:
    """Once for an endpoint and day. An operator has it tried anew."""
    receiver.answer = 500
    message = post.put()
    post.put()
    post.stage.sql("UPDATE webhook_deliveries SET attempts = %s", [ATTEMPTS - 1])
    with post.stage.told() as told:
        post.send()
        post.send()
    assert [row[:2] for row in post.rows()] == [("dead", ATTEMPTS)] * 2
    assert [(entry.reason, entry.details["limit"]) for entry in told] == [
        ("webhook_dead", ATTEMPTS)
    ]
    with post.uow.begin() as tx:
        assert tx.webhooks.counts()["dead"] == 2
        revived = uuid.UUID(message.removeprefix("msg_"))
        assert tx.webhooks.revive(revived) == 1
        assert tx.webhooks.revive(revived) == 0
    receiver.answer = 204
    post.send()
    assert sorted(row[0] for row in post.rows()) == ["dead", "delivered"]


def test_an_endpoint_that_is_gone_is_not_tried_again(post: Post, receiver: Receiver) -> None:
    """410 says so, and the specification asks to heed it."""
    receiver.answer = 410
    post.put()
    post.send()
    assert post.rows() == [("dead", 1, 410, "status_410")]


def test_a_worker_that_dies_while_it_sends_has_it_sent_again(
    post: Post, receiver: Receiver
) -> None:
    """The lease of the dead one runs out; until then nobody else sends the same."""
    post.put()
    with post.uow.begin() as tx:
        dead = tx.webhooks.claim(post.endpoint.name, timedelta(seconds=60))
    assert dead is not None
    post.send()
    assert receiver.got == []
    post.hurry()
    post.send()
    assert [got.headers["webhook-id"] for got in receiver.got] == [message_id(dead.id)]
    # The dead one lives after all, and comes late: what it says changes nothing.
    with post.uow.begin() as tx:
        assert not tx.webhooks.failed(dead, status=500, error="status_500", again=None)
        tx.webhooks.delivered(dead, 200)
    assert post.rows() == [("delivered", 2, 200, None)]


def test_workers_share_the_outbox_and_the_deliveries(post: Post, receiver: Receiver) -> None:
    """Four at once: every message arrives, and none of them twice."""
    sent = set()
    for _ in range(20):
        with post.uow.begin() as tx:
            sent.add(webhooks.enqueue(tx, "test.sent", {}, at=tx.clock.now()))

    def work() -> None:
        WebhookPost(uow=post.uow, endpoints=[post.endpoint]).run(threading.Event())
        post.send()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work()
    got = [each.headers["webhook-id"] for each in receiver.got]
    assert sorted(got) == sorted(sent)


def test_a_full_batch_means_another(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outbox is emptied however much lies in it, unless the worker is to stop."""
    monkeypatch.setattr(webhook_delivery, "BATCH", 2)
    with post.uow.begin() as tx:
        for _ in range(5):
            webhooks.enqueue(tx, "test.sent", {}, at=tx.clock.now())
    stopped = threading.Event()
    stopped.set()
    WebhookPost(uow=post.uow, endpoints=[post.endpoint]).run(stopped)
    assert post.rows() == []
    post.put()
    post.delivery.run(stopped)
    assert receiver.got == []
    post.send()
    assert len(receiver.got) == 6


def test_what_ended_long_ago_is_forgotten(post: Post) -> None:
    """Delivered ones after a week, dead ones after three months; what waits stays."""
    for state, days in (
        ("delivered", 8),
        ("delivered", 6),
        ("dead", 91),
        ("dead", 89),
        ("waiting", 0),
    ):
        post.put()
        if days:
            post.stage.sql(
                "UPDATE webhook_deliveries SET state = %s, ended_at = now() - %s"
                " WHERE id = (SELECT max(id::text)::uuid FROM webhook_deliveries)",
                [state, timedelta(days=days)],
            )
    WebhookPost(uow=post.uow, endpoints=[]).run(threading.Event())
    assert [row[0] for row in post.rows()] == ["delivered", "dead", "waiting"]


def test_what_no_worker_tries_any_more_is_dead(post: Post) -> None:
    """The settings no longer name its endpoint; one that is merely late is left alone."""
    for days in (3, 1):
        post.put()
        post.stage.sql(
            "UPDATE webhook_deliveries SET next_at = now() - %s"
            " WHERE id = (SELECT max(id::text)::uuid FROM webhook_deliveries)",
            [timedelta(days=days)],
        )
    WebhookPost(uow=post.uow, endpoints=[]).run(threading.Event())
    assert [(row[0], row[3]) for row in post.rows()] == [("dead", "abandoned"), ("waiting", None)]


def test_a_worker_has_a_duty_for_each_endpoint_of_the_settings(
    post: Post, receiver: Receiver, tmp_path: Path
) -> None:
    """An alarm of the whole service arrives where the settings say; bad ones end the start."""
    settings = replace(
        post.stage.settings_for(ProcessRole.WORKER),
        webhook_urls=f"{receiver.url}/all alarm={receiver.url}/pager token={receiver.url}/billing",
        webhook_secrets=f"{NEW} {OLD}",
    )
    built = build(settings)
    try:
        present(built.alarms).raise_now("made_up", "worker")
        for duty in built.duties:
            if duty.name.startswith("webhook"):
                duty.run(threading.Event())
    finally:
        built.close()
    got = {each.path for each in receiver.got if each.said["data"].get("alarm") == "made_up"}
    assert got == {"/all", "/pager"}
    assert all(each.signed_with(NEW) and each.signed_with(OLD) for each in receiver.got)
    for wrong, named in (
        ({"webhook_secrets": "whsec_" + "q" * 90}, "WEBHOOK_SECRETS"),
        ({"webhook_ca_file": tmp_path / "none.pem"}, "WEBHOOK_CA_FILE"),
    ):
        with pytest.raises(SettingsError, match=named):
            build(replace(settings, **wrong))  # type: ignore[arg-type]


def test_a_page_is_newest_first(post: Post) -> None:
    """By state, and before a message."""
    first, second = post.put(), post.put()
    with post.uow.begin(read_only=True) as tx:
        rows = tx.webhooks.page(state=None, before=None, limit=10)
        assert [message_id(row.id) for row in rows] == [second, first]
        rows = tx.webhooks.page(state="waiting", before=rows[0].id, limit=10)
        assert [message_id(row.id) for row in rows] == [first]
        assert tx.webhooks.page(state="dead", before=None, limit=10) == []
