"""The door: who a request comes from, before any of it is looked at.

A stranger's body is read only after he is known, so that he can neither make the service parse
nor hold a thread by sending slowly; `knows` tells whose credential was good when it was last shown,
and whose body may come before the look-up that he gets all the same. An address that keeps
showing credentials that are refused is turned away without a look-up (each costs a query and an
entry in the ledger), except for credentials that this process has seen to be good: otherwise one
stranger behind a shared address could lock the others out.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from flask import Request

from vault_service.errors import NotAuthenticated, RateLimited, ServiceError
from vault_service.services.authentication import Authentication, Shown
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

    def knows(self, request: Request) -> bool:
        """Whether the request shows a credential that was good here, when it was last shown.

        It decides who may have a body read, and be looked up in company; nobody is let in for it.
        """
        return _digest(request) in self._good

    def admit(self, request: Request, context: RequestContext) -> Caller:
        """The caller whom the request's credential proves.

        Raises:
            NotAuthenticated: there is no credential that counts.
            RateLimited: the address has shown too many that do not.
            Unavailable: nobody could look.
        """
        digest = _digest(request)
        if digest not in self._good:
            wait = self._rates.spent(Rate.REFUSED, context.address)
            if wait is not None:
                raise RateLimited("too many refused credentials", retry_after=wait)
        try:
            caller = self._authentication.authenticate(_shown(request, context))
        except NotAuthenticated:
            self._refuse(digest, context)
            raise
        self._remember(digest)
        context.caller = caller
        return caller

    def admit_many(
        self, comers: Sequence[tuple[Request, RequestContext]]
    ) -> list[Caller | ServiceError]:
        """As `admit`, for requests that this door `knows`: a caller or the refusal each.

        Raises:
            Unavailable: nobody could look.
        """
        found = self._authentication.authenticate_many([_shown(*comer) for comer in comers])
        for (request, context), outcome in zip(comers, found, strict=True):
            if isinstance(outcome, Caller):
                context.caller = outcome
            elif isinstance(outcome, NotAuthenticated):
                self._refuse(_digest(request), context)
        return found

    def _refuse(self, digest: bytes, context: RequestContext) -> None:
        self._forget(digest)
        self._rates.count(Rate.REFUSED, context.address)

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


def _digest(request: Request) -> bytes:
    shown = request.headers.get("Authorization") or ""
    return hashlib.sha256(shown.encode("utf-8", "surrogateescape")).digest()


def _shown(request: Request, context: RequestContext) -> Shown:
    return Shown(
        authorization=request.headers.get("Authorization"),
        request_id=context.id,
        address=context.address,
        deadline=context.deadline,
    )
