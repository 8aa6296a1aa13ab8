"""Fingerprints depend on key and class, and the key is Vault's alone."""

from __future__ import annotations

import pytest

from keys.errors import KeyNotReady
from keys.fingerprint import Fingerprinter, key_of
from tests.keys.support import World

CARD = b"4242424242424242"


def test_same_value_same_fingerprint(world: World) -> None:
    """32 bytes, the same for the same value, another for another."""
    first, again, other = Fingerprinter(world.role("ingest")).compute(
        [("payment_card", CARD), ("payment_card", CARD), ("payment_card", CARD[:-1] + b"3")]
    )
    assert len(first.digest) == 32
    assert first == again != other
    assert first.key_version == 1


def test_a5_fingerprints_depend_on_the_class(world: World) -> None:
    """The same value in two classes has two fingerprints, by key and by message."""
    classes = ["payment_card", "telephone", "business_name", "contact_name"]
    classes += ["email_address", "postal_address", "communication", "customer_ref", "request"]
    prints = Fingerprinter(world.role("ingest")).compute([(name, CARD) for name in classes])
    assert len({print_.digest for print_ in prints}) == len(classes)


def test_a5_fingerprints_use_the_whole_value(world: World) -> None:
    """Numbers that differ in one digit in any place differ."""
    numbers = [CARD] + [CARD[:at] + b"9" + CARD[at + 1 :] for at in range(len(CARD))]
    prints = Fingerprinter(world.role("ingest")).compute([("payment_card", n) for n in numbers])
    assert len({print_.digest for print_ in prints}) == len(numbers)


def test_order_is_kept_over_classes(world: World) -> None:
    """Results stand where their items stood, whatever the classes."""
    fingerprinter = Fingerprinter(world.role("ingest"))
    items = [("telephone", b"1"), ("payment_card", b"1"), ("telephone", b"2")]
    together = fingerprinter.compute(items)
    assert together == [fingerprinter.compute([item])[0] for item in items]
    assert fingerprinter.compute([]) == []


def test_more_than_one_request_holds(world: World) -> None:
    """1,000 values in one call, cut into requests of 200."""
    items = [("telephone", b"%d" % n) for n in range(1000)]
    assert (
        len({print_.digest for print_ in Fingerprinter(world.role("ingest")).compute(items)})
        == 1000
    )


def test_an_undeclared_class_has_no_key(world: World) -> None:
    """An unknown class makes no key; the role is not even allowed to ask."""
    fingerprinter = Fingerprinter(world.admin)
    with pytest.raises(KeyNotReady):
        fingerprinter.compute([("unheard_of", b"x")])


def test_key_names_follow_the_class() -> None:
    """Underscores become dashes."""
    assert key_of("payment_card") == "fingerprint-payment-card"


def test_candidates_are_all_versions_in_force(world: World) -> None:
    """During a re-index both fingerprints are found, newest first; after it only the new one."""
    fingerprinter = Fingerprinter(world.role("ingest"))
    items = [("email_address", b"a@example.org"), ("email_address", b"b@example.org")]
    key = "fingerprint-email-address"
    before = fingerprinter.compute(items)
    assert fingerprinter.candidates(items) == [[one] for one in before]

    world.admin.rotate(key)
    after = fingerprinter.compute(items)
    assert [one.key_version for one in after] == [2, 2]
    assert fingerprinter.candidates(items) == [
        [new, old] for new, old in zip(after, before, strict=True)
    ]

    world.admin.configure(key, min_encryption_version=2)
    for _ in range(2):  # learned by refusal the first time, remembered the second
        assert fingerprinter.candidates(items) == [[new] for new in after]
    assert fingerprinter._oldest == {key: 2}
