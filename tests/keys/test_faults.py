"""C2 and C6: each fault of Vault has its error within 3 s, and ends without a restart of ours."""

from __future__ import annotations

import base64
import http.client
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from keys.answers import BatchAnswer
from keys.errors import KeyNotReady, Outage, SecretIdMissing, VaultDenied, VaultRefused
from keys.errors import VaultUnavailable as Unavailable
from keys.secret import Secret
from keys.transit import PARTS_AT_ONCE, Transit
from tests.keys.support import (
    FakeVault,
    Relay,
    Reply,
    Request,
    World,
    at_fake,
    fake_vault,
    world_at,
)
from tests.support.servers import VaultServer, fresh_mount
from vault_service.embedded.vault import Vault

KEY = Secret(b"k" * 32)
WORD = "not-for-any-log"
GOOD = Reply.of({"data": {"batch_results": [{"ciphertext": "vault:v1:AAAA"}]}})


def encrypt(transit: Transit) -> list[str]:
    """One ordinary operation."""
    return transit.encrypt("records-card", [KEY])


@contextmanager
def within_three_seconds() -> Iterator[None]:
    """The service's promise."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 3.0


def outage(work: Callable[[], object]) -> Unavailable:
    """The error that a fault must end in, in time."""
    with within_three_seconds(), pytest.raises(Unavailable) as caught:
        work()
    assert caught.value.retry_after > 0
    assert WORD not in str(caught.value)
    return caught.value


def recovers(work: Callable[[], object], seconds: float = 3.0) -> None:
    """The same connection works again, shortly after the fault is over."""
    until = time.monotonic() + seconds
    while True:
        try:
            work()
        except Unavailable:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return


SETTINGS: dict[str, object] = {
    **dict.fromkeys(("name", "type"), "ed25519"),
    **dict.fromkeys(("latest_version", "min_decryption_version", "min_encryption_version"), 1),
    **dict.fromkeys(("exportable", "allow_plaintext_backup", "deletion_allowed"), False),
}

FAULTS: dict[str, tuple[Reply, Outage]] = {
    "redirecting": (Reply(307, headers={"Location": "http://127.0.0.1:9/"}), Outage.REDIRECTED),
    "sealed": (Reply.errors(503, "Vault is sealed"), Outage.SEALED),
    "audit full": (Reply.errors(500, f"failed to audit {WORD}"), Outage.FAILING),
    "gateway": (Reply(502, WORD.encode()), Outage.FAILING),
    "json limit": (
        Reply.errors(400, "refused JSON input due to high complexity: exceeded maximum"),
        Outage.LIMITED,
    ),
    "body limit": (Reply.errors(413, WORD), Outage.LIMITED),
    "rate limit": (Reply.errors(429, WORD), Outage.LIMITED),
    "garbage": (Reply(200, WORD.encode()), Outage.UNREADABLE),
    "nested": (Reply(200, b"[" * 100_000), Outage.UNREADABLE),
    "other shape": (Reply.of({"data": {"batch_results": WORD}}), Outage.UNREADABLE),
    "empty": (Reply(200, b""), Outage.UNREADABLE),
    "too few results": (Reply.of({"data": {"batch_results": []}}), Outage.UNREADABLE),
    "huge": (Reply(200, b" " * (5 * 1024 * 1024)), Outage.UNREADABLE),
    "reset": (Reply(reset=True), Outage.UNREACHABLE),
    "cut off": (Reply(200, b'{"data"', length=500, reset=False), Outage.SLOW),
    "slow": (Reply(delay=5.0), Outage.SLOW),
    "dripping": (Reply(200, b" " * 400, drip=0.05), Outage.SLOW),
}


@pytest.mark.parametrize("name", FAULTS)
def test_c6_fault_table(fake: FakeVault, folder: Path, name: str) -> None:
    """The right error in time, nothing of the answer in it, and recovery by itself."""
    reply, reason = FAULTS[name]
    events: list[str] = []
    transit = at_fake(fake, folder, observe=events.append)
    fake.answer = lambda _: GOOD
    encrypt(transit)
    fake.answer = lambda _: reply
    error = outage(lambda: encrypt(transit))
    # While one waits for a slow Vault, the breaker may already answer for it.
    assert error.reason in (reason, Outage.BREAKER_OPEN)
    if name != "too few results":  # found above the adapter, which saw a good answer
        assert reason.value in events
    fake.answer = lambda _: GOOD
    recovers(lambda: encrypt(transit))
    assert fake.logins == 1
    transit.close()


def test_c6_unreachable(folder: Path) -> None:
    """Nobody listens."""
    with fake_vault() as gone:
        address = gone.address
    transit = at_fake(gone, folder, address=address)
    outage(lambda: encrypt(transit))
    assert len(list((folder / "ingest").glob("*.json"))) == 5  # no secret-id was spent on it


def test_a_failing_vault_is_left_alone_and_probed(fake: FakeVault, folder: Path) -> None:
    """After three failures in a row calls fail at once; a probe a second goes through."""
    transit = at_fake(fake, folder)
    fake.answer = lambda _: Reply(500)
    outage(lambda: encrypt(transit))
    asked = len(fake.asked("/encrypt/"))
    started = time.monotonic()
    for _ in range(50):
        assert outage(lambda: encrypt(transit)).reason is Outage.BREAKER_OPEN
    assert time.monotonic() - started < 0.5
    assert len(fake.asked("/encrypt/")) == asked == 3


def test_jobs_wait_for_vault(fake: FakeVault, folder: Path) -> None:
    """A long budget outlasts a short outage, the open breaker included."""
    transit = at_fake(fake, folder, budget=30.0)
    over = time.monotonic() + 1.5
    fake.answer = lambda _: GOOD if time.monotonic() > over else Reply(503)
    assert encrypt(transit) == ["vault:v1:AAAA"]


def test_one_deadline_for_a_call_of_many_requests(fake: FakeVault, folder: Path) -> None:
    """1,000 items are five requests and one budget."""
    transit = at_fake(fake, folder)
    results = [{"ciphertext": "vault:v1:AAAA"}] * 200
    fake.answer = lambda _: Reply.of({"data": {"batch_results": results}})
    assert len(transit.encrypt("records-card", [KEY] * 1000)) == 1000
    assert [len(r.json["batch_input"]) for r in fake.asked("/encrypt/")] == [200] * 5

    fake.answer = lambda _: Reply(delay=0.8, body=GOOD.body.replace(b"[", b"[" + b"{}, " * 199))
    with within_three_seconds(), pytest.raises((Unavailable, VaultRefused)):
        transit.encrypt("records-card", [KEY] * 1000)


def numbered(request: Request, *, slow: str, refused: str = "") -> Reply:
    """The number that stands in each ciphertext; the part that holds `slow` takes its time."""
    texts = [item["ciphertext"] for item in request.json["batch_input"]]
    if refused in texts:
        return Reply.errors(400, "no")
    results = [{"plaintext": base64.b64encode(text.encode()).decode()} for text in texts]
    reply = Reply.of({"data": {"batch_results": results}})
    reply.delay = 0.3 if slow in texts else 0.0
    return reply


def test_parts_of_a_batch_are_sent_together_and_answered_in_order(
    fake: FakeVault, folder: Path
) -> None:
    """A slow first part holds up no other, and its results come first all the same."""
    transit = at_fake(fake, folder)
    fake.answer = lambda request: numbered(request, slow="0")
    results = transit.decrypt("records-card", [str(n) for n in range(1001)])
    assert [each.expose() for each in results if isinstance(each, Secret)] == [
        str(n).encode() for n in range(1001)
    ]
    first = [request.json["batch_input"][0]["ciphertext"] for request in fake.asked("/decrypt/")]
    assert sorted(first, key=int) == ["0", "200", "400", "600", "800", "1000"]


def test_a_part_that_fails_ends_the_batch(fake: FakeVault, folder: Path) -> None:
    """Its error is the whole call's, and what has not been sent is not sent any more."""
    transit = at_fake(fake, folder)
    fake.answer = lambda request: numbered(request, slow="400", refused="200")
    with pytest.raises(VaultRefused):
        transit.decrypt("records-card", [str(n) for n in range(4000)])
    assert len(fake.asked("/decrypt/")) < 20


def test_a_batch_whose_time_is_over_is_not_sent(fake: FakeVault, folder: Path) -> None:
    """Parts that have waited behind others until nobody waits for them cost Vault nothing."""
    transit = at_fake(fake, folder)
    transit._budget = 0.0
    assert outage(lambda: encrypt(transit)).reason is Outage.SLOW
    assert fake.asked("/encrypt/") == []


def test_rotation_is_never_repeated(fake: FakeVault, folder: Path) -> None:
    """A lost answer may have rotated: whoever asked must look."""
    transit = at_fake(fake, folder)
    fake.answer = lambda _: Reply(reset=True)
    outage(lambda: transit.rotate("records-card"))
    assert len(fake.asked("/rotate")) == 1


def test_limits_are_not_repeated_and_do_not_open_the_breaker(fake: FakeVault, folder: Path) -> None:
    """Asking the same again is pointless, and others' requests are fine."""
    transit = at_fake(fake, folder)
    fake.answer = lambda _: Reply(413)
    for _ in range(5):
        assert outage(lambda: encrypt(transit)).reason is Outage.LIMITED
    assert len(fake.asked("/encrypt/")) == 5


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_c2_no_redirect_is_followed(fake: FakeVault, folder: Path, status: int) -> None:
    """Neither token nor body reaches a second host, on any verb."""
    with fake_vault() as other:
        transit = at_fake(fake, folder)
        to = {"Location": f"{other.address}/v1/transit/encrypt/records-card"}
        fake.answer = lambda _: Reply(status, headers=to)
        for work in (
            lambda: encrypt(transit),
            transit.ready,
            lambda: transit.rotate("ledger"),
            lambda: transit.read_key("ledger"),
        ):
            outage(work)
        assert fake.asked("/encrypt/")[0].headers["x-vault-token"] == "token-1"
        assert other.seen == []


@pytest.mark.parametrize("step", ["/wrapping/lookup", "/wrapping/unwrap", "/approle/login"])
def test_c2_no_redirect_of_a_login_is_followed(
    fake: FakeVault, folder: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secret-ids do not travel to a second host either."""
    login = FakeVault.login
    with fake_vault() as other:
        redirect = Reply(307, headers={"Location": other.address + "/v1/sys" + step})
        monkeypatch.setattr(
            FakeVault,
            "login",
            lambda self, request: redirect if step in request.path else login(self, request),
        )
        transit = at_fake(fake, folder)
        assert outage(lambda: encrypt(transit)).reason in (Outage.REDIRECTED, Outage.BREAKER_OPEN)
        assert other.seen == []


def test_c2_the_environment_is_not_obeyed(
    fake: FakeVault, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No proxy, no netrc, no VAULT_ variable: requests go where they were configured to go."""
    with fake_vault() as other:
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
        (tmp_path / ".vault-token").write_text("a-foreign-token")
        monkeypatch.setenv("HOME", str(tmp_path))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "VAULT_ADDR"):
            monkeypatch.setenv(name, other.address)
        monkeypatch.setenv("VAULT_TOKEN", "a-foreign-token")
        monkeypatch.setenv("VAULT_NAMESPACE", "elsewhere")
        transit = at_fake(fake, folder)
        fake.answer = lambda _: GOOD
        encrypt(transit)
        assert other.seen == []
        for request in fake.seen:
            assert request.headers.get("x-vault-token") != "a-foreign-token"
            assert "authorization" not in request.headers
            assert "x-vault-namespace" not in request.headers


def test_c6_expired_token_logs_in_again(fake: FakeVault, folder: Path) -> None:
    """Fact 9: 403 with a dead token is one login and one more try."""
    transit = at_fake(fake, folder)
    fake.answer = lambda r: GOOD if r.headers["x-vault-token"] == "token-2" else Reply(403)
    assert encrypt(transit) == ["vault:v1:AAAA"]
    assert fake.logins == 2


def test_c6_still_denied_after_a_login_is_a_denial(fake: FakeVault, folder: Path) -> None:
    """One login, one more try, then the alarm; never a loop."""
    transit = at_fake(fake, folder)
    fake.answer = lambda _: Reply(403)
    with pytest.raises(VaultDenied):
        encrypt(transit)
    assert fake.logins == 2
    assert len(fake.asked("/encrypt/")) == 2


def test_c6_a_denied_path_spends_no_secret_id(fake: FakeVault, folder: Path) -> None:
    """The token lives, so logging in again would help nothing."""
    transit = at_fake(fake, folder)
    fake.answer = lambda r: Reply() if "lookup-self" in r.path else Reply(403)
    for _ in range(5):
        with pytest.raises(VaultDenied):
            encrypt(transit)
    assert fake.logins == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply.errors(400, f"some words {WORD}"), VaultRefused),
        (Reply(400, WORD.encode()), VaultRefused),
        (Reply.errors(405, WORD), VaultRefused),
        (Reply.errors(404), KeyNotReady),
        (Reply.errors(400, "encryption key not found"), KeyNotReady),
    ],
)
def test_refusals_are_not_outages(
    fake: FakeVault, folder: Path, reply: Reply, error: type[Exception]
) -> None:
    """What Vault refuses is told apart from what it cannot do, and not tried again."""
    transit = at_fake(fake, folder)
    fake.answer = lambda _: reply
    for _ in range(4):
        with pytest.raises(error) as caught:
            encrypt(transit)
        assert WORD not in str(caught.value)
    assert len(fake.asked("/encrypt/")) == 4


@pytest.mark.parametrize(
    ("answer", "work"),
    [
        ({"data": {"batch_results": [{"error": WORD}]}}, encrypt),
        (
            {"data": {"batch_results": [{"error": WORD}]}},
            lambda transit: transit.hmac("fingerprint-request", [b"x"]),
        ),
        (
            {"data": {"batch_results": [{"signature": "vault:v1:AA"}, {"error": WORD}]}},
            lambda transit: transit.sign_many("disclosure-token", [b"x", b"y"]),
        ),
    ],
)
def test_a_failed_item_fails_what_must_be_whole(
    fake: FakeVault, folder: Path, answer: object, work: Callable[[Transit], object]
) -> None:
    """There is no use for half a batch of wrapped keys or fingerprints."""
    transit = at_fake(fake, folder)
    fake.answer = lambda _: Reply.of(answer)
    with pytest.raises(VaultRefused) as caught:
        work(transit)
    assert WORD not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "work"),
    [
        ({"signature": "vault:v1:***"}, lambda t: t.sign("ledger", b"m")),
        ({"signature": "ssh"}, lambda t: t.sign("ledger", b"m")),
        ({"batch_results": [{"hmac": "v1:AA"}]}, lambda t: t.hmac("ledger", [b"m"])),
        ({"batch_results": [{"plaintext": "***"}]}, lambda t: t.decrypt("ledger", ["c"])),
        ({"batch_results": [{"plaintext": "é"}]}, lambda t: t.decrypt("ledger", ["c"])),
    ],
)
def test_broken_contents_are_unreadable(
    fake: FakeVault, folder: Path, data: object, work: Callable[[Transit], object]
) -> None:
    """Well-formed JSON with something else inside is not taken for an answer."""
    transit = at_fake(fake, folder)
    fake.answer = lambda _: Reply.of({"data": data})
    assert outage(lambda: work(transit)).reason is Outage.UNREADABLE


@pytest.mark.parametrize("about", [{"public_key": 5}, {}, 17, {"public_key": "*"}])
def test_broken_public_keys_are_unreadable(fake: FakeVault, folder: Path, about: object) -> None:
    """A key that is not one does not become an empty list."""
    transit = at_fake(fake, folder)
    fake.answer = lambda _: Reply.of({"data": {**SETTINGS, "keys": {"1": about}}})
    assert outage(lambda: transit.public_keys("ledger")).reason is Outage.UNREADABLE


def test_versions_without_times_are_no_error(fake: FakeVault, folder: Path) -> None:
    """Key types that tell no times have none."""
    transit = at_fake(fake, folder)
    fake.answer = lambda _: Reply.of({"data": {**SETTINGS, "keys": {"1": {}, "2": 1}}})
    assert list(transit.read_key("ledger").created) == [2]


@pytest.mark.parametrize("name", ["../sys/seal", "a/b", "", "A", "a?b", "-a", "a" * 64])
def test_odd_names_reach_no_url(fake: FakeVault, folder: Path, name: str) -> None:
    """A key's name cannot walk the API."""
    transit = at_fake(fake, folder)
    with pytest.raises(ValueError, match="name"):
        transit.encrypt(name, [KEY])
    with pytest.raises(ValueError, match="mount"):
        at_fake(fake, folder, mount=f"{name}/..")
    assert fake.seen == []


def test_nothing_sensitive_travels_as_a_number(fake: FakeVault, folder: Path) -> None:
    """Fact 11: audit devices hash strings and log numbers in clear."""
    transit = at_fake(fake, folder)
    fake.answer = lambda _: GOOD
    encrypt(transit)
    transit.decrypt("records-card", ["vault:v1:AAAA"])
    for request in fake.asked("/transit/"):
        for item in request.json["batch_input"]:
            assert all(isinstance(value, str) for value in item.values())
            assert not {"associated_data", "context", "nonce"} & set(item)  # facts 1 and 14


def test_requests_are_not_logged_with_content(
    fake: FakeVault, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Even at DEBUG, logs hold no token, plaintext or ciphertext."""
    fake.answer = lambda _: GOOD
    with caplog.at_level(logging.DEBUG):
        transit = at_fake(fake, folder)
        encrypt(transit)
    for word in ("token-1", "made-up", "a2tra2tr", "AAAA"):
        assert word not in caplog.text


def test_closing_ends_the_token(fake: FakeVault, folder: Path) -> None:
    """A graceful stop leaves no living token; a Vault that is away does not hold it up."""
    transit = at_fake(fake, folder)
    fake.answer = lambda _: GOOD
    encrypt(transit)
    transit.close()
    assert fake.seen[-1].path == "/v1/auth/token/revoke-self"
    silent = at_fake(fake, folder)
    encrypt(silent)
    fake.answer = lambda _: Reply(delay=5)
    with within_three_seconds():
        silent.close()
    never_used = at_fake(fake, folder)
    asked = len(fake.seen)
    never_used.close()
    assert len(fake.seen) == asked


def test_a_large_batch_that_is_overtaken_by_closing_is_an_outage(world: World) -> None:
    """Whether its parts still wait to be sent, or are not even handed over; and none is sent."""
    transit = world.fresh("ingest")
    many = [KEY] * 401
    assert len(transit.encrypt("records-card", many)) == len(many)
    parts, go = transit._parts, threading.Event()
    others = [parts.submit(go.wait, 60) for _ in range(PARTS_AT_ONCE)]
    with ThreadPoolExecutor(1) as threads:
        overtaken = threads.submit(transit.encrypt, "records-card", many)
        while parts._work_queue.qsize() < 3:
            time.sleep(0.001)
        transit.close()
        error = overtaken.exception(10)
    go.set()
    assert isinstance(error, Unavailable)
    assert all(each.result(10) for each in others)
    assert outage(lambda: transit.encrypt("records-card", many)).reason is Outage.UNREACHABLE


@pytest.mark.parametrize("address", ["127.0.0.1:8200", "ftp://a", "http://", "http://a/v1"])
def test_odd_addresses_are_refused(folder: Path, address: str) -> None:
    """An address is scheme, host and port."""
    with pytest.raises(ValueError, match="address"):
        Transit(address=address, role="ingest", spool=folder)


def test_hvacs_own_login_is_not_used(fake: FakeVault, folder: Path) -> None:
    """It would put the token into the client for everybody."""
    transit = at_fake(fake, folder)
    with pytest.raises(NotImplementedError):
        transit._client.adapter.login("/v1/auth/approle/login")


# From here on with a real server of its own, which is sealed, stopped and killed.


@pytest.fixture(scope="module")
def doomed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """A server to be ill-treated."""
    folder = tmp_path_factory.mktemp("vault")
    with Vault(folder, environment="development", announce=lambda _: None) as vault:
        yield vault


@pytest.fixture
def ill(doomed: Vault, tmp_path: Path) -> Iterator[tuple[Vault, Transit, World]]:
    """A connection through a fixed address, whatever port the server has after a restart."""
    server = VaultServer(address=doomed.address, token=doomed.token(), embedded=doomed)
    with (
        fresh_mount(server) as mount,
        world_at(mount, tmp_path / "spool") as world,
        Relay(lambda: doomed.address) as relay,
    ):
        transit = world.fresh("ingest", address=relay.address)
        encrypt(transit)
        yield doomed, transit, world
        recovers(lambda: encrypt(transit), 10)
        # The mount is removed at the server's present port.
        object.__setattr__(server, "address", doomed.address)


def test_c6_sealed_for_real(ill: tuple[Vault, Transit, World]) -> None:
    """Fact 15: the static seal needs a restart after an explicit seal; we do not."""
    vault, transit, world = ill
    assert world.place.server.request("PUT", "sys/seal")[0] == http.client.NO_CONTENT
    assert outage(lambda: encrypt(transit)).reason in (Outage.SEALED, Outage.BREAKER_OPEN)
    vault.stop()
    vault.start()
    recovers(lambda: encrypt(transit), 10)


def test_c6_killed_for_real(ill: tuple[Vault, Transit, World]) -> None:
    """Gone without a word, back by itself (fact 15: unsealed after kill -9)."""
    vault, transit, _ = ill
    vault.child.send(signal.SIGKILL)
    error = outage(lambda: encrypt(transit))
    assert error.reason in (Outage.UNREACHABLE, Outage.BREAKER_OPEN)
    vault.stop()
    vault.start()
    recovers(lambda: encrypt(transit), 10)


def stands_still(pid: int | None) -> None:
    """Wait until no thread of a stopped process runs any more: each notices by itself."""
    until = time.monotonic() + 10
    tasks = Path(f"/proc/{pid}/task")
    while any(
        (task / "stat").read_text().rpartition(")")[2].split()[0] != "T" for task in tasks.iterdir()
    ):
        assert time.monotonic() < until
        time.sleep(0.005)


def test_c6_stalled_for_real(ill: tuple[Vault, Transit, World]) -> None:
    """A server that accepts and says nothing."""
    vault, transit, _ = ill
    vault.child.send(signal.SIGSTOP)
    try:
        stands_still(vault.child.pid)
        error = outage(lambda: encrypt(transit))
    finally:
        vault.child.send(signal.SIGCONT)
    assert error.reason is Outage.SLOW
    recovers(lambda: encrypt(transit))


def test_c6_token_revoked_for_real(world: World) -> None:
    """The next call logs in again; with an empty spool it waits for the spool alone."""
    transit = world.fresh("ingest")
    encrypt(transit)
    for path in (world.spool / "ingest").glob("*"):
        path.unlink()
    token = transit._tokens.peek()
    assert world.place.server.request("POST", "auth/token/revoke", {"token": token})[0] == 204
    error = outage(lambda: encrypt(transit))
    assert isinstance(error, SecretIdMissing)
    world.fill("ingest")
    assert len(encrypt(transit)) == 1


def test_c6_json_limit_for_real(world: World) -> None:
    """Fact 5: more than 1,000 strings in one request are refused; our batches never come near."""
    transit = world.role("ingest")
    items = [{"plaintext": "AAAA"}] * 1001
    error = outage(
        lambda: transit._post("encrypt/records-card", {"batch_input": items}, BatchAnswer)
    )
    assert error.reason is Outage.LIMITED
    assert len(transit.encrypt("records-card", [KEY] * 1001)) == 1001
