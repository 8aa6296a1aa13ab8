"""A8: after a rotation has begun the old version wraps no more; after it is retired, nothing."""

from __future__ import annotations

import pytest

from keys.data_keys import DataKeyPool, Unwrapper, WrappedKey
from keys.errors import CiphertextRejected, VaultRefused
from keys.errors import VaultUnavailable as Unavailable
from keys.rotation import begin, retire, rewrap_batch, trim
from keys.secret import Secret
from tests.keys.support import World

KEKS = iter(("records-card", "records-contact", "records-account", "records-communication"))


@pytest.fixture
def kek() -> str:
    """A KEK that no other test of this module has turned."""
    return next(KEKS)


def new_one(world: World, kek: str) -> str:
    """A wrapped key under the newest version."""
    return world.admin.encrypt(kek, [Secret(b"k" * 32)])[0]


def test_a8_the_whole_of_a_rotation(world: World, kek: str) -> None:
    """begin, rewrap, retire, trim, with the roles that the service has."""
    rotate, pool = world.role("rotate"), DataKeyPool(world.role("ingest"))
    unwrapper = Unwrapper(world.role("reveal"))
    old = [key.wrapped for key in pool.take(kek, 300)]
    plain = unwrapper.unwrap(old)

    begun = begin(rotate, kek)
    assert (begun.from_version, begun.to_version, begun.resumed) == (1, 2, False)
    pool.discard(kek)
    # In portions: a call has the time of one request, and these are not one.
    written = [key for _ in range(20) for key in pool.take(kek, 500)]
    assert len(written) == 10_000
    assert {key.wrapped.kek_version for key in written} == {2}
    # Not even an administrator who asks for the old version gets it.
    asked = {"encrypt": {"plaintext": "AAAA"}, "rewrap": {"ciphertext": new_one(world, kek)}}
    for verb, item in asked.items():
        status, answer = world.request("POST", f"{verb}/{kek}", {**item, "key_version": 1})
        assert status == 400, answer

    new: list[WrappedKey] = []
    for start in range(0, len(old), 500):
        for result in rewrap_batch(rotate, old[start : start + 500]):
            assert isinstance(result, WrappedKey)
            new.append(result)
    assert {key.kek_version for key in new} == {2}
    for before, after in zip(plain, unwrapper.unwrap(new), strict=True):
        assert isinstance(before, Secret)
        assert isinstance(after, Secret)
        assert before.equals(after)

    with pytest.raises(VaultRefused):
        trim(rotate, kek, 2)  # still in force
    retire(rotate, kek, 2)
    retire(rotate, kek, 2)
    assert all(isinstance(result, CiphertextRejected) for result in unwrapper.unwrap(old))
    trim(rotate, kek, 2)
    assert world.admin.read_key(kek).min_available_version == 2
    assert all(isinstance(result, Secret) for result in unwrapper.unwrap(new))


def test_a8_a_begin_that_died_between_its_steps_is_finished(
    world: World, kek: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the second step is done: one rotation makes one version."""
    rotate = world.role("rotate")

    def die(*_: object, **__: object) -> None:
        raise Unavailable

    with monkeypatch.context() as patch:
        patch.setattr(rotate, "configure", die)
        with pytest.raises(Unavailable):
            begin(rotate, kek)
    begun = begin(rotate, kek)
    assert (begun.from_version, begun.to_version, begun.resumed) == (1, 2, True)
    assert begin(rotate, kek).to_version == 3
    assert world.admin.read_key(kek).min_encryption_version == 3


def test_limits_are_never_lowered_or_overshot(world: World, kek: str) -> None:
    """Retiring goes forward, to a version that exists, after the older may not wrap."""
    rotate = world.role("rotate")
    with pytest.raises(VaultRefused, match="begin"):
        retire(rotate, kek, 1)
    begin(rotate, kek)
    begin(rotate, kek)
    retire(rotate, kek, 2)
    for version in (1, 4):
        with pytest.raises(VaultRefused):
            retire(rotate, kek, version)


def test_a_bad_item_does_not_spoil_a_rewrap_batch(world: World, kek: str) -> None:
    """Fact 3: the error of one item is its own, under status 200."""
    pool = DataKeyPool(world.role("ingest"))
    wrapped = [key.wrapped for key in pool.take(kek, 3)]
    wrapped[1] = WrappedKey(kek=kek, kek_version=1, ciphertext="vault:v1:AAAA")
    results = rewrap_batch(world.role("rotate"), wrapped)
    assert [isinstance(result, WrappedKey) for result in results] == [True, False, True]


def test_rewrap_batches_have_limits(world: World) -> None:
    """The keys of a batch are of one KEK; none is none."""
    rotate = world.role("rotate")
    one = WrappedKey.parse("records-card", "vault:v1:AAAA")
    two = WrappedKey.parse("evidence", "vault:v1:AAAA")
    with pytest.raises(ValueError, match="batch"):
        rewrap_batch(rotate, [one, two])
    assert rewrap_batch(rotate, []) == []
