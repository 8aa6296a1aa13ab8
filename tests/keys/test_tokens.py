"""A token is got once, renewed in time, replaced when dead, and an interception is an alarm."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from keys import spool
from keys.answers import Auth, Forbidden
from keys.errors import (
    KeysError,
    Outage,
    SecretIdIntercepted,
    SecretIdMissing,
    VaultDenied,
    VaultRefused,
    VaultUnavailable,
)
from keys.link import NeverSent
from keys.retry import Deadline
from keys.secret import Secret
from keys.spool import Spool
from keys.tokens import FixedToken, Tokens
from tests.keys.support import World

PATH = "auth/approle/role/ingest/secret-id"
LEASE = 3600


class Clock:
    """Seconds that pass when told."""

    now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class Scripted:
    """The requests of a token's life, answered as told: a value, or an error to raise."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.path: str | KeysError = PATH
        self.secret_id: Secret | KeysError = Secret(b"sid")
        self.lease: int | KeysError = LEASE
        self.renewal: int | KeysError = LEASE
        self.alive: bool | KeysError = False
        self.gate: Callable[[], object] = lambda: None

    def _told(self, name: str, answer: object) -> object:
        self.calls.append(name)
        self.gate()
        if isinstance(answer, KeysError):
            raise answer
        return answer

    def wrapping_path(self, wrapping_token: Secret, until: Deadline) -> str:
        """Step 2."""
        assert wrapping_token
        assert until
        return str(self._told("lookup", self.path))

    def unwrap_secret_id(self, wrapping_token: Secret, until: Deadline) -> Secret:
        """Step 3."""
        assert wrapping_token
        assert until
        answer = self._told("unwrap", self.secret_id)
        assert isinstance(answer, Secret)
        return answer

    def log_in(self, role_id: str, secret_id: Secret, until: Deadline) -> Auth:
        """Step 4."""
        assert role_id == "ingest"
        assert secret_id.equals(b"sid")
        assert until
        lease = self._told("login", self.lease)
        assert isinstance(lease, int)
        return Auth(client_token=f"t{self.calls.count('login')}", lease_duration=lease)

    def renew(self, token: str, until: Deadline) -> Auth:
        """Prolong."""
        assert until
        lease = self._told("renew", self.renewal)
        assert isinstance(lease, int)
        return Auth(client_token=token, lease_duration=lease)

    def is_alive(self, token: str, until: Deadline) -> bool:
        """Ask."""
        assert token
        assert until
        return bool(self._told("alive", self.alive))


class Minter:
    """Makes up wrapping tokens."""

    def wrapped_secret_id(self, role: str, _ttl: timedelta) -> tuple[str, Secret]:
        """One."""
        return role, Secret(b"w")


class Life:
    """A token's life under a scripted Vault and a clock."""

    def __init__(self, folder: Path, spooled: int = 5) -> None:
        self.door = Scripted()
        self.clock = Clock()
        self.events: list[str] = []
        self.folder = folder
        spool.issue(Minter(), "ingest", folder, spooled)
        self.tokens = Tokens(
            self.door,
            Spool(folder, "ingest"),
            creation_path=PATH,
            observe=self.events.append,
            clock=self.clock,
        )

    def current(self) -> str:
        """A token."""
        return self.tokens.current(Deadline(2))

    def left(self) -> list[str]:
        """What lies in the spool."""
        return sorted(path.suffix for path in (self.folder / "ingest").iterdir())


@pytest.fixture
def life(folder: Path) -> Life:
    """A life with five secret-ids."""
    return Life(folder)


def test_a_login_is_made_once_and_used(life: Life) -> None:
    """One secret-id, one token, for every call."""
    assert life.tokens.peek() is None
    assert {life.current() for _ in range(5)} == {"t1"}
    assert life.door.calls == ["lookup", "unwrap", "login"]
    assert life.left() == [".json"] * 4
    assert life.events == ["login"]
    assert life.tokens.peek() == "t1"
    assert "t1" not in repr(life.tokens._token)


def test_concurrent_callers_log_in_once(life: Life) -> None:
    """Sixteen callers at the start spend one secret-id."""
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: life.current(), range(16))) == {"t1"}
    assert life.door.calls.count("login") == 1


def test_a_token_is_renewed_at_two_thirds_of_its_life(life: Life) -> None:
    """Not before, and then once."""
    life.current()
    life.clock.now += LEASE * 2 / 3 - 1
    life.current()
    assert "renew" not in life.door.calls
    life.clock.now += 1
    assert [life.current(), life.current()] == ["t1", "t1"]
    assert life.door.calls.count("renew") == 1
    assert life.events == ["login", "renewal"]


def test_others_go_on_while_one_renews(life: Life) -> None:
    """A renewal in progress holds nobody up."""
    life.current()
    life.clock.now += LEASE * 0.7
    inside, go = threading.Event(), threading.Event()
    life.door.gate = lambda: inside.set() or go.wait(10)  # type: ignore[func-returns-value]
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(life.current)
        assert inside.wait(10)
        assert life.current() == "t1"
        go.set()
        assert renewing.result(10) == "t1"
    assert life.door.calls.count("renew") == 1


def test_a_failed_renewal_is_tried_again_later(life: Life) -> None:
    """The token still lives; the next try comes after a pause."""
    life.current()
    life.door.renewal = VaultUnavailable()
    life.clock.now += LEASE * 0.7
    assert [life.current(), life.current()] == ["t1", "t1"]
    assert life.door.calls.count("renew") == 1
    life.clock.now += 6
    life.door.renewal = LEASE
    life.current()
    assert life.door.calls.count("renew") == 2


def test_a_refused_renewal_is_followed_by_a_login(life: Life) -> None:
    """The token died or may not be renewed: the next call has a new one."""
    life.current()
    life.door.renewal = Forbidden()
    life.clock.now += LEASE * 0.7
    life.current()
    assert life.current() == "t2"


def test_a_refused_renewal_does_not_undo_a_login_made_meanwhile(life: Life) -> None:
    """A newer token stays."""
    life.current()
    old = life.tokens._token
    assert old is not None
    life.door.alive = False
    assert life.tokens.refused("t1", Deadline(2)) == "t2"
    life.door.renewal = Forbidden()
    life.tokens._renew(old, Deadline(2))
    assert life.current() == "t2"


def test_a_worn_token_is_replaced_before_it_ends(life: Life) -> None:
    """When a renewal grants little, the longest life is near: log in while the old one serves."""
    life.current()
    life.door.renewal = LEASE // 4
    life.clock.now += LEASE * 0.7
    assert life.current() == "t2"


def test_a_worn_token_serves_on_without_secret_ids(folder: Path) -> None:
    """No secret-id, no replacement; the old token is used to its end."""
    life = Life(folder, spooled=1)
    life.current()
    life.door.renewal = LEASE // 4
    life.clock.now += LEASE * 0.7
    assert life.current() == "t1"
    assert life.current() == "t1"
    assert life.door.calls.count("renew") == 1
    life.clock.now += LEASE // 4
    with pytest.raises(SecretIdMissing):
        life.current()


def test_an_expired_token_is_replaced_without_a_request_with_it(life: Life) -> None:
    """An idle service does not try a token that it knows is dead."""
    life.current()
    life.clock.now += LEASE
    assert life.current() == "t2"
    assert "renew" not in life.door.calls


def test_a_token_without_end_is_never_renewed(life: Life) -> None:
    """A lease of nothing is a token that stays."""
    life.door.lease = 0
    life.current()
    life.clock.now += 10**9
    assert life.current() == "t1"
    assert "renew" not in life.door.calls


def test_a_refused_token_that_is_dead_is_replaced(life: Life) -> None:
    """403 with a dead token: one login."""
    life.current()
    assert life.tokens.refused("t1", Deadline(2)) == "t2"
    assert life.tokens.refused("t1", Deadline(2)) == "t2"  # somebody else had logged in
    assert life.door.calls.count("login") == 2


def test_a_refused_token_that_lives_is_a_denial_and_spends_nothing(life: Life) -> None:
    """403 with a living token: the path is denied, and no secret-id is spent on it."""
    life.current()
    life.door.alive = True
    for _ in range(3):
        with pytest.raises(VaultDenied):
            life.tokens.refused("t1", Deadline(2))
    assert life.left() == [".json"] * 4


@pytest.mark.parametrize("error", [VaultRefused(), Forbidden()])
def test_c7_a_used_wrapping_token_is_an_alarm(
    life: Life, error: KeysError, caplog: pytest.LogCaptureFixture
) -> None:
    """Vault does not know the wrapping token: somebody else unwrapped it."""
    life.door.path = error
    with caplog.at_level(logging.CRITICAL), pytest.raises(SecretIdIntercepted):
        life.current()
    assert life.events == ["secret_id_intercepted"]
    assert life.left() == [".intercepted"] + [".json"] * 4
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]


def test_c7_a_substituted_wrapping_token_is_an_alarm(life: Life) -> None:
    """Made elsewhere than by the role's endpoint: unwrapped and wrapped again."""
    life.door.path = "sys/wrapping/wrap"
    with pytest.raises(SecretIdIntercepted):
        life.current()
    assert "unwrap" not in life.door.calls


def test_c7_a_token_used_between_lookup_and_unwrap_is_an_alarm(life: Life) -> None:
    """The last moment counts too."""
    life.door.secret_id = VaultRefused()
    with pytest.raises(SecretIdIntercepted):
        life.current()
    assert "login" not in life.door.calls


def test_after_an_alarm_the_next_secret_id_is_tried(life: Life) -> None:
    """One interception does not stop the service for good."""
    life.door.path = VaultRefused()
    with pytest.raises(SecretIdIntercepted):
        life.current()
    life.door.path = PATH
    assert life.current() == "t1"


@pytest.mark.parametrize(
    ("step", "error", "left"),
    [
        ("path", VaultUnavailable(), 5),  # looked up only: the secret-id is as good as before
        ("secret_id", NeverSent(), 5),  # certainly not unwrapped
        ("secret_id", VaultUnavailable(reason=Outage.SLOW), 4),  # perhaps unwrapped: lost
        ("lease", VaultUnavailable(), 4),  # unwrapped: lost
    ],
)
def test_outages_spend_no_more_than_they_must(
    life: Life, step: str, error: KeysError, left: int
) -> None:
    """A Vault that is away does not eat the spool."""
    setattr(life.door, step, error)
    with pytest.raises(VaultUnavailable):
        life.current()
    assert life.left() == [".json"] * left
    assert life.events == []


@pytest.mark.parametrize("error", [VaultRefused(), Forbidden()])
def test_a_refused_login_is_a_denial(life: Life, error: KeysError) -> None:
    """A wrong or spent secret-id."""
    life.door.lease = error
    with pytest.raises(VaultDenied):
        life.current()
    assert life.left() == [".json"] * 4


def test_a_failed_login_is_shared_by_who_waited(life: Life) -> None:
    """Ten callers, one try, ten errors of their own."""
    inside, go, arrived = threading.Event(), threading.Event(), threading.Semaphore(0)
    life.door.gate = lambda: inside.set() or go.wait(10)  # type: ignore[func-returns-value]
    life.door.path = VaultUnavailable(reason=Outage.SEALED)

    class Counting(Deadline):
        def remaining(self) -> float:  # asked for when starting to wait for the login
            arrived.release()
            return super().remaining()

    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(life.current)
        assert inside.wait(10)
        others = [pool.submit(life.tokens.current, Counting(10)) for _ in range(9)]
        for _ in range(9):
            assert arrived.acquire(timeout=10)
        life.clock.now += 1
        go.set()
        errors = [future.exception(10) for future in (first, *others)]
    assert life.door.calls == ["lookup"]
    assert {type(error) for error in errors} == {VaultUnavailable}
    assert len({id(error) for error in errors}) == 10


def test_waiting_for_a_login_ends_with_the_deadline(life: Life) -> None:
    """A login that hangs does not hold others longer than their own time."""
    with life.tokens._login_lock, pytest.raises(VaultUnavailable) as caught:
        life.tokens.current(Deadline(0.05))
    assert caught.value.reason is Outage.SLOW


def test_a_given_token_is_never_replaced() -> None:
    """Administration has its token from outside."""
    fixed = FixedToken(Secret(b"root"))
    assert fixed.current(Deadline(1)) == "root"
    with pytest.raises(VaultDenied):
        fixed.refused("root", Deadline(1))


def raw(world: World, path: str, token: str, body: object = None) -> requests.Response:
    """A request of an attacker's own."""
    return requests.post(
        f"{world.place.address}/v1/{path}", json=body, headers={"X-Vault-Token": token}, timeout=10
    )


def stolen(world: World, role: str) -> tuple[Path, str, str]:
    """A spool file, its wrapping token, and the secret-id that an attacker unwrapped from it."""
    world.fill(role)
    claim = Spool(world.spool, role).claim()
    token = claim.wrapping_token.expose().decode()
    claim.put_back()
    answer = raw(world, "sys/wrapping/unwrap", token)
    return claim._ready, token, answer.json()["data"]["secret_id"]


def emptied(world: World, role: str) -> None:
    """Drop a role's spool."""
    for path in (world.spool / role).glob("*"):
        path.unlink()


def test_c7_a_second_unwrap_alarms_on_the_real_server(world: World) -> None:
    """The attacker unwrapped first; the service does not log in, and says so."""
    emptied(world, "review")
    events: list[str] = []
    transit = world.fresh("review", observe=events.append)
    stolen(world, "review")
    with pytest.raises(SecretIdIntercepted):
        transit.ready()
    assert "secret_id_intercepted" in events
    world.fill("review")
    transit.ready()


def test_c7_a_rewrapped_secret_id_alarms_on_the_real_server(world: World) -> None:
    """The attacker unwrapped, kept a copy, and wrapped the same secret-id again."""
    emptied(world, "review")
    transit = world.fresh("review")
    path, token, secret_id = stolen(world, "review")
    again = requests.post(
        f"{world.place.address}/v1/sys/wrapping/wrap",
        json={"secret_id": secret_id},
        headers={"X-Vault-Token": world.place.token, "X-Vault-Wrap-TTL": "600"},
        timeout=10,
    ).json()["wrap_info"]["token"]
    path.write_text(path.read_text().replace(token, again))
    with pytest.raises(SecretIdIntercepted):
        transit.ready()


def test_a_token_is_renewed_on_the_real_server(world: World) -> None:
    """The role may prolong its own token, and keeps it."""
    events: list[str] = []
    transit = world.fresh("inspect", observe=events.append)
    transit.ready()
    token = transit._tokens._token
    assert token is not None
    transit._tokens._token = replace(token, renew_at=0.0)
    transit.ready()
    assert events == ["login", "renewal"]
    assert transit._tokens.peek() == token.value
    assert transit._tokens._token.renew_at > token.renew_at


def test_c7_a_secret_id_logs_in_once_on_the_real_server(world: World) -> None:
    """Fact 9: a spent one is refused with 400."""
    emptied(world, "review")
    world.fresh("review")
    _, _, secret_id = stolen(world, "review")
    body = {"role_id": f"{world.place.prefix}review", "secret_id": secret_id}
    assert raw(world, "auth/approle/login", "", body).status_code == 200
    assert raw(world, "auth/approle/login", "", body).status_code == 400
