"""The one function that decides by the disclosure policy, and what it answers.

Submitting, approving and explaining all ask here. It is pure, and it knows no ground by name: what
a ground asks for stands in `domain.grounds`, read from a file. Who may approve what is decided by
`domain.disclosures`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from vault_service.domain import evidence, instruments
from vault_service.domain.classes import RULES, DataClass
from vault_service.domain.disclosures import DisclosureRequest, Scope
from vault_service.domain.evidence import EvidenceField, EvidenceType, When
from vault_service.domain.grounds import (
    Category,
    Determination,
    Ground,
    Notice,
    NoticeRule,
    Policy,
)
from vault_service.domain.instruments import Instrument

__all__ = [
    "Category",
    "Decision",
    "Determination",
    "EvidenceField",
    "EvidenceType",
    "Ground",
    "Notice",
    "NoticeRule",
    "Policy",
    "Progress",
    "Reason",
    "Stage",
    "When",
    "decide",
    "lacking_progress",
]

# What one reveal can carry, so a longer scope could never be revealed in one use.
MAX_TOKENS: Final = 1000
MAX_RECIPIENT_NAME: Final = 200


class Stage(StrEnum):
    """At which step a missing piece holds a request up."""

    REQUEST = "request"
    DETERMINATION = "determination"
    APPROVAL = "approval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One missing piece.

    Attributes:
        code: stable name of what is missing.
        pointer: JSON pointer into the request body.
        detail: lower-case sentence that repeats nothing the caller wrote.
        clause: clause that asks for it, where a ground is known.
        stage: which step it holds up.
    """

    code: str
    pointer: str
    detail: str
    clause: str | None
    stage: Stage = Stage.REQUEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What has been decided on a submitted request.

    Attributes:
        approvals: how many different people approved.
        determined: None before a determination, then its outcome.
        instrument: what the officer who determined said of the instrument.
    """

    approvals: int = 0
    determined: bool | None = None
    instrument: Instrument | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the policy says of a request.

    Attributes:
        allowed: nothing is missing, neither in the request nor (with `progress`) in what follows.
        ground: the ground, if the policy has it.
        clause: its clause, or None.
        missing: every missing piece, all at once; empty exactly if allowed.
        duration: how long a grant that starts now would last; None if not allowed to start.
    """

    allowed: bool
    ground: Ground | None
    clause: str | None
    missing: tuple[Reason, ...]
    duration: timedelta | None

    def missing_at(self, stage: Stage) -> tuple[Reason, ...]:
        """The missing pieces that hold up one stage."""
        return tuple(reason for reason in self.missing if reason.stage is stage)


def decide(
    policy: Policy, request: DisclosureRequest, *, now: datetime, progress: Progress | None = None
) -> Decision:
    """What the policy says of a request, with everything that is missing named at once.

    Without `progress` it judges the request alone: may it be submitted? With `progress` it also
    judges what followed: may the grant start? Submitting, approving and explaining all ask here.

    Args:
        policy: the version under which the request is, or was, made.
        request: what is asked; `scope.classes` as looked up, see `Scope`.
        now: the database's time, in UTC.
        progress: what officers have decided so far, counting a decision being made.
    """
    ground = policy.grounds.get((request.ground, request.category))
    missing = [
        *_about_ground(policy, request),
        *_about_scope(policy, request, ground),
        *_about_recipient(policy, request, ground),
    ]
    duration: timedelta | None = None
    if ground is not None:
        missing += _about_evidence(ground, request, now)
        missing += _about_limits(ground, request)
        if progress is not None:
            missing += lacking_progress(ground, progress)
            missing += _about_instrument(ground, request, progress, now)
        duration = _duration(ground, request, progress, now)
    return Decision(
        allowed=not missing,
        ground=ground,
        clause=None if ground is None else ground.clause,
        missing=tuple(missing),
        duration=None if missing else duration,
    )


def _about_ground(policy: Policy, request: DisclosureRequest) -> Iterator[Reason]:
    if request.category not in policy.categories:
        yield Reason(
            code="category_unknown",
            pointer="/category",
            detail="the policy has no such category",
            clause=None,
        )
    if not any(name == request.ground for name, _ in policy.grounds):
        yield Reason(
            code="ground_unknown",
            pointer="/ground",
            detail="the policy has no such ground",
            clause=None,
        )
    elif (
        request.category in policy.categories
        and (request.ground, request.category) not in policy.grounds
    ):
        yield Reason(
            code="ground_not_for_category",
            pointer="/ground",
            detail="the policy has this ground, but not for this category",
            clause=None,
        )


def _about_scope(
    policy: Policy, request: DisclosureRequest, ground: Ground | None
) -> Iterator[Reason]:
    clause = None if ground is None else ground.clause
    scope = request.scope
    where = "/classes" if scope.tokens is None else "/tokens"
    for code, pointer, detail in _form_of_scope(scope):
        yield Reason(code=code, pointer=pointer, detail=detail, clause=clause)
    category = policy.categories.get(request.category)
    if category is not None:
        for name in sorted(set(scope.classes) - set(category.classes)):
            known = name if name in RULES else "a class that does not exist"
            yield Reason(
                code="class_not_in_category",
                pointer=where,
                detail=f"{known} does not belong to this category",
                clause=clause,
            )
    if scope.fields is not None:
        for index in _unknown_fields(scope):
            yield Reason(
                code="field_unknown",
                pointer=f"/fields/{index}",
                detail="none of the classes has this field",
                clause=clause,
            )


def _form_of_scope(scope: Scope) -> Iterator[tuple[str, str, str]]:
    if scope.tokens is None and scope.customer is None:
        yield "scope_missing", "/tokens", "name tokens, or a customer and classes"
    elif scope.tokens is not None and scope.customer is not None:
        yield "scope_ambiguous", "/customer", "name tokens or a customer, not both"
    elif scope.tokens is not None and len(scope.tokens) > MAX_TOKENS:
        yield "scope_too_large", "/tokens", f"name at most {MAX_TOKENS} tokens"
    elif scope.tokens is not None and len(set(scope.tokens)) != len(scope.tokens):
        yield "scope_repeats", "/tokens", "a token is named twice"
    elif scope.tokens is not None and not scope.classes:
        yield "scope_empty", "/tokens", "no record has any of these tokens"
    elif not scope.classes:
        yield "scope_empty", "/classes", "name at least one class"
    if scope.fields is not None and not scope.fields:
        yield "fields_empty", "/fields", "name at least one field, or leave fields out for all"
    elif scope.fields is not None and len(set(scope.fields)) != len(scope.fields):
        yield "fields_repeat", "/fields", "a field is named twice"


def _unknown_fields(scope: Scope) -> Iterator[int]:
    known = {
        field for name in scope.classes if name in RULES for field in RULES[DataClass(name)].fields
    }
    for index, field in enumerate(scope.fields or ()):
        if field not in known:
            yield index


def _about_recipient(
    policy: Policy, request: DisclosureRequest, ground: Ground | None
) -> Iterator[Reason]:
    clause = None if ground is None else ground.clause
    if request.recipient.kind not in policy.recipients:
        yield Reason(
            code="recipient_kind_unknown",
            pointer="/recipient/kind",
            detail="the policy has no such kind of recipient",
            clause=clause,
        )
    elif ground is not None and request.recipient.kind not in ground.recipients:
        yield Reason(
            code="recipient_kind_not_allowed",
            pointer="/recipient/kind",
            detail=f"this ground serves only: {', '.join(ground.recipients)}",
            clause=clause,
        )
    if not request.recipient.name.strip():
        yield Reason(
            code="recipient_name_missing",
            pointer="/recipient/name",
            detail="say who the recipient is",
            clause=clause,
        )
        return
    problem = evidence.check_prose(
        request.recipient.name, longest=MAX_RECIPIENT_NAME, multiline=False
    )
    if problem is not None:
        yield Reason(
            code=problem.code, pointer="/recipient/name", detail=problem.detail, clause=clause
        )


def _about_evidence(ground: Ground, request: DisclosureRequest, now: datetime) -> Iterator[Reason]:
    for field in ground.evidence:
        value = request.evidence.get(field.name)
        pointer = f"/evidence/{field.name}"
        if value is None or not value.strip():
            if field.required:
                yield Reason(
                    code="evidence_missing",
                    pointer=pointer,
                    detail=f"{field.name} is missing: {field.says}",
                    clause=ground.clause,
                )
            continue
        problem = evidence.check(field, value, now)
        if problem is not None:
            yield Reason(
                code=problem.code, pointer=pointer, detail=problem.detail, clause=ground.clause
            )
        elif field.type is EvidenceType.DOCUMENT and value not in request.documents:
            yield Reason(
                code="evidence_document_unknown",
                pointer=pointer,
                detail="the requester has uploaded no document with this digest",
                clause=ground.clause,
            )
    if not set(request.evidence) <= {field.name for field in ground.evidence}:
        yield Reason(
            code="evidence_unknown",
            pointer="/evidence",
            detail="this ground asks for no such evidence; what it does not ask for is not kept",
            clause=ground.clause,
        )


def _about_limits(ground: Ground, request: DisclosureRequest) -> Iterator[Reason]:
    if not 1 <= request.uses <= ground.uses:
        yield Reason(
            code="uses_not_allowed",
            pointer="/uses",
            detail=f"this ground allows from 1 to {ground.uses}",
            clause=ground.clause,
        )
    if request.duration is not None and not timedelta(0) < request.duration <= ground.longest:
        yield Reason(
            code="duration_not_allowed",
            pointer="/duration",
            detail=f"this ground allows at most {int(ground.longest.total_seconds())} seconds",
            clause=ground.clause,
        )


def lacking_progress(ground: Ground, progress: Progress) -> Iterator[Reason]:
    """What people have yet to do, before a request on this ground becomes a grant."""
    if ground.determination is not None and progress.determined is not True:
        made = progress.determined is not None
        yield Reason(
            code="determination_negative" if made else "determination_missing",
            pointer="",
            detail=f"must be determined first: {ground.determination.says}",
            clause=ground.clause,
            stage=Stage.DETERMINATION,
        )
    if progress.approvals < ground.approvals:
        yield Reason(
            code="approvals_missing",
            pointer="",
            detail=f"needs {ground.approvals} approvals and has {progress.approvals}",
            clause=ground.clause,
            stage=Stage.APPROVAL,
        )


def _about_instrument(
    ground: Ground, request: DisclosureRequest, progress: Progress, now: datetime
) -> Iterator[Reason]:
    """What a request asks for beyond the instrument that was determined to be valid."""
    if ground.determination is None or progress.determined is not True:
        return
    instrument = progress.instrument or Instrument()
    for problem, pointer in (
        *instruments.lacking(instrument, ground.determination.binds),
        *instruments.exceeded(instrument, request.scope, now),
    ):
        yield Reason(
            code=problem.code,
            pointer=pointer,
            detail=problem.detail,
            clause=ground.clause,
            stage=Stage.DETERMINATION,
        )


def _duration(
    ground: Ground, request: DisclosureRequest, progress: Progress | None, now: datetime
) -> timedelta:
    """How long the grant lasts: as asked, at most as ground, end date and instrument allow."""
    duration = ground.longest if request.duration is None else request.duration
    if ground.ends_with is not None:
        day = evidence.read_date(request.evidence.get(ground.ends_with, ""))
        if day is not None:
            duration = min(duration, evidence.end_of_day(day) - now)
    instrument = None if progress is None else progress.instrument
    end = None if instrument is None else instruments.end(instrument)
    return duration if end is None else min(duration, end - now)
