"""Calls on tokens and customers."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from vault_service.client import models
from vault_service.client.transport import Ask, Transport, decode, segment

IDEMPOTENCY_HEADER = "Idempotency-Key"


class Tokens:
    """`/v1/tokens`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        data_class: str,
        customer: str,
        value: object,
        *,
        format: str | None = None,  # noqa: A002 -- the interface's own word
        reference: str | None = None,
        metadata: Mapping[str, str] | None = None,
        expires_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> models.Token:
        """Tokenize one value; repeated safely under an Idempotency-Key of its own.

        Raises:
            ApiError, Unreachable, AnswerUnexpected: as everywhere.
        """
        body: dict[str, Any] = {"class": data_class, "customer": customer, "value": value}
        optional = {
            "format": format,
            "reference": reference,
            "metadata": None if metadata is None else dict(metadata),
            "expires_at": expires_at,
        }
        body |= {name: given for name, given in optional.items() if given is not None}
        reply = self._transport.send(_keyed("/v1/tokens", body, idempotency_key))
        token: models.Token = decode(reply, models.Token)
        return token

    def batch(
        self, items: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> list[models.TokenResult]:
        """Tokenize up to 1,000 items in the form of the interface; one result each, in order.

        Raises:
            ApiError: the batch as a whole was refused.
            Unreachable, AnswerUnexpected: as everywhere.
        """
        ask = _keyed("/v1/tokens/batch", {"items": list(items)}, idempotency_key)
        answer: models.TokenResults = decode(self._transport.send(ask), models.TokenResults)
        return answer.results

    def get(self, token: str) -> models.Token:
        """One token, masked."""
        reply = self._transport.send(Ask(method="GET", path=_path(token), repeatable=True))
        found: models.Token = decode(reply, models.Token)
        return found

    def page(
        self,
        customer: str,
        *,
        data_class: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> models.TokenPage:
        """One page of a customer's tokens, masked."""
        query = {"customer": customer, "class": data_class, "cursor": cursor, "limit": limit}
        reply = self._transport.send(
            Ask(method="GET", path="/v1/tokens", query=query, repeatable=True)
        )
        page: models.TokenPage = decode(reply, models.TokenPage)
        return page

    def list(self, customer: str, *, data_class: str | None = None) -> Iterator[models.Token]:
        """All tokens of a customer, masked, fetched page by page as they are taken."""
        cursor: str | None = None
        while True:
            page = self.page(customer, data_class=data_class, cursor=cursor)
            yield from page.items
            if page.next is None or page.next == cursor:
                return
            cursor = page.next

    def search(self, data_class: str, values: Sequence[object]) -> Sequence[models.SearchResult]:
        """Tokens by exact values, masked; one result for each value."""
        body = {"class": data_class, "values": list(values)}
        reply = self._transport.send(
            Ask(method="POST", path="/v1/tokens/search", body=body, repeatable=True)
        )
        answer: models.SearchResults = decode(reply, models.SearchResults)
        return answer.results

    def versions(self, token: str) -> Sequence[models.Version]:
        """The versions of a token's value, masked, newest first."""
        reply = self._transport.send(
            Ask(method="GET", path=f"{_path(token)}/versions", repeatable=True)
        )
        found: models.Versions = decode(reply, models.Versions)
        return found.items

    def delete(self, token: str) -> None:
        """Erase a value for ever."""
        self._transport.send(Ask(method="DELETE", path=_path(token)))


class Customers:
    """`/v1/customers`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, external_ref: str | None = None) -> models.Customer:
        """A customer; the same reference gives the same customer, so repeating is harmless."""
        body = {} if external_ref is None else {"external_ref": external_ref}
        reply = self._transport.send(
            Ask(
                method="POST",
                path="/v1/customers",
                body=body,
                repeatable=external_ref is not None,
            )
        )
        customer: models.Customer = decode(reply, models.Customer)
        return customer

    def batch(self, external_refs: Sequence[str]) -> list[models.CustomerResult]:
        """Up to 1,000 customers by their references; one result each, in order."""
        items = [{"external_ref": reference} for reference in external_refs]
        reply = self._transport.send(
            Ask(method="POST", path="/v1/customers/batch", body={"items": items}, repeatable=True)
        )
        answer: models.CustomerResults = decode(reply, models.CustomerResults)
        return answer.results

    def get(self, customer: str) -> models.Profile:
        """A customer's masked profile."""
        path = f"/v1/customers/{segment(customer)}"
        reply = self._transport.send(Ask(method="GET", path=path, repeatable=True))
        profile: models.Profile = decode(reply, models.Profile)
        return profile

    def search(
        self,
        *,
        external_refs: Sequence[str] | None = None,
        data_class: str | None = None,
        values: Sequence[object] | None = None,
    ) -> Sequence[models.CustomerMatches]:
        """Customers by references, or by exact values; one result for each."""
        asked = {
            "external_refs": None if external_refs is None else list(external_refs),
            "class": data_class,
            "values": None if values is None else list(values),
        }
        body = {name: given for name, given in asked.items() if given is not None}
        reply = self._transport.send(
            Ask(method="POST", path="/v1/customers/search", body=body, repeatable=True)
        )
        answer: models.CustomersFound = decode(reply, models.CustomersFound)
        return answer.results

    def link(self, customer: str, other: str) -> models.Link:
        """Show two customers together; repeating it changes nothing."""
        path = f"/v1/customers/{segment(customer)}/links"
        ask = Ask(method="POST", path=path, body={"other": other}, repeatable=True)
        linked: models.Link = decode(self._transport.send(ask), models.Link)
        return linked

    def unlink(self, customer: str, other: str) -> None:
        """Undo the link of two customers."""
        path = f"/v1/customers/{segment(customer)}/links/{segment(other)}"
        self._transport.send(Ask(method="DELETE", path=path))


def _path(token: str) -> str:
    return f"/v1/tokens/{segment(token)}"


def _keyed(path: str, body: object, key: str | None) -> Ask:
    """A write that may be repeated, because its key makes the repetition harmless."""
    return Ask(
        method="POST",
        path=path,
        body=body,
        headers={IDEMPOTENCY_HEADER: key or secrets.token_urlsafe(24)},
        repeatable=True,
    )
