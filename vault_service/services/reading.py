"""Masked reads: a record by its token, a customer's records, records by a value.

Nothing here touches a key or a sealed column. Only the search asks Vault, for the fingerprint of
the value that is looked for; everything else is answered while Vault is away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from keys.fingerprint import Fingerprint
from vault_service.domain import tokens
from vault_service.domain.actors import Action
from vault_service.domain.classes import DataClass, tokenizable
from vault_service.domain.values import search_key
from vault_service.errors import InvalidInput, NotFound, ServiceError, Unavailable, outcome
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit, Denials
from vault_service.services.context import Caller
from vault_service.services.crypto_ports import Fingerprinting
from vault_service.services.gather import apart
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.modification_ports import VersionRow
from vault_service.services.outbox_ports import OutboxEntry
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.record_ports import MaskedRecord
from vault_service.services.reindex_ports import FingerprintOutdated
from vault_service.services.unusual import Unusual
from vault_service.services.views import TokenPage, TokenView, VersionView, stored_view

MAX_PAGE: Final = 100
MAX_SEARCH: Final = 100
# Records answered for one searched value; the same telephone may stand for many customers.
MAX_MATCHES: Final = 100

# Searches that share one statement; each may bring `MAX_SEARCH` values.
SEARCHES: Final = 32

# A search meets a re-index that begins at this very moment once, and not a second time.
TRIES: Final = 3

_Name = tuple[int, str]
_Found = tuple[TokenView, ...] | ServiceError


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """One search, as the caller sent it."""

    caller: Caller
    data_class: str
    values: tuple[object, ...] = field(repr=False)


@dataclass(slots=True, kw_only=True)
class _Search:
    """One search under way: its values' keys by place, then their fingerprints, then results."""

    caller: Caller
    data_class: DataClass
    keys: dict[int, bytes] = field(repr=False)
    results: list[_Found]
    digests: dict[int, list[Fingerprint]] = field(default_factory=dict, repr=False)


class Reading:
    """The use case. Thread-safe."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        fingerprints: Fingerprinting,
        audit: Audit,
        honeytokens: Honeytokens,
        missed: Unusual,
    ) -> None:
        self._uow = uow
        self._fingerprints = fingerprints
        self._audit = audit
        self._honeytokens = honeytokens
        self._missed = missed

    def get(self, caller: Caller, token: str) -> TokenView:
        """One record, masked.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such live record; a malformed token answers alike.
            Unavailable: the database is.
        """
        (found,) = self.get_many([(caller, token)])
        if isinstance(found, Exception):
            raise found
        return found

    def get_many(self, asked: Sequence[tuple[Caller, str]]) -> list[TokenView | Exception]:
        """As `get`, for several callers together: a record or an error for each."""
        return apart(asked, _named, self._got, self._audit)

    def _got(self, named: Sequence[tuple[Caller, _Name]]) -> list[TokenView | Exception]:
        with self._uow.begin(read_only=True) as tx:
            found = tx.records.masked(list(dict.fromkeys(name for _, name in named)))
        return [
            self._seen(caller, stored_view(found[token])) if token in found else _token_not_found()
            for caller, (_, token) in named
        ]

    def _seen(self, caller: Caller, view: TokenView) -> TokenView | ServiceError:
        """The view, unless the caller may not be answered."""
        try:
            self._honeytokens.look(caller, (view.id, view.customer))
        except ServiceError as error:
            return outcome(error)
        return view

    def versions(self, caller: Caller, token: str) -> list[VersionView]:
        """A record's versions, masked, newest first.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such live record; a malformed token answers alike.
        """
        self._audit.require(caller, Action.READ_MASKED)
        try:
            name = tokens.bucket_from_token(token), token
        except InvalidInput as exc:
            raise _token_not_found() from exc
        with self._uow.begin() as tx:
            record = tx.records.masked([name]).get(token)
            if record is None:
                raise _token_not_found()
            earlier = tx.modifications.versions(*name)
        self._honeytokens.look(caller, (record.customer, token))
        return _versions(record, earlier)

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
        views = tuple(stored_view(row) for row in rows[:limit])
        self._honeytokens.look(caller, (customer, *(view.id for view in views)))
        return TokenPage(items=views, next=views[-1].id if len(rows) > limit else None)

    def search(self, caller: Caller, *, data_class: str, values: Sequence[object]) -> list[_Found]:
        """Records that hold exactly these values, masked; one result for each value.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: the class is unknown, or the number of values wrong.
            VaultUnavailable: no fingerprint could be made.
        """
        asked = SearchRequest(caller=caller, data_class=data_class, values=tuple(values))
        (found,) = self.search_many([asked])
        if isinstance(found, Exception):
            raise found
        return found

    def search_many(self, asked: Sequence[SearchRequest]) -> list[list[_Found] | Exception]:
        """As `search`, for several callers together: results or an error for each."""
        return apart(asked, self._begun, self._done, self._audit)

    def _done(self, searches: Sequence[_Search]) -> list[list[_Found] | Exception]:
        return [
            self._found(search.caller, results)
            for search, results in zip(searches, self._search(searches), strict=True)
        ]

    def _begun(self, asked: SearchRequest, denials: Denials) -> _Search:
        denials.require(asked.caller, Action.SEARCH)
        known = tokenizable(asked.data_class)
        if not 1 <= len(asked.values) <= MAX_SEARCH:
            raise InvalidInput(
                f"a search takes 1 to {MAX_SEARCH} values", code="batch_size", pointer="/values"
            )
        search = _Search(caller=asked.caller, data_class=known, keys={}, results=[])
        for index, value in enumerate(asked.values):
            try:
                search.keys[index] = search_key(known, value, pointer=f"/values/{index}")
                search.results.append(())
            except ServiceError as exc:
                search.results.append(exc)
        return search

    def _found(self, caller: Caller, results: list[_Found]) -> list[_Found] | Exception:
        """The results, unless the caller may not be answered."""
        try:
            self._missed.note(caller, sum(result == () for result in results))
            views = (view for result in results if isinstance(result, tuple) for view in result)
            self._honeytokens.look(
                caller, [name for view in views for name in (view.id, view.customer)]
            )
        except ServiceError as error:
            return outcome(error)
        return results

    def _search(self, searches: Sequence[_Search]) -> list[list[_Found]]:
        for _ in range(TRIES):
            try:
                return self._searched_once(searches)
            except FingerprintOutdated:
                # Records went to a new version between Vault's answer and the database's.
                continue
        raise Unavailable("the keys are being rotated", code="rotation_under_way", retry_after=5.0)

    def _searched_once(self, searches: Sequence[_Search]) -> list[list[_Found]]:
        wanted = [(search, index, key) for search in searches for index, key in search.keys.items()]
        groups = (
            self._fingerprints.candidates([(search.data_class, key) for search, _, key in wanted])
            if wanted
            else []
        )
        for (search, index, _), group in zip(wanted, groups, strict=True):
            search.digests[index] = group
        with self._uow.begin() as tx:
            found = _matching(tx, searches)
            now = tx.clock.now()
            for search in searches:
                for index, group in search.digests.items():
                    rows = (row for each in group for row in found.get(each.digest, ()))
                    matches = {row.token: row for row in rows}
                    search.results[index] = tuple(stored_view(row) for row in matches.values())
            tx.outbox.append([row for search in searches for row in self._searched(search, now)])
        return [search.results for search in searches]

    def _searched(self, search: _Search, now: datetime) -> list[OutboxEntry]:
        views = [view for result in search.results if isinstance(result, tuple) for view in result]
        return self._audit.entries(
            Event.TOKENS_SEARCHED,
            search.caller,
            at=now,
            tokens=list(dict.fromkeys(view.id for view in views)),
            count=len(search.results),
            details={"class": search.data_class.value},
        )


def _matching(tx: Transaction, searches: Sequence[_Search]) -> dict[bytes, list[MaskedRecord]]:
    """Records by fingerprint. A fingerprint is of one class, which is in what it was made of."""
    groups = [
        (search.data_class, group) for search in searches for group in search.digests.values()
    ]
    return tx.records.by_fingerprint(
        [(data_class, each.digest) for data_class, group in groups for each in group],
        MAX_MATCHES,
        newest={data_class: group[0].key_version for data_class, group in groups},
    )


def _versions(record: MaskedRecord, earlier: Sequence[VersionRow]) -> list[VersionView]:
    """Each version with its time: one begins where the one before was replaced."""
    masks = [(record.version, record.mask), *((each.version, each.mask) for each in earlier)]
    ends = [None, *(each.replaced_at for each in earlier)]
    begins = [*(each.replaced_at for each in earlier), record.created_at]
    # The change that ended a version is the one that made the next.
    makers = [*(each.modification for each in earlier), None]
    return [
        VersionView(version=version, mask=mask, since=since, until=until, modification=maker)
        for (version, mask), since, until, maker in zip(masks, begins, ends, makers, strict=True)
    ]


def _named(asked: tuple[Caller, str], denials: Denials) -> tuple[Caller, _Name]:
    """Whoever asks, and (bucket, token), if he may; a malformed token answers as an unknown one."""
    caller, token = asked
    denials.require(caller, Action.READ_MASKED)
    try:
        return caller, (tokens.bucket_from_token(token), token)
    except InvalidInput:
        raise _token_not_found() from None


def _token_not_found() -> NotFound:
    return NotFound("there is no such token", code="token_not_found")


def _customer_not_found() -> NotFound:
    return NotFound("there is no such customer", code="customer_not_found")
