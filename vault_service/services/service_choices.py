"""Which services a customer has chosen, since when and until when (clause P3 of the policy).

A choice is a record like every other: a token, a data key of its own, a mask, a fingerprint. So
holds, erasure, rotation, accounting and reveal hold for it as they are. It never changes: whoever
tells of another end or of other words leaves a record beside the first, and the history shows both.
The last one told of a service and its first day is the one that counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final

from vault_service.domain import tokens
from vault_service.domain.actors import Action
from vault_service.domain.classes import DataClass
from vault_service.errors import InvalidInput, NotFound
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.ports import UnitOfWork
from vault_service.services.tokenization import Tokenization, TokenizeItem, TokenizeRequest
from vault_service.services.views import TokenizeAnswer, TokenView, stored_view

# Choices that one history shows; the listing of tokens by cursor has the rest.
MAX_HISTORY: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceDraft:
    """A choice as a caller tells it; `value` is what `domain.services` parses."""

    value: object = field(repr=False)
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChoiceView:
    """A choice, masked.

    Attributes:
        token: its record.
        service: the service's code.
        since: the first day.
        until: the first day without it; None while none was told.
        current: whether the customer has the service today, by this choice.
        superseded: whether something was told later of the same service and first day.
    """

    token: TokenView
    service: str
    since: date
    until: date | None
    current: bool
    superseded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHistory:
    """A customer's choices, by first day, service and the time when they were told."""

    items: tuple[ServiceChoiceView, ...]
    truncated: bool


class ServiceChoices:
    """The use case."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        tokenization: Tokenization,
        audit: Audit,
        honeytokens: Honeytokens,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        self._uow = uow
        self._tokenization = tokenization
        self._audit = audit
        self._honeytokens = honeytokens
        self._today = today

    def record(
        self,
        caller: Caller,
        customer: str,
        drafts: Sequence[ChoiceDraft],
        *,
        idempotency_key: str | None = None,
        body: bytes = b"",
    ) -> TokenizeAnswer:
        """Keep choices of a customer; one result for each, in order.

        Raises:
            Forbidden: the caller has no role for it.
            InvalidInput: the number of choices is wrong.
            Conflict: the Idempotency-Key was used with another body, or for another customer.
            Unavailable: Vault or the database is; nothing was written.
        """
        return self._tokenization.submit(
            TokenizeRequest(
                caller=caller,
                items=tuple(
                    TokenizeItem(
                        data_class=DataClass.SERVICE_CHOICE,
                        customer=customer,
                        value=draft.value,
                        reference=draft.reference,
                    )
                    for draft in drafts
                ),
                batch=True,
                only=DataClass.SERVICE_CHOICE,
                idempotency_key=idempotency_key,
                # The customer stands in the address and not in the body.
                body=customer.encode() + b"\n" + body,
            )
        )

    def history(self, caller: Caller, customer: str) -> ServiceHistory:
        """A customer's choices, masked. The reading is a ledger entry.

        Raises:
            Forbidden: the caller has no role for it.
            NotFound: there is no such customer; a malformed id answers alike.
        """
        self._audit.require(caller, Action.READ_ACCOUNT_DATA)
        missing = NotFound("there is no such customer", code="customer_not_found")
        try:
            tokens.check_customer_id(customer)
        except InvalidInput as exc:
            raise missing from exc
        bucket = tokens.bucket_of(customer)
        with self._uow.begin() as tx:
            rows = tx.records.page(
                bucket, customer, DataClass.SERVICE_CHOICE, None, MAX_HISTORY + 1
            )
            if not rows and customer not in tx.customers.get([(bucket, customer)]):
                raise missing
            shown = rows[:MAX_HISTORY]
            tx.outbox.append(
                self._audit.entries(
                    Event.CUSTOMER_READ,
                    caller,
                    at=tx.clock.now(),
                    customer=customer,
                    count=len(shown),
                )
            )
        self._honeytokens.look(caller, (customer, *(row.token for row in shown)))
        return ServiceHistory(
            items=tuple(_history((stored_view(row) for row in shown), self._today())),
            truncated=len(rows) > MAX_HISTORY,
        )


def _history(views: Iterable[TokenView], today: date) -> list[ServiceChoiceView]:
    """The choices in their order; of each service and first day the last one told counts."""
    ordered = sorted(
        views,
        # What one batch told stands at one time; an end tells more than none.
        key=lambda view: (
            str(view.mask["since"]),
            str(view.mask["service"]),
            view.created_at,
            str(view.mask["until"] or ""),
            view.id,
        ),
    )
    last = {(view.mask["service"], view.mask["since"]): view.id for view in ordered}
    return [
        _choice(view, today, superseded=last[view.mask["service"], view.mask["since"]] != view.id)
        for view in ordered
    ]


def _choice(view: TokenView, today: date, *, superseded: bool) -> ServiceChoiceView:
    since = date.fromisoformat(str(view.mask["since"]))
    told = view.mask["until"]
    until = None if told is None else date.fromisoformat(str(told))
    return ServiceChoiceView(
        token=view,
        service=str(view.mask["service"]),
        since=since,
        until=until,
        current=not superseded and since <= today and (until is None or today < until),
        superseded=superseded,
    )
