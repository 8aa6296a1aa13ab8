"""The calls of the interface, grouped as its addresses are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from vault_service.client import models
from vault_service.client.access_reviews import AccessReviews
from vault_service.client.accounting import Accounting
from vault_service.client.activity import Activity
from vault_service.client.communications import Communications
from vault_service.client.disclosures import Disclosures
from vault_service.client.erasures import Erasures
from vault_service.client.errors import AnswerUnexpected, ApiError
from vault_service.client.evidence import Evidence
from vault_service.client.holds import Holds
from vault_service.client.honeytokens import Honeytokens
from vault_service.client.ledger import Ledger
from vault_service.client.modifications import Modifications
from vault_service.client.policies import Policies
from vault_service.client.principals import Principals
from vault_service.client.proofs import ProofMaker, Proving
from vault_service.client.recipients import Recipients
from vault_service.client.rotations import Rotations
from vault_service.client.services import Services
from vault_service.client.tokens import Customers, Tokens
from vault_service.client.transport import Ask, Reply, Transport, decode
from vault_service.client.usage import UsageCalls
from vault_service.client.webhooks import Webhooks

_UNAVAILABLE: Final = 503


class Client:
    """A connection to the service; thread-safe, keeps connections open, shows no key.

    Args:
        base_url: where the service answers, such as `https://vault.example`.
        key: an API key, or None for calls that need none.
        timeout: seconds that an answer may take.
        retries: how often a request that may be repeated is tried again.
        ca_file: certificates to trust instead of the system's.
        insecure_http: allow http to other machines, where somebody else protects the way.
        pool_size: connections kept open.
        sleep: waits that many seconds.

    Raises:
        InsecureAddress: the address is none, or would send the key in clear.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
        ca_file: Path | None = None,
        insecure_http: bool = False,
        pool_size: int = 8,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = Transport(
            base_url,
            key=key,
            timeout=timeout,
            retries=retries,
            ca_file=ca_file,
            insecure_http=insecure_http,
            pool_size=pool_size,
            sleep=sleep,
        )
        self.tokens = Tokens(self._transport)
        self.customers = Customers(self._transport)
        self.communications = Communications(self._transport)
        self.modifications = Modifications(self._transport)
        self.services = Services(self._transport)
        self.activity = Activity(self._transport)
        self._proving = Proving(self._transport)
        self.disclosures = Disclosures(self._transport, self._proving)
        self.accounting = Accounting(self._transport)
        self.evidence = Evidence(self._transport)
        self.honeytokens = Honeytokens(self._transport)
        self.usage = UsageCalls(self._transport)
        self.webhooks = Webhooks(self._transport)
        self.recipients = Recipients(self._transport)
        self.access_reviews = AccessReviews(self._transport)
        self.erasures = Erasures(self._transport)
        self.holds = Holds(self._transport)
        self.principals = Principals(self._transport)
        self.policies = Policies(self._transport)
        self.ledger = Ledger(self._transport)
        self.rotations = Rotations(self._transport)

    def __repr__(self) -> str:
        return f"Client({self._transport.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def base_url(self) -> str:
        """Where the service answers."""
        return self._transport.base_url

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def reveal(
        self,
        disclosure_token: str,
        tokens: Sequence[str],
        *,
        fields: Sequence[str] | None = None,
        proof_key: ProofMaker | None = None,
    ) -> models.RevealAnswer:
        """Plaintext of tokens. Never tried again by itself: a use may have been spent.

        With `proof_key`, the key that the token is bound to, a proof of it is shown.

        Raises:
            ApiError: refused; the code says by which check.
            Unreachable: no answer; where `sent`, the use counts as spent.
        """
        body: dict[str, Any] = {"tokens": list(tokens)}
        if fields is not None:
            body["fields"] = list(fields)
        ask = Ask(
            method="POST",
            path="/v1/reveal",
            body=body,
            headers={"Disclosure-Token": _one_line(disclosure_token)},
        )
        reply = self._proving.send(ask, proof_key, token=disclosure_token)
        answer: models.RevealAnswer = decode(reply, models.RevealAnswer)
        return answer

    def reveal_content(
        self, disclosure_token: str, token: str, *, proof_key: ProofMaker | None = None
    ) -> models.Content:
        """The contents of one communication. Never tried again by itself, as `reveal`.

        Raises:
            ApiError: refused; the code says by which check.
            Unreachable: no answer, or one that broke off; where `sent`, the use counts as spent.
        """
        ask = Ask(
            method="POST",
            path="/v1/reveal/content",
            body={"token": token},
            headers={"Disclosure-Token": _one_line(disclosure_token)},
        )
        reply = self._proving.send(ask, proof_key, token=disclosure_token)
        headers = {name.lower(): value for name, value in reply.headers.items()}
        told = {
            name: headers.get(f"receipt-{name}")
            for name in ("entry", "grant", "ground", "clause", "at", "recipient")
        }
        try:
            receipt = msgspec.convert({**told, "values": 1}, models.Receipt, strict=False)
        except msgspec.ValidationError:
            raise AnswerUnexpected("the answer does not have its receipt") from None
        return models.Content(content=reply.data, receipt=receipt)

    def ready(self) -> models.Readiness:
        """Whether the service can serve; an answer also when it cannot.

        Raises:
            Unreachable: it does not answer at all.
            AnswerUnexpected: something else answers there.
        """
        reply = self._transport.send_once(
            Ask(method="GET", path="/readyz", repeatable=True), accept=frozenset((_UNAVAILABLE,))
        )
        answer: models.Readiness = decode(reply, models.Readiness)
        return answer

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Reply:
        """Any call of the interface that has no function here yet; never repeated.

        Raises:
            ApiError, Unreachable, AnswerUnexpected: as everywhere.
        """
        return self._transport.send(Ask(method=method, path=path, body=body))


def _one_line(token: str) -> str:
    if not token.isascii() or not token.isprintable():
        raise ApiError(
            "this is not a disclosure token", code="disclosure_token_malformed", status=0
        )
    return token
