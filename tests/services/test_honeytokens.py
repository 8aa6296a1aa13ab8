"""F8: whoever touches a honeytoken has lost the key, and an alarm is raised, before the answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from keys.errors import Outage, VaultUnavailable
from tests.support.mail import letter, use
from tests.support.whole import (
    NOWHERE,
    Stage,
    caller_of,
    card,
    draft,
    name,
    numbers,
    present,
    refusal,
)
from vault_service.errors import Forbidden, InvalidInput, NotAuthenticated, NotFound, Unavailable
from vault_service.ledger.entries import Entry, Event
from vault_service.services.authentication import Shown
from vault_service.services.context import Caller
from vault_service.services.holds import HoldDraft
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.intake import Incoming
from vault_service.services.proposals import ModificationDraft
from vault_service.services.tokenization import TokenizeItem
from vault_service.services.views import IssuedKey

VALUE = numbers(1, start=88_001)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """A marked customer with a record."""

    customer: str
    token: str


def guards(stage: Stage) -> list[Honeytokens]:
    """The guard of each part of the process."""
    return [
        stage.customers._honeytokens,
        stage.reveals._honeytokens,
        stage.disclosures._honeytokens,
        stage.reading._honeytokens,
    ]


def forget(stage: Stage) -> None:
    """Have every guard read the marks at its next look."""
    for guard in guards(stage):
        guard._read = None


@pytest.fixture
def trap(stage: Stage) -> Iterator[Trap]:
    """A customer that an officer marked, with all records."""
    customer = stage.customer()
    token = stage.card(customer, VALUE)
    assert stage.honeytokens.plant(stage.caller("officer-1"), [customer]) == 2
    forget(stage)
    yield Trap(customer=customer, token=token)
    stage.sql("DELETE FROM honeytokens")
    forget(stage)


@pytest.fixture
def thief(stage: Stage) -> IssuedKey:
    """A key of support that somebody took."""
    return stage.principals.create(stage.caller("operator"), name=name("t"), roles=["support"])


def authenticate(stage: Stage, issued: IssuedKey) -> Caller:
    """A request with a key."""
    return stage.services.authentication.authenticate(
        Shown(
            authorization=f"Bearer {issued.key}",
            request_id="req_" + "0" * 26,
            address="192.0.2.7",
            deadline=time.monotonic() + 30,
        )
    )


def of(entries: list[Entry], event: Event) -> list[Entry]:
    """The entries of one event."""
    return [entry for entry in entries if entry.event is event]


def give(stage: Stage, caller: Caller, trap: Trap) -> object:
    """Say that a stranger's message was the marked customer's."""
    token = use(stage).take(Incoming(content=letter(f"{name()}@example.com"))).reference
    waiting = present(stage.services.unassigned)
    page = waiting.page(stage.caller("support"), cursor=None, limit=100)
    (change,) = [each.modification for each in page.items if each.message.id == token]
    return waiting.assign(caller, change, trap.customer)


TOUCHES: list[Callable[[Stage, Caller, Trap], Any]] = [
    lambda stage, caller, trap: stage.reading.get(caller, trap.token),
    lambda stage, caller, trap: stage.reading.page(
        caller, customer=trap.customer, data_class=None, cursor=None, limit=10
    ),
    lambda stage, caller, _: stage.reading.search(
        caller, data_class="payment_card", values=["4242424242424242", VALUE]
    ),
    lambda stage, caller, trap: stage.customers.profile(caller, trap.customer),
    lambda stage, caller, trap: stage.reading.versions(caller, trap.token),
    lambda stage, caller, trap: present(stage.services.modifications).open(
        caller, [ModificationDraft(customer=trap.customer, ticket="T")]
    ),
    give,
]
TOUCHED: list[str] = ["get", "page", "search", "profile", "versions", "change", "give"]


@pytest.mark.parametrize("touch", TOUCHES, ids=TOUCHED)
def test_f8_a_touch_raises_the_alarm_and_ends_the_key(
    stage: Stage, trap: Trap, thief: IssuedKey, touch: Callable[[Stage, Caller, Trap], Any]
) -> None:
    """The answer is as always; the next request with that key is refused."""
    caller = replace(authenticate(stage, thief), address="192.0.2.7")
    began = time.monotonic()
    with stage.told(Event.ALARM_RAISED, Event.CREDENTIAL_REVOKED) as told:
        assert touch(stage, caller, trap)
    assert time.monotonic() - began < 5
    (alarm,) = of(told, Event.ALARM_RAISED)
    assert (alarm.reason, alarm.details["severity"]) == ("honeytoken_touched", "critical")
    assert (alarm.principal, alarm.key) == (thief.principal.id, thief.id)
    assert alarm.customer == trap.customer or alarm.tokens == (trap.token,)
    assert alarm.origin.address == "192.0.2.7"
    (revoked,) = of(told, Event.CREDENTIAL_REVOKED)
    assert (revoked.principal, revoked.key) == (thief.principal.id, thief.id)
    error = refusal(lambda: authenticate(stage, thief), NotAuthenticated)
    assert error.code == "credential_revoked"


def test_f8_a_request_under_way_raises_it_again(stage: Stage, trap: Trap, thief: IssuedKey) -> None:
    """Two at once: both are told of; the key is revoked once."""
    caller = authenticate(stage, thief)
    with stage.told(Event.ALARM_RAISED, Event.CREDENTIAL_REVOKED) as told:
        stage.reading.get(caller, trap.token)
        stage.reading.get(caller, trap.token)
    assert len(of(told, Event.ALARM_RAISED)) == 2
    assert len(of(told, Event.CREDENTIAL_REVOKED)) == 1


def requester(stage: Stage) -> IssuedKey:
    """A key of a requester, confirmed."""
    made = stage.principals.create(stage.caller("operator"), name=name("r"), roles=["requester"])
    stage.principals.confirm_key(stage.caller("officer-1"), made.principal.id, made.id)
    return made


def test_f8_an_attempt_to_reveal_is_a_touch_and_reveals_nothing(stage: Stage, trap: Trap) -> None:
    """Whatever else is wrong with it, and even with a good grant."""
    for proof in (None, "nonsense"):
        issued = requester(stage)
        caller = caller_of(issued)
        with stage.told(Event.ALARM_RAISED, Event.REVEAL_REFUSED) as told:
            error = refusal(
                lambda c=caller, p=proof: stage.reveals.submit(  # type: ignore[misc]
                    c, disclosure_token=p, tokens=[trap.token], fields=None
                ),
                NotFound,
            )
        assert error.code == "token_not_found"
        assert [entry.event for entry in told].count(Event.ALARM_RAISED) == 1
        assert of(told, Event.REVEAL_REFUSED)[0].reason == "token_not_found"
        refusal(lambda i=issued: authenticate(stage, i), NotAuthenticated)  # type: ignore[misc]


@pytest.mark.parametrize("by_customer", [False, True])
def test_f8_to_ask_for_a_disclosure_is_a_touch(
    stage: Stage, trap: Trap, *, by_customer: bool
) -> None:
    """By token or by customer; the request is made as any other, and goes nowhere."""
    issued = requester(stage)
    asked = draft(trap.token)
    if by_customer:
        asked = replace(asked, tokens=None, customer=trap.customer, classes=("payment_card",))
    with stage.told(Event.ALARM_RAISED) as told:
        stage.disclosures.create(caller_of(issued), asked, is_draft=True)
    assert len(told) == 1
    refusal(lambda: authenticate(stage, issued), NotAuthenticated)


def test_f8_to_explain_is_a_touch(stage: Stage, trap: Trap) -> None:
    """Who asks what would be allowed learns that it is there."""
    issued = requester(stage)
    with stage.told(Event.ALARM_RAISED) as told:
        assert stage.disclosures.explain(caller_of(issued), draft(trap.token)).ground
    assert len(told) == 1
    refusal(lambda: authenticate(stage, issued), NotAuthenticated)


NAMED: dict[str, Callable[[Stage, Caller, str], Any]] = {
    "notice": lambda stage, caller, customer: present(stage.services.notices).make(
        caller, customer
    ),
    "place": lambda stage, caller, customer: stage.holds.place(
        caller, HoldDraft(customer=customer, reason="r", reference="f")
    ),
    "holds": lambda stage, caller, customer: stage.holds.page(
        caller, customer=customer, cursor=None, limit=1
    ),
    "erase": lambda stage, caller, customer: stage.erasures.request(caller, customer),
    "confirm": lambda stage, caller, customer: refusal(
        lambda: stage.erasures.confirm(caller, customer), NotFound
    ),
    "erasure": lambda stage, caller, customer: refusal(
        lambda: stage.erasures.get(caller, customer), NotFound
    ),
}


@pytest.mark.parametrize("touch", NAMED.values(), ids=NAMED)
def test_f8_an_officer_who_names_a_marked_customer_touches_it(
    stage: Stage, trap: Trap, touch: Callable[[Stage, Caller, str], Any]
) -> None:
    """Keys of officers are stolen too; a page of all holds names nobody and costs nobody his."""
    made = stage.principals.create(stage.caller("operator"), name=name("o"), roles=["officer"])
    stage.principals.confirm_key(stage.caller("officer-1"), made.principal.id, made.id)
    with stage.told(Event.ALARM_RAISED) as told:
        stage.holds.page(authenticate(stage, made), customer=None, cursor=None, limit=100)
        stage.erasures.page(authenticate(stage, made), cursor=None, limit=100)
        assert told == []
        assert touch(stage, authenticate(stage, made), trap.customer)
    assert [(entry.customer, entry.key) for entry in told] == [(trap.customer, made.id)]
    refusal(lambda: authenticate(stage, made), NotAuthenticated)


def test_what_is_not_marked_is_no_touch(stage: Stage, trap: Trap, thief: IssuedKey) -> None:
    """Honest work beside a trap goes on; what is not there touches nothing."""
    assert trap.token
    caller = authenticate(stage, thief)
    token = stage.card(stage.customer())
    with stage.told(Event.ALARM_RAISED) as told:
        stage.reading.get(caller, token)
        refusal(lambda: stage.reading.get(caller, NOWHERE), NotFound)
    assert told == []
    authenticate(stage, thief)


def test_nothing_that_the_database_holds_tells_what_is_marked(stage: Stage, trap: Trap) -> None:
    """The rows of a trap are like any others, and a mark is no plain hash of a name."""
    import hashlib

    marks = {bytes(row[0]) for row in stage.sql("SELECT mark FROM honeytokens")}
    for text in (trap.token, trap.customer):
        for algorithm in ("md5", "sha1", "sha256", "sha512"):
            assert hashlib.new(algorithm, text.encode()).digest()[:16] not in marks
    dump = b"".join(
        bytes(row[0]) for row in stage.sql("SELECT convert_to(h::text, 'UTF8') FROM honeytokens h")
    ).decode()
    assert trap.token not in dump
    assert trap.customer not in dump
    with stage.told() as told:
        stage.honeytokens.plant(stage.caller("officer-1"), [trap.token])
    assert of(told, Event.HONEYTOKENS_PLANTED)[0].tokens == ()


def test_marks_are_planted_lifted_and_counted(stage: Stage, trap: Trap, thief: IssuedKey) -> None:
    """By officers; to lift one is an alarm, and makes the record an ordinary one."""
    officer = stage.caller("officer-2")
    assert stage.honeytokens.count(officer) == 2
    assert stage.honeytokens.plant(officer, [trap.token]) == 0
    with stage.told() as told:
        assert stage.honeytokens.lift(officer, [trap.customer, trap.token]) == 2
    assert [entry.count for entry in of(told, Event.HONEYTOKENS_LIFTED)] == [2]
    assert [entry.reason for entry in of(told, Event.ALARM_RAISED)] == ["honeytoken_lifted"]
    assert stage.honeytokens.count(officer) == 0
    assert stage.honeytokens.lift(officer, [trap.token]) == 0
    forget(stage)
    stage.reading.get(authenticate(stage, thief), trap.token)
    authenticate(stage, thief)
    assert stage.honeytokens.plant(officer, [trap.token]) == 1


def test_a_customer_with_many_records_is_marked_whole(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page after page."""
    from vault_service.services import honeytokens

    monkeypatch.setattr(honeytokens, "_PAGE", 2)
    customer = stage.customer()
    stage.tokenize(
        *(
            TokenizeItem(data_class="payment_card", customer=customer, value=card(number))
            for number in numbers(5, start=89_000)
        ),
        batch=True,
    )
    assert stage.honeytokens.plant(stage.caller("officer-1"), [customer]) == 6
    stage.sql("DELETE FROM honeytokens")


def test_only_officers_and_only_what_is_there(stage: Stage, trap: Trap) -> None:
    """An operator is to be found out like anybody else."""
    for who in ("operator", "support", "requester", "auditor"):
        refusal(lambda w=who: stage.honeytokens.plant(stage.caller(w), [trap.token]), Forbidden)  # type: ignore[misc]
        refusal(lambda w=who: stage.honeytokens.count(stage.caller(w)), Forbidden)  # type: ignore[misc]
    officer = stage.caller("officer-1")
    refusal(lambda: stage.honeytokens.plant(officer, []), InvalidInput)
    refusal(lambda: stage.honeytokens.plant(officer, ["x"]), InvalidInput)
    refusal(lambda: stage.honeytokens.plant(officer, ["cus_x"]), InvalidInput)
    refusal(lambda: stage.honeytokens.plant(officer, [trap.token, NOWHERE]), NotFound)
    refusal(lambda: stage.honeytokens.lift(officer, [NOWHERE]), NotFound)


def test_without_the_database_there_is_no_answer(
    stage: Stage, trap: Trap, thief: IssuedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A touch that cannot be told of is not answered."""
    caller = authenticate(stage, thief)
    guard = stage.reading._honeytokens
    stage.reading.get(stage.caller("support"), stage.card(stage.customer()))  # marks are known now

    def gone(*_: object, **__: object) -> None:
        raise Unavailable("gone", code="database_unavailable")

    monkeypatch.setattr(guard._alarms, "raise_in", gone)
    refusal(lambda: stage.reading.get(caller, trap.token), Unavailable)
    authenticate(stage, thief)  # the whole transaction is undone


class Clock:
    """A clock that is told the time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


class Vault:
    """The guard key of the real Vault, or an outage."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.asked = 0
        self.away = False

    def hmac(self, key: str, inputs: Any, *, key_version: int | None = None) -> Any:
        """Ask, unless Vault is away."""
        self.asked += 1
        if self.away:
            raise VaultUnavailable(reason=Outage.SEALED)
        return self.real.hmac(key, inputs, key_version=key_version)


def own(stage: Stage) -> tuple[Honeytokens, Vault, Clock]:
    """A guard of a process that has just started."""
    first = stage.reading._honeytokens
    vault, clock = Vault(first._vault), Clock()
    guard = Honeytokens(
        uow=first._uow, vault=vault, audit=first._audit, alarms=first._alarms, clock=clock
    )
    return guard, vault, clock


def test_marks_are_read_anew_after_two_seconds_and_the_key_once(stage: Stage, trap: Trap) -> None:
    """Other processes hear of a mark before five seconds are over, and ask Vault once."""
    guard, vault, clock = own(stage)
    caller = stage.caller("support")
    token = stage.card(stage.customer(), VALUE)
    assert not guard.look(caller, [token])
    stage.honeytokens.plant(stage.caller("officer-1"), [token])
    clock.now = 1.9
    assert not guard.look(caller, [token])
    clock.now = 2.1
    assert guard._marked(token) is False
    guard._refresh()
    assert guard._marked(token)
    assert guard._marked(trap.token)
    assert vault.asked == 1


def test_without_marks_vault_is_not_asked(stage: Stage) -> None:
    """A vault that has none pays nothing."""
    stage.sql("DELETE FROM honeytokens")
    guard, vault, _ = own(stage)
    assert not guard.look(stage.caller("support"), [NOWHERE])
    assert vault.asked == 0


def test_a_guard_without_a_key_says_so_and_masked_reads_go_on(stage: Stage, trap: Trap) -> None:
    """It asks again after half a minute, and not at every read."""
    stage.sql("DELETE FROM alarms WHERE name = 'honeytoken_guard_blind'")
    guard, vault, clock = own(stage)
    vault.away = True
    caller = stage.caller("support")
    with stage.told(Event.ALARM_RAISED) as told:
        assert not guard.look(caller, [trap.token])
        clock.now = 10.0
        assert not guard.look(caller, [trap.token])
    assert [entry.reason for entry in told] == ["honeytoken_guard_blind"]
    assert vault.asked == 1
    vault.away, clock.now = False, 31.0
    guard._refresh()
    assert guard._marked(trap.token)


def test_one_reads_the_marks_and_the_others_do_not_wait(stage: Stage, trap: Trap) -> None:
    """They look at what was there; only a process that knows nothing yet waits."""
    guard, _, clock = own(stage)
    guard._refresh()
    clock.now = 3.0
    with guard._lock:
        done = threading.Thread(target=guard._refresh)
        done.start()
        done.join(5)
        assert not done.is_alive()
    assert guard._read == 0.0
    guard._read = None
    with guard._lock:
        waiting = threading.Thread(target=guard._refresh)
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        guard._read = clock.now  # somebody else has read them
    waiting.join(5)
    assert not waiting.is_alive()
    assert guard._marked(trap.token)
