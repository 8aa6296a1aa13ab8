"""A court order and a case of abuse, played through the interface from request to receipt.

Each is played once whole and then once for each piece that it takes, without that piece: it ends
in a refusal that names the piece and the clause that asks for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.support.whole import ORDER, Stage
from vault_service.app import create_app
from vault_service.bootstrap.process import build
from vault_service.settings import ProcessRole

TODAY = datetime.now(UTC).date()
YESTERDAY, TOMORROW = (TODAY + timedelta(days=days) for days in (-1, 1))
WARRANT = {
    "instrument": "warrant",
    "authority": "District Court",
    "reference": "4711/26",
    "issued": "2026-01-02",
    "valid_until": "2099-01-01",
    "instrument_scope": "the account of the customer named in it",
}
HARM = {
    "harm": "sells other people's goods",
    "harmed": "other customers",
    "action": "legal_action",
    "case_reference": "CASE-7",
}


@pytest.fixture(scope="module")
def app(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The service under a second policy file: legal process for account data, which are kept."""
    settings = stage.settings_for(ProcessRole.ALL)
    text = settings.policy_file.read_text(encoding="utf-8")
    head, mark, ground = text.partition('name = "legal_process"')
    file: Path = tmp_path_factory.mktemp("policy") / "other.toml"
    ground = ground.replace("communication_contents", "personal_and_account", 1)
    file.write_text(head + mark + ground, encoding="utf-8")
    services = build(dataclasses.replace(settings, policy_file=file))
    yield create_app(services, services.settings)
    services.close()


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a story needs: a request, perhaps a determination, officers, a reveal."""

    request: dict[str, Any]
    clause: str
    document: bool = False
    instrument: dict[str, Any] | None = None
    officers: int = 2
    determined: bool = False


@dataclass(frozen=True, kw_only=True)
class World:
    """The service, and a customer with a telephone and a card."""

    app: Flask
    stage: Stage
    names: Mapping[str, str] = field(default_factory=dict)

    def call(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Status and answer of one call."""
        how: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
        response = self.app.test_client().open(
            path,
            method=method,
            headers={"Authorization": f"Bearer {self.stage.cast.keys[who]}", **headers},
            **(how if body is not None else {}),
        )
        return response.status_code, response.get_json(force=True, silent=True)

    def done(self, *call: Any, **headers: str) -> Any:
        """The answer of a call that must succeed."""
        status, answer = self.call(*call, **headers)
        assert status in (200, 201), answer
        return answer

    def filled(self, value: Any) -> Any:
        """A body with the customer's names in the place of words in braces."""
        if isinstance(value, str):
            return value.format(**self.names)
        if isinstance(value, dict):
            return {name: self.filled(each) for name, each in value.items()}
        return [self.filled(each) for each in value] if isinstance(value, list) else value

    def play(self, case: Case) -> Any:
        """The receipt, or the first refusal: (status, code, {(piece, clause)})."""
        body = self.filled(case.request)
        if case.document:
            digest = self.done("requester", "POST", "/v1/documents", ORDER)["digest"]
            body["evidence"] = {**body["evidence"], "document": digest}
        status, answer = self.call("requester", "POST", "/v1/disclosures", body)
        if status != 201:
            return refused(answer)
        path = f"/v1/disclosures/{answer['id']}"
        if case.determined:
            said = {"valid": True, "reasons": "in due form"}
            if case.instrument is not None:
                said["instrument"] = self.filled(case.instrument)
            status, answer = self.call("officer-3", "POST", f"{path}/determine", said)
            if status != 200:
                return refused(answer)
        for number in range(1, case.officers + 1):
            status, answer = self.call(f"officer-{number}", "POST", f"{path}/approve", {})
            if status != 200:
                return refused(answer) | lacking(self, path)
        status, answer = self.call("requester", "POST", f"{path}/token", {})
        if status != 201:
            return refused(answer)
        reveal = {"tokens": [self.names["telephone"]]}
        header = {"Disclosure-Token": answer["token"]}
        return self.done("requester", "POST", "/v1/reveal", reveal, **header)


def refused(answer: Any) -> set[tuple[str, str | None]]:
    """What a problem document names: each piece by code, with its clause."""
    return {(each["code"], each.get("clause")) for each in answer.get("errors", ())}


def lacking(world: World, path: str) -> set[tuple[str, str | None]]:
    """What the request still lacks, asked by its requester."""
    answer = world.done("requester", "GET", f"{path}/explain")
    return {(each["code"], each["clause"]) for each in answer["missing"]}


COURT_ORDER = Case(
    clause="C3",
    request={
        "ground": "legal_process",
        "category": "personal_and_account",
        "customer": "{customer}",
        "classes": ["telephone"],
        "recipient": {"kind": "court", "name": "District Court"},
        "evidence": WARRANT,
    },
    document=True,
    determined=True,
    instrument={"customer": "{customer}", "classes": ["telephone"], "ends": "2099-01-01"},
)
ABUSE = Case(
    clause="D1",
    request={
        "ground": "protect_from_harm",
        "category": "personal_and_account",
        "tokens": ["{telephone}"],
        "recipient": {"kind": "counterparty", "name": "Counsel of the harmed"},
        "evidence": HARM,
    },
)


@pytest.fixture(scope="module")
def world(app: Flask, stage: Stage) -> World:
    """A customer with a telephone and a card."""
    bare = World(app=app, stage=stage)
    customer = bare.done("billing", "POST", "/v1/customers", {})["id"]
    other = bare.done("billing", "POST", "/v1/customers", {})["id"]
    telephone = {"class": "telephone", "customer": customer, "value": "+49 30 901820"}
    token = bare.done("billing", "POST", "/v1/tokens", telephone)["id"]
    names = {"customer": customer, "other": other, "telephone": token}
    return World(app=app, stage=stage, names=names)


@pytest.mark.parametrize("case", [COURT_ORDER, ABUSE], ids=["court_order", "abuse"])
def test_a_case_goes_from_request_to_receipt(world: World, case: Case) -> None:
    """With every piece the value is revealed, once, and the receipt names ground and clause."""
    answer = world.play(case)
    assert answer["results"][0]["value"] == "+4930901820"
    receipt = answer["receipt"]
    assert (receipt["ground"], receipt["clause"]) == (case.request["ground"], case.clause)
    assert receipt["values"] == 1


def without(case: Case, **changes: Any) -> Case:
    """A case with another request."""
    return dataclasses.replace(case, request=case.request | changes)


def said(**changes: Any) -> Case:
    """The court order with something else said of the instrument."""
    assert COURT_ORDER.instrument is not None
    instrument = {**COURT_ORDER.instrument, **changes}
    return dataclasses.replace(
        COURT_ORDER,
        instrument={name: value for name, value in instrument.items() if value is not None},
    )


def lost(evidence: Mapping[str, str], name: str) -> dict[str, str]:
    """Evidence without one piece."""
    return {each: text for each, text in evidence.items() if each != name}


PIECES = {
    **{
        f"court_order: {name}": (
            without(COURT_ORDER, evidence=lost(WARRANT, name)),
            {"evidence_missing"},
        )
        for name in WARRANT
    },
    "court_order: document": (
        dataclasses.replace(COURT_ORDER, document=False),
        {"evidence_missing"},
    ),
    "court_order: document of nobody": (
        dataclasses.replace(
            without(COURT_ORDER, evidence={**WARRANT, "document": "sha256:" + "0" * 64}),
            document=False,
        ),
        {"evidence_document_unknown"},
    ),
    "court_order: date": (
        without(COURT_ORDER, evidence={**WARRANT, "valid_until": str(YESTERDAY)}),
        {"evidence_date_past"},
    ),
    "court_order: recipient": (
        without(COURT_ORDER, recipient={"kind": "internal", "name": "Sales"}),
        {"recipient_kind_not_allowed"},
    ),
    "court_order: scope of the category": (
        without(COURT_ORDER, classes=["communication"]),
        {"class_not_in_category"},
    ),
    "court_order: duration": (
        without(COURT_ORDER, duration_seconds=31 * 86_400),
        {"duration_not_allowed"},
    ),
    "court_order: determination": (
        dataclasses.replace(COURT_ORDER, determined=False),
        {"determination_missing", "approvals_missing"},
    ),
    "court_order: instrument": (
        dataclasses.replace(COURT_ORDER, instrument=None),
        {"instrument_scope_missing", "instrument_end_missing"},
    ),
    "court_order: instrument's customer": (
        said(customer="{other}"),
        {"scope_exceeds_instrument", "approvals_missing"},
    ),
    "court_order: instrument's class": (
        said(classes=["payment_card"]),
        {"scope_exceeds_instrument", "approvals_missing"},
    ),
    "court_order: instrument's end": (
        said(ends=str(YESTERDAY)),
        {"instrument_expired", "approvals_missing"},
    ),
    "court_order: instrument's beginning": (
        said(begins=str(TOMORROW)),
        {"instrument_not_begun", "approvals_missing"},
    ),
    "court_order: second officer": (
        dataclasses.replace(COURT_ORDER, officers=1),
        {"approvals_missing"},
    ),
    **{
        f"abuse: {name}": (without(ABUSE, evidence=lost(HARM, name)), {"evidence_missing"})
        for name in HARM
    },
    "abuse: recipient": (
        without(ABUSE, recipient={"kind": "payment_processor", "name": "Acquirer"}),
        {"recipient_kind_not_allowed"},
    ),
    "abuse: scope": (
        without(ABUSE, tokens=None, customer="{customer}", classes=["communication"]),
        {"class_not_in_category"},
    ),
    "abuse: fields": (without(ABUSE, fields=["soul"]), {"field_unknown"}),
    "abuse: uses": (without(ABUSE, uses=2), {"uses_not_allowed"}),
    "abuse: duration": (without(ABUSE, duration_seconds=86_401), {"duration_not_allowed"}),
    "abuse: second officer": (dataclasses.replace(ABUSE, officers=1), {"approvals_missing"}),
    "abuse: both officers": (dataclasses.replace(ABUSE, officers=0), {"approvals_missing"}),
}


@pytest.mark.parametrize("piece", PIECES)
def test_a_case_without_a_piece_is_refused_by_its_name_and_clause(world: World, piece: str) -> None:
    """Whatever is taken away, the refusal says what it was and which clause asks for it."""
    case, codes = PIECES[piece]
    found = world.play(case)
    assert isinstance(found, set), found
    assert found == {(code, case.clause) for code in codes}
