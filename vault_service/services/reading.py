"""Masked reads: a record by its token, a customer's records, records by a value.

Nothing here touches a key or a sealed column. Only the search asks Vault, for the fingerprint of
the value that is looked for; everything else is answered while Vault is away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vault_service.domain import tokens
from vault_service.domain.actors import Action
from vault_service.domain.classes import tokenizable
from vault_service.domain.values import search_key
from vault_service.errors import InvalidInput, NotFound, ServiceError
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.gather import Gather
from vault_service.services.ports import Fingerprinting, MaskedRecord, UnitOfWork
from vault_service.services.views import TokenPage, TokenView, token_view

MAX_PAGE: Final = 100
MAX_SEARCH: Final = 100
# Records answered for one searched value; the same telephone may stand for many customers.
MAX_MATCHES: Final = 100

_Name = tuple[int, str]


class Reading:
    """The use case. Thread-safe; concurrent reads of single tokens are gathered."""

    def __init__(self, *, uow: UnitOfWork, fingerprints: Fingerprinting, audit: Audit) -> None:
        self._uow = uow
        self._fingerprints = fingerprints
        self._audit = audit
        self._singles = Gather[_Name, TokenView](self._read)

    def get(self, caller: Caller, token: str) -> TokenView:
        """One record, masked.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such live record; a malformed token answers alike.
            Unavailable: the database is.
        """
        self._audit.require(caller, Action.READ_MASKED)
        try:
            name = tokens.bucket_from_token(token), token
        except InvalidInput as exc:
            raise _token_not_found() from exc
        return self._singles.submit(name, deadline=caller.deadline)

    def _read(self, names: list[_Name]) -> Sequence[TokenView | Exception]:
        with self._uow.begin(read_only=True) as tx:
            found = tx.records.masked(names)
        return [
            token_view(found[token]) if token in found else _token_not_found() for _, token in names
        ]

    def page(
        self,
        caller: Caller,
        *,
        customer: str,
        data_class: str | None,
        cursor: str | None,
        limit: int,
    ) -> TokenPage:
        """A customer's records, masked, in the order of their tokens.

        Args:
            caller: who asks.
            customer: whose records.
            data_class: only this class, if given.
            cursor: `next` of the page before.
            limit: most records on the page, 1 to 100.

        Raises:
            InvalidInput: the class, cursor or limit is wrong.
            NotFound: there is no such customer.
        """
        self._audit.require(caller, Action.READ_MASKED)
        tokens.check_customer_id(customer, pointer="/customer")
        if data_class is not None:
            tokenizable(data_class)
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(
                f"a page holds 1 to {MAX_PAGE} records", code="limit_invalid", pointer="/limit"
            )
        if cursor is not None:
            try:
                tokens.bucket_from_token(cursor)
            except InvalidInput as exc:
                raise InvalidInput(
                    "this is not a cursor", code="cursor_invalid", pointer="/cursor"
                ) from exc
        bucket = tokens.bucket_of(customer)
        with self._uow.begin() as tx:
            rows = tx.records.page(bucket, customer, data_class, cursor, limit + 1)
            if not rows and customer not in tx.customers.get([(bucket, customer)]):
                raise _customer_not_found()
            tx.outbox.append(
                self._audit.entries(
                    Event.CUSTOMER_READ,
                    caller,
                    at=tx.clock.now(),
                    customer=customer,
                    count=min(len(rows), limit),
                )
            )
        views = tuple(token_view(row) for row in rows[:limit])
        return TokenPage(items=views, next=views[-1].id if len(rows) > limit else None)

    def search(
        self, caller: Caller, *, data_class: str, values: Sequence[object]
    ) -> list[tuple[TokenView, ...] | ServiceError]:
        """Records that hold exactly these values, masked; one result for each value.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: the class is unknown, or the number of values wrong.
            VaultUnavailable: no fingerprint could be made.
        """
        self._audit.require(caller, Action.SEARCH)
        known = tokenizable(data_class)
        if not 1 <= len(values) <= MAX_SEARCH:
            raise InvalidInput(
                f"a search takes 1 to {MAX_SEARCH} values", code="batch_size", pointer="/values"
            )
        results: list[tuple[TokenView, ...] | ServiceError] = []
        wanted: dict[int, bytes] = {}
        for index, value in enumerate(values):
            try:
                wanted[index] = search_key(known, value, pointer=f"/values/{index}")
                results.append(())
            except ServiceError as exc:
                results.append(exc)
        digests = dict(
            zip(
                wanted,
                self._fingerprints.candidates([(known, key) for key in wanted.values()])
                if wanted
                else [],
                strict=True,
            )
        )
        with self._uow.begin() as tx:
            found = tx.records.by_fingerprint(
                [(known, each.digest) for group in digests.values() for each in group],
                MAX_MATCHES,
            )
            for index, group in digests.items():
                matches: dict[str, MaskedRecord] = {}
                for each in group:
                    matches.update((row.token, row) for row in found.get(each.digest, ()))
                results[index] = tuple(token_view(row) for row in matches.values())
            views = [view for result in results if isinstance(result, tuple) for view in result]
            tx.outbox.append(
                self._audit.entries(
                    Event.TOKENS_SEARCHED,
                    caller,
                    at=tx.clock.now(),
                    tokens=list(dict.fromkeys(view.id for view in views)),
                    count=len(values),
                    details={"class": known.value},
                )
            )
        return results


def _token_not_found() -> NotFound:
    return NotFound("there is no such token", code="token_not_found")


def _customer_not_found() -> NotFound:
    return NotFound("there is no such customer", code="customer_not_found")
