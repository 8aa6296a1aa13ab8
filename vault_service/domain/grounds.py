"""The disclosure policy as values: grounds, categories, recipients, clauses.

All of it comes from a policy file. No ground, category, recipient or evidence field has a name in
this code, and none may get one: another policy is another file. `domain.policy` decides by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from vault_service.domain.evidence import EvidenceField
from vault_service.domain.instruments import Binds

# No policy can make a disclosure token live longer.
MAX_TOKEN_LIFE: Final = timedelta(seconds=300)


class NoticeRule(StrEnum):
    """When the customer may be told of a disclosure."""

    AT_ONCE = "at_once"
    AFTER_END = "after_end"  # once the grant is spent, expired or revoked
    AFTER_DATE = "after_date"  # not before the date in an evidence field; at once if it is empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """When the customer may be told; `evidence` names a date field where the rule needs one."""

    rule: NoticeRule
    evidence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Determination:
    """That a named officer must find something, with reasons, before an approval counts.

    Attributes:
        says: what must be found.
        binds: what he must say of the instrument besides, which then bounds the grant.
    """

    says: str
    binds: tuple[Binds, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many values one principal may reveal on a ground; None where nothing limits it."""

    per_hour: int | None
    per_day: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Why data of one category may be disclosed.

    Attributes:
        name: with `category` it identifies the ground; the same name may stand in two categories.
        category: name of a category of the policy.
        clause: the clause of the privacy policy that it rests on.
        says: what it is, in words, for people.
        recipients: kinds of recipient that it may serve.
        evidence: what must or may be shown.
        approvals: how many different people, none of them the requester, must agree.
        longest: longest life of a grant.
        token_life: longest life of a disclosure token.
        uses: how many uses a grant may have; 1 unless it may stand.
        stands: whether a grant may be used again.
        ends_with: date field after whose day (UTC) the grant must be over, if any.
        determination: what must be determined first, if anything.
        notice: when the customer may be told.
        proof_of_possession: whether disclosure tokens are given to holders of a key only.
        budget: how many values one principal may reveal on it, if anything limits that.
    """

    name: str
    category: str
    clause: str
    says: str
    recipients: tuple[str, ...]
    evidence: tuple[EvidenceField, ...]
    approvals: int
    longest: timedelta
    token_life: timedelta
    uses: int
    stands: bool
    ends_with: str | None
    determination: Determination | None
    notice: Notice
    proof_of_possession: bool = False
    budget: Budget | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """Data that share grounds, by class."""

    name: str
    says: str
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One version of the disclosure policy.

    Attributes:
        version: SHA-256 of the policy file's bytes, 64 hex digits.
        name: short name of the policy.
        dated: the date of the privacy policy that it enforces.
        clauses: what each clause says, in short.
        recipients: what each kind of recipient is.
        categories: by name.
        grounds: by (name, category).
        retention: how long values of a class are kept; a class that is not named is kept.
    """

    version: str
    name: str
    dated: date
    clauses: Mapping[str, str]
    recipients: Mapping[str, str]
    categories: Mapping[str, Category]
    grounds: Mapping[tuple[str, str], Ground]
    retention: Mapping[str, timedelta] = field(default_factory=dict)
