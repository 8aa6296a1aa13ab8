"""Customers' messages: kept as they came, once, and turned into changes that wait for people."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from keys.errors import VaultUnavailable
from keys.fingerprint import Fingerprint
from tests.support.communications import chunks, contents
from tests.support.faults import NoDataKeys, rebuilt
from tests.support.mail import MAILBOX, Relay, holding, known, letter, use
from tests.support.whole import Stage, card, name, present, refusal
from vault_service.domain.mail_trust import Trust
from vault_service.errors import InvalidInput, Unavailable
from vault_service.outbound import MailRelay
from vault_service.services import mail_answers
from vault_service.services.communications import MAX_COMMUNICATION
from vault_service.services.intake import Incoming, Intake, Taken
from vault_service.services.mail_answers import MailAnswers
from vault_service.services.views import ModificationView

SENDER = "vault@company.example"


@pytest.fixture
def relay() -> Iterator[Relay]:
    """The company's relay."""
    relay = Relay()
    with relay.listening() as url:
        relay.port = int(url.rpartition(":")[2])
        yield relay


@pytest.fixture
def intake(stage: Stage) -> Intake:
    """An intake that answers nobody."""
    return use(stage)


@pytest.fixture
def answering(intake: Intake, relay: Relay) -> Intake:
    """An intake that answers."""
    sender = MailRelay(f"smtp://127.0.0.1:{relay.port}", step=5)
    return rebuilt(intake, answers=MailAnswers(relay=sender, sender=SENDER))


def take(intake: Intake, content: bytes, *, path: str | None = "a@example.com") -> Taken:
    """Take a message in."""
    return intake.take(Incoming(content=content, recipients=(MAILBOX,), path=path))


def changes(stage: Stage, taken: Taken) -> list[ModificationView]:
    """What a message opened."""
    caller = stage.caller("support")
    view = stage.reading.get(caller, taken.reference)
    assert stage.services.modifications is not None
    page = stage.services.modifications.page(
        caller, customer=view.customer, state=None, cursor=None, limit=100
    )
    return [each for each in page.items if each.ticket == taken.reference]


def test_a_change_of_telephone(stage: Stage, intake: Intake) -> None:
    """The original is kept byte for byte; the change waits, with masks of old and new."""
    customer, address, tokens = known(stage, telephone="+49 30 901820")
    content = letter(address, "Change: telephone\nNew: +49 30 227 0\n")
    taken = take(intake, content)
    assert taken == Taken(
        reference=taken.reference, repeated=False, known=True, trust=Trust.UNKNOWN, answered=False
    )
    (change,) = changes(stage, taken)
    assert (change.customer, change.token, change.source, change.state, change.opened_by) == (
        customer,
        tokens["telephone"],
        "mail",
        "proposed",
        "intake",
    )
    assert change.second_person
    view = stage.reading.get(stage.caller("support"), taken.reference)
    assert view.mask["trust"] == "unknown"
    assert chunks(stage, taken.reference) == 1
    grant = stage.granted(contents(taken.reference)).id
    assert grant


def test_a_repetition_opens_nothing(stage: Stage, intake: Intake) -> None:
    """Not even when its change has come to its end meanwhile."""
    _, address, _ = known(stage, telephone="+49 30 901820")
    content = letter(address, "Change: telephone\nNew: +49 30 227 0\n")
    first = take(intake, content)
    (change,) = changes(stage, first)
    assert stage.services.modifications is not None
    stage.services.modifications.reject(stage.caller("support"), change.id, reason="other")
    again = take(intake, b"Received: from elsewhere\r\n" + content)
    assert (again.reference, again.repeated) == (first.reference, True)
    assert len(changes(stage, first)) == 1


@pytest.mark.parametrize("message_id", ["", None])
def test_a_message_at_once_is_taken_once(
    stage: Stage, intake: Intake, message_id: str | None
) -> None:
    """With a Message-ID, and without."""
    _, address, _ = known(stage)
    content = letter(address, "Please help", message_id=message_id)
    start = threading.Barrier(4)

    def deliver(_: int) -> Taken:
        start.wait()
        return take(intake, content)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(deliver, range(4)))
    assert len({each.reference for each in found}) == 1
    assert [each.repeated for each in found].count(False) == 1
    assert len(changes(stage, found[0])) == 1


def test_what_died_before_its_change_is_made_whole(stage: Stage, intake: Intake) -> None:
    """The original was kept, the change was not opened: the next delivery opens it."""
    _, address, _ = known(stage, telephone="+49 30 901820")
    content = letter(address, "Change: telephone\nNew: +49 30 227 0\n")

    class Dead:
        def open_once(self, *_: object) -> None:
            raise Unavailable("gone")

    refusal(lambda: take(rebuilt(intake, modifications=Dead()), content), Unavailable)
    again = take(intake, content)
    assert again.repeated
    assert [each.state for each in changes(stage, again)] == ["proposed"]


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("Please change my telephone", ["open"]),
        ("Change: telephone\nNew: not a number", ["open"]),
        ("Change: telephone\nNew: +49 30 227 0\nToken: tok_1", ["open"]),
        ("Change: telephone\nNew: +49 30 227 0\nOld: +49 30 1 1 1 1", ["open"]),
        ("Change: telephone\nNew: +49 30 227 0\nOld: ?", ["open"]),
        ("Change: telephone\nNew: +49 30 227 0\nOld: +49 30 901820", ["proposed"]),
        ("Change: card\nNew: 5555 5555 5555 4444\nExpires: 12/{year}", ["proposed"]),
        ("Change: shoes\nNew: 44", ["open"]),
        (
            "Change: telephone\nNew: +49 30 227 0\nChange: shoes\nNew: 44",
            ["open", "proposed"],
        ),
    ],
)
def test_what_is_not_plain_is_left_to_a_person(
    stage: Stage, intake: Intake, text: str, states: list[str]
) -> None:
    """And what is, is not, whatever stands beside it."""
    year = datetime.now(UTC).year + 2
    _, address, _ = known(stage, telephone="+49 30 901820", payment_card=card())
    taken = take(intake, letter(address, text.replace("{year}", str(year))))
    assert sorted(each.state for each in changes(stage, taken)) == states


def test_what_is_asked_for_is_fingerprinted_once(stage: Stage, intake: Intake) -> None:
    """The good and the bad are parted, and opened, by one question to Vault."""
    real = present(stage.services.modifications)
    asked: list[int] = []

    class Counting:
        def compute(self, items: Sequence[tuple[str, bytes]], **more: Any) -> list[Fingerprint]:
            asked.append(len(items))
            return real._proposals._indexing._fingerprints.compute(items, **more)

        def older(self, *given: Any) -> list[list[Fingerprint]]:
            return real._proposals._indexing._fingerprints.older(*given)

    _, address, _ = known(stage, telephone="+49 30 901820", contact_name="Ada")
    counting = rebuilt(intake, modifications=rebuilt(real, fingerprints=Counting()))
    text = (
        "Change: telephone\nNew: +49 30 227 0\nChange: telephone\nNew: no number\n"
        "Change: name\nNew: Ada\nChange: e-mail\nNew: b@example.com\n"
    )
    taken = take(counting, letter(address, text))
    assert sorted(each.state for each in changes(stage, taken)) == ["open", "proposed", "proposed"]
    assert asked == [3]


def test_a_stranger_changes_nothing(stage: Stage, intake: Intake) -> None:
    """What he writes is kept, and a person looks at it; nothing is proposed."""
    _, address, tokens = known(stage, telephone="+49 30 901820")
    text = f"Change: telephone\nNew: +49 30 227 0\nToken: {tokens['telephone']}\n"
    for sender in (f"{name()}@example.com", f"{address}, x@example.com", "nobody"):
        taken = take(intake, letter(sender, text))
        assert not taken.known
        (change,) = changes(stage, taken)
        assert (change.state, change.token) == ("open", None)


def test_an_address_of_two_is_nobodys(stage: Stage, intake: Intake) -> None:
    """A person finds out who it was."""
    _, address, _ = known(stage)
    holding(stage, address)
    assert not take(intake, letter(address)).known


@pytest.mark.parametrize("code", ["CVC: 123", ";4242424242424242=35121010000?"])
def test_a_code_is_never_kept(stage: Stage, intake: Intake, code: str) -> None:
    """PCI DSS 3.3.1: not even sealed."""
    before = stage.sql("SELECT count(*) FROM communications")
    problem = refusal(lambda: take(intake, letter("a@example.com", f"My {code}")), InvalidInput)
    assert problem.code == "sensitive_authentication_data"
    assert stage.sql("SELECT count(*) FROM communications") == before


def test_what_is_too_large_is_refused(intake: Intake) -> None:
    """Before it is looked at."""
    large = letter("a@example.com") + bytes(MAX_COMMUNICATION)
    assert refusal(lambda: take(intake, large)).code == "communication_too_large"


def test_without_vault_nothing_is_taken(stage: Stage, intake: Intake) -> None:
    """It comes again, and is taken then."""
    content = letter("a@example.com")
    broken = rebuilt(intake, communications=rebuilt(stage.communications, data_keys=NoDataKeys()))
    with pytest.raises(VaultUnavailable):
        take(broken, content)
    assert not take(intake, content).repeated


# ---------------------------------------------------------------- trust


class Signed:
    """Says of every message what it is told to."""

    def __init__(self, *domains: str) -> None:
        self.domains = domains

    def signed_for(self, _content: bytes | bytearray, domain: str) -> bool:
        """Whether it is one of the domains."""
        return domain in self.domains


@pytest.mark.parametrize(
    ("result", "domains", "trust"),
    [
        ("dmarc=pass header.from=example.com", (), Trust.ALIGNED),
        ("dmarc=fail", (), Trust.FAILED),
        ("dmarc=fail", ("example.com",), Trust.ALIGNED),
        ("none", ("other.example",), Trust.UNKNOWN),
    ],
)
def test_trust_is_shown(
    stage: Stage, intake: Intake, result: str, domains: tuple[str, ...], trust: Trust
) -> None:
    """In the communication's mask; it decides nothing else."""
    told = rebuilt(intake, server="mx.example", signatures=Signed(*domains))
    _, address, _ = known(stage)
    content = letter(address, "Hello", f"Authentication-Results: mx.example; {result}")
    taken = take(told, content)
    assert taken.trust is trust
    assert stage.reading.get(stage.caller("support"), taken.reference).mask["trust"] == trust
    assert take(told, letter("nobody")).trust is Trust.UNKNOWN


# ---------------------------------------------------------------- answers


def test_a_customer_is_told_a_reference(stage: Stage, answering: Intake, relay: Relay) -> None:
    """To the address that is on record, from nobody, with nothing of the message in it."""
    _, address, _ = known(stage)
    content = letter(address, "Change: telephone\nNew: +49 30 227 0\n")
    taken = take(answering, content)
    assert taken.answered
    path, message = relay.messages
    assert path.upper().startswith(b"MAIL FROM:<>")
    head, _, body = message.partition(b"\r\n\r\n")
    assert b"From: vault@company.example\r\n" in head
    assert f"To: {address}\r\n".encode() in head
    assert f"Message-ID: <{taken.reference}@company.example>\r\n".encode() in head
    assert b"In-Reply-To: <" in head
    assert b"Auto-Submitted: auto-replied\r\n" in head
    assert taken.reference.encode() in body
    for said in (b"227", b"telephone"):
        assert said not in message


def test_an_answer_needs_no_message_id(stage: Stage, answering: Intake, relay: Relay) -> None:
    """Nor repeats one that is no ASCII."""
    _, address, _ = known(stage)
    for message_id in (None, "<é@example.com>"):
        assert take(answering, letter(address, "Hi", message_id=message_id)).answered
        assert b"In-Reply-To" not in relay.messages[-1]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        (("Auto-Submitted: auto-generated",), "a@example.com"),
        (("List-Id: <x.example>",), "a@example.com"),
        (("Authentication-Results: mx.example; dmarc=fail",), "a@example.com"),
        ((), ""),
    ],
)
def test_who_is_not_answered(
    stage: Stage, answering: Intake, relay: Relay, fields: tuple[str, ...], path: str
) -> None:
    """Machines, and whoever's name somebody else has used."""
    _, address, _ = known(stage)
    told = rebuilt(answering, server="mx.example")
    assert not take(told, letter(address, "Hi", *fields), path=path).answered
    assert not take(told, letter(f"{name()}@example.com")).answered
    assert relay.messages == []


def test_an_address_in_other_letters_is_not_answered(
    stage: Stage, answering: Intake, relay: Relay
) -> None:
    """It would need a relay that takes them."""
    address = f"älice-{name()}@example.com"
    holding(stage, address)
    taken = take(answering, letter(address))
    assert (taken.known, taken.answered, relay.messages) == (True, False, [])


def test_a_sender_gets_few_answers(stage: Stage, intake: Intake, relay: Relay) -> None:
    """In an hour; then again. And the count of senders is bounded."""
    now = [0.0]
    sender = MailRelay(f"smtp://127.0.0.1:{relay.port}", step=5)
    answers = MailAnswers(relay=sender, sender=SENDER, clock=lambda: now[0])
    told = rebuilt(intake, answers=answers)
    _, address, _ = known(stage)

    def answered(who: str = address) -> bool:
        return take(told, letter(who)).answered

    assert [answered() for _ in range(4)] == [True, True, True, False]
    now[0] = mail_answers.WINDOW_SECONDS + 1
    assert answered()
    _, other, _ = known(stage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mail_answers, "_SENDERS", 1)
        assert not answered(other)
        assert answered()
        now[0] *= 3
        assert answered(other)


def test_a_relay_that_is_away_has_the_message_come_again(
    stage: Stage, answering: Intake, relay: Relay
) -> None:
    """It is here, and answered once it comes again: no address waits anywhere in clear."""
    _, address, _ = known(stage)
    content = letter(address)
    relay.code = 451
    assert refusal(lambda: take(answering, content)).code == "relay_unavailable"
    relay.code = 250
    again = take(answering, content)
    assert (again.repeated, again.answered) == (True, True)


def test_a_relay_that_refuses_ends_it(stage: Stage, answering: Intake, relay: Relay) -> None:
    """The message is here all the same."""
    _, address, _ = known(stage)
    relay.code = 550
    taken = take(answering, letter(address))
    assert (taken.answered, len(changes(stage, taken))) == (False, 1)
