"""The pool gives each key once, fresh, and without a request of its own while it is warm."""

from __future__ import annotations

import base64
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from keys.data_keys import (
    MAX_READY,
    SMALLEST_REFILL,
    DataKey,
    DataKeyPool,
    Unwrapper,
    WrappedKey,
)
from keys.envelope import open_, seal
from keys.errors import (
    CiphertextRejected,
    DataKeyReused,
    Outage,
    VaultDenied,
    VaultUnavailable,
)
from keys.secret import Secret
from tests.keys.support import CONTEXT, World


class Wrapping:
    """Stands where Transit stands, for tests of the pool's bookkeeping alone."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.version = 1
        self.error: Exception | None = None
        self.pause: threading.Event | None = None
        self.inside = threading.Event()

    def encrypt(self, key: str, plaintexts: Sequence[Secret]) -> list[str]:
        """Note the call and give each key a text."""
        self.calls.append(len(plaintexts))
        version = self.version
        self.inside.set()
        if self.pause is not None:
            assert self.pause.wait(10)
        if self.error is not None:
            raise self.error
        return [
            f"vault:v{version}:{key}-{base64.b64encode(secret.expose()).decode()}"
            for secret in plaintexts
        ]


class Clock:
    """Seconds that pass when told."""

    now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_a_key_is_taken_once() -> None:
    """The second take is refused, and the key's repr tells nothing."""
    key = DataKey(Secret(b"k" * 32), WrappedKey.parse("kek", "vault:v7:AAAA"))
    assert key.take().equals(b"k" * 32)
    with pytest.raises(DataKeyReused):
        key.take()
    assert repr(key) == "DataKey(kek='kek', version=7)"


def test_b4_racing_threads_take_a_key_once() -> None:
    """Of 16 racers exactly one gets each of 500 keys."""
    keys = [DataKey(Secret(b"k"), WrappedKey.parse("k", "vault:v1:A")) for _ in range(500)]
    barrier = threading.Barrier(16)

    def race(_: int) -> int:
        barrier.wait()
        won = 0
        for key in keys:
            try:
                key.take()
            except DataKeyReused:
                continue
            won += 1
        return won

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(race, range(16))) == 500


@pytest.mark.parametrize("text", ["", "vault:v:AA", "vault:vx:AA", "vault:v1:", "v1:AA", "vault:1"])
def test_what_transit_does_not_write_is_refused(text: str) -> None:
    """A wrapped key has a version and a content."""
    with pytest.raises(VaultUnavailable):
        WrappedKey.parse("kek", text)


def test_a_warm_pool_costs_no_request() -> None:
    """After the first, single takes are served from what was prepared."""
    wrapping = Wrapping()
    pool = DataKeyPool(wrapping)
    for _ in range(SMALLEST_REFILL):
        pool.take("kek", 1)
    assert len(wrapping.calls) == 1


def test_refills_grow_with_use_up_to_the_batch() -> None:
    """Use before age doubles the next refill, to the limit."""
    wrapping = Wrapping()
    pool = DataKeyPool(wrapping, batch=100)
    for _ in range(1000):
        pool.take("kek", 1)
    assert wrapping.calls[:4] == [16, 32, 64, 100]
    assert max(wrapping.calls) == 100


def test_refills_shrink_when_keys_grow_old() -> None:
    """Keys that were prepared and not used make the next refill smaller."""
    wrapping, clock = Wrapping(), Clock()
    pool = DataKeyPool(wrapping, clock=clock)
    for _ in range(200):
        pool.take("kek", 1)
    clock.now += 61
    pool.take("kek", 1)
    assert wrapping.calls[-1] < max(wrapping.calls)


def test_old_keys_are_dropped() -> None:
    """No key is handed out at an age of 60 s or more."""
    wrapping, clock = Wrapping(), Clock()
    pool = DataKeyPool(wrapping, clock=clock)
    pool.take("kek", 1)
    wrapping.version = 2
    clock.now += 59.9
    assert pool.take("kek", 1)[0].wrapped.kek_version == 1
    clock.now += 0.1
    assert pool.take("kek", 1)[0].wrapped.kek_version == 2


def test_a_large_take_is_one_call_of_the_right_size() -> None:
    """A batch larger than the pool gets exactly what it needs beside what lies ready."""
    wrapping = Wrapping()
    pool = DataKeyPool(wrapping)
    pool.take("kek", 6)
    assert len(pool.take("kek", 1000)) == 1000
    assert wrapping.calls == [16, 990]


def test_memory_is_bounded() -> None:
    """However large the asked-for batch, what lies ready has a limit."""
    pool = DataKeyPool(Wrapping(), batch=10**9)
    for _ in range(30):
        pool.take("kek", 700)
    assert len(pool._shelves["kek"].ready) <= MAX_READY


def test_keks_are_apart() -> None:
    """Each KEK has its own keys."""
    pool = DataKeyPool(Wrapping())
    assert pool.take("one", 1)[0].wrapped.kek == "one"
    assert pool.take("two", 1)[0].wrapped.kek == "two"


def test_nothing_is_taken_for_nothing() -> None:
    """Zero keys cost nothing; a negative count is a mistake."""
    wrapping = Wrapping()
    assert DataKeyPool(wrapping).take("kek", 0) == []
    assert wrapping.calls == []
    with pytest.raises(ValueError, match="negative"):
        DataKeyPool(wrapping).take("kek", -1)


def test_concurrent_takers_never_share_a_key() -> None:
    """20,000 takes of 16 threads: every key once, every ciphertext once."""
    wrapping = Wrapping()
    pool = DataKeyPool(wrapping)

    def work(_: int) -> list[bytes]:
        return [key.take().expose() for _ in range(250) for key in pool.take("kek", 5)]

    with ThreadPoolExecutor(16) as threads:
        taken = [key for keys in threads.map(work, range(16)) for key in keys]
    assert len(taken) == len(set(taken)) == 20_000


def held(pool: DataKeyPool, wanted: int) -> None:
    """Return when waiting callers want so many keys."""
    shelf = pool._shelf("kek")
    while True:
        with shelf.changed:
            if shelf.wanted == wanted:
                return


def test_one_refills_while_the_others_wait() -> None:
    """An empty pool and 20 callers make one request that serves all."""
    wrapping = Wrapping()
    wrapping.pause = threading.Event()
    pool = DataKeyPool(wrapping)
    with ThreadPoolExecutor(20) as threads:
        futures = [threads.submit(pool.take, "kek", 1)]
        assert wrapping.inside.wait(10)
        futures += [threads.submit(pool.take, "kek", 1) for _ in range(12)]
        held(pool, 12)
        wrapping.pause.set()
        assert sum(len(future.result(10)) for future in futures) == 13
    assert wrapping.calls == [16]


def test_the_next_refill_counts_who_waits() -> None:
    """The needs of those who wait are added to the refill that follows."""
    wrapping = Wrapping()
    wrapping.pause = threading.Event()
    pool = DataKeyPool(wrapping)
    with ThreadPoolExecutor(20) as threads:
        futures = [threads.submit(pool.take, "kek", 16)]
        assert wrapping.inside.wait(10)
        futures += [threads.submit(pool.take, "kek", 100) for _ in range(5)]
        held(pool, 500)
        wrapping.pause.set()
        assert sum(len(future.result(10)) for future in futures) == 516
    assert sum(wrapping.calls) >= 516


def test_a_failed_refill_fails_all_who_waited() -> None:
    """One failed request is everybody's answer; nobody queues up to fail again."""
    wrapping = Wrapping()
    wrapping.pause = threading.Event()
    wrapping.error = VaultUnavailable(reason=Outage.SEALED, retry_after=5.0)
    pool = DataKeyPool(wrapping)
    with ThreadPoolExecutor(20) as threads:
        futures = [threads.submit(pool.take, "kek", 1)]
        assert wrapping.inside.wait(10)
        futures += [threads.submit(pool.take, "kek", 1) for _ in range(8)]
        held(pool, 8)
        wrapping.pause.set()
        errors = [future.exception(10) for future in futures]
    assert wrapping.calls == [16]
    assert len({id(error) for error in errors}) == 9  # one each: a traceback is nobody else's
    for error in errors:
        assert isinstance(error, VaultUnavailable)
        assert (error.reason, error.retry_after) == (Outage.SEALED, 5.0)
    wrapping.error = wrapping.pause = None
    assert len(pool.take("kek", 1)) == 1


def test_a_refill_that_dies_lets_the_others_try() -> None:
    """An error that is a bug reaches who met it; the next one leads."""
    wrapping = Wrapping()
    wrapping.error = ZeroDivisionError()
    pool = DataKeyPool(wrapping)
    with pytest.raises(ZeroDivisionError):
        pool.take("kek", 1)
    wrapping.error = None
    assert len(pool.take("kek", 1)) == 1


def test_a8_discard_empties_the_pool() -> None:
    """After a discard only newly wrapped keys are handed out."""
    wrapping = Wrapping()
    pool = DataKeyPool(wrapping)
    pool.take("kek", 1)
    pool.take("other", 1)
    wrapping.version = 2
    pool.discard("kek")
    assert pool.take("kek", 1)[0].wrapped.kek_version == 2
    assert pool.take("other", 1)[0].wrapped.kek_version == 1
    pool.discard()
    assert pool.take("other", 1)[0].wrapped.kek_version == 2


def test_a8_a_refill_under_way_at_a_discard_is_thrown_away() -> None:
    """Keys wrapped before the discard do not come in after it."""
    wrapping = Wrapping()
    wrapping.pause = threading.Event()
    pool = DataKeyPool(wrapping)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(pool.take, "kek", 1)
        assert wrapping.inside.wait(10)
        pool.discard("kek")
        wrapping.version = 2
        wrapping.pause.set()
        assert future.result(10)[0].wrapped.kek_version == 2


def test_a8_a_rotation_elsewhere_is_followed_at_the_next_refill() -> None:
    """When a newer version shows up, what is left of the older one is dropped."""
    wrapping = Wrapping()
    pool = DataKeyPool(wrapping)
    pool.take("kek", 1)
    wrapping.version = 2
    assert {key.wrapped.kek_version for key in pool.take("kek", 16)} == {2}


def test_what_was_prepared_is_taken_without_another_request() -> None:
    """Keys wrapped aside are there when they are taken, and never more than the limit."""
    wrapping = Wrapping()
    wrapping.pause = threading.Event()
    pool = DataKeyPool(wrapping)
    with ThreadPoolExecutor(1) as threads:
        pool.prepare("kek", 700)
        assert wrapping.inside.wait(10)
        future = threads.submit(pool.take, "kek", 700)
        held(pool, 700)
        wrapping.pause.set()
        assert len(future.result(10)) == 700
    pool.prepare("kek", 10**6)
    pool.prepare("kek", 1)  # after the first, by the same thread: there is enough
    pool.prepare("done", 1)
    pool._ahead.shutdown()
    assert wrapping.calls == [700, MAX_READY, SMALLEST_REFILL]


def test_of_many_preparations_one_for_each_kek_waits() -> None:
    """A thousand of them at once are one request more, for the largest; after the end, none."""
    wrapping = Wrapping()
    wrapping.pause = threading.Event()
    pool = DataKeyPool(wrapping)
    pool.prepare("kek", 50)
    assert wrapping.inside.wait(10)
    for _ in range(500):
        pool.prepare("kek", 100)
        pool.prepare("other", 60)
        pool.prepare("kek", 300)
    assert pool._ahead._work_queue.qsize() == 2
    wrapping.pause.set()
    pool._ahead.shutdown()
    assert wrapping.calls == [50, 250, 60]
    pool.prepare("kek", MAX_READY)
    assert pool._shelf("kek").ahead is None
    assert len(pool.take("kek", 300)) == 300


def test_nothing_is_prepared_beside_a_refill() -> None:
    """Whoever refills already provides; a second request would be one too many."""
    wrapping = Wrapping()
    wrapping.pause = threading.Event()
    pool = DataKeyPool(wrapping)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(pool.take, "kek", 300)
        assert wrapping.inside.wait(10)
        pool.prepare("kek", 300)
        pool._ahead.shutdown()
        wrapping.pause.set()
        assert len(future.result(10)) == 300
    assert wrapping.calls == [300]


def test_who_waits_for_what_is_prepared_is_told_of_its_failure() -> None:
    """A failure aside is the answer of those who wait for it, and of nobody later."""
    wrapping = Wrapping()
    wrapping.pause = threading.Event()
    wrapping.error = VaultUnavailable(reason=Outage.SEALED)
    pool = DataKeyPool(wrapping)
    with ThreadPoolExecutor(1) as threads:
        pool.prepare("kek", 300)
        assert wrapping.inside.wait(10)
        future = threads.submit(pool.take, "kek", 300)
        held(pool, 300)
        wrapping.pause.set()
        assert isinstance(future.exception(10), VaultUnavailable)
    wrapping.error = wrapping.pause = None
    assert len(pool.take("kek", 1)) == 1


class Decrypting:
    """Stands where Transit stands, for what a real one does not answer."""

    def __init__(self, answer: list[Secret | CiphertextRejected] | Exception) -> None:
        self.answer = answer

    def decrypt(self, key: str, ciphertexts: Sequence[str]) -> list[Secret | CiphertextRejected]:
        """Answer as told."""
        assert key
        assert ciphertexts
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_plaintext_that_is_no_data_key_is_rejected() -> None:
    """A key of another length than 32 bytes was not made here."""
    (result,) = Unwrapper(Decrypting([Secret(b"short")])).unwrap(
        [WrappedKey.parse("kek", "vault:v1:A")]
    )
    assert isinstance(result, CiphertextRejected)


def test_vaults_refusal_of_the_request_is_raised() -> None:
    """What concerns the whole request is not an item's result."""
    denied = VaultDenied("no")
    with pytest.raises(VaultDenied) as caught:
        Unwrapper(Decrypting(denied)).unwrap([WrappedKey.parse("kek", "vault:v1:A")])
    assert caught.value is not denied


def test_data_keys_of_the_pool_unwrap_to_themselves(world: World) -> None:
    """Wrapped by ingest, unwrapped by reveal, over two KEKs, in order, with a bad one between."""
    pool = DataKeyPool(world.role("ingest"))
    cards, contacts = pool.take("records-card", 3), pool.take("records-contact", 2)
    keys = [cards[0], contacts[0], cards[1], contacts[1], cards[2]]
    envelopes = [seal(key, b"value %d" % at, CONTEXT) for at, key in enumerate(keys)]
    wrapped = [key.wrapped for key in keys]
    wrapped.insert(2, WrappedKey.parse("records-card", wrapped[1].ciphertext))  # another's KEK
    results = Unwrapper(world.role("reveal")).unwrap(wrapped)
    assert isinstance(results.pop(2), CiphertextRejected)
    for at, (result, envelope) in enumerate(zip(results, envelopes, strict=True)):
        assert isinstance(result, Secret)
        assert open_(result, envelope, CONTEXT) == b"value %d" % at


def test_more_than_one_request_holds_is_unwrapped_without_a_queue() -> None:
    """A large caller goes straight to Vault; what comes back is checked all the same."""
    answer: list[Secret | CiphertextRejected] = [Secret(bytes([n % 256]) * 32) for n in range(201)]
    answer[7], answer[9] = CiphertextRejected(), Secret(b"short")
    unwrapper = Unwrapper(Decrypting(answer))
    results = unwrapper.unwrap([WrappedKey.parse("kek", f"vault:v1:A{n}") for n in range(201)])
    assert [n for n, each in enumerate(results) if isinstance(each, CiphertextRejected)] == [7, 9]
    assert [each.expose() for each in results if isinstance(each, Secret)] == [
        bytes([n % 256]) * 32 for n in range(201) if n not in (7, 9)
    ]
    assert unwrapper._lines == {}
