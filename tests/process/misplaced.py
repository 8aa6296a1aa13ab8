"""Requests that carry what may not be kept to every place where a careless caller could put it."""

from __future__ import annotations

import itertools
import json
import random
import socket
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

import urllib3

from tests.support.running import Running
from tests.support.whole import card
from vault_service.domain.freetext import FORBIDDEN_FIELDS

# Answers with which nothing was taken in.
_HARM: Final = {"harm": "threats", "harmed": "a customer", "action": "identify"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request."""

    method: str = "POST"
    path: str = "/v1/tokens"
    body: object = field(default=None, repr=False)
    by: str | None = "billing"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def send(self, service: Running) -> int | None:
        """Its status; None where the connection was not kept up."""
        try:
            return service.call(
                self.method, self.path, self.body, by=self.by, headers=self.headers
            ).status
        except urllib3.exceptions.HTTPError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What honest requests name."""

    customer: str
    token: str
    disclosure: str


Place = Callable[[str, Ground], Ask]


def _token(ground: Ground, /, **changes: object) -> dict[str, object]:
    body = {"class": "business_name", "customer": ground.customer, "value": "Ordinary Ltd"}
    return {**body, **changes}


def _disclosure(ground: Ground, /, **changes: object) -> dict[str, object]:
    return {
        "ground": "protect_from_harm",
        "category": "personal_and_account",
        "tokens": [ground.token],
        "recipient": {"kind": "counterparty", "name": "Somebody"},
        "evidence": {**_HARM, "case_reference": "CASE-1"},
        **changes,
    }


def _asks(path: str, by: str) -> Callable[[Callable[[str, Ground], object]], Place]:
    def with_body(body: Callable[[str, Ground], object]) -> Place:
        return lambda number, ground: Ask(
            path=path.format(dis=ground.disclosure), by=by, body=body(number, ground)
        )

    return with_body


_tokens = _asks("/v1/tokens", "billing")
_batch = _asks("/v1/tokens/batch", "billing")
_search = _asks("/v1/tokens/search", "support")
_customers = _asks("/v1/customers", "billing")
_disclosures = _asks("/v1/disclosures", "requester")
_explain = _asks("/v1/disclosures/explain", "requester")
_deny = _asks("/v1/disclosures/{dis}/deny", "officer-3")
_approve = _asks("/v1/disclosures/{dis}/approve", "officer-3")
_determine = _asks("/v1/disclosures/{dis}/determine", "officer-3")
_reveal = _asks("/v1/reveal", "requester")
_principals = _asks("/v1/principals", "operator")


def _card(ground: Ground, value: object, **changes: object) -> dict[str, object]:
    return _token(ground, **{"class": "payment_card", "value": value, **changes})


def _get(path: str, by: str = "billing", method: str = "GET") -> Place:
    return lambda number, ground: Ask(
        method=method, path=path.format(n=number, q=quote(_spaced(number)), cus=ground.customer),
        by=by,
    )  # fmt: skip


def _headed(name: str, form: str = "{n}", **more: Any) -> Place:
    return lambda number, ground: Ask(
        body=_token(ground), headers={name: form.format(n=number)}, **more
    )


def _spaced(number: str) -> str:
    return " ".join(number[i : i + 4] for i in range(0, len(number), 4))


def _raw(form: str) -> Place:
    return lambda number, _: Ask(body=form.replace("{n}", number).encode())


# Where a card number may not stand: each place takes some canaries.
PLACES: Final[tuple[Place, ...]] = (
    _tokens(lambda n, g: _token(g, reference=n)),
    _tokens(lambda n, g: _token(g, reference=f"order {_spaced(n)} of today")),
    _tokens(lambda n, g: _token(g, metadata={"note": n})),
    _tokens(lambda n, g: _token(g, metadata={"note": _spaced(n).replace(" ", "-")})),
    _tokens(lambda n, g: _token(g, metadata={n: "note"})),
    _tokens(lambda n, g: _token(g, metadata={"deep": {"deeper": [n]}})),
    _tokens(lambda n, g: _token(g, value=n)),
    _tokens(lambda n, g: _token(g, **{"class": n})),
    _tokens(lambda n, g: _token(g, customer=n)),
    _tokens(lambda n, g: _token(g, customer="cus_" + n)),
    _tokens(lambda n, g: _token(g, format=n)),
    _tokens(lambda n, g: _token(g, expires_at=n)),
    _tokens(lambda n, g: _token(g, **{n: "x"})),
    _tokens(lambda n, g: _token(g, unknown=n)),
    _tokens(lambda n, g: _token(g, **{"class": "contact_name", "value": f"Mr {n}"})),
    _tokens(lambda n, g: _token(g, **{"class": "email_address", "value": f"{n}@example.com"})),
    _tokens(lambda n, g: _token(g, **{"class": "email_address", "value": f"a@{n}.com"})),
    _tokens(lambda n, g: _token(g, **{"class": "telephone", "value": f"+{n}"})),
    _tokens(
        lambda n, g: _token(
            g, **{"class": "telephone", "value": {"number": "+49 30 901820", "region": n}}
        )
    ),
    _tokens(
        lambda n, g: _token(
            g,
            **{"class": "postal_address"},
            value={"line1": n, "city": "Berlin", "country": "DE"},
        )
    ),
    _tokens(
        lambda n, g: _token(
            g,
            **{"class": "postal_address"},
            value={"line1": "Street 1", "city": n, "postal_code": n, "country": "DE"},
        )
    ),
    _tokens(
        lambda n, g: _token(
            g,
            **{"class": "postal_address"},
            value={"line1": "Street 1", "city": "Berlin", "country": n},
        )
    ),
    _tokens(lambda n, g: _card(g, int(n))),
    _tokens(lambda n, g: _card(g, {**card(), "number": int(n)})),
    _tokens(lambda n, g: _card(g, card(n, name=n))),
    _tokens(lambda n, g: _card(g, card(n, exp_year=2001))),
    _tokens(lambda n, g: _card(g, card(n, exp_month=n))),
    _tokens(lambda n, g: _card(g, card(n, **{n: n}))),
    _tokens(lambda n, g: _card(g, card(n + "7"))),
    _tokens(lambda n, g: _card(g, [n])),
    _tokens(lambda n, _: n),
    _tokens(lambda n, _: [n]),
    _tokens(lambda n, _: {"card": {"pan": n}}),
    _batch(lambda n, g: {"items": [_token(g, reference=n), n, {n: n}, int(n)]}),
    _batch(lambda n, g: {"items": [_card(g, card(n), x=n)]}),
    _batch(lambda n, _: {"items": n}),
    _batch(lambda n, _: {n: []}),
    _search(lambda n, _: {"class": "business_name", "value": n}),
    _search(lambda n, _: {"class": n, "value": "Ordinary Ltd"}),
    _search(lambda n, _: {"class": "telephone", "values": [n, f"+{n}", int(n)]}),
    _customers(lambda n, _: {"external_ref": n}),
    _customers(lambda n, _: {"external_ref": f"crm {_spaced(n)}"}),
    _customers(lambda n, _: {n: n}),
    _disclosures(lambda n, g: _disclosure(g, evidence={**_HARM, "case_reference": n})),
    _disclosures(lambda n, g: _disclosure(g, evidence={**_HARM, "harm": f"he used {n}"})),
    _disclosures(lambda n, g: _disclosure(g, evidence={**_HARM, n: n})),
    _disclosures(lambda n, g: _disclosure(g, recipient={"kind": "counterparty", "name": n})),
    _disclosures(lambda n, g: _disclosure(g, recipient={"kind": n, "name": "Somebody"})),
    _disclosures(lambda n, g: _disclosure(g, ground=n)),
    _disclosures(lambda n, g: _disclosure(g, category=n)),
    _disclosures(lambda n, g: _disclosure(g, tokens=[n])),
    _disclosures(lambda n, g: _disclosure(g, fields=[n])),
    _disclosures(lambda n, g: _disclosure(g, tokens=None, customer=g.customer, classes=[n])),
    _disclosures(lambda n, g: _disclosure(g, uses=int(n))),
    _disclosures(lambda n, g: _disclosure(g, duration_seconds=int(n))),
    _explain(lambda n, g: _disclosure(g, evidence={n: n})),
    _deny(lambda n, _: {"comment": n, "why": n}),
    _approve(lambda n, _: {"comment": f"seen {_spaced(n)}"}),
    _determine(lambda n, _: {"valid": True, "reasons": n}),
    _reveal(lambda n, _: {"tokens": [n]}),
    _reveal(lambda n, g: {"tokens": [g.token], "fields": [n]}),
    _principals(lambda n, _: {"name": n, "roles": ["support"]}),
    _principals(lambda n, _: {"name": f"Mr {n}", "roles": ["support"]}),
    _principals(lambda n, _: {"name": "somebody", "roles": [n]}),
    _get("/v1/tokens/{n}"),
    _get("/v1/tokens/tok_{n}"),
    _get("/v1/tokens/{n}", method="DELETE"),
    _get("/v1/tokens/{n}", method="PUT"),
    _get("/{n}"),
    _get("/v1/{q}/x?y={n}"),
    _get("/v1/customers/{n}", by="support"),
    _get("/v1/customers/cus_{n}", by="support"),
    _get("/v1/tokens?customer={n}"),
    _get("/v1/tokens?customer={cus}&class={n}"),
    _get("/v1/tokens?customer={cus}&cursor={n}"),
    _get("/v1/tokens?customer={cus}&limit={n}"),
    _get("/v1/tokens?customer={cus}&{n}=1"),
    _get("/v1/disclosures?state={q}", by="officer-1"),
    _get("/v1/disclosures/{n}", by="officer-1"),
    _get("/v1/principals/{n}", by="operator"),
    _get("/healthz?{n}"),
    _headed("Idempotency-Key"),
    _headed("Idempotency-Key", "order-{n}"),
    _headed("Authorization", "Bearer {n}", by=None),
    _headed("Authorization", "Bearer vk_{n}_{n}", by=None),
    _headed("Authorization", "Basic {n}", by=None),
    _headed("Disclosure-Token", path="/v1/reveal", by="requester"),
    _headed("Disclosure-Token", "{n}.{n}.{n}", path="/v1/reveal", by="requester"),
    _headed("User-Agent"),
    _headed("Request-Id"),
    _headed("X-Request-Id"),
    _headed("X-Forwarded-For"),
    _headed("Cookie", "card={n}"),
    _headed("Content-Type", "application/{n}"),
    _headed("Accept", "text/{n}"),
    _headed("Origin", "https://{n}.example"),
    _raw('{"class":"payment_card","value":{"number":"{n}"'),
    _raw('{"value":"{n}","value":"{n}"}'),
    _raw('{"value":{n}{n}{n}}'),
    _raw("number={n}&cvc=123"),
    _raw("{n}"),
    _raw('\xff\xfe{"n":"{n}"}'),
    _raw("[" * 200 + '"{n}"' + "]" * 200),
    _raw('{"value":"{n}\\ud800"}'),
    _raw('{"value":"' + "{n} " * 300_000 + '"}'),
)  # fmt: skip


def torn(service: Running, number: str) -> list[bytes]:
    """Answers to what is hardly HTTP any more, with the number in each line of it."""
    parts = urlsplit(service.base_url)
    answers = []
    for text in (
        f"{number} / HTTP/1.1\r\n\r\n",
        f"GET /{number} HTTP/9.{number}\r\n\r\n",
        f"GET / HTTP/1.1\r\n{number}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: {number}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: vault\r\nContent-Length: {number}\r\n\r\n{number}",
        f"POST / HTTP/1.1\r\nHost: vault\r\nTransfer-Encoding: {number}\r\n\r\n{number}\r\n",
        f"GET /{number * 5000} HTTP/1.1\r\nHost: vault\r\n\r\n",
    ):
        with socket.create_connection((str(parts.hostname), parts.port or 80), 5) as link:
            link.settimeout(0.5)
            try:
                link.sendall(text.encode())
                answers.append(link.recv(65536))
            except OSError:
                continue
    return answers


# ---------------------------------------------------------------- verification codes

_NESTS: Final[tuple[Callable[[str, object, Ground], Ask], ...]] = (
    lambda name, code, g: Ask(body=_token(g, **{name: code})),
    lambda name, code, g: Ask(body=_card(g, {**card(), name: code})),
    lambda name, code, g: Ask(body=_token(g, metadata={name: code})),
    lambda name, code, g: Ask(body=_token(g, metadata={"a": [{"b": {name: [code]}}]})),
    lambda name, code, g: Ask(
        path="/v1/tokens/batch",
        body={"items": [{"class": "payment_card", "customer": g.customer, name: code}]},
    ),
    lambda name, code, g: Ask(
        path="/v1/tokens/batch",
        body={"items": [_card(g, {**card(), name: code})]},
        headers={"Idempotency-Key": f"key-{name[:40]}" if name.isascii() else "key"},
    ),
    lambda name, code, _: Ask(path="/v1/tokens/batch", body={"items": [], name: code}),
    lambda name, code, _: Ask(
        path="/v1/tokens/search", body={"class": "payment_card", "value": {name: code}}
    ),
    lambda name, code, _: Ask(path="/v1/customers", body={name: code}),
    lambda name, code, _: Ask(path="/v1/customers", body={"card": {"data": {name: code}}}),
    lambda name, code, g: Ask(
        path="/v1/disclosures",
        by="requester",
        body=_disclosure(g, evidence={**_HARM, name: code}),
    ),
    lambda name, code, g: Ask(
        path="/v1/reveal", by="requester", body={"tokens": [g.token], name: code}
    ),
    lambda name, code, _: Ask(path="/v1/principals", by="operator", body={name: code}),
    lambda name, code, g: Ask(
        path=f"/v1/disclosures/{g.disclosure}/approve", by="officer-3", body={name: code}
    ),
    lambda name, code, _: Ask(method="GET", path=f"/v1/tokens?{quote(name)}={code}"),
    lambda name, code, _: Ask(body=json.dumps({name: code}).encode()[:-1]),
    lambda name, code, _: Ask(body={name: code}, by=None),
)


def _spelled(name: str, chance: random.Random) -> str:
    """A forbidden name as somebody might write it."""
    manner = chance.randrange(5)
    if manner == 1:
        return name.upper()
    if manner == 2:
        return "-".join(name)
    if manner == 3:
        return f"_{name} "
    if manner == 4:
        wide = str.maketrans({chr(c): chr(c + 0xFEE0) for c in range(0x21, 0x7F)})
        assert unicodedata.normalize("NFKC", name.translate(wide)) == name
        return name.translate(wide)
    return name


def code_requests(codes: list[str], ground: Ground, seed: int) -> list[Ask]:
    """Each code under another forbidden name, the places taken in turn."""
    chance = random.Random(seed)  # noqa: S311 -- a test's choice, repeatable
    names = sorted(FORBIDDEN_FIELDS)
    chance.shuffle(names)
    return [
        nest(_spelled(name, chance), code, ground)
        for code, name, nest in zip(
            codes, itertools.cycle(names), itertools.cycle(_NESTS), strict=False
        )
    ]
