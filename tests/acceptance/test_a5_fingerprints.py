"""A5: fingerprints need Vault's key, differ by class, and stand for the whole number."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from keys.canonical import lp
from keys.errors import KeysError, VaultUnavailable
from keys.fingerprint import Fingerprinter
from keys.transit import Transit
from tests.support.faults import rebuilt
from tests.support.whole import Stage, numbers
from vault_service.domain.brands import luhn_valid
from vault_service.services.tokenization import TokenizeItem


def stored(stage: Stage, token: str) -> bytes:
    """A record's fingerprint, as whoever dumps the database has it."""
    ((digest,),) = stage.sql("SELECT fingerprint FROM records WHERE token = %s", [token])
    return bytes(digest)


def test_a5_no_dump_tells_the_number_behind_a_mask(stage: Stage, customer: str) -> None:
    """With the mask known and all candidates tried, no hash without Vault's key fits.

    What an attacker has besides: the public form of the input, and keys that are no keys.
    """
    number = numbers(1, start=123_456_000)[0]
    target = stored(stage, stage.card(customer, number))
    head, tail = number[:6], number[-4:]
    tried = 0
    for middle in range(120_000, 130_000):
        candidate = f"{head}{middle:06d}{tail}".encode()
        for text in (candidate, lp("fp1", "payment_card", candidate)):
            assert hashlib.sha256(text).digest() != target
            for key in (b"", bytes(32), b"payment_card", customer.encode()):
                assert hmac.new(key, text, hashlib.sha256).digest() != target
            tried += 1
    assert f"{head}{number[6:12]}{tail}" == number
    assert 120_000 <= int(number[6:12]) < 130_000
    assert tried == 20_000


def test_a5_every_digit_counts(stage: Stage, customer: str) -> None:
    """Numbers with one mask have different fingerprints, and one number has one."""
    every = (f"400000{middle:06d}1117" for middle in range(1000))
    alike = [number for number in every if luhn_valid(number)][:20]
    found = {stored(stage, stage.card(customer, number)) for number in alike}
    assert len(alike) == len(found) == 20
    other = stage.customer()
    assert stored(stage, stage.card(other, alike[0])) in found


def test_a5_the_class_counts(stage: Stage, customer: str) -> None:
    """The same text as another class has another fingerprint, under another key."""
    digests = set()
    for data_class in ("business_name", "contact_name"):
        (view,) = stage.tokenize(
            TokenizeItem(data_class=data_class, customer=customer, value="Ada Lovelace")
        )
        digests.add(stored(stage, view.id))
    assert len(digests) == 2


def test_a5_search_works_through_vault_only(stage: Stage, customer: str) -> None:
    """A process that cannot reach Vault finds nothing, because it holds no key."""
    stage.card(customer)
    settings = stage.services.settings
    assert settings.vault_spool is not None
    nowhere = Transit(
        address="http://127.0.0.1:9",
        role="ingest",
        spool=settings.vault_spool,
        mount=stage.mount.mount,
        approle_prefix=stage.mount.prefix,
        budget=0.5,
    )
    alone = rebuilt(stage.reading, fingerprints=Fingerprinter(nowhere))
    with pytest.raises(VaultUnavailable):
        alone.search(
            stage.caller("billing"), data_class="payment_card", values=["4242424242424242"]
        )
    nowhere.close()


@pytest.mark.parametrize("role", ["ingest", "reveal", "inspect", "rotate"])
def test_a5_no_role_of_the_service_can_read_the_key(stage: Stage, role: str) -> None:
    """Neither exported nor backed up, by nobody: the key is not exportable to begin with."""
    settings = stage.services.settings
    assert settings.vault_spool is not None
    from keys import spool

    with stage.admin() as admin:
        spool.issue(admin, role, settings.vault_spool, 1)
        info = admin.read_key("fingerprint-payment-card")
    assert not info.exportable
    transit = Transit(
        address=stage.mount.address,
        role=role,
        spool=settings.vault_spool,
        mount=stage.mount.mount,
        approle_prefix=stage.mount.prefix,
    )
    for path in ("export/hmac-key", "export/encryption-key", "backup"):
        with pytest.raises(KeysError):
            transit._client.adapter.get(f"/v1/{stage.mount.mount}/{path}/fingerprint-payment-card")
    transit.close()
