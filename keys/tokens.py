"""The life of one Vault token: logging in from the spool, renewing, logging in again.

Nothing here runs by itself: the call that finds the token at two thirds of its life renews it,
and the one that finds it dead logs in, once for all who wait. A login spends one secret-id.

Steps of a login, each of which can stop it:
1. claim a file of the spool;
2. look the wrapping token up, which does not use it: it must exist, and must have been made by
   this role's secret-id endpoint, or it was used or substituted;
3. unwrap it, never twice: an answer lost on the way loses the secret-id;
4. log in with it.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Never, Protocol

from keys.answers import Auth, Forbidden
from keys.errors import (
    KeysError,
    Outage,
    SecretIdIntercepted,
    VaultDenied,
    VaultRefused,
    VaultUnavailable,
)
from keys.link import NeverSent
from keys.retry import Deadline
from keys.secret import Secret
from keys.spool import Claim, Spool

_RENEW_AT = 2 / 3
_RENEW_AGAIN = 5.0  # seconds before another try when a renewal failed
_WORN_PART = 1 / 3  # a renewal that grants less of the first life than this nears the maximum

_log = logging.getLogger(__name__)


class Door(Protocol):
    """The few requests that a token's life needs; none of them asks for a token by itself."""

    def wrapping_path(self, wrapping_token: Secret, until: Deadline) -> str:
        """Return the path that made a wrapping token."""
        ...

    def unwrap_secret_id(self, wrapping_token: Secret, until: Deadline) -> Secret:
        """Return the secret-id inside a wrapping token."""
        ...

    def log_in(self, role_id: str, secret_id: Secret, until: Deadline) -> Auth:
        """Return a token for a secret-id."""
        ...

    def renew(self, token: str, until: Deadline) -> Auth:
        """Prolong a token."""
        ...

    def is_alive(self, token: str, until: Deadline) -> bool:
        """Tell whether Vault still knows a token."""
        ...


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    first_life: float
    renew_at: float
    dies_at: float

    def __repr__(self) -> str:
        return "_Token(hidden)"


class FixedToken:
    """A token given from outside, for administration; never renewed, never replaced."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    def current(self, until: Deadline) -> str:  # noqa: ARG002  # the shape of Tokens
        """Return the token."""
        return self._token.expose().decode()

    def refused(self, stale: str, until: Deadline) -> str:  # noqa: ARG002  # the shape of Tokens
        """Vault answered 403 to it.

        Raises:
            VaultDenied: always; there is nothing to log in again with.
        """
        raise VaultDenied("vault denied the operation")


class Tokens:
    """Hands out a living token; thread-safe.

    Args:
        door: the requests it needs.
        spool: where the role's secret-ids arrive.
        creation_path: the path that must have made each wrapping token.
        observe: told of "login", "renewal" and "secret_id_intercepted", for metrics and alarms.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        door: Door,
        spool: Spool,
        *,
        creation_path: str,
        observe: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._door = door
        self._spool = spool
        self._creation_path = creation_path
        self._observe = observe
        self._clock = clock
        self._login_lock = threading.Lock()
        self._renew_lock = threading.Lock()
        self._token: _Token | None = None
        self._failed_at = 0.0
        self._failure: VaultUnavailable | None = None

    def current(self, until: Deadline) -> str:
        """Return a token, logging in or renewing where it is time.

        Raises:
            VaultUnavailable, VaultDenied: no token can be had.
        """
        token = self._token
        now = self._clock()
        if token is None or now >= token.dies_at:
            return self._log_in_unless(lambda: self._living(token), until)
        if now >= token.renew_at and self._renew_lock.acquire(blocking=False):
            # One caller renews; the others go on with the token, which still lives.
            try:
                self._renew(token, until)
            finally:
                self._renew_lock.release()
        return (self._token or token).value

    def refused(self, stale: str, until: Deadline) -> str:
        """Vault answered 403 to `stale`: return another token, or say that it is a denial.

        Raises:
            VaultDenied: the token lives, so it is the operation that is denied.
            VaultUnavailable: no other token can be had.
        """

        def another() -> str | None:
            token = self._token
            if token is not None and token.value != stale:
                return token.value  # somebody else has logged in meanwhile
            # Fact 9: both cases are 403. Asking which one it is keeps a denied path from
            # spending a secret-id per request.
            if self._door.is_alive(stale, until):
                raise VaultDenied("vault denied the operation")
            return None

        return self._log_in_unless(another, until)

    def peek(self) -> str | None:
        """Return the token if there is one, without doing anything for it."""
        return self._token.value if self._token else None

    def _living(self, known: _Token | None) -> str | None:
        token = self._token
        return token.value if token is not None and token is not known else None

    def _log_in_unless(self, otherwise: Callable[[], str | None], until: Deadline) -> str:
        arrived = self._clock()
        if not self._login_lock.acquire(timeout=until.remaining()):
            raise VaultUnavailable("waited too long for a login", reason=Outage.SLOW)
        try:
            if self._failure is not None and self._failed_at > arrived:
                # It failed while this caller waited for it: share the outcome, do not queue up.
                raise copy.copy(self._failure) from None
            try:
                value = otherwise()
                if value is None:
                    self._token = self._log_in(until)
                    value = self._token.value
            except VaultUnavailable as error:
                self._failure, self._failed_at = error, self._clock()
                raise
            return value
        finally:
            self._login_lock.release()

    def _log_in(self, until: Deadline) -> _Token:
        claim = self._spool.claim()
        secret_id = self._unwrap(claim, until)
        try:
            auth = self._door.log_in(claim.role_id, secret_id, until)
        except (VaultRefused, Forbidden):
            raise VaultDenied("vault refused the login") from None
        finally:
            claim.spend()
        self._observe("login")
        return self._made(auth, first_life=float(auth.lease_duration))

    def _unwrap(self, claim: Claim, until: Deadline) -> Secret:
        try:
            path = self._door.wrapping_path(claim.wrapping_token, until)
        except (VaultRefused, Forbidden):
            self._alarm(claim)
        except KeysError:
            claim.put_back()
            raise
        if path != self._creation_path:
            self._alarm(claim)
        try:
            return self._door.unwrap_secret_id(claim.wrapping_token, until)
        except (VaultRefused, Forbidden):
            self._alarm(claim)
        except NeverSent:
            claim.put_back()
            raise
        except KeysError:
            claim.spend()
            raise

    def _alarm(self, claim: Claim) -> Never:
        claim.keep_as_evidence()
        self._observe("secret_id_intercepted")
        _log.critical("a wrapped secret-id was used or replaced by somebody else")
        raise SecretIdIntercepted("a wrapped secret-id was used by somebody else") from None

    def _renew(self, token: _Token, until: Deadline) -> None:
        try:
            auth = self._door.renew(token.value, until)
        except VaultUnavailable:
            self._token = self._postponed(token)
            return
        except KeysError:
            # It died, or may not be renewed: the next call logs in, unless one has meanwhile.
            self._token = None if self._token is token else self._token
            return
        self._observe("renewal")
        renewed = self._made(auth, first_life=token.first_life)
        self._token = renewed
        if auth.lease_duration < token.first_life * _WORN_PART:
            self._replace(renewed, until)

    def _replace(self, token: _Token, until: Deadline) -> None:
        """Log in anew while the old token, near its longest life, still serves."""
        try:
            self._token = self._log_in(until)
        except KeysError:
            self._token = self._postponed(token)

    def _postponed(self, token: _Token) -> _Token:
        return _Token(token.value, token.first_life, self._clock() + _RENEW_AGAIN, token.dies_at)

    def _made(self, auth: Auth, *, first_life: float) -> _Token:
        now = self._clock()
        # A lease of 0 is a token that never expires.
        life = float(auth.lease_duration) or float("inf")
        return _Token(auth.client_token, first_life, now + life * _RENEW_AT, now + life)
