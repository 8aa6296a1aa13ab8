"""A8: a retired KEK version never wraps again. B4: no data key seals two messages."""

from __future__ import annotations

import hashlib
import threading

import pytest

from keys.data_keys import DataKey
from keys.envelope import Context, seal
from tests.support.racing import threads
from tests.support.whole import Stage, card, numbers
from vault_service.services import tokenization
from vault_service.services.tokenization import TokenizeItem

WRITES = 10_000


def write(stage: Stage, customer: str, some: list[str]) -> list[str]:
    """A batch of cards; their tokens."""
    items = [
        TokenizeItem(data_class="payment_card", customer=customer, value=card(number))
        for number in some
    ]
    return [view.id for view in stage.tokenize(*items, batch=True)]


def test_a8_after_a_rotation_no_write_carries_the_old_version(stage: Stage) -> None:
    """Writers are at work while the key is rotated; then 10,000 writes by all of them."""
    customers = [stage.customer() for _ in range(4)]
    every = numbers(WRITES + 4000, start=0, prefix="411111")
    stop = threading.Event()
    early: list[str] = []

    def work(place: int) -> None:
        batch = 0
        while not stop.is_set() and batch < 10:
            first = WRITES + place * 1000 + batch * 100
            early.extend(write(stage, customers[place], every[first : first + 100]))
            batch += 1

    writers = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for writer in writers:
        writer.start()
    begun = stage.key_rotation.begin("tests", "records-card")
    late = [
        token
        for tokens in threads(
            [
                lambda place=place: [  # type: ignore[misc]
                    token
                    for batch in range(5)
                    for token in write(
                        stage,
                        customers[place % 4],
                        every[place * 1250 + batch * 250 : place * 1250 + batch * 250 + 250],
                    )
                ]
                for place in range(8)
            ]
        )
        for token in tokens  # type: ignore[attr-defined]
    ]
    stop.set()
    for writer in writers:
        writer.join()
    assert len(set(late)) == WRITES
    assert stage.sql(
        "SELECT kek, kek_version, substr(wrapped_key, 1, 9), count(*) FROM records"
        " WHERE token = ANY(%s) GROUP BY 1, 2, 3",
        [late],
    ) == [("records-card", begun.to_version, f"vault:v{begun.to_version}:"[:9], WRITES)]
    assert stage.sql("SELECT count(*) FROM records WHERE token = ANY(%s)", [early]) == [
        (len(early),)
    ]


def test_a8_vault_itself_refuses_to_wrap_with_the_old_version(stage: Stage) -> None:
    """Not even whoever asks for it by its number."""
    begun = stage.key_rotation.begin("tests", "records-card")
    path = f"{stage.mount.mount}/encrypt/records-card"
    status, _ = stage.mount.server.request(
        "POST", path, {"plaintext": "AAAA", "key_version": begun.from_version}
    )
    assert status == 400
    assert stage.mount.server.request("POST", path, {"plaintext": "AAAA"})[0] == 200


def test_a8_what_was_written_before_still_opens(stage: Stage, customer: str) -> None:
    """The old version opens what it wrapped, until it is retired from that too."""
    from tests.support.whole import draft

    token = stage.card(customer)
    stage.key_rotation.begin("tests", "records-card")
    stage.revealed(stage.token(stage.granted(draft(token)).id), token)


def test_b4_ten_thousand_writes_use_ten_thousand_data_keys(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each data key as it was used, and each wrapped form as it was stored, stands once."""
    used: list[bytes] = []

    def watched(key: DataKey, plaintext: bytes, context: Context) -> bytes:
        used.append(hashlib.sha256(key._slot[0].expose()).digest())
        return seal(key, plaintext, context)

    monkeypatch.setattr(tokenization, "seal", watched)
    customer = stage.customer()
    every = numbers(WRITES, start=0, prefix="422222")
    threads(
        [
            lambda first=first: write(stage, customer, every[first : first + 1000])  # type: ignore[misc]
            for first in range(0, WRITES, 1000)
        ]
    )
    assert len(used) >= WRITES
    assert len(set(used)) == len(used)
    assert stage.sql(
        "SELECT count(*), count(DISTINCT wrapped_key), count(DISTINCT substr(envelope, 5, 44))"
        " FROM records WHERE customer = %s",
        [customer],
    ) == [(WRITES, WRITES, WRITES)]
