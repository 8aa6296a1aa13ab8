"""Calls on principals and their API keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from vault_service.client import models
from vault_service.client.transport import Ask, Transport, decode, segment

SELF = "me"


class Principals:
    """`/v1/principals`. Nothing that issues a key is repeated by itself: two would be made."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self, name: str, roles: Sequence[str], *, key_expires_at: datetime | None = None
    ) -> models.IssuedKey:
        """Make a principal with its first key, which is shown this once."""
        body: dict[str, Any] = {"name": name, "roles": list(roles)}
        if key_expires_at is not None:
            body["key_expires_at"] = key_expires_at
        return self._issue("/v1/principals", body)

    def page(self, *, cursor: str | None = None, limit: int = 100) -> models.PrincipalPage:
        """One page of principals."""
        reply = self._transport.send(
            Ask(
                method="GET",
                path="/v1/principals",
                query={"cursor": cursor, "limit": limit},
                repeatable=True,
            )
        )
        page: models.PrincipalPage = decode(reply, models.PrincipalPage)
        return page

    def list(self) -> Iterator[models.Principal]:
        """All principals, fetched as they are taken."""
        cursor: str | None = None
        while True:
            page = self.page(cursor=cursor)
            yield from page.items
            if page.next is None or page.next == cursor:
                return
            cursor = page.next

    def get(self, principal: str = SELF) -> models.Principal:
        """One principal; the caller itself when none is named."""
        return self._send("GET", _path(principal), repeatable=True)

    def issue_key(
        self, principal: str, *, expires_at: datetime | None = None, revoke: str | None = None
    ) -> models.IssuedKey:
        """Another key; with `revoke`, a key that ends when the new one is made: a rotation."""
        body: dict[str, Any] = {}
        if expires_at is not None:
            body["expires_at"] = expires_at
        if revoke is not None:
            body["revoke"] = revoke
        return self._issue(_path(principal, "keys"), body)

    def revoke_key(self, principal: str, key: str) -> models.Principal:
        """End a key; acts on the next request."""
        return self._send("DELETE", _path(principal, "keys", key))

    def confirm_key(self, principal: str, key: str) -> models.Principal:
        """Let a key count that an operator made for a requester or an officer."""
        return self._send("POST", _path(principal, "keys", key, "confirm"), {})

    def disable(self, principal: str) -> models.Principal:
        """Stop a principal; its keys count no more."""
        return self._send("POST", _path(principal, "disable"), {})

    def enable(self, principal: str) -> models.Principal:
        """Let a principal go on."""
        return self._send("POST", _path(principal, "enable"), {})

    def set_roles(self, principal: str, roles: Sequence[str]) -> models.Principal:
        """The roles from now on."""
        return self._send("PUT", _path(principal, "roles"), {"roles": list(roles)})

    def _issue(self, path: str, body: dict[str, Any]) -> models.IssuedKey:
        reply = self._transport.send(Ask(method="POST", path=path, body=body))
        issued: models.IssuedKey = decode(reply, models.IssuedKey)
        return issued

    def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        repeatable: bool = False,
    ) -> models.Principal:
        reply = self._transport.send(
            Ask(method=method, path=path, body=body, repeatable=repeatable)
        )
        principal: models.Principal = decode(reply, models.Principal)
        return principal


def _path(principal: str, *rest: str) -> str:
    return "/".join(("/v1/principals", *(segment(part) for part in (principal, *rest))))
