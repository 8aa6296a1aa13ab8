"""Customers: made from a company's own reference, read as a masked profile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence
from typing import Final

from vault_service.domain import tokens
from vault_service.domain.actors import Action
from vault_service.domain.customers import REFERENCE_CLASS, reference_key
from vault_service.errors import Conflict, InvalidInput, NotFound, ServiceError
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.crypto_ports import Fingerprinting
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.views import CustomerProfile, CustomerView, TokenView, stored_view

MAX_ITEMS: Final = 1000
# Records shown in one profile; the listing by cursor has the rest.
MAX_PROFILE: Final = 1000


class Customers:
    """The use case."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        fingerprints: Fingerprinting,
        audit: Audit,
        honeytokens: Honeytokens,
    ) -> None:
        self._uow = uow
        self._fingerprints = fingerprints
        self._audit = audit
        self._honeytokens = honeytokens

    def create(
        self, caller: Caller, references: Sequence[str | None]
    ) -> list[CustomerView | ServiceError]:
        """Make customers, or find those whose reference is known; one result for each.

        The reference is kept as its fingerprint only: the customer's id is derived from it, so
        the same reference gives the same customer, whoever asks and however many at once.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: too many at once.
            VaultUnavailable: no fingerprint could be made.
        """
        self._audit.require(caller, Action.CREATE_CUSTOMER)
        if not 1 <= len(references) <= MAX_ITEMS:
            raise InvalidInput(f"1 to {MAX_ITEMS} customers at once", code="batch_size")
        results: dict[int, CustomerView | ServiceError] = {}
        checked: dict[int, bytes] = {}
        for index, reference in enumerate(references):
            if reference is None:
                continue
            try:
                checked[index] = reference_key(reference)
            except ServiceError as exc:
                results[index] = exc
        ids = self._ids(checked)
        for index, reference in enumerate(references):
            if reference is None:
                ids[index] = [tokens.new_customer_id()]
        if ids:
            results.update(self._insert(caller, ids, referenced=checked.keys()))
        return [results[index] for index in range(len(references))]

    def _ids(self, references: dict[int, bytes]) -> dict[int, list[str]]:
        """Each reference's possible ids: one for every key version in force, newest first."""
        if not references:
            return {}
        groups = self._fingerprints.candidates(
            [(REFERENCE_CLASS, key) for key in references.values()]
        )
        return {
            index: [tokens.customer_id_from_fingerprint(each.digest) for each in group]
            for index, group in zip(references, groups, strict=True)
        }

    def _insert(
        self, caller: Caller, ids: dict[int, list[str]], *, referenced: Container[int]
    ) -> dict[int, CustomerView | ServiceError]:
        with self._uow.begin() as tx:
            chosen = self._choose(tx, ids)
            rows = {
                name: (tokens.bucket_of(name), name, index in referenced)
                for index, name in chosen.items()
            }
            new = tx.customers.insert(list(rows.values()))
            stored = tx.customers.get([row[:2] for row in rows.values()])
            now = tx.clock.now()
            tx.outbox.append(
                [
                    entry
                    for name in new
                    for entry in self._audit.entries(
                        Event.CUSTOMER_CREATED, caller, at=now, customer=name
                    )
                ]
            )
        first: set[str] = set()
        results: dict[int, CustomerView | ServiceError] = {}
        for index, name in chosen.items():
            if name not in stored:
                # The id is his for ever, as tokens are, and it comes from the reference.
                results[index] = Conflict(
                    "this reference belonged to a customer who was erased",
                    code="customer_erased",
                    pointer="/external_ref",
                    hint="give whoever comes back a new reference",
                )
                continue
            created = name in new and name not in first
            first.add(name)
            results[index] = CustomerView(
                id=name, created_at=stored[name].created_at, created=created
            )
        return results

    @staticmethod
    def _choose(tx: Transaction, ids: dict[int, list[str]]) -> dict[int, str]:
        """The id under which a customer is already known, else the newest."""
        if all(len(group) == 1 for group in ids.values()):
            return {index: group[0] for index, group in ids.items()}
        every = {name for group in ids.values() for name in group}
        known = tx.customers.get([(tokens.bucket_of(name), name) for name in every])
        return {
            index: next((name for name in group if name in known), group[0])
            for index, group in ids.items()
        }

    def profile(self, caller: Caller, customer: str) -> CustomerProfile:
        """A customer's records by class, masked. The reading is a ledger entry.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such customer; a malformed id answers alike.
        """
        self._audit.require(caller, Action.READ_CUSTOMER)
        missing = NotFound("there is no such customer", code="customer_not_found")
        try:
            tokens.check_customer_id(customer)
        except InvalidInput as exc:
            raise missing from exc
        bucket = tokens.bucket_of(customer)
        with self._uow.begin() as tx:
            family = tx.links.family(bucket, customer, MAX_PROFILE + 1)
            if family is None:
                raise missing
            records = family.records
            now = tx.clock.now()
            # Whoever is shown has been read: each of those linked, too.
            for name in family.customers:
                tx.outbox.append(
                    self._audit.entries(
                        Event.CUSTOMER_READ,
                        caller,
                        at=now,
                        customer=name,
                        count=sum(record.customer == name for record in records[:MAX_PROFILE]),
                    )
                )
        self._honeytokens.look(
            caller, (*family.customers, *(row.token for row in records[:MAX_PROFILE]))
        )
        by_class: dict[str, list[TokenView]] = defaultdict(list)
        for record in records[:MAX_PROFILE]:
            by_class[record.data_class].append(stored_view(record))
        return CustomerProfile(
            id=customer,
            created_at=family.created_at,
            linked=family.customers[1:],
            tokens={name: tuple(views) for name, views in sorted(by_class.items())},
            truncated=len(records) > MAX_PROFILE,
        )

    def find(self, caller: Caller, references: Sequence[str]) -> list[CustomerView | ServiceError]:
        """Customers by the company's own references, without making any; one result for each.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: too many at once.
            VaultUnavailable: no fingerprint could be made.
        """
        self._audit.require(caller, Action.READ_CUSTOMER)
        if not 1 <= len(references) <= MAX_ITEMS:
            raise InvalidInput(f"1 to {MAX_ITEMS} customers at once", code="batch_size")
        results: dict[int, CustomerView | ServiceError] = {}
        checked: dict[int, bytes] = {}
        for index, reference in enumerate(references):
            try:
                checked[index] = reference_key(reference)
            except ServiceError as exc:
                results[index] = exc
        ids = self._ids(checked)
        every = {name for group in ids.values() for name in group}
        with self._uow.begin(read_only=True) as tx:
            known = tx.customers.get([(tokens.bucket_of(name), name) for name in every])
        self._honeytokens.look(caller, known)
        for index, group in ids.items():
            row = next((known[name] for name in group if name in known), None)
            results[index] = (
                NotFound("there is no such customer", code="customer_not_found")
                if row is None
                else CustomerView(id=row.id, created_at=row.created_at)
            )
        return [results[index] for index in range(len(references))]
