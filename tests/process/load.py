"""Callers that tokenize and reveal without a pause, and remember all that they were told.

What they were told is a promise: `invariants` holds the service to it after a crash. A call whose
answer never came is remembered as unknown, for it may have been done or not.
"""

from __future__ import annotations

import base64
import json
import random
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

import urllib3

from tests.support.running import Answer, Running
from tests.support.whole import card, numbers

# Reveals of one grant; a standing grant may be used this often.
USES: Final = 2_000
BATCH: Final = 4
WARM: Final = 20
WARM_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An acknowledged token."""

    token: str
    customer: str
    number: str


@dataclass(slots=True, kw_only=True)
class Spent:
    """A disclosure token that was shown to reveal, once.

    Attributes:
        status: of the answer; None when it never came.
        entry: the receipt's ledger entry, where plaintext came.
    """

    jws: str = field(repr=False)
    jti: str
    token: str
    number: str
    status: int | None = None
    entry: str | None = None


def jti_of(jws: str) -> str:
    """The id of a disclosure token, from its own claims."""
    part = jws.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return str(claims["jti"])


def plaintext_of(answer: Answer) -> str | None:
    """The card number in a reveal's answer, if there is one."""
    if answer.status != 200:
        return None
    (result,) = answer.body["results"]
    return str(result["value"]["number"])


class Load:
    """Writers and readers on one service.

    Args:
        service: what they call.
        seed: decides what they send.
        start: the first of the card numbers, so that two loads share none.
    """

    def __init__(self, service: Running, *, seed: int, start: int = 0) -> None:
        self._service = service
        self._random = random.Random(seed)  # noqa: S311 -- a test's choice, repeatable
        self._numbers = iter(numbers(200_000, start=start))
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._customers = [service.customer() for _ in range(4)]
        known = [(service.card(self._customers[0], number), number) for number in self._take(8)]
        self._known = dict(known)
        self._grant = service.grant(*self._known, uses=USES)
        self._threads: list[threading.Thread] = []
        self.written = [
            Written(token=token, customer=self._customers[0], number=number)
            for token, number in known
        ]
        self.spent: list[Spent] = []
        self.unknown: list[tuple[dict[str, Any], str]] = []
        self.refused: list[Answer] = []

    def run(self, *, writers: int = 3, readers: int = 3) -> None:
        """Begin; returns when both kinds of callers have been answered."""
        self._threads = [
            threading.Thread(target=self._repeat, args=(work,), daemon=True)
            for work in [self._write] * writers + [self._read] * readers
        ]
        for thread in self._threads:
            thread.start()
        until = time.monotonic() + WARM_SECONDS
        while len(self.written) < WARM or not any(use.entry for use in list(self.spent)):
            assert time.monotonic() < until, f"no load came about; refused: {self.refused}"
            time.sleep(0.02)

    def end(self) -> None:
        """End, and wait for what is under way."""
        self._over.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def settle(self) -> None:
        """Send again what had no answer: the same Idempotency-Key, so it is done once."""
        unknown, self.unknown = self.unknown, []
        for body, key in unknown:
            self._tokenize(body, key)
        assert self.unknown == []

    def _repeat(self, work: Any) -> None:
        while not self._over.is_set():
            try:
                work()
            except urllib3.exceptions.HTTPError:
                self._over.wait(0.02)  # it is dead; the next call finds out whether it still is

    def _take(self, count: int) -> list[str]:
        with self._lock:
            return [next(self._numbers) for _ in range(count)]

    def _write(self) -> None:
        with self._lock:
            count = self._random.choice((1, 1, 1, BATCH))
            customer = self._random.choice(self._customers)
            key = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        items = [
            {"class": "payment_card", "customer": customer, "value": card(number)}
            for number in self._take(count)
        ]
        self._tokenize({"items": items} if count > 1 else items[0], key)

    def _tokenize(self, body: dict[str, Any], key: str) -> None:
        items = body.get("items", [body])
        path = "/v1/tokens/batch" if "items" in body else "/v1/tokens"
        try:
            answer = self._service.call(
                "POST", path, body, by="billing", headers={"Idempotency-Key": key}
            )
        except urllib3.exceptions.HTTPError:
            with self._lock:
                self.unknown.append((body, key))
            raise
        with self._lock:
            if answer.status not in (200, 201):
                self.refused.append(answer)
                return
            views = (
                [result["token"] for result in answer.body["results"]]
                if "items" in body
                else [answer.body]
            )
            self.written += [
                Written(token=view["id"], customer=item["customer"], number=item["value"]["number"])
                for view, item in zip(views, items, strict=True)
            ]

    def _read(self) -> None:
        with self._lock:
            token = self._random.choice(list(self._known))
        issued = self._service.call(
            "POST", f"/v1/disclosures/{self._grant}/token", {}, by="requester"
        )
        if issued.status != 201:
            with self._lock:
                self.refused.append(issued)
            return
        jws = issued.body["token"]
        use = Spent(jws=jws, jti=jti_of(jws), token=token, number=self._known[token])
        with self._lock:
            self.spent.append(use)
        show(self._service, use)


def show(service: Running, use: Spent) -> bool:
    """Show a disclosure token to reveal and remember the answer; tell whether plaintext came."""
    answer = service.reveal(use.jws, use.token)
    use.status = answer.status
    number = plaintext_of(answer)
    if number is None:
        return False
    assert number == use.number
    assert use.entry is None, "a disclosure token gave plaintext twice"
    use.entry = answer.body["receipt"]["entry"]
    return True
