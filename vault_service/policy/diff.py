"""What a new version of the policy allows that the old did not, and the reverse, in words.

Each difference is told by its effect on requests: `allowed` where something can be disclosed that
could not be, or with less; `forbidden` where it no longer can, or needs more; `changed` where
neither can be said. It compares what decides. The words for people (`says`) are compared too, and
are never more than `changed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, TypeVar

from vault_service.domain.evidence import EvidenceField, When
from vault_service.domain.grounds import Budget, Ground, Notice, NoticeRule, Policy

_T = TypeVar("_T")


class Effect(StrEnum):
    """What a difference does."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference.

    Attributes:
        effect: what it does.
        where: the ground and category, or the part of the file, that it belongs to.
        says: a sentence without its end.
    """

    effect: Effect
    where: str
    says: str


def diff(old: Policy, new: Policy) -> list[Difference]:
    """Every difference that a request could meet, and every change of words, in a fixed order."""
    return [
        *_names(old, new),
        *_categories(old, new),
        *_grounds(old, new),
        *_retention(old, new),
    ]


def _names(old: Policy, new: Policy) -> Iterator[Difference]:
    for what, before, after in (
        ("clause", old.clauses, new.clauses),
        ("recipient", old.recipients, new.recipients),
    ):
        for name in _all(before, after):
            if name not in after:
                yield _told(Effect.CHANGED, what, f"{name} is gone")
            elif name not in before:
                yield _told(Effect.CHANGED, what, f"{name} is new: {after[name]}")
            elif before[name] != after[name]:
                yield _told(Effect.CHANGED, what, f"{name} now reads: {after[name]}")


def _categories(old: Policy, new: Policy) -> Iterator[Difference]:
    for name in _all(old.categories, new.categories):
        before, after = old.categories.get(name), new.categories.get(name)
        gone = set(before.classes if before else ()) - set(after.classes if after else ())
        come = set(after.classes if after else ()) - set(before.classes if before else ())
        for data_class in sorted(come):
            yield _told(Effect.ALLOWED, name, f"{data_class} may be disclosed on its grounds")
        for data_class in sorted(gone):
            yield _told(Effect.FORBIDDEN, name, f"{data_class} is no longer of this category")
        if before and after and before.says != after.says:
            yield _told(Effect.CHANGED, name, f"it now reads: {after.says}")


def _grounds(old: Policy, new: Policy) -> Iterator[Difference]:
    for key in _all(old.grounds, new.grounds):
        before, after = old.grounds.get(key), new.grounds.get(key)
        where = f"{key[0]} for {key[1]}"
        if before is None and after is not None:
            yield _told(Effect.ALLOWED, where, f"a new ground by clause {after.clause}")
        elif before is not None and after is None:
            yield _told(Effect.FORBIDDEN, where, f"the ground by clause {before.clause} is gone")
        elif before is not None and after is not None:
            for effect, says in _ground(before, after):
                yield _told(effect, where, says)


def _retention(old: Policy, new: Policy) -> Iterator[Difference]:
    for name in _all(old.retention, new.retention):
        before, after = old.retention.get(name), new.retention.get(name)
        if before == after:
            continue
        says = "is kept until somebody erases it" if after is None else f"is kept {_span(after)}"
        instead = "until somebody erases it" if before is None else _span(before)
        yield _told(Effect.CHANGED, "retention", f"{name} {says} instead of {instead}")


def _ground(old: Ground, new: Ground) -> Iterator[tuple[Effect, str]]:
    for part in _PARTS:
        yield from part(old, new)


def _words(old: Ground, new: Ground) -> Iterator[tuple[Effect, str]]:
    if old.clause != new.clause:
        yield Effect.CHANGED, f"rests on clause {new.clause} instead of {old.clause}"
    if old.says != new.says:
        yield Effect.CHANGED, f"it now reads: {new.says}"


def _recipients(old: Ground, new: Ground) -> Iterator[tuple[Effect, str]]:
    for kind in sorted(set(new.recipients) - set(old.recipients)):
        yield Effect.ALLOWED, f"may serve {kind}"
    for kind in sorted(set(old.recipients) - set(new.recipients)):
        yield Effect.FORBIDDEN, f"may no longer serve {kind}"


def _numbers(old: Ground, new: Ground) -> Iterator[tuple[Effect, str]]:
    if old.approvals != new.approvals:
        effect = Effect.FORBIDDEN if new.approvals > old.approvals else Effect.ALLOWED
        yield effect, f"needs {_count(new.approvals, 'approval')} instead of {old.approvals}"
    if old.uses != new.uses:
        effect = Effect.ALLOWED if new.uses > old.uses else Effect.FORBIDDEN
        yield effect, f"a grant counts for {_count(new.uses, 'use')} instead of {old.uses}"
    for what, before, after in (
        ("a grant", old.longest, new.longest),
        ("a disclosure token", old.token_life, new.token_life),
    ):
        if before != after:
            effect = Effect.ALLOWED if after > before else Effect.FORBIDDEN
            yield effect, f"{what} lasts at most {_span(after)} instead of {_span(before)}"
    if old.stands != new.stands:
        effect = Effect.ALLOWED if new.stands else Effect.FORBIDDEN
        yield effect, "a grant may stand" if new.stands else "a grant may no longer stand"


def _end(old: Ground, new: Ground) -> Iterator[tuple[Effect, str]]:
    if old.ends_with == new.ends_with:
        return
    if new.ends_with is None:
        yield Effect.ALLOWED, f"a grant may outlast {old.ends_with}"
    elif old.ends_with is None:
        yield Effect.FORBIDDEN, f"a grant ends with {new.ends_with}"
    else:
        yield Effect.CHANGED, f"a grant ends with {new.ends_with} instead of {old.ends_with}"


def _determination(old: Ground, new: Ground) -> Iterator[tuple[Effect, str]]:
    before = None if old.determination is None else old.determination.says
    after = None if new.determination is None else new.determination.says
    yield from _bounds(old, new)
    if before == after:
        return
    if after is None:
        yield Effect.ALLOWED, f"nobody need determine any more that {before}"
    elif before is None:
        yield Effect.FORBIDDEN, f"an officer must determine first that {after}"
    else:
        yield Effect.CHANGED, f"an officer must determine that {after}, instead of that {before}"


def _bounds(old: Ground, new: Ground) -> Iterator[tuple[Effect, str]]:
    if old.determination is None or new.determination is None:
        return
    before, after = set(old.determination.binds), set(new.determination.binds)
    for bound in sorted(after - before):
        yield Effect.FORBIDDEN, f"a grant is held to the instrument's {bound}"
    for bound in sorted(before - after):
        yield Effect.ALLOWED, f"a grant is no longer held to the instrument's {bound}"


def _evidence(old: Ground, new: Ground) -> Iterator[tuple[Effect, str]]:
    before = {field.name: field for field in old.evidence}
    after = {field.name: field for field in new.evidence}
    for name in _all(before, after):
        if name not in after:
            # What is not asked for is not kept, so a request that still shows it is refused.
            needed = before[name].required
            effect = Effect.ALLOWED if needed else Effect.FORBIDDEN
            yield effect, f"{name} is no longer {'asked for' if needed else 'taken'} as evidence"
        elif name not in before:
            needed = after[name].required
            effect = Effect.FORBIDDEN if needed else Effect.ALLOWED
            verb = "must" if needed else "may"
            yield effect, f"{name} {verb} be shown: {after[name].says}"
        else:
            yield from _field(before[name], after[name])


def _field(old: EvidenceField, new: EvidenceField) -> Iterator[tuple[Effect, str]]:
    name = new.name
    if old.required != new.required:
        effect = Effect.FORBIDDEN if new.required else Effect.ALLOWED
        yield effect, f"{name} {'must be shown' if new.required else 'may be left out'}"
    if old.type != new.type:
        yield Effect.CHANGED, f"{name} is a {new.type} instead of a {old.type}"
    for choice in sorted(set(new.choices) - set(old.choices)):
        yield Effect.ALLOWED, f"{name} may be {choice}"
    for choice in sorted(set(old.choices) - set(new.choices)):
        yield Effect.FORBIDDEN, f"{name} may no longer be {choice}"
    if old.longest != new.longest:
        effect = Effect.ALLOWED if new.longest > old.longest else Effect.FORBIDDEN
        yield effect, f"{name} has at most {new.longest} characters instead of {old.longest}"
    if old.when != new.when:
        yield (
            _WHEN.get((old.when, new.when), Effect.CHANGED),
            (f"the date {name} may be: {new.when}, instead of {old.when}"),
        )
    if old.says != new.says:
        yield Effect.CHANGED, f"{name} now reads: {new.says}"


def _notice(old: Ground, new: Ground) -> Iterator[tuple[Effect, str]]:
    if old.notice != new.notice:
        yield (
            Effect.CHANGED,
            f"the customer may be told {_when(new.notice)} instead of {_when(old.notice)}",
        )


def _possession(old: Ground, new: Ground) -> Iterator[tuple[Effect, str]]:
    if new.proof_of_possession and not old.proof_of_possession:
        yield Effect.FORBIDDEN, "the holder must prove to have a key"
    elif old.proof_of_possession and not new.proof_of_possession:
        yield Effect.ALLOWED, "the holder need not prove to have a key any more"


def _budget(old: Ground, new: Ground) -> Iterator[tuple[Effect, str]]:
    none = Budget(per_hour=None, per_day=None)
    left, right = old.budget or none, new.budget or none
    for span, before, after in (
        ("hour", left.per_hour, right.per_hour),
        ("day", left.per_day, right.per_day),
    ):
        if before == after:
            continue
        if after is None:
            yield Effect.ALLOWED, f"one person may reveal any number of values per {span}"
            continue
        grows = before is not None and after > before
        instead = "any number" if before is None else before
        yield (
            Effect.ALLOWED if grows else Effect.FORBIDDEN,
            f"one person may reveal {_count(after, 'value')} per {span} instead of {instead}",
        )


_WHEN: Final[Mapping[tuple[When, When], Effect]] = {
    (When.PAST, When.ANY): Effect.ALLOWED,
    (When.FUTURE, When.ANY): Effect.ALLOWED,
    (When.ANY, When.PAST): Effect.FORBIDDEN,
    (When.ANY, When.FUTURE): Effect.FORBIDDEN,
}
_PARTS: Final[Sequence[Callable[[Ground, Ground], Iterator[tuple[Effect, str]]]]] = (
    _words,
    _recipients,
    _numbers,
    _end,
    _determination,
    _evidence,
    _notice,
    _possession,
    _budget,
)


def _when(notice: Notice) -> str:
    if notice.rule is NoticeRule.AFTER_DATE:
        return f"after {notice.evidence}"
    return str(notice.rule).replace("_", " ")


def _all(before: Mapping[_T, object], after: Mapping[_T, object]) -> list[_T]:
    """The names of both, in the order of the new, and what is gone at the end."""
    return [*after, *(name for name in before if name not in after)]


def _told(effect: Effect, where: str, says: str) -> Difference:
    return Difference(effect=effect, where=where, says=says)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _span(time: timedelta) -> str:
    """A time in the largest unit that it is a whole number of."""
    seconds = int(time.total_seconds())
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds % size == 0:
            return _count(seconds // size, unit)
    return _count(seconds, "second")
