"""Calls on disclosures: from a request to its token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vault_service.client import models
from vault_service.client.proofs import ProofMaker, Proving
from vault_service.client.transport import Ask, Transport, decode, segment


class Disclosures:
    """`/v1/disclosures`. Requests are given in the form of the interface."""

    def __init__(self, transport: Transport, proving: Proving) -> None:
        self._transport = transport
        self._proving = proving

    def create(self, request: Mapping[str, Any], *, draft: bool = False) -> models.Disclosure:
        """Ask for a disclosure, or keep it as a draft. Not repeated by itself."""
        body = {**request, "draft": True} if draft else dict(request)
        return self._post("/v1/disclosures", body)

    def explain(self, request: Mapping[str, Any]) -> models.Explanation:
        """What the policy would say of a request, without doing anything."""
        reply = self._transport.send(
            Ask(
                method="POST",
                path="/v1/disclosures/explain",
                body=dict(request),
                repeatable=True,
            )
        )
        explanation: models.Explanation = decode(reply, models.Explanation)
        return explanation

    def get(self, disclosure: str) -> models.Disclosure:
        """One request or grant."""
        reply = self._transport.send(Ask(method="GET", path=_path(disclosure), repeatable=True))
        found: models.Disclosure = decode(reply, models.Disclosure)
        return found

    def page(
        self, *, state: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> models.DisclosurePage:
        """One page of requests and grants."""
        query = {"state": state, "cursor": cursor, "limit": limit}
        reply = self._transport.send(
            Ask(method="GET", path="/v1/disclosures", query=query, repeatable=True)
        )
        page: models.DisclosurePage = decode(reply, models.DisclosurePage)
        return page

    def list(self, *, state: str | None = None) -> Iterator[models.Disclosure]:
        """All requests and grants that the caller may see, fetched as they are taken."""
        cursor: str | None = None
        while True:
            page = self.page(state=state, cursor=cursor)
            yield from page.items
            if page.next is None or page.next == cursor:
                return
            cursor = page.next

    def submit(self, disclosure: str) -> models.Disclosure:
        """Submit a draft; harmless on a submitted one."""
        return self._post(_path(disclosure, "submit"), {}, repeatable=True)

    def determine(
        self,
        disclosure: str,
        *,
        valid: bool,
        reasons: str,
        instrument: Mapping[str, Any] | None = None,
    ) -> models.Disclosure:
        """Record whether legal process is valid and enforceable, why, and what it covers."""
        body: dict[str, Any] = {"valid": valid, "reasons": reasons}
        if instrument is not None:
            body["instrument"] = dict(instrument)
        return self._post(_path(disclosure, "determine"), body)

    def annul(self, disclosure: str, *, reasons: str) -> models.Disclosure:
        """Record that an instrument is valid no longer; the request or grant ends."""
        return self._post(_path(disclosure, "annul"), {"reasons": reasons})

    def lacking(self, disclosure: str) -> models.Explanation:
        """What a request lacks to become a grant."""
        reply = self._transport.send(
            Ask(method="GET", path=_path(disclosure, "explain"), repeatable=True)
        )
        explanation: models.Explanation = decode(reply, models.Explanation)
        return explanation

    def approve(self, disclosure: str, *, comment: str | None = None) -> models.Disclosure:
        """Agree, as one of the officers that it takes."""
        return self._decide(disclosure, "approve", comment)

    def deny(self, disclosure: str, *, comment: str | None = None) -> models.Disclosure:
        """Refuse a request."""
        return self._decide(disclosure, "deny", comment)

    def revoke(self, disclosure: str, *, comment: str | None = None) -> models.Disclosure:
        """End a grant; acts on the next request."""
        return self._decide(disclosure, "revoke", comment)

    def withdraw(self, disclosure: str, *, comment: str | None = None) -> models.Disclosure:
        """Take one's own request back."""
        return self._decide(disclosure, "withdraw", comment)

    def token(
        self, disclosure: str, *, proof_key: ProofMaker | None = None
    ) -> models.DisclosureToken:
        """Exchange a grant for a disclosure token, bound to a key if there is one."""
        ask = Ask(method="POST", path=_path(disclosure, "token"), body={})
        reply = self._proving.send(ask, proof_key)
        token: models.DisclosureToken = decode(reply, models.DisclosureToken)
        return token

    def _decide(self, disclosure: str, step: str, comment: str | None) -> models.Disclosure:
        return self._post(_path(disclosure, step), {} if comment is None else {"comment": comment})

    def _post(
        self, path: str, body: Mapping[str, Any], *, repeatable: bool = False
    ) -> models.Disclosure:
        reply = self._transport.send(
            Ask(method="POST", path=path, body=body, repeatable=repeatable)
        )
        disclosure: models.Disclosure = decode(reply, models.Disclosure)
        return disclosure


def _path(disclosure: str, step: str | None = None) -> str:
    path = f"/v1/disclosures/{segment(disclosure)}"
    return path if step is None else f"{path}/{step}"
