"""Vault's Transit engine for one role. The only module that imports hvac.

hvac brings the client; everything that goes out passes the one adapter below, which replaces
hvac's own and with it what hvac gets wrong for a vault:

- fact 2: hvac's exceptions carry the answer's text, plaintext data keys included. They are never
  made here: statuses are read by keys.answers, whose errors say nothing a server said.
- fact 4: hvac follows redirects with token and body. keys.link refuses them.
- fact 9: 403 means a dead token or a denied path. One login, one more try, then `VaultDenied`.
- fact 13: hvac waits 30 s and never tries again. Here one budget bounds a whole call.
- fact 14: nothing is used that only one of HashiCorp Vault and OpenBao has.
- hvac reads VAULT_ADDR, VAULT_TOKEN, VAULT_CACERT and ~/.vault-token. Every one of them is
  given explicitly here, so that nothing of the environment counts.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import hvac
import hvac.adapters
import msgspec

from keys.answers import (
    Auth,
    AuthAnswer,
    Forbidden,
    SecretIdAnswer,
    WrapLookupAnswer,
    read,
)
from keys.errors import KeysError, Outage, VaultDenied, VaultUnavailable
from keys.link import Link, NeverSent
from keys.operations import TransitOperations, checked_mount
from keys.retry import ON_LINE_BUDGET, Breaker, Deadline
from keys.secret import Secret
from keys.spool import Spool
from keys.tokens import Tokens

PREFIX = "vault-service-"
APPROLE_MOUNT = "approle"
POOL_SIZE = 32  # connections; as many as a worker has threads
PARTS_AT_ONCE = 2  # parts of large batches that are at Vault at one time, of all callers together

# Doing these twice is not the same as doing them once, so a lost answer is not asked for again.
_ONCE = ("/rotate", "/login", "/secret-id", "/wrapping/unwrap", "/token/create")
_POINTLESS_TO_REPEAT = (Outage.LIMITED, Outage.NO_SECRET_ID)


class TokenSource(Protocol):
    """Where the adapter gets its token from."""

    def current(self, until: Deadline) -> str:
        """Return a token to use now."""
        ...

    def refused(self, stale: str, until: Deadline) -> str:
        """Return another token after a 403, or raise `VaultDenied`."""
        ...


def unobserved(_event: str) -> None:
    """Nobody listens to events."""


@dataclass(frozen=True, slots=True)
class _Call:
    """One request of hvac's, ready to be sent as often as it takes."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    shape: type[Any]
    until: Deadline

    def __repr__(self) -> str:
        return f"_Call({self.method} {self.url})"


class _Door(hvac.adapters.Adapter):  # type: ignore[misc]  # hvac has no types
    """The one way out to Vault: token, deadline, tries, breaker, strict reading."""

    def __init__(
        self,
        *,
        link: Link,
        breaker: Breaker,
        budget: float,
        tokens: TokenSource | None,
        observe: Callable[[str], None],
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._link = link
        self._breaker = breaker
        self._budget = budget
        self._tokens = tokens
        self._observe = observe

    def get_login_token(self, response: Any) -> str:
        """Never used: hvac's own login would keep the token in the client.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError

    def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        raise_exception: bool = True,  # noqa: ARG002, FBT001, FBT002  # hvac's signature
        *,
        json: Any = None,
        wrap_ttl: str | None = None,
        shape: type[Any] = dict,
        until: Deadline | None = None,
    ) -> Any:
        """Do one request of hvac's, within the budget, and return the answer as `shape`.

        Raises:
            VaultUnavailable, VaultDenied, KeyNotReady, VaultRefused: see keys.answers.
        """
        until = until or Deadline(self._budget)
        sent = {"X-Vault-Request": "true", "Content-Type": "application/json", **(headers or {})}
        if wrap_ttl is not None:
            sent["X-Vault-Wrap-TTL"] = wrap_ttl
        body = None if json is None else msgspec.json.encode(json)
        call = _Call(method.upper(), url, sent, body, shape, until)
        if self._tokens is None:
            return self._persist(call)
        token = sent["X-Vault-Token"] = self._tokens.current(until)
        try:
            return self._persist(call)
        except Forbidden:
            sent["X-Vault-Token"] = self._tokens.refused(token, until)
        try:
            return self._persist(call)
        except Forbidden:
            raise VaultDenied("vault denied the operation") from None

    def _persist(self, call: _Call) -> Any:
        """Try until it works, the time is over, or trying again is useless or unsafe."""
        failures = 0
        while True:
            try:
                self._breaker.admit()
                return self._try_once(call)
            except VaultUnavailable as outage:
                failures += 1
                if not _may_repeat(call.url, outage) or not _pause(outage, failures, call.until):
                    raise

    def _try_once(self, call: _Call) -> Any:
        try:
            reply = self._link.exchange(call.method, call.url, call.headers, call.body, call.until)
            answer = read(reply, call.shape)
        except VaultUnavailable as outage:
            self._observe(outage.reason.value)
            if outage.reason is Outage.LIMITED:
                self._breaker.succeeded()  # it is about this request, not about Vault
            elif self._breaker.failed():
                self._observe("breaker_opened")
            raise
        except KeysError:
            self._breaker.succeeded()
            raise
        self._breaker.succeeded()
        return answer


def _may_repeat(url: str, outage: VaultUnavailable) -> bool:
    if outage.reason in _POINTLESS_TO_REPEAT:
        return False
    certainly_not_done = isinstance(outage, NeverSent) or outage.reason is Outage.BREAKER_OPEN
    return certainly_not_done or not url.endswith(_ONCE)


def _pause(outage: VaultUnavailable, failures: int, until: Deadline) -> bool:
    if outage.reason is Outage.BREAKER_OPEN:
        # On-line callers are told at once; jobs wait for the probe.
        return until.patient and until.sleep(outage.retry_after)
    return until.sleep_before(failures)


def connect(
    link: Link,
    *,
    address: str,
    breaker: Breaker,
    budget: float,
    tokens: TokenSource | None,
    observe: Callable[[str], None],
) -> Any:
    """Return an hvac client whose every request goes through the one adapter."""
    adapter = functools.partial(
        _Door, link=link, breaker=breaker, budget=budget, tokens=tokens, observe=observe
    )
    # An empty token and an explicit verify keep hvac from asking the environment for them.
    return hvac.Client(url=address, token="", verify=True, allow_redirects=False, adapter=adapter)


class _LoginDoor:
    """The requests of a token's life (keys.tokens.Door), made without a token of one's own."""

    def __init__(self, client: Any, *, approle_mount: str) -> None:
        self._post = client.adapter.post
        self._get = client.adapter.get
        self._login_path = f"/v1/auth/{approle_mount}/login"

    def wrapping_path(self, wrapping_token: Secret, until: Deadline) -> str:
        """Return the path that made a wrapping token."""
        answer: WrapLookupAnswer = self._post(
            "/v1/sys/wrapping/lookup",
            json={"token": wrapping_token.expose().decode()},
            shape=WrapLookupAnswer,
            until=until,
        )
        return answer.data.creation_path

    def unwrap_secret_id(self, wrapping_token: Secret, until: Deadline) -> Secret:
        """Return the secret-id inside a wrapping token."""
        answer: SecretIdAnswer = self._post(
            "/v1/sys/wrapping/unwrap",
            headers={"X-Vault-Token": wrapping_token.expose().decode()},
            shape=SecretIdAnswer,
            until=until,
        )
        return Secret(answer.data.secret_id.encode())

    def log_in(self, role_id: str, secret_id: Secret, until: Deadline) -> Auth:
        """Return a token for a secret-id."""
        answer: AuthAnswer = self._post(
            self._login_path,
            json={"role_id": role_id, "secret_id": secret_id.expose().decode()},
            shape=AuthAnswer,
            until=until,
        )
        return answer.auth

    def renew(self, token: str, until: Deadline) -> Auth:
        """Prolong a token."""
        answer: AuthAnswer = self._post(
            "/v1/auth/token/renew-self",
            headers={"X-Vault-Token": token},
            json={},
            shape=AuthAnswer,
            until=until,
        )
        return answer.auth

    def is_alive(self, token: str, until: Deadline) -> bool:
        """Tell whether Vault still knows a token."""
        try:
            self._get("/v1/auth/token/lookup-self", headers={"X-Vault-Token": token}, until=until)
        except Forbidden:
            return False
        return True

    def revoke(self, token: str, until: Deadline) -> None:
        """End a token."""
        self._post(
            "/v1/auth/token/revoke-self", headers={"X-Vault-Token": token}, json={}, until=until
        )


class Transit(TransitOperations):
    """Transit as one Vault role; thread-safe; logs in by itself when first used.

    Args:
        address: `https://host:port` of Vault.
        role: the role's name without prefix, such as `ingest`.
        spool: the folder where the role's secret-ids arrive (keys.spool).
        mount: where Transit is mounted.
        approle_prefix: what stands before the role in AppRole and policy names.
        approle_mount: where AppRole is mounted.
        ca_file: certificates to trust instead of the system's.
        budget: seconds for a whole call; from 5 on, calls wait for a paused Vault.
        pool_size: connections kept open.
        observe: told of each event by a short name: every `Outage`, "breaker_opened", "login",
            "renewal", "secret_id_intercepted".
    """

    def __init__(
        self,
        *,
        address: str,
        role: str,
        spool: Path,
        mount: str = "transit",
        approle_prefix: str = PREFIX,
        approle_mount: str = APPROLE_MOUNT,
        ca_file: Path | None = None,
        budget: float = ON_LINE_BUDGET,
        pool_size: int = POOL_SIZE,
        observe: Callable[[str], None] = unobserved,
    ) -> None:
        self._link = Link(address, ca_file=ca_file, pool_size=pool_size + PARTS_AT_ONCE)
        open_ = functools.partial(
            connect, self._link, address=address, breaker=Breaker(), budget=budget, observe=observe
        )
        approle = checked_mount(approle_mount)
        self._login_door = _LoginDoor(open_(tokens=None), approle_mount=approle)
        self._tokens = Tokens(
            self._login_door,
            Spool(spool, role),
            creation_path=f"auth/{approle}/role/{approle_prefix}{role}/secret-id",
            observe=observe,
        )
        self.role = role
        self._parts = ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix=f"vault-{role}")
        super().__init__(open_(tokens=self._tokens), mount=mount, budget=budget, aside=self._parts)

    def close(self) -> None:
        """End the token, as far as Vault is there to hear it, and close the connections."""
        self._parts.shutdown(wait=False, cancel_futures=True)
        token = self._tokens.peek()
        if token is not None:
            with contextlib.suppress(KeysError):  # else it ends by itself within its short life
                self._login_door.revoke(token, Deadline(0.5))
        self._link.close()
