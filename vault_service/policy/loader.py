"""Reads a policy file and refuses what contradicts itself, with file, line and reason.

All contradictions are told at once. What is read becomes `domain.grounds.Policy`, whose version
is the SHA-256 of the file's bytes. The limits below hold for every policy; a file can only be
stricter.
This module decides nothing about requests.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from vault_service.domain.classes import DataClass
from vault_service.domain.evidence import EvidenceField, EvidenceType, When
from vault_service.domain.grounds import (
    MAX_TOKEN_LIFE,
    Budget,
    Category,
    Determination,
    Ground,
    Notice,
    NoticeRule,
    Policy,
)
from vault_service.domain.instruments import Binds
from vault_service.errors import ServiceError
from vault_service.policy.toml_lines import Lines
from vault_service.policy.toml_lines import Path as Place

SCHEMA: Final = 1
# A standing grant is looked at again at least every quarter, a single one within a week.
MAX_STANDING: Final = timedelta(days=90)
MAX_SINGLE: Final = timedelta(days=7)
MAX_USES: Final = 1_000_000
MAX_APPROVALS: Final = 10
MAX_BUDGET: Final = 1_000_000_000
# Shorter would be a slip of the unit, and what it destroys does not come back.
MIN_RETENTION: Final = timedelta(days=1)
MAX_RETENTION: Final = timedelta(days=36_525)
MAX_TEXT: Final = 10_000
MAX_SAYS: Final = 500

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_CLAUSE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,15}", re.ASCII)
_DURATION: Final = re.compile(r"([1-9][0-9]{0,5}) (second|minute|hour|day)s?", re.ASCII)
_AT_LINE: Final = re.compile(r"\(at line ([0-9]+), column [0-9]+\)|\(at end of document\)")
_ABSURD: Final = re.compile(r"[\[{.0-9]")
_TEXTS: Final = (EvidenceType.TEXT, EvidenceType.REFERENCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One contradiction: the line where it stands and what is wrong there."""

    line: int
    reason: str


class PolicyInvalid(ServiceError):
    """The policy file cannot be used; `findings` names all that is wrong with it."""

    code = "policy_invalid"

    def __init__(self, source: str, findings: Sequence[Finding]) -> None:
        self.source = source
        self.findings = tuple(sorted(findings, key=lambda finding: finding.line))
        super().__init__(
            "\n".join(f"{source}:{finding.line}: {finding.reason}" for finding in self.findings)
        )


def load(path: Path) -> Policy:
    """The policy that a file holds.

    Raises:
        PolicyInvalid: the file contradicts itself or the limits of this module.
        OSError: it cannot be read.
    """
    return parse(path.read_bytes(), source=path.name)


def parse(data: bytes, *, source: str = "policy") -> Policy:
    """The policy that a file's bytes hold; `source` is its name in messages.

    Raises:
        PolicyInvalid: the file contradicts itself or the limits of this module.
    """
    try:
        text = data.decode()
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PolicyInvalid(source, [Finding(line=line, reason="this is not UTF-8")]) from error
    except tomllib.TOMLDecodeError as error:
        raise PolicyInvalid(source, [_syntax(str(error), data)]) from error
    except (RecursionError, ValueError) as error:
        raise PolicyInvalid(source, [_absurd(text)]) from error
    reader = _Reader(Lines(text))
    policy = _policy(_Table(document, (), reader), hashlib.sha256(data).hexdigest())
    if reader.findings:
        raise PolicyInvalid(source, reader.findings)
    return policy


def _syntax(message: str, data: bytes) -> Finding:
    at = _AT_LINE.search(message)
    line = int(at[1]) if at is not None and at[1] else data.count(b"\n") + 1
    return Finding(line=line, reason=_AT_LINE.sub("", message).strip().lower())


def _absurd(text: str) -> Finding:
    """What the parser gives up on without telling where: the line with the most of it."""
    lines = text.splitlines()
    most = max(range(len(lines)), key=lambda at: len(_ABSURD.findall(lines[at])))
    return Finding(line=most + 1, reason="this nests too deeply, or holds too long a number")


class _Reader:
    """Collects contradictions, so that all are told at once."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.findings: list[Finding] = []

    def refuse(self, place: Place, reason: str) -> None:
        self.findings.append(Finding(line=self._lines.of(place), reason=reason))


class _Table:
    """One table of the file. What is wrong is reported, and a harmless value stands in for it."""

    def __init__(self, members: Any, place: Place, reader: _Reader) -> None:
        self.place = place
        self._reader = reader
        self._members: Mapping[str, Any] = {}
        if isinstance(members, dict):
            self._members = members
        else:
            reader.refuse(place, f"{place[-1]} must be a table")

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def refuse(self, name: str, reason: str) -> None:
        self._reader.refuse((*self.place, name), reason)

    def only(self, *known: str) -> None:
        for name in self._members:
            if name not in known:
                self.refuse(name, f"unknown key {name}")

    def names(self, form: re.Pattern[str], what: str) -> list[str]:
        """The names of the table's members, each of the given form."""
        for name in self._members:
            if form.fullmatch(name) is None:
                self.refuse(name, f"{name} cannot be the name of a {what}")
        if not self._members:
            self._reader.refuse(self.place, f"there is no {what}")
        return list(self._members)

    def text(self, name: str, default: str | None = None) -> str:
        value = self._members.get(name, default)
        if isinstance(value, str) and value.strip() and len(value) <= MAX_SAYS:
            return value
        missing = f"{name} is missing"
        self.refuse(
            name, missing if value is None else f"{name} must be a text, and not a long one"
        )
        return ""

    def name(self, name: str) -> str:
        value = self.text(name)
        if value and _NAME.fullmatch(value) is None:
            self.refuse(name, f"{name} must be lower case letters, digits and _")
        return value

    def one_of(self, name: str, known: Collection[str], default: str | None = None) -> str:
        value = self.text(name, default)
        if value and value not in known:
            self.refuse(name, f"unknown {name} {value}; known are {', '.join(sorted(known))}")
        return value if value in known else ""

    def several_of(self, name: str, known: Collection[str] | None) -> tuple[str, ...]:
        """A list of different texts, at least one, all of them known if `known` is given."""
        value = self._members.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(x, str) for x in value):
            self.refuse(name, f"{name} must be a list of at least one text")
            return ()
        if len(set(value)) != len(value):
            self.refuse(name, f"{name} names something twice")
        for item in value:
            if known is None and _NAME.fullmatch(item) is None:
                self.refuse(name, f"{name} holds {item}, which must be lower case letters and _")
            elif known is not None and item not in known:
                self.refuse(name, f"unknown {item} in {name}; known are {', '.join(sorted(known))}")
        return tuple(value)

    def number(self, name: str, most: int, default: int | None = None) -> int:
        value = self._members.get(name, default)
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most:
            return value
        self.refuse(name, f"{name} must be a number from 1 to {most}")
        return 1

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._members.get(name, default)
        if not isinstance(value, bool):
            self.refuse(name, f"{name} must be true or false")
            return default
        return value

    def duration(self, name: str, most: timedelta) -> timedelta:
        text = self.text(name)
        match = _DURATION.fullmatch(text)
        if not text:
            return most
        if match is None:
            self.refuse(name, f'{name} must be a duration such as "24 hours"')
            return most
        value = timedelta(**{f"{match[2]}s": int(match[1])})
        if value > most:
            self.refuse(name, f"{name} must be at most {most.total_seconds():.0f} seconds")
        return value

    def day(self, name: str) -> date:
        value = self._members.get(name)
        if not isinstance(value, date) or isinstance(value, datetime):
            self.refuse(name, f"{name} must be a date")
            return date.min
        return value

    def table(self, name: str) -> _Table:
        return _Table(self._members.get(name, {}), (*self.place, name), self._reader)

    def tables(self, name: str) -> list[_Table]:
        value = self._members.get(name)
        if not isinstance(value, list) or not value:
            self.refuse(name, f"there must be at least one [[{name}]]")
            return []
        place = (*self.place, name)
        return [_Table(item, (*place, index), self._reader) for index, item in enumerate(value)]


def _policy(root: _Table, version: str) -> Policy:
    root.only(
        "schema", "name", "dated", "clauses", "recipients", "categories", "grounds", "retention"
    )
    if root.number("schema", MAX_TEXT) != SCHEMA:
        root.refuse("schema", f"this service reads schema {SCHEMA}")
    clauses = _says(root.table("clauses"), _CLAUSE, "clause")
    recipients = _says(root.table("recipients"), _NAME, "recipient")
    categories = _categories(root.table("categories"))
    grounds: dict[tuple[str, str], Ground] = {}
    for table in root.tables("grounds"):
        ground = _ground(table, clauses, recipients, categories)
        key = (ground.name, ground.category)
        if all(key) and key in grounds:
            table.refuse("name", f"the ground {ground.name} stands twice in {ground.category}")
        grounds[key] = ground
    return Policy(
        version=version,
        name=root.name("name"),
        dated=root.day("dated"),
        clauses=clauses,
        recipients=recipients,
        categories=categories,
        grounds=grounds,
        retention=_retention(root),
    )


def _retention(root: _Table) -> dict[str, timedelta]:
    if "retention" not in root:
        return {}
    table = root.table("retention")
    known = [each.value for each in DataClass]
    kept: dict[str, timedelta] = {}
    for name in table.names(_NAME, "class with a retention"):
        if name not in known:
            table.refuse(name, f"unknown class {name}; known are {', '.join(sorted(known))}")
            continue
        kept[name] = table.duration(name, MAX_RETENTION)
        if kept[name] < MIN_RETENTION:
            table.refuse(name, f"{name} must be kept for a day at least")
    return kept


def _says(table: _Table, form: re.Pattern[str], what: str) -> dict[str, str]:
    return {name: table.text(name) for name in table.names(form, what)}


def _categories(table: _Table) -> dict[str, Category]:
    categories: dict[str, Category] = {}
    home: dict[str, str] = {}
    for name in table.names(_NAME, "category"):
        member = table.table(name)
        member.only("says", "classes")
        classes = member.several_of("classes", [known.value for known in DataClass])
        for data_class in classes:
            # With two categories a class would have the grounds of both, the laxer one included.
            if home.setdefault(data_class, name) != name:
                member.refuse("classes", f"{data_class} belongs to {home[data_class]} already")
        categories[name] = Category(name=name, says=member.text("says"), classes=classes)
    return categories


def _ground(
    table: _Table,
    clauses: Collection[str],
    recipients: Collection[str],
    categories: Collection[str],
) -> Ground:
    table.only(
        "name", "category", "clause", "says", "recipients", "evidence", "approvals", "longest",
        "token_life", "uses", "stands", "ends_with", "determination", "determination_binds",
        "notice", "notice_date",
        "proof_of_possession",
        "budget",
    )  # fmt: skip
    evidence = _evidence(table)
    stands = table.flag("stands", default=False)
    longest = table.duration("longest", MAX_STANDING if stands else MAX_SINGLE)
    token_life = table.duration("token_life", min(MAX_TOKEN_LIFE, longest))
    return Ground(
        name=table.name("name"),
        category=table.one_of("category", categories),
        clause=table.one_of("clause", clauses),
        says=table.text("says"),
        recipients=table.several_of("recipients", recipients),
        evidence=evidence,
        approvals=table.number("approvals", MAX_APPROVALS),
        longest=longest,
        token_life=token_life,
        uses=_uses(table, stands=stands),
        stands=stands,
        ends_with=_ends_with(table, evidence),
        determination=_determination(table),
        notice=_notice(table, evidence),
        proof_of_possession=table.flag("proof_of_possession", default=False),
        budget=_budget(table),
    )


def _budget(ground: _Table) -> Budget | None:
    if "budget" not in ground:
        return None
    table = ground.table("budget")
    table.only("per_hour", "per_day")
    per_hour, per_day = (
        table.number(name, MAX_BUDGET) if name in table else None
        for name in ("per_hour", "per_day")
    )
    if per_hour is None and per_day is None:
        ground.refuse("budget", "a budget needs per_hour, per_day or both")
    elif per_hour is not None and per_day is not None and per_day < per_hour:
        ground.refuse(
            "budget", "a budget of a day below that of an hour leaves the hour's no sense"
        )
    return Budget(per_hour=per_hour, per_day=per_day)


def _determination(table: _Table) -> Determination | None:
    known = {bound.value: bound for bound in Binds}
    binds: tuple[Binds, ...] = ()
    if "determination_binds" in table:
        named = table.several_of("determination_binds", known)
        binds = tuple(known[name] for name in named if name in known)
    if "determination" in table:
        return Determination(says=table.text("determination"), binds=binds)
    if "determination_binds" in table:
        table.refuse("determination_binds", "determination_binds belongs to a determination")
    return None


def _uses(table: _Table, *, stands: bool) -> int:
    if stands:
        if "uses" not in table:
            table.refuse("stands", "a ground that stands needs a limit: uses is missing")
            return 1
        return table.number("uses", MAX_USES)
    uses = table.number("uses", MAX_USES, default=1)
    if uses != 1:
        table.refuse("uses", "a ground that does not stand is used once")
    return uses


def _ends_with(table: _Table, evidence: Sequence[EvidenceField]) -> str | None:
    if "ends_with" not in table:
        return None
    name = table.text("ends_with")
    # An end that may be left out, or lie in the past, would be no end.
    if not any(
        field.name == name
        and field.type is EvidenceType.DATE
        and field.required
        and field.when is When.FUTURE
        for field in evidence
    ):
        table.refuse("ends_with", "ends_with must name a required date field that lies ahead")
    return name


def _notice(table: _Table, evidence: Sequence[EvidenceField]) -> Notice:
    known = table.one_of("notice", [rule.value for rule in NoticeRule])
    rule = NoticeRule(known) if known else NoticeRule.AFTER_END
    if rule is not NoticeRule.AFTER_DATE:
        if "notice_date" in table:
            table.refuse("notice_date", f"notice_date belongs to notice {NoticeRule.AFTER_DATE}")
        return Notice(rule=rule)
    name = table.text("notice_date")
    if not any(field.name == name and field.type is EvidenceType.DATE for field in evidence):
        table.refuse("notice_date", "notice_date must name a date field of the evidence")
    return Notice(rule=rule, evidence=name)


def _evidence(ground: _Table) -> tuple[EvidenceField, ...]:
    fields: list[EvidenceField] = []
    for table in ground.tables("evidence"):
        field = _field(table)
        if field.name in {earlier.name for earlier in fields}:
            table.refuse("name", f"the evidence {field.name} stands twice in this ground")
        fields.append(field)
    if fields and not any(field.required for field in fields):
        ground.refuse("evidence", "a ground needs at least one required piece of evidence")
    return tuple(fields)


def _field(table: _Table) -> EvidenceField:
    table.only("name", "type", "says", "required", "choices", "longest", "when")
    known = table.one_of("type", [kind.value for kind in EvidenceType])
    kind = EvidenceType(known) if known else None
    for name, kinds in (
        ("choices", (EvidenceType.CHOICE,)),
        ("longest", _TEXTS),
        ("when", (EvidenceType.DATE,)),
    ):
        if name in table and kind is not None and kind not in kinds:
            table.refuse(name, f"{name} does not belong to evidence of type {kind}")
    when = table.one_of("when", [known.value for known in When], default=When.ANY.value)
    return EvidenceField(
        name=table.name("name"),
        type=kind or EvidenceType.TEXT,
        says=table.text("says"),
        required=table.flag("required", default=True),
        choices=table.several_of("choices", None) if kind is EvidenceType.CHOICE else (),
        longest=table.number("longest", MAX_TEXT, default=200),
        when=When(when) if when else When.ANY,
    )
