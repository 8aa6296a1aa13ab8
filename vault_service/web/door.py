"""The door: who a request comes from, before any of it is read.

A body is read only after its sender is known, so that a stranger can neither make the service
parse nor hold a thread by sending slowly. An address that keeps showing credentials that are
refused is turned away without a look-up (each costs a query and an entry in the ledger), except
for credentials that this process has seen to be good: otherwise one stranger behind a shared
address could lock the others out.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import Final

from flask import Request

from vault_service.errors import NotAuthenticated, RateLimited
from vault_service.services.authentication import Authentication, Look
from vault_service.services.context import Caller
from vault_service.web.context import RequestContext
from vault_service.web.rates import Rate, Rates

_REMEMBERED: Final = 4096


class Door:
    """Admits callers. Thread-safe."""

    def __init__(self, authentication: Authentication, rates: Rates) -> None:
        self._authentication = authentication
        self._rates = rates
        # Digests of credentials that were good once: they decide who is asked, never who is let in.
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def admit(
        self, request: Request, context: RequestContext, *, look: Look | None = None
    ) -> Caller:
        """The caller whom the request's credential proves.

        Args:
            request: what came.
            context: of the request.
            look: looks the credential up together with what the caller wants; not taken for a
                credential that was never good here, so that a stranger has nothing read.

        Raises:
            NotAuthenticated: there is no credential that counts.
            RateLimited: the address has shown too many that do not.
            Unavailable: nobody could look.
        """
        shown = request.headers.get("Authorization")
        digest = hashlib.sha256((shown or "").encode("utf-8", "surrogateescape")).digest()
        if digest not in self._good:
            look = None
            wait = self._rates.spent(Rate.REFUSED, context.address)
            if wait is not None:
                raise RateLimited("too many refused credentials", retry_after=wait)
        try:
            caller = self._authentication.authenticate(
                shown,
                request_id=context.id,
                address=context.address,
                deadline=context.deadline,
                look=look,
            )
        except NotAuthenticated:
            self._forget(digest)
            self._rates.count(Rate.REFUSED, context.address)
            raise
        self._remember(digest)
        context.caller = caller
        return caller

    def _remember(self, digest: bytes) -> None:
        if digest in self._good:
            return
        with self._lock:
            self._good[digest] = None
            if len(self._good) > _REMEMBERED:
                self._good.popitem(last=False)

    def _forget(self, digest: bytes) -> None:
        with self._lock:
            self._good.pop(digest, None)
